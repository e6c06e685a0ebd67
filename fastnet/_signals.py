"""Signals: Python's handler writes a byte to a socket pair, which ends the wait and says which signal it was.

signal.set_wakeup_fd() belongs to the process and works in the main thread alone. While a loop runs there, the wakeup
descriptor is its own, so that Ctrl-C ends a wait at once whichever thread the kernel gave the signal to.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import inspect
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVarTuple

_Ts = TypeVarTuple("_Ts")


def _noop(signum: int, frame: FrameType | None) -> None:
    """The handler that Python needs to have; the byte in the socket pair does the work."""


def _file_identity(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class SignalCalls(asyncio.AbstractEventLoop):
    """add_signal_handler() and remove_signal_handler(), for EventLoop."""

    _wakeup_reader: socket.socket | None = None
    _wakeup_writer: socket.socket | None = None
    _displaced_wakeup = -1  # the wakeup descriptor in whose place ours is while the loop runs

    def __init__(self) -> None:
        super().__init__()
        self._signal_handlers: dict[int, tuple[Callable[..., object], tuple[Any, ...], contextvars.Context]] = {}

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call callback(*args) in the loop whenever the process gets signal sig; main thread only.

        ValueError for an invalid number, RuntimeError for a signal that cannot be caught or another thread.
        """
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()  # type: ignore[attr-defined]
        writer = self._open_wakeup()
        try:
            # Refused outside the main thread.
            signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        except (ValueError, OSError) as exc:
            raise RuntimeError(str(exc)) from None
        self._signal_handlers[sig] = (callback, args, contextvars.copy_context())
        try:
            signal.signal(sig, _noop)
            signal.siginterrupt(sig, False)
        except OSError as exc:
            del self._signal_handlers[sig]
            self._give_wakeup_back()
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            raise

    def remove_signal_handler(self, sig: int) -> bool:
        """Put the default back: True if there was a handler."""
        self._check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            raise
        self._give_wakeup_back()
        return True

    @staticmethod
    def _check_signal(sig: int) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    # -- the wakeup descriptor --

    def _open_wakeup(self) -> socket.socket:
        if self._wakeup_writer is None:
            self._wakeup_reader, self._wakeup_writer = socket.socketpair()
            self._wakeup_reader.setblocking(False)
            self._wakeup_writer.setblocking(False)
            self._add_reader(self._wakeup_reader.fileno(), self._read_signals)  # type: ignore[attr-defined]
        return self._wakeup_writer

    def _give_wakeup_back(self) -> None:
        """Without handlers, and unless the loop runs, another may have the wakeup descriptor."""
        if not self._signal_handlers and not self.is_running() and self._wakeup_writer is not None:
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, self._wakeup_writer.fileno()):  # another loop's, which runs
                signal.set_wakeup_fd(current, warn_on_full_buffer=False)

    @contextmanager
    def _signals_wake_the_loop(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        writer = self._open_wakeup()
        try:
            before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        except ValueError:  # the main thread of a subinterpreter
            yield
            return
        identity = None
        try:
            identity = _file_identity(before)
            self._displaced_wakeup = before if before != writer.fileno() else -1
            yield
        finally:
            self._displaced_wakeup = -1
            if not self._signal_handlers:
                signal.set_wakeup_fd(-1)
                # Given back, unless its owner closed it meanwhile; the number may be another file's by now.
                if before != writer.fileno() and identity is not None and _file_identity(before) == identity:
                    signal.set_wakeup_fd(before, warn_on_full_buffer=False)

    def _read_signals(self) -> None:
        assert self._wakeup_reader is not None
        while True:
            try:
                data = self._wakeup_reader.recv(4096)
            except InterruptedError:
                continue
            except BlockingIOError:
                return
            for signum in data:
                if (handler := self._signal_handlers.get(signum)) is not None:
                    callback, args, context = handler
                    self.call_soon(callback, *args, context=context)
                elif self._displaced_wakeup >= 0:  # another loop's signal, say: hand it on
                    with suppress(OSError):
                        os.write(self._displaced_wakeup, bytes([signum]))
            if len(data) < 4096:
                return

    def _close_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            if self._signal_handlers:
                raise ValueError("a loop with signal handlers must be closed in the main thread")
        else:
            for sig in list(self._signal_handlers):
                self.remove_signal_handler(sig)
        self._forget_wakeup()

    def _forget_wakeup(self) -> None:
        """Close the socket pair; a forked child does, because a byte in it would be the parent's signal."""
        if self._wakeup_reader is not None and self._wakeup_writer is not None:
            self._remove_reader(self._wakeup_reader.fileno())  # type: ignore[attr-defined]
            self._wakeup_reader.close()
            self._wakeup_writer.close()
            self._wakeup_reader = self._wakeup_writer = None
