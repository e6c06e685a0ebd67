"""Invariant 6: a hang-up or an error never ends a connection by itself: data, end and reset come in order, by recv."""

import asyncio
import os
import socket
from typing import Any

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run
from tests.probes import peers

PAYLOADS = [0, 1, 5000, 400_000]


async def looks_paused(protocol: Recorder) -> None:
    """Several turns that may wait, so that every edge has been taken."""
    for _ in range(3):
        await asyncio.sleep(0.01)
    assert protocol.kinds == ["made"]
    assert not protocol.transport.is_closing()


@pytest.mark.parametrize("size", PAYLOADS)
@pytest.mark.parametrize("how", ["shutdown", "close"])
def test_end_while_paused(loop: asyncio.AbstractEventLoop, attach: Any, size: int, how: str) -> None:
    """Data, then the end, once reading goes on; a Unix peer's close reports HUP with data unread."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    payload = os.urandom(size)

    async def main() -> None:
        transport.pause_reading()
        sent = asyncio.ensure_future(in_thread(peer.sendall, payload))
        if size <= 5000:
            await sent
            peer.shutdown(socket.SHUT_WR) if how == "shutdown" else peer.close()
            await looks_paused(protocol)
            transport.resume_reading()
        else:
            await looks_paused(protocol)
            transport.resume_reading()
            await sent
            peer.shutdown(socket.SHUT_WR) if how == "shutdown" else peer.close()
        await protocol.until_seen("lost")
        assert protocol.received == payload
        assert protocol.kinds == ["made", *(["data"] if size else []), "eof", "lost"]
        assert protocol.error is None

    run(loop, main())


@pytest.mark.parametrize("kind", ["tcp"], indirect=True)
@pytest.mark.parametrize("size", PAYLOADS[:3])
def test_reset_while_paused(loop: asyncio.AbstractEventLoop, attach: Any, size: int) -> None:
    """What came before an RST is delivered before ECONNRESET is told; the reset alone ends nothing while paused."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    payload = os.urandom(size)

    async def main() -> None:
        transport.pause_reading()
        peer.sendall(payload)
        peers.close_with_reset(peer)
        await looks_paused(protocol)
        transport.resume_reading()
        await protocol.until_seen("lost")
        assert protocol.received == payload
        assert protocol.kinds == ["made", *(["data"] if size else []), "lost"]
        assert isinstance(protocol.error, ConnectionResetError)

    run(loop, main())


def test_a_failing_write_ends_it_while_paused(loop: asyncio.AbstractEventLoop, attach: Any, kind: str) -> None:
    """Only a failing write ends a paused connection whose peer is gone."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        transport.pause_reading()
        peers.close_with_reset(peer) if kind == "tcp" else peer.close()
        await looks_paused(protocol)
        transport.write(b"to nobody")
        await protocol.until_seen("lost")
        assert protocol.kinds == ["made", "lost"]
        assert isinstance(protocol.error, OSError)
        transport.write(b"later")

    run(loop, main())


def test_the_peer_ends_while_output_waits(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """RDHUP with output waiting: the end is told, and if it is kept open, every byte still goes out."""
    protocol = Recorder(keep_open=True)
    transport, peer = attach(protocol)
    payload = os.urandom(12 << 20)

    async def main() -> None:
        transport.write(payload)
        assert transport.get_write_buffer_size() > 0
        peer.shutdown(socket.SHUT_WR)
        await protocol.until_seen("eof")
        transport.close()
        assert await in_thread(peers.recv_to_end, peer) == payload
        await protocol.until_seen("lost")
        assert protocol.error is None

    run(loop, main())


def test_the_peer_resets_while_output_waits(loop: asyncio.AbstractEventLoop, attach: Any, kind: str) -> None:
    """The connection ends once, with the error, and what waited is dropped."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        transport.write(bytes(12 << 20))
        peers.close_with_reset(peer) if kind == "tcp" else peer.close()
        await protocol.until_seen("lost")
        assert protocol.count("lost") == 1
        assert transport.get_write_buffer_size() == 0
        assert loop.metrics()["ring_bytes"] == 0  # type: ignore[attr-defined]

    run(loop, main())
