"""Running a loop in a test: one turn, a coroutine with a deadline, blocking work on threads, a hung test ended."""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import pytest

T = TypeVar("T")

# A deadline tells a hang from slowness, so it is generous: nothing is ever expected to come near it.
DEADLINE_S = 20.0
HUNG_S = 60.0

# Blocking peers run here. One pool for the session: a test neither waits for threads to start nor leaves any behind.
THREADS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="test-peer")


class Hung(BaseException):
    """The test did not end. No loop swallows it, since it is no Exception."""


def run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Runs MAIN to its end, or to the deadline."""

    async def bounded() -> T:
        async with asyncio.timeout(DEADLINE_S):
            return await main

    return loop.run_until_complete(bounded())


def turn(loop: asyncio.AbstractEventLoop) -> None:
    """One turn of the loop: what is ready now runs, what that schedules does not (on asyncio and fastnet)."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def run_until(loop: asyncio.AbstractEventLoop, condition: Callable[[], object]) -> None:
    """Turns the loop until CONDITION holds; it may wait in between for timers and descriptors."""
    deadline = time.monotonic() + DEADLINE_S

    def look() -> None:
        if condition():
            loop.stop()
        elif time.monotonic() > deadline:
            raise Hung(f"{condition} did not come true in {DEADLINE_S} s")
        else:
            loop.call_later(0.001, look)

    loop.call_soon(look)
    loop.run_forever()


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """The result of blocking WORK, done on a thread, so that the loop really waits."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, work, *args)


async def until(condition: Callable[[], object]) -> None:
    """Turns the running loop until CONDITION holds: for what no callback tells. Bounded by run()'s deadline."""
    while not condition():
        await asyncio.sleep(0.001)


def wait_until_polling(thread_id: int) -> None:
    """Returns when the thread of that native id sleeps in epoll; where the kernel does not tell, after a moment."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/self/task/{thread_id}/wchan") as wchan:
                if "poll" in wchan.read():
                    return
        except OSError:
            break
        time.sleep(0.001)
    time.sleep(0.1)


def while_polling(action: Callable[[], object]) -> threading.Thread:
    """Starts a thread that does ACTION as soon as the calling thread waits in epoll."""
    thread_id = threading.get_native_id()

    def work() -> None:
        wait_until_polling(thread_id)
        action()

    thread = threading.Thread(target=work, name="while-polling")
    thread.start()
    return thread


@contextmanager
def ended_if_hung() -> Iterator[None]:
    """Raises Hung in the main thread after HUNG_S; where even that does not help, faulthandler_timeout tells."""

    def give_up(signum: int, frame: object) -> None:
        faulthandler.dump_traceback(sys.stderr)
        raise Hung(f"the test did not end in {HUNG_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, HUNG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def drop_entries_without_line(caught: pytest.ExceptionInfo[BaseException]) -> None:
    """Drops what pytest 9 cannot show, and ends the whole run over: a place without a line.

    A signal's handler may raise at such an instruction, Hung above all.
    """
    known = [entry for entry in caught.traceback if (cast("int | None", entry._rawentry.tb_lineno) or -1) > 0]
    if len(known) != len(caught.traceback):
        caught.traceback = type(caught.traceback)(known)


def send_signal(number: signal.Signals) -> None:
    """Sends this process a signal."""
    os.kill(os.getpid(), number)
