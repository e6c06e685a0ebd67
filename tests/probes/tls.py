"""TLS contexts of the tests: one self-signed certificate for localhost, valid from 2020 to 2120."""

import socket
import ssl
import traceback
import warnings
from pathlib import Path

CERTIFICATE = Path(__file__).parent / "certs" / "localhost.pem"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def handshake(sock: socket.socket) -> ssl.SSLSocket:
    """A blocking handshake; the socket is closed where it fails."""
    try:
        return client_context().wrap_socket(sock, server_hostname="localhost")
    except OSError as error:
        sock.close()
        with warnings.catch_warnings():  # Python 3.12.1 leaves the half-made SSLSocket to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            traceback.clear_frames(error.__traceback__)
        raise
