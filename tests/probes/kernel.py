"""What the kernel says about a process and its sockets, read from /proc."""

import contextlib
import os
import socket
import struct
from collections.abc import Collection
from pathlib import Path

EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLERR, EPOLLHUP = 0x1, 0x2, 0x4, 0x8, 0x10
EPOLLRDHUP, EPOLLONESHOT, EPOLLET = 0x2000, 1 << 30, 1 << 31
_ALWAYS = EPOLLERR | EPOLLHUP  # the kernel adds these itself


def descriptors(pid: int | str = "self") -> set[int]:
    """The numbers of the open descriptors of a process."""
    found = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    if pid in ("self", os.getpid()):  # the one that listed them is closed again
        found = {fd for fd in found if _is_open(fd)}
    return found


def _is_open(fd: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(fd)
        return True
    return False


def cpu_seconds(pid: int) -> float:
    """User and system time of a whole process, in the kernel's ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def time_wait(port: int, peer_ports: Collection[int]) -> int:
    """Connections in TIME_WAIT at this local port, to one of these peers: the side that closed first keeps them."""
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        here, there = (int(address.split(":")[1], 16) for address in (local, remote))
        count += state == "06" and here == port and there in peer_ports
    return count


def epoll_masks(fd: int) -> list[int]:
    """The event masks under which a descriptor of this process sits in its epoll instances, without ERR and HUP."""
    masks = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{entry}") != "anon_inode:[eventpoll]":
                continue
            for line in Path(f"/proc/self/fdinfo/{entry}").read_text().splitlines():
                words = line.split()
                if words[:1] == ["tfd:"] and int(words[1]) == fd:
                    masks.append(int(words[3], 16) & ~_ALWAYS)
    return masks


def mask_names(mask: int) -> set[str]:
    """Readable names of an epoll mask, for a failure's text."""
    bits = {
        "IN": EPOLLIN, "PRI": EPOLLPRI, "OUT": EPOLLOUT, "RDHUP": EPOLLRDHUP, "ONESHOT": EPOLLONESHOT, "ET": EPOLLET,
    }  # fmt: skip
    return {name for name, bit in bits.items() if mask & bit}


def segments_sent(sock: socket.socket) -> int:
    """Segments with data that this TCP socket has sent: with TCP_NODELAY, one for each small send()."""
    data_segs_out_at = 156  # tcpi_data_segs_out in struct tcp_info, Linux 4.6 and later
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int(struct.unpack_from("I", info, data_segs_out_at)[0])
