"""Invariant 9: a turn runs what was ready at its start, polls, dispatches events, moves due timers to ready."""

import asyncio
import socket
from typing import Any

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run, turn
from tests.probes import peers


def test_stop_ends_after_the_turn(loop: asyncio.AbstractEventLoop) -> None:
    """What was ready runs; what those callbacks schedule waits for the next run."""
    seen: list[str] = []

    def stop() -> None:
        seen.append("stop")
        loop.stop()
        loop.call_soon(seen.append, "scheduled by stop")

    loop.call_soon(stop)
    loop.call_soon(seen.append, "ready")
    loop.run_forever()
    assert seen == ["stop", "ready"]
    turn(loop)
    assert seen == ["stop", "ready", "scheduled by stop"]


def test_stop_before_run(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """stop() before run_forever: one turn, with its poll, that does not wait."""
    protocol = Recorder()
    _, peer = attach(protocol)
    turn(loop)
    before = loop.metrics()["turns"]  # type: ignore[attr-defined]
    peer.sendall(b"x")
    loop.stop()
    loop.run_forever()
    assert loop.metrics()["turns"] - before == 1  # type: ignore[attr-defined]
    loop.stop()
    loop.run_forever()
    assert protocol.received == b"x"
    protocol.transport.abort()
    turn(loop)


def test_a_chain_is_one_callback_a_turn(loop: asyncio.AbstractEventLoop) -> None:
    order: list[str] = []

    def first(count: int) -> None:
        order.append(f"a{count}")
        if count < 3:
            loop.call_soon(first, count + 1)
            loop.call_soon(order.append, f"b{count}")

    loop.call_soon(first, 0)
    for _ in range(5):
        turn(loop)
    assert order == ["a0", "a1", "b0", "a2", "b1", "a3", "b2"]


def test_events_run_before_timers_and_after_ready(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """In one turn: what was ready, then what the poll found, then what came due."""
    order: list[str] = []
    ours, peer = socket.socketpair()
    ours.setblocking(False)

    def readable() -> None:
        loop.remove_reader(ours)
        order.append("event")

    loop.add_reader(ours, readable)
    peer.send(b"x")
    loop.call_later(0, order.append, "timer")
    loop.call_soon(order.append, "ready")
    for _ in range(3):
        turn(loop)
    assert order == ["ready", "event", "timer"]
    ours.close()
    peer.close()


@pytest.mark.parametrize("how", ["close", "abort", "reset"])
def test_connection_lost_is_never_called_from_within(loop: asyncio.AbstractEventLoop, attach: Any, how: str) -> None:
    """It goes through the ready ring: after the call returned, before what is scheduled after it."""
    order: list[str] = []
    protocol = Recorder(lost=lambda self, exc: order.append("lost"))
    transport, _ = attach(protocol)

    def end() -> None:
        loop.call_soon(order.append, "before")
        getattr(transport, how)()
        loop.call_soon(order.append, "after")
        order.append("returned")

    loop.call_soon(end)
    for _ in range(3):
        turn(loop)
    assert order == ["returned", "before", "lost", "after"]


def test_a_failing_write_calls_nothing_from_within(loop: asyncio.AbstractEventLoop, attach: Any, kind: str) -> None:
    """write() on a broken connection returns; connection_lost follows from the loop."""
    order: list[str] = []
    protocol = Recorder(lost=lambda self, exc: order.append("lost"))
    transport, peer = attach(protocol)
    transport.pause_reading()
    peers.close_with_reset(peer) if kind == "tcp" else peer.close()

    def write() -> None:
        for _ in range(3):
            transport.write(b"x" * 100_000)
        order.append("returned")

    loop.call_soon(write)
    for _ in range(4):
        turn(loop)
    assert order == ["returned", "lost"]


def test_connection_made_then_the_first_read(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    """Data waits already: connection_made comes first, with no data_received from within, and a turn of its own."""
    ours, peer = pair()
    peer.sendall(b"early")
    order: list[str] = []

    def made(self: Recorder) -> None:
        order.append("made")
        loop.call_soon(order.append, "scheduled by made")

    protocol = Recorder(made=made, data=lambda self, data: order.append("data"))

    async def main() -> None:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        assert "made" in order
        await protocol.until_received(5)
        transport.abort()
        await protocol.until_seen("lost")

    run(loop, main())
    assert order == ["made", "scheduled by made", "data"]


def test_paused_in_connection_made(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    """pause_reading in connection_made holds the first read back as well."""
    ours, peer = pair()
    peer.sendall(b"early")
    protocol = Recorder(made=lambda self: self.transport.pause_reading())

    async def main() -> None:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        await asyncio.sleep(0.02)
        assert protocol.kinds == ["made"]
        transport.resume_reading()
        await protocol.until_received(5)
        transport.abort()
        await protocol.until_seen("lost")

    run(loop, main())


def test_accepted_connections_are_made_in_order(loop: asyncio.AbstractEventLoop) -> None:
    """connection_made of a batch comes from the ready ring, in the order of arrival, and before any of their data."""
    order: list[tuple[str, int]] = []

    def made(self: Recorder) -> None:
        order.append(("made", self.transport.get_extra_info("peername")[1]))

    async def main() -> None:
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder(made=made))
            return protocols[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0)
        clients = [await in_thread(socket.create_connection, server.sockets[0].getsockname())]
        clients += [socket.create_connection(server.sockets[0].getsockname()) for _ in range(20)]
        for client in clients:
            client.sendall(b"x")
        while sum(len(protocol.received) for protocol in protocols) < len(clients):
            await asyncio.sleep(0.001)
        assert [port for _, port in order] == [client.getsockname()[1] for client in clients]
        for protocol in protocols:
            assert protocol.kinds == ["made", "data"]
            protocol.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for client in clients:
            client.close()
        server.close()
        await server.wait_closed()

    run(loop, main())
