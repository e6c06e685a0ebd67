"""Reads and writes that take a few bytes each: everything arrives, in order, and the ring wraps and goes."""

import asyncio
import errno
import os
import random
import socket
from collections import Counter
from typing import Any

import pytest

from tests.helpers.certificates import Certificates
from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import in_thread, run, until
from tests.probes import peers

CAPS = [1, 7, 1000]


async def end(protocol: Any) -> None:
    protocol.transport.abort()
    await protocol.until_seen("lost")


@pytest.mark.parametrize("sort", [Recorder, BufferedRecorder])
@pytest.mark.parametrize("cap", CAPS)
def test_short_reads(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, sort: Any, cap: int) -> None:
    protocol = sort()
    _, peer = attach(protocol)
    payload = os.urandom(3000 * min(cap, 20))

    async def main() -> None:
        faults("recv", cap=cap)
        sending = asyncio.ensure_future(in_thread(peer.sendall, payload))
        assert await protocol.until_received(len(payload)) == payload
        await sending
        assert all(len(event[1]) <= cap for event in protocol.events if event[0] == "data")
        peer.close()
        await protocol.until_seen("lost")
        assert protocol.kinds == ["made", "data", "eof", "lost"]

    run(loop, main())


@pytest.mark.parametrize("cap", CAPS)
def test_short_writes(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, kind: str, cap: int) -> None:
    """Small and large, immutable and mutable, behind a full socket: the rest waits in the ring or by reference."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    rng = random.Random(cap)
    parts = [rng.randbytes(rng.choice([1, 10, 500, 5000])) for _ in range(40)]
    parts.append(rng.randbytes(20_000))
    parts += [rng.randbytes(100) for _ in range(20)]
    expected = b"".join(parts)
    most = 0

    async def main() -> None:
        nonlocal most
        faults("send", errno=errno.EAGAIN, count=1)
        faults("sendmsg", cap=cap)
        transport.write(b"")
        reading = asyncio.ensure_future(in_thread(peers.recv_exact, peer, len(expected)))
        for i, part in enumerate(parts):
            transport.write(bytearray(part) if i % 3 == 0 else part)
            if i % 4 == 0:
                await asyncio.sleep(0)
                most = max(most, loop.metrics()["ring_bytes"])  # type: ignore[attr-defined]
                faults("send", cap=cap)
        peer.sendall(b"?")  # an edge, if none came: it reports that there is room, too
        assert await reading == expected
        await until(lambda: transport.get_write_buffer_size() == 0)
        assert loop.metrics()["ring_bytes"] == 0  # type: ignore[attr-defined]
        await end(protocol)

    run(loop, main())
    assert most > 0


@pytest.mark.parametrize("cap", CAPS)
def test_echo_with_both(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, cap: int) -> None:
    protocol = Recorder(data=lambda self, data: self.transport.write(data))
    _, peer = attach(protocol)
    payload = os.urandom(2000 * min(cap, 20))

    async def main() -> None:
        for name in ("recv", "send", "sendmsg"):
            faults(name, cap=cap)
        sending = asyncio.ensure_future(in_thread(peer.sendall, payload))
        assert await in_thread(peers.recv_exact, peer, len(payload)) == payload
        await sending
        await end(protocol)

    run(loop, main())


@pytest.mark.parametrize("cap", [1, 100])
def test_close_flushes_by_short_writes(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, cap: int) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)
    payload = os.urandom(3000)

    async def main() -> None:
        faults("send", cap=cap)
        faults("sendmsg", cap=cap)
        transport.writelines([payload[:10], payload[10:2000], payload[2000:]])
        transport.close()
        assert await in_thread(peers.recv_to_end, peer) == payload
        await protocol.until_seen("lost")
        assert protocol.error is None

    run(loop, main())


def test_write_eof_behind_short_writes(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        faults("send", cap=10)
        faults("sendmsg", cap=10)
        transport.write(b"x" * 1000)
        transport.write_eof()
        assert await in_thread(peers.recv_to_end, peer) == b"x" * 1000
        assert not transport.is_closing()
        peer.sendall(b"answer")
        await protocol.until_received(6)
        await end(protocol)

    run(loop, main())


def test_marks_with_short_writes(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any) -> None:
    """A full socket, then one that takes a little at a time: pause_writing and resume_writing in turn, once each."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    transport.set_write_buffer_limits(high=500, low=100)

    async def main() -> None:
        faults("sendmsg", cap=50)
        for i in range(1, 4):
            faults("send", errno=errno.EAGAIN, count=1)
            transport.write(b"x" * 2000)
            assert transport.get_write_buffer_size() == 2000
            await protocol.until(lambda: protocol.count("pause") > protocol.count("resume"))
            faults("send", cap=50)
            peer.sendall(b"?")  # an edge, if none came: it reports that there is room, too
            assert await in_thread(peers.recv_exact, peer, 2000) == b"x" * 2000
            await protocol.until(lambda: protocol.count("resume") == protocol.count("pause"))
            assert protocol.count("pause") == i
        await end(protocol)

    run(loop, main())


def test_bytes_written_in_a_turn(loop: asyncio.AbstractEventLoop, faults: Any) -> None:
    """A reader as fast as we write does not keep the loop for itself: about 1 MiB a turn, then the others' turn."""
    size, piece, budget = 32 << 20, 65536, 1 << 20
    protocol = Recorder()
    ours, peer = peers.PAIRS["tcp"]()
    in_turn: list[int] = []

    def drain() -> int:
        """All of it in the kernel, which needs no GIL."""
        peer.settimeout(None)  # else each wait for more is Python's
        return peer.recv_into(bytearray(size), size, socket.MSG_WAITALL)

    async def main() -> None:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        faults("send", cap=piece)
        reading = asyncio.ensure_future(in_thread(drain))
        transport.write(bytes(size))
        before = transport.get_write_buffer_size()
        while before:
            await asyncio.sleep(0)
            after = transport.get_write_buffer_size()
            in_turn.append(before - after)
            before = after
        assert await reading == size
        await end(protocol)

    with peer:
        run(loop, main())
    # In a turn the queue is sent at most twice: by its own turn, or because room came.
    assert budget <= max(in_turn) <= 2 * budget, Counter(in_turn)


def test_tls_over_short_reads_and_writes(
    loop: asyncio.AbstractEventLoop, certificates: Certificates, faults: Any
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(20_000))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificates.server())
        for name in ("recv", "send", "sendmsg"):
            faults(name, cap=97)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=certificates.client(), server_hostname="localhost"
        )
        payload = os.urandom(20_000)
        writer.write(payload)
        assert await reader.readexactly(20_000) == payload
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await until(lambda: loop.metrics()["connections"] == 0)  # type: ignore[attr-defined]
        server.close()
        await server.wait_closed()

    run(loop, main())
