"""What descriptors this process has open, told so that a leak can be found."""

import os
import socket


def open_descriptors() -> dict[int, str]:
    """Every open descriptor and what it leads to, e.g. {5: 'socket:[4711]'}."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the descriptor that listed the folder
    return found


def _socket_state(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as sock:
        words = [sock.family.name, sock.type.name]
        for title, ask in (("at", sock.getsockname), ("to", sock.getpeername)):
            try:
                words.append(f"{title} {ask()!r}")
            except OSError:
                words.append(f"{title} nothing")
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            words.append("listening")
    return " ".join(words)


def describe(fd: int, target: str) -> str:
    """One line that says what the descriptor is."""
    try:
        if target.startswith("socket:"):
            return f"{fd}: {target} {_socket_state(fd)}"
        if target == "anon_inode:[eventpoll]":
            with open(f"/proc/self/fdinfo/{fd}") as info:
                watched = [line.split()[1] for line in info if line.startswith("tfd:")]
            return f"{fd}: {target} watching {watched}"
    except (OSError, ValueError) as exc:
        return f"{fd}: {target} ({exc})"
    return f"{fd}: {target}"


def difference(before: dict[int, str], after: dict[int, str]) -> list[str]:
    """What is open now and was not, and what was open and is no more; empty where nothing changed."""
    lines = [f"leaked {describe(fd, target)}" for fd, target in after.items() if before.get(fd) != target]
    lines += [f"closed {fd}: {target}" for fd, target in before.items() if after.get(fd) != target]
    return lines
