"""A TLS server and its clients, on any wire."""

import asyncio
import ssl

import pytest

from tests.helpers.certificates import HOST
from tests.helpers.protocols import Echo, Recorder

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


async def closed(transport, protocol):
    """Closes a connection and waits for its end."""
    transport.close()
    await protocol.until_seen("lost")
    await asyncio.sleep(0.001)


class Serving:
    """A TLS server on the wire given, and clients of it."""

    def __init__(self, wire, certificates, version=None):
        self.wire = wire
        self.certificates = certificates
        self.version = version
        self.made = []

    def factory(self, make):
        """Makes protocols by MAKE and keeps them."""

        def keep():
            self.made.append(make())
            return self.made[-1]

        return keep

    def serving(self, make=Echo, context=None, **options):
        """A context manager: the server."""
        return self.wire.serving(self.factory(make), ssl=context or self.certificates.server(self.version), **options)

    async def connect(self, address, make=Recorder, context=None, **options):
        """A client."""
        options.setdefault("server_hostname", HOST)
        context = context or self.certificates.client(self.version)
        return await self.wire.connect(make, address, ssl=context, **options)
