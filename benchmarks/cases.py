"""What can be measured over sockets."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

KIB = 1024
DEFAULT_CASES = ("protocol-1k", "protocol-100k", "streams-1k", "streams-100k")


@dataclass(frozen=True)
class Case:
    """One echo workload: how the server is written, and what the clients send."""

    name: str
    title: str
    style: str  # a key of servers.STYLES
    size_bytes: int
    depth: int = 1  # messages in flight on a connection

    @property
    def lines(self) -> bool:
        return self.style == "lines"

    @property
    def verify_every(self) -> int:
        """Comparing every byte of large messages would make the client dearer than the server."""
        return 8 if self.size_bytes >= 16 * KIB else 1


_STYLE_TITLES = {
    "protocol": "Protocol",
    "buffered": "BufferedProtocol",
    "streams": "streams read/write",
    "lines": "streams readline + drain",
    "sock": "sock_recv + sock_sendall",
}
_SIZES = {"64b": 64, "1k": KIB, "100k": 100 * KIB}


def _all_cases() -> dict[str, Case]:
    cases = [
        Case(f"{style}-{size}", f"{title}, {size_text(size_bytes)}", style, size_bytes)
        for style, title in _STYLE_TITLES.items()
        for size, size_bytes in _SIZES.items()
    ]
    cases.append(Case("pipelined-64b", "Protocol, 64 B, 16 in flight", "protocol", 64, depth=16))
    return {case.name: case for case in cases}


def size_text(size_bytes: int) -> str:
    """A length as people write it."""
    return f"{size_bytes // KIB} KiB" if size_bytes >= KIB else f"{size_bytes} B"


CASES = _all_cases()


def choose(patterns: Iterable[str], known: Iterable[str]) -> list[str]:
    """The known names that match any of the patterns (names, commas between, or shell patterns), in known order.

    A pattern that matches nothing raises ValueError, which names it.
    """
    wanted = [part for pattern in patterns for part in pattern.split(",") if part]
    names = list(known)
    for pattern in wanted:
        if not fnmatch.filter(names, pattern):
            raise ValueError(f"no case {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)]
