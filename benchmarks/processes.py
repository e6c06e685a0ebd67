"""Server processes: started, asked for their port, ended."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from benchmarks import generator
from benchmarks.cases import Case
from benchmarks.generator import ROOT, Load

START_SECONDS = 30.0
END_SECONDS = 20.0


class ServerFailed(Exception):
    """A server process that did not start, crashed, or did not end; the text says which."""


def child_environment() -> dict[str, str]:
    """The environment of a measured process.

    Hashes of strings, and with them collisions in dicts, are the same in every run; nothing else is changed.
    """
    return {**os.environ, "PYTHONHASHSEED": "0"}


class ServerProcess:
    """`benchmarks.servers` in a process of its own. As a context manager it never leaves the process behind."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        under: Sequence[str] = (),
        start_seconds: float = START_SECONDS,
        end_seconds: float = END_SECONDS,
    ) -> None:
        self._command = [*under, sys.executable, "-m", "benchmarks.servers", *arguments]
        self._start_seconds = start_seconds
        self._end_seconds = end_seconds
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> "ServerProcess":
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        try:
            self.facts = self._read_line(self._start_seconds)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.facts["port"])

    def finish(self) -> dict[str, Any]:
        """Waits for the end that the server comes to when its clients have left; returns its last words."""
        last_words = self._read_line(self._end_seconds)
        try:
            self._process.wait(self._end_seconds)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"did not exit in {self._end_seconds:g} s after its last client left") from None
        if self._process.returncode != 0:
            raise ServerFailed(self._why_it_ended())
        return last_words

    def crash(self) -> str | None:
        """Why the process has ended, if it has done so on its own within a second; a crash cuts the clients off."""
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            return None
        return self._why_it_ended() if self._process.returncode != 0 else None

    def _read_line(self, patience_seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + patience_seconds
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise ServerFailed(f"said nothing in {patience_seconds:g} s")
            byte = os.read(descriptor, 1)
            if not byte:
                self._process.wait()
                raise ServerFailed(self._why_it_ended())
            line += byte
        facts: dict[str, Any] = json.loads(line)
        return facts

    def _why_it_ended(self) -> str:
        code = self._process.returncode
        end = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        self._errors.seek(0)
        said = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{said[-1].strip()} ({end})" if said else end


def try_echo(case: Case, loop: str) -> dict[str, Any]:
    """Shows that a loop can serve a case at all, by a few messages; returns what its server says of itself."""
    load = Load(connections=2, size_bytes=case.size_bytes, messages=20, lines=case.lines, depth=case.depth)
    with ServerProcess([f"--loop={loop}", f"--style={case.style}", f"--size={case.size_bytes}"]) as server:
        generator.run(load, server.port)
        server.finish()
        return server.facts


def try_operation(operation: str, loop: str) -> None:
    """Shows that a loop can do an operation at all."""
    command = [sys.executable, "-m", "benchmarks.operations"]
    command += [f"--loop={loop}", f"--operation={operation}", "--count=100"]
    done = subprocess.run(
        command, cwd=ROOT, env=child_environment(), capture_output=True, text=True, timeout=START_SECONDS
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no word"]
        raise ServerFailed(f"{said[-1]} (exit status {done.returncode})")
