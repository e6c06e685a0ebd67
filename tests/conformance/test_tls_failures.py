"""TLS that fails: certificates, names, versions, peers that speak no TLS, stall or vanish."""

import asyncio
import socket
import ssl

import pytest

from tests.helpers.certificates import HOST
from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run
from tests.helpers.tls import Serving, closed


async def still_serves(tls, address):
    """A client that does it right is served, after one that did not."""
    await asyncio.sleep(0.005)
    transport, protocol = await tls.connect(address)
    await closed(transport, protocol)


def one_was_connected(tls):
    """Whether of the server's protocols exactly one has heard of its connection."""
    return sum(bool(protocol.kinds) for protocol in tls.made) == 1


def test_untrusted_authority(loop, wire, certificates, errors):
    """The client refuses; the server's protocol never hears of the connection; both go on."""

    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving(Recorder) as (_, address):
            with pytest.raises(ssl.SSLCertVerificationError):
                await tls.connect(address, context=certificates.distrustful_client())
            await still_serves(tls, address)
        assert one_was_connected(tls)

    run(loop, main())
    errors.clear()


def test_wrong_host_name(loop, wire, certificates, errors):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving(Recorder) as (_, address):
            with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
                await tls.connect(address, server_hostname="wrong.test")
            await asyncio.sleep(0.005)

    run(loop, main())
    errors.clear()


def test_no_common_version(loop, wire, certificates, errors):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving(Recorder, certificates.server(ssl.TLSVersion.TLSv1_3)) as (_, address):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await tls.connect(address, context=certificates.client(ssl.TLSVersion.TLSv1_2))
            await asyncio.sleep(0.005)

    run(loop, main())
    errors.clear()


@pytest.mark.parametrize("what", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b"\0" * 500, b""])
def test_a_client_that_speaks_no_tls(loop, wire, certificates, errors, what):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving(Recorder) as (_, address):
            peer = wire.peer(address)
            if what:
                peer.send(what)
            peer.end()
            try:
                await peer.receive_to_end()
            except ConnectionResetError:
                pass
            peer.close()
            await still_serves(tls, address)
        assert one_was_connected(tls)

    run(loop, main())
    errors.clear()


def test_handshake_timeout_of_the_server(loop, wire, certificates, errors):
    async def main():
        tls = Serving(wire, certificates)
        async with tls.serving(Recorder, ssl_handshake_timeout=0.02) as (_, address):
            peer = wire.peer(address)
            try:
                assert await peer.receive_to_end() == b""
            except ConnectionResetError:
                pass
            peer.close()
            await asyncio.sleep(0.001)

    run(loop, main())
    errors.clear()


def test_handshake_timeout_of_the_client(loop, wire, certificates):
    async def main():
        tls = Serving(wire, certificates)
        with wire.listening() as listener:
            with pytest.raises(ConnectionAbortedError, match="handshake"):
                await tls.connect(listener.getsockname(), ssl_handshake_timeout=0.02)
            await asyncio.sleep(0.001)

    run(loop, main())


def test_a_peer_that_drops_the_connection_without_close_notify(loop, wire, certificates):
    """The end of the stream comes, and the connection is lost."""

    async def main():
        tls = Serving(wire, certificates)

        def client():
            with socket.socket(wire.family) as sock:
                sock.settimeout(20)
                sock.connect(address)
                with certificates.client().wrap_socket(sock, server_hostname=HOST, suppress_ragged_eofs=True) as secure:
                    secure.sendall(b"hello")
                    assert secure.recv(5) == b"hello"
                    socket.socket(fileno=secure.detach()).close()

        def answer(protocol, data):
            protocol.transport.write(data)

        async with tls.serving(lambda: Recorder(data=answer)) as (_, address):
            await in_thread(client)
            await tls.made[0].until_seen("lost")
            assert tls.made[0].kinds in (["made", "data", "eof", "lost"], ["made", "data", "lost"])
            await asyncio.sleep(0.001)

    run(loop, main())
