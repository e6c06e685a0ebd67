"""Invariant 7: after any callback of the user the state is looked at again.

A connection is led through its whole life: data, output past the mark, its drain, the peer's end, the close. In each
of the eight callbacks one thing is done that changes the state, and the rest of the life goes on. Whatever is done: no
crash, one connection_made, one connection_lost, nothing after it, and no descriptor or object left.
"""

import asyncio
import contextlib
import functools
import gc
import os
import socket
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.running import turn
from tests.probes import peers

CALLBACKS = [
    "connection_made", "get_buffer", "data_received", "buffer_updated", "pause_writing", "resume_writing",
    "eof_received", "connection_lost",
]  # fmt: skip


class OnPurpose(Exception):
    """What the action `raise_` raises."""


class _Life:
    """Follows one connection, and does the action in the callback asked for, once."""

    def __init__(self, where: str, action: Callable[["_Life"], object]) -> None:
        self.where, self.action = where, action
        self.transport: Any = None
        self.loop: Any = None
        self.seen: list[str] = []
        self.done = False
        self.buffer = bytearray(1000)

    def enter(self, name: str) -> None:
        if self.seen[-1:] == ["connection_lost"]:
            self.seen.append(f"{name} after connection_lost")
        self.seen.append(name)
        if name == self.where and not self.done:
            self.done = True
            self.action(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=10_000)
        self.enter("connection_made")

    def pause_writing(self) -> None:
        self.enter("pause_writing")

    def resume_writing(self) -> None:
        self.enter("resume_writing")

    def eof_received(self) -> bool:
        self.enter("eof_received")
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        self.enter("connection_lost")


class Streaming(_Life, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.enter("data_received")


class Buffered(_Life, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> bytearray:
        self.enter("get_buffer")
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.enter("buffer_updated")


def returned(life: Any) -> Any:
    """A factory's body that lets go of what it made."""
    return life


def sort_for(where: str) -> type[_Life]:
    """The sort of protocol that has this callback."""
    return Buffered if where in ("get_buffer", "buffer_updated") else Streaming


def switch_protocol(life: _Life) -> None:
    """Another protocol takes over, of the other sort (not in get_buffer: its buffer_updated is still to come)."""
    buffered = isinstance(life, Buffered) == (life.where == "get_buffer")
    other = (Buffered if buffered else Streaming)("nowhere", lambda _: None)
    other.seen, other.transport = life.seen, life.transport
    life.transport.set_protocol(other)


def drop_references(life: _Life) -> None:
    life.transport = None
    gc.collect()


def raise_(life: _Life) -> None:
    raise OnPurpose


def write_eof(life: _Life) -> None:
    with contextlib.suppress(RuntimeError):  # asyncio refuses it once closing
        life.transport.write_eof()


def several(life: _Life) -> None:
    """Pause and resume, write and close: several changes in one callback."""
    life.transport.pause_reading()
    life.transport.write(b"x" * 50_000)
    life.transport.resume_reading()
    life.transport.close()
    life.transport.write(b"too late")
    life.transport.abort()


ACTIONS: dict[str, Callable[[_Life], object]] = {
    "close": lambda life: life.transport.close(),
    "abort": lambda life: life.transport.abort(),
    "reset": lambda life: life.transport.reset(),
    "shutdown_read": lambda life: life.transport.shutdown_read(),
    "pause_reading": lambda life: life.transport.pause_reading(),
    "write": lambda life: life.transport.write(b"x" * 50_000),
    "write_eof": write_eof,
    "set_protocol": switch_protocol,
    "raise": raise_,
    "stop": lambda life: life.loop.stop(),
    "drop_references": drop_references,
    "several": several,
}


class Driver:
    """Leads the connection through its life from outside, whatever state it is in."""

    def __init__(self, loop: asyncio.AbstractEventLoop, life: _Life, peer: socket.socket) -> None:
        self.loop, self.life, self.peer = loop, life, peer
        self.peer_open = True

    def turns(self, count: int = 6) -> None:
        """So many turns; an action may stop the loop earlier, which is one of them."""
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def peer_sends(self) -> None:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            self.peer.sendall(b"y" * 2500)

    def peer_ends(self) -> None:
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_WR)

    def fill(self, transport: Any) -> None:
        """Write until output waits, past the high-water mark: pause_writing."""
        for _ in range(2000):
            if transport.is_closing() or transport.get_write_buffer_size() > 10_000:
                break
            with contextlib.suppress(RuntimeError):  # after write_eof
                transport.write(bytes(20_000))

    def peer_drains(self) -> None:
        """The peer takes all that waits: resume_writing. Until nothing has come for some turns in a row."""
        quiet = 0
        while self.peer_open and quiet < 3:
            try:
                taken = peers.take_now(self.peer)
            except ConnectionError:
                taken = b""
            if taken == b"":
                self.peer_open = False
            quiet = quiet + 1 if taken is None else 0
            self.turns(1)

    def whole_life(self, transport: Any) -> None:
        self.turns()
        self.peer_sends()
        self.turns()
        transport.resume_reading()
        self.fill(transport)
        self.turns()
        self.peer_drains()
        self.peer_sends()
        self.peer_ends()
        self.turns()
        transport.resume_reading()
        self.turns()
        self.peer_drains()
        transport.close()
        self.turns()
        self.peer_drains()
        if self.life.seen[-1:] != ["connection_lost"]:
            transport.abort()
            self.turns()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("where", CALLBACKS)
def test_change_of_state(
    loop: asyncio.AbstractEventLoop, pair: Any, errors: list[dict[str, Any]], where: str, action: str
) -> None:
    life = sort_for(where)(where, ACTIONS[action])
    life.loop = loop
    ours, peer = pair()
    for sock in (ours, peer):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    fd = ours.fileno()
    task = loop.create_task(loop.connect_accepted_socket(functools.partial(returned, life), ours))
    driver = Driver(loop, life, peer)
    driver.turns()
    transport, _ = task.result()
    driver.whole_life(transport)
    transport_ref = weakref.ref(transport)

    assert life.done, f"{where} was never called: {life.seen}"
    assert life.seen[0] == "connection_made"
    assert life.seen.count("connection_made") == 1
    assert life.seen.count("connection_lost") == 1
    assert life.seen[-1] == "connection_lost"
    raised = [context for context in errors if isinstance(context.get("exception"), OnPurpose)]
    assert len(raised) == (action == "raise"), errors
    assert raised == errors
    errors.clear()
    raised.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    life.transport = None
    del transport, task, life, driver, ours
    gc.collect()
    assert transport_ref() is None, gc.get_referrers(transport_ref())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", CALLBACKS)
def test_exits_propagate(loop: asyncio.AbstractEventLoop, attach: Any, where: str, error: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit leave run_forever; the loop can go on, and the connection be closed."""

    def leave(life: _Life) -> None:
        raise error

    life = sort_for(where)(where, leave)
    ours_peer: list[Any] = []
    left = 0

    def guarded(step: Callable[[], object]) -> None:
        nonlocal left
        try:
            step()
        except error:
            left += 1

    guarded(lambda: ours_peer.extend(attach(life)))
    if where == "connection_made":
        assert left == 1
        life.transport.abort()
        for _ in range(4):
            turn(loop)
        _drop_tasks(loop)
        return
    transport, peer = ours_peer
    driver = Driver(loop, life, peer)
    for step in (
        driver.turns, driver.peer_sends, driver.turns, lambda: driver.fill(transport), driver.turns, driver.peer_drains,
        driver.peer_ends, driver.turns, driver.turns, transport.abort, driver.turns, driver.turns,
    ):  # fmt: skip
        guarded(step)
    assert left == 1
    assert life.seen.count("connection_lost") == 1


def _drop_tasks(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
