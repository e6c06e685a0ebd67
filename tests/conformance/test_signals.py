"""Signals: handlers, Ctrl-C while the loop waits, the wake-up of a loop by a signal that came to another thread."""

import asyncio
import os
import signal
import socket
import threading
import time

import pytest

from tests.helpers.running import run, run_until, send_signal, turn, while_polling


@pytest.fixture(autouse=True)
def signals_as_before():
    """A loop that leaves a handler behind must not spoil the tests after it."""
    numbers = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)


def test_handler_runs_in_the_loop(loop):
    ran = []

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, lambda *args: ran.append((args, asyncio.get_running_loop())), 1, 2)
        send_signal(signal.SIGUSR1)
        assert ran == []
        while not ran:
            await asyncio.sleep(0.001)
        assert loop.remove_signal_handler(signal.SIGUSR1) is True

    run(loop, main())
    assert ran == [((1, 2), loop)]


def test_handler_ends_a_wait(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    thread = while_polling(lambda: send_signal(signal.SIGUSR1))
    loop.run_forever()
    thread.join()
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.differs(uvloop="leaves a handler of its own after remove_signal_handler()")
def test_remove_says_whether_there_was_one(loop):
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    loop.add_signal_handler(signal.SIGUSR1, print)
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_new_handler_replaces_the_old_one(loop):
    ran = []
    loop.add_signal_handler(signal.SIGUSR1, ran.append, "old")
    loop.add_signal_handler(signal.SIGUSR1, ran.append, "new")
    loop.call_soon(send_signal, signal.SIGUSR1)
    run_until(loop, lambda: ran)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert ran == ["new"]


def test_several_signals(loop):
    ran = []
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ran.append, number)
        loop.call_soon(send_signal, number)
    run_until(loop, lambda: len(ran) == 4)
    for number in ran:
        loop.remove_signal_handler(number)
    assert set(ran) == {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP}


@pytest.mark.differs(uvloop="refuses SIGCHLD")
def test_sigchld(loop):
    ran = []
    loop.add_signal_handler(signal.SIGCHLD, ran.append, 1)
    loop.call_soon(send_signal, signal.SIGCHLD)
    run_until(loop, lambda: ran)
    loop.remove_signal_handler(signal.SIGCHLD)


def test_wrong_signals_are_refused(loop):
    with pytest.raises(ValueError):
        loop.add_signal_handler(1000, print)
    with pytest.raises((TypeError, ValueError)):
        loop.add_signal_handler("SIGUSR1", print)
    with pytest.raises((RuntimeError, OSError)):
        loop.add_signal_handler(signal.SIGKILL, print)


def test_coroutines_are_refused(loop):
    async def coroutine_function():
        pass

    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.add_signal_handler(signal.SIGUSR1, coroutine_function)


def test_handlers_are_set_in_the_main_thread_alone(loop):
    raised = []

    def elsewhere():
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except (ValueError, RuntimeError) as exc:
            raised.append(exc)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(raised) == 1


@pytest.mark.differs(uvloop="leaves handlers of its own after close()")
def test_close_removes_the_handlers(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_the_wakeup_descriptor_of_others_is_not_left_changed(loop):
    turn(loop)
    assert signal.set_wakeup_fd(-1) == -1
    loop.add_signal_handler(signal.SIGUSR1, print)
    turn(loop)
    loop.remove_signal_handler(signal.SIGUSR1)
    turn(loop)
    assert signal.set_wakeup_fd(-1) == -1


def test_exception_in_a_handler_is_told(loop, errors):
    def fail():
        raise LookupError("mine")

    loop.add_signal_handler(signal.SIGUSR1, fail)
    loop.call_soon(send_signal, signal.SIGUSR1)
    run_until(loop, lambda: errors)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert isinstance(errors.pop()["exception"], LookupError)


@pytest.mark.differs(asyncio="sleeps on where the kernel gives the signal to another thread", run=False)
def test_ctrl_c_ends_an_idle_wait_at_once(loop):
    """The loop has nothing but a timer in an hour; a wait that retries after a signal would last as long."""
    timer = loop.call_later(3600, print)
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        send_signal(signal.SIGINT)

    thread = while_polling(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert time.monotonic() - sent[0] < 10
    thread.join()
    timer.cancel()
    ran = []
    loop.call_soon(ran.append, 1)
    turn(loop)
    assert ran == [1]


@pytest.mark.differs(asyncio="sleeps on where the kernel gives the signal to another thread", run=False)
def test_ctrl_c_ends_a_wait_without_any_timer(loop):
    thread = while_polling(lambda: send_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()


def test_ctrl_c_ends_a_busy_loop(loop):
    def again():
        loop.call_soon(again)

    loop.call_soon(again)
    loop.call_later(0.005, send_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


def test_ctrl_c_ends_run_until_complete(loop):
    async def main():
        await asyncio.Event().wait()

    task = loop.create_task(main())
    thread = while_polling(lambda: send_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    thread.join()
    assert not task.done()


def test_ctrl_c_cancels_the_main_task_of_a_runner(loop_factory):
    """asyncio.Runner turns the first Ctrl-C into a cancellation, so that finally blocks run."""
    seen = []

    async def main():
        thread = while_polling(lambda: send_signal(signal.SIGINT))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            thread.join()
            await asyncio.sleep(0)
            seen.append("cleaned up")

    with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    assert seen == ["cancelled", "cleaned up"]


@pytest.mark.differs(uvloop="leaves a handler of its own after remove_signal_handler()")
def test_sigint_handler_of_the_loop(loop):
    """add_signal_handler takes Ctrl-C over; after removal it raises KeyboardInterrupt again."""
    loop.add_signal_handler(signal.SIGINT, loop.stop)
    loop.call_soon(send_signal, signal.SIGINT)
    loop.run_forever()
    assert loop.remove_signal_handler(signal.SIGINT)
    loop.call_soon(send_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


def test_plain_python_handler_runs_while_the_loop_waits(loop):
    """A handler of signal.signal() runs at once, not at the end of the wait."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: loop.call_soon_threadsafe(loop.stop))
    try:
        thread = while_polling(lambda: send_signal(signal.SIGUSR1))
        loop.run_forever()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.differs(asyncio="its wait goes on: it sets a wakeup descriptor for its own handlers alone", run=False)
def test_a_signal_that_came_to_another_thread(loop):
    """The kernel may give a process's signal to any thread; the handler must run while the main thread waits."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: loop.call_soon_threadsafe(loop.stop))
    try:
        thread = while_polling(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
        loop.run_forever()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_of_the_loop_that_came_to_another_thread(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    thread = while_polling(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    loop.run_forever()
    thread.join()
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.differs(uvloop="does not end the run", run=False)
def test_an_exception_of_a_plain_handler_comes_out_and_the_loop_goes_on(loop):
    class Mine(BaseException):
        pass

    def handler(number, frame):
        raise Mine

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        thread = while_polling(lambda: send_signal(signal.SIGUSR1))
        with pytest.raises(Mine):
            loop.run_forever()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    ran = []
    loop.call_soon(ran.append, 1)
    turn(loop)
    assert ran == [1]


def test_many_signals_in_a_row(loop):
    count = 0

    def handler():
        nonlocal count
        count += 1
        if count < 500:
            send_signal(signal.SIGUSR1)
        else:
            loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handler)
    loop.call_soon(send_signal, signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert count == 500


def test_a_loop_in_another_thread_leaves_signals_alone(loop_factory):
    done = []

    def elsewhere():
        loop = loop_factory()
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        done.append(os.getpid())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.differs(uvloop="loses the signal", run=False)
def test_a_signal_of_a_loop_that_does_not_run_is_kept(loop, loop_factory):
    other, got = loop_factory(), []
    other.add_signal_handler(signal.SIGUSR1, got.append, 1)
    loop.call_soon(send_signal, signal.SIGUSR1)
    turn(loop)
    turn(loop)
    run_until(other, lambda: got)
    other.remove_signal_handler(signal.SIGUSR1)
    other.close()
    assert got == [1]


@pytest.mark.differs(uvloop="loses the signal", run=False)
def test_a_foreign_wakeup_descriptor_hears_of_its_signals(loop):
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    before = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    signal.set_wakeup_fd(theirs.fileno())
    try:
        loop.call_soon(send_signal, signal.SIGUSR2)
        turn(loop)
        turn(loop)
        assert ours.recv(10) == bytes([signal.SIGUSR2])
        assert signal.set_wakeup_fd(-1) == theirs.fileno()
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR2, before)
        ours.close()
        theirs.close()
