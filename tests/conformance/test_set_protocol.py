"""set_protocol in flight: what arrives afterwards goes to the new protocol, whatever its kind."""

import asyncio
import random

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import run

KINDS = pytest.mark.parametrize(
    ("first", "second"),
    [(Recorder, Recorder), (Recorder, BufferedRecorder), (BufferedRecorder, Recorder), (BufferedRecorder,) * 2],
    ids=["protocol-protocol", "protocol-buffered", "buffered-protocol", "buffered-buffered"],
)


@KINDS
def test_data_goes_to_the_new_protocol(loop, accepted, first, second):
    async def main():
        async with accepted(first) as connection:
            connection.peer.send(b"old")
            await connection.protocol.until_received(3)
            new = second()
            new.transport = connection.transport
            connection.transport.set_protocol(new)
            assert connection.transport.get_protocol() is new
            connection.peer.send(b"new")
            assert await new.until_received(3) == b"new"
            assert connection.protocol.received == b"old"
            connection.peer.end()
            await new.until_seen("lost")
            assert new.kinds == ["data", "eof", "lost"]
            assert connection.protocol.kinds == ["made", "data"]
            connection.protocol.note("lost", None)

    run(loop, main())


@KINDS
def test_set_in_data_received(loop, accepted, first, second):
    """The first bytes decide which protocol is spoken, as servers do that upgrade."""
    data = random.Random(6).randbytes(1_000_000)

    async def main():
        def switch(protocol, seen):
            protocol.transport.set_protocol(new)

        new = second()
        async with accepted(lambda: first(data=switch)) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(data))
            await new.until(lambda: len(connection.protocol.received) + len(new.received) == len(data))
            await sending
            assert bytes(connection.protocol.received + new.received) == data
            assert connection.protocol.count("data") == 1
            connection.transport.abort()
            await new.until_seen("lost")
            connection.protocol.note("lost", None)

    run(loop, main())


def test_set_in_connection_made(loop, wire):
    async def main():
        new = Recorder()

        def switch(protocol):
            protocol.transport.set_protocol(new)

        async with wire.accepted(lambda: Recorder(made=switch)) as connection:
            connection.peer.send(b"hello")
            await new.until_received(5)
            connection.peer.end()
            await new.until_seen("lost")
            assert connection.protocol.kinds == ["made"]
            connection.protocol.note("lost", None)

    run(loop, main())


def test_connection_made_is_not_called_again(loop, link):
    async def main():
        async with link() as connection:
            new = Recorder()
            connection.transport.set_protocol(new)
            await asyncio.sleep(0.001)
            assert new.events == []
            connection.transport.close()
            await new.until_seen("lost")
            assert new.events == [("lost", None)]
            assert connection.protocol.events == [("made",)]
            connection.protocol.note("lost", None)

    run(loop, main())


def test_set_while_paused_by_the_write_limit(loop, accepted):
    """resume_writing goes to whoever is the protocol by then."""

    async def main():
        async with accepted(small=True) as connection:
            connection.transport.write(b"x" * 1_000_000)
            assert connection.protocol.count("pause") == 1
            new = Recorder()
            connection.transport.set_protocol(new)
            await connection.peer.receive(1_000_000)
            await new.until_seen("resume")
            assert connection.protocol.count("resume") == 0
            connection.transport.abort()
            await new.until_seen("lost")
            connection.protocol.note("lost", None)

    run(loop, main())


def test_set_while_reading_is_paused(loop, accepted):
    async def main():
        async with accepted() as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"waits")
            await asyncio.sleep(0.001)
            new = BufferedRecorder()
            connection.transport.set_protocol(new)
            assert not connection.transport.is_reading()
            connection.transport.resume_reading()
            assert await new.until_received(5) == b"waits"
            connection.transport.abort()
            await new.until_seen("lost")
            connection.protocol.note("lost", None)

    run(loop, main())


def test_back_and_forth(loop, accepted):
    async def main():
        async with accepted() as connection:
            one, two = connection.protocol, BufferedRecorder()
            for i in range(20):
                receiver = (one, two)[i % 2]
                connection.transport.set_protocol(receiver)
                connection.peer.send(b"x")
                await receiver.until_received(i // 2 + 1)
            assert one.received == two.received == b"x" * 10
            connection.transport.set_protocol(one)

    run(loop, main())


def test_the_same_protocol_instance_may_change_its_methods(loop, accepted):
    """set_protocol() of the same protocol has its methods looked up again (asyncio looks at each call)."""

    async def main():
        async with accepted() as connection:
            connection.peer.send(b"one")
            await connection.protocol.until_received(3)
            got: list[bytes] = []
            connection.protocol.data_received = got.append
            connection.transport.set_protocol(connection.protocol)
            connection.peer.send(b"two")
            while not got:
                await asyncio.sleep(0.001)
            assert got == [b"two"]
            del connection.protocol.data_received

    run(loop, main())
