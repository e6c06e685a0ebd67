"""accept4 fails by strace: few retries, no wedge; and kernels or containers that refuse a call are served the same."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.probes import kernel, strace
from tests.probes.child import ServerChild, environment

pytestmark = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace works")

SHORT_OF = ["ENOMEM", "ENOBUFS", "ENFILE"]
FAILURES = 12


@pytest.mark.parametrize("error", SHORT_OF)
def test_short_of_something(error: str, tmp_path: Path) -> None:
    """The system is short of memory or files: at most 100 retries a second, service when it ends."""
    log = tmp_path / "log"
    wrapper = strace.wrapper(log, "accept4", f"accept4:error={error}:when=1..{FAILURES}")
    with ServerChild("tcp", tmp_path, wrapper) as server, server.connect() as first:
        assert server.echoes(first)  # served by the first accept that works
        assert server.stop() == 0
        logged = server.errors()
    accepts = strace.named(strace.calls(log), "accept4")
    failed = [call for call in accepts if call.error == error]
    assert len(failed) == FAILURES
    took = failed[-1].time - failed[0].time
    # a retry may be two calls, the second with the spare descriptor; each retry but the first waits at least 10 ms
    assert took >= (FAILURES / 2 - 1) * 0.01
    assert len(logged.splitlines()) <= took + 2, logged


@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO", "ENETDOWN"])
def test_the_connection_failed(error: str, tmp_path: Path) -> None:
    """The error is that of one connection, gone before it was accepted: go on with the next, say nothing."""
    log = tmp_path / "log"
    wrapper = strace.wrapper(log, "accept4", f"accept4:error={error}:when=1..5")
    with ServerChild("tcp", tmp_path, wrapper) as server:
        with server.connect() as first:
            assert server.echoes(first)
        server.await_gone()
        assert server.stop() == 0
        assert server.errors() == ""
    accepts = strace.named(strace.calls(log), "accept4")
    assert [call.error for call in accepts[:5]] == [error] * 5


@pytest.mark.parametrize("error", ["ENOSPC", "ENOMEM"])
def test_a_connection_cannot_be_watched(error: str, tmp_path: Path) -> None:
    """epoll has no room (max_user_watches): that connection ends with the error, and the next one is served."""
    log = tmp_path / "log"
    first = len(_calls_until_ready(tmp_path, "epoll_ctl")) + 1
    with ServerChild(
        "tcp", tmp_path, strace.wrapper(log, "epoll_ctl", f"epoll_ctl:error={error}:when={first}")
    ) as server:
        with server.connect() as sock:
            assert not server.echoes(sock)
        with server.connect() as sock:
            assert server.echoes(sock)
        server.await_gone()
        assert len(kernel.descriptors(server.pid)) < 20
        assert server.stop() == 0
        assert server.errors().count("Traceback") <= 1
    assert [call.error for call in strace.calls(log) if call.error] == [error]


def _calls_until_ready(folder: Path, name: str) -> list[strace.Call]:
    """Those that a server makes before its first connection: the same each time."""
    log = folder / "first"
    with ServerChild("tcp", folder, strace.wrapper(log, name)) as server:
        server.metrics()
    return strace.calls(log, before=server.ready_time)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_interrupted(kind: str, tmp_path: Path) -> None:
    """Every other call is interrupted by a signal, the kernel says: each is made again, nobody notices."""
    log = tmp_path / "log"
    names = "accept4,recvfrom,sendto,sendmsg,epoll_wait"
    injections = [f"{name}:error=EINTR:when=1+2" for name in names.split(",")]
    with ServerChild(kind, tmp_path, strace.wrapper(log, names, *injections)) as server:
        for _ in range(3):
            with server.connect() as sock:
                assert all(server.echoes(sock, bytes([65 + i]) * (1 + i * 5000)) for i in range(10))
        server.await_gone()
        assert server.metrics()["accept_errors"] == 0
        assert server.stop() == 0
        assert server.errors() == ""
    interrupted = {call.name for call in strace.calls(log) if call.error == "EINTR"}
    assert {"accept4", "recvfrom", "sendto", "epoll_wait"} <= interrupted


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_no_accept4(error: str, kind: str, tmp_path: Path) -> None:
    """A kernel or a container without accept4: accept() and the flags set apart."""
    log = tmp_path / "log"
    wrapper = strace.wrapper(log, "accept4,accept", f"accept4:error={error}")
    with ServerChild(kind, tmp_path, wrapper) as server:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(3)]
            assert all(server.echoes(sock) for sock in clients)
            flags = _descriptor_flags(server.pid)
            assert flags, "no sockets found"
            assert all(flag & 0o2004000 == 0o2004000 for flag in flags), [oct(flag) for flag in flags]
        assert server.stop() == 0
    assert any(call.error == error for call in strace.calls(log))


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_no_epoll_pwait2(error: str, tmp_path: Path) -> None:
    """A kernel (before 5.11) or a container without epoll_pwait2: the millisecond wait, rounded up, serves as well."""
    log = tmp_path / "log"
    trace = "epoll_pwait2,epoll_pwait,epoll_wait"
    with ServerChild("tcp", tmp_path, strace.wrapper(log, trace, f"epoll_pwait2:error={error}")) as server:
        with server.connect() as sock:
            assert all(server.echoes(sock) for _ in range(20))
        server.await_gone()
        assert server.stop() == 0
        assert server.errors() == ""
    recorded = strace.calls(log)
    assert len(strace.named(recorded, "epoll_pwait2")) <= 2  # it is not tried again and again
    assert strace.named(recorded, "epoll_wait", "epoll_pwait")


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_timers_without_epoll_pwait2(error: str, tmp_path: Path) -> None:
    """No timer fires early with the wait in milliseconds, and none makes the loop spin until it is due."""
    log = tmp_path / "log"
    script = tmp_path / "timers.py"
    script.write_text(_TIMERS)
    command = strace.wrapper(log, "epoll_pwait2,epoll_pwait,epoll_wait", f"epoll_pwait2:error={error}")
    command += [sys.executable, str(script)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert len(strace.calls(log)) < 400  # 100 timers


_TIMERS = """
import asyncio
import fastnet

async def main():
    loop = asyncio.get_running_loop()
    early = []
    for i in range(100):
        delay = i * 0.00137 % 0.0071
        start, fired = loop.time(), loop.create_future()
        handle = loop.call_later(delay, fired.set_result, None)
        await fired
        if loop.time() < start + delay or loop.time() < handle.when():
            early.append(delay)
    assert not early, early

fastnet.run(main())
"""


def _descriptor_flags(pid: int) -> list[int]:
    """The open flags (octal in fdinfo) of a process's sockets."""
    flags = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if link.readlink().name.startswith("socket:"):
            info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
            flags.append(int(info.split("flags:")[1].split()[0], 8))
    return flags
