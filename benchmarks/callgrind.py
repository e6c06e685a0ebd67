"""Runs a program under `valgrind --tool=callgrind` and reads what it counted.

Counts are of instructions in user mode, over the whole process: what the kernel does is not in them, nor waiting, nor
cache misses. Unlike time they do not depend on what else the machine does.
"""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class CallgrindError(Exception):
    """valgrind is missing, or left no counts."""


@dataclass(frozen=True)
class Profile:
    """Instructions of one process, in all and by function: (function, object file) to its own, callees left out."""

    total: int
    functions: Counter[tuple[str, str]]


def command(output: Path) -> list[str]:
    """What to put before a command, for its counts to be written to a file."""
    if shutil.which("valgrind") is None:
        raise CallgrindError("valgrind is not installed (Debian: apt-get install valgrind)")
    # valgrind's own words go to a file: what it says of system calls unknown to it is no error of the program.
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", f"--log-file={output}.log"]


def version() -> str:
    """valgrind's version, '' where there is none."""
    if shutil.which("valgrind") is None:
        return ""
    return subprocess.run(["valgrind", "--version"], capture_output=True, text=True).stdout.strip()


_NAME = re.compile(r"\((\d+)\)(?: (.*))?$")


def read(output: Path) -> Profile:
    """Reads a callgrind file (its format: valgrind's manual, 'Callgrind Format Specification')."""
    if not output.exists():
        raise CallgrindError(f"callgrind left no counts; it said: {_last_line(Path(f'{output}.log'))}")
    names: dict[str, dict[str, str]] = {"fn": {}, "ob": {}}
    functions: Counter[tuple[str, str]] = Counter()
    current = {"fn": "", "ob": ""}
    total = 0
    skip_next = False  # the line after calls= is what the callee cost
    with open(output) as lines:
        for line in lines:
            if line[0] in "0123456789+-*":
                if not skip_next:
                    functions[current["fn"], current["ob"]] += int(line.split()[1])
                skip_next = False
            elif line.startswith("calls="):
                skip_next = True
            elif line.startswith("totals:"):
                total = int(line.split()[1])
            else:
                key, equals, value = line.rstrip("\n").partition("=")
                table = names.get(key[-2:]) if equals else None
                if table is not None and (match := _NAME.match(value)):
                    number, name = match.groups()
                    table.setdefault(number, name or "")
                    if len(key) == 2:  # fn= and ob= say where we are; cfn= and cob= what is called
                        current[key] = table[number]
    if total == 0:
        raise CallgrindError(f"callgrind counted nothing; it said: {_last_line(Path(f'{output}.log'))}")
    return Profile(total, functions)


def _last_line(log: Path) -> str:
    words = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return words[-1] if words else "nothing"


def per_operation(short: Profile, long: Profile, more: int) -> float:
    """Instructions of one operation, from two runs of which the long one did so many more: start-up cancels out."""
    return (long.total - short.total) / more


def top_functions(short: Profile, long: Profile, more: int, count: int) -> list[tuple[str, str, float]]:
    """Where the instructions of one operation are spent: (function, object file, instructions), the most first."""
    difference = Counter(long.functions)
    difference.subtract(short.functions)
    rows = [(function, Path(source).name, cost / more) for (function, source), cost in difference.items()]
    return sorted(rows, key=lambda row: -row[2])[:count]


def run(program: Sequence[str], output: Path, cwd: Path, environment: dict[str, str]) -> Profile:
    """Runs a program to its end and counts."""
    done = subprocess.run(
        [*command(output), *program], cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [_last_line(Path(f"{output}.log"))]
        raise CallgrindError(f"{said[-1]} (exit status {done.returncode})")
    return read(output)
