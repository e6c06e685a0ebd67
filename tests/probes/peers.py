"""The other side of a connection as a plain socket, so that a test says exactly what the peer does and sees."""

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable

DEADLINE_S = 20.0  # generous: it only ends a test that has already failed


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection over loopback: (ours, the peer's)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname(), timeout=DEADLINE_S)
        ours, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.setblocking(False)
    return ours, peer


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one AF_UNIX stream: (ours, the peer's)."""
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(DEADLINE_S)
    ours.setblocking(False)
    return ours, peer


PAIRS: dict[str, Callable[[], tuple[socket.socket, socket.socket]]] = {"tcp": tcp_pair, "unix": unix_pair}


def recv_exact(sock: socket.socket, size: int) -> bytes:
    """Read exactly size bytes from a blocking socket; fewer only at its end."""
    parts = []
    while size > 0:
        part = sock.recv(min(size, 1 << 20))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def recv_to_end(sock: socket.socket) -> bytes:
    """Read from a blocking socket until the other side ends its stream."""
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def peek_now(sock: socket.socket, size: int = 1 << 20) -> bytes:
    """What can be read this instant, without taking it; empty where there is nothing, or an end."""
    return sock.recv(size, socket.MSG_PEEK) if readable_within(sock, 0) else b""


def take_now(sock: socket.socket, size: int = 1 << 20) -> bytes | None:
    """Read what is there this instant: None where there is nothing, empty at the end of the stream."""
    return sock.recv(size) if readable_within(sock, 0) else None


def readable_within(sock: socket.socket, seconds: float = DEADLINE_S) -> bool:
    """Whether something arrives (data, an end or an error) before the deadline."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def close_with_reset(sock: socket.socket) -> None:
    """Close so that the other side gets an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more; returns how many bytes that was."""
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += os.write(sock.fileno(), bytes(1 << 16))  # a socket with a time-out is a non-blocking descriptor
    return total


def outcome(sock: socket.socket) -> str:
    """How the other side ended the connection: 'eof' or 'reset'; 'data' if it sent something instead."""
    try:
        return "data" if sock.recv(1) else "eof"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"


def until(predicate: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
    """Wait in a plain thread until predicate() is true; fail with `what` at the deadline."""
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.002)
