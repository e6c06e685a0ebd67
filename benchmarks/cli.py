"""Compares asyncio event loops by the requests that an echo server answers on them.

    python -m benchmarks                      asyncio, uvloop and fastnet, in 2 minutes
    python -m benchmarks --quick              the same with fewer rounds, in 40 seconds
    python -m benchmarks --case 'protocol-*' --loop uvloop --loop mymodule:new_loop
    python -m benchmarks --list               the cases

Each loop serves in a fresh process on one core; a client in C loads it from another core with 50 connections, each of
which sends its next message when the reply is complete, and checks the bytes that come back. Loops take turns, in
rounds whose order is turned about, and are compared within a round. How to read the table:

  requests/s   median of the rounds; "vs uvloop" is the median of the rounds' ratios, then their lowest and highest
  CPU us       user and system microseconds of the server for one request: what a request costs. On a core that is full
               it says the same as requests/s; where the client is the limit it says more
  p50, p99     microseconds from a message's sending to the end of its reply, which so many per cent of the messages
               took at most. With 50 connections it is mostly time in which the server serves the other 49

Ctrl-C ends the run and shows what was measured. Needs gcc, once. Measure on a machine that does nothing else.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks import generator, machine, report, summary
from benchmarks.arguments import count, folder, seconds
from benchmarks.cases import CASES, DEFAULT_CASES, Case, choose
from benchmarks.generator import GeneratorError
from benchmarks.loops import BASELINE, DEFAULT_LOOPS
from benchmarks.rounds import Run, Settings, measure

FULL = {"rounds": 6, "seconds": 1.2}
QUICK = {"rounds": 2, "seconds": 0.9}
WARMUP_SECONDS = 0.2
INTERRUPTED = 130  # exit status, as shells give it for Ctrl-C


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loop", action="append", help="a name or module:factory; may be repeated")
    parser.add_argument("--case", action="append", help="a name or a pattern as 'streams-*'; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK['rounds']} rounds of {QUICK['seconds']} s")
    parser.add_argument("--rounds", type=count, help=f"({FULL['rounds']}) even, so that each order is as frequent")
    parser.add_argument("--seconds", type=seconds, help=f"({FULL['seconds']}) measured in each run")
    parser.add_argument("--connections", type=count, default=50, help="(50)")
    parser.add_argument("--output", type=folder, default=Path("bench-results"), metavar="DIR", help="(bench-results)")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    return parser


def _settings(arguments: argparse.Namespace) -> tuple[Settings, str]:
    preset = QUICK if arguments.quick else FULL
    server_core, client_core, warning = machine.cores_for_pair()
    settings = Settings(
        rounds=arguments.rounds or int(preset["rounds"]),
        seconds=arguments.seconds or preset["seconds"],
        warmup_seconds=WARMUP_SECONDS,
        connections=arguments.connections,
        server_core=server_core,
        client_core=client_core,
    )
    return settings, warning


class _Progress:
    """A line for each run, with the time left."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def __call__(self, run: Run, done: int, total: int) -> None:
        left = (time.monotonic() - self.started) / done * (total - done)
        figure = run.failure or f"{run.requests_per_second:,.0f} requests/s"
        print(f"[{done}/{total}, {left:.0f} s left] {run.case} on {run.loop}: {figure}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """The command. Exit status 0; 1 where a loop failed; 2 for wrong arguments; 130 after Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(report.aligned([[case.name, case.title] for case in CASES.values()])))
        return 0
    try:
        cases: list[Case] = [CASES[name] for name in choose(arguments.case or DEFAULT_CASES, CASES)]
        generator.build()
    except (ValueError, GeneratorError) as error:
        parser.error(str(error))
    loops = list(dict.fromkeys(arguments.loop or DEFAULT_LOOPS))
    settings, warning = _settings(arguments)
    facts = machine.facts()
    print(machine.headline(facts))
    if warning:
        print(f"Warning: {warning}")
    if facts["load_average"] > 0.5:
        print(f"Warning: the machine is busy (load average {facts['load_average']:.2f}); figures will be off")
    runs, is_complete = measure(cases, loops, settings, _Progress())
    if not runs:
        print("\nStopped before anything was measured.")
        return INTERRUPTED
    measured = {run.loop for run in runs if not run.failure}
    baseline = BASELINE if BASELINE in measured else next((loop for loop in loops if loop in measured), loops[0])
    rows = summary.summarise(runs, [case.name for case in cases], loops, baseline)
    made = f"{settings.rounds} rounds of {settings.seconds:g} s"
    if not is_complete:
        made = f"stopped after {len(runs)} runs of {settings.seconds:g} s"
    print(f"\n{settings.connections} connections, {made}\n")
    print(report.table(rows, cases, baseline))
    document = report.as_json(facts, settings, cases, baseline, runs, rows)
    path = report.write({**document, "is_complete": is_complete}, arguments.output)
    print(f"\nWritten: {path}")
    if not is_complete:
        return INTERRUPTED
    return 1 if any(row.failure for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
