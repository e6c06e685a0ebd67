"""A datagram protocol that writes down what is called, and what it sends to whom."""

import asyncio
from typing import Any

from tests.helpers.protocols import _Recording


class DatagramRecorder(_Recording, asyncio.DatagramProtocol):
    """Notes 'made', 'datagram' with bytes and address, 'error' with the exception, 'lost'."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Notes 'datagram' with the bytes and where they came from."""
        self.note("datagram", bytes(data), addr)

    def error_received(self, exc: Exception) -> None:
        """Notes 'error' with the exception."""
        self.note("error", exc)

    async def until_datagrams(self, count: int) -> list[bytes]:
        """Waits for so many datagrams, and returns the bytes of all that came."""
        await self.until(lambda: self.count("datagram") >= count)
        return [event[1] for event in self.events if event[0] == "datagram"]

    async def closed(self) -> None:
        """Closes the transport, and waits for the end."""
        self.transport.close()
        await self.until_seen("lost")
        await asyncio.sleep(0)
