"""A server through thousands of connections: descriptors and memory are what they were."""

import socket
import struct
from pathlib import Path

import pytest

from tests.probes import kernel, peers
from tests.probes.child import ServerChild


def churn(server: ServerChild, count: int) -> None:
    """Connect, echo, close, so many times; by turns with FIN and with RST."""
    for i in range(count):
        with server.connect() as sock:
            assert server.echoes(sock, b"hello %d" % i)
            if i % 2 and server.kind == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.await_gone()


@pytest.mark.parametrize(("kind", "count"), [("tcp", 2000), ("unix", 2000), ("tls", 150)])
def test_connect_echo_close(kind: str, count: int, tmp_path: Path) -> None:
    with ServerChild(kind, tmp_path) as server:
        churn(server, count // 4)  # what is cached is cached now
        fds, rss = kernel.descriptors(server.pid), kernel.rss_bytes(server.pid)
        churn(server, count)
        assert kernel.descriptors(server.pid) == fds
        assert kernel.rss_bytes(server.pid) - rss < 3 << 20
        assert server.metrics()["ring_bytes"] == 0
        assert server.stop() == 0
        assert server.errors() == ""


def test_a_crowd_that_comes_and_goes(tmp_path: Path) -> None:
    """Three hundred at a time, some of them with unread output when they leave."""
    with ServerChild("tcp", tmp_path) as server:
        before: set[int] = set()
        for i in range(4):
            crowd = [server.connect() for _ in range(300)]
            for sock in crowd:
                sock.sendall(b"x" * 30_000)
            for sock in crowd[::2]:
                assert peers.recv_exact(sock, 30_000) == b"x" * 30_000
            for sock in crowd:
                sock.close()
            server.await_gone()
            if i == 0:
                before = kernel.descriptors(server.pid)
        assert kernel.descriptors(server.pid) == before
        assert server.metrics()["accepted"] == 1200
        assert server.metrics()["ring_bytes"] == 0
        assert server.stop() == 0
        assert server.errors() == ""
