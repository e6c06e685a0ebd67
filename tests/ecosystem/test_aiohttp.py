"""aiohttp on the fastnet loop, server and client: keep-alive, streaming, websockets, TLS, Unix, time-outs."""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.probes import peers, tls

if hasattr(sys, "gettotalrefcount"):
    pytest.skip("multidict (of aiohttp) crashes debug builds of CPython", allow_module_level=True)
aiohttp = pytest.importorskip("aiohttp", exc_type=ImportError)
from aiohttp import web  # noqa: E402

import fastnet  # noqa: E402

BIG = os.urandom(3 << 20)


async def loop_name(request: Any) -> Any:
    return web.Response(text=type(asyncio.get_running_loop()).__name__)


async def echo(request: Any) -> Any:
    return web.Response(body=await request.read())


async def stream(request: Any) -> Any:
    response = web.StreamResponse()
    await response.prepare(request)
    for start in range(0, len(BIG), 50_000):
        await response.write(BIG[start : start + 50_000])
    await response.write_eof()
    return response


async def slow(request: Any) -> Any:
    await asyncio.sleep(60)
    return web.Response()


async def websocket(request: Any) -> Any:
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


@asynccontextmanager
async def serving(make_site: Callable[[Any], Any]) -> AsyncIterator[Any]:
    """The address of a server on the running loop."""
    assert type(asyncio.get_running_loop()) is fastnet.EventLoop
    application = web.Application(client_max_size=1 << 30)
    application.router.add_get("/loop", loop_name)
    application.router.add_post("/echo", echo)
    application.router.add_get("/stream", stream)
    application.router.add_get("/slow", slow)
    application.router.add_get("/websocket", websocket)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = make_site(runner)
    await site.start()
    try:
        yield runner.addresses[0]
    finally:
        await runner.cleanup()


def tcp(runner: Any) -> Any:
    return web.TCPSite(runner, "127.0.0.1", 0)


def url(address: Any, path: str, scheme: str = "http") -> str:
    return f"{scheme}://localhost:{address[1]}{path}"


async def exchange(session: Any, base: Callable[[str], str]) -> None:
    """Several requests, small and large, on the connections that the session keeps."""
    for _ in range(3):
        async with session.get(base("/loop")) as response:
            assert await response.text() == "EventLoop"
        for payload in (b"", b"hello", BIG):
            async with session.post(base("/echo"), data=io.BytesIO(payload)) as response:
                assert await response.read() == payload
        async with session.get(base("/stream")) as response:
            received = [chunk async for chunk in response.content.iter_any()]
            assert b"".join(received) == BIG


def test_tcp() -> None:
    async def main() -> None:
        async with serving(tcp) as address, aiohttp.ClientSession() as session:
            await exchange(session, lambda path: url(address, path))

    fastnet.run(main())


def test_tls() -> None:
    async def main() -> None:
        def site(runner: Any) -> Any:
            return web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.server_context())

        connector = aiohttp.TCPConnector(ssl=tls.client_context())
        async with serving(site) as address, aiohttp.ClientSession(connector=connector) as session:
            await exchange(session, lambda path: url(address, path, "https"))

    fastnet.run(main())


def test_unix(short_tmp: Path) -> None:
    async def main() -> None:
        path = str(short_tmp / "u")
        connector = aiohttp.UnixConnector(path)
        async with serving(lambda runner: web.UnixSite(runner, path)), aiohttp.ClientSession(connector=connector) as s:
            await exchange(s, lambda path: f"http://localhost{path}")

    fastnet.run(main())


def test_concurrent_requests() -> None:
    async def main() -> None:
        async with serving(tcp) as address, aiohttp.ClientSession() as session:

            async def one(i: int) -> None:
                payload = bytes([i]) * (i * 1000)
                async with session.post(url(address, "/echo"), data=payload) as response:
                    assert await response.read() == payload

            await asyncio.gather(*(one(i) for i in range(60)))

    fastnet.run(main())


def test_websocket() -> None:
    async def main() -> None:
        async with (
            serving(tcp) as address,
            aiohttp.ClientSession() as session,
            session.ws_connect(url(address, "/websocket"), max_msg_size=0) as socket,
        ):
            await socket.send_str("text")
            assert await socket.receive_str() == "text"
            for payload in (b"bytes", b"x" * 100_000, BIG):
                await socket.send_bytes(payload)
                assert await socket.receive_bytes() == payload

    fastnet.run(main())


def test_time_out_and_cancellation() -> None:
    """A request given up by its client ends, and the connection with it; the next one is served."""

    async def main() -> None:
        async with serving(tcp) as address, aiohttp.ClientSession() as session:
            with pytest.raises(asyncio.TimeoutError):
                await session.get(url(address, "/slow"), timeout=aiohttp.ClientTimeout(total=0.05))
            task = asyncio.ensure_future(session.get(url(address, "/slow")))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with session.get(url(address, "/loop")) as response:
                assert response.status == 200

    fastnet.run(main())


def test_a_client_that_resets() -> None:
    async def main() -> None:
        import socket

        async with serving(tcp) as address, aiohttp.ClientSession() as session:
            for _ in range(5):
                sock = socket.create_connection(address[:2])
                sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
                await asyncio.sleep(0.005)
                peers.close_with_reset(sock)
            async with session.get(url(address, "/stream")) as response:
                assert await response.read() == BIG

    fastnet.run(main())
