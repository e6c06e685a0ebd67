"""Measures loops in turn: rounds, in each of which every loop serves every case once, in a fresh server process.

The order of the loops is turned about in every other round (ABC CBA ABC ...): what drifts while the machine warms up or
others come and go then falls on each loop alike, and a loop is compared with what was measured beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import generator, machine
from benchmarks.cases import Case
from benchmarks.generator import GeneratorError, Load, LoadFailed
from benchmarks.processes import ServerFailed, ServerProcess

SATURATED = 0.95  # of a core; a side that uses as much is what limits the rate
IDLE_ENOUGH = 0.90  # a server that uses less than this waits for something
DISTURBED = 0.05  # of the two cores together, used by others


@dataclass(frozen=True)
class Settings:
    """What holds for a whole measurement."""

    rounds: int
    seconds: float
    warmup_seconds: float
    connections: int
    server_core: int | None
    client_core: int | None


@dataclass
class Run:
    """One loop serving one case once."""

    case: str
    loop: str
    round: int
    failure: str = ""  # why there are no figures
    report: dict[str, Any] = field(default_factory=dict)  # the generator's
    server: dict[str, Any] = field(default_factory=dict)  # what the server says of itself
    others_share: float = 0.0  # of the two cores, used by other processes meanwhile

    @property
    def requests_per_second(self) -> float:
        return float(self.report["messages"] / self.report["seconds"])

    def server_us(self, mode: str) -> float:
        """CPU microseconds of the server for one request; mode is 'user' or 'system'."""
        return float(self.report["server"][f"{mode}_us"] / max(1, self.report["messages"]))

    def share(self, side: str) -> float:
        """How much of a core 'server' or 'generator' used."""
        used = self.report[side]
        return float((used["user_us"] + used["system_us"]) / 1e6 / self.report["seconds"])

    @property
    def generator_limits(self) -> bool:
        """Whether the client was the bottleneck, so that the server could have done more."""
        return not self.failure and self.share("generator") > SATURATED and self.share("server") < IDLE_ENOUGH


def schedule(cases: Sequence[Case], loops: Sequence[str], rounds: int) -> Iterator[tuple[int, Case, str]]:
    """All runs in order: round, case, loop."""
    for number in range(rounds):
        for case in cases:
            for loop in loops if number % 2 == 0 else reversed(loops):
                yield number, case, loop


def measure_one(case: Case, loop: str, number: int, settings: Settings) -> Run:
    """One run; a loop that cannot do it has its failure noted."""
    run = Run(case.name, loop, number)
    load = Load(
        connections=settings.connections,
        size_bytes=case.size_bytes,
        depth=case.depth,
        seconds=settings.seconds,
        warmup_seconds=settings.warmup_seconds,
        lines=case.lines,
        verify_every=case.verify_every,
        core=settings.client_core,
    )
    arguments = [f"--loop={loop}", f"--style={case.style}", f"--size={case.size_bytes}"]
    if settings.server_core is not None:
        arguments.append(f"--core={settings.server_core}")
    try:
        with ServerProcess(arguments) as server:
            run.server = server.facts
            before = _busy_seconds(settings)
            try:
                run.report = generator.run(load, server.port, server.pid)
            except LoadFailed as error:
                crash = server.crash()
                raise ServerFailed(f"crashed: {crash}" if crash else str(error)) from error
            run.others_share = _others_share(run, _busy_seconds(settings) - before, load)
            run.server = {**server.facts, **server.finish()}
    except (ServerFailed, GeneratorError) as error:
        run.failure = str(error)
    return run


def _busy_seconds(settings: Settings) -> float:
    cores = [core for core in (settings.server_core, settings.client_core) if core is not None]
    return sum(machine.busy_seconds(core) for core in cores)


def _others_share(run: Run, busy_seconds: float, load: Load) -> float:
    """What server and client did not use themselves of the time in which the two cores were busy.

    Their own use is known for the window alone and is taken to have been alike in the warm-up.
    """
    if busy_seconds == 0:
        return 0.0
    seconds = run.report["seconds"] + load.warmup_seconds
    own_seconds = (run.share("server") + run.share("generator")) * seconds
    return max(0.0, busy_seconds - own_seconds) / (2 * seconds)


def measure(
    cases: Sequence[Case], loops: Sequence[str], settings: Settings, on_run: Callable[[Run, int, int], None]
) -> tuple[list[Run], bool]:
    """All rounds, and whether they were all made: Ctrl-C ends them and keeps what was measured.

    A loop that failed in a case is left out of that case from then on: its row says why. on_run gets each run, and how
    many of how many are done.
    """
    runs: list[Run] = []
    failed: set[tuple[str, str]] = set()
    total = len(cases) * len(loops) * settings.rounds
    try:
        for done, (number, case, loop) in enumerate(schedule(cases, loops, settings.rounds), 1):
            if (case.name, loop) in failed:
                continue
            run = measure_one(case, loop, number, settings)
            runs.append(run)
            if run.failure:
                failed.add((case.name, loop))
            on_run(run, done, total)
    except KeyboardInterrupt:
        return runs, False
    return runs, True
