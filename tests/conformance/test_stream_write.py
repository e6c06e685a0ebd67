"""write, writelines: what goes out, in which order, of which types, and what is refused."""

import array
import asyncio
import gc
import sys

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import run
from tests.helpers.wires import TCP

LATE_BYTES = "sends what a bytearray holds later, not what it held at write()"
HELD_BUFFER = "holds the buffer until it is sent, and so it cannot be resized"

BROKEN_WRITELINES = "fails with a TypeError" if sys.version_info[:2] in {(3, 12), (3, 13)} else None


def sent(loop, link, write, *, expected):
    """Checks that what WRITE(transport) writes arrives as EXPECTED; then the stream is closed."""

    async def main():
        async with link(small=True) as connection:
            write(connection.transport)
            connection.transport.close()
            assert await connection.peer.receive_to_end() == expected

    run(loop, main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like_objects(loop, accepted, kind):
    sent(loop, accepted, lambda transport: transport.write(kind(b"hello")), expected=b"hello")


@pytest.mark.parametrize("size", [1, 1000, 65_535, 65_536, 65_537, 300_000, 3_000_000])
def test_sizes(loop, accepted, size):
    data = bytes(i % 251 for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    sent(loop, accepted, lambda transport: transport.write(data), expected=data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_large_writes_of_every_type(loop, accepted, kind):
    data = bytes(range(256)) * 4096
    sent(loop, accepted, lambda transport: transport.write(kind(data)), expected=data)


def test_many_small_writes(loop, accepted):
    def write(transport):
        for i in range(5000):
            transport.write(b"%d," % i)

    sent(loop, accepted, write, expected=b"".join(b"%d," % i for i in range(5000)))


def test_small_writes_behind_a_large_one(loop, accepted):
    def write(transport):
        transport.write(b"a" * 1_000_000)
        transport.write(b"b")
        transport.write(bytearray(b"c" * 10))
        transport.writelines([b"d", b"e"])
        transport.write(b"f" * 1_000_000)
        transport.write(b"g")

    expected = b"a" * 1_000_000 + b"b" + b"c" * 10 + b"de" + b"f" * 1_000_000 + b"g"
    sent(loop, accepted, write, expected=expected)


def test_empty_writes_send_nothing(loop, accepted):
    def write(transport):
        transport.write(b"")
        transport.write(bytearray())
        transport.write(memoryview(b""))
        transport.write(b"x")
        transport.write(b"")

    sent(loop, accepted, write, expected=b"x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: [b"one", b"two", b"three"],
        lambda: (b"one", bytearray(b"two"), memoryview(b"three")),
        lambda: (part for part in [b"one", b"two", b"three"]),
        lambda: iter([b"one", b"", b"two", b"three"]),
        lambda: {b"one": 1, b"two": 2, b"three": 3},
    ],
    ids=["list", "mixed", "generator", "iterator", "dict"],
)
def test_writelines(loop, accepted, make):
    sent(loop, accepted, lambda transport: transport.writelines(make()), expected=b"onetwothree")


def test_writelines_of_nothing(loop, accepted):
    sent(loop, accepted, lambda transport: transport.writelines([]), expected=b"")


def test_writelines_of_more_parts_than_one_system_call_takes(loop, accepted):
    parts = [b"%06d" % i for i in range(5000)]  # IOV_MAX is 1024
    sent(loop, accepted, lambda transport: transport.writelines(parts), expected=b"".join(parts))


def test_writelines_of_large_parts(loop, accepted):
    parts = [bytes([i]) * 100_000 for i in range(20)]
    sent(loop, accepted, lambda transport: transport.writelines(parts), expected=b"".join(parts))


@pytest.mark.differs(uvloop=LATE_BYTES, asyncio=LATE_BYTES if sys.version_info >= (3, 12) else None, run=False)
@pytest.mark.parametrize("backlog", [0, 1_000_000], ids=["empty", "behind-a-backlog"])
@pytest.mark.parametrize("view", [lambda data: data, memoryview], ids=["bytearray", "memoryview"])
def test_a_buffer_may_be_changed_as_soon_as_write_returns(loop, accepted, view, backlog):
    def write(transport):
        transport.write(b"-" * backlog)
        data = bytearray(b"a" * 500_000)
        transport.write(view(data))
        data[:] = b"z" * 500_000
        small = bytearray(b"b" * 100)
        transport.write(view(small))
        small[:] = b"z" * 100
        transport.writelines([view(small)])
        small[:] = b"y" * 100

    expected = b"-" * backlog + b"a" * 500_000 + b"b" * 100 + b"z" * 100
    sent(loop, accepted, write, expected=expected)


@pytest.mark.differs(uvloop=HELD_BUFFER, asyncio=HELD_BUFFER if sys.version_info >= (3, 12) else None)
def test_a_buffer_may_be_resized_as_soon_as_write_returns(loop, accepted):
    def write(transport):
        data = bytearray(b"a" * 500_000)
        transport.write(data)
        data.clear()
        data += b"b" * 10
        transport.write(memoryview(data))
        data += b"c" * 10_000

    sent(loop, accepted, write, expected=b"a" * 500_000 + b"b" * 10)


def test_a_buffer_changed_in_the_same_callback(loop, link):
    """Writes made in one callback go out at its end: they must have been copied before."""

    async def main():
        def answer(protocol, data):
            buffer = bytearray(b"first")
            protocol.transport.write(buffer)
            buffer[:] = b"again"
            protocol.transport.write(memoryview(buffer))
            buffer[:] = b"wrong"

        async with link(lambda: Recorder(data=answer)) as connection:
            connection.peer.send(b"?")
            assert await connection.peer.receive(10) == b"firstagain"

    run(loop, main())


def test_a_slice_of_a_memoryview(loop, accepted):
    data = bytes(range(256)) * 2000
    view = memoryview(data)[1000:-1000]
    sent(loop, accepted, lambda transport: transport.write(view), expected=data[1000:-1000])


@pytest.mark.parametrize("code", ["H", "I", "d"])
def test_memoryview_of_another_format(loop, accepted, code):
    data = array.array(code, range(100))
    sent(loop, accepted, lambda transport: transport.write(memoryview(data)), expected=data.tobytes())


@pytest.mark.differs(asyncio="counts items where bytes are meant")
def test_large_memoryview_of_another_format(loop, accepted):
    data = array.array("I", range(500_000))

    def write(transport):
        transport.write(memoryview(data))
        transport.write(b"end")

    sent(loop, accepted, write, expected=data.tobytes() + b"end")


@pytest.mark.differs(
    asyncio=sys.version_info >= (3, 15) and "3.15 sends nothing any more after a refused writelines()", run=False
)
@pytest.mark.parametrize("wrong", ["text", 42, ["list"], object()], ids=["str", "int", "list", "object"])
def test_wrong_types_are_refused(loop, link, wrong):
    async def main():
        async with link() as connection:
            with pytest.raises(TypeError, match=r"bytes-like|bytes, bytearray, or memoryview"):
                connection.transport.write(wrong)
            with pytest.raises(TypeError):
                connection.transport.writelines([b"part", wrong])
            connection.transport.write(b"goes on")
            data = await connection.peer.receive(7)
            if data[:4] == b"part":
                data = data[4:] + await connection.peer.receive(4)
            assert data == b"goes on"

    run(loop, main())


def test_writelines_takes_any_buffer(loop, accepted):
    def write(transport):
        transport.writelines([array.array("B", b"one "), b"two ", memoryview(b"three")])

    sent(loop, accepted, write, expected=b"one two three")


@pytest.mark.differs(uvloop="takes None for nothing")
def test_none_is_refused(loop, link):
    async def main():
        async with link() as connection:
            with pytest.raises(TypeError, match=r"bytes-like|bytes, bytearray, or memoryview"):
                connection.transport.write(None)

    run(loop, main())


def test_the_wrong_type_is_named(loop, link):
    async def main():
        async with link() as connection:
            with pytest.raises(TypeError, match="'str'"):
                connection.transport.write("text")

    run(loop, main())


def test_order_of_two_writes_in_one_callback(loop, link):
    async def main():
        def answer(protocol, data):
            protocol.transport.write(b"one ")
            protocol.transport.write(b"two ")
            protocol.transport.writelines([b"three ", b"four"])

        async with link(lambda: Recorder(data=answer)) as connection:
            connection.peer.send(b"?")
            assert await connection.peer.receive(18) == b"one two three four"

    run(loop, main())


def test_writes_of_several_callbacks_keep_their_order(loop, link):
    async def main():
        async with link() as connection:
            for i in range(100):
                loop.call_soon(connection.transport.write, b"%02d" % i)
            assert await connection.peer.receive(200) == b"".join(b"%02d" % i for i in range(100))

    run(loop, main())


def test_writes_of_task_steps_keep_their_order(loop, link):
    async def main():
        async with link() as connection:

            async def writer():
                for i in range(50):
                    connection.transport.write(b"%02d" % i)
                    connection.transport.write(b";")
                    await asyncio.sleep(0)

            await writer()
            assert await connection.peer.receive(150) == b"".join(b"%02d;" % i for i in range(50))

    run(loop, main())


def test_write_in_connection_made(loop, link):
    async def main():
        def greet(protocol):
            protocol.transport.write(b"hello ")
            protocol.transport.write(b"there")

        async with link(lambda: Recorder(made=greet)) as connection:
            assert await connection.peer.receive(11) == b"hello there"

    run(loop, main())


def test_a_write_in_a_callback_goes_out_though_the_callback_blocks_afterwards_in_the_loop(loop, link):
    """A task that never yields to the loop again in this step, except through a full turn: bytes leave at its end."""

    async def main():
        async with link() as connection:
            connection.transport.write(b"x")
            await asyncio.sleep(0)
            assert connection.peer.sock.recv(1) == b"x"  # blocks the loop: the byte must be on its way

    run(loop, main())


def test_write_while_the_loop_does_not_run_goes_at_once(loop):
    """Outside of a callback nothing gathers writes."""

    async def start():
        context = TCP.accepted()
        return context, await context.__aenter__()

    context, connection = run(loop, start())
    connection.transport.write(b"no turn")
    assert connection.peer.receive_now(7) == b"no turn"

    async def end():
        await context.__aexit__(None, None, None)

    run(loop, end())


def test_write_after_write_eof_is_refused(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.write(b"last")
            connection.transport.write_eof()
            with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
                connection.transport.write(b"more")
            with pytest.raises(RuntimeError):
                connection.transport.writelines([b"more"])
            assert await connection.peer.receive_to_end() == b"last"

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_write_after_close_is_dropped(loop, link, way, caplog):
    async def main():
        async with link() as connection:
            connection.transport.write(b"before")
            await asyncio.sleep(0)
            getattr(connection.transport, way)()
            connection.transport.write(b"after")
            await connection.protocol.until_seen("lost")
            assert await connection.peer.receive_to_end() == b"before"

    run(loop, main())


@pytest.mark.differs(
    asyncio="writelines() fails with a TypeError" if sys.version_info[:2] in {(3, 12), (3, 13)} else None
)
def test_writelines_after_close_is_dropped(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.close()
            connection.transport.writelines([b"after"])
            await connection.protocol.until_seen("lost")
            assert await connection.peer.receive_to_end() == b""

    run(loop, main())


@pytest.mark.differs(uvloop="raises RuntimeError")
def test_write_after_connection_lost_warns_after_some_time(loop, link, caplog):
    async def main():
        async with link() as connection:
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            for _ in range(10):
                connection.transport.write(b"nobody reads this")

    run(loop, main())
    assert "socket.send() raised exception" in caplog.text


def test_the_transport_lets_go_of_what_was_sent(loop, accepted):
    import weakref

    class Data(bytearray):
        """A buffer that can be watched."""

    async def main():
        async with accepted(small=True) as connection:
            data = Data(b"x" * 1_000_000)
            ref = weakref.ref(data)
            connection.transport.write(data)
            del data
            assert len(await connection.peer.receive(1_000_000)) == 1_000_000
            await asyncio.sleep(0)
            gc.collect()
            assert ref() is None

    run(loop, main())


def test_two_transports_written_in_one_callback(loop, wire):
    async def main():
        async with wire.accepted() as one, wire.accepted() as two:
            for i in range(10):
                one.transport.write(b"%d" % i)
                two.transport.write(b"%d" % (9 - i))
            assert await one.peer.receive(10) == b"0123456789"
            assert await two.peer.receive(10) == b"9876543210"

    run(loop, main())
