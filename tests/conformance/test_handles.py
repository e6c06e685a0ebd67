"""Handle and TimerHandle: what asyncio documents of them, and what its users rely on."""

import asyncio
import contextvars

import pytest

from tests.helpers.running import turn


def named_callback(*args):
    """A callback whose name shows in repr()."""


@pytest.mark.differs(uvloop="its handles are no asyncio.Handle")
def test_types(loop):
    handle = loop.call_soon(named_callback)
    timer = loop.call_later(3600, named_callback)
    at = loop.call_at(loop.time() + 3600, named_callback)
    threadsafe = loop.call_soon_threadsafe(named_callback)
    assert isinstance(handle, asyncio.Handle)
    assert isinstance(threadsafe, asyncio.Handle)
    assert isinstance(timer, asyncio.TimerHandle)
    assert isinstance(timer, asyncio.Handle)
    assert isinstance(at, asyncio.TimerHandle)
    assert not isinstance(handle, asyncio.TimerHandle)
    for each in (handle, timer, at, threadsafe):
        each.cancel()


@pytest.mark.differs(uvloop="its repr tells the name alone")
def test_repr_names_the_callback_and_its_arguments(loop):
    handle = loop.call_soon(named_callback)
    assert "Handle" in repr(handle)
    assert "named_callback(" in repr(handle)
    handle.cancel()
    assert "cancelled" in repr(handle)
    assert "named_callback" not in repr(handle)
    loop.set_debug(True)  # since Python 3.13 arguments show in debug mode alone
    handle = loop.call_soon(named_callback, 1, "two")
    assert "named_callback(1, 'two')" in repr(handle)
    handle.cancel()
    assert "named_callback(1, 'two')" in repr(handle)


@pytest.mark.differs(uvloop="its repr tells the name alone")
def test_repr_says_where_the_callback_is_defined(loop):
    handle = loop.call_soon(named_callback)
    assert __file__ in repr(handle)
    assert str(named_callback.__code__.co_firstlineno) in repr(handle)
    handle.cancel()


@pytest.mark.differs(uvloop="its repr tells the name alone")
def test_repr_of_a_timer(loop):
    timer = loop.call_later(3600, named_callback, "argument")
    assert repr(timer).startswith("<TimerHandle")
    assert "named_callback(" in repr(timer)
    timer.cancel()
    assert "cancelled" in repr(timer)


@pytest.mark.differs(uvloop="its repr does not tell when")
def test_repr_of_a_timer_tells_when(loop):
    timer = loop.call_later(3600, named_callback)
    assert f"when={timer.when()}" in repr(timer)
    timer.cancel()


def test_when(loop):
    at = loop.time() + 1234.5
    timer = loop.call_at(at, named_callback)
    assert timer.when() == pytest.approx(at, abs=0.001)
    before = loop.time()
    later = loop.call_later(100, named_callback)
    assert before + 100 - 0.001 <= later.when() <= loop.time() + 100.001
    timer.cancel()
    later.cancel()


@pytest.mark.differs(uvloop="rounds the deadline to its millisecond clock")
def test_when_is_what_call_at_was_given(loop):
    at = loop.time() + 1234.567891
    timer = loop.call_at(at, named_callback)
    assert timer.when() == at
    timer.cancel()


def test_when_survives_cancel(loop):
    timer = loop.call_later(3600, named_callback)
    when = timer.when()
    timer.cancel()
    assert timer.when() == when


@pytest.mark.differs(uvloop="call_later(0) gives a plain Handle without when()")
def test_timer_without_delay_is_a_timer_handle(loop):
    timer = loop.call_later(0, named_callback)
    assert isinstance(timer, asyncio.TimerHandle)
    assert timer.when() <= loop.time()
    timer.cancel()


def test_get_context(loop):
    context = contextvars.copy_context()
    handles = [
        loop.call_soon(named_callback, context=context),
        loop.call_later(3600, named_callback, context=context),
        loop.call_at(loop.time() + 3600, named_callback, context=context),
        loop.call_soon_threadsafe(named_callback, context=context),
    ]
    for handle in handles:
        if hasattr(handle, "get_context"):  # since Python 3.12
            assert handle.get_context() is context
        handle.cancel()


@pytest.mark.differs(uvloop="has no ordering of timer handles")
def test_timers_compare_by_deadline(loop):
    base = loop.time() + 3600
    early, late, same = (loop.call_at(base + delay, named_callback) for delay in (0, 1, 0))
    assert early < late
    assert late > early
    assert early <= same
    assert early >= same
    assert early <= late
    assert not early > late
    assert early != late
    assert sorted([late, early])[0] is early
    for timer in (early, late, same):
        timer.cancel()


@pytest.mark.differs(uvloop="compares timer handles by identity")
def test_equal_timers(loop):
    at = loop.time() + 3600
    context = contextvars.copy_context()
    one, two = (loop.call_at(at, named_callback, "same", context=context) for _ in range(2))
    other = loop.call_at(at, named_callback, "other", context=context)
    assert one == two
    assert one != other
    assert one != 3
    for timer in (one, two, other):
        timer.cancel()


def test_timer_is_no_number(loop):
    timer = loop.call_later(3600, named_callback)
    with pytest.raises(TypeError):
        timer < 3  # noqa: B015
    timer.cancel()


@pytest.mark.differs(uvloop="hashes timer handles by identity")
def test_timer_hash_is_that_of_its_deadline(loop):
    timer = loop.call_at(loop.time() + 3600, named_callback)
    assert hash(timer) == hash(timer.when())
    timer.cancel()


def test_handles_are_hashable_and_equal_to_themselves(loop):
    handles = [loop.call_soon(named_callback) for _ in range(3)]
    assert len(set(handles)) == 3
    assert handles[0] == handles[0]
    assert handles[0] != handles[1]
    for handle in handles:
        handle.cancel()


def test_handles_can_be_referred_to_weakly(loop):
    import weakref

    handle = loop.call_soon(named_callback)
    ref = weakref.ref(handle)
    assert ref() is handle
    timer = loop.call_later(3600, named_callback)
    assert weakref.ref(timer)() is timer
    handle.cancel()
    timer.cancel()


@pytest.mark.differs(uvloop="keeps them out of reach")
def test_private_state_that_asyncio_tools_read(loop):
    """Debuggers and test libraries look at these attributes of asyncio's handles."""
    handle = loop.call_soon(named_callback, 1)
    assert handle._callback is named_callback
    assert handle._args == (1,)
    assert handle._cancelled is False
    handle.cancel()
    assert handle._cancelled is True
    assert handle._callback is None


def test_handle_kept_after_its_run_can_be_told(loop):
    handle = loop.call_soon(named_callback, 1)
    timer = loop.call_later(0.001, named_callback, 2)
    turn(loop)
    while loop.time() < timer.when() + 0.01:
        turn(loop)
    assert "Handle" in repr(handle)
    assert "TimerHandle" in repr(timer)
    assert not timer.cancelled()


@pytest.mark.differs(uvloop="its repr tells the name alone")
def test_handle_keeps_the_callback_after_the_run(loop):
    """asyncio keeps it, so that repr and slow-callback warnings can name it."""
    handle = loop.call_soon(named_callback, 1)
    turn(loop)
    assert "named_callback(" in repr(handle)
