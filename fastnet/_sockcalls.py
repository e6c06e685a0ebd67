"""sock_recv() and kin: the system call first, waiting only where it would block."""

from __future__ import annotations

import asyncio
import socket
from asyncio import base_events
from collections.abc import Callable
from typing import Any

_Buffer = Any  # any writable buffer

# A Unix socket whose peer's queue is full gives no event when there is room: connect() is tried again after such waits.
_UNIX_RETRY_FIRST_S = 0.001
_UNIX_RETRY_LAST_S = 0.05


class SocketCalls(asyncio.AbstractEventLoop):
    """The loop's calls on plain, non-blocking sockets, for EventLoop."""

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Up to nbytes bytes; b'' at the end of the stream."""
        data: bytes = await self._try_reading(sock, "recv", nbytes)
        return data

    async def sock_recv_into(self, sock: socket.socket, buf: _Buffer) -> int:
        """Read into a writable buffer: how many bytes, 0 at the end of the stream."""
        received: int = await self._try_reading(sock, "recv_into", buf)
        return received

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """One datagram and its sender's address."""
        datagram: tuple[bytes, Any] = await self._try_reading(sock, "recvfrom", bufsize)
        return datagram

    async def sock_recvfrom_into(self, sock: socket.socket, buf: _Buffer, nbytes: int = 0) -> tuple[int, Any]:
        """One datagram into a writable buffer: its size and its sender's address."""
        received: tuple[int, Any] = await self._try_reading(sock, "recvfrom_into", buf, nbytes or len(buf))
        return received

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """The next connection of a listening socket, non-blocking, and its address."""
        connection, address = await self._try_reading(sock, "accept")
        connection.setblocking(False)
        return connection, address

    async def sock_sendall(self, sock: socket.socket, data: _Buffer) -> None:
        """Send all of data; on an error nobody knows how much was sent."""
        self._check_sock(sock)
        with memoryview(data) as whole, whole.cast("B") as view:
            sent = 0
            while sent < len(view):
                sent += await self._try_writing(sock, "send", view[sent:])

    async def sock_sendto(self, sock: socket.socket, data: _Buffer, address: Any) -> int:
        """Send one datagram to address."""
        sent: int = await self._try_writing(sock, "sendto", data, address)
        return sent

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to address; a host name is looked up first."""
        self._check_sock(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            resolved = await self._ensure_resolved(  # type: ignore[attr-defined]
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            address = resolved[0][4]
        if sock.family == socket.AF_UNIX:
            return await self._connect_unix(sock, address)
        try:
            return sock.connect(address)
        except (BlockingIOError, InterruptedError):
            pass
        await self._wait(sock.fileno(), self._add_writer, self._remove_writer)  # type: ignore[attr-defined]
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, f"Connect call failed {address}")

    async def _connect_unix(self, sock: socket.socket, address: Any) -> None:
        delay_s = _UNIX_RETRY_FIRST_S
        while True:
            try:
                return sock.connect(address)
            except BlockingIOError:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _UNIX_RETRY_LAST_S)

    # -- waiting --

    def _check_sock(self, sock: socket.socket) -> None:
        base_events._check_ssl_socket(sock)  # type: ignore[attr-defined]
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    # By name: what the socket's method is may change while we wait (tests patch it).

    async def _try_reading(self, sock: socket.socket, call: str, *args: Any) -> Any:
        self._check_sock(sock)
        while True:
            try:
                return getattr(sock, call)(*args)
            except (BlockingIOError, InterruptedError):
                pass
            await self._wait(sock.fileno(), self._add_reader, self._remove_reader)  # type: ignore[attr-defined]

    async def _try_writing(self, sock: socket.socket, call: str, *args: Any) -> Any:
        self._check_sock(sock)
        while True:
            try:
                return getattr(sock, call)(*args)
            except (BlockingIOError, InterruptedError):
                pass
            await self._wait(sock.fileno(), self._add_writer, self._remove_writer)  # type: ignore[attr-defined]

    async def _wait(self, fd: int, watch: Callable[..., asyncio.Handle], unwatch: Callable[[int], bool]) -> None:
        """Until fd is ready; nothing is watched afterwards, whatever ended the wait."""
        self._check_not_a_transport(fd)  # type: ignore[attr-defined]
        ready = self.create_future()
        handle = watch(fd, _set_ready, ready)
        try:
            await ready
        finally:
            if not handle.cancelled():  # cancelled: another took the place
                unwatch(fd)


def _set_ready(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
