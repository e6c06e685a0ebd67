"""Invariant 5: the transport owns its descriptor; socket objects that share it can neither close it nor outlive it."""

import asyncio
import gc
import os
import socket
from typing import Any

import pytest

from tests.helpers.protocols import Echo, Recorder
from tests.helpers.running import in_thread, run, turn
from tests.probes import peers


async def echoes(peer: socket.socket) -> bool:
    peer.sendall(b"ping")
    return await in_thread(peers.recv_exact, peer, 4) == b"ping"


def assert_closed(fd: int) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


class LostEcho(Echo):
    """Tells when it is over."""

    lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def test_closing_the_socket_handed_in(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    """The caller closes its socket object: the connection lives on, and the number is not free."""
    ours, peer = pair()
    fd = ours.fileno()

    async def main() -> None:
        protocol = LostEcho()
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        ours.close()
        os.fstat(fd)
        assert await echoes(peer)
        transport.close()
        while not protocol.lost:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert_closed(fd)
        assert ours.fileno() == -1
        assert peers.outcome(peer) == "eof"

    run(loop, main())


def test_the_socket_handed_in_is_closed_with_the_transport(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    ours, peer = pair()
    fd = ours.fileno()

    async def main() -> None:
        protocol = LostEcho()
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
        assert await echoes(peer)
        assert ours.fileno() == fd
        transport.abort()
        while not protocol.lost:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ours.fileno() == -1
        assert_closed(fd)

    run(loop, main())


def test_the_socket_is_one_object(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """As on asyncio, asking for it twice gives the same object."""
    protocol = Recorder()
    transport, _ = attach(protocol)
    first = transport.get_extra_info("socket")
    assert transport.get_extra_info("socket") is first
    transport.abort()
    turn(loop)
    turn(loop)


@pytest.mark.parametrize("ended_by", ["close", "abort", "reset", "peer"])
def test_socket_made_on_demand(loop: asyncio.AbstractEventLoop, ended_by: str) -> None:
    """get_extra_info('socket') of an accepted connection: detached at the end, so that it closes no stranger's."""

    async def main() -> None:
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0)
        peer = await in_thread(socket.create_connection, server.sockets[0].getsockname())
        while not protocols or protocols[0].transport is None:
            await asyncio.sleep(0.001)
        protocol = protocols[0]
        sock = protocol.transport.get_extra_info("socket")
        assert sock.family == socket.AF_INET
        assert sock.getpeername() == peer.getsockname() == protocol.transport.get_extra_info("peername")
        assert sock.getsockname() == peer.getpeername() == protocol.transport.get_extra_info("sockname")
        fd = sock.fileno()
        if ended_by == "peer":
            peer.close()
        else:
            getattr(protocol.transport, ended_by)()
        await protocol.until_seen("lost")
        await asyncio.sleep(0)
        assert sock.fileno() == -1
        assert_closed(fd)
        stranger = os.open(os.devnull, os.O_RDONLY)
        if stranger != fd:
            os.dup2(stranger, fd)
            os.close(stranger)
        del sock, protocol
        protocols.clear()
        gc.collect()
        os.fstat(fd)  # still the stranger's
        os.close(fd)
        peer.close()
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_extra_info_after_the_end(loop: asyncio.AbstractEventLoop, attach: Any, kind: str) -> None:
    """Names stay known after the connection has ended; unknown keys give the default."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    names = peer.getpeername(), peer.getsockname()

    async def main() -> None:
        transport.close()
        await protocol.until_seen("lost")
        await asyncio.sleep(0)
        known = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if kind == "tcp":
            assert known == names
        assert transport.get_extra_info("nothing", 7) == 7
        repr(transport)

    run(loop, main())


def test_no_socket_object_is_made_unasked(loop: asyncio.AbstractEventLoop) -> None:
    """An accepted connection costs no socket.socket until it is asked for."""

    def sockets() -> int:
        return sum(type(each).__name__ in ("socket", "TransportSocket") for each in gc.get_objects())

    async def main() -> None:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        gc.collect()
        before = sockets()
        clients = [socket.create_connection(address, timeout=peers.DEADLINE_S) for _ in range(10)]
        for client in clients:
            assert await echoes(client)
        assert sockets() - before <= len(clients)  # the clients' own
        for client in clients:
            client.close()
        while loop.metrics()["connections"]:  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_a_transport_cannot_be_copied(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """A copy would be a second owner of the descriptor."""
    import copy
    import pickle

    protocol = Recorder()
    transport, _ = attach(protocol)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            duplicate(transport)
    transport.abort()
    turn(loop)
    turn(loop)
    assert protocol.count("lost") == 1
