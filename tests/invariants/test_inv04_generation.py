"""Invariant 4: an event for a descriptor that was closed, and whose number is in use again, is dropped."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import run, run_until, turn
from tests.probes import peers


def take_number(number: int, sock: socket.socket) -> socket.socket:
    """A duplicate of the socket at this very number, which must be free."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    os.dup2(sock.fileno(), number, inheritable=False)
    again = socket.socket(fileno=number)
    again.setblocking(False)
    return again


def test_stale_event_for_a_reader(loop: asyncio.AbstractEventLoop, pair: Callable[[], Any]) -> None:
    """Two readers are ready in the same poll; the first closes the other and gives its number to a new socket."""
    calls: list[str] = []
    for _ in range(10):
        (a, peer_a), (b, peer_b), (c, peer_c) = pair(), pair(), pair()
        fresh: list[socket.socket] = []

        def ready(name: str, mine: socket.socket, other: socket.socket, c: Any = c, fresh: Any = fresh) -> None:
            calls.append(name)
            mine.recv(100)
            if not fresh:
                number = other.fileno()
                loop.remove_reader(number)
                other.close()
                fresh.append(take_number(number, c))
                loop.add_reader(fresh[0], calls.append, "stale")

        loop.add_reader(a, ready, "a", a, b)
        loop.add_reader(b, ready, "b", b, a)
        peer_a.send(b"x")
        peer_b.send(b"x")
        for _ in range(4):
            turn(loop)
        assert calls in (["a"], ["b"]), calls
        peer_c.send(b"x")
        run_until(loop, lambda: calls[1:2] == ["stale"])  # its own event does come
        loop.remove_reader(fresh[0])
        survivor = a if calls[0] == "a" else b
        loop.remove_reader(survivor)
        for sock in (a, b, c, *fresh):
            sock.close()
        calls.clear()


def test_stale_event_for_a_listener(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """data_received stops a server whose connection waits in the same poll; a transport gets the listener's number."""
    for _ in range(10):
        _stop_a_listener(loop, attach)


def _stop_a_listener(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    taken: list[socket.socket] = []
    served: list[Recorder] = []

    def factory() -> Recorder:
        served.append(Recorder())
        return served[-1]

    def data(self: Recorder, _: bytes) -> None:
        ours, peer = socket.socketpair()
        server.close()
        taken.extend([take_number(number, ours), peer])
        ours.close()

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    address, number = server.sockets[0].getsockname(), server.sockets[0].fileno()
    stopper, fresh = Recorder(data=data), Recorder()
    _, peer = attach(stopper)
    client = socket.create_connection(address)
    peer.sendall(b"x")
    run_until(loop, lambda: bool(taken))
    loop.run_until_complete(loop.connect_accepted_socket(lambda: fresh, taken[0]))
    for _ in range(4):
        turn(loop)
    assert fresh.kinds == ["made"]
    taken[1].sendall(b"mine")
    run_until(loop, lambda: fresh.received == b"mine")
    made = [protocol for protocol in served if protocol.transport is not None]  # the listener's event came first
    ended = [stopper, fresh, *made]
    for protocol in ended:
        protocol.transport.abort()
    run_until(loop, lambda: all(protocol.count("lost") for protocol in ended))
    turn(loop)
    client.close()
    taken[1].close()


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
def test_number_taken_by_a_new_transport(loop: asyncio.AbstractEventLoop, attach: Any, pair: Any, how: str) -> None:
    """Both connections are ready in one poll; the first to be called ends the other, whose number is used anew."""
    for _ in range(10):
        _end_the_other(loop, attach, pair, how)


def _end_the_other(loop: asyncio.AbstractEventLoop, attach: Any, pair: Any, how: str) -> None:
    def data(self: Recorder, _: bytes) -> None:
        other = protocols[1] if self is protocols[0] else protocols[0]
        if not self.transport.is_closing():
            getattr(other.transport, how)()

    ours, peer = pair()  # made now, or it would take the number itself
    protocols = [Recorder(data=data), Recorder(data=data)]
    (_, peer_a), (_, peer_b) = attach(protocols[0]), attach(protocols[1])
    numbers = [protocol.transport.get_extra_info("socket").fileno() for protocol in protocols]
    peer_a.sendall(b"x")
    peer_b.sendall(b"x")
    run_until(loop, lambda: protocols[0].count("lost") + protocols[1].count("lost") >= 1)
    turn(loop)
    ended = 0 if protocols[0].count("lost") else 1
    assert protocols[ended].received == b"", "data came for a connection that had been closed"
    assert protocols[1 - ended].received == b"x"

    fresh = Recorder()
    again = take_number(numbers[ended], ours)
    ours.close()
    run(loop, loop.connect_accepted_socket(lambda: fresh, again))
    for _ in range(4):
        turn(loop)
    assert fresh.kinds == ["made"]
    peer.sendall(b"mine")
    run_until(loop, lambda: fresh.received == b"mine")
    for each in (protocols[1 - ended], fresh):
        each.transport.abort()
    for _ in range(3):
        turn(loop)


def test_a_closed_number_dupped_elsewhere(loop: asyncio.AbstractEventLoop, attach: Any, pair: Any) -> None:
    """A duplicate keeps the closed connection alive in the kernel: what arrives there wakes nobody."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    copy = os.dup(transport.get_extra_info("socket").fileno())
    transport.abort()
    run_until(loop, lambda: protocol.count("lost") == 1)
    turn(loop)
    peer.sendall(b"nobody reads this")
    other = Recorder()
    _, other_peer = attach(other)
    before = loop.metrics()["events"]  # type: ignore[attr-defined]
    for _ in range(20):
        turn(loop)
    assert loop.metrics()["events"] - before <= 1  # type: ignore[attr-defined]
    other_peer.sendall(b"alive")
    run_until(loop, lambda: other.received == b"alive")
    assert protocol.received == b""
    assert peers.readable_within(peer, 0) is False  # the duplicate keeps the connection open
    os.close(copy)
    other.transport.abort()
    run_until(loop, lambda: other.count("lost") == 1)
    turn(loop)
