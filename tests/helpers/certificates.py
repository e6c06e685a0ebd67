"""A certificate authority and the TLS contexts that the tests need, made once a session."""

import ssl

import trustme

HOST = "fastnet.test"


class Certificates:
    """A CA, a server certificate for HOST and 127.0.0.1, a client certificate, and a CA that nobody trusts."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.stranger = trustme.CA()
        self.server_certificate = self.authority.issue_cert(HOST, "127.0.0.1", "localhost")
        self.other_certificate = self.authority.issue_cert("other.test")
        self.client_certificate = self.authority.issue_cert("client@fastnet.test")

    def server(self, version: ssl.TLSVersion | None = None, *, other: bool = False) -> ssl.SSLContext:
        """A server's context; OTHER takes the certificate of other.test."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (self.other_certificate if other else self.server_certificate).configure_cert(context)
        return self._limited(context, version)

    def mutual_server(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A server's context that demands a client certificate."""
        context = self.server(version)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, version: ssl.TLSVersion | None = None, *, certificate: bool = False) -> ssl.SSLContext:
        """A client's context that trusts the authority; with CERTIFICATE it shows one of its own."""
        # Not create_default_context(): that reads the system's authorities, 20 ms each time.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if certificate:
            self.client_certificate.configure_cert(context)
        return self._limited(context, version)

    def distrustful_client(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client's context that trusts another authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.stranger.configure_trust(context)
        return self._limited(context, version)

    @staticmethod
    def _limited(context: ssl.SSLContext, version: ssl.TLSVersion | None) -> ssl.SSLContext:
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context
