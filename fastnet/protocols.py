"""The protocol classes: asyncio's, with the optional goodbye()."""

from __future__ import annotations

import asyncio

__all__ = ["BufferedProtocol", "DatagramProtocol", "Protocol"]


class Protocol(asyncio.Protocol):
    """A protocol of a byte stream: data_received(bytes) (asyncio.Protocol)."""

    __slots__ = ()

    def goodbye(self, reason: str) -> bytes | None:
        """The last bytes for a peer whose connection the server is about to end, or None for none.

        reason names the limit that the peer ran into, or 'drain'. Called at most once a connection, before
        connection_lost(); the peer then has a grace time to close first.
        """
        return None


class BufferedProtocol(asyncio.BufferedProtocol):
    """A protocol of a byte stream that owns the buffer: get_buffer(), buffer_updated() (asyncio.BufferedProtocol)."""

    __slots__ = ()

    def goodbye(self, reason: str) -> bytes | None:
        """See Protocol.goodbye()."""
        return None


class DatagramProtocol(asyncio.DatagramProtocol):
    """A protocol of datagrams: datagram_received(bytes, address), error_received(OSError)."""

    __slots__ = ()
