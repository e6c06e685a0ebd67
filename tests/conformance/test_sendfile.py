"""sendfile() and sock_sendfile(): by the system call where that serves, in pieces where it does not."""

import asyncio
import io
import socket

import pytest

from tests.helpers.running import run, until

pytestmark = pytest.mark.differs(uvloop="NotImplementedError", run=False)

DATA = bytes(range(256)) * 12_000  # about 3 MB: more than a socket takes


@pytest.fixture
def file(tmp_path):
    """A file that holds DATA."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("rb") as opened:
        yield opened


@pytest.mark.parametrize("fallback", [True, False])
def test_a_whole_file(loop, link, file, fallback):
    async def main():
        async with link() as connection:
            receiving = asyncio.create_task(connection.peer.receive_to_end())
            assert await loop.sendfile(connection.transport, file, fallback=fallback) == len(DATA)
            assert file.tell() == len(DATA)
            connection.transport.write(b"after")
            connection.transport.close()
            assert await receiving == DATA + b"after"

    run(loop, main())


@pytest.mark.parametrize(("offset", "count"), [(1000, 2_000_000), (len(DATA) - 10, None), (len(DATA), None), (0, 1)])
def test_a_part_of_a_file(loop, link, file, offset, count):
    async def main():
        expected = DATA[offset:] if count is None else DATA[offset : offset + count]
        async with link() as connection:
            receiving = asyncio.create_task(connection.peer.receive_to_end())
            assert await loop.sendfile(connection.transport, file, offset, count, fallback=False) == len(expected)
            connection.transport.close()
            assert await receiving == expected
            if expected:
                assert file.tell() == offset + len(expected)

    run(loop, main())


def test_what_was_written_before_goes_first(loop, link, file):
    async def main():
        async with link(small=True) as connection:
            before = b"before" * 50_000
            connection.transport.write(before)
            sending = asyncio.create_task(loop.sendfile(connection.transport, file, fallback=False))
            await asyncio.sleep(0.01)
            assert await connection.peer.receive(len(before)) == before
            assert await connection.peer.receive(len(DATA)) == DATA
            assert await sending == len(DATA)

    run(loop, main())


def test_nothing_else_is_written_meanwhile(loop, link, file):
    async def main():
        async with link(small=True) as connection:
            sending = asyncio.create_task(loop.sendfile(connection.transport, file))
            await asyncio.sleep(0.01)
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                connection.transport.write(b"x")
            with pytest.raises((RuntimeError, KeyError)):  # the latter is asyncio's
                await loop.sendfile(connection.transport, file)
            assert not sending.done()
            assert await connection.peer.receive(len(DATA)) == DATA
            assert await sending == len(DATA)
            connection.transport.write(b"after")
            assert await connection.peer.receive(5) == b"after"

    run(loop, main())


def test_reading_rests_meanwhile(loop, link, file):
    async def main():
        async with link(small=True) as connection:
            sending = asyncio.create_task(loop.sendfile(connection.transport, file))
            await asyncio.sleep(0.01)
            connection.peer.send(b"request")
            await asyncio.sleep(0.01)
            assert not connection.protocol.received
            assert await connection.peer.receive(len(DATA)) == DATA
            await sending
            assert await connection.protocol.until_received(7) == b"request"

    run(loop, main())


def test_a_peer_that_leaves(loop, link, file):
    async def main():
        async with link(small=True) as connection:
            sending = asyncio.create_task(loop.sendfile(connection.transport, file))
            await connection.peer.receive(1000)
            connection.peer.close()
            with pytest.raises(ConnectionError):
                await sending
            assert 1000 <= file.tell() < len(DATA)
            await connection.protocol.until_seen("lost")

    run(loop, main())


@pytest.mark.differs(asyncio="waits for ever, for a descriptor that is closed", run=False)
@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_transport_that_is_closed_meanwhile(loop, link, file, how):
    async def main():
        async with link(small=True) as connection:
            sending = asyncio.create_task(loop.sendfile(connection.transport, file))
            await asyncio.sleep(0.01)
            assert not sending.done()
            getattr(connection.transport, how)()
            with pytest.raises(ConnectionError):
                await sending
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None

    run(loop, main())


@pytest.mark.differs(asyncio="the file's position is not moved")
def test_cancelled(loop, link, file):
    async def main():
        async with link(small=True) as connection:
            sending = asyncio.create_task(loop.sendfile(connection.transport, file))
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            sent = file.tell()
            assert 0 < sent < len(DATA)
            connection.transport.write(b"after")
            assert await connection.peer.receive(sent + 5) == DATA[:sent] + b"after"

    run(loop, main())


def test_no_regular_file(loop, link):
    async def main():
        async with link() as connection:
            receiving = asyncio.create_task(connection.peer.receive_to_end())
            with pytest.raises(asyncio.SendfileNotAvailableError):
                await loop.sendfile(connection.transport, io.BytesIO(DATA), fallback=False)
            assert await loop.sendfile(connection.transport, io.BytesIO(DATA)) == len(DATA)
            connection.transport.close()
            assert await receiving == DATA

    run(loop, main())


@pytest.mark.parametrize("fallback", [True, False])
def test_plain_socket(loop, file, fallback):
    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        with left, right:
            sending = asyncio.create_task(loop.sock_sendfile(left, file, fallback=fallback))
            received = bytearray()
            while len(received) < len(DATA):
                received += await loop.sock_recv(right, 1 << 20)
            assert received == DATA
            assert await sending == len(DATA)
            assert file.tell() == len(DATA)

    run(loop, main())


@pytest.mark.differs(asyncio="the file's position is not moved")
def test_plain_socket_cancelled(loop, file):
    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        with left, right:
            sending = asyncio.create_task(loop.sock_sendfile(left, file))
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert 0 < file.tell() < len(DATA)
            assert loop.remove_writer(left) is False

    run(loop, main())


def test_not_over_datagrams(loop, file):
    async def main():
        transport, protocol = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        with pytest.raises(RuntimeError, match=r"sendfile is not supported for transport <.*DatagramTransport .*fd="):
            await loop.sendfile(transport, file)
        assert "bufsize=0" in repr(transport)
        transport.close()
        assert "closing" in repr(transport)
        await until(lambda: transport.get_extra_info("socket").fileno() < 0)
        assert "closed" in repr(transport)

    run(loop, main())
