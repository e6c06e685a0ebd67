"""create_datagram_endpoint: UDP on v4 and v6, Unix datagrams; order, errors, the end."""

import asyncio
import contextlib
import errno
import socket

import pytest

from tests.helpers.datagrams import DatagramRecorder
from tests.helpers.running import run, until


def has_v6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        return True
    return False


HOSTS = [
    "127.0.0.1",
    pytest.param("::1", marks=pytest.mark.skipif(not has_v6(), reason="no IPv6 on the loopback")),
]


async def server(loop, host="127.0.0.1", **hooks):
    transport, protocol = await loop.create_datagram_endpoint(lambda: DatagramRecorder(**hooks), local_addr=(host, 0))
    assert protocol.transport is transport
    return protocol, transport.get_extra_info("sockname")


async def client(loop, address, **hooks):
    _, protocol = await loop.create_datagram_endpoint(lambda: DatagramRecorder(**hooks), remote_addr=address[:2])
    return protocol


@pytest.mark.parametrize("host", HOSTS)
def test_client_and_server(loop, host):
    """Each is told whom a datagram came from, with the address that sockname shows."""

    async def main():
        def answer(protocol, data, address):
            protocol.transport.sendto(data.upper(), address)

        serving, address = await server(loop, host, datagram=answer)
        asking = await client(loop, address)
        asking.transport.sendto(b"hello")
        assert await asking.until_datagrams(1) == [b"HELLO"]
        assert serving.events == [("made",), ("datagram", b"hello", asking.transport.get_extra_info("sockname"))]
        assert asking.events == [("made",), ("datagram", b"HELLO", address)]
        await asking.closed()
        await serving.closed()
        assert serving.events[-1] == asking.events[-1] == ("lost", None)

    run(loop, main())


def test_unix_datagrams(loop, short_tmp):
    """Both ends bound to a path; the peer's name is its path."""
    paths = [str(short_tmp / name) for name in "ab"]

    async def main():
        socks = []
        for path in paths:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind(path)
            socks.append(sock)
        one, two = [(await loop.create_datagram_endpoint(DatagramRecorder, sock=sock))[1] for sock in socks]
        one.transport.sendto(b"to two", paths[1])
        assert await two.until_datagrams(1) == [b"to two"]
        two.transport.sendto(b"to one", paths[0])
        assert await one.until_datagrams(1) == [b"to one"]
        assert two.events[1] == ("datagram", b"to two", paths[0])
        assert one.events[1] == ("datagram", b"to one", paths[1])
        await one.closed()
        await two.closed()

    run(loop, main())


def test_the_order_of_sendto(loop):
    """On the loopback what was sent first comes first, datagram by datagram."""
    sent = [b"%d" % i for i in range(100)]

    async def main():
        serving, address = await server(loop)
        asking = await client(loop, address)
        for data in sent:
            asking.transport.sendto(data)
        assert await serving.until_datagrams(len(sent)) == sent
        await asking.closed()
        await serving.closed()

    run(loop, main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_type_of_buffer(loop, kind):
    async def main():
        serving, address = await server(loop)
        asking = await client(loop, address)
        asking.transport.sendto(kind(b"buffer"))
        assert await serving.until_datagrams(1) == [b"buffer"]
        with pytest.raises(TypeError):
            asking.transport.sendto("text")
        await asking.closed()
        await serving.closed()

    run(loop, main())


def test_an_empty_datagram_arrives(loop):
    """It is a datagram too, and ends nothing."""

    async def main():
        serving, address = await server(loop)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", address)
            sender.sendto(b"next", address)
            assert await serving.until_datagrams(2) == [b"", b"next"]
        await serving.closed()

    run(loop, main())


def test_a_large_datagram(loop):
    """The largest that UDP on v4 can carry comes whole; one more byte is an error that is told, not raised."""
    largest = 65507

    async def main():
        serving, address = await server(loop)
        asking = await client(loop, address)
        serving.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        asking.transport.sendto(b"x" * largest)
        assert [len(data) for data in await serving.until_datagrams(1)] == [largest]
        asking.transport.sendto(b"x" * (largest + 1))
        await asking.until_seen("error")
        assert asking.events[1][1].errno == errno.EMSGSIZE
        asking.transport.sendto(b"goes on")
        assert (await serving.until_datagrams(2))[1] == b"goes on"
        await asking.closed()
        await serving.closed()

    run(loop, main())


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


def test_refused_is_told_to_error_received(loop):
    """ICMP says that nobody listens: error_received, and the endpoint lives on."""
    address = free_port()

    async def main():
        asking = await client(loop, address)
        asking.transport.sendto(b"anybody?")
        await asking.until_seen("error")
        assert isinstance(asking.events[1][1], ConnectionRefusedError)
        assert not asking.transport.is_closing()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(address)
            peer.settimeout(20)
            asking.transport.sendto(b"you!")
            assert peer.recv(100) == b"you!"
        await asking.closed()
        assert asking.kinds == ["made", "error", "lost"]
        assert asking.error is None

    run(loop, main())


def test_nothing_listens_and_nobody_is_told_where_unconnected(loop):
    """An unconnected socket gets no ICMP error: other peers are served on."""

    async def main():
        serving, address = await server(loop)
        serving.transport.sendto(b"anybody?", free_port())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"next", address)
        assert await serving.until_datagrams(1) == [b"next"]
        assert serving.count("error") == 0
        await serving.closed()

    run(loop, main())


def test_sendto_another_than_the_remote(loop):
    """A connected endpoint sends to its peer alone; its own address may be given."""

    async def main():
        serving, address = await server(loop)
        asking = await client(loop, address)
        asking.transport.sendto(b"named", address)
        assert await serving.until_datagrams(1) == [b"named"]
        with pytest.raises(ValueError, match="Invalid address"):
            asking.transport.sendto(b"elsewhere", ("127.0.0.1", 9))
        await asking.closed()
        await serving.closed()

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_the_end(loop, way):
    """connection_lost(None) once, after the call and not in it; then the port is free, and nothing more comes."""

    async def main():
        serving, address = await server(loop)
        getattr(serving.transport, way)()
        assert serving.transport.is_closing()
        assert serving.kinds == ["made"]
        getattr(serving.transport, way)()
        await serving.until_seen("lost")
        await asyncio.sleep(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(address)
            other.sendto(b"too late", address)
        await asyncio.sleep(0)
        assert serving.events == [("made",), ("lost", None)]

    run(loop, main())


def test_close_in_datagram_received(loop):
    """What already waits in the socket is not delivered any more."""

    async def main():
        serving, address = await server(loop, datagram=lambda protocol, data, address: protocol.transport.close())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(10):
                sender.sendto(b"x", address)
        await serving.until_seen("lost")
        await asyncio.sleep(0.01)
        assert serving.events[-1] == ("lost", None)
        assert serving.count("datagram") == 1

    run(loop, main())


def test_what_was_sent_before_close_arrives(loop):
    async def main():
        serving, address = await server(loop)
        asking = await client(loop, address)
        asking.transport.sendto(b"last words")
        await asking.closed()
        assert await serving.until_datagrams(1) == [b"last words"]
        await serving.closed()

    run(loop, main())


def test_an_exception_in_datagram_received(loop, errors):
    """Told to the exception handler; the endpoint is lost once, whoever ends it."""

    async def main():
        def fail(protocol, data, address):
            if data == b"bad":
                raise LookupError("on purpose")

        serving, address = await server(loop, datagram=fail)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in (b"bad", b"good"):
                sender.sendto(data, address)
        await until(lambda: errors or serving.count("lost"))
        await asyncio.sleep(0.01)
        serving.transport.abort()
        await serving.until_seen("lost")
        await asyncio.sleep(0)
        return serving

    serving = run(loop, main())
    assert isinstance(errors.pop()["exception"], LookupError)
    assert serving.count("lost") == 1


def test_extra_info(loop):
    async def main():
        serving, address = await server(loop)
        asking = await client(loop, address)
        info = asking.transport.get_extra_info
        assert info("peername") == address
        assert info("sockname")[0] == "127.0.0.1"
        assert info("sockname") == info("socket").getsockname()
        assert info("socket").type == socket.SOCK_DGRAM
        assert info("nothing") is None
        assert info("nothing", "else") == "else"
        assert serving.transport.get_extra_info("peername") is None
        await asking.closed()
        await serving.closed()

    run(loop, main())


def test_options(loop):
    """allow_broadcast and reuse_port reach the socket; a family alone is enough."""

    async def main():
        for options, option in (({"allow_broadcast": True}, "SO_BROADCAST"), ({"reuse_port": True}, "SO_REUSEPORT")):
            _, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("127.0.0.1", 0), **options)
            sock = protocol.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, getattr(socket, option)) == 1
            await protocol.closed()
        _, protocol = await loop.create_datagram_endpoint(DatagramRecorder, family=socket.AF_INET)
        assert protocol.transport.get_extra_info("sockname")[0] == "0.0.0.0"
        await protocol.closed()

    run(loop, main())


def test_wrong_arguments(loop):
    async def main():
        with pytest.raises(ValueError):
            await loop.create_datagram_endpoint(DatagramRecorder)
        with socket.socket() as stream:
            stream.setblocking(False)
            with pytest.raises(ValueError):
                await loop.create_datagram_endpoint(DatagramRecorder, sock=stream)

    run(loop, main())


@pytest.mark.differs(uvloop="warns of an unclosed transport", run=False)
def test_address_that_is_not_ours(loop):
    async def main():
        with pytest.raises(OSError) as caught:
            await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("192.0.2.1", 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL

    run(loop, main())
