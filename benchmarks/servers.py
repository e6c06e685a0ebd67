"""The servers that are measured: echo, written in each of asyncio's styles, on any loop.

    python -m benchmarks.servers --loop uvloop --style protocol

Prints one JSON line with the port when it listens, serves until the last of its clients has left, prints a second
line with the CPU time and the memory it used, and exits. Started by the harness; started by hand it serves as well.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable

from benchmarks.loops import LoopMissing, find_factory, version_of

READ_BYTES = 64 * 1024  # what an application asks for at a time
BUFFER_BYTES = 256 * 1024  # of the BufferedProtocol
BACKLOG = 4096


class Clients:
    """Counts clients, and knows when the last one has left."""

    def __init__(self) -> None:
        self.here = 0
        self.all_gone = asyncio.get_running_loop().create_future()

    def arrived(self) -> None:
        self.here += 1

    def left(self) -> None:
        self.here -= 1
        if self.here == 0 and not self.all_gone.done():
            self.all_gone.set_result(None)


class EchoProtocol(asyncio.Protocol):
    """Writes back each chunk as it comes."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.clients.arrived()

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.clients.left()


class EchoBuffered(asyncio.BufferedProtocol):
    """Reads into a buffer of its own and writes back a copy: the loop may keep what it is given until it is sent."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.clients.arrived()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.clients.left()


async def _echo_stream(clients: Clients, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    clients.arrived()
    while data := await reader.read(READ_BYTES):
        writer.write(data)
    writer.close()
    clients.left()


async def _echo_lines(clients: Clients, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    clients.arrived()
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()
    clients.left()


async def _echo_socket(clients: Clients, connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    clients.arrived()
    with connection:
        while data := await loop.sock_recv(connection, READ_BYTES):
            await loop.sock_sendall(connection, data)
    clients.left()


HOST = "127.0.0.1"
Listening = tuple[int, Callable[[], object]]  # the port, and what ends it


def _listening(server: asyncio.Server) -> Listening:
    return server.sockets[0].getsockname()[1], server.close


async def _serve_protocol(port: int, clients: Clients, size_bytes: int) -> Listening:
    loop = asyncio.get_running_loop()
    return _listening(await loop.create_server(lambda: EchoProtocol(clients), HOST, port, backlog=BACKLOG))


async def _serve_buffered(port: int, clients: Clients, size_bytes: int) -> Listening:
    loop = asyncio.get_running_loop()
    return _listening(await loop.create_server(lambda: EchoBuffered(clients), HOST, port, backlog=BACKLOG))


async def _serve_streams(port: int, clients: Clients, size_bytes: int) -> Listening:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _echo_stream(clients, reader, writer)

    return _listening(await asyncio.start_server(client, HOST, port, backlog=BACKLOG))


async def _serve_lines(port: int, clients: Clients, size_bytes: int) -> Listening:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _echo_lines(clients, reader, writer)

    limit = max(64 * 1024, 2 * size_bytes)  # a line longer than the limit is an error
    return _listening(await asyncio.start_server(client, HOST, port, backlog=BACKLOG, limit=limit))


async def _serve_sockets(port: int, clients: Clients, size_bytes: int) -> Listening:
    loop = asyncio.get_running_loop()
    listener = socket.create_server((HOST, port), backlog=BACKLOG)
    listener.setblocking(False)
    echoes: set[asyncio.Task[None]] = set()

    async def accept() -> None:
        with listener:
            while True:
                connection, _ = await loop.sock_accept(listener)
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                echo = loop.create_task(_echo_socket(clients, connection))
                echoes.add(echo)
                echo.add_done_callback(echoes.discard)

    accepting = loop.create_task(accept())
    return listener.getsockname()[1], accepting.cancel


STYLES: dict[str, Callable[[int, Clients, int], Awaitable[Listening]]] = {
    "protocol": _serve_protocol,
    "buffered": _serve_buffered,
    "streams": _serve_streams,
    "lines": _serve_lines,
    "sock": _serve_sockets,
}


def _say(facts: dict[str, object]) -> None:
    print(json.dumps(facts), flush=True)


async def _serve(arguments: argparse.Namespace) -> None:
    clients = Clients()
    port, close = await STYLES[arguments.style](arguments.port, clients, arguments.size)
    loop = asyncio.get_running_loop()
    kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
    if arguments.quiet_collector:
        quiet_collector()
    _say({"port": port, "loop": kind, "version": version_of(arguments.loop)})
    await clients.all_gone
    close()


def quiet_collector() -> None:
    """Takes what exists now out of the sight of the garbage collector.

    Collections go on, as they are part of what a loop costs that makes objects in cycles; but whether a full one falls
    into a run depends on its length, and walking the start-up's 50,000 objects would then hide the difference of two
    run lengths.
    """
    gc.collect()
    gc.freeze()


def main(argv: list[str] | None = None) -> int:
    """Runs one server."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--loop", default="asyncio", help="asyncio, uvloop, fastnet, or module:factory")
    parser.add_argument("--style", default="protocol", choices=list(STYLES))
    parser.add_argument("--size", type=int, default=1024, help="bytes of a message, for the limit of lines")
    parser.add_argument("--port", type=int, default=0, help="0: the kernel chooses")
    parser.add_argument("--core", type=int, default=None, help="run on this core only")
    parser.add_argument("--give-way", action="store_true", help="let a client on the same core finish sending first")
    parser.add_argument("--quiet-collector", action="store_true", help="hide the start-up's objects from the collector")
    arguments = parser.parse_args(argv)
    try:
        loop = find_factory(arguments.loop)()
    except LoopMissing as error:
        print(error, file=sys.stderr)
        return 3
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    if arguments.give_way:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_serve(arguments))
    used = resource.getrusage(resource.RUSAGE_SELF)
    _say({"user_s": used.ru_utime, "system_s": used.ru_stime, "peak_memory_kib": used.ru_maxrss})
    return 0


if __name__ == "__main__":
    sys.exit(main())
