"""create_server: addresses, options, life of a Server."""

import asyncio
import os
import socket
import sys

import pytest

from tests.helpers.protocols import Echo, Recorder
from tests.helpers.running import run, until
from tests.helpers.servers import end, is_served
from tests.helpers.wires import TCP, UNIX


def test_a_server_serves(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        assert await is_served(server.sockets[0].getsockname())
        await end(server)

    run(loop, main())


def test_host_none_means_every_interface(loop):
    async def main():
        server = await loop.create_server(Echo, None, 0)
        families = {sock.family for sock in server.sockets}
        assert socket.AF_INET in families
        for sock in server.sockets:
            if sock.family == socket.AF_INET:
                assert await is_served(("127.0.0.1", sock.getsockname()[1]))
            else:
                assert await is_served(("::1", sock.getsockname()[1]), socket.AF_INET6)
        await end(server)

    run(loop, main())


def test_empty_host_means_every_interface(loop):
    async def main():
        server = await loop.create_server(Echo, "", 0)
        assert any(sock.family == socket.AF_INET for sock in server.sockets)
        await end(server)

    run(loop, main())


def test_list_of_hosts(loop):
    async def main():
        server = await loop.create_server(Echo, ["127.0.0.1", "127.0.0.2"], 0)
        addresses = [sock.getsockname() for sock in server.sockets]
        assert sorted(host for host, _ in addresses) == ["127.0.0.1", "127.0.0.2"]
        for address in addresses:
            assert await is_served(address)
        await end(server)

    run(loop, main())


def test_host_name(loop):
    async def main():
        server = await loop.create_server(Echo, "localhost", 0, family=socket.AF_INET)
        assert await is_served(server.sockets[0].getsockname())
        await end(server)

    run(loop, main())


def test_address_in_use(loop):
    async def main():
        with TCP.listening() as listener:
            with pytest.raises(OSError, match="in use"):
                await loop.create_server(Echo, *listener.getsockname())

    run(loop, main())


def test_address_that_is_not_ours(loop):
    async def main():
        with pytest.raises(OSError):
            await loop.create_server(Echo, "192.0.2.1", 0)

    run(loop, main())


def test_sock(loop):
    async def main():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        server = await loop.create_server(Echo, sock=sock)
        assert server.sockets[0].getsockname() == sock.getsockname()
        assert await is_served(sock.getsockname())
        await end(server)
        assert sock.fileno() == -1

    run(loop, main())


def test_sock_that_listens_already(loop):
    async def main():
        sock = socket.create_server(("127.0.0.1", 0))
        early = TCP.peer(sock.getsockname())  # waits in the queue before there is a server
        early.send(b"ping")
        server = await loop.create_server(Echo, sock=sock)
        assert await early.receive(4) == b"ping"
        early.close()
        await end(server)

    run(loop, main())


def test_wrong_arguments(loop):
    async def main():
        with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            with pytest.raises(ValueError):
                await loop.create_server(Echo, "127.0.0.1", 0, sock=sock)
            with pytest.raises(ValueError):
                await loop.create_server(Echo)
            with pytest.raises(ValueError, match=r"[Ss]tream"):
                await loop.create_server(Echo, sock=datagram)
            with pytest.raises(TypeError):
                await loop.create_server(Echo, "127.0.0.1", 0, ssl=True)

    run(loop, main())


def test_reuse_port(loop):
    async def main():
        first = await loop.create_server(Echo, "127.0.0.1", 0, reuse_port=True)
        address = first.sockets[0].getsockname()
        second = await loop.create_server(Echo, *address, reuse_port=True)
        assert first.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        for _ in range(5):
            assert await is_served(address)
        await end(first)
        assert await is_served(address)
        await end(second)

    run(loop, main())


def test_reuse_address_is_on(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        peer = TCP.peer(address)
        await end_with_clients(server)
        peer.close()
        again = await loop.create_server(Echo, *address)
        await end(again)

    async def end_with_clients(server):
        server.close()
        await asyncio.sleep(0.002)

    run(loop, main())


def test_start_serving_later(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving()
        address = server.sockets[0].getsockname()
        assert not await is_served(address)
        await server.start_serving()
        assert server.is_serving()
        assert await is_served(address)
        await server.start_serving()
        assert await is_served(address)
        await end(server)
        assert not server.is_serving()

    run(loop, main())


def test_backlog(loop):
    """A server whose loop does not run takes what its backlog allows, and no more."""

    async def start():
        return await loop.create_server(Echo, "127.0.0.1", 0, backlog=3)

    server = run(loop, start())
    peers = []
    for _ in range(10):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(server.sockets[0].getsockname())
        peers.append(sock)
    connected = sum(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1 for sock in peers)
    assert 3 <= connected <= 5
    for sock in peers:
        sock.close()
    run(loop, end(server))


def test_close_refuses_new_clients_at_once(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        server.close()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            TCP.peer(address)
        assert not server.is_serving()
        assert len(server.sockets) == 0
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_close_with_clients_in_the_queue(loop):
    async def main():
        made = []
        server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0)
        peers = [TCP.peer(server.sockets[0].getsockname()) for _ in range(5)]
        server.close()
        for peer in peers:
            with pytest.raises(ConnectionResetError):
                await peer.receive(1)
            peer.close()
        await server.wait_closed()
        assert made == []

    run(loop, main())


def test_close_leaves_live_connections_alone(loop, wire):
    async def main():
        async with wire.serving(Echo) as (server, address):
            peer = wire.peer(address)
            peer.send(b"1")
            assert await peer.receive(1) == b"1"
            server.close()
            peer.send(b"2")
            assert await peer.receive(1) == b"2"
            peer.close()

    run(loop, main())


@pytest.mark.skipif("sys.version_info < (3, 12, 1)", reason="Python 3.11's wait_closed() does not wait")
@pytest.mark.differs(uvloop="does not wait, and the loop cannot be closed then", run=False)
def test_wait_closed_waits_for_the_last_connection(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        peer = TCP.peer(server.sockets[0].getsockname())
        peer.send(b"1")
        assert await peer.receive(1) == b"1"
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await asyncio.sleep(0.005)
        assert not waiting.done()
        peer.close()
        await waiting

    run(loop, main())


def test_wait_closed_without_connections(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        server.close()
        await server.wait_closed()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.skipif("sys.version_info < (3, 13)", reason="new in Python 3.13")
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
@pytest.mark.differs(uvloop="has no close_clients()", run=False)
def test_close_clients(loop, wire, method):
    async def main():
        made = []
        async with wire.serving(lambda: made.append(Recorder()) or made[-1]) as (server, address):
            peers = [wire.peer(address) for _ in range(3)]
            await until(lambda: len(made) == 3 and all(protocol.transport for protocol in made))
            server.close()
            getattr(server, method)()
            for protocol in made:
                await protocol.until_seen("lost")
                assert protocol.error is None
            for peer in peers:
                assert await peer.receive_to_end() == b""
                peer.close()

    run(loop, main())


def test_serve_forever_is_cancelled(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        assert server.is_serving()
        assert await is_served(address)
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not server.is_serving()
        with pytest.raises(RuntimeError, match="closed"):
            await server.serve_forever()

    run(loop, main())


@pytest.mark.differs(uvloop="serve_forever() goes on for ever", run=False)
def test_close_ends_serve_forever(loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await serving

    run(loop, main())


def test_async_with(loop):
    async def main():
        async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
            assert server.is_serving()
            assert await is_served(server.sockets[0].getsockname())
        assert not server.is_serving()

    run(loop, main())


def test_get_loop_and_repr(loop):
    async def main():
        async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
            assert server.get_loop() is loop
            assert "Server" in repr(server)

    run(loop, main())


@pytest.mark.differs(uvloop="its server is no AbstractServer")
def test_type(loop):
    async def main():
        async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
            assert isinstance(server, asyncio.AbstractServer)

    run(loop, main())


def test_listener_is_non_blocking_and_closed_on_exec(loop, wire):
    async def main():
        async with wire.serving(Echo) as (server, _):
            for sock in server.sockets:
                assert not os.get_inheritable(sock.fileno())
                assert not os.get_blocking(sock.fileno())

    run(loop, main())


def test_two_servers_in_one_loop(loop):
    async def main():
        async with TCP.serving(Echo) as (_, one), TCP.serving(Echo) as (_, two), UNIX.serving(Echo) as (_, path):
            assert await is_served(one)
            assert await is_served(two)
            assert await is_served(path, socket.AF_UNIX)

    run(loop, main())


def test_a_hundred_clients_at_once(loop, wire):
    async def main():
        async with wire.serving(Echo, backlog=200) as (_, address):
            peers = [wire.peer(address) for _ in range(100)]
            for i, peer in enumerate(peers):
                peer.send(b"%03d" % i)
            for i, peer in enumerate(peers):
                assert await peer.receive(3) == b"%03d" % i
                peer.close()
            await asyncio.sleep(0.002)

    run(loop, main())


@pytest.mark.skipif("sys.version_info < (3, 13)", reason="new in Python 3.13")
@pytest.mark.differs(uvloop="knows no keep_alive=")
def test_keep_alive(loop):
    async def main():
        made = []
        server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0, keep_alive=True)
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await end(server)

    assert sys.version_info >= (3, 13)
    run(loop, main())
