"""Compares the tests that a run skipped with the recorded list: check_skips.py RESULTS.xml...

The list, skips.txt beside this file, has a line for each kind of skip: a condition, a pattern of test ids and a pattern
of reasons. Wrong is a skip that no line with a true condition covers, and a line with a true condition that covers
none. So a test that quietly stops running is noticed, and so is a line that is no longer needed.
Conditions are Python expressions; NAMES has what they can use. The condition `maybe` is that of a skip which only the
test itself can decide: allowed, and not missed. Patterns are those of fnmatch, with brackets taken as
they are.
"""

import os
import platform
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

RECORDED = Path(__file__).with_name("skips.txt")
NAMES = {
    "python": sys.version_info[:2],
    "has": lambda module: find_spec(module) is not None,
    "tool": lambda name: shutil.which(name) is not None,
    "root": os.geteuid() == 0,
    "debug_build": hasattr(sys, "gettotalrefcount"),
    "machine": platform.machine(),
}


@dataclass(frozen=True)
class Skip:
    """A skip that happened."""

    test: str
    reason: str


@dataclass(frozen=True)
class Line:
    """A line of the recorded list."""

    condition: str
    test: str
    reason: str

    @property
    def optional(self) -> bool:
        """Whether it may cover nothing."""
        return self.condition == "maybe"

    def holds(self) -> bool:
        """Whether its condition is true here."""
        return self.optional or bool(eval(self.condition, {"__builtins__": {}}, dict(NAMES)))

    def covers(self, skip: Skip) -> bool:
        """Whether it speaks of this skip."""
        return _matches(skip.test, self.test) and _matches(skip.reason, self.reason)


def _matches(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def read_recorded(text: str) -> list[Line]:
    """The lines of the recorded list."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            fields = [field.strip() for field in line.split("|")]
            if len(fields) != 3:
                raise SystemExit(f"skips.txt:{number}: not three fields: {line}")
            lines.append(Line(*fields))
    return lines


def read_results(path: Path) -> tuple[list[Skip], int]:
    """The skips in a JUnit file, without expected failures, and how many tests ran."""
    skips, ran = [], 0
    for case in ElementTree.parse(path).iter("testcase"):
        skipped = case.find("skipped")
        if skipped is None or skipped.get("type") == "pytest.xfail":
            ran += 1
        else:
            module = case.get("classname") or ""
            test = f"{module}::{case.get('name')}" if module else str(case.get("name"))
            reason = skipped.get("message") or ""
            if reason == "collection skipped":  # a whole module: the reason stands in a tuple (file, line, reason)
                reason = (skipped.text or "").rpartition(", ")[2].strip("')\"")
            skips.append(Skip(test, reason.removeprefix("Skipped: ")))
    return skips, ran


def compare(skips: list[Skip], lines: list[Line]) -> list[str]:
    """What is wrong, a sentence each."""
    lines = [line for line in lines if line.holds()]
    wrong = [
        f"not recorded: {skip.test} ({skip.reason})" for skip in skips if not any(line.covers(skip) for line in lines)
    ]
    for line in lines:
        if not line.optional and not any(line.covers(skip) for skip in skips):
            wrong.append(f"recorded, but nothing was skipped: {line.condition} | {line.test} | {line.reason}")
    return wrong


def main(paths: list[str]) -> int:
    """Prints the comparison; 1 if the skips differ from the recorded ones."""
    skips, ran = [], 0
    for path in paths:
        more, number = read_results(Path(path))
        skips += more
        ran += number
    wrong = compare(skips, read_recorded(RECORDED.read_text()))
    for sentence in wrong:
        print(f"skips: {sentence}")
    print(f"skips: {ran} tests ran, {len(skips)} were skipped, {'as recorded' if not wrong else 'NOT as recorded'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
