"""Invariant 11: abort() drops the buffer and closes plainly, reset() is RST; also close, write_eof, shutdown_read."""

import asyncio
import contextlib
import os
import socket
from typing import Any

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run
from tests.probes import kernel, peers


async def lost(protocol: Recorder) -> None:
    await protocol.until_seen("lost")
    await asyncio.sleep(0)


def test_reset_is_rst(loop: asyncio.AbstractEventLoop, attach: Any, kind: str) -> None:
    """The peer gets ECONNRESET (on AF_UNIX the end), we get one connection_lost without an error, and no TIME_WAIT."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        transport.write(b"thrown away or not")
        port = peer.getpeername()[1] if kind == "tcp" else 0
        transport.reset()
        assert transport.is_closing()
        await lost(protocol)
        assert protocol.kinds == ["made", "lost"]
        assert protocol.error is None
        if kind == "tcp":
            with pytest.raises(ConnectionResetError):
                peers.recv_to_end(peer)
            assert kernel.time_wait(port, [peer.getsockname()[1]]) == 0
        transport.reset()  # again is nothing

    run(loop, main())


def test_reset_with_output_waiting(loop: asyncio.AbstractEventLoop, attach: Any, kind: str) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        transport.write(bytes(8 << 20))
        assert transport.get_write_buffer_size() > 0
        transport.reset()
        await lost(protocol)
        assert transport.get_write_buffer_size() == 0
        if kind == "tcp":
            with pytest.raises(ConnectionResetError):
                peers.recv_to_end(peer)
        else:
            assert len(peers.recv_to_end(peer)) < 8 << 20

    run(loop, main())


def test_abort_is_a_plain_close(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """The peer sees an ordinary end, behind what the kernel had already taken."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    payload = os.urandom(8 << 20)

    async def main() -> None:
        transport.write(payload)
        waiting = transport.get_write_buffer_size()
        assert waiting > 0
        transport.abort()
        await lost(protocol)
        assert protocol.error is None
        received = await in_thread(peers.recv_to_end, peer)
        assert received == payload[: len(payload) - waiting]

    run(loop, main())


@pytest.mark.parametrize("size", [0, 10, 8 << 20])
def test_close_flushes_then_ends(loop: asyncio.AbstractEventLoop, attach: Any, size: int) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)
    payload = os.urandom(size)

    async def main() -> None:
        transport.write(payload)
        transport.close()
        transport.close()
        late = b"asyncio sends this only while it flushes"
        transport.write(late)
        received = await in_thread(peers.recv_to_end, peer)
        assert received in (payload, payload + late * (size > 10))
        await lost(protocol)
        assert protocol.kinds in (["made", "lost"], ["made", "pause", "lost"], ["made", "pause", "resume", "lost"])

    run(loop, main())


def test_close_reads_no_more(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """While close() flushes, what the peer sends is not delivered."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    size = 8 << 20

    async def main() -> None:
        transport.write(bytes(size))
        transport.close()
        peer.sendall(b"too late")
        with contextlib.suppress(ConnectionResetError):  # what TCP makes of a close with data unread
            assert len(await in_thread(peers.recv_exact, peer, size)) == size
        await lost(protocol)
        assert protocol.received == b""

    run(loop, main())


@pytest.mark.parametrize("size", [0, 10, 8 << 20])
def test_write_eof_ends_one_direction(loop: asyncio.AbstractEventLoop, attach: Any, size: int) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)
    payload = os.urandom(size)

    async def main() -> None:
        assert transport.can_write_eof()
        transport.write(payload)
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError):
            transport.write(b"more")
        assert await in_thread(peers.recv_to_end, peer) == payload
        peer.sendall(b"the other direction is open")
        await protocol.until_received(27)
        assert not transport.is_closing()
        peer.shutdown(socket.SHUT_WR)
        await lost(protocol)
        assert protocol.kinds[-2:] == ["eof", "lost"]

    run(loop, main())


def test_shutdown_read_ends_reading_alone(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Nothing is delivered any more, and writing goes on, also in large amounts."""
    protocol = Recorder(keep_open=True)
    transport, peer = attach(protocol)
    payload = os.urandom(8 << 20)

    async def main() -> None:
        peer.sendall(b"read")
        await protocol.until_received(4)
        transport.shutdown_read()
        for _ in range(10):
            await asyncio.sleep(0.002)
        assert not transport.is_closing()
        assert protocol.received == b"read"
        transport.write(payload)
        assert await in_thread(peers.recv_exact, peer, len(payload)) == payload
        assert protocol.received == b"read"
        transport.shutdown_read()
        transport.close()
        assert await in_thread(peers.recv_to_end, peer) == b""
        await lost(protocol)
        assert protocol.count("lost") == 1

    run(loop, main())


def test_a_copy_of_the_descriptor_holds_back_the_end(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """close() only lowers the count of references; write_eof() acts on the connection, whoever shares it."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        copy = os.dup(transport.get_extra_info("socket").fileno())
        transport.close()
        await lost(protocol)
        assert not peers.readable_within(peer, 0.05)
        os.close(copy)
        assert peers.outcome(peer) == "eof"

    run(loop, main())


def test_write_eof_with_a_copy_of_the_descriptor(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        copy = os.dup(transport.get_extra_info("socket").fileno())
        transport.write_eof()
        assert peers.outcome(peer) == "eof"
        transport.close()
        await lost(protocol)
        os.close(copy)

    run(loop, main())
