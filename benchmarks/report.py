"""What a measurement is shown as: a table in the terminal, and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.rounds import Run, Settings
from benchmarks.summary import Row, Spread

SCHEMA = 1  # of the JSON; raised when a reader of the old one would be misled


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def table(rows: Sequence[Row], cases: Sequence[Case], baseline: str) -> str:
    """A block for each case, a line for each loop."""
    head = ["", "requests/s", f"vs {baseline}", "CPU us (user+system)", f"vs {baseline}", "p50 us", "p99 us"]
    cells = [head]
    for case in cases:
        if not any(row.case == case.name for row in rows):
            continue  # interrupted before
        cells.append([case.title, *[""] * (len(head) - 1)])
        cells += [_cells(row) for row in rows if row.case == case.name]
    lines = aligned(cells)
    notes = _notes(rows)
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})" if spread else "-"


def _cells(row: Row) -> list[str]:
    mark = ("*" if row.generator_limits else "") + ("~" if row.disturbed else "") + ("!" if row.failure else "")
    name = f"  {row.loop}{mark}"
    if row.requests_per_second is None:
        return [name, "failed", *["-"] * 5]
    return [
        name,
        f"{row.requests_per_second.median:,.0f}",
        _ratio(row.ratio),
        f"{row.server_user_us + row.server_system_us:.2f} ({row.server_user_us:.2f}+{row.server_system_us:.2f})",
        _ratio(row.cpu_ratio),
        f"{row.p50_us:,.0f}",
        f"{row.p99_us:,.0f}",
    ]


def _notes(rows: Sequence[Row]) -> list[str]:
    failures: dict[tuple[str, str], list[str]] = {}  # a loop that is missing fails in each case alike
    for row in rows:
        if row.failure:
            failures.setdefault((row.loop, row.failure), []).append(row.case)
    notes = [f"! {loop} in {', '.join(cases)}: {failure}" for (loop, failure), cases in failures.items()]
    if any(row.generator_limits for row in rows):
        notes.append("* the load generator's core was full and the server's was not: this loop can do more than shown")
    if any(row.disturbed for row in rows):
        notes.append("~ other processes used the two cores as well: trust ratios little, and requests/s not at all")
    return notes


def as_json(
    facts: dict[str, Any], settings: Settings, cases: Sequence[Case], baseline: str, runs: list[Run], rows: list[Row]
) -> dict[str, Any]:
    """Everything, each single run included."""
    return {
        "schema": SCHEMA,
        "host": facts,
        "settings": {**asdict(settings), "baseline": baseline, "cases": [asdict(case) for case in cases]},
        "loops": _loops(runs),
        "summary": [row.as_json() for row in rows],
        "runs": [asdict(run) for run in runs],
    }


def _loops(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """What served under each name: the loop's class and version, as its server process said."""
    return {
        run.loop: {"class": run.server["loop"], "version": run.server["version"]}
        for run in runs
        if "loop" in run.server
    }


def write(document: dict[str, Any], folder: Path) -> Path:
    """Writes the JSON into a folder, under a name made of its time; a second one of that second is called NAME-2."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = document["host"]["time"][:19].replace(":", "").replace("-", "").replace("T", "-")
    path, number = folder / f"echo-{stamp}.json", 1
    while True:
        try:
            with open(path, "x") as file:
                file.write(json.dumps(document, indent=1) + "\n")
            return path
        except FileExistsError:
            number += 1
            path = folder / f"echo-{stamp}-{number}.json"
