"""BufferedProtocol: the protocol's own buffer, of any size, and what may go wrong with it."""

import array
import asyncio
import random

import pytest

from tests.helpers.protocols import BufferedRecorder
from tests.helpers.running import run


def test_get_buffer_is_asked_with_a_size_hint(loop, link):
    async def main():
        async with link(BufferedRecorder) as connection:
            connection.peer.send(b"hello")
            assert await connection.protocol.until_received(5) == b"hello"
            assert connection.protocol.hints
            assert all(isinstance(hint, int) for hint in connection.protocol.hints)
            assert all(hint == -1 or hint > 0 for hint in connection.protocol.hints)

    run(loop, main())


@pytest.mark.parametrize("size", [1, 2, 7, 100, 4096, 65_536, 1_000_000])
def test_buffers_of_any_size(loop, accepted, size):
    data = random.Random(3).randbytes(min(3_000 * size, 2_000_000))

    async def main():
        async with accepted(lambda: BufferedRecorder(size=size)) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(data))
            assert await connection.protocol.until_received(len(data)) == data
            await sending
            assert max(len(event[1]) for event in connection.protocol.events if event[0] == "data") <= size

    run(loop, main())


def test_one_byte_buffer_and_eof(loop, accepted):
    async def main():
        async with accepted(lambda: BufferedRecorder(size=1)) as connection:
            connection.peer.send(b"hello")
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.received == b"hello"
            assert connection.protocol.count("data") == 5
            assert connection.protocol.kinds == ["made", "data", "eof", "lost"]

    run(loop, main())


def test_a_slice_of_a_larger_buffer(loop, accepted):
    """The protocol gives the free rest of its buffer each time, as parsers do."""

    async def main():
        class Protocol(BufferedRecorder):
            used = 0

            def get_buffer(self, sizehint):
                return memoryview(self.buffer)[self.used :]

            def buffer_updated(self, nbytes):
                self.used += nbytes
                self.received += self.buffer[self.used - nbytes : self.used]
                self.note("data", nbytes)

        async with accepted(lambda: Protocol(size=1000)) as connection:
            for part in (b"one", b"two", b"three"):
                connection.peer.send(part)
                await connection.protocol.until_received(connection.protocol.used + len(part))
            assert connection.protocol.buffer[:11] == b"onetwothree"

    run(loop, main())


@pytest.mark.parametrize(
    "make",
    [bytearray, lambda size: memoryview(bytearray(size)), lambda size: array.array("B", bytes(size))],
    ids=["bytearray", "memoryview", "array"],
)
def test_kinds_of_buffers(loop, accepted, make):
    async def main():
        buffer = make(100)
        got = []

        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                return buffer

            def buffer_updated(self, nbytes):
                got.append(bytes(buffer[:nbytes]))
                self.received += got[-1]
                self.note("data", got[-1])

        async with accepted(Protocol) as connection:
            connection.peer.send(b"hello")
            await connection.protocol.until_received(5)
            assert b"".join(got) == b"hello"

    run(loop, main())


def test_a_new_buffer_every_time(loop, accepted):
    async def main():
        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                self.buffer = bytearray(1000)
                return self.buffer

        async with accepted(Protocol) as connection:
            for i in range(20):
                connection.peer.send(bytes([i]) * 10)
                await connection.protocol.until_received(10 * (i + 1))
            assert connection.protocol.received == b"".join(bytes([i]) * 10 for i in range(20))

    run(loop, main())


@pytest.mark.differs(uvloop="never lets go of the buffer: BufferError, and the connection hangs", run=False)
def test_the_buffer_may_be_resized_in_buffer_updated(loop, link):
    """No export of the buffer is left when the protocol is told."""

    async def main():
        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                self.buffer = getattr(self, "buffer", None) or bytearray(100)
                return self.buffer

            def buffer_updated(self, nbytes):
                self.received += self.buffer[:nbytes]
                self.buffer.clear()
                self.buffer += bytearray(100)
                self.note("data", b"")

        async with link(Protocol) as connection:
            connection.peer.send(b"hello")
            assert await connection.protocol.until_received(5) == b"hello"
            connection.peer.send(b"again")
            assert await connection.protocol.until_received(10) == b"helloagain"

    run(loop, main())


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (b"", RuntimeError),
        (bytearray(), RuntimeError),
        (None, TypeError),
        (b"read only", Exception),
        ("text", TypeError),
    ],
    ids=["empty-bytes", "empty", "None", "read-only", "text"],
)
@pytest.mark.differs(uvloop="reports a RuntimeError of its own, and does not name the callback")
def test_a_wrong_buffer_ends_the_connection(loop, accepted, errors, wrong, kind):
    async def main():
        class Protocol(BufferedRecorder):
            def get_buffer(self, sizehint):
                return wrong

        async with accepted(Protocol) as connection:
            connection.peer.send(b"hello")
            await connection.protocol.until_seen("lost")
            assert isinstance(connection.protocol.error, kind)
            assert connection.protocol.kinds == ["made", "lost"]

    run(loop, main())
    (context,) = errors
    errors.clear()
    assert isinstance(context["exception"], kind)
    assert "get_buffer" in context["message"] or "buffer_updated" in context["message"] or "read" in context["message"]


def test_closing_in_buffer_updated(loop, link):
    async def main():
        async with link(lambda: BufferedRecorder(data=lambda protocol, _: protocol.transport.close())) as connection:
            connection.peer.send(b"hello")
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "lost"]

    run(loop, main())


@pytest.mark.differs(uvloop="segmentation fault", run=False)
def test_closing_in_get_buffer(loop, link):
    async def main():
        def close(protocol, sizehint):
            protocol.transport.close()
            return protocol.buffer

        async with link(lambda: BufferedRecorder(buffer=close)) as connection:
            connection.peer.send(b"hello")
            await connection.protocol.until_seen("lost")
            assert connection.protocol.count("lost") == 1
            assert connection.protocol.error is None

    run(loop, main())


@pytest.mark.differs(uvloop="segmentation fault", run=False)
def test_pausing_in_get_buffer(loop, link):
    async def main():
        def pause(protocol, sizehint):
            protocol.transport.pause_reading()
            return protocol.buffer

        async with link(lambda: BufferedRecorder(buffer=pause)) as connection:
            connection.peer.send(b"hello")
            await asyncio.sleep(0.002)
            connection.protocol.hooks.clear()
            connection.transport.resume_reading()
            assert await connection.protocol.until_received(5) == b"hello"

    run(loop, main())


def test_echo_out_of_the_protocols_buffer(loop, accepted):
    """Writes a memoryview of the buffer that the next read fills again."""
    data = random.Random(4).randbytes(1_000_000)

    async def main():
        class Protocol(BufferedRecorder):
            def buffer_updated(self, nbytes):
                self.transport.write(bytes(memoryview(self.buffer)[:nbytes]))
                self.note("data", b"")

        async with accepted(lambda: Protocol(size=10_000)) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(data))
            assert await connection.peer.receive(len(data)) == data
            await sending

    run(loop, main())


@pytest.mark.differs(
    uvloop="sends what a bytearray holds later, not what it held at write()",
    asyncio="keeps a view of it since Python 3.12",
    strict=False,
)
def test_echo_of_a_view_of_the_protocols_buffer(loop, accepted):
    data = random.Random(5).randbytes(1_000_000)

    async def main():
        class Protocol(BufferedRecorder):
            def buffer_updated(self, nbytes):
                self.transport.write(memoryview(self.buffer)[:nbytes])
                self.note("data", b"")

        async with accepted(lambda: Protocol(size=10_000), small=True) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(data))
            assert await connection.peer.receive(len(data)) == data
            await sending

    run(loop, main())
