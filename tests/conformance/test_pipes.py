"""connect_read_pipe and connect_write_pipe on real pipes: data, flow, the end of either side."""

import asyncio
import contextlib
import fcntl
import os
import socket

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run


@contextlib.contextmanager
def pipe():
    """(reader, writer): unbuffered files; what the loop has closed already stays so."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", 0) as readable, os.fdopen(writer, "wb", 0) as writable:
        yield readable, writable


async def ended(protocol):
    await protocol.until_seen("lost")
    await asyncio.sleep(0)


def test_reading(loop):
    """Data, then the end of the pipe: eof_received, connection_lost(None), and nothing after it."""

    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_read_pipe(Recorder, reader)
            assert protocol.transport is transport
            writer.write(b"hello")
            assert await protocol.until_received(5) == b"hello"
            writer.write(b"more")
            assert await protocol.until_received(9) == b"hellomore"
            writer.close()
            await ended(protocol)
            assert protocol.kinds == ["made", "data", "eof", "lost"]
            assert protocol.error is None

    run(loop, main())


@pytest.mark.differs(uvloop="has types of its own, and shows another file", run=False)
def test_types_extra_info_and_closed_files(loop):
    async def main():
        with pipe() as (reader, writer):
            reading, read_protocol = await loop.connect_read_pipe(Recorder, reader)
            writing, write_protocol = await loop.connect_write_pipe(Recorder, writer)
            assert reading.get_extra_info("pipe") is reader
            assert writing.get_extra_info("pipe") is writer
            assert writing.get_extra_info("nothing", 5) == 5
            assert isinstance(reading, asyncio.ReadTransport)
            assert isinstance(writing, asyncio.WriteTransport)
            writing.close()
            await ended(write_protocol)
            await ended(read_protocol)
            assert reader.closed
            assert writer.closed

    run(loop, main())


def test_much_is_read_in_order(loop):
    """More than a pipe holds, from a blocking writer."""
    data = os.urandom(1 << 20)

    async def main():
        with pipe() as (reader, writer):
            _, protocol = await loop.connect_read_pipe(Recorder, reader)

            def write():
                rest = memoryview(data)
                while rest:
                    rest = rest[writer.write(rest) :]
                writer.close()

            await in_thread(write)
            await ended(protocol)
            assert bytes(protocol.received) == data

    run(loop, main())


def test_pause_and_resume_reading(loop):
    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_read_pipe(Recorder, reader)
            transport.pause_reading()
            writer.write(b"held")
            for _ in range(5):
                await asyncio.sleep(0.001)
            assert protocol.kinds == ["made"]
            transport.resume_reading()
            assert await protocol.until_received(4) == b"held"
            transport.close()
            await ended(protocol)

    run(loop, main())


def test_closing_a_reader(loop):
    """connection_lost(None) after the call, once; the writer learns that nobody reads."""

    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_read_pipe(Recorder, reader)
            transport.close()
            transport.close()
            assert transport.is_closing()
            assert protocol.kinds == ["made"]
            await ended(protocol)
            assert protocol.events == [("made",), ("lost", None)]
            with pytest.raises(BrokenPipeError):
                writer.write(b"x")

    run(loop, main())


def test_writing(loop):
    """What is written arrives, in order; close() sends it before the end."""

    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_write_pipe(Recorder, writer)
            transport.write(b"one ")
            transport.write(bytearray(b"two "))
            transport.writelines([b"th", memoryview(b"ree")])
            assert await in_thread(reader.read, 100) == b"one two three"
            assert transport.get_write_buffer_size() == 0
            transport.write(b"last words")
            transport.close()
            assert await in_thread(reader.read, 100) == b"last words"
            await ended(protocol)
            assert protocol.events == [("made",), ("lost", None)]

    run(loop, main())


def full(transport):
    """Writes more than the pipe holds; how much that was."""
    size = fcntl.fcntl(transport.get_extra_info("pipe").fileno(), fcntl.F_GETPIPE_SZ) + (1 << 20)
    transport.write(b"x" * size)
    return size


def read_all(reader):
    total = 0
    while data := reader.read(1 << 16):
        total += len(data)
    return total


@pytest.mark.differs(uvloop="write_eof() of a pipe ends in ENOTSOCK", strict=False)
@pytest.mark.parametrize("way", ["close", "write_eof"])
def test_a_full_pipe(loop, way):
    """The protocol is told to wait; all arrives once somebody reads, and only then the end."""

    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_write_pipe(Recorder, writer)
            size = full(transport)
            assert protocol.kinds == ["made", "pause"]
            assert transport.get_write_buffer_size() >= 1 << 20
            assert transport.can_write_eof()
            getattr(transport, way)()
            assert await in_thread(read_all, reader) == size
            await ended(protocol)
            assert protocol.kinds[:2] == ["made", "pause"]
            assert protocol.events[-1] == ("lost", None)

    run(loop, main())


def test_resume_writing(loop):
    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_write_pipe(Recorder, writer)
            size = full(transport)
            work = in_thread(read_all, reader)
            reading = asyncio.ensure_future(work)
            await protocol.until_seen("resume")
            assert transport.get_write_buffer_size() <= transport.get_write_buffer_limits()[0]
            transport.close()
            assert await reading == size
            await ended(protocol)
            assert protocol.kinds == ["made", "pause", "resume", "lost"]

    run(loop, main())


def test_abort_drops_what_waits(loop):
    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_write_pipe(Recorder, writer)
            size = full(transport)
            transport.abort()
            assert protocol.count("lost") == 0
            await ended(protocol)
            assert protocol.error is None
            assert 0 < await in_thread(read_all, reader) < size

    run(loop, main())


@pytest.mark.differs(uvloop="calls eof_received() of a writer")
def test_the_reader_leaves(loop):
    """The transport notices without writing, and ends."""

    async def main():
        with pipe() as (reader, writer):
            _, protocol = await loop.connect_write_pipe(Recorder, writer)
            reader.close()
            await ended(protocol)
            assert protocol.kinds == ["made", "lost"]

    run(loop, main())


def test_the_reader_leaves_while_output_waits(loop):
    """connection_lost is told that the pipe broke."""

    async def main():
        with pipe() as (reader, writer):
            transport, protocol = await loop.connect_write_pipe(Recorder, writer)
            full(transport)
            reader.close()
            await ended(protocol)
            assert isinstance(protocol.error, BrokenPipeError)

    run(loop, main())


def test_both_ends_on_one_loop(loop):
    async def main():
        with pipe() as (reader, writer):
            _, reading = await loop.connect_read_pipe(Recorder, reader)
            transport, writing = await loop.connect_write_pipe(Recorder, writer)
            transport.write(b"x" * 1_000_000)
            assert len(await reading.until_received(1_000_000)) == 1_000_000
            transport.close()
            await ended(writing)
            await ended(reading)
            assert reading.kinds == ["made", "data", "eof", "lost"]

    run(loop, main())


def test_streams(loop):
    """asyncio's StreamReader on a pipe."""

    async def main():
        with pipe() as (reader, writer):
            stream = asyncio.StreamReader()
            transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), reader)
            writer.write(b"line\nrest")
            writer.close()
            assert await stream.readline() == b"line\n"
            assert await stream.read() == b"rest"
            transport.close()
            await asyncio.sleep(0)

    run(loop, main())


def test_a_socket_is_a_pipe_too(loop):
    async def main():
        ours, peer = socket.socketpair()
        with peer:
            _, protocol = await loop.connect_read_pipe(Recorder, ours)
            peer.sendall(b"hello")
            assert await protocol.until_received(5) == b"hello"
            peer.close()
            await ended(protocol)

    run(loop, main())


@pytest.mark.differs(uvloop="aborts the process", run=False)
@pytest.mark.parametrize("way", ["connect_read_pipe", "connect_write_pipe"])
def test_a_file_is_no_pipe(loop, way, tmp_path):
    async def main():
        with open(tmp_path / "file", "w+b") as file, pytest.raises(ValueError):
            await getattr(loop, way)(Recorder, file)

    run(loop, main())
