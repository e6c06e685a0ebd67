"""What a stream transport is and tells: types, get_extra_info, repr, attributes."""

import asyncio
import functools
import os
import socket
import weakref

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import run
from tests.helpers.wires import TCP, UNIX


@pytest.mark.differs(uvloop="its transports are of a type of their own")
def test_types(loop, link):
    async def main():
        async with link() as connection:
            for kind in (asyncio.Transport, asyncio.ReadTransport, asyncio.WriteTransport, asyncio.BaseTransport):
                assert isinstance(connection.transport, kind)
            assert not isinstance(connection.transport, asyncio.DatagramTransport)

    run(loop, main())


@pytest.mark.differs(uvloop="its transports are of a type of their own")
def test_singledispatch(loop, link):
    @functools.singledispatch
    def kind_of(thing):
        return "something"

    @kind_of.register
    def _(thing: asyncio.Transport):
        return "transport"

    async def main():
        async with link() as connection:
            assert kind_of(connection.transport) == "transport"

    run(loop, main())


def test_sockname_and_peername_tcp(loop):
    async def main():
        async with TCP.accepted() as connection:
            assert connection.transport.get_extra_info("sockname") == connection.peer.sock.getpeername()
            assert connection.transport.get_extra_info("peername") == connection.peer.sock.getsockname()
        async with TCP.connected() as connection:
            assert connection.transport.get_extra_info("sockname") == connection.peer.sock.getpeername()
            assert connection.transport.get_extra_info("peername") == connection.peer.sock.getsockname()

    run(loop, main())


def test_sockname_and_peername_unix(loop):
    async def main():
        async with UNIX.accepted() as connection:
            assert connection.transport.get_extra_info("sockname") == connection.peer.sock.getpeername()
            assert connection.transport.get_extra_info("peername") == ""
        async with UNIX.connected() as connection:
            assert connection.transport.get_extra_info("sockname") == ""
            assert connection.transport.get_extra_info("peername") == connection.peer.sock.getsockname()

    run(loop, main())


def test_sockname_and_peername_ipv6(loop):
    async def main():
        made = []
        server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], "::1", 0)
        transport, protocol = await loop.create_connection(Recorder, *server.sockets[0].getsockname()[:2])
        while not (made and made[0].transport):
            await asyncio.sleep(0)
        accepted = made[0].transport
        assert accepted.get_extra_info("peername") == transport.get_extra_info("sockname")
        assert accepted.get_extra_info("sockname") == transport.get_extra_info("peername")
        host, port, flow, scope = accepted.get_extra_info("peername")
        assert (host, flow, scope) == ("::1", 0, 0)
        assert isinstance(port, int)
        transport.close()
        await protocol.until_seen("lost")
        await made[0].until_seen("lost")
        server.close()
        await server.wait_closed()

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on the loopback")
    run(loop, main())


def test_peername_is_known_after_the_peer_left(loop):
    """getpeername() fails by then."""

    async def main():
        async with TCP.accepted() as connection:
            peer = connection.peer.sock.getsockname()
            connection.peer.reset()
            await connection.protocol.until_seen("lost")
            assert connection.transport.get_extra_info("peername") == peer

    run(loop, main())


def test_peername_of_a_client_that_left_before_it_was_accepted(loop):
    async def main():
        made = []
        async with TCP.serving(lambda: made.append(Recorder()) or made[-1]) as (_, address):
            peer = TCP.peer(address)
            name = peer.sock.getsockname()
            peer.close()
            while not made:
                await asyncio.sleep(0)
            await made[0].until_seen("lost")
            assert made[0].transport.get_extra_info("peername") == name

    run(loop, main())


def test_peername_in_connection_lost(loop):
    async def main():
        names = []

        def look(protocol, *args):
            names.append(protocol.transport.get_extra_info("peername"))
            names.append(protocol.transport.get_extra_info("sockname"))

        async with TCP.accepted(lambda: Recorder(lost=look)) as connection:
            expected = [connection.peer.sock.getsockname(), connection.peer.sock.getpeername()]
            connection.peer.close()
            await connection.protocol.until_seen("lost")
            assert names == expected

    run(loop, main())


def test_unknown_info_gives_the_default(loop, link):
    async def main():
        async with link() as connection:
            assert connection.transport.get_extra_info("no such thing") is None
            assert connection.transport.get_extra_info("no such thing", 42) == 42
            assert connection.transport.get_extra_info("ssl_object") is None
            assert connection.transport.get_extra_info("sslcontext", "none") == "none"

    run(loop, main())


def test_socket(loop, link):
    async def main():
        async with link() as connection:
            sock = connection.transport.get_extra_info("socket")
            assert sock.family == connection.peer.sock.family
            assert sock.type == socket.SOCK_STREAM
            assert sock.fileno() >= 0
            assert sock.getsockname() == connection.peer.sock.getpeername()
            assert sock.getpeername() == connection.peer.sock.getsockname()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= 65536
            assert connection.transport.get_extra_info("socket").fileno() == sock.fileno()
            assert os.readlink(f"/proc/self/fd/{sock.fileno()}").startswith("socket:")

    run(loop, main())


@pytest.mark.differs(uvloop="gives a PseudoSocket")
def test_socket_is_a_transport_socket(loop, link):
    async def main():
        async with link() as connection:
            sock = connection.transport.get_extra_info("socket")
            assert isinstance(sock, asyncio.trsock.TransportSocket)  # type: ignore[attr-defined]
            assert sock is connection.transport.get_extra_info("socket")
            assert not hasattr(sock, "close")
            assert not hasattr(sock, "send")

    run(loop, main())


def test_socket_is_gone_after_connection_lost(loop, link):
    async def main():
        async with link() as connection:
            sock = connection.transport.get_extra_info("socket")
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            assert sock.fileno() == -1 or not os.path.exists(f"/proc/self/fd/{sock.fileno()}")

    run(loop, main())


def test_socket_asked_for_after_connection_lost(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            sock = connection.transport.get_extra_info("socket")
            assert sock is None or sock.fileno() == -1 or not os.path.exists(f"/proc/self/fd/{sock.fileno()}")

    run(loop, main())


def test_descriptor_is_closed_on_exec_and_non_blocking(loop, link):
    async def main():
        async with link() as connection:
            fd = connection.transport.get_extra_info("socket").fileno()
            assert not os.get_inheritable(fd)
            assert not os.get_blocking(fd)

    run(loop, main())


@pytest.mark.differs(uvloop="attributes of a transport cannot be set")
def test_attributes_can_be_set(loop, link):
    async def main():
        async with link() as connection:
            transport = connection.transport
            transport.my_attribute = "mine"
            assert transport.my_attribute == "mine"
            del transport.my_attribute
            assert not hasattr(transport, "my_attribute")

    run(loop, main())


@pytest.mark.differs(uvloop="methods of a transport cannot be replaced")
@pytest.mark.parametrize(
    "name", ["write", "writelines", "close", "abort", "is_closing", "get_extra_info", "pause_reading"]
)
def test_methods_can_be_replaced(loop, link, name):
    """What tests of libraries do with mock.patch.object."""

    async def main():
        from unittest import mock

        async with link() as connection:
            with mock.patch.object(connection.transport, name) as patched:
                getattr(connection.transport, name)(b"x")
            patched.assert_called_once_with(b"x")
            connection.transport.write(b"works again")
            assert await connection.peer.receive(11) == b"works again"

    run(loop, main())


def test_weak_references(loop, link):
    async def main():
        async with link() as connection:
            ref = weakref.ref(connection.transport)
            assert ref() is connection.transport
            assert connection.transport in weakref.WeakSet([connection.transport])

    run(loop, main())


def test_hash_and_equality(loop, accepted):
    async def main():
        async with accepted() as one, accepted() as two:
            assert len({one.transport, two.transport}) == 2
            assert one.transport == one.transport
            assert one.transport != two.transport

    run(loop, main())


def test_repr(loop, link):
    async def main():
        async with link() as connection:
            assert "Transport" in repr(connection.transport) or "transport" in repr(connection.transport)
            connection.transport.close()
            assert "clos" in repr(connection.transport)
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            assert "clos" in repr(connection.transport)

    run(loop, main())


@pytest.mark.differs(uvloop="does not tell the descriptor")
def test_repr_tells_the_descriptor(loop, link):
    async def main():
        async with link() as connection:
            fd = connection.transport.get_extra_info("socket").fileno()
            assert f"fd={fd}" in repr(connection.transport)

    run(loop, main())


def test_get_protocol(loop, link):
    async def main():
        async with link() as connection:
            assert connection.transport.get_protocol() is connection.protocol

    run(loop, main())


@pytest.mark.parametrize(
    "name",
    "close abort is_closing is_reading pause_reading resume_reading write writelines write_eof can_write_eof "
    "get_write_buffer_size get_write_buffer_limits set_write_buffer_limits get_extra_info set_protocol "
    "get_protocol".split(),
)
def test_every_method_is_there(loop, name):
    async def main():
        async with TCP.accepted() as connection:
            assert callable(getattr(connection.transport, name))

    run(loop, main())


def test_a_transport_that_is_lost_is_collected(loop, accepted):
    import gc

    async def main():
        async with accepted() as connection:
            ref = weakref.ref(connection.transport)
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            connection.protocol.transport = None
            connection.transport = None
            await asyncio.sleep(0)
            connection.protocol.transport = connection  # Link's end only looks whether it was made
        return ref

    ref = run(loop, main())
    gc.collect()
    assert ref() is None
