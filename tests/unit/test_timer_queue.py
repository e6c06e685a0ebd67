"""The timer queue: order, cancelled timers that leave no trace, finalizers that run in the midst of it."""

import asyncio
import itertools
import math
import random
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnet
from fastnet_c.timers import TimerHandle
from tests.helpers.running import run_until, turn
from tests.unit.support import PROPERTY, context_that_calls, count_objects


def timers(loop: Any) -> int:
    """How many live timers the loop says it has."""
    return loop.metrics()["timers"]


class Clock:
    """A clock that stands still; put in the place of loop.time(), which fastnet's timers then follow."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_hundred_thousand_cancelled_timers(loop: asyncio.AbstractEventLoop) -> None:
    """Time-outs that are set and cancelled take no room, count for nothing, and hinder no timer among them."""
    ran: list[int] = []
    start = loop.time()
    order = list(range(1000))
    random.Random(5).shuffle(order)
    before = count_objects(TimerHandle)
    for i in range(100_000):
        if i % 100 == 0:
            loop.call_at(start + order[i // 100] * 1e-9, ran.append, order[i // 100])
        loop.call_later(3600 + i % 7, print).cancel()
        if i % 10_000 == 0:
            assert timers(loop) == i // 100 + 1
    assert timers(loop) == 1000
    assert count_objects(TimerHandle) - before <= 2 * 1000 + 102
    run_until(loop, lambda: len(ran) == 1000)
    assert ran == sorted(ran)
    assert timers(loop) == 0


def test_cancelled_all_at_once(loop: asyncio.AbstractEventLoop) -> None:
    """As many live timers at one time, cancelled in any order; those that are left fire in order."""
    ran: list[float] = []
    now = loop.time()
    made = [(now - i % 1000, loop.call_at(now - i % 1000, ran.append, now - i % 1000)) for i in range(100_000)]
    random.Random(7).shuffle(made)
    before = count_objects(TimerHandle)
    for count, (_, timer) in enumerate(made[:-50], 1):
        timer.cancel()
        if count % 9973 == 0:
            assert timers(loop) == len(made) - count
    left = sorted(when for when, _ in made[-50:])
    del made, timer
    assert timers(loop) == 50
    assert before - count_objects(TimerHandle) >= 100_000 - 50 - 102
    turn(loop)
    turn(loop)
    assert ran == left
    assert timers(loop) == 0


def test_places_are_used_again(loop: asyncio.AbstractEventLoop) -> None:
    """Timers come and go for long; the queue stays as large as what it holds at a time."""
    for i in range(3000):
        loop.call_later(-1, int)
        loop.call_later(3600, print).cancel()
        if i % 3 == 0:
            turn(loop)
    turn(loop)
    turn(loop)
    assert timers(loop) == 0


def test_equal_deadlines_after_cancellations(loop: asyncio.AbstractEventLoop) -> None:
    """In the order of their making, also when the heap was rebuilt in between, several times."""
    ran: list[int] = []
    now = loop.time()
    kept = []
    for i in range(2000):
        timer = loop.call_at(now, ran.append, i)
        if i % 5:
            timer.cancel()
        else:
            kept.append(i)
    turn(loop)
    turn(loop)
    assert ran == kept


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(-3, 20)),
        st.tuples(st.just("burst"), st.integers(101, 160)),
        st.tuples(st.just("cancel"), st.integers(0, 1000)),
        st.tuples(st.just("advance"), st.integers(0, 6)),
    ),
    max_size=60,
)


@PROPERTY
@given(operations=OPERATIONS)
def test_against_a_model(operations: list[tuple[str, int]]) -> None:
    """Any sequence of adding, cancelling and time passing: what fires, in what order, and how many are left."""
    loop: Any = fastnet.new_event_loop()
    try:
        loop.time = clock = Clock()
        model: list[tuple[float, int]] = []
        handles: dict[int, asyncio.TimerHandle] = {}
        ran: list[int] = []
        numbers = itertools.count()
        for operation, amount in operations:
            if operation == "add":
                number = next(numbers)
                handles[number] = loop.call_at(clock.now + amount, ran.append, number)
                model.append((clock.now + amount, number))
            elif operation == "burst":  # enough to have the heap rebuilt
                for i in range(amount):
                    loop.call_at(clock.now + i % 9 - 2, print).cancel()
            elif operation == "cancel" and handles:
                number = list(handles)[amount % len(handles)]
                handles[number].cancel()
                model = [entry for entry in model if entry[1] != number]
            elif operation == "advance":
                clock.now += amount
                due = sorted(entry for entry in model if entry[0] <= clock.now)
                model = [entry for entry in model if entry[0] > clock.now]
                ran.clear()
                turn(loop)
                turn(loop)
                assert ran == [number for _, number in due]
            assert timers(loop) == len(model)
    finally:
        loop.close()


def test_a_timer_that_is_due_is_cancelled_by_another(loop: asyncio.AbstractEventLoop) -> None:
    """Both were taken out of the heap in the same turn; the count is right all the way."""
    ran: list[str] = []
    counts: list[int] = []

    def first() -> None:
        ran.append("first")
        second.cancel()
        second.cancel()
        far.cancel()
        counts.append(timers(loop))

    now = loop.time()
    loop.call_at(now - 2, first)
    second: Any = loop.call_at(now - 1, ran.append, "second")
    far = loop.call_at(now + 3600, ran.append, "far")
    assert timers(loop) == 3
    turn(loop)
    turn(loop)
    assert (ran, counts, timers(loop)) == (["first"], [0], 0)
    assert not second._scheduled
    far.cancel()
    assert timers(loop) == 0


def test_cancel_after_the_end(loop: asyncio.AbstractEventLoop) -> None:
    """Timers that have run, and timers of a closed loop."""
    fired = loop.call_later(-1, int)
    turn(loop)
    turn(loop)
    for _ in range(150):
        fired.cancel()
    assert timers(loop) == 0
    assert fired.cancelled()
    left: list[Any] = [loop.call_later(3600, print) for _ in range(300)]
    loop.close()
    for timer in left:
        assert not timer._scheduled
        timer.cancel()
    assert timers(loop) == 0


def test_times_that_are_no_times(loop: asyncio.AbstractEventLoop) -> None:
    """NaN would break the order of the heap: refused. Infinite times have their place in it."""
    ran: list[str] = []
    never = loop.call_at(math.inf, ran.append, "never")
    for call in (loop.call_at, loop.call_later):
        with pytest.raises(ValueError, match="NaN"):
            call(math.nan, print)
        for wrong in (None, "1", b"1", object()):
            with pytest.raises(TypeError):
                call(wrong, print)
    assert timers(loop) == 1
    loop.call_at(-math.inf, ran.append, "at once")
    turn(loop)
    turn(loop)
    assert ran == ["at once"]
    assert timers(loop) == 1
    never.cancel()
    turn(loop)
    assert timers(loop) == 0


def cancel_all(made: list[asyncio.TimerHandle]) -> None:
    """Cancels timers that nobody else holds: each goes when the queue drops it."""
    while made:
        made.pop().cancel()


def test_finalizers_that_add_timers_while_the_heap_is_rebuilt(loop: asyncio.AbstractEventLoop) -> None:
    """A dropped timer's context ends, and with it an object whose finalizer schedules: nothing gets lost."""
    ran: list[int] = []
    scheduled: list[int] = []

    def schedule() -> None:
        if not loop.is_closed():
            scheduled.append(len(scheduled))
            loop.call_later(-1, ran.append, scheduled[-1])

    made = [loop.call_later(3600 + i, print, context=context_that_calls(schedule)) for i in range(300)]
    far = loop.call_later(7200, print)
    cancel_all(made)
    assert timers(loop) == len(scheduled) + 1
    run_until(loop, lambda: timers(loop) == 1)
    turn(loop)
    assert len(ran) >= 100
    assert ran == scheduled
    far.cancel()
    turn(loop)
    assert timers(loop) == 0


def test_finalizers_that_cancel_timers_while_the_heap_is_rebuilt(loop: asyncio.AbstractEventLoop) -> None:
    """One rebuild within another."""
    ran: list[int] = []
    others = [loop.call_later(1800 + i, print) for i in range(400)]
    kept = [loop.call_later(-1, ran.append, i) for i in range(10)]

    def cancel_two() -> None:
        for _ in range(2):
            if others:
                others.pop().cancel()

    made = [loop.call_later(3600 - i, print, context=context_that_calls(cancel_two)) for i in range(300)]
    cancel_all(made)
    assert timers(loop) == len(kept) + len(others)
    turn(loop)
    turn(loop)
    assert ran == list(range(10))
    cancel_all(others)
    assert timers(loop) == 0


@pytest.mark.parametrize("count", [1, 99, 100, 101, 102, 103, 150, 250])
def test_finalizers_that_cancel_timers_while_the_first_is_looked_for(loop: Any, count: int) -> None:
    """A cancelled timer comes up and ends; its finalizer cancels those that would come up next."""
    ran: list[str] = []
    loop.time = clock = Clock()
    others = [loop.call_later(1800, print) for _ in range(count)]

    def cancel_others() -> None:
        for timer in others:
            timer.cancel()

    loop.call_at(-1.0, print, context=context_that_calls(cancel_others)).cancel()
    clock.now = loop.call_later(3600, ran.append, "live").when()
    turn(loop)
    turn(loop)
    assert ran == ["live"]
    assert timers(loop) == 0


@pytest.mark.parametrize("held", [True, False])
def test_finalizers_that_run_as_the_loop_closes(loop: Any, held: bool) -> None:
    """close() drops timers whose finalizers find the loop closed, and cancel others all the same."""
    outcome: list[object] = []
    others: list[asyncio.TimerHandle] = [loop.call_later(1800, print) for _ in range(200)]

    def act() -> None:
        try:
            loop.call_later(1, print)
        except RuntimeError as exc:
            outcome.append(str(exc))
        cancel_all(others)

    for _ in range(5):
        loop.call_later(3600, print, context=context_that_calls(act))
    if not held:
        del others[:]
    loop.close()
    assert outcome == ["Event loop is closed"] * 5
    assert timers(loop) == 0


def test_comparison(loop: asyncio.AbstractEventLoop) -> None:
    """By time; equal only where time and callback are."""
    now = loop.time() + 3600
    early, late = loop.call_at(now, print, 1), loop.call_at(now + 1, print, 1)
    same, other = loop.call_at(now, print, 1), loop.call_at(now, print, 2)
    assert early < late
    assert late > early
    assert early <= same
    assert early >= same
    assert early == same
    assert early != other
    assert not early < other
    assert not early <= other  # asyncio's rule: less, or equal, which it is not
    assert hash(early) == hash(same)
    assert sorted([late, early]) == [early, late]
    assert early != now
    with pytest.raises(TypeError):
        early < now  # type: ignore[operator]  # noqa: B015
    for timer in (early, late, same, other):
        timer.cancel()


def test_finalizers_that_schedule_as_the_loop_is_about_to_wait(loop: Any) -> None:
    """A cancelled timer ends while the wait is computed, and its finalizer calls call_soon(): there is no wait then."""
    ran: list[str] = []

    def schedule() -> None:
        loop.call_soon(ran.append, "scheduled")
        loop.call_soon(loop.stop)

    loop.call_later(1, print, context=context_that_calls(schedule)).cancel()
    watchdog = loop.call_later(5, loop.stop)
    loop.run_forever()
    watchdog.cancel()
    assert ran == ["scheduled"]
    assert loop.metrics()["blocking_polls"] == 0


def test_a_thread_that_schedules_as_the_loop_is_about_to_wait(loop: Any) -> None:
    """The clock is Python code of somebody's: while it runs, another thread may call call_soon_threadsafe()."""
    ran: list[str] = []
    clock = loop.time

    def time_that_lets_others_run() -> float:
        if armed:
            armed.clear()
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(stop,))
            thread.start()
            thread.join()
        return clock()

    def stop() -> None:
        ran.append("stop")
        loop.stop()

    armed: list[bool] = []
    loop.time = time_that_lets_others_run
    watchdog = loop.call_later(5, loop.stop)
    armed.append(True)
    loop.run_forever()
    watchdog.cancel()
    assert ran == ["stop"]
    assert loop.metrics()["blocking_polls"] == 0
