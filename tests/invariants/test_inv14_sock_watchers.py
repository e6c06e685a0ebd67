"""Invariant 14: waits of sock_* leave nothing behind that could wake, starve or spin for the next socket."""

import asyncio
import os
import socket
from typing import Any

import pytest

from tests.helpers.running import in_thread, run
from tests.probes import peers


def events(loop: Any) -> int:
    return loop.metrics()["events"]


async def wait_then_cancel(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    task = asyncio.ensure_future(loop.sock_recv(sock, 10))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def reopen(number: int, sock: socket.socket) -> socket.socket:
    """A socket with this very number, which must be free."""
    os.dup2(sock.fileno(), number, inheritable=False)
    again = socket.socket(fileno=number)
    again.setblocking(False)
    return again


@pytest.mark.parametrize("cancelled", [True, False])
def test_the_next_socket_with_the_number(loop: asyncio.AbstractEventLoop, pair: Any, cancelled: bool) -> None:
    """A socket is closed after a sock_recv, finished or cancelled; the next one with its number gets its events."""

    async def main() -> None:
        for _ in range(5):
            old, old_peer = pair()
            new, new_peer = pair()
            number = old.fileno()
            if cancelled:
                await wait_then_cancel(loop, old)
            else:
                task = asyncio.ensure_future(loop.sock_recv(old, 10))
                await asyncio.sleep(0)
                old_peer.send(b"first")
                assert await task == b"first"
            old.close()
            again = reopen(number, new)
            task = asyncio.ensure_future(loop.sock_recv(again, 10))
            await asyncio.sleep(0.001)
            new_peer.send(b"second")
            assert await asyncio.wait_for(task, 10) == b"second"
            again.close()

    run(loop, main())


def test_a_duplicate_does_not_spin(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    """A duplicate keeps the closed socket's entry alive in the kernel: no event of it is seen again and again."""

    async def main() -> None:
        ours, peer = pair()
        await wait_then_cancel(loop, ours)
        copy = os.dup(ours.fileno())
        ours.close()
        peer.send(b"for the duplicate")
        before = events(loop)
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert events(loop) - before <= 2
        os.close(copy)

    run(loop, main())


def test_a_cancelled_wait_takes_no_data(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    async def main() -> None:
        ours, peer = pair()
        for i in range(10):
            await wait_then_cancel(loop, ours)
            peer.send(b"data %d" % i)
            assert await loop.sock_recv(ours, 100) == b"data %d" % i
        ours.close()

    run(loop, main())


def test_waits_of_both_directions(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    """A sock_sendall that waits and a sock_recv that waits on one socket: each is woken by its own."""

    async def main() -> None:
        ours, peer = pair()
        payload = os.urandom(8 << 20)
        sending = asyncio.ensure_future(loop.sock_sendall(ours, payload))
        receiving = asyncio.ensure_future(loop.sock_recv(ours, 100))
        await asyncio.sleep(0.01)
        assert not sending.done()
        assert not receiving.done()
        peer.send(b"hello")
        assert await receiving == b"hello"
        assert not sending.done()
        assert await in_thread(peers.recv_exact, peer, len(payload)) == payload
        await sending
        ours.close()

    run(loop, main())


def test_idle_after_a_wait(loop: asyncio.AbstractEventLoop, pair: Any) -> None:
    """Data that arrives when nobody waits any more wakes nothing a second time."""

    async def main() -> None:
        ours, peer = pair()
        task = asyncio.ensure_future(loop.sock_recv(ours, 1))
        await asyncio.sleep(0)
        peer.send(b"more than one byte")
        assert await task == b"m"
        before = events(loop)
        await asyncio.sleep(0.05)
        peer.send(b"and more")
        await asyncio.sleep(0.05)
        assert events(loop) - before <= 1
        assert await loop.sock_recv(ours, 100) == b"ore than one byteand more"
        ours.close()

    run(loop, main())


def test_reader_and_transport_refuse_each_other(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """add_reader on a transport's descriptor is refused, as asyncio does, and does it no harm."""
    from tests.helpers.protocols import Echo

    transport, peer = attach(Echo())
    fd = transport.get_extra_info("socket").fileno()
    with pytest.raises(RuntimeError):
        loop.add_reader(fd, lambda: None)
    with pytest.raises(RuntimeError):
        loop.remove_writer(fd)

    async def main() -> None:
        peer.sendall(b"ping")
        assert await in_thread(peers.recv_exact, peer, 4) == b"ping"
        transport.abort()
        await asyncio.sleep(0)

    run(loop, main())
