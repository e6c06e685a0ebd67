from asyncio import AbstractServer, BaseProtocol, Future, Handle, TimerHandle, Transport
from collections.abc import Callable
from contextvars import Context
from socket import socket
from typing import Any, TypeVarTuple

from _typeshed import FileDescriptorLike
from typing_extensions import disjoint_base

from fastnet_c.acceptor import Acceptor
from fastnet_c.reactor import Reactor

_Ts = TypeVarTuple("_Ts")

def live_objects() -> dict[str, int]: ...

@disjoint_base
class Loop(Reactor):
    def __new__(cls, *args: object, **kwargs: object) -> Loop: ...
    def __setattr__(self, name: str, value: Any, /) -> None: ...
    def __delattr__(self, name: str, /) -> None: ...

    # The clock.
    def time(self) -> float: ...

    # Callbacks.
    def call_soon(self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None) -> Handle: ...
    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Handle: ...
    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> TimerHandle: ...
    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> TimerHandle: ...

    # Running.
    def stop(self) -> None: ...
    def is_closed(self) -> bool: ...
    def get_debug(self) -> bool: ...
    def metrics(self) -> dict[str, int]: ...
    _stopping: bool
    _closed: bool
    _debug: bool
    def _run_once(self) -> None: ...
    def _check_closed(self) -> None: ...
    def _close_core(self) -> None: ...

    # Descriptors.
    def add_reader(self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None: ...
    def remove_reader(self, fd: FileDescriptorLike) -> bool: ...
    def add_writer(self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None: ...
    def remove_writer(self, fd: FileDescriptorLike) -> bool: ...
    def _check_not_a_transport(self, fd: int) -> None: ...
    def _add_reader(
        self,
        fd: FileDescriptorLike,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> Handle: ...
    def _remove_reader(self, fd: FileDescriptorLike) -> bool: ...
    def _add_writer(
        self,
        fd: FileDescriptorLike,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> Handle: ...
    def _remove_writer(self, fd: FileDescriptorLike) -> bool: ...

    # Transports and listeners.
    def _stream_transport(
        self,
        sock: socket,
        protocol: BaseProtocol,
        waiter: Future[None] | None,
        extra: dict[str, Any] | None,
        server: AbstractServer | None,
        context: Context | None,
    ) -> Transport: ...
    def _listen(
        self,
        factory: Callable[[], BaseProtocol],
        sock: socket,
        server: AbstractServer | None,
        backlog: int,
        context: Context | None,
    ) -> Acceptor: ...
    def _stop_serving(self, sock: socket) -> None: ...
