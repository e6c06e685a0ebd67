"""System calls that fail in the middle of a stream: EAGAIN is waited out, the rest ends the connection, once."""

import asyncio
import errno
import os
from typing import Any

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import in_thread, run
from tests.probes import peers


async def end(protocol: Any) -> None:
    protocol.transport.abort()
    await protocol.until_seen("lost")


@pytest.mark.parametrize("sort", [Recorder, BufferedRecorder])
def test_recv_says_eagain(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, sort: Any) -> None:
    """Nothing was there, it said: what then arrives brings all."""
    protocol = sort()
    _, peer = attach(protocol)

    async def main() -> None:
        sent = b""
        for i in range(20):
            faults("recv", errno=errno.EAGAIN, skip=i % 2, count=1 + i % 3)
            for message in (b"first %d" % i, b"second %d" % i, b"third %d" % i, b"fourth %d" % i):
                peer.sendall(message)
                sent += message
                await asyncio.sleep(0.002)
        await protocol.until_received(len(sent))
        assert protocol.received == sent
        await end(protocol)

    run(loop, main())


@pytest.mark.parametrize("name", ["send", "sendmsg"])
def test_send_says_eagain(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, name: str) -> None:
    """The socket was full, it said: the output goes with the next event of the connection, in order."""
    protocol = Recorder()
    transport, peer = attach(protocol)

    async def main() -> None:
        expected = b""
        for i in range(20):
            faults(name, errno=errno.EAGAIN, count=1 + i % 3)
            for part in (os.urandom(10), bytearray(os.urandom(5000)), os.urandom(30_000)):
                transport.write(part)
                expected += part
            await asyncio.sleep(0)
            while len(expected) > 0:
                peer.sendall(b"?")  # an edge: it reports that there is room, too
                got = await in_thread(peers.take_now, peer)
                if got is not None:
                    assert got == expected[: len(got)]
                    expected = expected[len(got) :]
        assert transport.get_write_buffer_size() == 0
        await end(protocol)

    run(loop, main())


@pytest.mark.parametrize("code", [errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest.mark.parametrize("sort", [Recorder, BufferedRecorder])
def test_recv_fails(
    loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, errors: list[Any], sort: Any, code: int
) -> None:
    """The connection ends with this error, once; what had been delivered stays delivered."""
    protocol = sort()
    _, peer = attach(protocol)

    async def main() -> None:
        peer.sendall(b"before")
        await protocol.until_received(6)
        faults("recv", errno=code)
        peer.sendall(b"behind")
        await protocol.until_seen("lost")
        assert protocol.received == b"before"
        assert protocol.kinds == ["made", "data", "lost"]
        assert isinstance(protocol.error, OSError)
        assert protocol.error.errno == code

    run(loop, main())
    _reported(errors, code)


@pytest.mark.parametrize("code", [errno.ECONNRESET, errno.EPIPE, errno.ENETUNREACH])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_send_fails(
    loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, errors: list[Any], code: int, held: bool, parts: int
) -> None:
    """The write that fails calls nothing from within; the connection ends with the error, once."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    for name in ("send", "sendmsg"):
        faults(name, errno=code)

    def write() -> None:
        transport.writelines([b"x"] * parts)
        assert protocol.kinds == ["made"]

    async def main() -> None:
        if held:
            loop.call_soon(write)
        await protocol.until_seen("lost")
        assert protocol.kinds == ["made", "lost"]
        assert isinstance(protocol.error, OSError)
        assert protocol.error.errno == code
        transport.write(b"later")

    if not held:
        write()
    run(loop, main())
    _reported(errors, code)


@pytest.mark.parametrize("code", [errno.ECONNRESET, errno.EPIPE])
@pytest.mark.parametrize("closing", [False, True])
def test_send_fails_with_output_waiting(
    loop: asyncio.AbstractEventLoop, attach: Any, faults: Any, code: int, closing: bool
) -> None:
    """In the middle of a large write, after close() too: what waits is dropped, the ring is freed."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    for name in ("send", "sendmsg"):
        faults(name, errno=code, skip=3)

    async def main() -> None:
        for _ in range(100):
            transport.write(bytearray(1 << 17))
        if closing:
            transport.close()
        reading = asyncio.ensure_future(in_thread(_read_what_comes, peer))
        await protocol.until_seen("lost")
        assert protocol.count("lost") == 1
        await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == 0
        assert loop.metrics()["ring_bytes"] == 0  # type: ignore[attr-defined]
        assert await reading < 100 << 17

    run(loop, main())


def _read_what_comes(peer: Any) -> int:
    total = 0
    try:
        while part := peer.recv(1 << 20):
            total += len(part)
    except ConnectionResetError:
        pass
    return total


def _reported(errors: list[Any], code: int) -> None:
    """A peer that has gone is no news; other errors are told to the exception handler, as on asyncio."""
    if code in (errno.ECONNRESET, errno.EPIPE):
        assert errors == []
    else:
        assert [type(context["exception"]) is OSError or context["exception"].errno == code for context in errors] in (
            [],
            [True],
        )
    errors.clear()


def test_epoll_is_interrupted(loop: asyncio.AbstractEventLoop, attach: Any, faults: Any) -> None:
    """EINTR out of the poll, again and again: nothing is lost, no timer is early, nobody is called twice."""
    protocol = Recorder(data=lambda self, data: self.transport.write(data))
    _, peer = attach(protocol)

    async def main() -> None:
        for i in range(10):
            faults("epoll_wait", errno=errno.EINTR, count=20)
            start = loop.time()
            await asyncio.sleep(0.005)
            assert loop.time() - start >= 0.005
            peer.sendall(b"ping")
            assert await in_thread(peers.recv_exact, peer, 4) == b"ping"
            assert protocol.received == b"ping" * (i + 1)
        await end(protocol)

    run(loop, main())


def test_epoll_fails(loop: asyncio.AbstractEventLoop, faults: Any) -> None:
    """Any other failure of the poll leaves run_forever: there is nothing to go on with, and no spin."""

    async def main() -> None:
        faults("epoll_wait", errno=errno.EBADF, count=1)
        await asyncio.sleep(0.01)

    task = loop.create_task(main())
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.run_forever()
    loop.run_until_complete(task)
