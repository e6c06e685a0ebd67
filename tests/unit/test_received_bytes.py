"""What data_received() gets: used bytes objects are filled again, which nobody may notice."""

import asyncio
import random
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.helpers.running import DEADLINE_S, run_until, turn

# Both sides of where reuse begins (512) and ends (16384), and of what one read takes (65536).
SIZES = [1, 511, 512, 513, 1000, 1024, 2000, 4096, 8191, 16383, 16384, 16385, 40_000, 65_536, 70_000]


@contextmanager
def connection(loop: asyncio.AbstractEventLoop, received: Callable[[bytes], None]) -> Iterator[Callable[[bytes], None]]:
    """A connection whose protocol hands each chunk to RECEIVED; gives the function that sends and waits for arrival."""
    arrived = 0

    class Protocol(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            nonlocal arrived
            arrived += len(data)
            received(data)

    ours, peer = socket.socketpair()
    peer.settimeout(DEADLINE_S)
    with peer:
        transport, _ = loop.run_until_complete(loop.connect_accepted_socket(Protocol, ours))

        def send(data: bytes) -> None:
            nonlocal arrived
            arrived = 0
            peer.sendall(data)
            run_until(loop, lambda: arrived == len(data))

        yield send
        transport.abort()
        turn(loop)
        turn(loop)


KEEPERS: dict[str, Callable[[bytes], Any]] = {
    "itself": lambda data: data,
    "in a tuple": lambda data: (data,),
    "a view": memoryview,
    "a slice of a view": lambda data: memoryview(data)[1:],
    "a key": lambda data: {data: None},
    "an iterator": iter,
    "a match": lambda data: re.match(b".", data, re.DOTALL),
    "a method": lambda data: data.decode,
    "a default": lambda data: lambda kept=data: kept,
    "a generator": lambda data: (byte for byte in data),
    "an exception": lambda data: ValueError(data),
}


def content(kept: Any) -> bytes:
    """The bytes of what a keeper made."""
    if isinstance(kept, tuple):
        return kept[0]
    if isinstance(kept, dict):
        return next(iter(kept))
    if isinstance(kept, re.Match):
        return kept.string
    if isinstance(kept, ValueError):
        return kept.args[0]
    if hasattr(kept, "__self__"):
        return kept.__self__
    if callable(kept):
        return kept()
    return bytes(kept)


@pytest.mark.parametrize("keep", KEEPERS.values(), ids=KEEPERS)
def test_kept_data_stays_as_it_is(loop: asyncio.AbstractEventLoop, keep: Callable[[bytes], Any]) -> None:
    """However it is kept, whatever comes later; what is not kept in between makes the chance of reuse."""
    chosen = random.Random(11)
    kept: list[tuple[bytearray, Any]] = []

    def received(data: bytes) -> None:
        if chosen.random() < 0.3:
            kept.append((bytearray(data), keep(data)))

    with connection(loop, received) as send:
        for i in range(300):
            send(bytes([i % 256]) * chosen.choice(SIZES))
    assert len(kept) > 50
    for copy, thing in kept:
        wanted = bytes(copy)[1:] if keep is KEEPERS["a slice of a view"] else bytes(copy)
        assert content(thing) == wanted


def test_an_object_that_is_filled_again_is_as_new(loop: asyncio.AbstractEventLoop) -> None:
    """Length, end, size and hash are the new content's, though the old one's were asked for."""
    chosen = random.Random(13)
    number = 0

    def received(data: bytes) -> None:
        copy = bytes(bytearray(data))
        assert data == copy
        assert hash(data) == hash(copy)
        assert {copy: number}[data] == number
        assert sys.getsizeof(data) == sys.getsizeof(copy)
        assert data.find(b"\0") == -1
        assert data.decode("latin-1").encode("latin-1") == copy
        if data.isdigit() and len(data) < 4000:
            assert int(data) == int(copy)  # C code that wants the NUL behind the end

    with connection(loop, received) as send:
        for _ in range(400):
            number += 1
            send(bytes(chosen.choice(b"0123456789abcdef") for _ in range(10)) * (chosen.choice(SIZES) // 10 + 1))
        for size in range(1500, 500, -7):  # ever shorter ones, of digits: what is behind the end would show
            send(b"1234567" * (size // 7))


def test_one_object_is_not_given_to_two(loop: asyncio.AbstractEventLoop) -> None:
    """Two connections take turns; each keeps the last that it got."""
    last: dict[str, bytes] = {}

    with (
        connection(loop, lambda data: last.__setitem__("a", data)) as send_a,
        connection(loop, lambda data: last.__setitem__("b", data)) as send_b,
    ):
        for i in range(200):
            send_a(b"a%d" % i * 300)
            assert last["a"] == b"a%d" % i * 300
            send_b(b"b%d" % i * 300)
            assert last == {"a": b"a%d" % i * 300, "b": b"b%d" % i * 300}
