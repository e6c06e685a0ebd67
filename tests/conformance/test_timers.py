"""call_later, call_at, time: none early, all in order, cancellation, odd delays, a patched clock."""

import asyncio
import itertools
import random
import time

import pytest

from tests.helpers.running import run_until, turn


def test_time_is_the_monotonic_clock(loop):
    before = time.monotonic()
    now = loop.time()
    assert isinstance(now, float)
    assert before - 0.01 <= now <= time.monotonic() + 0.01


@pytest.mark.differs(uvloop="its clock ticks in milliseconds")
def test_the_clock_is_as_fine_as_the_kernels(loop):
    """It ticks between any two looks, within a callback too."""
    ticks = []

    def look():
        times = [loop.time() for _ in range(1000)]
        ticks.extend(after - before for before, after in itertools.pairwise(times) if after > before)

    loop.call_soon(look)
    turn(loop)
    assert len(ticks) > 500
    assert min(ticks) < 0.000_1


def test_time_goes_on_during_a_callback(loop):
    seen = []

    def callback():
        seen.append(loop.time())
        time.sleep(0.005)
        seen.append(loop.time())

    loop.call_soon(callback)
    turn(loop)
    assert seen[1] - seen[0] >= 0.003  # uvloop counts milliseconds


def test_one_timer(loop):
    ran = []
    start = loop.time()
    timer = loop.call_later(0.01, lambda: ran.append(loop.time()))
    run_until(loop, lambda: ran)
    assert ran[0] >= timer.when() - 0.002
    assert ran[0] - start < 5


def test_arguments(loop):
    ran = []
    loop.call_later(0.001, lambda *args: ran.append(args), 1, 2, 3, 4)
    loop.call_at(loop.time() + 0.002, lambda *args: ran.append(args))
    run_until(loop, lambda: len(ran) == 2)
    assert ran == [(1, 2, 3, 4), ()]


@pytest.mark.differs(uvloop="fires timers up to 1.4 ms early")
def test_none_of_20_000_timers_is_early_and_all_are_in_order(loop):
    """asyncio itself allows a timer one tick of the clock (1 ns on Linux) before its time."""
    rng = random.Random(20_000)
    fired = []
    early = []

    def fire(index, deadline):
        if loop.time() < deadline - 2e-9:
            early.append(deadline - loop.time())
        fired.append((deadline, index))

    base = loop.time()
    for index in range(20_000):
        deadline = base + 0.05 + rng.random() * 0.4
        loop.call_at(deadline, fire, index, deadline)
    run_until(loop, lambda: len(fired) == 20_000)
    assert early == []
    assert fired == sorted(fired)


@pytest.mark.differs(asyncio="its heap keeps no order", uvloop="rounds what is left to milliseconds", strict=False)
def test_equal_deadlines_run_in_the_order_of_their_calls(loop):
    ran = []
    deadline = loop.time() + 0.005
    for index in range(500):
        loop.call_at(deadline, ran.append, index)
    run_until(loop, lambda: len(ran) == 500)
    assert ran == list(range(500))


@pytest.mark.differs(uvloop="takes every deadline in the past for now")
def test_deadlines_in_the_past_run_in_the_order_of_the_deadlines(loop):
    ran = []
    now = loop.time()
    loop.call_at(now - 1, ran.append, "second")
    loop.call_at(now - 2, ran.append, "first")
    loop.call_at(now - 0.5, ran.append, "third")
    run_until(loop, lambda: len(ran) == 3)
    assert ran == ["first", "second", "third"]


def test_negative_delay_runs_at_once(loop):
    ran = []
    loop.call_later(-5, ran.append, "late")
    run_until(loop, lambda: ran)
    assert ran == ["late"]


@pytest.mark.differs(uvloop="runs it in the same turn")
def test_timer_set_in_a_callback_runs_a_turn_later(loop):
    ran = []

    def first():
        loop.call_later(0, ran.append, "timer")
        ran.append("first")

    loop.call_soon(first)
    turn(loop)
    assert ran == ["first"]
    run_until(loop, lambda: len(ran) == 2)


def test_cancelled_timer_does_not_run(loop):
    ran = []
    timer = loop.call_later(0.001, ran.append, "never")
    loop.call_later(0.002, ran.append, "then")
    timer.cancel()
    assert timer.cancelled()
    run_until(loop, lambda: ran)
    assert ran == ["then"]


def test_due_timer_cancelled_by_an_earlier_one(loop):
    ran = []
    timers = []
    now = loop.time() - 1
    loop.call_at(now, lambda: timers[0].cancel())
    timers.append(loop.call_at(now + 0.5, ran.append, "never"))
    loop.call_at(now + 0.6, ran.append, "last")
    run_until(loop, lambda: ran)
    assert ran == ["last"]


def test_cancel_lets_go_of_the_arguments_of_a_far_timer(loop):
    import weakref

    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    timer = loop.call_later(3600, lambda thing: None, thing)
    del thing
    timer.cancel()
    assert ref() is None


@pytest.mark.differs(uvloop="rounds every delay to a millisecond")
def test_many_cancelled_timers_among_live_ones(loop):
    rng = random.Random(7)
    ran = []
    base = loop.time() + 0.02
    for _ in range(20):
        timers = [(offset, loop.call_at(base + offset, ran.append, offset)) for offset in
                  (rng.random() * 0.02 for _ in range(500))]  # fmt: skip
        for _, timer in timers[1:]:
            timer.cancel()
    run_until(loop, lambda: len(ran) == 20)
    run_until(loop, lambda: loop.time() > base + 0.03)
    assert len(ran) == 20
    assert ran == sorted(ran)


def test_huge_delays(loop):
    ran = []
    timers = [loop.call_later(delay, ran.append, delay) for delay in (1e6, 1e9, 10**10)]
    turn(loop)
    loop.call_later(0.001, ran.append, "soon")
    run_until(loop, lambda: ran)
    assert ran == ["soon"]
    for timer in timers:
        timer.cancel()


@pytest.mark.parametrize("delay", [float("inf"), 1e18, 1e300])
def test_a_delay_beyond_all_time_never_comes(loop, delay):
    ran = []
    timer = loop.call_later(delay, ran.append, "never")
    loop.call_later(0.001, ran.append, "soon")
    run_until(loop, lambda: ran)
    assert ran == ["soon"]
    timer.cancel()


def test_the_loop_waits_as_long_as_the_farthest_deadline_allows(loop):
    """A deadline farther than epoll can wait must neither fail nor spin."""
    timer = loop.call_later(1e9, lambda: None)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    timer.cancel()


@pytest.mark.differs(asyncio="call_at('x') poisons the timer heap")
@pytest.mark.parametrize("wrong", ["x", [], object()], ids=["text", "list", "object"])
def test_a_wrong_deadline_is_refused_and_harms_nothing(loop, wrong):
    ran = []
    loop.call_later(0.001, ran.append, "before")
    with pytest.raises(TypeError):
        loop.call_at(wrong, ran.append, "wrong")
    with pytest.raises(TypeError):
        loop.call_later(wrong, ran.append, "wrong")
    loop.call_later(0.002, ran.append, "after")
    run_until(loop, lambda: len(ran) == 2)
    assert ran == ["before", "after"]


def test_none_is_no_deadline(loop):
    with pytest.raises(TypeError):
        loop.call_later(None, print)
    with pytest.raises(TypeError):
        loop.call_at(None, print)


def test_integers_and_other_numbers_are_delays(loop):
    from fractions import Fraction

    ran = []
    loop.call_later(0, ran.append, "int")
    loop.call_later(Fraction(1, 1000), ran.append, "fraction")
    loop.call_later(True, ran.append, "bool").cancel()
    run_until(loop, lambda: len(ran) == 2)
    assert sorted(ran) == ["fraction", "int"]


def test_timers_run_while_the_loop_is_busy(loop):
    """A callback that reschedules itself for ever must not starve a due timer."""
    count = 0

    def busy():
        nonlocal count
        count += 1
        loop.call_soon(busy)

    loop.call_soon(busy)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert count > 1


def test_a_timer_that_reschedules_itself_does_not_starve_callbacks(loop):
    ran = []

    def again():
        loop.call_later(0, again)

    loop.call_later(0, again)
    loop.call_later(0.005, ran.append, "timer")
    run_until(loop, lambda: ran)


def test_sleep_ends_in_the_order_of_the_delays(loop):
    async def nap(delay, result):
        await asyncio.sleep(delay)
        ended.append(result)

    async def main():
        await asyncio.gather(*(nap(i * 0.002, i) for i in (5, 3, 1, 4, 2)))

    ended: list[int] = []
    loop.run_until_complete(main())
    assert ended == [1, 2, 3, 4, 5]


@pytest.mark.differs(uvloop="ignores a patched clock")
def test_a_clock_patched_on_the_instance_is_respected(loop):
    now = 1000.0
    loop.time = lambda: now
    ran = []
    timer = loop.call_later(5, ran.append, "due")
    assert timer.when() == 1005.0
    turn(loop)
    turn(loop)
    assert ran == []
    now = 1006.0
    turn(loop)
    turn(loop)
    assert ran == ["due"]
    del loop.time


@pytest.mark.differs(uvloop="ignores an overridden clock")
def test_a_clock_overridden_in_a_subclass_is_respected(loop):
    class Frozen(type(loop)):  # type: ignore[misc]
        now = 5000.0

        def time(self):
            return self.now

    frozen = Frozen()
    try:
        ran = []
        assert frozen.call_later(10, ran.append, "due").when() == 5010.0
        assert frozen.call_at(5003, ran.append, "sooner").when() == 5003
        turn(frozen)
        turn(frozen)
        assert ran == []
        frozen.now = 5004.0
        turn(frozen)
        turn(frozen)
        assert ran == ["sooner"]
        frozen.now = 6000.0
        turn(frozen)
        turn(frozen)
        assert ran == ["sooner", "due"]
    finally:
        frozen.close()


def test_contexts_of_timers(loop):
    import contextvars

    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen = []
    var.set("at the call")
    loop.call_later(0.001, lambda: seen.append(var.get()))
    var.set("later")
    context = contextvars.copy_context()
    context.run(var.set, "given")
    loop.call_later(0.002, lambda: seen.append(var.get()), context=context)
    loop.call_at(loop.time() + 0.003, lambda: seen.append(var.get()), context=context)
    run_until(loop, lambda: len(seen) == 3)
    assert seen == ["at the call", "given", "given"]
