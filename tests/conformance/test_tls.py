"""TLS over the loop's transports: servers, clients, streams, ALPN, SNI, client certificates, large data."""

import asyncio
import random
import socket
import ssl

import pytest

from tests.helpers.certificates import HOST
from tests.helpers.protocols import Echo, Recorder
from tests.helpers.running import in_thread, run, until
from tests.helpers.tls import VERSIONS, Serving, closed


@VERSIONS
def test_round_trip(loop, wire, certificates, version):
    async def main():
        tls = Serving(wire, certificates, version)
        async with tls.serving() as (_, address):
            transport, protocol = await tls.connect(address)
            for i in range(5):
                transport.write(b"ping%d" % i)
                await protocol.until_received(5 * (i + 1))
            assert protocol.received == b"".join(b"ping%d" % i for i in range(5))
            await closed(transport, protocol)
            assert protocol.kinds in (["made", "data", "lost"], ["made", "data", "eof", "lost"])
            assert protocol.error is None

    run(loop, main())


@VERSIONS
def test_large_data_both_ways(loop, wire, certificates, version):
    data = random.Random(9).randbytes(3_000_000)

    async def main():
        tls = Serving(wire, certificates, version)
        async with tls.serving() as (_, address):
            transport, protocol = await tls.connect(address)
            transport.write(data)
            assert await protocol.until_received(len(data)) == data
            await closed(transport, protocol)

    run(loop, main())


@VERSIONS
def test_end_of_the_server(loop, wire, certificates, version):
    """All bytes come before eof_received, then the connection is closed."""

    async def main():
        def greet(protocol):
            protocol.transport.write(b"x" * 200_000)
            protocol.transport.close()

        tls = Serving(wire, certificates, version)
        async with tls.serving(lambda: Recorder(made=greet)) as (_, address):
            transport, protocol = await tls.connect(address)
            await protocol.until_seen("lost")
            assert len(protocol.received) == 200_000
            assert protocol.kinds == ["made", "data", "eof", "lost"]
            assert protocol.error is None
            await tls.made[0].until_seen("lost")
            await asyncio.sleep(0.001)

    run(loop, main())


def test_no_half_close(loop, wire, certificates):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving() as (_, address):
            transport, protocol = await tls.connect(address)
            assert transport.can_write_eof() is False
            with pytest.raises(NotImplementedError):
                transport.write_eof()
            await closed(transport, protocol)

    run(loop, main())


@pytest.mark.parametrize("end", ["client", "server"])
def test_abort(loop, wire, certificates, end):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving(Recorder) as (_, address):
            transport, protocol = await tls.connect(address)
            await until(lambda: tls.made and tls.made[0].transport)
            (transport if end == "client" else tls.made[0].transport).abort()
            await protocol.until_seen("lost")
            await tls.made[0].until_seen("lost")
            await asyncio.sleep(0.001)

    run(loop, main())


@VERSIONS
def test_extra_info(loop, wire, certificates, version):
    async def main():
        tls = Serving(wire, certificates, version)
        context = certificates.client(version)
        async with tls.serving(Recorder) as (_, address):
            transport, protocol = await tls.connect(address, context=context)
            info = transport.get_extra_info
            assert isinstance(info("ssl_object"), (ssl.SSLObject, ssl.SSLSocket))
            assert info("ssl_object").version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
            assert info("sslcontext") is context
            assert len(info("cipher")) == 3
            assert ("DNS", HOST) in info("peercert")["subjectAltName"]
            assert info("compression") is None
            assert info("socket") is not None
            assert info("peername") is not None
            assert info("no such thing", 42) == 42
            await until(lambda: tls.made and tls.made[0].transport)
            assert not tls.made[0].transport.get_extra_info("peercert")
            assert tls.made[0].transport.get_extra_info("sslcontext") is not None
            await closed(transport, protocol)

    run(loop, main())


@pytest.mark.differs(uvloop="its transports are of a type of their own", run=False)
def test_type(loop, wire, certificates):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving() as (_, address):
            transport, protocol = await tls.connect(address)
            assert isinstance(transport, asyncio.Transport)
            await closed(transport, protocol)

    run(loop, main())


@pytest.mark.parametrize(
    ("server", "client", "expected"),
    [(["h2", "http/1.1"], ["http/1.1", "h2"], "h2"), (["h2"], ["http/1.1"], None), (["h2"], [], None)],
    ids=["common", "none-common", "not-offered"],
)
def test_alpn(loop, wire, certificates, server, client, expected):
    async def main():
        tls = Serving(wire, certificates)
        server_context, client_context = certificates.server(), certificates.client()
        server_context.set_alpn_protocols(server)
        if client:
            client_context.set_alpn_protocols(client)
        async with tls.serving(Recorder, server_context) as (_, address):
            transport, protocol = await tls.connect(address, context=client_context)
            assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == expected
            await until(lambda: tls.made and tls.made[0].transport)
            seen = tls.made[0].transport.get_extra_info("ssl_object").selected_alpn_protocol()
            assert seen == expected
            await closed(transport, protocol)

    run(loop, main())


@VERSIONS
def test_sni(loop, wire, certificates, version):
    """The server's callback sees the name and may change the context."""

    async def main():
        tls = Serving(wire, certificates, version)
        context, other = certificates.server(version), certificates.server(version, other=True)
        names = []

        def choose(ssl_object, name, old):
            names.append(name)
            if name == "other.test":
                ssl_object.context = other

        context.sni_callback = choose
        async with tls.serving(Echo, context) as (_, address):
            for name in (HOST, "other.test"):
                transport, protocol = await tls.connect(address, server_hostname=name)
                assert ("DNS", name) in transport.get_extra_info("peercert")["subjectAltName"]
                transport.write(b"ping")
                await protocol.until_received(4)
                await closed(transport, protocol)
        assert names == [HOST, "other.test"]

    run(loop, main())


@VERSIONS
def test_client_certificates(loop, wire, certificates, version):
    async def main():
        tls = Serving(wire, certificates, version)
        async with tls.serving(Recorder, certificates.mutual_server(version)) as (_, address):
            context = certificates.client(version, certificate=True)
            transport, protocol = await tls.connect(address, context=context)
            await until(lambda: tls.made and tls.made[0].transport)
            names = tls.made[0].transport.get_extra_info("peercert")["subjectAltName"]
            assert ("email", "client@fastnet.test") in names
            await closed(transport, protocol)

    run(loop, main())


@VERSIONS
def test_missing_client_certificate(loop, wire, certificates, errors, version):
    async def main():
        tls = Serving(wire, certificates, version)
        async with tls.serving(Recorder, certificates.mutual_server(version)) as (_, address):
            try:
                transport, protocol = await tls.connect(address)
            except (ssl.SSLError, ConnectionError):
                assert version == ssl.TLSVersion.TLSv1_2
            else:  # with 1.3 the client is done before the server has looked
                await protocol.until_seen("lost")
                assert protocol.error is None or isinstance(protocol.error, (ssl.SSLError, ConnectionError))
            await asyncio.sleep(0.005)
        assert all(protocol.kinds == [] for protocol in tls.made)

    run(loop, main())
    errors.clear()


@VERSIONS
def test_the_standard_librarys_blocking_client(loop, wire, certificates, version):
    async def main():
        tls = Serving(wire, certificates, version)

        def client():
            with socket.socket(wire.family) as sock:
                sock.settimeout(20)
                sock.connect(address)
                with certificates.client(version).wrap_socket(sock, server_hostname=HOST) as secure:
                    secure.sendall(b"x" * 500_000)
                    got = b""
                    while len(got) < 500_000:
                        got += secure.recv(100_000)
                    assert got == b"x" * 500_000

        async with tls.serving() as (_, address):
            await in_thread(client)
            await asyncio.sleep(0.005)

    run(loop, main())


def test_flow_control(loop, wire, certificates):
    """pause_writing and resume_writing of a TLS transport, and pause_reading of its other end."""

    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving(Recorder) as (_, address):
            transport, protocol = await tls.connect(address)
            await until(lambda: tls.made and tls.made[0].transport)
            server = tls.made[0]
            server.transport.pause_reading()
            assert not server.transport.is_reading()
            while not protocol.count("pause"):
                transport.write(b"x" * 500_000)
                await asyncio.sleep(0.001)
            sent = 0
            server.transport.resume_reading()
            await protocol.until_seen("resume")
            transport.write(b"end")
            await server.until(lambda: server.received.endswith(b"end"))
            sent = len(server.received) - 3
            assert sent % 500_000 == 0
            assert server.received[:-3] == b"x" * sent
            await closed(transport, protocol)

    run(loop, main())


def test_asyncio_streams(loop, certificates):
    async def main():
        async def serve(reader, writer):
            while data := await reader.read(10_000):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificates.server())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=certificates.client(), server_hostname=HOST
        )
        writer.write(b"line\n" * 1000)
        await writer.drain()
        assert [await reader.readline() for _ in range(1000)] == [b"line\n"] * 1000
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.005)
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_exceptions_of_the_protocol(loop, wire, certificates, errors):
    async def main():
        def fail(protocol, data):
            raise LookupError("mine")

        tls = Serving(wire, certificates)
        async with tls.serving(lambda: Recorder(data=fail)) as (_, address):
            transport, protocol = await tls.connect(address)
            transport.write(b"hello")
            await tls.made[0].until_seen("lost")
            await protocol.until_seen("lost")
            await asyncio.sleep(0.001)

    run(loop, main())
    assert any(isinstance(context["exception"], LookupError) for context in errors)
    errors.clear()


def test_twenty_clients_at_once(loop, wire, certificates):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving() as (_, address):

            async def client(i):
                transport, protocol = await tls.connect(address)
                data = b"%02d" % i * 10_000
                transport.write(data)
                assert await protocol.until_received(len(data)) == data
                await closed(transport, protocol)

            await asyncio.gather(*(client(i) for i in range(20)))

    run(loop, main())
