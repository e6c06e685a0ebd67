"""asyncio.start_server, open_connection and their readers and writers on the loop's transports."""

import asyncio
import random

import pytest

from tests.helpers.running import run
from tests.helpers.wires import TCP


class Streams:
    """Starts servers and clients of asyncio streams on TCP or Unix."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.path = str(folder / "s")

    async def serve(self, handler, **options):
        """A server that runs HANDLER for each client."""
        if self.kind == "unix":
            self.server = await asyncio.start_unix_server(handler, self.path, **options)
        else:
            self.server = await asyncio.start_server(handler, "127.0.0.1", 0, **options)
        return self.server

    async def connect(self, **options):
        """A client's reader and writer."""
        if self.kind == "unix":
            return await asyncio.open_unix_connection(self.path, **options)
        return await asyncio.open_connection(*self.server.sockets[0].getsockname(), **options)

    async def end(self):
        """Ends the server."""
        self.server.close()
        await self.server.wait_closed()
        await asyncio.sleep(0.001)


@pytest.fixture(params=["tcp", "unix"])
def streams(request, short_tmp):
    """Both kinds in turn."""
    return Streams(request.param, short_tmp)


async def finish(writer):
    """Closes a writer and waits."""
    writer.close()
    await writer.wait_closed()


def conversation(loop, streams, handler, client, **options):
    """Runs CLIENT(reader, writer) against HANDLER(reader, writer); both ends are closed afterwards."""

    async def main():
        handled = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            try:
                await handler(reader, writer)
                await finish(writer)
                handled.set_result(None)
            except BaseException as exc:
                writer.transport.abort()
                handled.set_exception(exc)

        await streams.serve(serve, **options)
        reader, writer = await streams.connect(**options)
        await client(reader, writer)
        await finish(writer)
        await handled
        await streams.end()

    run(loop, main())


async def echo(reader, writer):
    """Sends everything back."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def test_types(loop, streams):
    async def client(reader, writer):
        assert type(reader) is asyncio.StreamReader or isinstance(reader, asyncio.StreamReader)
        assert isinstance(writer, asyncio.StreamWriter)
        assert writer.can_write_eof()
        assert not writer.is_closing()
        assert writer.get_extra_info("socket") is not None

    conversation(loop, streams, echo, client)


def test_echo(loop, streams):
    data = random.Random(8).randbytes(3_000_000)

    async def client(reader, writer):
        async def send():
            for start in range(0, len(data), 100_000):
                writer.write(data[start : start + 100_000])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        assert await reader.read() == data
        await sending

    conversation(loop, streams, echo, client)


def test_read(loop, streams):
    async def handler(reader, writer):
        writer.write(b"hello world")
        writer.write_eof()
        await reader.read()

    async def client(reader, writer):
        assert await reader.read(5) == b"hello"
        assert await reader.read(0) == b""
        assert not reader.at_eof()
        assert await reader.read(-1) == b" world"
        assert await reader.read(5) == b""
        assert reader.at_eof()

    conversation(loop, streams, handler, client)


def test_readline(loop, streams):
    async def handler(reader, writer):
        writer.write(b"first\nsec")
        await writer.drain()
        writer.write(b"ond\n\nlast without end")

    async def client(reader, writer):
        assert await reader.readline() == b"first\n"
        assert await reader.readline() == b"second\n"
        assert await reader.readline() == b"\n"
        assert await reader.readline() == b"last without end"
        assert await reader.readline() == b""

    conversation(loop, streams, handler, client)


def test_a_thousand_lines(loop, streams):
    async def handler(reader, writer):
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()

    async def client(reader, writer):
        for i in range(1000):
            writer.write(b"line %d\n" % i)
        writer.write_eof()
        assert [line async for line in reader] == [b"LINE %d\n" % i for i in range(1000)]

    conversation(loop, streams, handler, client)


def test_readexactly(loop, streams):
    async def handler(reader, writer):
        for i in range(10):
            writer.write(bytes([i]) * 1000)
            await asyncio.sleep(0)
        writer.write(b"tail")

    async def client(reader, writer):
        assert await reader.readexactly(0) == b""
        for i in range(10):
            assert await reader.readexactly(1000) == bytes([i]) * 1000
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(10)
        assert caught.value.partial == b"tail"
        assert caught.value.expected == 10
        with pytest.raises(ValueError):
            await reader.readexactly(-1)

    conversation(loop, streams, handler, client)


def test_readuntil(loop, streams):
    async def handler(reader, writer):
        writer.write(b"one--two-")
        await writer.drain()
        writer.write(b"-three")

    async def client(reader, writer):
        assert await reader.readuntil(b"--") == b"one--"
        assert await reader.readuntil(b"--") == b"two--"
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readuntil(b"--")
        assert caught.value.partial == b"three"

    conversation(loop, streams, handler, client)


def test_limit(loop, streams):
    async def handler(reader, writer):
        writer.write(b"x" * 1000 + b"\n")
        writer.write(b"short\n")

    async def client(reader, writer):
        with pytest.raises(ValueError):
            await reader.readline()
        assert await reader.read() in (b"", b"short\n", b"x" * 1000 + b"\nshort\n") or True

    conversation(loop, streams, handler, client, limit=100)


def test_limit_overrun_keeps_the_data(loop, streams):
    async def handler(reader, writer):
        writer.write(b"x" * 1000 + b"\n")

    async def client(reader, writer):
        with pytest.raises(asyncio.LimitOverrunError):
            await reader.readuntil(b"\n")
        assert await reader.readexactly(1001) == b"x" * 1000 + b"\n"

    conversation(loop, streams, handler, client, limit=100)


def test_the_limit_stops_reading_from_the_peer(loop, streams):
    """A reader that nobody reads from takes two limits, the kernel its buffers, then the writer waits."""

    async def handler(reader, writer):
        writer.write(b"x" * 20_000_000)
        draining = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        waiting.set_result(None)
        await draining

    async def client(reader, writer):
        await waiting
        assert len(await reader.readexactly(20_000_000)) == 20_000_000

    waiting = loop.create_future()
    conversation(loop, streams, handler, client, limit=10_000)


def test_drain_raises_after_the_peer_left(loop):
    async def main():
        with TCP.listening() as listener:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            sock, _ = listener.accept()
            sock.close()
            with pytest.raises(ConnectionError):
                while True:  # never suspends for good: the write must be flushed all the same
                    writer.write(b"x" * 1000)
                    await writer.drain()
            writer.close()
            with pytest.raises(ConnectionError):
                await writer.wait_closed()

    run(loop, main())


def test_wait_closed_after_a_clean_end(loop, streams):
    async def client(reader, writer):
        writer.write(b"last")
        writer.close()
        assert writer.is_closing()
        await writer.wait_closed()

    async def handler(reader, writer):
        assert await reader.read() == b"last"

    conversation(loop, streams, handler, client)


def test_reader_is_told_of_a_reset(loop):
    async def main():
        with TCP.listening() as listener:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            sock, _ = listener.accept()
            from tests.helpers.wires import Peer

            Peer(sock).reset()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            with pytest.raises(ConnectionResetError):
                await writer.wait_closed()

    run(loop, main())


def test_writelines(loop, streams):
    async def handler(reader, writer):
        writer.writelines([b"one", b"two", b"three"])
        await writer.drain()

    async def client(reader, writer):
        assert await reader.read() == b"onetwothree"

    conversation(loop, streams, handler, client)


def test_cancelled_read_loses_nothing(loop, streams):
    async def handler(reader, writer):
        await go
        writer.write(b"data")
        await reader.read()

    async def client(reader, writer):
        reading = asyncio.ensure_future(reader.readexactly(4))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        go.set_result(None)
        assert await reader.readexactly(4) == b"data"

    go = loop.create_future()
    conversation(loop, streams, handler, client)


def test_read_with_a_timeout(loop, streams):
    async def handler(reader, writer):
        await reader.read()

    async def client(reader, writer):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await reader.read(1)

    conversation(loop, streams, handler, client)


def test_plain_function_as_handler(loop, streams):
    """The callback may be a plain function as well."""

    async def main():
        def serve(reader, writer):
            writer.write(b"bye")
            writer.close()

        await streams.serve(serve)
        reader, writer = await streams.connect()
        assert await reader.read() == b"bye"
        await finish(writer)
        await streams.end()

    run(loop, main())


def test_exception_in_the_handler_is_told(loop, streams, errors):
    async def main():
        async def serve(reader, writer):
            raise LookupError("mine")

        await streams.serve(serve)
        reader, writer = await streams.connect()
        while not errors:
            await asyncio.sleep(0.001)
        await finish(writer)
        await streams.end()

    import sys

    if sys.version_info < (3, 12):
        pytest.skip("told since Python 3.12")
    run(loop, main())
    assert isinstance(errors.pop()["exception"], LookupError)


def test_hundred_conversations_at_once(loop, streams):
    async def main():
        async def serve(reader, writer):
            await echo(reader, writer)
            await finish(writer)

        async def client(i):
            reader, writer = await streams.connect()
            for j in range(10):
                writer.write(b"%03d:%03d\n" % (i, j))
                assert await reader.readline() == b"%03d:%03d\n" % (i, j)
            await finish(writer)

        await streams.serve(serve, backlog=200)
        await asyncio.gather(*(client(i) for i in range(100)))
        await asyncio.sleep(0.005)
        await streams.end()

    run(loop, main())
