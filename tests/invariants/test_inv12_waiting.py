"""Invariant 12: no timer is early, a wait is ended by signals and by other threads, and one wake-up serves a burst."""

import asyncio
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.running import in_thread, run, while_polling
from tests.probes import peers
from tests.probes.child import environment, read_line, run_script, started


def test_no_timer_is_early(loop: asyncio.AbstractEventLoop) -> None:
    """Thousands of timers from microseconds to tens of milliseconds: each at its time or after it, in order."""
    rng = random.Random(4)
    early: list[float] = []
    order: list[float] = []

    async def main() -> None:
        done = loop.create_future()
        left = 5000

        def fire(when: float) -> None:
            nonlocal left
            if loop.time() < when:
                early.append(when - loop.time())
            order.append(when)
            left -= 1
            if left == 0:
                done.set_result(None)

        start = loop.time()
        for _ in range(left):
            when = start + rng.random() * 0.2
            loop.call_at(when, fire, when)
        await done

    run(loop, main())
    assert early == []
    assert order == sorted(order)


def test_a_lone_timer_is_not_early_and_does_not_spin(loop: asyncio.AbstractEventLoop) -> None:
    """One timer after the other, each waited for in the poll: two polls a timer at most."""

    async def main() -> None:
        before = loop.metrics()["polls"]  # type: ignore[attr-defined]
        for i in range(100):
            delay = 0.000_1 + i * 0.000_037
            start = loop.time()
            await asyncio.sleep(delay)
            assert loop.time() - start >= delay
        # a timer takes a poll that waits for it, one when its callback runs and one for the task it wakes
        assert loop.metrics()["polls"] - before <= 100 * 4  # type: ignore[attr-defined]

    run(loop, main())


def test_a_timer_due_far_ahead(loop: asyncio.AbstractEventLoop) -> None:
    """Waits that do not fit the kernel's types are waits all the same."""
    handles = [loop.call_later(delay, lambda: None) for delay in (1e6, 1e9, 1e12, 1e18, float("inf"))]

    async def main() -> None:
        await asyncio.sleep(0.01)
        before = loop.metrics()["polls"]  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        assert loop.metrics()["polls"] - before <= 5  # type: ignore[attr-defined]

    run(loop, main())
    for handle in handles:
        handle.cancel()


@pytest.fixture
def sigint_default() -> Iterator[None]:
    """Python's own SIGINT handler, whatever the test runner has."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_keyboard_interrupt_while_waiting(loop: asyncio.AbstractEventLoop, sigint_default: None) -> None:
    """SIGINT reaches a loop that waits for nothing else, and the loop can go on afterwards."""
    thread = while_polling(lambda: _kill_self(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()
    assert run(loop, asyncio.sleep(0, "alive")) == "alive"


def _kill_self(number: int) -> None:
    import os

    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP])
def test_signal_handler_while_waiting(loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    seen: list[str] = []
    loop.add_signal_handler(number, lambda: (seen.append(number.name), loop.stop()))
    thread = while_polling(lambda: _kill_self(number))
    loop.run_forever()
    thread.join()
    assert seen == [number.name]
    assert loop.remove_signal_handler(number)


def test_python_signal_handler_while_waiting(loop: asyncio.AbstractEventLoop) -> None:
    """A handler set by signal.signal runs while the loop waits, and what it raises leaves run_forever."""

    class Raised(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Raised

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        thread = while_polling(lambda: _kill_self(signal.SIGUSR2))
        with pytest.raises(Raised):
            loop.run_forever()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_storm_of_signals_while_serving(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Signals interrupt system calls all the time: every byte is still echoed, and no signal handler is starved."""
    from tests.helpers.protocols import Echo

    _, peer = attach(Echo())
    caught = 0
    stop = threading.Event()

    def handler() -> None:
        nonlocal caught
        caught += 1

    def storm() -> None:
        while not stop.is_set():
            _kill_self(signal.SIGUSR1)
            stop.wait(0.0005)

    def talk() -> bool:
        for i in range(200):
            message = bytes([i % 256]) * (i * 50 + 1)
            peer.sendall(message)
            if peers.recv_exact(peer, len(message)) != message:
                return False
        return True

    async def main() -> None:
        loop.add_signal_handler(signal.SIGUSR1, handler)
        thread = threading.Thread(target=storm)
        thread.start()
        assert await in_thread(talk)
        stop.set()
        await in_thread(thread.join)
        await asyncio.sleep(0.01)
        loop.remove_signal_handler(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        run(loop, main())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert caught > 0
    peer.close()
    run(loop, asyncio.sleep(0.01))


_IDLE = """
import asyncio, signal, sys
import fastnet

async def main(how):
    if how == "handler":
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        print("ready", flush=True)
        await stopped.wait()
        print("stopped", flush=True)
    else:
        print("ready", flush=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            print("stopped", flush=True)

fastnet.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(("how", "number"), [("handler", signal.SIGTERM), ("wait", signal.SIGINT)])
def test_an_idle_process_ends_at_once(how: str, number: signal.Signals) -> None:
    """Ctrl-C, or SIGTERM with a handler, for a process whose loop waits for nothing else."""
    with started([sys.executable, "-c", _IDLE, how], stderr=subprocess.PIPE) as process:
        assert read_line(process) == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert out == "stopped\n"
    if how == "handler":
        assert (process.returncode, err) == (0, "")
    else:
        assert process.returncode in (-signal.SIGINT, 130)
        assert "KeyboardInterrupt" in err


def test_sigterm_ends_an_idle_process_without_a_handler() -> None:
    with started([sys.executable, "-c", _IDLE, "wait"]) as process:
        assert read_line(process) == "ready\n"
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM


def test_one_wake_up_a_burst(loop: asyncio.AbstractEventLoop) -> None:
    """A thousand calls from another thread while the loop sleeps in a callback cost one write to the eventfd."""
    calls: list[int] = []
    posted = threading.Event()

    def post() -> None:
        for i in range(1000):
            loop.call_soon_threadsafe(calls.append, i)
        posted.set()

    async def main() -> None:
        before = loop.metrics()["wakeups"]  # type: ignore[attr-defined]
        thread = threading.Thread(target=post)
        thread.start()
        posted.wait()  # blocks the loop: all calls fall into one turn
        thread.join()
        while len(calls) < 1000:
            await asyncio.sleep(0)
        assert loop.metrics()["wakeups"] - before <= 1  # type: ignore[attr-defined]

    run(loop, main())
    assert calls == list(range(1000))


def test_a_call_from_another_thread_ends_a_wait(loop: asyncio.AbstractEventLoop) -> None:
    thread = while_polling(lambda: loop.call_soon_threadsafe(loop.stop))
    loop.run_forever()
    thread.join()


_THREADS = """
import asyncio, itertools, sys, threading, time
import fastnet

for _ in range(5):
    loop = fastnet.new_event_loop()
    ran, accepted, refused = [], [0] * 8, [0] * 8
    go = threading.Event()

    def post(i):
        go.wait()
        for n in itertools.count():
            try:
                loop.call_soon_threadsafe(ran.append, (i, n))
            except RuntimeError:
                refused[i] += 1
                if refused[i] == 3:
                    return
            else:
                assert not refused[i], "taken after it was refused"
                accepted[i] += 1
                if n > 5000:
                    time.sleep(0.001)  # enough for this once it is so many

    threads = [threading.Thread(target=post, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    loop.call_later(0.02, loop.stop)
    go.set()
    loop.run_forever()
    # what was accepted before the loop closed runs, if the loop runs once more; what comes later is refused
    loop.run_until_complete(asyncio.sleep(0.01))
    before = sum(accepted)
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert len(ran) >= before, (len(ran), before)
    loop.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for i in range(8):
        mine = [n for j, n in ran if j == i]
        assert mine == list(range(len(mine))), "lost or out of order"
        assert len(mine) <= accepted[i]
        assert refused[i] == 3
print("good")
"""


def test_eight_threads_while_the_loop_stops_and_closes() -> None:
    """Nothing accepted before the last run is lost or out of order; RuntimeError once the loop is closed."""
    done = run_script(_THREADS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good\n", "")


def test_wakeup_fd_is_put_back(loop: asyncio.AbstractEventLoop) -> None:
    """run_forever sets a wakeup fd in the main thread, and leaves the one it found."""
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    run(loop, asyncio.sleep(0))
    after = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after)
    assert after == before


def test_a_loop_in_another_thread(loop_factory: Any) -> None:
    """No signal handling there, and nothing that needs it."""
    results: list[Any] = []

    def body() -> None:
        loop = loop_factory()
        try:
            results.append(loop.run_until_complete(asyncio.sleep(0.01, "ran")))
            with pytest.raises((ValueError, RuntimeError)):
                loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        finally:
            loop.close()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert results == ["ran"]


def test_environment_of_children() -> None:
    """The children of these tests import the same fastnet as the tests."""
    import fastnet

    done = subprocess.run(
        [sys.executable, "-c", "import fastnet; print(fastnet.__file__)"],
        env=environment(), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.strip() == fastnet.__file__
