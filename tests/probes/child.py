"""Starts programs of the tests in processes of their own and talks to them; none outlives its `with` block."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.probes import peers, tls

DEADLINE_S = 30.0


def environment() -> dict[str, str]:
    """The environment in which a child finds the packages that this process finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONFAULTHANDLER": "1"}


def run_script(script: str, *args: str, seconds: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
    """Run Python source in a process of its own; the test looks at its exit status and output."""
    command = [sys.executable, "-W", "error", "-c", script, *args]
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes that is killed at the end of the block if it is still there."""
    process = subprocess.Popen(
        list(command), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def read_line(process: subprocess.Popen[str], seconds: float = DEADLINE_S) -> str:
    """One line of the process's output, which must come before the deadline."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    if not ready:
        raise AssertionError(f"no line from {process.args!r} within {seconds:g} s")
    return process.stdout.readline()


class ServerChild:
    """An echo server in its own process (probes/server_child.py); `kind` is tcp, unix or tls."""

    def __init__(self, kind: str, folder: Path, wrapper: Sequence[str] = ()) -> None:
        self.kind = kind
        self.stderr_path = folder / f"server-{kind}.err"
        self.stack = contextlib.ExitStack()
        command = [*wrapper, sys.executable, "-m", "tests.probes.server_child", kind, str(folder / "s")]
        with self.stderr_path.open("w") as stderr:
            self.process = self.stack.enter_context(started(command, stderr=stderr))
        ready = self._answer()
        self.pid: int = ready["pid"]
        self.ready_time: float = ready["time"]
        self.address: Any = ready["address"] if kind == "unix" else tuple(ready["address"])

    def __enter__(self) -> "ServerChild":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)  # under strace the process we started is strace, not this one
        self.stack.close()

    def _answer(self) -> Any:
        line = read_line(self.process)
        if not line:
            raise AssertionError(f"the server ended: {self.errors()}")
        return json.loads(line)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Run one command in the child's control thread and return its result."""
        self._command(do, **arguments)
        return self._answer()

    def _command(self, do: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def metrics(self) -> dict[str, int]:
        result: dict[str, int] = self.ask("metrics")
        return result

    def await_gone(self) -> None:
        """Wait until the server has closed every connection."""
        peers.until(lambda: self.metrics()["connections"] == 0, "the server closes those who left")

    def errors(self) -> str:
        """What the child has logged."""
        return self.stderr_path.read_text()

    def stop(self) -> int:
        """End the server in good order; its exit status."""
        self._command("stop")  # the process ends instead of answering
        return self.process.wait(DEADLINE_S)

    def connect(self) -> socket.socket:
        """A connected blocking socket, after the handshake of TLS."""
        family = socket.AF_UNIX if self.kind == "unix" else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(peers.DEADLINE_S)
            sock.connect(self.address)
            if self.kind == "tls":
                sock = tls.handshake(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def echoes(self, sock: socket.socket, message: bytes = b"ping") -> bool:
        """Whether the server answers on this connection; False where it closed it."""
        try:
            sock.sendall(message)
            return peers.recv_exact(sock, len(message)) == message
        except (ConnectionError, BrokenPipeError):
            return False

    def served_within(self, seconds: float) -> float:
        """Connect anew until a connection is served; the time that took."""
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            with contextlib.suppress(OSError), self.connect() as sock:
                if self.echoes(sock):
                    return time.monotonic() - start
            time.sleep(0.005)
        raise AssertionError(f"no new connection is served within {seconds:g} s; the server logged: {self.errors()}")
