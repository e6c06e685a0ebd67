"""uvicorn on the fastnet loop: with both HTTP parsers, over TCP, Unix and TLS, with websockets, from its command."""

import asyncio
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.running import in_thread
from tests.probes import peers, tls
from tests.probes.child import environment, started

uvicorn = pytest.importorskip("uvicorn", exc_type=ImportError)
import fastnet  # noqa: E402

NO_HTTPTOOLS = pytest.mark.skipif(not find_spec("httptools"), reason="httptools is not installed")
PARSERS = ["h11", pytest.param("httptools", marks=NO_HTTPTOOLS)]
BIG = os.urandom(3 << 20)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what the path asks for."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await websocket(receive, send)
    else:
        assert type(asyncio.get_running_loop()) is fastnet.EventLoop
        parts = await PATHS[scope["path"]](scope, receive)
        headers = [(b"content-type", b"application/octet-stream")]
        if len(parts) == 1:
            headers.append((b"content-length", str(len(parts[0])).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})


async def body_of(scope: Any, receive: Any) -> list[bytes]:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return [b"".join(parts)]


async def loop_name(scope: Any, receive: Any) -> list[bytes]:
    return [type(asyncio.get_running_loop()).__name__.encode()]


async def stream(scope: Any, receive: Any) -> list[bytes]:
    return [BIG[i : i + 50_000] for i in range(0, len(BIG), 50_000)]


async def client_address(scope: Any, receive: Any) -> list[bytes]:
    return [repr(scope["client"]).encode()]


PATHS: dict[str, Any] = {"/loop": loop_name, "/echo": body_of, "/stream": stream, "/client": client_address}


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Any]:
    """The address of a uvicorn server on the running loop."""
    config = uvicorn.Config(app, log_config=None, **({"host": "127.0.0.1", "port": 0} | options))
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        assert not task.done(), await task
        await asyncio.sleep(0.001)
    try:
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        await task


def serve_and_call(client: Callable[[Any], Any], **options: Any) -> Any:
    """What client(address) returns, called in a thread while uvicorn serves."""

    async def main() -> Any:
        async with serving(**options) as address:
            return await in_thread(client, address)

    return fastnet.run(main())


def connected(address: Any) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address[0], address[1], timeout=peers.DEADLINE_S)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    connection.request(method, path, body)
    response = connection.getresponse()
    assert response.status == 200
    return response.read()


@pytest.mark.parametrize("parser", PARSERS)
def test_requests_on_one_connection(parser: str) -> None:
    """Keep-alive: small, large and chunked requests and answers, one after the other."""

    def client(address: Any) -> None:
        connection = connected(address)
        for _ in range(3):
            assert ask(connection, "GET", "/loop") == b"EventLoop"
            assert ask(connection, "POST", "/echo", b"hello") == b"hello"
            assert ask(connection, "POST", "/echo", BIG) == BIG
            assert ask(connection, "GET", "/stream") == BIG
            connection.request("POST", "/echo", iter([b"a", b"b" * 100_000, b"c"]), encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked"})  # fmt: skip
            assert connection.getresponse().read() == b"a" + b"b" * 100_000 + b"c"
        host, port = connection.sock.getsockname()
        assert ask(connection, "GET", "/client") == repr((host, port)).encode()
        connection.close()

    serve_and_call(client, http=parser, ws="none")


@pytest.mark.parametrize("parser", PARSERS)
def test_pipelined_requests(parser: str) -> None:
    def client(address: Any) -> None:
        with socket.create_connection(address, timeout=peers.DEADLINE_S) as sock:
            sock.sendall(b"GET /loop HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            sock.sendall(b"GET /loop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert peers.recv_to_end(sock).count(b"EventLoop") == 21

    serve_and_call(client, http=parser, ws="none")


def test_many_clients() -> None:
    def client(address: Any) -> None:
        connections = [connected(address) for _ in range(40)]
        for _ in range(3):
            for connection in connections:
                connection.request("POST", "/echo", b"x" * 10_000)
            for connection in connections:
                assert connection.getresponse().read() == b"x" * 10_000
        for connection in connections:
            connection.close()

    serve_and_call(client, ws="none")


def test_a_client_that_leaves() -> None:
    """In the middle of an answer, with FIN and with RST: the server goes on."""

    def client(address: Any) -> None:
        for i in range(6):
            sock = socket.create_connection(address, timeout=peers.DEADLINE_S)
            sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(100)
            sock.close() if i % 2 else peers.close_with_reset(sock)
        connection = connected(address)
        assert ask(connection, "GET", "/stream") == BIG
        connection.close()

    serve_and_call(client, ws="none")


def test_tls() -> None:
    def client(address: Any) -> None:
        context = tls.client_context()
        connection = http.client.HTTPSConnection(address[0], address[1], context=context)
        assert ask(connection, "POST", "/echo", BIG) == BIG
        assert ask(connection, "GET", "/stream") == BIG
        assert isinstance(connection.sock, ssl.SSLSocket)
        connection.close()

    serve_and_call(client, ws="none", ssl_certfile=tls.CERTIFICATE)


def test_unix(short_tmp: Path) -> None:
    def client(address: str) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(peers.DEADLINE_S)
            sock.connect(address)
            sock.sendall(b"GET /loop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"EventLoop" in peers.recv_to_end(sock)

    serve_and_call(client, ws="none", uds=str(short_tmp / "u"))


def test_websockets() -> None:
    client_module = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")

    def client(address: Any) -> None:
        with client_module.connect("ws://{}:{}/".format(*address), max_size=None) as connection:
            for message in ("text", b"bytes", "x" * 100_000, BIG):
                connection.send(message)
                assert connection.recv(timeout=peers.DEADLINE_S) == message

    serve_and_call(client, ws="websockets-sansio")


def test_the_command(tmp_path: Path) -> None:
    """`uvicorn --loop fastnet:new_event_loop`, ended by SIGTERM while a connection is open."""
    (tmp_path / "served.py").write_text("from tests.ecosystem.test_uvicorn import app as application\n")
    command = [sys.executable, "-m", "uvicorn", "served:application", "--app-dir", str(tmp_path), "--port", "0",
               "--loop", "fastnet:new_event_loop", "--ws", "none"]  # fmt: skip
    with started(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        port, said = 0, ""
        while not port and (line := process.stderr.readline()):
            said += line
            if match := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                port = int(match[1])
        assert port, said
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=peers.DEADLINE_S)
        assert ask(connection, "GET", "/loop") == b"EventLoop"
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=peers.DEADLINE_S)
        connection.close()
    assert process.returncode in (0, -signal.SIGTERM), rest
    assert "Finished server process" in rest
    assert "Traceback" not in rest
    assert environment()["PYTHONPATH"]
