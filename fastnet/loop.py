"""EventLoop: the core's Loop on top of asyncio.BaseEventLoop.

What is hot is in C (fastnet_c.loop). Of the cold API, BaseEventLoop gives what does not depend on the way of waiting;
the modules _signals, _sockcalls, _sendfile, _unix and _subprocess give the rest.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from asyncio import constants, sslproto, unix_events
from collections.abc import Callable
from contextvars import Context
from socket import socket
from typing import Any
from weakref import WeakValueDictionary

from fastnet._sendfile import SendfileCalls
from fastnet._signals import SignalCalls
from fastnet._sockcalls import SocketCalls
from fastnet._subprocess import SubprocessCalls
from fastnet._unix import UnixCalls
from fastnet.transports import _DatagramTransport
from fastnet_c.loop import Loop

__all__ = ["EventLoop", "new_event_loop"]


class EventLoop(SignalCalls, SubprocessCalls, SocketCalls, SendfileCalls, UnixCalls, Loop, asyncio.BaseEventLoop):
    """An asyncio event loop on epoll, for Linux; everything asyncio documents, and metrics().

    Run it by fastnet.run(main()), asyncio.Runner(loop_factory=fastnet.new_event_loop), or as any other loop.
    """

    def __init__(self) -> None:
        super().__init__()
        # asyncio's own datagram and pipe transports enter themselves here.
        self._transports: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def __del__(self) -> None:
        # Where __init__() was not run to its end (wrong arguments, no descriptor left), that error says it all.
        if hasattr(self, "_transports"):
            super().__del__()

    def run_forever(self) -> None:
        """Run until stop() is called."""
        self._check_closed()
        self._check_running()  # type: ignore[attr-defined]
        if self._renew_after_fork():
            self._forget_wakeup()
        with self._signals_wake_the_loop():
            super().run_forever()

    def close(self) -> None:
        """Close the loop, its listeners and its epoll descriptor; it must not be running."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        self._close_signals()
        self._forget_pidfds()
        super().close()
        self._close_core()

    # -- transports: the hooks that BaseEventLoop calls --

    async def _create_connection_transport(self, sock: socket, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._create_connection_transport(sock, *args, **kwargs)  # type: ignore[misc]
        except BaseException:
            # 3.15's rule on every version. A transport that was made keeps the descriptor until its own end.
            sock.close()
            raise

    def _make_socket_transport(
        self,
        sock: socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
        context: Context | None = None,
    ) -> asyncio.Transport:
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        return self._stream_transport(sock, protocol, waiter, extra, server, context)

    def _make_ssl_transport(
        self,
        rawsock: socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl_module.SSLContext | None,
        waiter: asyncio.Future[None] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        call_connection_made: bool = True,
        context: Context | None = None,
    ) -> asyncio.Transport:
        ssl_protocol = sslproto.SSLProtocol(
            self,
            protocol,
            sslcontext,  # type: ignore[arg-type]
            waiter,  # type: ignore[arg-type]
            server_side,
            server_hostname,
            call_connection_made,
            ssl_handshake_timeout=ssl_handshake_timeout,  # type: ignore[arg-type]
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server, context=context)
        return ssl_protocol._app_transport

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket,
        sslcontext: ssl_module.SSLContext | None = None,
        server: asyncio.AbstractServer | None = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
        context: Context | None = None,
    ) -> None:
        factory = protocol_factory
        if sslcontext is not None:

            def factory() -> asyncio.BaseProtocol:
                return sslproto.SSLProtocol(
                    self,
                    protocol_factory(),
                    sslcontext,
                    self._handshake_waiter(),  # type: ignore[arg-type]
                    server_side=True,
                    ssl_handshake_timeout=ssl_handshake_timeout,  # type: ignore[arg-type]
                    ssl_shutdown_timeout=ssl_shutdown_timeout,
                )

        self._listen(factory, sock, server, backlog, context)

    def _handshake_waiter(self) -> asyncio.Future[None] | None:
        """In debug mode, as asyncio, report a handshake that fails; else nobody waits for it."""
        if not self.get_debug():
            return None

        def report(waiter: asyncio.Future[None]) -> None:
            if not waiter.cancelled() and (error := waiter.exception()) is not None:
                message = "Error on transport creation for incoming connection"
                self.call_exception_handler({"message": message, "exception": error})

        waiter = self.create_future()
        waiter.add_done_callback(report)
        return waiter

    # asyncio's own transports, on our descriptor watchers.

    def _make_datagram_transport(  # type: ignore[no-untyped-def]
        self, sock, protocol, address=None, waiter=None, extra=None, **kwargs
    ):
        return _DatagramTransport(self, sock, protocol, address, waiter, extra)  # type: ignore[call-arg,arg-type]

    def _make_read_pipe_transport(self, pipe, protocol, waiter=None, extra=None):  # type: ignore[no-untyped-def]
        return unix_events._UnixReadPipeTransport(self, pipe, protocol, waiter, extra)  # type: ignore[attr-defined]

    def _make_write_pipe_transport(self, pipe, protocol, waiter=None, extra=None):  # type: ignore[no-untyped-def]
        return unix_events._UnixWritePipeTransport(self, pipe, protocol, waiter, extra)  # type: ignore[attr-defined]


def new_event_loop() -> EventLoop:
    """A new event loop, as asyncio.Runner(loop_factory=) and `uvicorn --loop` want it."""
    return EventLoop()
