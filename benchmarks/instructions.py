"""How many instructions one operation of a loop takes, in user mode, counted by callgrind.

    python -m benchmarks.instructions                         all cases on asyncio, uvloop and fastnet: 10 minutes
    python -m benchmarks.instructions --quick                 the most telling cases, in 3 minutes
    python -m benchmarks.instructions --case protocol-1k --loop fastnet --top 25
    python -m benchmarks.instructions --list                  the cases

Time on a shared machine varies by a tenth and more; a count of instructions is repeatable to 1 or 2 %, whatever else
runs, so it shows a regression that a clock cannot. Each case runs twice, once for longer: the difference, divided by
how many operations more there were, is one operation without the start-up. What the kernel does is not counted.
Echoes: 4 connections take turns, one message under way at a time. Needs valgrind and gcc.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import arguments, callgrind, generator, machine
from benchmarks.callgrind import CallgrindError, Profile
from benchmarks.cases import CASES, KIB, Case, choose
from benchmarks.generator import ROOT, GeneratorError, Load, LoadFailed
from benchmarks.loops import BASELINE, DEFAULT_LOOPS
from benchmarks.operations import OPERATIONS
from benchmarks.processes import ServerFailed, ServerProcess, child_environment, try_echo, try_operation
from benchmarks.report import aligned

ECHO_CASES = ("protocol-1k", "protocol-100k", "buffered-1k", "streams-1k", "lines-1k", "sock-1k")
QUICK_CASES = ("protocol-1k", "streams-1k", "call_soon_chain", "call_later_cancel")
CONNECTIONS = 4
PATIENCE_SECONDS = 300.0  # under valgrind all is some 50 times slower


@dataclass
class Count:
    """What was counted of one case on one loop."""

    case: str
    loop: str
    instructions: float | None = None  # of one operation; None: it failed, and note says why
    note: str = ""
    totals: dict[int, int] = field(default_factory=dict)  # run length to the instructions of the whole process
    top: list[tuple[str, str, float]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "top": [{"function": f, "object": o, "instructions": n} for f, o, n in self.top]}


def lengths_of(case: str) -> tuple[int, int]:
    """Numbers of operations of the short and the long run."""
    if case in OPERATIONS:
        return 5000, 15000
    return (1000, 3000) if CASES[case].size_bytes >= 16 * KIB else (2000, 6000)


def _echo_profile(case: Case, loop: str, messages: int, output: Path, core: int) -> Profile:
    """One server under callgrind.

    The connections take turns, so that a poll finds one message: with several under way it would find one or more, as
    it happens, and the cost of the poll would be shared by as many. Server and client share a core and the server gives
    way, so that it finds the message whole: on two cores it may begin to read what the client still sends.
    """
    arguments = [f"--loop={loop}", f"--style={case.style}", f"--size={case.size_bytes}", f"--core={core}"]
    load = Load(
        connections=CONNECTIONS,
        size_bytes=case.size_bytes,
        depth=case.depth,
        messages=messages,
        lockstep=True,
        lines=case.lines,
        core=core,
        stall_seconds=PATIENCE_SECONDS,
    )
    with ServerProcess(
        [*arguments, "--give-way", "--quiet-collector"],
        under=callgrind.command(output),
        start_seconds=PATIENCE_SECONDS,
        end_seconds=PATIENCE_SECONDS,
    ) as server:
        generator.run(load, server.port)
        server.finish()
    return callgrind.read(output)


def _operation_profile(operation: str, loop: str, count: int, output: Path) -> Profile:
    program = [sys.executable, "-m", "benchmarks.operations"]
    program += [f"--loop={loop}", f"--operation={operation}", f"--count={count}"]
    return callgrind.run(program, output, ROOT, child_environment())


def count(case: str, loop: str, folder: Path, core: int, top: int) -> Count:
    """Counts one case on one loop."""
    result = Count(case, loop)
    short, long = lengths_of(case)
    profiles: dict[int, Profile] = {}
    try:
        # Natively first: a loop that cannot do it says so at once, and the compiled modules are cached, so that
        # neither of the two runs has to compile what the other finds.
        if case in OPERATIONS:
            try_operation(case, loop)
        else:
            try_echo(CASES[case], loop)
        for length in (short, long):
            output = folder / f"callgrind.out.{case}.{loop.replace(':', '.')}.{length}"
            if case in OPERATIONS:
                profiles[length] = _operation_profile(case, loop, length, output)
            else:
                profiles[length] = _echo_profile(CASES[case], loop, length, output, core)
    except (CallgrindError, ServerFailed, LoadFailed) as error:
        result.note = str(error)
        return result
    result.totals = {length: profile.total for length, profile in profiles.items()}
    result.instructions = callgrind.per_operation(profiles[short], profiles[long], long - short)
    result.top = callgrind.top_functions(profiles[short], profiles[long], long - short, top)
    return result


def _count_all(cases: list[str], loops: list[str], folder: Path, jobs: int, top: int) -> Iterator[Count]:
    """Counts as they are ready; `jobs` at a time, each on a core of its own."""
    cores = sorted(machine.usable_cores())
    pool = ThreadPoolExecutor(jobs)
    try:
        futures: list[Future[Count]] = []
        for case in cases:
            for loop in loops:
                core = cores[len(futures) % len(cores)]
                futures.append(pool.submit(count, case, loop, folder, core, top))
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def table(counts: list[Count], cases: list[str], loops: list[str]) -> str:
    """One row a case, one column a loop."""
    by_place = {(count.case, count.loop): count for count in counts}
    baseline = BASELINE if BASELINE in loops else loops[0]
    others = [loop for loop in loops if loop != baseline]
    head = ["case", *loops, *(f"{loop}/{baseline}" for loop in others)]
    rows = []
    for case in cases:
        row = [case]
        values = {loop: (by_place.get((case, loop)) or Count(case, loop)).instructions for loop in loops}
        row += [f"{value:,.0f}" if value is not None else "-" for value in values.values()]
        base = values[baseline]
        for loop in others:
            value = values[loop]
            row.append(f"{value / base:.2f}" if value is not None and base else "-")
        rows.append(row)
    lines = aligned([head, *rows])
    notes = [f"  {count.case} on {count.loop}: {count.note}" for count in counts if count.note]
    return "\n".join([*lines, *(["", "Not counted:", *notes] if notes else [])])


def top_table(counted: Count) -> str:
    """Where the instructions of one operation go."""
    lines = [f"{counted.case} on {counted.loop}: {counted.instructions or 0:,.0f} instructions, of which"]
    lines += [f"{cost:10,.0f}  {name}  [{source}]" for name, source, cost in counted.top]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--loop", action="append", help="a name or module:factory; may be repeated")
    parser.add_argument("--case", action="append", help="a name or a pattern as 'call_*'; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK_CASES)}")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument(
        "--top", type=arguments.count, default=0, metavar="N", help="show the N functions that cost most"
    )
    parser.add_argument(
        "--jobs", type=arguments.count, default=None, help="runs at a time (as many as there are cores)"
    )
    parser.add_argument(
        "--output", type=arguments.folder, metavar="DIR", help="keep instructions.json and callgrind's files here"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = _parser()
    asked = parser.parse_args(argv)
    known = [*CASES, *OPERATIONS]
    if asked.list:
        print("\n".join(known))
        return 0
    defaults = QUICK_CASES if asked.quick else (*ECHO_CASES, *OPERATIONS)
    try:
        cases = choose(asked.case, known) if asked.case else list(defaults)
        generator.build()
        callgrind.command(Path("unused"))
    except (ValueError, GeneratorError, CallgrindError) as error:
        parser.error(str(error))
    loops = asked.loop or list(DEFAULT_LOOPS)
    facts = machine.facts() | {"valgrind": callgrind.version()}
    print(f"Instructions of one operation, {machine.headline(facts)}, {facts['valgrind']}", flush=True)
    counts: list[Count] = []
    with tempfile.TemporaryDirectory(prefix="fastnet-callgrind-") as temporary:
        folder = asked.output or Path(temporary)
        jobs = asked.jobs or len(machine.usable_cores())
        started = time.monotonic()
        try:
            for counted in _count_all(cases, loops, folder, jobs, max(asked.top, 40)):
                counts.append(counted)
                _progress(len(counts), len(cases) * len(loops), started, counted)
        except KeyboardInterrupt:
            print("\nStopped; this was counted:")
    print()
    print(table(counts, cases, loops))
    for counted in counts:
        if asked.top and counted.instructions is not None:
            print()
            print(top_table(counted.__class__(**{**counted.__dict__, "top": counted.top[: asked.top]})))
    if asked.output:
        path = asked.output / "instructions.json"
        path.write_text(json.dumps({"host": facts, "counts": [c.as_json() for c in counts]}, indent=1) + "\n")
        print(f"\nWritten: {path}")
    if len(counts) < len(cases) * len(loops):
        return 130
    return 0 if all(counted.instructions is not None for counted in counts) else 1


def _progress(done: int, of: int, started: float, counted: Count) -> None:
    left = (time.monotonic() - started) / done * (of - done)
    what = "failed" if counted.instructions is None else f"{counted.instructions:,.0f}"
    print(f"[{done}/{of}, {left:.0f} s left] {counted.case} on {counted.loop}: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
