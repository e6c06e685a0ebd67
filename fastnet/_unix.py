"""Unix sockets: create_unix_connection() and create_unix_server()."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
from asyncio import base_events
from asyncio.log import logger
from collections.abc import Callable
from typing import Any

# Since 3.13 asyncio removes the socket's file when its server closes.
_CLEANUP_BY_DEFAULT = sys.version_info >= (3, 13)


class UnixCalls(asyncio.AbstractEventLoop):
    """Connections and servers on Unix sockets, for EventLoop."""

    def __init__(self) -> None:
        super().__init__()
        # By listening socket: the inode of its file, and the process that made it.
        self._unix_server_inodes: dict[socket.socket, tuple[int, int]] = {}

    async def create_unix_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Connect to a Unix stream socket by path, abstract name, or take a connected one."""
        if ssl and server_hostname is None:
            raise ValueError("you have to pass server_hostname when using ssl")
        if not ssl:
            _refuse_without_ssl(
                server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
            )
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            path = os.fspath(path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                await self.sock_connect(sock, path)
            except BaseException:
                sock.close()
                raise
        elif sock is None:
            raise ValueError("no path and sock were specified")
        else:
            _check_unix_socket(sock)
            sock.setblocking(False)
        return await self._create_connection_transport(  # type: ignore[attr-defined, no-any-return]
            sock,
            protocol_factory,
            ssl,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    async def create_unix_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = _CLEANUP_BY_DEFAULT,
    ) -> base_events.Server:
        """Serve on a Unix stream socket.

        cleanup_socket: remove the socket's file when the server closes; the default is the Python version's (True
        since 3.13).
        """
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        if not ssl:
            _refuse_without_ssl(ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout)
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            sock = _bind(os.fspath(path))
        elif sock is None:
            raise ValueError("path was not specified, and no sock specified")
        else:
            _check_unix_socket(sock)
        if cleanup_socket:
            self._remember_inode(sock)
        sock.setblocking(False)
        server = base_events.Server(
            self, [sock], protocol_factory, ssl, backlog, ssl_handshake_timeout, ssl_shutdown_timeout
        )
        if start_serving:
            server._start_serving()  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        return server

    # -- the file of a server's socket --

    def _remember_inode(self, sock: socket.socket) -> None:
        path = sock.getsockname()
        if path and path[0] not in (0, "\x00"):
            try:
                self._unix_server_inodes[sock] = (os.stat(path).st_ino, os.getpid())
            except FileNotFoundError:
                pass

    def _stop_serving(self, sock: socket.socket) -> None:
        inode, pid = self._unix_server_inodes.pop(sock, (None, None))
        path = sock.getsockname() if inode is not None else None
        super()._stop_serving(sock)  # type: ignore[misc]
        if path is None or os.getpid() != pid:  # in a forked child the file is the parent's
            return
        try:
            if os.stat(path).st_ino == inode:
                os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            logger.error("Unable to clean up listening UNIX socket %r: %r", path, exc)


def _refuse_without_ssl(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} is only meaningful with ssl")


def _check_unix_socket(sock: socket.socket) -> None:
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def _bind(path: str | bytes) -> socket.socket:
    """A socket bound to path, in the place of a stale socket file, if there is one."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path[0] not in (0, "\x00"):
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.remove(path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)
    try:
        sock.bind(path)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"Address {path!r} is already in use") from None
        raise
    except BaseException:
        sock.close()
        raise
    return sock
