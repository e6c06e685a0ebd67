"""System calls of a server, counted by strace: none while idle, three an echo, one for all writes of a callback."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.probes import strace
from tests.probes.child import ServerChild

pytestmark = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace works")

POLLS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
SENDS = ("send", "sendto", "sendmsg", "write", "writev")
RECEIVES = ("recv", "recvfrom", "recvmsg", "read", "readv")


def span(log: Path, server: ServerChild, since: float, before: float) -> list[strace.Call]:
    """What the loop's thread, the main one, did in this span of time."""
    return strace.calls(log, tid=server.pid, since=since, before=before)


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_idle_makes_no_system_calls(kind: str, tmp_path: Path) -> None:
    """With connections open, over a second."""
    log = tmp_path / "log"
    with ServerChild(kind, tmp_path, strace.wrapper(log, "all")) as server:
        sockets = [server.connect() for _ in range(20)]
        assert all(server.echoes(sock) for sock in sockets)
        time.sleep(0.2)  # the last turn ends
        start = time.time()
        time.sleep(1.0)  # the span that is watched
        end = time.time()
        for sock in sockets:
            sock.close()
        assert server.stop() == 0
    assert span(log, server, start, end) == []


def _lockstep(server: ServerChild, message: bytes, rounds: int) -> tuple[float, float]:
    """So many echoes one after the other on one connection; when they began and ended."""
    with server.connect() as sock:
        for _ in range(10):
            assert server.echoes(sock, message)
        time.sleep(0.1)  # the last turn ends
        start = time.time()
        for _ in range(rounds):
            assert server.echoes(sock, message)
        time.sleep(0.1)
        return start, time.time()


@pytest.mark.parametrize(("kind", "receives"), [("tcp", 1), ("unix", 2)])
def test_system_calls_of_an_echo(kind: str, receives: int, tmp_path: Path) -> None:
    """TCP: wait, receive, send. On AF_UNIX a short read does not prove the socket empty, so it is read once more."""
    log, rounds = tmp_path / "log", 100
    with ServerChild(kind, tmp_path, strace.wrapper(log, "all")) as server:
        start, end = _lockstep(server, b"x" * 1000, rounds)
        assert server.stop() == 0
    counts = Counter(call.name for call in span(log, server, start, end))
    polls, received, sent = (sum(counts[name] for name in names) for names in (POLLS, RECEIVES, SENDS))
    assert (polls, received, sent) == (rounds, receives * rounds, rounds), counts
    assert sum(counts.values()) == polls + received + sent, counts


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("how", [b"parts", b"steps"])
def test_writes_go_together(kind: str, how: bytes, tmp_path: Path) -> None:
    """Several write() in one callback, or in one step of a task, are one system call."""
    log, rounds = tmp_path / "log", 20
    with ServerChild(kind, tmp_path, strace.wrapper(log, "%network,%desc")) as server:
        with server.connect() as sock:
            start = time.time()
            for _ in range(rounds):
                sock.sendall(how)
                assert sock.recv(100) == b"parts"
            time.sleep(0.1)
            end = time.time()
        assert server.stop() == 0
    sends = strace.named(span(log, server, start, end), *SENDS)
    assert len(sends) == rounds
    assert all(call.result == "5" for call in sends)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_system_calls_of_a_connection(kind: str, tmp_path: Path) -> None:
    """Accept, watch, one echo, end: nothing is asked that accept4 has told, and the descriptor is unwatched first."""
    log, count = tmp_path / "log", 50
    with ServerChild(kind, tmp_path, strace.wrapper(log, "%network,%desc")) as server:
        start = time.time()
        for _ in range(count):
            with server.connect() as sock:
                assert server.echoes(sock)
        time.sleep(0.2)
        end = time.time()
        assert server.metrics()["connections"] == 0
        assert server.stop() == 0
    calls = span(log, server, start, end)
    counts = Counter(call.name for call in calls)
    for name in ("fcntl", "ioctl", "getsockname", "getpeername", "getsockopt", "setsockopt", "fstat", "dup"):
        assert counts[name] == 0, counts
    assert counts["close"] == count
    assert counts["epoll_ctl"] <= 2 * count
    assert count <= counts["accept4"] <= 2 * count
    removed = {call.args.split(",")[2].strip(" )") for call in strace.named(calls, "epoll_ctl") if "_DEL" in call.args}
    closed = {call.args.split(")")[0] for call in strace.named(calls, "close")}
    assert removed == closed


def test_accepts_have_a_budget(tmp_path: Path) -> None:
    """200 connections that came while the loop was busy: 64 a turn, so that those it has are served in between."""
    log, count, budget = tmp_path / "log", 200, 64
    with ServerChild("tcp", tmp_path, strace.wrapper(log, "%network,%desc")) as server:
        start = time.time()
        server.ask("stall", seconds=1.0)
        sockets = [server.connect() for _ in range(count)]  # as far as the kernel goes: the queue of the listener
        while server.metrics()["accepted"] < count:
            time.sleep(0.01)
        end = time.time()
        for sock in sockets:
            sock.close()
        assert server.stop() == 0
    batches = [0]
    for call in span(log, server, start, end):
        if call.name in POLLS:
            batches.append(0)
        elif call.name == "accept4" and call.result != "-1":
            batches[-1] += 1
    assert max(batches) == budget, batches
    assert sum(batches) == count, batches


def test_a_wait_is_as_exact_as_the_kernel_allows(tmp_path: Path) -> None:
    """epoll_pwait2 takes nanoseconds: a timer of 300 microseconds needs one wait, which is no longer than that."""
    log, count = tmp_path / "log", 50
    with ServerChild("tcp", tmp_path, strace.wrapper(log, "%desc")) as server:
        start = time.time()
        server.ask("timers", delay=0.0003, count=count)
        time.sleep(0.5)
        end = time.time()
        assert server.stop() == 0
    waits = strace.named(span(log, server, start, end), "epoll_pwait2")
    found = (re.search(r"\{tv_sec=0, tv_nsec=(\d+)\}", call.args) for call in waits)
    waited_ns = [int(match[1]) for match in found if match and match[1] != "0"]
    assert waited_ns, waits
    assert max(waited_ns) <= 300_000, waited_ns
    assert any(ns % 1000 for ns in waited_ns), "no finer than microseconds"
    assert len(waited_ns) <= count


def test_a_burst_of_connections(tmp_path: Path) -> None:
    """Many that wait are accepted in batches, not one a poll."""
    log, count = tmp_path / "log", 200
    with ServerChild("tcp", tmp_path, strace.wrapper(log, "%network,%desc")) as server:
        start = time.time()
        sockets = [server.connect() for _ in range(count)]
        while server.metrics()["accepted"] < count:
            time.sleep(0.01)
        end = time.time()
        assert all(server.echoes(sock) for sock in sockets)
        for sock in sockets:
            sock.close()
        assert server.stop() == 0
    counts = Counter(call.name for call in span(log, server, start, end))
    assert counts["accept4"] <= 2 * count
    assert counts["epoll_ctl"] <= count
