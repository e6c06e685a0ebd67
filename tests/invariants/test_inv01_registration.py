"""Invariant 1: a TCP stream is registered once and never modified; a Unix stream adds OUT only while output waits."""

import asyncio
import socket
import time
from typing import Any

import pytest

from tests.helpers.certificates import Certificates
from tests.helpers.protocols import Echo, Recorder
from tests.helpers.running import in_thread, run, until
from tests.probes import kernel, peers

READ = kernel.EPOLLIN | kernel.EPOLLRDHUP | kernel.EPOLLET
TCP_MASK = READ | kernel.EPOLLOUT | kernel.EPOLLPRI


def masks(transport: Any) -> list[set[str]]:
    return [kernel.mask_names(mask) for mask in kernel.epoll_masks(transport.get_extra_info("socket").fileno())]


def names(mask: int) -> list[set[str]]:
    return [kernel.mask_names(mask)]


def test_mask(loop: asyncio.AbstractEventLoop, attach: Any, kind: str) -> None:
    """Looked up in the kernel: while idle, while output waits, and after it was taken."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    idle = names(TCP_MASK if kind == "tcp" else READ)
    waiting = names(TCP_MASK if kind == "tcp" else READ | kernel.EPOLLOUT)

    async def main() -> None:
        await asyncio.sleep(0)
        assert masks(transport) == idle
        for _ in range(2):
            transport.write(bytes(32 << 20))
            assert transport.get_write_buffer_size() > 0
            assert masks(transport) == waiting
            assert len(await in_thread(peers.recv_exact, peer, 32 << 20)) == 32 << 20
            await until(lambda: transport.get_write_buffer_size() == 0)
            await asyncio.sleep(0)
            assert masks(transport) == idle
        transport.pause_reading()
        assert masks(transport) == idle
        transport.resume_reading()
        assert masks(transport) == idle
        transport.close()
        await protocol.until_seen("lost")

    run(loop, main())


@pytest.mark.parametrize("size", [1, 1000])
def test_one_event_an_echo(loop: asyncio.AbstractEventLoop, attach: Any, size: int) -> None:
    """In lockstep an echo is one poll and one event, on TCP and Unix: no edge comes for what was written or taken."""
    transport, peer = attach(Echo())
    rounds, message = 100, bytes(size)
    metrics = loop.metrics  # type: ignore[attr-defined]

    def echo(count: int) -> None:
        for _ in range(count):
            peer.sendall(message)
            assert peers.recv_exact(peer, size) == message

    def measured() -> tuple[int, int]:
        echo(10)  # the first ones may find what connecting left
        before = metrics()
        echo(rounds)
        after = metrics()
        return after["polls"] - before["polls"], after["events"] - before["events"]

    polls, events = run(loop, in_thread(measured))
    # the turn of an answer may not be over when the answer is here, at the start as at the end
    assert rounds - 1 <= events <= rounds + 1
    assert rounds - 1 <= polls <= rounds + 1
    transport.abort()
    run(loop, asyncio.sleep(0))


def test_idle_connections_make_no_wake_ups(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    """A hundred connections that say nothing for a second: not one poll returns."""

    async def main() -> None:
        transports, sockets = [], []
        for _ in range(100):
            ours, peer = pair()
            sockets.append(peer)
            transport, _ = await loop.connect_accepted_socket(Echo, ours)
            transports.append(transport)

        def echo_then_watch() -> tuple[int, int]:
            for sock in sockets:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
            return _watch(loop)

        before, after = await in_thread(echo_then_watch)
        assert before == after
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)

    run(loop, main())


def test_idle_server_makes_no_wake_ups(loop: asyncio.AbstractEventLoop, certificates: Certificates) -> None:
    """The same with connections that a listener accepted, of TLS, and with the listener still there."""

    async def main() -> None:
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=certificates.server())
        context = certificates.client()

        def clients() -> tuple[int, int]:
            sockets = []
            for _ in range(100):
                plain = socket.create_connection(server.sockets[0].getsockname(), timeout=peers.DEADLINE_S)
                sock = context.wrap_socket(plain, server_hostname="localhost")
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                sockets.append(sock)
            try:
                return _watch(loop)
            finally:
                for sock in sockets:
                    sock.close()

        before, after = await in_thread(clients)
        assert before == after
        await until(lambda: loop.metrics()["connections"] == 0)  # type: ignore[attr-defined]
        server.close()
        await server.wait_closed()

    run(loop, main())


def _watch(loop: Any) -> tuple[int, int]:
    """The count of polls once the loop has gone back to wait after the last echo, and a second later."""
    before = -1
    while (now := loop.metrics()["polls"]) != before:
        before = now
        time.sleep(0.05)
    time.sleep(1.0)  # the span that is watched
    return before, loop.metrics()["polls"]
