"""Operations of a loop without sockets, to be counted in one process: how often is given, nothing else varies.

    python -m benchmarks.operations --loop uvloop --operation call_soon_chain --count 1000

Those called a batch are all made in one callback, so the loop holds all of them at once and a turn costs next to
nothing each. That makes them sensitive to how a loop keeps what it holds (heap, garbage collector), as a busy server
is.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine

from benchmarks.loops import LoopMissing, find_factory
from benchmarks.servers import quiet_collector

TURN = 100  # what is done a turn where not all is done in one
FAR_AWAY_S = 3600.0
STEP_S = 0.001  # between the timers of different clients
HELD_TIMERS = 10_000
STRIDE = 7919  # visits all HELD_TIMERS before it comes back, in no order of time

Loop = asyncio.AbstractEventLoop


def call_soon_chain(loop: Loop, count: int) -> None:
    """A callback that schedules itself: one a turn."""
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left > 0:
            loop.call_soon(step)
        else:
            loop.stop()

    loop.call_soon(step)
    loop.run_forever()


def _nothing() -> None:
    pass


def _in_one_callback(loop: Loop, count: int, operation: Callable[[int], object]) -> None:
    def all_at_once() -> None:
        for i in range(count):
            operation(i)
        loop.call_soon(loop.stop)

    loop.call_soon(all_at_once)
    loop.run_forever()


def call_soon_batch(loop: Loop, count: int) -> None:
    """call_soon and the run of its callback, all in one turn."""
    _in_one_callback(loop, count, lambda i: loop.call_soon(_nothing))


def call_later_cancel(loop: Loop, count: int) -> None:
    """A timer that is cancelled before it fires, as most are; each is set for a little later than the one before."""
    _in_one_callback(loop, count, lambda i: loop.call_later(FAR_AWAY_S + i * STEP_S, _nothing).cancel())


def timers_fire(loop: Loop, count: int) -> None:
    """Timers that fire, all held at once and due together."""
    left = count

    def fired() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            loop.stop()

    for _ in range(count):
        loop.call_later(STEP_S, fired)
    loop.run_forever()


def rearm_timer(loop: Loop, count: int) -> None:
    """Cancels one of HELD_TIMERS timers and sets it again, as a server does with the time-outs of its clients."""
    timers = [loop.call_later(FAR_AWAY_S + i * STEP_S, _nothing) for i in range(HELD_TIMERS)]

    def rearm(i: int) -> None:
        which = i * STRIDE % HELD_TIMERS
        timers[which].cancel()
        timers[which] = loop.call_later(FAR_AWAY_S + which * STEP_S, _nothing)

    _in_one_callback(loop, count, rearm)
    for timer in timers:
        timer.cancel()


def call_soon_threadsafe(loop: Loop, count: int) -> None:
    """call_soon_threadsafe and the run of its callback, TURN of them in a turn (more would fill asyncio's socket).

    From the loop's own thread: the path is the same as from another, and what two threads cost each other by taking
    turns depends on the moment.
    """
    left = count

    def turn() -> None:
        nonlocal left
        for _ in range(TURN):
            loop.call_soon_threadsafe(_nothing)
        left -= TURN
        loop.call_soon(turn if left > 0 else loop.stop)

    loop.call_soon(turn)
    loop.run_forever()


def _coroutine(make: Callable[[int], Coroutine[object, object, None]]) -> Callable[[Loop, int], None]:
    def run(loop: Loop, count: int) -> None:
        loop.run_until_complete(make(count))

    run.__doc__ = make.__doc__
    return run


async def _sleep_zero(count: int) -> None:
    """A task that lets the others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def _wait_for(count: int) -> None:
    """asyncio.wait_for of a coroutine that suspends once, in time."""

    async def inner() -> None:
        await asyncio.sleep(0)

    for _ in range(count):
        await asyncio.wait_for(inner(), 10)


OPERATIONS: dict[str, Callable[[Loop, int], None]] = {
    "call_soon_chain": call_soon_chain,
    "call_soon_batch": call_soon_batch,
    "call_later_cancel": call_later_cancel,
    "timers_fire": timers_fire,
    "rearm_timer": rearm_timer,
    "sleep_zero": _coroutine(_sleep_zero),
    "wait_for": _coroutine(_wait_for),
    "call_soon_threadsafe": call_soon_threadsafe,
}


def main(argv: list[str] | None = None) -> int:
    """Runs one operation `--count` times on a new loop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operations", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--loop", default="asyncio", help="asyncio, uvloop, fastnet, or module:factory")
    parser.add_argument("--operation", required=True, choices=list(OPERATIONS))
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args(argv)
    if arguments.count < 1 or arguments.count % TURN:
        parser.error(f"--count must be a multiple of {TURN}")
    try:
        loop = find_factory(arguments.loop)()
    except LoopMissing as error:
        print(error, file=sys.stderr)
        return 3
    try:
        quiet_collector()
        OPERATIONS[arguments.operation](loop, arguments.count)
    finally:
        loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
