"""Reading: any size and split, pause_reading and resume_reading without losing anything."""

import asyncio
import random

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import run
from tests.helpers.wires import TCP, UNIX

PROTOCOLS = pytest.mark.parametrize("make", [Recorder, BufferedRecorder], ids=["protocol", "buffered"])


@PROTOCOLS
@pytest.mark.parametrize("size", [1, 100, 65_535, 65_536, 65_537, 262_144, 1_000_000, 5_000_000])
def test_sizes(loop, wire, make, size):
    data = random.Random(size).randbytes(size)

    async def main():
        async with wire.accepted(make) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(data))
            assert await connection.protocol.until_received(size) == data
            await sending

    run(loop, main())


@PROTOCOLS
def test_one_byte_at_a_time(loop, link, make):
    async def main():
        async with link(make) as connection:
            for i in range(100):
                connection.peer.send(bytes([i]))
                await connection.protocol.until_received(i + 1)
            assert connection.protocol.received == bytes(range(100))

    run(loop, main())


def test_data_is_bytes(loop, link):
    async def main():
        async with link(lambda: Recorder(data=lambda protocol, data: kinds.add(type(data)))) as connection:
            connection.peer.send(b"x")
            await connection.protocol.until_received(1)
            sending = asyncio.ensure_future(connection.peer.send_all(b"y" * 1_000_000))
            await connection.protocol.until_received(1_000_001)
            await sending
            assert kinds == {bytes}

    kinds: set[type] = set()
    run(loop, main())


def test_is_reading(loop, link):
    async def main():
        async with link() as connection:
            transport = connection.transport
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert transport.is_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            transport.resume_reading()
            assert transport.is_reading()
            transport.close()
            assert not transport.is_reading()

    run(loop, main())


def test_is_closing(loop, link):
    async def main():
        async with link() as connection:
            assert not connection.transport.is_closing()
            connection.transport.close()
            assert connection.transport.is_closing()
            await connection.protocol.until_seen("lost")
            assert connection.transport.is_closing()

    run(loop, main())


def test_pause_and_resume_again_and_again(loop, link):
    async def main():
        async with link() as connection:
            transport = connection.transport
            for _ in range(3):
                transport.pause_reading()
                transport.pause_reading()
                transport.resume_reading()
                transport.resume_reading()
            connection.peer.send(b"here")
            assert await connection.protocol.until_received(4) == b"here"

    run(loop, main())


def test_pause_and_resume_after_close(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.close()
            connection.transport.pause_reading()
            connection.transport.resume_reading()
            await connection.protocol.until_seen("lost")
            connection.transport.pause_reading()
            connection.transport.resume_reading()
            assert connection.protocol.kinds == ["made", "lost"]

    run(loop, main())


@PROTOCOLS
def test_nothing_comes_while_paused(loop, link, make):
    async def main():
        async with link(make) as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"waits")
            for _ in range(5):
                await asyncio.sleep(0.001)
            assert connection.protocol.kinds == ["made"]
            connection.transport.resume_reading()
            assert await connection.protocol.until_received(5) == b"waits"

    run(loop, main())


def test_resume_never_delivers_inside_the_call(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"waits")
            await asyncio.sleep(0.001)
            connection.transport.resume_reading()
            assert connection.protocol.count("data") == 0
            await connection.protocol.until_received(5)

    run(loop, main())


@PROTOCOLS
def test_pause_in_data_received_and_resume_later(loop, link, make):
    """Whatever one read takes, the rest waits until resume, and nothing is lost in between."""
    data = random.Random(1).randbytes(3_000_000)

    async def main():
        def pause(protocol, _):
            protocol.transport.pause_reading()
            pauses.append(len(protocol.received))
            loop.call_soon(protocol.transport.resume_reading)

        async with link(lambda: make(data=pause)) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(data))
            assert await connection.protocol.until_received(len(data)) == data
            await sending

    pauses: list[int] = []
    run(loop, main())
    assert len(pauses) > 1


@PROTOCOLS
def test_pause_in_data_received_stops_at_once(loop, link, make):
    async def main():
        async with link(lambda: make(data=lambda protocol, _: protocol.transport.pause_reading())) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(b"x" * 2_000_000))
            await connection.protocol.until_seen("data")
            for _ in range(5):
                await asyncio.sleep(0.001)
            assert connection.protocol.count("data") == 1
            connection.protocol.hooks.clear()
            connection.transport.resume_reading()
            await connection.protocol.until_received(2_000_000)
            await sending

    run(loop, main())


@pytest.mark.differs(uvloop="starts to read after connection_made all the same")
def test_pause_in_connection_made(loop, wire):
    async def main():
        async with wire.accepted(
            lambda: Recorder(made=lambda protocol: protocol.transport.pause_reading())
        ) as connection:
            assert not connection.transport.is_reading()
            connection.peer.send(b"early")
            await asyncio.sleep(0.002)
            assert connection.protocol.kinds == ["made"]
            connection.transport.resume_reading()
            assert await connection.protocol.until_received(5) == b"early"

    run(loop, main())


def test_pause_and_resume_in_one_callback(loop, link):
    async def main():
        def blink(protocol, data):
            protocol.transport.pause_reading()
            protocol.transport.resume_reading()

        async with link(lambda: Recorder(data=blink)) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(b"x" * 1_000_000))
            await connection.protocol.until_received(1_000_000)
            await sending
            connection.peer.send(b"y")
            await connection.protocol.until_received(1_000_001)

    run(loop, main())


@PROTOCOLS
def test_data_and_eof_wait_while_paused(loop, link, make):
    async def main():
        async with link(make) as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"last words")
            connection.peer.close()
            await asyncio.sleep(0.002)
            assert connection.protocol.kinds == ["made"]
            assert not connection.transport.is_closing()
            connection.transport.resume_reading()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "eof", "lost"]
            assert connection.protocol.received == b"last words"
            assert connection.protocol.error is None

    run(loop, main())


def test_eof_alone_waits_while_paused(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.pause_reading()
            connection.peer.close()
            await asyncio.sleep(0.002)
            assert connection.protocol.kinds == ["made"]
            connection.transport.resume_reading()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "eof", "lost"]

    run(loop, main())


def test_data_eof_and_reset_wait_while_paused(loop):
    """The kernel still gives the data and the end of the stream; the reset shows when something is written."""

    async def main():
        async with TCP.accepted(lambda: Recorder(keep_open=True)) as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"last words")
            connection.peer.end()
            await asyncio.sleep(0.001)
            connection.peer.reset()
            await asyncio.sleep(0.002)
            assert connection.protocol.kinds == ["made"]
            connection.transport.resume_reading()
            await connection.protocol.until_seen("data")
            assert connection.protocol.received == b"last words"
            await asyncio.sleep(0.002)
            if not connection.transport.is_closing():
                connection.transport.write(b"anybody there?")
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds in (["made", "data", "eof", "lost"], ["made", "data", "lost"])
            assert isinstance(connection.protocol.error, (BrokenPipeError, ConnectionResetError))

    run(loop, main())


def test_data_and_reset_wait_while_paused(loop):
    async def main():
        async with TCP.accepted() as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"last words")
            await asyncio.sleep(0.001)
            connection.peer.reset()
            for _ in range(5):
                await asyncio.sleep(0.001)
            assert connection.protocol.kinds == ["made"]
            connection.transport.resume_reading()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "lost"]
            assert isinstance(connection.protocol.error, ConnectionResetError)

    run(loop, main())


def test_much_data_and_a_reset_wait_while_paused(loop):
    """More than one read's worth: each resume gives the next part, the reset comes last."""

    async def main():
        def pause(protocol, data):
            protocol.transport.pause_reading()
            loop.call_soon(protocol.transport.resume_reading)

        async with TCP.accepted(lambda: Recorder(data=pause)) as connection:
            connection.transport.pause_reading()
            connection.peer.sock.setblocking(False)
            sent = connection.peer.sock.send(b"x" * 2_000_000)
            await asyncio.sleep(0.002)
            connection.peer.reset()  # throws away what our kernel has not taken yet
            connection.transport.resume_reading()
            await connection.protocol.until_seen("lost")
            assert 0 < len(connection.protocol.received) <= sent
            assert connection.protocol.kinds == ["made", "data", "lost"]
            assert isinstance(connection.protocol.error, ConnectionResetError)

    run(loop, main())


def test_unix_data_and_peers_close_with_unread_bytes_wait_while_paused(loop):
    async def main():
        async with UNIX.accepted() as connection:
            connection.transport.pause_reading()
            connection.transport.write(b"never read")
            await asyncio.sleep(0)
            connection.peer.send(b"last words")
            connection.peer.close()
            await asyncio.sleep(0.002)
            assert connection.protocol.kinds == ["made"]
            connection.transport.resume_reading()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "lost"]
            assert connection.protocol.received == b"last words"

    run(loop, main())


def test_a_failing_write_ends_a_paused_connection(loop):
    async def main():
        async with TCP.accepted() as connection:
            connection.transport.pause_reading()
            connection.peer.reset()
            await asyncio.sleep(0.001)
            while not connection.transport.is_closing():
                connection.transport.write(b"x")
                await asyncio.sleep(0.001)
            await connection.protocol.until_seen("lost")
            assert isinstance(connection.protocol.error, (BrokenPipeError, ConnectionResetError))

    run(loop, main())


def test_writing_goes_on_while_reading_is_paused(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.pause_reading()
            connection.transport.write(b"x" * 1_000_000)
            assert len(await connection.peer.receive(1_000_000)) == 1_000_000

    run(loop, main())


def test_echo_of_much_data_through_small_buffers(loop, link):
    """Both directions at once, flow control in both: a lost edge would hang it."""
    data = random.Random(2).randbytes(2_000_000)

    async def main():
        echo = {
            "data": lambda protocol, data: protocol.transport.write(data),
            "pause": lambda protocol: protocol.transport.pause_reading(),
            "resume": lambda protocol: protocol.transport.resume_reading(),
        }
        async with link(lambda: Recorder(**echo), small=True) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(data))
            assert await connection.peer.receive(len(data)) == data
            await sending
            assert connection.protocol.count("pause") == connection.protocol.count("resume")

    run(loop, main())


def test_one_firehose_does_not_starve_the_others(loop, wire):
    """While one peer sends without pause, another one is answered: counted in reads, not in time."""

    async def main():
        async with wire.accepted() as firehose:

            def answer(protocol, data):
                protocol.transport.write(data)

            async with wire.accepted(lambda: Recorder(data=answer)) as pinger:
                sending = asyncio.ensure_future(firehose.peer.send_all(b"x" * 30_000_000))
                await firehose.protocol.until_received(1)
                for _ in range(20):
                    pinger.peer.send(b"ping")
                    assert await pinger.peer.receive(4) == b"ping"
                await firehose.protocol.until_received(30_000_000)
                await sending

    run(loop, main())
