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
DEFAULT_PORTS = {"TCP_PORT": 9000, "HTTP_PORT": 8000}
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


class PortProblem(Exception):
    """Why a port cannot be listened on, and the argument that chooses another."""

    def __init__(self, problem: str, option: str, port: int) -> None:
        super().__init__(problem)
        self.remedy = f"{option}={free_port(port)}"


def flag_of(option: str) -> str:
    """--tcp-port for TCP_PORT."""
    return "--" + option.lower().replace("_", "-")


def port_number(text: str, option: str) -> int:
    """The port that an argument names, or the end of the program with a message that says what to give."""
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    given = f"{text!r} is no port" if text else "the port is empty"
    print(
        f"fastnet.demo: {option} ({flag_of(option)}): {given}. Give a number from 1 to 65535, or 0 for any free port, "
        f"as in: make run {option}={DEFAULT_PORTS[option]}",
        file=sys.stderr,
    )
    sys.exit(2)


def free_port(start: int) -> int:
    """A port that is free at the moment: the first after START, but none that needs privileges."""
    for port in range(max(start + 1, 1024), 65536):
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            return port
    return 0


def listen(port: int, option: str) -> socket.socket:
    """A listening socket; raises PortProblem."""
    try:
        return socket.create_server((HOST, port), backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = f"port {port} is in use"
        else:
            problem = f"port {port} cannot be listened on ({os.strerror(error.errno or 0)})"
        raise PortProblem(problem, option, port) from error


def listen_all(stack: contextlib.ExitStack, ports: dict[str, int]) -> list[socket.socket]:
    """The listening sockets, or the end of the program with a message that has a remedy for all ports at once."""
    listeners, problems = [], []
    for option, port in ports.items():
        try:
            listeners.append(stack.enter_context(listen(port, option)))
        except PortProblem as problem:
            problems.append(problem)
    if problems:
        what = " and ".join(str(problem) for problem in problems)
        sys.exit(f"fastnet.demo: {what}. Try: make run {' '.join(problem.remedy for problem in problems)}")
    return listeners


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
        lines.append("  no HTTP page: uvicorn is missing. Install it: pip install uvicorn httptools")
    print("\n".join(lines), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Reads the ports, and serves."""
    parser = argparse.ArgumentParser(
        prog="python -m fastnet.demo", description="A TCP echo and an HTTP page on fastnet."
    )
    for option, what in (("TCP_PORT", "the TCP echo"), ("HTTP_PORT", "the HTTP page")):
        default = str(DEFAULT_PORTS[option])
        text = f"of {what} (default {default}; 0: any)"
        parser.add_argument(flag_of(option), dest=option, metavar="N", default=default, help=text)
    options = vars(parser.parse_args(arguments))
    ports = {option: port_number(options[option], option) for option in DEFAULT_PORTS}
    if uvicorn is None:
        del ports["HTTP_PORT"]
    with contextlib.ExitStack() as stack:
        tcp, *http = listen_all(stack, ports)
        fastnet.run(serve(tcp, http[0] if http else None))


if __name__ == "__main__":
    main()
