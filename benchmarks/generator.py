"""The load generator: C, compiled on first use, run as a process of its own."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = Path(__file__).resolve().parent / "loadgen"
BUILD = ROOT / "build" / "benchmarks"
FLAGS = ("-O2", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra")


class GeneratorError(Exception):
    """The generator could not be built or run."""


class LoadFailed(Exception):
    """The server did not do what an echo server does. `kind` is the generator's word for it (see loadgen/failure.h)."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind.replace('_', ' ')}: {text}")
        self.kind = kind


@dataclass(frozen=True)
class Load:
    """What the generator shall do; see `loadgen --help`."""

    connections: int = 50
    size_bytes: int = 1024
    depth: int = 1
    seconds: float = 1.0
    warmup_seconds: float = 0.0
    messages: int = 0  # instead of seconds
    lockstep: bool = False
    lines: bool = False
    verify_every: int = 1
    stall_seconds: float = 10.0
    core: int | None = None

    def arguments(self) -> list[str]:
        words = [f"--connections={self.connections}", f"--size={self.size_bytes}", f"--depth={self.depth}"]
        words += [f"--verify-every={self.verify_every}", f"--stall={self.stall_seconds}"]
        words += [f"--messages={self.messages}"] if self.messages else [f"--seconds={self.seconds}"]
        words += [f"--warmup={self.warmup_seconds}"] if self.warmup_seconds else []
        words += ["--lockstep"] if self.lockstep else []
        words += ["--lines"] if self.lines else []
        words += [f"--cpu={self.core}"] if self.core is not None else []
        return words


def _fingerprint() -> str:
    """Names the build: another source, flag, machine or C library (as in a container on the same tree) is another."""
    digest = hashlib.sha256(" ".join((*FLAGS, platform.machine(), *platform.libc_ver())).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def build() -> Path:
    """The generator's path, compiling it if this source has not been compiled yet."""
    target = BUILD / f"loadgen-{_fingerprint()}"
    if target.exists():
        return target
    compiler = os.environ.get("CC") or "gcc"
    if shutil.which(compiler.split()[0]) is None:
        raise GeneratorError(
            f"the load generator is written in C and {compiler!r} is not installed: "
            "install gcc (Debian: apt-get install gcc libc6-dev), or name a compiler in CC"
        )
    BUILD.mkdir(parents=True, exist_ok=True)
    # Under a lock, so that several harnesses compile it once, and renamed when whole.
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            unfinished = target.with_suffix(".new")
            command = [*compiler.split(), *FLAGS, "-o", str(unfinished), *map(str, sorted(SOURCES.glob("*.c")))]
            compiled = subprocess.run(command, capture_output=True, text=True)
            if compiled.returncode != 0:
                raise GeneratorError(f"{compiler} could not compile the load generator:\n{compiled.stderr.strip()}")
            unfinished.rename(target)
    return target


def run(load: Load, port: int, server_pid: int | None = None) -> dict[str, Any]:
    """Loads the server on a port and returns what the generator reports; raises LoadFailed when it was no echo."""
    command = [str(build()), f"--port={port}", *load.arguments()]
    if server_pid is not None:
        command.append(f"--server-pid={server_pid}")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate()
    finally:
        process.kill()  # Ctrl-C; does nothing to one that has ended
        process.wait()
    try:
        report: dict[str, Any] = json.loads(output)
    except ValueError:
        raise GeneratorError(f"the load generator ended with {process.returncode}: {errors.strip()}") from None
    if "failure" in report:
        raise LoadFailed(report["failure"], report["text"])
    return report
