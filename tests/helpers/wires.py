"""Connections for tests: a transport of the loop at one end, a plain blocking socket at the other.

The socket's blocking calls run on threads, so that the loop under test waits in its poll as
it would in real life, and no result depends on another feature of the loop.
"""

import asyncio
import os
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

from tests.helpers.protocols import Recorder
from tests.helpers.running import DEADLINE_S, in_thread

# Small kernel buffers: a few hundred KiB then fill them, and the rest waits in the transport.
SMALL_BYTES = 32 * 1024


class Peer:
    """A blocking socket, its calls made on threads."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket over."""
        sock.settimeout(DEADLINE_S)
        self.sock = sock

    def send(self, data: bytes) -> None:
        """Sends a few bytes at once: they fit the kernel's buffer."""
        self.sock.sendall(data)

    async def send_all(self, data: bytes) -> None:
        """Sends any number of bytes."""
        await in_thread(self.sock.sendall, data)

    async def receive(self, count: int) -> bytes:
        """COUNT bytes, or fewer where the stream ends before."""
        return await in_thread(self.receive_now, count)

    def receive_now(self, count: int) -> bytes:
        """As receive, blocking."""
        parts = []
        while count > 0 and (part := self.sock.recv(min(count, 1 << 20))):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    async def receive_to_end(self) -> bytes:
        """All bytes up to the end of the stream."""
        return await self.receive(1 << 40)

    def end(self) -> None:
        """Ends the outgoing direction; the other one stays open."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with RST (TCP only)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Closes the socket."""
        self.sock.close()


class Link:
    """One connection: `transport` and `protocol` of the loop, `peer` at the other end."""

    def __init__(self, transport: Any, protocol: Any, peer: Peer) -> None:
        """Keeps the three."""
        self.transport = transport
        self.protocol = protocol
        self.peer = peer


class Wire:
    """A kind of stream: TCP or Unix."""

    name: ClassVar[str]
    family: ClassVar[int]

    @asynccontextmanager
    async def serving(self, factory: Callable[[], Any], **options: Any) -> AsyncIterator[tuple[Any, Any]]:
        """A server of the running loop and its address; closed at the end."""
        raise NotImplementedError
        yield

    async def connect(self, factory: Callable[[], Any], address: Any, **options: Any) -> tuple[Any, Any]:
        """A connection of the running loop to ADDRESS."""
        raise NotImplementedError

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """A plain listening socket."""
        raise NotImplementedError
        yield

    def peer(self, address: Any, *, small: bool = False) -> Peer:
        """A plain socket connected to ADDRESS; with SMALL buffers if wished."""
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        if small:
            _shrink(sock)
        sock.settimeout(DEADLINE_S)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return Peer(sock)

    @asynccontextmanager
    async def accepted(self, factory: Callable[[], Any] = Recorder, *, small: bool = False) -> AsyncIterator[Link]:
        """A connection that the loop's server accepted. FACTORY must make recording protocols."""
        made: list[Any] = []

        def keep() -> Any:
            made.append(factory())
            return made[-1]

        async with self.serving(keep) as (server, address):
            if small:
                for sock in server.sockets:
                    _shrink(sock)
            peer = self.peer(address, small=small)
            try:
                while not (made and made[0].transport is not None):
                    await asyncio.sleep(0.0005)
                protocol = made[0]
                transport = protocol.transport
                try:
                    yield Link(transport, protocol, peer)
                finally:
                    await gone(transport, protocol)
            finally:
                peer.close()

    @asynccontextmanager
    async def connected(self, factory: Callable[[], Any] = Recorder, *, small: bool = False) -> AsyncIterator[Link]:
        """A connection that the loop made to a plain socket."""
        with self.listening() as listener:
            if small:
                _shrink(listener)
            transport, protocol = await self.connect(factory, listener.getsockname())
            sock, _ = listener.accept()
        if small:
            _shrink(transport.get_extra_info("socket"))
        peer = Peer(sock)
        try:
            yield Link(transport, protocol, peer)
        finally:
            await gone(transport, protocol)
            peer.close()


async def gone(transport: Any, protocol: Any) -> None:
    """Aborts what still lives, and waits until its connection_lost has been called."""
    if protocol.transport is None:
        return
    if not protocol.count("lost"):
        transport.abort()
    await protocol.until_seen("lost")
    await asyncio.sleep(0)


def _shrink(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)


class Tcp(Wire):
    """TCP on the loopback."""

    name = "tcp"
    family = socket.AF_INET

    @asynccontextmanager
    async def serving(self, factory: Callable[[], Any], **options: Any) -> AsyncIterator[tuple[Any, Any]]:
        """As Wire's."""
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, **options)
        try:
            yield server, server.sockets[0].getsockname()
        finally:
            server.close()
            await server.wait_closed()

    async def connect(self, factory: Callable[[], Any], address: Any, **options: Any) -> tuple[Any, Any]:
        """As Wire's."""
        return await asyncio.get_running_loop().create_connection(factory, *address, **options)

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """As Wire's."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener


class Unix(Wire):
    """Unix stream sockets, in a folder of their own."""

    name = "unix"
    family = socket.AF_UNIX

    @asynccontextmanager
    async def serving(self, factory: Callable[[], Any], **options: Any) -> AsyncIterator[tuple[Any, Any]]:
        """As Wire's."""
        with tempfile.TemporaryDirectory(prefix="fn", dir="/tmp") as folder:
            path = os.path.join(folder, "s")
            server = await asyncio.get_running_loop().create_unix_server(factory, path, **options)
            try:
                yield server, path
            finally:
                server.close()
                await server.wait_closed()

    async def connect(self, factory: Callable[[], Any], address: Any, **options: Any) -> tuple[Any, Any]:
        """As Wire's."""
        return await asyncio.get_running_loop().create_unix_connection(factory, address, **options)

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """As Wire's."""
        with (
            tempfile.TemporaryDirectory(prefix="fn", dir="/tmp") as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        ):
            listener.bind(os.path.join(folder, "s"))
            listener.listen()
            yield listener


TCP, UNIX = Tcp(), Unix()
WIRES = (TCP, UNIX)
