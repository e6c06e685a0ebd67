"""A loop that is dropped without close() while it has handles and timers is collected, and says so."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import fastnet
import fastnet_c
from fastnet_c.handle import Handle
from fastnet_c.timers import TimerHandle
from tests.helpers.running import turn
from tests.unit.support import Finalized, count_objects, each_time


class Thing:
    """Something that can be referred to weakly."""


def in_handles(loop: Any, thing: Any) -> None:
    """More than the ring had room for at first."""
    for i in range(200):
        loop.call_soon(lambda i=i: (loop, thing, i))


def in_timers(loop: Any, thing: Any) -> None:
    """Live and cancelled ones, which know one another."""
    made: list[asyncio.TimerHandle] = []
    made += [loop.call_later(3600 + i, lambda: (loop, thing, made)) for i in range(200)]
    for timer in made[::2]:
        timer.cancel()


def in_contexts(loop: Any, thing: Any) -> None:
    """A context holds the loop, the loop's handle holds the context."""
    var = contextvars.ContextVar("var")
    context = contextvars.copy_context()
    context.run(var.set, (loop, thing))
    loop.call_soon(print, context=context)
    loop.call_later(3600, print, context=context)


def in_used_handles(loop: Any, thing: Any) -> None:
    """The loop has run: handles that wait for reuse hold nothing."""
    for _ in range(100):
        loop.call_soon(id, thing)
    turn(loop)
    loop.call_soon(id, thing)


def in_readers(loop: Any, thing: Any) -> None:
    """Watchers of descriptors (the socket is the callback's own)."""
    import socket

    ours, peer = socket.socketpair()
    loop.add_reader(ours, lambda: (loop, thing, ours, peer))
    loop.add_writer(peer, lambda: (loop, thing, ours, peer))


def in_debug_mode(loop: Any, thing: Any) -> None:
    """Handles carry where they were made."""
    loop.set_debug(True)
    loop.call_soon(id, (thing, loop)).cancel()
    loop.call_soon(id, (thing, loop))
    loop.call_later(3600, id, (thing, loop))


def in_attributes(loop: Any, thing: Any) -> None:
    """The loop's own attributes, a clock and an exception handler among them."""
    clock = loop.time
    loop.time = lambda: (loop, thing) and clock()
    loop.set_exception_handler(lambda *_: (loop, thing))
    loop.thing = thing
    loop.me = loop


HOLDERS = [in_handles, in_timers, in_contexts, in_used_handles, in_readers, in_debug_mode, in_attributes]


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("hold", HOLDERS)
def test_dropped_without_close(hold: Callable[[Any, Any], None]) -> None:
    """All the rest goes with it."""
    gc.collect()
    before = fastnet_c.live_objects(), count_objects(Handle), count_objects(TimerHandle)
    loop = fastnet.new_event_loop()
    thing = Thing()
    hold(loop, thing)
    gone = weakref.ref(thing), weakref.ref(loop)
    del thing
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert (fastnet_c.live_objects(), count_objects(Handle), count_objects(TimerHandle)) == before


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("hold", HOLDERS)
def test_closed(hold: Callable[[Any, Any], None]) -> None:
    """close() alone lets go of what was scheduled; then the loop goes without a warning."""
    loop = fastnet.new_event_loop()
    thing = Thing()
    hold(loop, thing)
    gone = weakref.ref(thing), weakref.ref(loop)
    loop.close()
    del thing
    if hold is not in_attributes:  # these are the loop's as long as it lives
        gc.collect()  # the callbacks' closures are circles of their own
        assert gone[0]() is None
    del loop
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_handles_that_outlive_their_loop() -> None:
    """They hold the loop, as asyncio's do; cancelling them later is harmless."""
    loop = fastnet.new_event_loop()
    kept = [loop.call_soon(print), loop.call_later(3600, print), loop.call_soon_threadsafe(print)]
    ref = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert ref() is not None
    for handle in kept:
        handle.cancel()
        assert handle.cancelled()
        assert "cancelled" in repr(handle)
    del handle
    kept.clear()
    gc.collect()
    assert ref() is None


def test_finalizers_find_a_closed_loop() -> None:
    """What a dropped loop held ends in any order: a finalizer may call the loop, which then is closed or still open."""
    heard: list[str] = []

    def ask(loop: Any) -> None:
        try:
            loop.call_soon(print)
            loop.call_later(1, print)
            heard.append("took it")
        except RuntimeError as exc:
            heard.append(str(exc))

    loop = fastnet.new_event_loop()
    for _ in range(100):
        loop.call_soon(print, Finalized(each_time(1, ask, loop), circle=True))
        loop.call_later(3600, print, Finalized(each_time(1, ask, loop), circle=True))
    ref = weakref.ref(loop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    gc.collect()
    gc.collect()
    assert len(heard) == 200
    assert set(heard) <= {"took it", "Event loop is closed"}
    assert ref() is None


def test_a_loop_whose_making_failed() -> None:
    """A subclass whose __init__ raises, and the core's class alone: memory and descriptors go back."""
    gc.collect()
    before = fastnet_c.live_objects()

    class Failing(fastnet.EventLoop):
        def __init__(self) -> None:
            super().__init__()
            raise ZeroDivisionError

    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        try:
            Failing()
        except ZeroDivisionError:
            pass
        gc.collect()
    loop = fastnet_c.Loop()
    loop.call_soon(print)
    del loop
    gc.collect()
    assert fastnet_c.live_objects() == before
