"""The ready ring: growth, order, and what happens in the midst of it."""

import asyncio
import gc
import itertools
import threading
from typing import Any

import pytest

from tests.helpers.running import run_until, turn
from tests.unit.conftest import CollectAfter
from tests.unit.support import Finalized, each_time

FIRST_SIZE = 64  # of the ring, which doubles


def test_a_hundred_thousand_callbacks_at_once(loop: Any) -> None:
    """Scheduled by one callback, they run in the next turn, in order, and are counted."""
    count = 100_000
    ran: list[int] = []

    def schedule() -> None:
        for i in range(count):
            loop.call_soon(ran.append, i)

    loop.call_soon(schedule)
    turn(loop)
    assert ran == []
    before = loop.metrics()["callbacks"]
    turn(loop)
    assert ran == list(range(count))
    assert loop.metrics()["callbacks"] == before + count + 1


@pytest.mark.parametrize("start", [0, 1, FIRST_SIZE // 2, FIRST_SIZE - 1])
def test_growth_from_any_place(loop: asyncio.AbstractEventLoop, start: int) -> None:
    """The ring begins anywhere in its memory, wraps, and grows while it runs."""
    ran: list[int] = []
    numbers = itertools.count()
    for _ in range(start):
        loop.call_soon(int)
    turn(loop)

    def fan_out(width: int, depth: int) -> None:
        ran.append(next(numbers))
        if depth:
            for _ in range(width):
                loop.call_soon(fan_out, width, depth - 1)

    loop.call_soon(fan_out, 7, 4)
    for _ in range(6):
        turn(loop)
    assert ran == list(range(1 + 7 + 7**2 + 7**3 + 7**4))


def test_the_order_is_kept_round_and_round(loop: asyncio.AbstractEventLoop) -> None:
    """Batches of all sizes about the ring's."""
    for size in [*range(2 * FIRST_SIZE + 3), 1000, 1, 300]:
        ran: list[int] = []
        for i in range(size):
            loop.call_soon(ran.append, i)
        turn(loop)
        assert ran == list(range(size))


@pytest.mark.parametrize("allocations", range(12))
def test_a_finalizer_that_schedules_while_the_ring_grows(
    loop: asyncio.AbstractEventLoop, collect_after: CollectAfter, allocations: int
) -> None:
    """The collector runs in the call that finds the ring full, after so many allocations."""
    ran: list[object] = []
    gc.collect()
    gc.disable()
    for i in range(FIRST_SIZE):
        loop.call_soon(ran.append, i)
    finalized: list[int] = []

    def finalize() -> None:
        gc.disable()
        finalized.append(1)
        for i in range(3 * FIRST_SIZE):
            loop.call_soon(ran.append, f"finalizer {i}")

    Finalized(finalize, circle=True)
    collect_after(allocations)
    loop.call_soon(ran.append, "last")
    gc.enable()
    gc.collect()
    assert finalized == [1]
    turn(loop)
    assert ran[:FIRST_SIZE] == list(range(FIRST_SIZE))
    assert [each for each in ran[FIRST_SIZE:] if each != "last"] == [f"finalizer {i}" for i in range(3 * FIRST_SIZE)]
    assert ran.count("last") == 1


def test_finalizers_of_arguments_schedule_while_the_ring_runs(loop: asyncio.AbstractEventLoop) -> None:
    """Each callback's end fills the ring anew: what ran is behind, what comes is ahead, nothing is lost."""
    ran: list[int] = []
    for i in range(FIRST_SIZE):
        loop.call_soon(id, Finalized(each_time(10, loop.call_soon, ran.append, i)))
    turn(loop)
    assert ran == []
    turn(loop)
    assert ran == [i for i in range(FIRST_SIZE) for _ in range(10)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_turn_that_is_broken_off(loop: asyncio.AbstractEventLoop, error: type[BaseException]) -> None:
    """The exception leaves run_forever(); what had not run keeps its place for the next run."""
    ran: list[int] = []

    def fail() -> None:
        ran.append(-1)
        raise error

    for i in range(10):
        loop.call_soon(ran.append, i)
        if i % 4 == 1:
            loop.call_soon(fail)
    for _ in range(3):
        with pytest.raises(error):
            loop.run_forever()
        loop.call_soon(ran.append, 100)
    turn(loop)
    assert ran == [0, 1, -1, 2, 3, 4, 5, -1, 6, 7, 8, 9, -1, 100, 100, 100]


def test_stop_ends_after_the_turn(loop: asyncio.AbstractEventLoop) -> None:
    """What was ready runs to its end; what it scheduled waits."""
    ran: list[str] = []
    loop.call_soon(ran.append, "before")
    loop.call_soon(loop.stop)
    loop.call_soon(lambda: loop.call_soon(ran.append, "next turn"))
    loop.call_soon(ran.append, "after")
    loop.run_forever()
    assert ran == ["before", "after"]
    turn(loop)
    assert ran[2:] == ["next turn"]


def test_threads_fill_it_while_it_runs(loop: asyncio.AbstractEventLoop) -> None:
    """call_soon_threadsafe() from several threads: all arrive, each thread's in its order."""
    count = 2000
    ran: list[tuple[int, int]] = []

    def work(name: int) -> None:
        for i in range(count):
            loop.call_soon_threadsafe(ran.append, (name, i))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    run_until(loop, lambda: len(ran) == 4 * count)
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [i for who, i in ran if who == name] == list(range(count))


def test_a_closed_loop_takes_no_callbacks(loop: asyncio.AbstractEventLoop) -> None:
    """What waited is dropped; a finalizer that schedules as it goes is refused as well."""
    outcome: list[str] = []

    def finalize() -> None:
        try:
            loop.call_soon(print)
        except RuntimeError as exc:
            outcome.append(str(exc))

    for _ in range(1000):
        loop.call_soon(print, Finalized(finalize))
    loop.close()
    assert outcome == ["Event loop is closed"] * 1000
    for call in (loop.call_soon, loop.call_soon_threadsafe):
        with pytest.raises(RuntimeError, match="closed"):
            call(print)
