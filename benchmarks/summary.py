"""What many runs say together: medians, and ratios of loops measured side by side."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.rounds import DISTURBED, Run


@dataclass(frozen=True)
class Spread:
    """A median and the lowest and highest of what it is the median of."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One loop in one case."""

    case: str
    loop: str
    runs: int
    failure: str
    requests_per_second: Spread | None = None
    ratio: Spread | None = None  # of requests/s to the baseline's in the same round
    cpu_ratio: Spread | None = None  # of the server's CPU time a request, likewise
    server_user_us: float = 0.0
    server_system_us: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    p99_9_us: float = 0.0
    max_us: float = 0.0
    generator_limits: bool = False
    disturbed: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(runs: Sequence[Run], cases: Sequence[str], loops: Sequence[str], baseline: str) -> list[Row]:
    """A row for every loop in every case that it was tried in, in the order given."""
    tried = {(run.case, run.loop) for run in runs}
    return [_row(runs, case, loop, baseline) for case in cases for loop in loops if (case, loop) in tried]


def _row(runs: Sequence[Run], case: str, loop: str, baseline: str) -> Row:
    mine = [run for run in runs if (run.case, run.loop) == (case, loop)]
    good = [run for run in mine if not run.failure]
    failure = next((run.failure for run in mine if run.failure), "")
    if not good:
        return Row(case, loop, 0, failure)
    beside = {run.round: run for run in runs if (run.case, run.loop) == (case, baseline) and not run.failure}
    pairs = [(run, beside[run.round]) for run in good if run.round in beside]

    def latency(name: str) -> float:
        return statistics.median(run.report["latency_us"][name] for run in good)

    return Row(
        case,
        loop,
        len(good),
        failure,
        requests_per_second=Spread.of([run.requests_per_second for run in good]),
        ratio=Spread.of([a.requests_per_second / b.requests_per_second for a, b in pairs]) if pairs else None,
        cpu_ratio=Spread.of([_cpu_us(a) / _cpu_us(b) for a, b in pairs]) if pairs else None,
        server_user_us=statistics.median(run.server_us("user") for run in good),
        server_system_us=statistics.median(run.server_us("system") for run in good),
        p50_us=latency("p50"),
        p99_us=latency("p99"),
        p99_9_us=latency("p99_9"),
        max_us=max(run.report["latency_us"]["max"] for run in good),
        generator_limits=sum(run.generator_limits for run in good) * 2 > len(good),
        disturbed=statistics.median(run.others_share for run in good) > DISTURBED,
    )


def _cpu_us(run: Run) -> float:
    return max(1e-3, run.server_us("user") + run.server_us("system"))
