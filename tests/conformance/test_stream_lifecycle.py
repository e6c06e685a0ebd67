"""The order of a connection's callbacks, and closing or aborting it inside each of them."""

import asyncio
import socket

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run, until
from tests.helpers.wires import TCP, UNIX


def test_order_of_callbacks(loop, link):
    async def main():
        async with link() as connection:
            protocol, peer = connection.protocol, connection.peer
            peer.send(b"hello")
            await protocol.until_received(5)
            peer.end()
            await protocol.until_seen("lost")
            assert protocol.kinds == ["made", "data", "eof", "lost"]
            assert protocol.received == b"hello"
            assert protocol.error is None
            assert await peer.receive_to_end() == b""

    run(loop, main())


def test_data_and_eof_at_once(loop, link):
    async def main():
        async with link() as connection:
            connection.peer.send(b"x" * 1000)
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "eof", "lost"]
            assert connection.protocol.received == b"x" * 1000

    run(loop, main())


def test_eof_alone(loop, link):
    async def main():
        async with link() as connection:
            connection.peer.close()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.events == [("made",), ("eof",), ("lost", None)]

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_our_close_gives_connection_lost_without_an_exception(loop, link, way):
    async def main():
        async with link() as connection:
            getattr(connection.transport, way)()
            assert connection.transport.is_closing()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.events == [("made",), ("lost", None)]
            assert await connection.peer.receive_to_end() == b""

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_again_and_again_gives_one_connection_lost(loop, link, way):
    async def main():
        async with link() as connection:
            for _ in range(3):
                getattr(connection.transport, way)()
                connection.transport.close()
                connection.transport.abort()
            await connection.protocol.until_seen("lost")
            connection.transport.close()
            connection.transport.abort()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert connection.protocol.events == [("made",), ("lost", None)]

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
@pytest.mark.parametrize("callback", ["made", "data", "eof", "lost"])
def test_closing_inside_each_callback(loop, link, callback, way):
    async def main():
        def end(protocol, *args):
            getattr(protocol.transport, way)()
            assert protocol.transport.is_closing()

        async with link(lambda: Recorder(**{callback: end})) as connection:
            if callback != "made":
                connection.peer.send(b"data")
            if callback in ("eof", "lost"):
                connection.peer.end()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            before = {"made": [], "data": ["data"], "eof": ["data", "eof"], "lost": ["data", "eof"]}[callback]
            assert connection.protocol.kinds == ["made", *before, "lost"]
            assert connection.protocol.count("lost") == 1
            assert connection.protocol.error is None
            assert await connection.peer.receive_to_end() == b""

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_no_data_comes_after_close(loop, link, way):
    async def main():
        async with link() as connection:
            getattr(connection.transport, way)()
            connection.peer.send(b"too late")
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "lost"]

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closed_while_reading_is_paused(loop, link, way):
    """Nobody has to resume reading for the end: connection_lost comes, and what waited unread does not."""

    async def main():
        async with link() as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"unread")
            await asyncio.sleep(0.001)
            getattr(connection.transport, way)()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "lost"]
            assert connection.protocol.error is None

    run(loop, main())


def test_no_more_data_after_close_in_data_received(loop, link):
    """Bytes beyond what was already delivered are dropped, however many wait."""

    async def main():
        def close(protocol, data):
            protocol.transport.close()

        async with link(lambda: Recorder(data=close), small=True) as connection:
            # More than any one read takes, and than the kernel does.
            sending = asyncio.ensure_future(connection.peer.send_all(b"x" * 4_000_000))
            await connection.protocol.until_seen("lost")
            assert connection.protocol.count("data") == 1
            with pytest.raises(ConnectionError):
                await sending

    run(loop, main())


def test_close_sends_what_was_written(loop, link):
    data = bytes(range(256)) * 8192  # 2 MiB

    async def main():
        async with link(small=True) as connection:
            connection.transport.write(data)
            connection.transport.close()
            assert await connection.peer.receive_to_end() == data
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None

    run(loop, main())


def test_close_waits_for_the_output_before_connection_lost(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 1_000_000)
            connection.transport.close()
            for _ in range(20):
                await asyncio.sleep(0)
            assert connection.protocol.count("lost") == 0
            assert connection.transport.is_closing()
            assert len(await connection.peer.receive_to_end()) == 1_000_000
            await connection.protocol.until_seen("lost")

    run(loop, main())


def test_abort_drops_what_was_written(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 4_000_000)
            connection.transport.abort()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None
            try:
                assert len(await connection.peer.receive_to_end()) < 4_000_000
            except ConnectionResetError:
                pass

    run(loop, main())


def test_abort_while_close_is_flushing(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 4_000_000)
            connection.transport.close()
            await asyncio.sleep(0)
            assert connection.protocol.count("lost") == 0
            connection.transport.abort()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.count("lost") == 1

    run(loop, main())


def test_close_while_flushing_ends_when_the_peer_goes(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 4_000_000)
            connection.transport.close()
            await asyncio.sleep(0)
            connection.peer.close()
            await connection.protocol.until_seen("lost")
            assert isinstance(connection.protocol.error, (ConnectionResetError, BrokenPipeError))

    run(loop, main())


@pytest.mark.parametrize("reading", ["reading", "paused"])
def test_reset_by_the_peer(loop, reading):
    async def main():
        async with TCP.accepted() as connection:
            connection.peer.send(b"before")
            await connection.protocol.until_received(6)
            if reading == "paused":
                connection.transport.pause_reading()
                connection.peer.reset()
                await asyncio.sleep(0.01)
                connection.transport.resume_reading()
            else:
                connection.peer.reset()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "lost"]
            assert isinstance(connection.protocol.error, ConnectionResetError)

    run(loop, main())


def test_reset_behind_data(loop):
    """The kernel still gives what came before the RST."""

    async def main():
        async with TCP.accepted() as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"x" * 10_000)
            connection.peer.reset()
            await asyncio.sleep(0.01)
            connection.transport.resume_reading()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "lost"]
            assert len(connection.protocol.received) == 10_000
            assert isinstance(connection.protocol.error, ConnectionResetError)

    run(loop, main())


def test_unix_peer_that_closes_with_unread_bytes(loop):
    """What TCP does with RST: the reader learns that its bytes were thrown away."""

    async def main():
        async with UNIX.accepted() as connection:
            connection.transport.write(b"never read")
            await asyncio.sleep(0)
            connection.peer.send(b"last words")
            connection.peer.close()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.received == b"last words"
            assert connection.protocol.kinds == ["made", "data", "lost"]
            assert isinstance(connection.protocol.error, ConnectionResetError)

    run(loop, main())


def test_writing_to_a_peer_that_left(loop, link):
    async def main():
        async with link(lambda: Recorder(keep_open=True)) as connection:
            connection.peer.close()
            await connection.protocol.until_seen("eof")
            while not connection.transport.is_closing():
                connection.transport.write(b"x" * 1000)
                await asyncio.sleep(0.0005)
            await connection.protocol.until_seen("lost")
            assert isinstance(connection.protocol.error, (BrokenPipeError, ConnectionResetError))

    run(loop, main())


def test_connection_lost_frees_the_descriptor(loop, link):
    async def main():
        import os

        async with link() as connection:
            fd = connection.transport.get_extra_info("socket").fileno()
            os.fstat(fd)
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(fd)

    run(loop, main())


def test_a_thousand_connections_one_after_the_other(loop, wire):
    async def main():
        protocols = []

        def factory():
            protocols.append(Recorder(data=lambda protocol, data: protocol.transport.write(data)))
            return protocols[-1]

        async with wire.serving(factory) as (_, address):

            def clients():
                for _ in range(250):
                    peer = wire.peer(address)
                    peer.send(b"ping")
                    assert peer.receive_now(4) == b"ping"
                    peer.close()

            await asyncio.gather(*(in_thread(clients) for _ in range(4)))
            await until(lambda: all(protocol.count("lost") for protocol in protocols))
        assert len(protocols) == 1000
        assert {tuple(protocol.kinds) for protocol in protocols} == {("made", "data", "eof", "lost")}

    run(loop, main())


def test_server_that_writes_and_closes_in_connection_made(loop, wire):
    async def main():
        def greet(protocol):
            protocol.transport.write(b"go away")
            protocol.transport.close()

        async with wire.accepted(lambda: Recorder(made=greet)) as connection:
            assert await connection.peer.receive_to_end() == b"go away"
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None

    run(loop, main())


def test_peer_that_left_before_it_was_accepted(loop, wire):
    async def main():
        made = []
        async with wire.serving(lambda: made.append(Recorder()) or made[-1]) as (_, address):
            peer = wire.peer(address)
            peer.send(b"hello")
            peer.close()
            await until(lambda: made)
            await made[0].until_seen("lost")
            assert made[0].kinds == ["made", "data", "eof", "lost"]

    run(loop, main())


def test_tcp_peer_that_reset_before_it_was_accepted(loop):
    async def main():
        made = []
        async with TCP.serving(lambda: made.append(Recorder()) or made[-1]) as (_, address):
            TCP.peer(address).reset()
            peer = TCP.peer(address)
            peer.send(b"next")
            peer.end()
            await until(lambda: made and made[-1].received == b"next")
            await made[-1].until_seen("lost")
            for protocol in made:
                await protocol.until_seen("lost")
            peer.close()

    run(loop, main())


def test_nodelay_is_on(loop):
    async def main():
        for link in (TCP.accepted, TCP.connected):
            async with link() as connection:
                sock = connection.transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(loop, main())
