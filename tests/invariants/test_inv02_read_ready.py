"""Invariant 2: what is readable stays known until EAGAIN, or on TCP a short read that proves the socket empty."""

import array
import asyncio
import os
import socket
from typing import Any

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import in_thread, run, until
from tests.probes import peers


async def finish(protocol: Any) -> None:
    protocol.transport.abort()
    await protocol.until_seen("lost")


def test_arrived_while_paused(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """The edge came while reading was paused; no new one comes after resume_reading."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        for i in range(1, 6):
            transport.pause_reading()
            peer.sendall(b"12345678")
            for _ in range(5):
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)  # the edge is taken by a poll that may wait
            assert len(protocol.received) == (i - 1) * 8
            transport.resume_reading()
            await protocol.until_received(i * 8)
        await finish(protocol)

    run(loop, main())


def test_paused_by_data_received(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """More was there than one callback took; it is delivered after resume without a new edge."""
    protocol = Recorder(data=lambda self, data: self.transport.pause_reading())
    transport, peer = attach(protocol)
    total = 1 << 20

    async def main() -> None:
        sent = in_thread(peer.sendall, os.urandom(total))
        task = asyncio.ensure_future(sent)
        resumed: list[int] = []
        while len(protocol.received) < total:
            await protocol.until(lambda: protocol.count("data") > len(resumed))
            await asyncio.sleep(0)
            assert protocol.count("data") == len(resumed) + 1, "called while reading is paused"
            resumed.append(len(protocol.received))
            transport.resume_reading()
        await task
        await finish(protocol)

    run(loop, main())


def test_pause_and_resume_inside_a_callback(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Paused and resumed in one go, also twice: nothing is delivered twice or lost, and no callback within another."""
    depth = 0

    def data(self: Recorder, chunk: bytes) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        for _ in range(2):
            self.transport.pause_reading()
            self.transport.resume_reading()
        depth -= 1

    protocol = Recorder(data=data)
    transport, peer = attach(protocol)
    payload = os.urandom(1 << 20)

    async def main() -> None:
        await in_thread(peer.sendall, payload)
        assert await protocol.until_received(len(payload)) == payload
        await finish(protocol)

    run(loop, main())


def test_a_late_resume_after_close_reads_nothing(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        transport.pause_reading()
        peer.sendall(b"late")
        await asyncio.sleep(0.01)
        transport.close()
        transport.resume_reading()
        await protocol.until_seen("lost")
        assert protocol.received == b""

    run(loop, main())


@pytest.mark.parametrize("size", [1, 3, 7, 64])
def test_small_buffers(loop: asyncio.AbstractEventLoop, attach: Any, size: int) -> None:
    """A BufferedProtocol whose buffer is smaller than what is there: every read is a full one, to the last."""
    protocol = BufferedRecorder(size=size)
    transport, peer = attach(protocol)
    payload = os.urandom(size * 50)

    async def main() -> None:
        peer.sendall(payload)
        assert await protocol.until_received(len(payload)) == payload
        peer.sendall(b"z")
        assert await protocol.until_received(len(payload) + 1) == payload + b"z"
        await finish(protocol)

    run(loop, main())


@pytest.mark.parametrize("kind", ["tcp"], indirect=True)
@pytest.mark.parametrize("buffered", [False, True])
def test_urgent_data_stops_a_read(loop: asyncio.AbstractEventLoop, attach: Any, buffered: bool) -> None:
    """recv stops at urgent data: a short read is no proof of an empty socket, and no new edge comes."""
    protocol: Any = BufferedRecorder() if buffered else Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        for i in range(1, 11):
            peer.send(b"before")
            peer.send(b"!", socket.MSG_OOB)
            peer.send(b"behind")
            await protocol.until_received(12 * i)
        assert protocol.received == b"beforebehind" * 10
        await finish(protocol)

    run(loop, main())


@pytest.mark.parametrize("kind", ["unix"], indirect=True)
def test_passed_descriptors_stop_a_read(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """On AF_UNIX recv stops at passed descriptors, without a new edge; the descriptors are the kernel's to close."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null]))]
        for i in range(1, 11):
            peer.send(b"plain1")
            peer.sendmsg([b"passed"], rights)
            peer.send(b"plain2")
            await protocol.until_received(18 * i)
        os.close(null)
        assert protocol.received == b"plain1passedplain2" * 10
        await finish(protocol)

    run(loop, main())


def test_end_behind_data_while_paused(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Data and the end came in one edge, while reading was paused."""
    protocol = Recorder(keep_open=True)
    transport, peer = attach(protocol)

    async def main() -> None:
        transport.pause_reading()
        peer.sendall(b"last words")
        peer.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.01)
        assert protocol.kinds == ["made"]
        transport.resume_reading()
        await protocol.until_seen("eof")
        assert protocol.kinds == ["made", "data", "eof"]
        transport.write(b"answer")
        assert await in_thread(peers.recv_exact, peer, 6) == b"answer"
        await finish(protocol)
        await until(lambda: transport.is_closing())

    run(loop, main())
