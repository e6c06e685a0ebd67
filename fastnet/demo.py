"""The demonstration that `make run` serves: a TCP echo and an HTTP page, on loopback, on one fastnet loop.

Run it by `python -m fastnet.demo [--tcp-port N] [--http-port N]`; Ctrl-C or SIGTERM ends it within a second, also with
clients connected.
"""

import argparse
import asyncio
import contextlib
import errno
import html
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import fastnet

try:
    import uvicorn
except ImportError:
    uvicorn = None  # type: ignore[assignment]

HOST = "127.0.0.1"
# How long a request under way may take after Ctrl-C, before it is cut short.
GRACE_SECONDS = 0.5

PAGE = """<!doctype html>
<title>fastnet</title>
<h1>fastnet {version}</h1>
<p>Served by uvicorn on <code>{loop}</code>, Python {python}, process {pid}.</p>
<table>{rows}</table>
"""


class Echo(fastnet.Protocol):
    """Sends back what it receives."""

    clients: set["Echo"] = set()
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes the client, so that the end of the demo can close it."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """Echoes."""
        self.transport.write(data)

    def pause_writing(self) -> None:
        """Reads no more from a client that does not read."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Reads again."""
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the client."""
        self.clients.discard(self)


async def page(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The ASGI application: one page that shows the loop and its counters."""
    if scope["type"] != "http":
        return
    loop: Any = asyncio.get_running_loop()
    rows = "".join(f"<tr><td>{html.escape(name)}<td>{value}" for name, value in loop.metrics().items())
    kind = f"{type(loop).__module__}.{type(loop).__name__}"
    body = PAGE.format(
        version=fastnet.__version__, loop=html.escape(kind), python=sys.version.split()[0], pid=os.getpid(), rows=rows
    ).encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def listen(port: int, option: str) -> socket.socket:
    """A listening socket, or the end of the program with a message that says how to choose another port."""
    try:
        return socket.create_server((HOST, port), backlog=1024)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            problem = f"port {port} is in use"
        else:
            problem = f"cannot listen on port {port}: {error}"
        sys.exit(f"fastnet.demo: {problem}. Choose another one: make run {option}={port + 1 if port < 65535 else 9000}")


@contextlib.contextmanager
def stop_signals(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM set the event."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def http_server(listener: socket.socket | None) -> Any:
    """Serves the page by uvicorn, inside our loop and with our handling of signals."""
    if listener is None:
        yield
        return

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    server = Server(uvicorn.Config(page, lifespan="off", log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        done, _ = await asyncio.wait([task], timeout=GRACE_SECONDS)
        server.force_exit = not done
        await task


async def serve(tcp: socket.socket, http: socket.socket | None) -> None:
    """Serves both until Ctrl-C or SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    with stop_signals(stop):
        echo = await loop.create_server(Echo, sock=tcp)
        async with http_server(http):
            announce(tcp.getsockname()[1], http.getsockname()[1] if http is not None else None)
            await stop.wait()
            print("fastnet.demo: closing", flush=True)
            echo.close()
            for client in list(Echo.clients):
                client.transport.abort()


def announce(tcp_port: int, http_port: int | None) -> None:
    """Says what is served and how to try it."""
    lines = [
        f"fastnet {fastnet.__version__} on Python {sys.version.split()[0]}, until Ctrl-C:",
        f"  TCP echo   {HOST}:{tcp_port}            try: nc {HOST} {tcp_port}   (type a line)",
    ]
    if http_port is not None:
        lines.append(f"  HTTP page  http://{HOST}:{http_port}/    try: curl http://{HOST}:{http_port}/")
    else:
        lines.append("  no HTTP page: uvicorn is missing. Install it: pip install 'fastnet-loop[server]'")
    print("\n".join(lines), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Reads the ports, and serves."""
    parser = argparse.ArgumentParser(
        prog="python -m fastnet.demo", description="A TCP echo and an HTTP page on fastnet."
    )
    parser.add_argument("--tcp-port", type=int, default=9000, help="of the TCP echo (default 9000; 0: any)")
    parser.add_argument("--http-port", type=int, default=8000, help="of the HTTP page (default 8000; 0: any)")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(listen(options.tcp_port, "TCP_PORT"))
        http = stack.enter_context(listen(options.http_port, "HTTP_PORT")) if uvicorn is not None else None
        fastnet.run(serve(tcp, http))


if __name__ == "__main__":
    main()
