"""start_tls: a plain connection becomes a TLS one in flight."""

import asyncio
import ssl

import pytest

from tests.helpers.certificates import HOST
from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import run, until


class Upgrading(Recorder):
    """A server that answers STARTTLS and then speaks TLS."""

    def __init__(self, loop, context):
        super().__init__()
        self.loop = loop
        self.context = context
        self.upgrade = self.secure = None
        self.early = b""

    def data_received(self, data):
        """Upgrades at the first message; echoes afterwards."""
        super().data_received(data)
        if self.upgrade is None:
            assert data == b"STARTTLS\n"
            self.transport.write(b"go\n")
            self.transport.pause_reading()
            self.upgrade = self.loop.create_task(self.start())
        elif self.secure is None:
            self.early += data  # start_tls() has not returned to its caller yet
        else:
            self.secure.write(data)

    async def start(self):
        """Runs the handshake."""
        self.secure = await self.loop.start_tls(self.transport, self, self.context, server_side=True)
        self.secure.write(self.early)


class BufferedClient(BufferedRecorder):
    """A client that gives a view of its buffer: asyncio's TLS slices what it is given."""

    def get_buffer(self, sizehint):
        """As BufferedRecorder's."""
        return memoryview(self.buffer)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("make", [Recorder, BufferedClient], ids=["protocol", "buffered"])
def test_both_ends_upgrade(loop, wire, certificates, version, make):
    async def main():
        made = []

        def factory():
            made.append(Upgrading(loop, certificates.server(version)))
            return made[-1]

        async with wire.serving(factory) as (_, address):
            plain, protocol = await wire.connect(make, address)
            plain.write(b"STARTTLS\n")
            assert await protocol.until_received(3) == b"go\n"
            secure = await loop.start_tls(plain, protocol, certificates.client(version), server_hostname=HOST)
            assert secure.get_extra_info("ssl_object").version() is not None
            assert secure.get_extra_info("peername") == plain.get_extra_info("peername")
            secure.write(b"x" * 100_000)
            await protocol.until_received(100_003)
            assert protocol.received == b"go\n" + b"x" * 100_000
            secure.close()
            await protocol.until_seen("lost")
            assert protocol.count("made") == 1
            await made[0].until_seen("lost")
            await asyncio.sleep(0.001)

    run(loop, main())


def test_failing_handshake(loop, wire, certificates, errors):
    async def main():
        made = []

        def factory():
            made.append(Upgrading(loop, certificates.server()))
            return made[-1]

        async with wire.serving(factory) as (_, address):
            plain, protocol = await wire.connect(Recorder, address)
            plain.write(b"STARTTLS\n")
            await protocol.until_received(3)
            with pytest.raises(ssl.SSLCertVerificationError):
                await loop.start_tls(plain, protocol, certificates.distrustful_client(), server_hostname=HOST)
            await until(lambda: made[0].upgrade.done())
            assert isinstance(made[0].upgrade.exception(), (ssl.SSLError, ConnectionError))
            await asyncio.sleep(0.005)

    run(loop, main())
    errors.clear()


def test_wrong_arguments(loop, wire, certificates):
    async def main():
        async with wire.connected() as connection:
            with pytest.raises(TypeError):
                await loop.start_tls(connection.transport, connection.protocol, True)
            with pytest.raises(TypeError):
                await loop.start_tls(object(), connection.protocol, certificates.client(), server_hostname=HOST)

    run(loop, main())


@pytest.mark.skipif("sys.version_info < (3, 12)", reason="StreamWriter.start_tls serves servers since Python 3.12")
def test_stream_writer(loop, certificates):
    async def main():
        async def serve(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(certificates.server())
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(certificates.client(), server_hostname=HOST)
        writer.write(b"secret\n")
        assert await reader.readline() == b"SECRET\n"
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.005)
        server.close()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.differs(uvloop="returns a transport where asyncio returns None")
def test_on_a_closing_transport(loop, wire, certificates):
    async def main():
        async with wire.connected() as connection:
            connection.transport.close()
            try:
                secure = await loop.start_tls(
                    connection.transport, connection.protocol, certificates.client(), server_hostname=HOST
                )
            except (ConnectionError, ssl.SSLError):
                secure = None
            assert secure is None
            connection.protocol.note("lost", None)

    run(loop, main())
