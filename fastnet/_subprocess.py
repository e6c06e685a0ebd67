"""Subprocesses: asyncio's own transports, and children watched by their pidfd (pidfd_open(2)).

A pidfd becomes readable when its process ends. So there is no handler of SIGCHLD, any thread's loop may start children,
and none of them reaps another's. Where the kernel or a container refuses pidfds, a thread waits for each child.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from asyncio import base_subprocess
from asyncio.log import logger
from contextlib import suppress
from typing import Any

# What a child's status is reported as that somebody else has read, and with it the pid; as asyncio.
_STATUS_LOST = 255


class _SubprocessTransport(base_subprocess.BaseSubprocessTransport):
    """asyncio's, on real pipes."""

    def _start(self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **kwargs: Any) -> None:
        self._proc = subprocess.Popen(
            args, shell=shell, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **kwargs
        )


_SubprocessTransport.__name__ = _SubprocessTransport.__qualname__ = "SubprocessTransport"


def _exit_status(process: subprocess.Popen[bytes]) -> int:
    """Reaps a child that has ended. Popen's lock: its own poll(), in another thread, may be about to do so."""
    with process._waitpid_lock:  # type: ignore[attr-defined]
        if process.returncode is None:
            try:
                process.returncode = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
            except ChildProcessError:
                process.returncode = _STATUS_LOST
                logger.warning(
                    "child process pid %d exit status already read:  will report returncode %d",
                    process.pid,
                    _STATUS_LOST,
                )
        returncode: int = process.returncode
        return returncode


class SubprocessCalls(asyncio.AbstractEventLoop):
    """What BaseEventLoop's subprocess_exec() and subprocess_shell() ask for, for EventLoop."""

    def __init__(self) -> None:
        super().__init__()
        self._pidfds: set[int] = set()

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> _SubprocessTransport:
        connected = self.create_future()
        transport = _SubprocessTransport(
            self,
            protocol,
            args,
            shell,
            stdin,
            stdout,
            stderr,
            bufsize,
            waiter=connected,
            extra=extra,
            **kwargs,
        )
        ended = self._watch_child(transport)
        try:
            await connected
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()  # kills it
            await asyncio.shield(ended)
            raise
        return transport

    def _watch_child(self, transport: Any) -> asyncio.Future[None]:
        """Tells the transport when its process ends; a future that is done then."""
        process: subprocess.Popen[bytes] = transport._proc
        ended = self.create_future()
        pidfd = -1

        def tell() -> None:
            if pidfd >= 0:
                self._remove_reader(pidfd)  # type: ignore[attr-defined]
                self._forget_pidfd(pidfd)
            returncode = _exit_status(process)
            if not ended.done():
                ended.set_result(None)
            transport._process_exited(returncode)

        try:
            pidfd = os.pidfd_open(process.pid)
            self._pidfds.add(pidfd)
            self._add_reader(pidfd, tell)  # type: ignore[attr-defined]
        except OSError:  # no pidfds here, or no descriptor left
            self._forget_pidfd(pidfd)
            pidfd = -1
            self._wait_in_thread(process, tell)
        return ended

    def _wait_in_thread(self, process: subprocess.Popen[bytes], tell: Any) -> None:
        def wait() -> None:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(tell)

        threading.Thread(target=wait, name=f"fastnet-wait-{process.pid}", daemon=True).start()

    def _forget_pidfd(self, pidfd: int) -> None:
        if pidfd in self._pidfds:
            self._pidfds.remove(pidfd)
            os.close(pidfd)

    def _forget_pidfds(self) -> None:
        """The loop closes: nobody will be told of the children that still live."""
        for pidfd in tuple(self._pidfds):
            self._forget_pidfd(pidfd)
