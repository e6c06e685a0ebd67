"""The poller's table: any descriptor number, numbers used again, many events at once."""

import asyncio
import fcntl
import gc
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import fastnet_c
from tests.helpers.running import run_until, turn
from tests.unit.conftest import CollectAfter
from tests.unit.support import Finalized

POLL_BATCH = 256  # events that one call of epoll_wait takes


@pytest.fixture
def open_files() -> Iterator[int]:
    """Raises the soft limit of descriptors as far as it goes, to 20,000 at most; gives the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 20_000) if hard == resource.RLIM_INFINITY else max(soft, min(hard, 20_000))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Pipe:
    """A pipe, whose reading end may get a number of choice."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def move(self, number: int) -> None:
        """Give the reading end this number, which must be free."""
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        os.dup2(self.reader, number, inheritable=False)
        os.close(self.reader)
        self.reader = number

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close_reader()
        os.close(self.writer)

    def close_reader(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def fill(self) -> None:
        os.write(self.writer, b"x")

    def empty(self) -> None:
        os.read(self.reader, 100)


def events(loop: Any) -> int:
    """How many events the loop has dispatched."""
    return loop.metrics()["events"]


def test_numbers_of_any_size(loop: asyncio.AbstractEventLoop, open_files: int) -> None:
    """The table grows to a descriptor's number, to the highest that the limit allows; low numbers stay in place."""
    ran: list[int] = []
    base = max(int(name) for name in os.listdir("/proc/self/fd")) + 10
    numbers = [base, 63, 64, 65, 127, 128, 1023, 1024, 4097, open_files - 1]
    numbers = sorted({number for number in numbers if base <= number < open_files})
    with ExitStack() as stack:
        low = stack.enter_context(Pipe())
        pipes: dict[int, Pipe] = {}
        for number in numbers:
            pipes[number] = stack.enter_context(Pipe())
            pipes[number].move(number)

        def ready(pipe: Pipe) -> None:
            pipe.empty()
            ran.append(pipe.reader)

        loop.add_reader(low.reader, ready, low)
        for number, pipe in pipes.items():
            loop.add_reader(number, ready, pipe)
            low.fill()
            pipe.fill()
            run_until(loop, lambda: len(ran) == 2)
            assert sorted(ran) == sorted([low.reader, number])
            ran.clear()
        for number in numbers:
            assert loop.remove_reader(number)
            assert not loop.remove_reader(number)
            pipes[number].fill()
        assert not loop.remove_reader(open_files * 10)
        low.fill()
        run_until(loop, lambda: bool(ran))
        assert ran == [low.reader]
        loop.remove_reader(low.reader)


def test_a_number_used_a_thousand_times(loop: asyncio.AbstractEventLoop) -> None:
    """Each generation gets its own events only: also where one was closed with its event fetched, or never removed."""
    ran: list[int] = []
    number = 500
    for generation in range(1000):
        with Pipe() as pipe:
            pipe.move(number)

            def ready(generation: int = generation, pipe: Pipe = pipe) -> None:
                pipe.empty()
                ran.append(generation)

            loop.add_reader(number, ready)
            pipe.fill()
            turn(loop)
            if generation % 3:  # else its owner closes it without a word to the loop
                assert loop.remove_reader(number)
            pipe.fill()
    loop.remove_reader(number)
    assert ran == list(range(1000))
    assert events(loop) == 1000


def test_fetched_events_of_numbers_that_are_others_by_now(loop: asyncio.AbstractEventLoop) -> None:
    """Many events come in one poll; the first callback closes all descriptors and gives their numbers to new pipes."""
    ran: list[tuple[str, int]] = []
    with ExitStack() as stack:
        pipes = [stack.enter_context(Pipe()) for _ in range(100)]
        successors = [stack.enter_context(Pipe()) for _ in range(100)]
        numbers = [pipe.reader for pipe in pipes]

        def fresh(number: int) -> None:
            ran.append(("fresh", number))

        def stale(number: int) -> None:
            ran.append(("stale", number))
            for pipe in pipes:
                loop.remove_reader(pipe.reader)
                pipe.close_reader()
            for number, pipe in zip(numbers, successors, strict=True):
                pipe.move(number)
                loop.add_reader(number, fresh, number)

        for pipe in pipes:
            loop.add_reader(pipe.reader, stale, pipe.reader)
            pipe.fill()
        for _ in range(5):
            turn(loop)
        assert [kind for kind, _ in ran] == ["stale"]
        assert events(loop) == 1
        for pipe in successors:
            pipe.fill()
        turn(loop)
        assert sorted(ran[1:]) == [("fresh", number) for number in sorted(numbers)]
        for number in numbers:
            assert loop.remove_reader(number)


def test_removed_by_another_callback_of_the_same_poll(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever comes first removes all the others: none of them is called."""
    ran: list[int] = []
    with ExitStack() as stack:
        pipes = [stack.enter_context(Pipe()) for _ in range(100)]

        def ready(me: int) -> None:
            ran.append(me)
            for number, pipe in enumerate(pipes):
                if number != me:
                    assert loop.remove_reader(pipe.reader) == (len(ran) == 1)

        for number, pipe in enumerate(pipes):
            loop.add_reader(pipe.reader, ready, number)
            pipe.fill()
        for _ in range(5):
            turn(loop)
        assert ran == ran[:1] * len(ran)
        loop.remove_reader(pipes[ran[0]].reader)


def test_more_events_than_a_poll_takes(loop: asyncio.AbstractEventLoop, open_files: int) -> None:
    """Several polls bring them; nobody is served twice before all have been served."""
    count = 5 * POLL_BATCH // 2
    if open_files < 4 * count:
        pytest.skip("the limit of descriptors is too low")
    ran: list[int] = []
    with ExitStack() as stack:
        pipes = [stack.enter_context(Pipe()) for _ in range(count)]
        for number, pipe in enumerate(pipes):
            loop.add_reader(pipe.reader, ran.append, number)  # which does not read: level-triggered, it comes again
            pipe.fill()
        run_until(loop, lambda: len(ran) >= count)
        assert sorted(ran[:count]) == list(range(count))
        for pipe in pipes:
            assert loop.remove_reader(pipe.reader)
        ran.clear()
        turn(loop)
        assert ran == []


def test_reader_and_writer_of_one_descriptor(loop: asyncio.AbstractEventLoop) -> None:
    """One entry, two callbacks; each comes and goes alone, and may remove the other."""
    ran: list[str] = []
    ours, peer = socket.socketpair()
    turn(loop)
    own = fastnet_c.live_objects()["fd_watchers"]  # of the signals' wake-up
    with ours, peer:
        loop.add_reader(ours, ran.append, "read")
        loop.add_writer(ours, ran.append, "write")
        assert fastnet_c.live_objects()["fd_watchers"] == own + 1
        turn(loop)
        assert ran == ["write"]
        peer.send(b"x")
        turn(loop)
        assert ran == ["write", "read", "write"]
        assert loop.remove_writer(ours)
        assert not loop.remove_writer(ours)
        turn(loop)
        assert ran[3:] == ["read"]

        def only_once() -> None:
            ran.append("once")
            loop.remove_reader(ours)
            loop.remove_writer(ours)

        loop.add_reader(ours, only_once)
        loop.add_writer(ours, ran.append, "never")
        turn(loop)
        turn(loop)
        assert ran[4:] == ["once"]
    assert fastnet_c.live_objects()["fd_watchers"] == own


def test_descriptors_that_cannot_be_watched(loop: asyncio.AbstractEventLoop) -> None:
    """Refused with the kernel's reason; nothing of the attempt is left, and the number is free for another."""
    with open(__file__) as file:
        number = file.fileno()
        for add in (loop.add_reader, loop.add_writer):
            with pytest.raises(PermissionError):
                add(number, print)
        assert not loop.remove_reader(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(number, print)
    assert fastnet_c.live_objects()["fd_watchers"] == 0
    with Pipe() as pipe:
        if pipe.reader != number:
            pipe.move(number)
        ran: list[str] = []
        loop.add_reader(pipe.reader, ran.append, "read")
        pipe.fill()
        turn(loop)
        assert ran == ["read"]
        loop.remove_reader(pipe.reader)


@pytest.mark.parametrize("wrong", [-1, 2**31, 2**40, "0", None, 1.5, object()])
def test_things_that_are_no_descriptors(loop: Any, wrong: Any) -> None:
    """ValueError, as selectors raise it."""
    for call in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError):
            call(wrong, print)
    for call in (loop.remove_reader, loop.remove_writer):
        with pytest.raises(ValueError):
            call(wrong)


def test_a_closed_loop_watches_nothing(loop: asyncio.AbstractEventLoop) -> None:
    """add_reader() raises, remove_reader() finds nothing; close() let go of the watchers."""
    with Pipe() as pipe:
        loop.add_reader(pipe.reader, print)
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            loop.add_reader(pipe.reader, print)
        assert not loop.remove_reader(pipe.reader)
        assert not loop.remove_writer(pipe.reader)
        assert fastnet_c.live_objects()["fd_watchers"] == 0


@pytest.mark.parametrize("allocations", range(8))
def test_a_finalizer_that_watches_while_the_table_grows(
    loop: asyncio.AbstractEventLoop, collect_after: CollectAfter, allocations: int
) -> None:
    """The collector runs somewhere in add_reader(), and a finalizer adds a descriptor with a higher number."""
    with Pipe() as pipe, ExitStack() as stack:
        middle, high = (fcntl.fcntl(pipe.reader, fcntl.F_DUPFD_CLOEXEC, least) for least in (200, 900))
        stack.callback(os.close, middle)
        stack.callback(os.close, high)
        gc.collect()
        gc.disable()
        ran: list[str] = []

        def finalize() -> None:
            gc.disable()
            loop.add_reader(high, ran.append, "high")

        class Middle:
            def fileno(self) -> int:
                collect_after(allocations)
                return middle

        file = Middle()
        Finalized(finalize, circle=True)
        loop.add_reader(file, ran.append, "middle")
        gc.enable()
        gc.collect()  # where it did not happen in time
        pipe.fill()
        turn(loop)
        assert sorted(ran) == ["high", "middle"]
        assert loop.remove_reader(high)
        assert loop.remove_reader(middle)
