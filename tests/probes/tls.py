"""TLS contexts of the tests: one self-signed certificate for localhost, valid from 2020 to 2120."""

import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).parent / "certs" / "localhost.pem"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))
