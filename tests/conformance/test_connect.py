"""create_connection and create_unix_connection: what succeeds, which exception tells what failed, no leaks."""

import asyncio
import socket

import pytest

from tests.helpers.protocols import Echo, Recorder
from tests.helpers.running import run
from tests.helpers.wires import TCP, UNIX


async def closed(transport, protocol):
    """Closes a connection and waits for its end."""
    transport.close()
    await protocol.until_seen("lost")
    await asyncio.sleep(0.001)


def unused_port():
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_round_trip(loop, wire):
    async def main():
        async with wire.serving(Echo) as (_, address):
            transport, protocol = await wire.connect(Recorder, address)
            assert isinstance(protocol, Recorder)
            transport.write(b"ping")
            assert await protocol.until_received(4) == b"ping"
            await closed(transport, protocol)

    run(loop, main())


def test_host_name(loop):
    async def main():
        server = await loop.create_server(Echo, "localhost", 0, family=socket.AF_INET)
        port = server.sockets[0].getsockname()[1]
        transport, protocol = await loop.create_connection(Recorder, "localhost", port)
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        await closed(transport, protocol)
        server.close()
        await server.wait_closed()
        await loop.shutdown_default_executor()

    run(loop, main())


def test_refused(loop):
    async def main():
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Recorder, "127.0.0.1", unused_port())

    run(loop, main())


def test_refused_and_then_accepted(loop):
    """A failed try leaves nothing that disturbs the next one, which gets the same descriptor."""

    async def main():
        async with TCP.serving(Echo) as (_, address):
            for _ in range(10):
                with pytest.raises(ConnectionRefusedError):
                    await loop.create_connection(Recorder, "127.0.0.1", unused_port())
                transport, protocol = await loop.create_connection(Recorder, *address)
                transport.write(b"ping")
                await protocol.until_received(4)
                await closed(transport, protocol)

    run(loop, main())


def test_unreachable(loop):
    async def main():
        with pytest.raises(OSError):
            await loop.create_connection(Recorder, "255.255.255.255", 9)

    run(loop, main())


def test_unknown_host(loop):
    async def main():
        with pytest.raises(socket.gaierror):
            await loop.create_connection(Recorder, "host.invalid", 1, flags=socket.AI_NUMERICHOST)
        await loop.shutdown_default_executor()

    run(loop, main())


def test_unix_path_that_is_not_there(loop, short_tmp):
    async def main():
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_connection(Recorder, str(short_tmp / "nothing"))

    run(loop, main())


def test_unix_path_where_nobody_listens(loop, short_tmp):
    async def main():
        path = str(short_tmp / "socket")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
        with pytest.raises(ConnectionRefusedError):
            await loop.create_unix_connection(Recorder, path)

    run(loop, main())


def test_unix_path_object(loop, short_tmp):
    async def main():
        server = await loop.create_unix_server(Echo, short_tmp / "socket")
        await closed(*await loop.create_unix_connection(Recorder, short_tmp / "socket"))
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_sock(loop):
    async def main():
        async with TCP.serving(Echo) as (_, address):
            sock = socket.create_connection(address)
            sock.setblocking(False)
            transport, protocol = await loop.create_connection(Recorder, sock=sock)
            assert transport.get_extra_info("socket").fileno() == sock.fileno()
            transport.write(b"ping")
            assert await protocol.until_received(4) == b"ping"
            await closed(transport, protocol)
            assert sock.fileno() == -1

    run(loop, main())


def test_sock_unix(loop):
    async def main():
        async with UNIX.serving(Echo) as (_, address):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address)
            sock.setblocking(False)
            transport, protocol = await loop.create_unix_connection(Recorder, sock=sock)
            transport.write(b"ping")
            assert await protocol.until_received(4) == b"ping"
            await closed(transport, protocol)

    run(loop, main())


def test_socketpair(loop):
    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        transport, protocol = await loop.create_unix_connection(Recorder, sock=left)
        right.send(b"hello")
        assert await protocol.until_received(5) == b"hello"
        transport.write(b"there")
        await asyncio.sleep(0)
        assert right.recv(5) == b"there"
        await closed(transport, protocol)
        right.close()

    run(loop, main())


def test_a_socket_handed_in_and_closed_by_its_owner(loop):
    """The transport holds it: the owner's close() neither ends the connection nor frees the number."""

    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        transport, protocol = await loop.create_unix_connection(Recorder, sock=left)
        left.close()
        right.send(b"hello")
        assert await protocol.until_received(5) == b"hello"
        await closed(transport, protocol)
        assert right.recv(1) == b""
        right.close()

    if isinstance(loop, asyncio.SelectorEventLoop):
        pytest.skip("asyncio's transport has no claim on the socket")
    run(loop, main())


def test_wrong_arguments(loop):
    async def main():
        with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            with pytest.raises(ValueError):
                await loop.create_connection(Recorder)
            with pytest.raises(ValueError):
                await loop.create_connection(Recorder, "127.0.0.1", 1, sock=sock)
            with pytest.raises(ValueError, match=r"[Ss]tream"):
                await loop.create_connection(Recorder, sock=datagram)
            with pytest.raises(ValueError, match="server_hostname"):
                await loop.create_connection(Recorder, "127.0.0.1", 1, server_hostname="name")
            with pytest.raises(ValueError, match="server_hostname"):
                await loop.create_connection(Recorder, sock=sock, ssl=True)
            with pytest.raises(ValueError, match="ssl_handshake_timeout"):
                await loop.create_connection(Recorder, "127.0.0.1", 1, ssl_handshake_timeout=1)
            with pytest.raises(ValueError):
                await loop.create_unix_connection(Recorder)
            with pytest.raises(ValueError):
                await loop.create_unix_connection(Recorder, "/path", sock=sock)
            with pytest.raises(ValueError, match="UNIX"):
                await loop.create_unix_connection(Recorder, sock=sock)
            with pytest.raises(ValueError, match="server_hostname"):
                await loop.create_unix_connection(Recorder, "/path", ssl=True)

    run(loop, main())


def test_local_addr(loop):
    async def main():
        async with TCP.serving(Echo) as (_, address):
            transport, protocol = await loop.create_connection(Recorder, *address, local_addr=("127.0.0.2", 0))
            assert transport.get_extra_info("sockname")[0] == "127.0.0.2"
            await closed(transport, protocol)

    run(loop, main())


def test_local_addr_in_use(loop):
    async def main():
        async with TCP.serving(Echo) as (_, address):
            with pytest.raises(OSError, match="in use"):
                await loop.create_connection(Recorder, *address, local_addr=address)

    run(loop, main())


@pytest.mark.differs(uvloop="has no happy eyeballs", run=False)
def test_happy_eyeballs(loop):
    """localhost may be ::1 first, where nobody listens."""

    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, protocol = await loop.create_connection(
            Recorder, "localhost", port, happy_eyeballs_delay=0.25, interleave=1
        )
        assert transport.get_extra_info("peername")[:2] == ("127.0.0.1", port)
        await closed(transport, protocol)
        server.close()
        await server.wait_closed()
        await loop.shutdown_default_executor()

    run(loop, main())


@pytest.mark.differs(uvloop="has no happy eyeballs", run=False)
def test_happy_eyeballs_all_refused(loop):
    async def main():
        with pytest.raises(OSError):
            await loop.create_connection(Recorder, "localhost", unused_port(), happy_eyeballs_delay=0.01)
        await loop.shutdown_default_executor()

    run(loop, main())


@pytest.mark.skipif("sys.version_info < (3, 12)", reason="new in Python 3.12")
@pytest.mark.differs(uvloop="knows no all_errors=", run=False)
def test_all_errors(loop):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            await loop.create_connection(Recorder, "127.0.0.1", unused_port(), all_errors=True)
        assert all(isinstance(exc, ConnectionRefusedError) for exc in caught.value.exceptions)

    run(loop, main())


def test_cancelled_while_connecting(loop):
    """The peer's queue is full, so the connect hangs; cancelling frees the descriptor."""

    async def main():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            fillers = []
            for _ in range(4):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
                fillers.append(sock)
            task = asyncio.ensure_future(loop.create_connection(Recorder, *listener.getsockname()))
            await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for sock in fillers:
                sock.close()
        await asyncio.sleep(0.001)

    run(loop, main())


def test_many_clients_at_once(loop, wire):
    async def main():
        async with wire.serving(Echo, backlog=200) as (_, address):

            async def client(i):
                transport, protocol = await wire.connect(Recorder, address)
                transport.write(b"%03d" % i)
                assert await protocol.until_received(3) == b"%03d" % i
                await closed(transport, protocol)

            await asyncio.gather(*(client(i) for i in range(100)))

    run(loop, main())


def test_accepted_socket_is_taken(loop):
    async def main():
        with TCP.listening() as listener:
            peer = TCP.peer(listener.getsockname())
            sock, _ = listener.accept()
            sock.setblocking(False)
            transport, protocol = await loop.connect_accepted_socket(Recorder, sock)
            peer.send(b"hello")
            assert await protocol.until_received(5) == b"hello"
            await closed(transport, protocol)
            peer.close()

    run(loop, main())


def test_ipv6_scope(loop):
    """A numeric IPv6 address with its brackets' content, flow and scope zero."""

    async def main():
        server = await loop.create_server(Echo, "::1", 0)
        transport, protocol = await loop.create_connection(Recorder, "::1", server.sockets[0].getsockname()[1])
        assert transport.get_extra_info("peername")[0] == "::1"
        await closed(transport, protocol)
        server.close()
        await server.wait_closed()

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on the loopback")
    run(loop, main())
