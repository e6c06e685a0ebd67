"""Accepting that fails: at the limit with and without the spare descriptor, short of memory, connections gone."""

import asyncio
import errno
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.helpers.protocols import Echo
from tests.helpers.running import in_thread, run, until
from tests.probes import peers

WATCHED_S = 0.5
RETRIES = 15  # in that time: ten milliseconds each would be fifty, growing ones are eight


def connect(address: Any) -> socket.socket:
    return socket.create_connection(address, timeout=peers.DEADLINE_S)


async def echoes(sock: socket.socket) -> bool:
    def talk() -> bool:
        try:
            sock.sendall(b"ping")
            return peers.recv_exact(sock, 4) == b"ping"
        except ConnectionError:
            return False

    return await in_thread(talk)


def with_server(loop: asyncio.AbstractEventLoop, body: Callable[[Any], Awaitable[None]]) -> None:
    """Run body(address) beside a server of the loop, whose connections must be gone in the end."""

    async def main() -> None:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        await body(server.sockets[0].getsockname())
        await until(lambda: metrics(loop)["connections"] == 0)
        server.close()
        await server.wait_closed()

    run(loop, main())


def metrics(loop: Any) -> dict[str, int]:
    return loop.metrics()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("count", [1, 5])
def test_the_spare_refuses(
    loop: asyncio.AbstractEventLoop, faults: Any, code: int, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """accept4 fails, then works with the spare's place: the connection is accepted and closed, counted and told of."""

    async def body(address: Any) -> None:
        for i in range(1, count + 1):
            faults("accept4", errno=code, count=1)
            with connect(address) as sock:
                assert await in_thread(peers.outcome, sock) == "reset"
            assert metrics(loop)["accept_refused"] == i
        with connect(address) as sock:
            assert await echoes(sock)
        assert metrics(loop)["accepted"] == 1

    with_server(loop, body)
    assert len(caplog.records) == 1  # at most one a second
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_nothing_helps(loop: asyncio.AbstractEventLoop, faults: Any, code: int) -> None:
    """No descriptor, and no spare: rest instead of spinning; service is back when it ends, the waiting ones first."""

    async def body(address: Any) -> None:
        with connect(address) as live:
            assert await echoes(live)
            faults("accept4", errno=code)
            faults("open_spare", errno=code)
            waiting = [connect(address) for _ in range(10)]
            before = metrics(loop)
            await in_thread(time.sleep, WATCHED_S)
            after = metrics(loop)
            assert 1 < after["accept_errors"] - before["accept_errors"] < RETRIES
            assert after["polls"] - before["polls"] < 3 * RETRIES
            assert await echoes(live)
            _clear()
            for sock in waiting:
                assert await echoes(sock)
                sock.close()

    with_server(loop, body)
    assert metrics(loop)["accept_refused"] == 0


def test_the_spare_is_lost_for_a_while(loop: asyncio.AbstractEventLoop, faults: Any) -> None:
    """The spare's place is used, and another thread takes it: rest, take it again, go on."""

    async def body(address: Any) -> None:
        faults("accept4", errno=errno.EMFILE, count=1)
        faults("open_spare", errno=errno.EMFILE, count=2)
        with connect(address) as sock:
            assert await in_thread(peers.outcome, sock) == "reset"
        with connect(address) as sock:
            assert await echoes(sock)
        faults("accept4", errno=errno.EMFILE, count=1)
        with connect(address) as sock:
            assert await in_thread(peers.outcome, sock) == "reset"
        assert metrics(loop)["accept_refused"] == 2

    with_server(loop, body)


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH])
def test_a_connection_that_failed(loop: asyncio.AbstractEventLoop, faults: Any, code: int) -> None:
    """The errors of single connections: on with the next, at once."""

    async def body(address: Any) -> None:
        faults("accept4", errno=code, count=50)
        with connect(address) as sock:
            assert await echoes(sock)
        assert metrics(loop)["accept_errors"] == 50

    with_server(loop, body)


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE])
def test_closed_while_it_rests(loop: asyncio.AbstractEventLoop, faults: Any, code: int) -> None:
    """The server is closed during a rest: nothing comes after it."""

    async def main() -> None:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        faults("accept4", errno=code)
        faults("open_spare", errno=code)
        with connect(address) as sock:
            await until(lambda: metrics(loop)["accept_errors"] >= 2)
            server.close()
            assert await in_thread(peers.outcome, sock) == "reset"
        await server.wait_closed()
        _clear()
        errors = metrics(loop)["accept_errors"]
        await in_thread(time.sleep, 0.2)  # longer than the longest rest
        assert metrics(loop)["accept_errors"] == errors
        assert metrics(loop)["timers"] <= 1  # that of this test's own deadline

    run(loop, main())


def test_the_loop_is_closed_while_it_rests(loop_factory: Any, faults: Any) -> None:
    loop = loop_factory()
    server = loop.run_until_complete(loop.create_server(Echo, "127.0.0.1", 0))
    faults("accept4", errno=errno.ENOMEM)
    with connect(server.sockets[0].getsockname()):
        loop.run_until_complete(asyncio.sleep(0.05))
        server.close()
        loop.close()


def _clear() -> None:
    from fastnet_c import testing

    testing.faults_clear()
