"""The types that fastnet's transports report: isinstance(transport, fastnet.Transport) is true for each stream
transport on a socket, isinstance(transport, fastnet.DatagramTransport) for each datagram transport. TLS transports,
which stand on a stream transport, are asyncio's own.

The transports themselves are C objects; their behaviour is documented here. Both types are asyncio's, with more
methods, and may be subclassed as asyncio's may.
"""

from __future__ import annotations

import asyncio
from asyncio import selector_events, transports

from fastnet_c.stream import set_public_type

__all__ = ["DatagramTransport", "Transport"]


class Transport(asyncio.Transport):
    """A stream transport on a TCP or Unix socket (asyncio.Transport), with two more ways to end.

    `get_extra_info()` knows 'socket' (asyncio.trsock.TransportSocket), 'sockname' and 'peername'.
    """

    __slots__ = ()

    def reset(self) -> None:
        """Close at once with RST (socket(7), SO_LINGER with 0 seconds).

        What was not sent, and what the peer has not read yet, is lost; no TIME_WAIT stays behind.
        connection_lost(None) follows. On a Unix socket it is abort().
        """
        raise NotImplementedError

    def shutdown_read(self) -> None:
        """End reading for good, in this direction alone (shutdown(2), SHUT_RD); writing goes on.

        The protocol gets neither more data nor eof_received(). TLS transports cannot do this.
        """
        raise NotImplementedError


class DatagramTransport(asyncio.DatagramTransport):
    """A transport on a UDP or Unix datagram socket (asyncio.DatagramTransport)."""

    __slots__ = ()


class _DatagramTransport(selector_events._SelectorDatagramTransport, DatagramTransport):  # type: ignore[name-defined,misc]
    """asyncio's, on the loop's descriptor watchers."""

    def __repr__(self) -> str:
        if self._sock is None:
            return "<fastnet.DatagramTransport closed>"
        state = "closing" if self.is_closing() else "open"
        return f"<fastnet.DatagramTransport {state} fd={self._sock_fd} bufsize={self.get_write_buffer_size()}>"


class _StreamTransport(Transport, transports._FlowControlMixin):
    """What a stream transport says its class is. asyncio's sendfile asks for the mixin."""

    __slots__ = ()


_DatagramTransport.__name__ = _DatagramTransport.__qualname__ = "DatagramTransport"
_StreamTransport.__name__ = _StreamTransport.__qualname__ = "Transport"
set_public_type(_StreamTransport)
