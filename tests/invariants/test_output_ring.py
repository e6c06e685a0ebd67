"""What the socket does not take: copied to the ring, or held by reference if large; all let go when drained."""

import asyncio
import gc
import os
import random
import socket
import sys
from typing import Any

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run, until
from tests.probes import peers


def ring_bytes(loop: Any) -> int:
    return loop.metrics()["ring_bytes"]


def write_pieces(transport: Any, size: int) -> None:
    """Write so many bytes in small pieces: these are copied to the ring, large ones are held by reference."""
    for _ in range(size >> 12):
        transport.write(bytearray(1 << 12))


async def end(protocol: Recorder) -> None:
    protocol.transport.abort()
    await protocol.until_seen("lost")


def narrow(transport: Any, peer: socket.socket) -> None:
    """The kernel takes a few hundred KiB, however much it has learned to give a connection."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


def test_allocated_when_needed_and_freed_when_drained(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """No ring while the socket takes all, one at the first partial write, none once it is drained; over and over."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    narrow(transport, peer)
    size = 8 << 20

    async def main() -> None:
        for _ in range(3):
            transport.write(b"taken at once")
            await asyncio.sleep(0)
            assert await in_thread(peers.recv_exact, peer, 13) == b"taken at once"
            assert ring_bytes(loop) == 0
            write_pieces(transport, size)
            waiting = transport.get_write_buffer_size()
            assert waiting > 0
            assert waiting - (64 << 10) < ring_bytes(loop) < 3 * size  # what was held when it filled is not in the ring
            assert len(await in_thread(peers.recv_exact, peer, size)) == size
            await until(lambda: transport.get_write_buffer_size() == 0)
            assert ring_bytes(loop) == 0
        await end(protocol)

    run(loop, main())


@pytest.mark.parametrize("how", ["abort", "reset", "peer"])
def test_freed_with_the_connection(loop: asyncio.AbstractEventLoop, attach: Any, how: str) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)
    narrow(transport, peer)

    async def main() -> None:
        write_pieces(transport, 8 << 20)
        assert ring_bytes(loop) > 0
        if how == "peer":
            peers.close_with_reset(peer)
        else:
            getattr(transport, how)()
        await protocol.until_seen("lost")
        await asyncio.sleep(0)
        assert ring_bytes(loop) == 0

    run(loop, main())


def test_bytes_are_held_no_longer_than_needed(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """References to written bytes are given back when the bytes are taken, and when the connection ends."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    small, large = os.urandom(100), os.urandom(4 << 20)

    def counts() -> tuple[int, int]:
        return sys.getrefcount(small), sys.getrefcount(large)

    before = counts()

    async def main() -> None:
        for _ in range(3):
            for data in (small, large, small, small, large):
                transport.write(data)
            del data
            transport.writelines([small, large, small])
            total = 5 * len(small) + 3 * len(large)
            assert len(await in_thread(peers.recv_exact, peer, total)) == total
            await until(lambda: transport.get_write_buffer_size() == 0)
            await asyncio.sleep(0)
            assert counts() == before
        transport.writelines([large, small, large])
        await end(protocol)
        await asyncio.sleep(0)
        gc.collect()
        assert counts() == before

    run(loop, main())


def test_a_mixture_is_in_order(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Small, large, immutable, mutable and read-only views of mutable memory, while the peer reads."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    rng = random.Random(11)
    wraps: list[Any] = [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data)).toreadonly()]
    parts = [rng.randbytes(rng.choice([0, 1, 10, 1000, 16_384, 65_536, 100_001, 1 << 20])) for _ in range(150)]
    expected = b"".join(parts)

    async def main() -> None:
        reading = asyncio.ensure_future(in_thread(peers.recv_exact, peer, len(expected)))
        for part in parts:
            transport.write(rng.choice(wraps)(part))
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        assert await reading == expected
        await until(lambda: transport.get_write_buffer_size() == 0)
        assert ring_bytes(loop) == 0
        await end(protocol)

    run(loop, main())


def test_size_is_exact(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """get_write_buffer_size counts every byte that waits, whatever holds it."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        transport.write(bytes(64 << 20))
        waiting = transport.get_write_buffer_size()
        for data in (b"x", bytearray(1000), bytes(200_000), memoryview(bytes(10))):
            transport.write(data)
            waiting += len(data)
            assert transport.get_write_buffer_size() == waiting
        transport.writelines([b"ab", b"", bytearray(3)])
        waiting += 5
        assert transport.get_write_buffer_size() == waiting
        total = (64 << 20) + 201_016
        assert len(await in_thread(peers.recv_exact, peer, total)) == total
        await until(lambda: transport.get_write_buffer_size() == 0)
        await end(protocol)

    run(loop, main())


def test_marks_are_passed_once(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """pause_writing above the high mark, resume_writing at the low mark or below, in turn."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    transport.set_write_buffer_limits(high=100_000, low=10_000)

    async def main() -> None:
        for i in range(1, 4):
            for _ in range(10):  # more than the kernel's buffers of both ends ever grow to
                transport.write(bytes(3 << 20))
            assert protocol.count("pause") == i
            assert protocol.count("resume") == i - 1
            assert len(await in_thread(peers.recv_exact, peer, 30 << 20)) == 30 << 20
            await protocol.until(lambda: protocol.count("resume") == protocol.count("pause"))
            assert transport.get_write_buffer_size() <= 10_000
        await end(protocol)

    run(loop, main())
