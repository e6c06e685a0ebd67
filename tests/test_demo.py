"""The demonstration of `make run`: it serves both, ends cleanly, and says what to do when a port is taken."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# A demo that has not ended by then hangs.
DEADLINE_SECONDS = 30


@contextmanager
def demo(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running demo and what it printed when it was ready."""
    command = [sys.executable, "-m", "fastnet.demo", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        yield process, "".join(process.stdout.readline() for _ in range(3))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def port_of(text: str, service: str) -> int:
    """The port that the demo announced."""
    match = re.search(rf"{service}\s+(?:http://)?127\.0\.0\.1:(\d+)", text)
    assert match, text
    return int(match[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_and_ends_with_clients_connected(number: signal.Signals) -> None:
    """Echo and page are served; a signal ends it, status 0, though clients of both stay connected."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    with demo("--tcp-port", "0", "--http-port", "0") as (process, text):
        echo = socket.create_connection(("127.0.0.1", port_of(text, "TCP echo")))
        echo.sendall(b"hello")
        assert echo.recv(100) == b"hello"
        http_port = port_of(text, "HTTP page")
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/") as response:
            assert b"fastnet.loop.EventLoop" in response.read()
        kept = socket.create_connection(("127.0.0.1", http_port))
        kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(12) == b"HTTP/1.1 200"
        unfinished = socket.create_connection(("127.0.0.1", http_port))
        unfinished.sendall(b"GET / HTTP/1.1\r\n")
        with echo, kept, unfinished:
            process.send_signal(number)
            output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, output) == (0, "fastnet.demo: closing\n")


def test_says_which_port_is_in_use() -> None:
    """The port, and how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "fastnet.demo", "--tcp-port", str(port), "--http-port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
    assert done.returncode == 1
    assert f"port {port} is in use. Choose another one: make run TCP_PORT=" in done.stderr


def test_without_uvicorn_serves_the_echo_alone() -> None:
    """And says how to install it."""
    code = "import sys; sys.modules['uvicorn'] = None; import fastnet.demo; fastnet.demo.main(['--tcp-port', '0'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    with process.stdout:
        text = "".join(process.stdout.readline() for _ in range(3))
        with socket.create_connection(("127.0.0.1", port_of(text, "TCP echo"))) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
        process.terminate()
        assert process.wait(timeout=DEADLINE_SECONDS) == 0
    assert "pip install 'fastnet-loop[server]'" in text
