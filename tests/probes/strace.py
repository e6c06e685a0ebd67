"""Runs a process under strace, and reads the record: which system calls it made, when, and with what result."""

import functools
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_START = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*)")
_RESUMED = re.compile(r"^(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)")
_RESULT = re.compile(r"\) += (-?\d+|\?)(?: ([A-Z]\w+))?")


@functools.cache
def missing() -> str:
    """Why strace cannot be used here; empty where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=epoll_pwait2", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 and not done.stderr else f"strace does not work here: {done.stderr[-100:]}"


def wrapper(log: Path, trace: str, *injections: str) -> list[str]:
    """The command line to put before a program: `trace` lists system calls, injections are as in -e inject=."""
    command = ["strace", "-f", "-qq", "-ttt", "--seccomp-bpf", "-o", str(log), "-e", f"trace={trace}"]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    return command


@dataclass
class Call:
    """One system call: when it began (seconds since 1970), by which thread, and its errno's name if it failed."""

    tid: int
    time: float
    name: str
    args: str
    result: str = ""
    error: str = ""


def calls(log: Path, tid: int | None = None, since: float = 0.0, before: float = float("inf")) -> list[Call]:
    """The recorded calls in order, those of one thread and of one span of time if asked."""
    found: list[Call] = []
    open_calls: dict[int, Call] = {}
    for line in log.read_text(errors="replace").splitlines():
        if match := _START.match(line):
            call = Call(int(match[1]), float(match[2]), match[3], match[4])
            found.append(call)
            open_calls[call.tid] = call
        elif match := _RESUMED.match(line):
            call = open_calls.get(int(match[1]), Call(0, 0.0, match[3], ""))
            call.args += match[4]
        else:
            continue
        if result := _RESULT.search(call.args):
            call.result, call.error = result[1], result[2] or ""
    return [c for c in found if since <= c.time < before and (tid is None or c.tid == tid)]


def named(found: Sequence[Call], *names: str) -> list[Call]:
    """Those of the given names."""
    return [c for c in found if c.name in names]
