"""Invariant 3: a connection reads 256 KiB a turn; what is left is read in the next turn, before the poll may wait."""

import asyncio
import os
import socket
import threading
from typing import Any

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import in_thread, run
from tests.probes import peers

BUDGET = 256 * 1024
ONE_READ = 256 * 1024  # a read that starts within the budget may go past it


def widen(*sockets: Any) -> None:
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)


@pytest.mark.parametrize("buffered", [False, True])
def test_bytes_a_turn(loop: asyncio.AbstractEventLoop, attach: Any, buffered: bool) -> None:
    """Far more than the budget waits in the socket: no turn reads it all, and all of it comes without a new edge."""
    in_turn, most = 0, 0

    def data(self: Any, chunk: bytes) -> None:
        nonlocal in_turn, most
        in_turn += len(chunk)
        most = max(most, in_turn)

    def tick() -> None:
        nonlocal in_turn
        in_turn = 0
        if len(protocol.received) < sent:
            loop.call_soon(tick)

    protocol: Any = BufferedRecorder(data=data, size=65536) if buffered else Recorder(data=data)
    transport, peer = attach(protocol)
    widen(peer, transport.get_extra_info("socket"))
    sent = 1 << 62

    async def main() -> None:
        nonlocal sent
        transport.pause_reading()
        sent = peers.fill(peer)
        if sent < 2 * (BUDGET + ONE_READ):
            pytest.skip(f"the kernel takes only {sent} bytes unread (net.core.wmem_max)")
        transport.resume_reading()
        loop.call_soon(tick)
        await protocol.until_received(sent)
        transport.abort()
        await protocol.until_seen("lost")

    run(loop, main())
    assert most <= BUDGET + ONE_READ


def test_the_rest_needs_no_new_edge(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Nothing but the again-list brings the loop back: no callback is ready, and the peer sends no more."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    widen(peer, transport.get_extra_info("socket"))

    async def main() -> None:
        transport.pause_reading()
        sent = peers.fill(peer)
        peer.shutdown(socket.SHUT_WR)
        transport.resume_reading()
        await protocol.until_seen("lost")
        assert len(protocol.received) == sent
        assert protocol.kinds == ["made", "data", "eof", "lost"]

    run(loop, main())


def test_left_over_then_closed(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """A connection on the again-list is closed, paused or aborted before its turn comes: no further data."""

    async def main(action: str) -> None:
        loop.call_soon(getattr(protocol.transport, action))
        await asyncio.sleep(0)
        seen = protocol.count("data")
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.count("data") == seen, action
        protocol.transport.abort()
        await protocol.until_seen("lost")

    for action in ("close", "abort", "reset", "pause_reading"):
        protocol = Recorder()
        transport, peer = attach(protocol)
        widen(peer, transport.get_extra_info("socket"))
        transport.pause_reading()
        peers.fill(peer)
        transport.resume_reading()
        loop.call_soon(loop.stop)
        loop.run_forever()
        run(loop, main(action))


def test_firehose_and_pinger(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """A peer that never stops sending does not keep another from being answered."""
    hose = Recorder()
    pinger = Recorder(data=lambda self, data: self.transport.write(data))
    _, hose_peer = attach(hose)
    _, ping_peer = attach(pinger)
    stop, chunk = threading.Event(), os.urandom(1 << 18)

    def flood() -> int:
        total = 0
        while not stop.is_set():
            hose_peer.sendall(chunk)
            total += len(chunk)
        return total

    def ping() -> None:
        try:
            for _ in range(200):
                ping_peer.sendall(b"ping")
                assert peers.recv_exact(ping_peer, 4) == b"ping"
        finally:
            stop.set()

    async def main() -> None:
        flooding = asyncio.ensure_future(in_thread(flood))
        await in_thread(ping)
        total = await flooding
        await hose.until_received(total)
        assert total > 0
        for protocol in (hose, pinger):
            protocol.transport.abort()
            await protocol.until_seen("lost")

    run(loop, main())
