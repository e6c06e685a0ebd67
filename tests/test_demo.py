"""The demonstration of `make run`: it serves both, ends cleanly, and says what to do when a port is taken."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# A demo that has not ended by then hangs.
DEADLINE_SECONDS = 30
# It ends within a second; the rest is for a machine that has other things to do.
END_SECONDS = 8


@contextmanager
def demo(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running demo and what it printed when it was ready."""
    # Told of sockets and loops that it leaves open.
    command = [sys.executable, "-W", "always::ResourceWarning", "-m", "fastnet.demo", *arguments]
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
            began = time.monotonic()
            process.send_signal(number)
            output, _ = process.communicate(timeout=DEADLINE_SECONDS)
            took_seconds = time.monotonic() - began
        # No traceback, no warning, no error of a descriptor or a connection.
        assert (process.returncode, output) == (0, "fastnet.demo: closing\n")
        assert took_seconds < END_SECONDS


def test_ends_with_a_client_that_does_not_read() -> None:
    """A client that sends and never reads has the echo's output wait: that neither delays the end nor is told of."""
    with demo("--tcp-port", "0", "--http-port", "0") as (process, text):
        with socket.create_connection(("127.0.0.1", port_of(text, "TCP echo"))) as client:
            client.settimeout(0.5)
            with pytest.raises(TimeoutError):
                while True:
                    client.sendall(bytes(1 << 16))
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=DEADLINE_SECONDS)
            took_seconds = time.monotonic() - began
    assert (process.returncode, output) == (0, "fastnet.demo: closing\n")
    assert took_seconds < END_SECONDS


def refused(*arguments: str) -> tuple[int, str]:
    """The exit status and the message of a demo that does not start."""
    command = [sys.executable, "-m", "fastnet.demo", *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_SECONDS)
    return done.returncode, done.stderr


def test_says_which_port_is_in_use() -> None:
    """The port, and the command that takes a free one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, message = refused(f"--tcp-port={port}", "--http-port=0")
        assert status == 1
        match = re.fullmatch(rf"fastnet\.demo: port {port} is in use\. Try: make run TCP_PORT=(\d+)\n", message)
        assert match, message
        assert int(match[1]) != port


def test_says_of_both_ports_at_once() -> None:
    """One message, one command that gets past both."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        tcp, http = one.getsockname()[1], two.getsockname()[1]
        status, message = refused(f"--tcp-port={tcp}", f"--http-port={http}")
    assert status == 1
    assert f"port {tcp} is in use and port {http} is in use. Try: make run TCP_PORT=" in message
    assert " HTTP_PORT=" in message


@pytest.mark.parametrize("text", ["-1", "65536", "abc", "", "9000.5", "١", "9_0"])
@pytest.mark.parametrize("option", ["TCP_PORT", "HTTP_PORT"])
def test_what_is_no_port(option: str, text: str) -> None:
    """The message names the argument, and what to give instead, in one sentence each."""
    flag = "--" + option.lower().replace("_", "-")
    status, message = refused(f"{flag}={text}")
    given = f"{text!r} is no port" if text else "the port is empty"
    remedy = "Give a number from 1 to 65535, or 0 for any free port, as in: make run"
    assert status == 2
    assert message.startswith(f"fastnet.demo: {option} ({flag}): {given}. {remedy} {option}=")
    assert message.count("\n") == 1


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
    assert "pip install uvicorn httptools" in text
