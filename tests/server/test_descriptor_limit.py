"""A server out of descriptors: it answers those it holds, closes the rest at once, and is back when it can be.

Each server runs in a process of its own with a low RLIMIT_NOFILE (invariant 13).
"""

import contextlib
import socket
import ssl
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from tests.probes import kernel, peers
from tests.probes.child import ServerChild

FREE = 24  # descriptors left to the server
CLIENTS = 90
KINDS = ["tcp", "unix", "tls"]


class Crowd:
    """Clients that came one after another: those which the server holds, and those it closed."""

    def __init__(self, server: ServerChild, count: int) -> None:
        self.held: list[socket.socket] = []
        self.excess = 0
        self.slowest_close_s = 0.0
        self.ports: set[int] = set()
        for _ in range(count):
            start = time.monotonic()
            sock = self._arrive(server)
            if sock is None:
                self.excess += 1
                self.slowest_close_s = max(self.slowest_close_s, time.monotonic() - start)
            else:
                self.held.append(sock)

    def _arrive(self, server: ServerChild) -> socket.socket | None:
        try:
            sock = server.connect()
        except (ConnectionError, ssl.SSLError):  # ended during the handshake of TLS
            return None
        if server.kind == "tcp":
            self.ports.add(sock.getsockname()[1])
        with contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            if server.echoes(sock):
                stack.pop_all()
                return sock
        return None

    def leave(self) -> None:
        for sock in self.held:
            sock.close()
        self.held.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_limit(kind: str, tmp_path: Path) -> None:
    with ServerChild(kind, tmp_path) as server:
        started = time.monotonic()
        server.ask("limit", free=FREE)
        crowd = Crowd(server, CLIENTS)
        try:
            assert len(crowd.held) == FREE
            assert crowd.slowest_close_s < 5.0  # not left to a time-out of the peer
            assert server.metrics()["accept_refused"] == crowd.excess == CLIENTS - FREE
            _assert_idle(server)
            assert all(server.echoes(sock) for sock in crowd.held)
            if kind == "tcp":
                assert kernel.time_wait(server.address[1], crowd.ports) == 0
            _assert_few_log_lines(server, time.monotonic() - started)
        finally:
            crowd.leave()
        server.await_gone()
        assert server.served_within(5.0) < 5.0
        # once there is room nobody is refused, and the crowd fits again
        refused = server.metrics()["accept_refused"]
        again = Crowd(server, FREE // 2)
        assert (len(again.held), again.excess) == (FREE // 2, 0)
        again.leave()
        assert server.metrics()["accept_refused"] == refused
        assert server.stop() == 0


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_burst_at_the_limit(kind: str, tmp_path: Path) -> None:
    """All arrive before the server looks: the queue of the listener is worked off in one go."""
    with ServerChild(kind, tmp_path) as server:
        server.ask("limit", free=FREE)
        socks = []
        for _ in range(CLIENTS):
            with contextlib.suppress(ConnectionResetError):  # refused before connect() looked
                socks.append(server.connect())
        try:
            answered = [server.echoes(sock) for sock in socks]
            assert answered.count(True) == FREE
            assert server.metrics()["accept_refused"] == CLIENTS - FREE
            _assert_idle(server)
        finally:
            for sock in socks:
                sock.close()
        server.await_gone()
        assert server.served_within(5.0) < 5.0
        assert server.stop() == 0


def test_no_room_at_all(tmp_path: Path) -> None:
    """Not one descriptor is free: everybody is refused at once, and the first freed one is put to use."""
    with ServerChild("tcp", tmp_path) as server, server.connect() as held:
        assert server.echoes(held)
        server.ask("limit", free=0)
        crowd = Crowd(server, 20)
        assert (len(crowd.held), crowd.excess) == (0, 20)
        assert server.echoes(held)
        _assert_idle(server)
        server.ask("raise_limit")
        assert server.served_within(5.0) < 5.0
        assert server.stop() == 0


def test_refused_clients_leave_nothing(tmp_path: Path) -> None:
    """Clients that wait for what comes get RST, and the server's port keeps no TIME_WAIT (close with linger 0)."""
    ports = set()
    with ServerChild("tcp", tmp_path) as server:
        server.ask("limit", free=0)
        for _ in range(20):
            with contextlib.suppress(ConnectionResetError), server.connect() as sock:
                ports.add(sock.getsockname()[1])
                assert peers.outcome(sock) == "reset"
        assert kernel.time_wait(server.address[1], ports) == 0
        assert server.metrics()["accept_refused"] == 20
        assert server.stop() == 0
    assert ports


def test_thief_thread(tmp_path: Path) -> None:
    """A thread takes each descriptor the moment it is free, the spare one too: the loop rests instead of spinning."""
    library = _build_thief(tmp_path)
    with ServerChild("tcp", tmp_path) as server, server.connect() as held:
        assert server.echoes(held)
        server.ask("limit", free=8)
        server.ask("thief_start", library=library)
        waiting = []
        try:
            for _ in range(30):
                with contextlib.suppress(ConnectionResetError):  # refused before connect() looked
                    waiting.append(server.connect())
            before, cpu_before = server.metrics(), server.ask("loop_cpu")
            time.sleep(1.0)  # the span that is watched
            after, cpu_after = server.metrics(), server.ask("loop_cpu")
            assert after["polls"] - before["polls"] < 300
            assert after["accept_errors"] - before["accept_errors"] < 300
            assert cpu_after - cpu_before < 0.3
            assert server.echoes(held)
        finally:
            server.ask("thief_stop")
            server.ask("raise_limit")
            for sock in waiting:
                sock.close()
        assert server.served_within(10.0) < 10.0
        _assert_few_log_lines(server, 30.0, least=0)  # nobody was refused where the thief had the spare all the time
        assert server.stop() == 0


def _assert_idle(server: ServerChild) -> None:
    polls, cpu = server.metrics()["polls"], kernel.cpu_seconds(server.pid)
    time.sleep(1.0)  # the span that is watched
    assert kernel.cpu_seconds(server.pid) - cpu < 0.2
    assert server.metrics()["polls"] == polls


def _assert_few_log_lines(server: ServerChild, seconds: float, least: int = 1) -> None:
    lines = [line for line in server.errors().splitlines() if "asyncio" in line or "fastnet" in line]
    assert len(lines) <= seconds + 1, lines[:5]
    assert len(lines) >= least, "nothing was said about the refused connections"
    assert "Traceback" not in server.errors()


def _build_thief(folder: Path) -> str:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    source = Path(__file__).parents[1] / "probes" / "thief.c"
    library = folder / "thief.so"
    try:
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"no C compiler: {compiler}")
    return str(library)
