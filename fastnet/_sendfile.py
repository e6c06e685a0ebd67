"""sendfile(): the hooks by which asyncio's sendfile() and sock_sendfile() use the system call.

Where it cannot serve (no regular file, a refusal at the first call) they raise SendfileNotAvailableError, and asyncio
reads and writes in pieces instead.
"""

from __future__ import annotations

import asyncio
import os
import stat
from asyncio import SendfileNotAvailableError
from collections.abc import Awaitable, Callable
from socket import socket
from typing import Any

_CHUNK_BYTES = 1 << 20  # a turn's: the loop serves others in between


class SendfileCalls(asyncio.AbstractEventLoop):
    """The loop's sendfile hooks, for EventLoop."""

    async def _sock_sendfile_native(self, sock: socket, file: Any, offset: int, count: int | None) -> int:
        def room() -> Awaitable[None]:
            return self._wait(sock.fileno(), self._add_writer, self._remove_writer)  # type: ignore[attr-defined,no-any-return]

        return await _send(sock.fileno, room, file, offset, count)

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        def descriptor() -> int:
            if transp.is_closing():
                raise ConnectionError("the connection was closed during sendfile()")
            fd: int = transp._sock_fd
            return fd

        all_sent = transp._make_empty_waiter()  # from now on write() is refused
        reading = transp.is_reading()
        transp.pause_reading()  # an answer to what comes could not be written
        try:
            await all_sent
            return await _send(descriptor, transp._make_room_waiter, file, offset, count)
        finally:
            transp._reset_empty_waiter()
            if reading:
                transp.resume_reading()


def _regular_file(file: Any) -> int:
    try:
        number: int = file.fileno()
        regular = stat.S_ISREG(os.fstat(number).st_mode)
    except (AttributeError, OSError):  # among the latter io.UnsupportedOperation
        regular = False
    if not regular:
        raise SendfileNotAvailableError("not a regular file")
    return number


async def _send(
    descriptor: Callable[[], int], room: Callable[[], Awaitable[None]], file: Any, offset: int, count: int | None
) -> int:
    """Send to descriptor() until count bytes are sent, or the file ends; room() waits while the socket is full."""
    source = _regular_file(file)
    sent = 0
    try:
        while count is None or sent < count:
            size = _CHUNK_BYTES if count is None else min(_CHUNK_BYTES, count - sent)
            target = descriptor()
            try:
                done = os.sendfile(target, source, offset + sent, size)
            except (BlockingIOError, InterruptedError):
                await room()
                continue
            except ConnectionError:
                raise
            except OSError as error:
                if sent:
                    raise
                raise SendfileNotAvailableError("os.sendfile() failed") from error
            if not done:
                break
            sent += done
            await asyncio.sleep(0)
        if not sent:
            os.lseek(source, offset, os.SEEK_SET)  # 3.15's rule on every version
        return sent
    finally:
        if sent:
            os.lseek(source, offset + sent, os.SEEK_SET)
