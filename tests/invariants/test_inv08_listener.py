"""Invariant 8: listeners are level-triggered, so one that stops short finds what still waits at the next poll."""

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.protocols import Echo
from tests.helpers.running import in_thread, run, until
from tests.probes import kernel, peers


async def listen(loop: asyncio.AbstractEventLoop, kind: str, folder: Path, backlog: int = 1024) -> tuple[Any, Any]:
    if kind == "unix":
        server = await loop.create_unix_server(Echo, folder / "s", backlog=backlog)
        return server, str(folder / "s")
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=backlog)
    return server, server.sockets[0].getsockname()


def connect(kind: str, address: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(peers.DEADLINE_S)
    sock.connect(address)
    return sock


async def all_gone(loop: Any) -> None:
    await until(lambda: loop.metrics()["connections"] == 0)


def test_mask(loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path) -> None:
    async def main() -> None:
        server, _ = await listen(loop, kind, short_tmp)
        await asyncio.sleep(0)
        masks = kernel.epoll_masks(server.sockets[0].fileno())
        assert [kernel.mask_names(mask) for mask in masks] == [{"IN"}]
        server.close()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.parametrize("count", [1, 200])
def test_all_that_wait_are_accepted(loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path, count: int) -> None:
    """They arrived before the loop looked, more than one turn's budget of accepts, and nobody comes later."""

    async def main() -> None:
        server, address = await listen(loop, kind, short_tmp)
        clients = [connect(kind, address) for _ in range(count)]

        def all_answered() -> None:
            for client in clients:
                client.sendall(b"hello")
            for client in clients:
                assert peers.recv_exact(client, 5) == b"hello"

        await in_thread(all_answered)
        assert loop.metrics()["accepted"] == count  # type: ignore[attr-defined]
        assert loop.metrics()["connections"] == count  # type: ignore[attr-defined]
        for client in clients:
            client.close()
        await all_gone(loop)
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_live_clients_are_answered_during_a_storm(loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path) -> None:
    """A queue of connections is worked off in batches: between two of them a live client has its turn."""

    async def main() -> None:
        server, address = await listen(loop, kind, short_tmp)
        live = connect(kind, address)
        live.sendall(b"first")
        assert await in_thread(peers.recv_exact, live, 5) == b"first"
        storm = [connect(kind, address) for _ in range(300)]
        live.sendall(b"again")

        def accepted() -> int:
            return loop.metrics()["accepted"]  # type: ignore[attr-defined]

        assert await in_thread(_answer_then, live, accepted) <= 1 + len(storm)
        await until(lambda: accepted() == 1 + len(storm))
        for client in (live, *storm):
            client.close()
        await all_gone(loop)
        server.close()
        await server.wait_closed()

    run(loop, main())


def _answer_then(sock: socket.socket, look: Any) -> int:
    assert peers.recv_exact(sock, 5) == b"again"
    return look()


def test_the_factory_fails(
    loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path, errors: list[dict[str, Any]]
) -> None:
    """That connection is closed, once reported; the listener goes on."""
    calls = 0

    def factory() -> Echo:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise ValueError("on purpose")
        return Echo()

    async def main() -> None:
        if kind == "unix":
            address: Any = str(short_tmp / "s")
            server = await loop.create_unix_server(factory, address)
        else:
            server = await loop.create_server(factory, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
        for _ in range(5):
            with connect(kind, address) as client:
                assert await in_thread(peers.outcome, client) in ("reset", "eof")
            with connect(kind, address) as client:
                client.sendall(b"hello")
                assert await in_thread(peers.recv_exact, client, 5) == b"hello"
        await all_gone(loop)
        server.close()
        await server.wait_closed()

    run(loop, main())
    assert [str(context["exception"]) for context in errors] == ["on purpose"] * 5
    errors.clear()


def test_a_listener_that_fails_is_told_once_and_the_loop_goes_on(
    loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path, errors: list[dict[str, Any]]
) -> None:
    """Somebody shuts our socket down: level-triggered it would wake the loop for ever."""

    async def main() -> None:
        server, _ = await listen(loop, kind, short_tmp)
        other = await loop.create_server(Echo, "127.0.0.1", 0)
        with socket.socket(fileno=os.dup(server.sockets[0].fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
        await until(lambda: errors)
        before = loop.metrics()["polls"]  # type: ignore[attr-defined]
        await in_thread(time.sleep, 0.1)
        assert loop.metrics()["polls"] - before < 10  # type: ignore[attr-defined]
        with connect("tcp", other.sockets[0].getsockname()) as client:
            client.sendall(b"hello")
            assert await in_thread(peers.recv_exact, client, 5) == b"hello"
        await all_gone(loop)
        for each in (server, other):
            each.close()
            await each.wait_closed()

    run(loop, main())
    (told,) = errors
    assert "not watched any more" in told["message"]
    assert isinstance(told["exception"], OSError)
    errors.clear()


def test_closed_with_connections_in_its_queue(loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path) -> None:
    """Server.close() in the turn in which connections wait: they are ended by the kernel, and nothing is left here."""

    async def main() -> None:
        server, address = await listen(loop, kind, short_tmp)
        clients = [connect(kind, address) for _ in range(50)]
        fd = server.sockets[0].fileno()
        server.close()
        assert kernel.epoll_masks(fd) == []
        for client in clients:
            assert await in_thread(peers.outcome, client) in ("reset", "eof")
            client.close()
        await server.wait_closed()

    run(loop, main())


def test_accepted_sockets_flags(loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path) -> None:
    """Non-blocking, closed on exec, and with TCP_NODELAY; so is a connection that the loop makes."""
    import fcntl
    import os

    made: list[Any] = []

    class Kept(Echo):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            made.append(transport)

    async def main() -> None:
        if kind == "unix":
            server = await loop.create_unix_server(Kept, short_tmp / "s")
            await loop.create_unix_connection(Kept, str(short_tmp / "s"))
        else:
            server = await loop.create_server(Kept, "127.0.0.1", 0)
            await loop.create_connection(Kept, *server.sockets[0].getsockname())
        await until(lambda: len(made) == 2)
        for transport in made:
            sock = transport.get_extra_info("socket")
            assert fcntl.fcntl(sock.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC
            assert fcntl.fcntl(sock.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
            if kind == "tcp":
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            transport.abort()
        await all_gone(loop)
        server.close()
        await server.wait_closed()

    run(loop, main())
