"""What is dropped is collected, what is closed is gone: loops with all they hold, unclosed or closed too early."""

import asyncio
import gc
import socket
import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.helpers.protocols import Echo, Recorder
from tests.helpers.running import run, turn
from tests.probes import kernel, peers


@contextmanager
def resource_warnings() -> Iterator[list[str]]:
    """The texts of the ResourceWarnings raised in the block, those out of finalizers too."""
    texts: list[str] = []

    def note(message: Any, category: type[Warning], *_: object) -> None:
        """Keeps the text alone: the warning itself knows its source, and would keep it alive."""
        if issubclass(category, ResourceWarning):
            texts.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note  # type: ignore[assignment]
        yield texts
        gc.collect()
        gc.collect()


class Cyclic(Recorder):
    """A protocol that closes every circle it can: it knows its loop, its transport and itself."""

    def __init__(self, loop: Any) -> None:
        super().__init__()
        self.loop, self.me = loop, self


def furnish(loop: asyncio.AbstractEventLoop, kind: str) -> list[socket.socket]:
    """Give the loop handles, timers, readers, connections and a listener that know it; returns the peers' sockets."""
    loop.myself = loop  # type: ignore[attr-defined]
    loop.call_soon(lambda: loop)
    loop.call_later(1000, lambda: loop)
    handle = loop.call_later(2000, print)
    handle.cancel()
    loop.call_soon_threadsafe(lambda: loop)
    made: list[socket.socket] = []

    async def connect() -> None:
        for _ in range(3):
            ours, peer = peers.PAIRS[kind]()
            made.append(peer)
            await loop.connect_accepted_socket(lambda: Cyclic(loop), ours)
        await loop.create_server(lambda: Cyclic(loop), "127.0.0.1", 0)

    run(loop, connect())
    watched, other = socket.socketpair()
    made.append(other)
    loop.add_reader(watched, lambda: (loop, watched))
    waited, other = socket.socketpair()
    made.append(other)
    waited.setblocking(False)

    async def wait() -> None:
        await loop.sock_recv(waited, 1)

    loop.create_task(wait())
    turn(loop)
    return made


def test_a_dropped_loop_is_collected_and_warns(loop_factory: Any, kind: str) -> None:
    """Never closed, and nobody knows it any more: collected with all it holds, descriptors too, with a warning."""
    before = kernel.descriptors()
    with resource_warnings() as texts:
        loop = loop_factory()
        loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending"
        others = furnish(loop, kind)
        ref = weakref.ref(loop)
        del loop
        gc.collect()
        gc.collect()
        assert ref() is None, gc.get_referrers(ref())
    assert any("unclosed event loop" in text for text in texts), texts
    assert any("unclosed transport" in text for text in texts), texts
    for sock in others:
        assert peers.outcome(sock) in ("eof", "reset")
        sock.close()
    assert kernel.descriptors() == before


def test_a_closed_loop_lets_go_of_everything(loop_factory: Any, kind: str) -> None:
    """close() with live transports, timers and readers; what is left warns as it is collected, and closes."""
    before = kernel.descriptors()
    with resource_warnings():
        loop = loop_factory()
        loop.set_exception_handler(lambda loop, context: None)
        others = furnish(loop, kind)
        loop.close()
        loop.close()
        assert loop.is_closed()
        with pytest.raises(RuntimeError):
            loop.call_soon(print)
        with pytest.raises(RuntimeError):
            loop.call_soon_threadsafe(print)
        with pytest.raises(RuntimeError):
            loop.run_forever()
        ref = weakref.ref(loop)
        del loop
        gc.collect()
        gc.collect()
        assert ref() is None, gc.get_referrers(ref())
    for sock in others:
        sock.close()
    assert kernel.descriptors() == before


def test_a_live_transport_keeps_its_loop(loop_factory: Any, kind: str) -> None:
    """A transport that is all that is left of a loop: its methods are safe, and then it goes."""
    with resource_warnings() as texts:
        loop = loop_factory()
        ours, peer = peers.PAIRS[kind]()
        transport = loop.run_until_complete(loop.connect_accepted_socket(lambda: Cyclic(None), ours))[0]
        del loop, ours
        gc.collect()
        transport.write(b"still here")
        assert peers.recv_exact(peer, 10) == b"still here"
        transport.pause_reading()
        transport.close()
        repr(transport)
        del transport
        gc.collect()
    assert texts
    peer.close()


@pytest.mark.parametrize("held", [False, True])
def test_a_transport_that_nobody_holds_lives(loop: asyncio.AbstractEventLoop, attach: Any, held: bool) -> None:
    """The loop holds an open connection, as asyncio's selector does."""
    transport, peer = attach(Echo())
    ref = weakref.ref(transport)
    if not held:
        del transport
    gc.collect()
    peer.sendall(b"ping")
    for _ in range(3):
        turn(loop)
    assert peers.recv_exact(peer, 4) == b"ping"
    peer.close()
    for _ in range(4):
        turn(loop)
    transport = None
    gc.collect()
    assert ref() is None, gc.get_referrers(ref())


def test_handles_let_go_of_what_they_ran(loop: asyncio.AbstractEventLoop) -> None:
    """Callbacks, arguments and contexts are released once run or cancelled, whoever keeps the handle."""

    class Thing:
        def call(self, *args: Any) -> None:
            pass

    kept = []
    refs = []
    for schedule in (
        lambda thing: loop.call_soon(thing.call, thing),
        lambda thing: loop.call_later(0, thing.call, thing, 1, 2, 3, 4),
        lambda thing: loop.call_at(loop.time() + 1000, thing.call, thing),
        lambda thing: loop.call_soon_threadsafe(thing.call, thing),
    ):
        thing = Thing()
        refs.append(weakref.ref(thing))
        kept.append(schedule(thing))
    del thing
    kept[2].cancel()
    for _ in range(3):
        turn(loop)
    gc.collect()
    alive = [i for i, ref in enumerate(refs) if ref() is not None]
    # asyncio's handles keep callback and arguments after they ran; a cancelled one lets go
    assert 2 not in alive
    kept.clear()
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


def test_many_cancelled_timers_are_forgotten(loop: asyncio.AbstractEventLoop) -> None:
    """Timers far ahead that are cancelled, as time-outs are, do not pile up in the heap."""
    for _ in range(20_000):
        loop.call_later(3600, print).cancel()
    turn(loop)
    assert loop.metrics()["timers"] < 1000  # type: ignore[attr-defined]


def test_immortal_counts(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """None, True and small numbers that pass through the core keep their reference counts (3.11: they are counted)."""
    if sys.version_info >= (3, 12):
        pytest.skip("immortal since 3.12: their counts do not change")
    transport, peer = attach(Echo())

    def work() -> None:
        for _ in range(200):
            transport.get_extra_info("nothing")
            transport.is_closing()
            transport.set_write_buffer_limits()
            loop.call_soon(lambda: None)
            loop.call_later(0, lambda: None)
            peer.sendall(b"x")
            turn(loop)
            peer.recv(1)
            turn(loop)

    work()
    before = sys.getrefcount(None), sys.getrefcount(True), sys.getrefcount(False)
    work()
    after = sys.getrefcount(None), sys.getrefcount(True), sys.getrefcount(False)
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True)), (before, after)
    transport.abort()
    turn(loop)
