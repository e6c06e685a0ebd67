"""Handles: that used ones are filled again does not show, and what they held goes back."""

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from fastnet_c.handle import Handle
from tests.helpers.running import turn
from tests.unit.support import Finalized, context_that_calls, count_objects, each_time

var = contextvars.ContextVar("var", default="unset")

Schedule = Callable[..., Any]
WAYS: dict[str, Callable[[Any], Schedule]] = {
    "call_soon": lambda loop: loop.call_soon,
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe,
    "call_later": lambda loop: lambda *args, **kwargs: loop.call_later(0, *args, **kwargs),
    "call_at": lambda loop: lambda *args, **kwargs: loop.call_at(loop.time(), *args, **kwargs),
}


@pytest.fixture(params=list(WAYS))
def schedule(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Schedule:
    """Each way to have a callback called soon."""
    return WAYS[request.param](loop)


def run_all(loop: asyncio.AbstractEventLoop) -> None:
    """What was scheduled has run, timers too, which go by way of the ready ring."""
    for _ in range(3):
        turn(loop)


def test_a_kept_handle_is_never_filled_again(loop: asyncio.AbstractEventLoop, schedule: Schedule) -> None:
    """It stands for its own callback for ever, however many come after."""
    ran: list[object] = []
    kept = [schedule(ran.append, i) for i in range(500)]
    kept[7].cancel()
    run_all(loop)
    assert ran == [i for i in range(500) if i != 7]
    later = [schedule(ran.append, -i) for i in range(500)]
    run_all(loop)
    assert len({id(handle) for handle in kept + later}) == 1000
    assert [handle._args for handle in kept] == [(i,) if i != 7 else None for i in range(500)]
    assert [handle.cancelled() for handle in kept] == [i == 7 for i in range(500)]
    kept[8].cancel()  # it has run: nobody else's callback is cancelled by that
    schedule(ran.append, "last")
    run_all(loop)
    assert ran[-1] == "last"


def test_a_weakly_held_handle_is_never_filled_again(loop: asyncio.AbstractEventLoop, schedule: Schedule) -> None:
    """A weak reference to a handle that has run is dead: it does not lead to another callback."""
    gone: list[object] = []
    refs = []
    for i in range(100):
        handle = schedule(int)
        refs.append(weakref.ref(handle, gone.append))
        if i % 3 == 0:
            handle.cancel()
    del handle
    everyone = weakref.WeakSet(ref() for ref in refs)
    assert len(everyone) == 100
    run_all(loop)
    for _ in range(300):
        schedule(int)
    assert [ref() for ref in refs] == [None] * 100
    assert sorted(gone, key=id) == sorted(refs, key=id)
    assert not everyone
    run_all(loop)


def test_a_used_handle_is_as_new(loop: Any) -> None:
    """Nothing of an earlier life is left: neither the cancellation nor context, traceback or text."""
    loop.set_debug(True)
    for i in range(600):
        handle = loop.call_soon(print, i, context=contextvars.Context())
        handle.cancel()
        assert "cancelled" in repr(handle)
    del handle
    turn(loop)
    loop.set_debug(False)
    ran: list[object] = []
    var.set("mine")
    handles = [loop.call_soon(lambda: ran.append(var.get())) for _ in range(600)]
    for handle in handles:
        assert not handle.cancelled()
        assert handle._source_traceback is None
        assert "cancelled" not in repr(handle)
        assert handle.get_context()[var] == "mine"
    turn(loop)
    assert ran == ["mine"] * 600


def test_a_handle_that_its_callback_keeps(loop: asyncio.AbstractEventLoop, schedule: Schedule) -> None:
    """The only reference is made while the callback runs: by the handle's own callback, out of its arguments."""
    box: list[Any] = []
    kept: list[Any] = []

    def keep(box: list[Any]) -> None:
        kept.append(box.pop())

    for i in range(10):
        box = []
        box.append(schedule(keep, box))
        run_all(loop)
        assert kept[i]._callback is keep
    schedule(print)
    assert [handle._callback for handle in kept] == [keep] * 10
    run_all(loop)


def test_a_handle_told_to_the_exception_handler(loop: Any, errors: list[dict[str, Any]]) -> None:
    """The handler may keep the handle of the callback that failed."""

    def fail() -> None:
        raise ZeroDivisionError

    for _ in range(5):
        loop.call_soon(fail)
        turn(loop)
        loop.call_soon(int)
        turn(loop)
    handles = [context["handle"] for context in errors]
    errors.clear()
    assert len({id(handle) for handle in handles}) == 5
    assert all(handle._callback is fail for handle in handles)


def test_used_handles_are_few(loop: asyncio.AbstractEventLoop) -> None:
    """After a burst, only so many handles are kept for the next one; close() lets go of them."""
    gc.collect()
    before = count_objects(Handle)
    for _ in range(5000):
        loop.call_soon(int)
    assert count_objects(Handle) - before == 5000
    turn(loop)
    assert count_objects(Handle) - before <= 512
    loop.close()
    assert count_objects(Handle) - before <= 0


@pytest.mark.parametrize("fate", ["runs", "is cancelled", "is cancelled and kept", "fails", "ends with the loop"])
def test_what_it_held_goes_back(
    loop: asyncio.AbstractEventLoop, schedule: Schedule, errors: list[dict[str, Any]], fate: str
) -> None:
    """Callback, arguments and context have the reference counts that they had."""

    def callback(*args: Any) -> None:
        if fate == "fails":
            raise ZeroDivisionError

    argument, context = object(), contextvars.Context()
    before = [sys.getrefcount(each) for each in (callback, argument, context)]
    kept = []
    for count in range(8):
        handle = schedule(callback, *[argument] * count, context=context)
        if fate.startswith("is cancelled"):
            handle.cancel()
        if fate.endswith("kept"):
            kept.append(handle)
    del handle
    if fate == "ends with the loop":
        loop.close()
    else:
        run_all(loop)
    if fate == "fails":
        assert len(errors) == 8
        errors.clear()
    gc.collect()
    held = [0, 0, 8 if kept else 0]  # a cancelled handle lets go of all but its context, as asyncio's does
    after = [sys.getrefcount(each) for each in (callback, argument, context)]
    assert after == [a + b for a, b in zip(before, held, strict=True)]


def test_what_it_held_goes_at_once(loop: asyncio.AbstractEventLoop, schedule: Schedule) -> None:
    """Without the collector: an argument is gone as soon as its callback has run or was cancelled."""
    gone: list[str] = []
    schedule(lambda thing: None, Finalized(lambda: gone.append("argument")))
    schedule(lambda: gone.append("next"))
    run_all(loop)
    assert gone == ["argument", "next"]
    schedule(int, context=context_that_calls(lambda: gone.append("context")))
    run_all(loop)
    assert gone[2:] == ["context"]
    handle = schedule(print, Finalized(lambda: gone.append("cancelled")))
    handle.cancel()
    assert gone[3:] == ["cancelled"]
    run_all(loop)


def test_finalizers_that_schedule(loop: asyncio.AbstractEventLoop, schedule: Schedule) -> None:
    """The end of callback, argument and context, each while its handle is being emptied, schedules more."""
    ran: list[str] = []

    def more(name: str) -> Callable[[], object]:
        return each_time(3, schedule, ran.append, name)

    for i in range(100):
        schedule(Finalized(more("callback")))
        schedule(id, Finalized(more("argument")))
        schedule(int, context=context_that_calls(more("context")))
        run_all(loop)
        run_all(loop)
        assert sorted(ran) == ["argument"] * 3 + ["callback"] * 3 + ["context"] * 3, i
        ran.clear()


def test_circles_are_collected(loop: asyncio.AbstractEventLoop, schedule: Schedule) -> None:
    """A handle whose argument holds it, run or cancelled."""
    gone: list[int] = []
    for i in range(10):
        thing = Finalized(each_time(1, gone.append, i))
        thing.handle = schedule(lambda thing: None, thing)  # type: ignore[attr-defined]
        if i % 2:
            thing.handle.cancel()  # type: ignore[attr-defined]
    del thing
    run_all(loop)
    gc.collect()
    assert sorted(gone) == list(range(10))
