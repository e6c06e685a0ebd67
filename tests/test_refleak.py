"""On a debug build of CPython: repeated runs of everything keep sys.gettotalrefcount() steady."""

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.certificates import Certificates
from tests.helpers.protocols import Echo
from tests.probes import peers

total: Callable[[], int] | None = getattr(sys, "gettotalrefcount", None)
pytestmark = pytest.mark.skipif(total is None, reason="sys.gettotalrefcount is in debug builds of CPython only")

SETTLE, ROUNDS = 4, 5  # runs that may fill caches, and runs that are compared
REPEATS = 20  # of the work in one run
ALLOWED = REPEATS // 2  # references more in a run: far under one for each repeat


class BufferedEcho(asyncio.BufferedProtocol):
    """An echo by way of its own buffer."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, bytearray(1000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(memoryview(self.buffer)[:nbytes])


def steady(work: Callable[[], object]) -> None:
    """Run it again and again; the growth of the last runs is compared with what cannot be a leak of each repeat."""
    assert total is not None
    counts = []
    for _ in range(SETTLE + ROUNDS):
        for _ in range(REPEATS):
            work()
        gc.collect()
        counts.append(total())
    growth = [after - before for before, after in zip(counts[SETTLE - 1 :], counts[SETTLE:], strict=False)]
    assert min(growth) < ALLOWED, f"references grow in every run of {REPEATS}: {growth}"


@pytest.fixture
def loop_factory(guard: None) -> Any:
    """fastnet's alone."""
    import fastnet

    return fastnet.new_event_loop


def turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


@pytest.mark.parametrize("protocol", [Echo, BufferedEcho])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_echo(loop: asyncio.AbstractEventLoop, kind: str, protocol: type[Any]) -> None:
    ours, peer = peers.PAIRS[kind]()
    transport: Any = loop.run_until_complete(loop.connect_accepted_socket(protocol, ours))[0]

    def work() -> None:
        peer.sendall(b"x" * 500)
        turn(loop)
        assert peers.recv_exact(peer, 500) == b"x" * 500
        transport.writelines([b"a", bytearray(b"b")])
        assert peers.recv_exact(peer, 2) == b"ab"

    steady(work)
    transport.abort()
    turn(loop)
    peer.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_connections(loop: asyncio.AbstractEventLoop, kind: str) -> None:
    """Made, used, paused, asked about, filled and ended in several ways."""

    def work() -> None:
        for end in ("close", "abort", "reset", "peer"):
            ours, peer = peers.PAIRS[kind]()
            transport: Any = loop.run_until_complete(loop.connect_accepted_socket(Echo, ours))[0]
            transport.pause_reading()
            transport.resume_reading()
            transport.get_extra_info("socket")
            transport.get_extra_info("peername")
            transport.mine = repr(transport)
            transport.write(bytes(1 << 20))
            transport.write(bytearray(100))
            if end == "peer":
                peer.close()
            else:
                getattr(transport, end)()
            for _ in range(3):
                turn(loop)
            peer.close()
            turn(loop)
            transport.abort()
            turn(loop)
            turn(loop)

    steady(work)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_servers(loop: asyncio.AbstractEventLoop, kind: str, short_tmp: Path) -> None:
    async def work() -> None:
        if kind == "unix":
            path = str(short_tmp / "s")
            server: Any = await loop.create_unix_server(Echo, path)
            transport, _ = await loop.create_unix_connection(Echo, path)
            Path(path).unlink(missing_ok=True)
        else:
            server = await loop.create_server(Echo, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            transport, _ = await loop.create_connection(Echo, *address)
        transport.close()
        while loop.metrics()["connections"]:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()

    steady(lambda: loop.run_until_complete(work()))


def test_streams_over_tls(loop: asyncio.AbstractEventLoop, certificates: Certificates) -> None:
    server_context, client_context = certificates.server(), certificates.client()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address, ssl=client_context, server_hostname="localhost")
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        while loop.metrics()["connections"]:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()

    steady(lambda: loop.run_until_complete(work()))


def test_handles_and_timers(loop: asyncio.AbstractEventLoop) -> None:
    def callback(*args: object) -> None:
        pass

    def work() -> None:
        for count in range(6):
            arguments = range(count)
            loop.call_soon(callback, *arguments)
            loop.call_soon(callback, *arguments).cancel()
            loop.call_later(0, callback, *arguments)
            loop.call_later(1000, callback, *arguments).cancel()
            loop.call_at(loop.time(), callback, *arguments).when()
            loop.call_soon_threadsafe(callback, *arguments)
            repr(loop.call_later(0, callback))
        turn(loop)
        turn(loop)

    steady(work)


def test_readers_and_sock_calls(loop: asyncio.AbstractEventLoop) -> None:
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)

    async def work() -> None:
        got = loop.create_future()
        loop.add_reader(a, got.set_result, None)
        loop.add_writer(a, lambda: loop.remove_writer(a))
        await loop.sock_sendall(b, b"x")
        await got
        loop.remove_reader(a)
        assert await loop.sock_recv(a, 10) == b"x"
        waiting = asyncio.ensure_future(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    steady(lambda: loop.run_until_complete(work()))
    a.close()
    b.close()


def test_loops(loop_factory: Any) -> None:
    """Loops made, run and closed, and loops dropped with all they hold."""

    def work() -> None:
        loop = loop_factory()
        loop.run_until_complete(asyncio.sleep(0))
        loop.call_later(10, loop.stop)
        loop.call_soon(loop.stop)
        loop.close()

    steady(work)


def test_exceptions(loop: asyncio.AbstractEventLoop, errors: list[Any]) -> None:
    """Errors in callbacks and protocols, refused calls and wrong arguments."""
    loop.set_exception_handler(lambda loop, context: None)

    class Bad(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise ValueError

    def fail() -> None:
        raise ValueError

    def work() -> None:
        ours, peer = peers.unix_pair()
        transport: Any = loop.run_until_complete(loop.connect_accepted_socket(Bad, ours))[0]
        for wrong in ("text", None, 5):
            with pytest.raises(TypeError):
                transport.write(wrong)
        with contextlib.suppress(TypeError):
            loop.call_soon("nothing")
        loop.call_soon(fail)
        peer.sendall(b"x")
        for _ in range(3):
            turn(loop)
        peer.close()

    steady(work)
