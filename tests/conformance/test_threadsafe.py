"""call_soon_threadsafe and run_coroutine_threadsafe: from any thread, nothing lost, none after close."""

import asyncio
import threading

import pytest

from tests.helpers.running import run, turn, wait_until_polling, while_polling


def test_wakes_a_waiting_loop(loop):
    thread = while_polling(lambda: loop.call_soon_threadsafe(loop.stop))
    loop.run_forever()
    thread.join()


def test_order_of_calls_from_one_thread(loop):
    ran = []

    def work():
        for i in range(5000):
            loop.call_soon_threadsafe(ran.append, i)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert ran == list(range(5000))


def test_calls_from_eight_threads(loop):
    ran = {name: [] for name in range(8)}
    finished = []

    def finish():
        finished.append(True)
        if len(finished) == 8:
            loop.stop()

    def work(name):
        for i in range(1000):
            loop.call_soon_threadsafe(ran[name].append, i)
        loop.call_soon_threadsafe(finish)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert ran == {name: list(range(1000)) for name in range(8)}


def test_callbacks_run_in_the_loops_thread(loop):
    seen = []

    def callback():
        seen.append(threading.get_ident())
        loop.stop()

    thread = while_polling(lambda: loop.call_soon_threadsafe(callback))
    loop.run_forever()
    thread.join()
    assert seen == [threading.get_ident()]


def test_before_the_run_nothing_is_lost(loop):
    ran = []
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(ran.append, 1))
    thread.start()
    thread.join()
    turn(loop)
    assert ran == [1]


def test_between_runs_nothing_is_lost(loop):
    ran = []
    turn(loop)
    thread = threading.Thread(target=lambda: [loop.call_soon_threadsafe(ran.append, i) for i in range(100)])
    thread.start()
    thread.join()
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    assert ran == list(range(100))


def test_from_the_loops_own_thread(loop):
    ran = []
    loop.call_soon(lambda: loop.call_soon_threadsafe(ran.append, "inner"))
    loop.call_soon_threadsafe(ran.append, "outer")
    turn(loop)
    turn(loop)
    assert ran == ["outer", "inner"]


def test_cancel(loop):
    ran = []
    loop.call_soon_threadsafe(ran.append, "never").cancel()
    turn(loop)
    assert ran == []


def test_context(loop):
    import contextvars

    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen = []
    context = contextvars.copy_context()
    context.run(var.set, "given")

    def work():
        var.set("the thread's")
        loop.call_soon_threadsafe(lambda: seen.append(var.get()))
        loop.call_soon_threadsafe(lambda: seen.append(var.get()), context=context)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    thread.start()
    loop.run_forever()
    thread.join()
    assert seen == ["the thread's", "given"]


def test_raises_after_close(loop):
    loop.close()
    raised = []

    def work():
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as exc:
            raised.append(str(exc))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert raised == ["Event loop is closed"]


def test_threads_go_on_calling_while_the_loop_stops_and_closes(loop_factory):
    """Nothing accepted before the last run is lost, and after close() every call raises RuntimeError."""
    loop = loop_factory()
    ran = []
    accepted = [0] * 4
    refused = []
    last_run = threading.Event()
    start = threading.Barrier(5)

    def work(name):
        start.wait()
        while accepted[name] < 3000 and not last_run.is_set():
            loop.call_soon_threadsafe(ran.append, name)
            accepted[name] += 1
        start.wait()
        try:
            while True:
                loop.call_soon_threadsafe(lambda: None)
        except RuntimeError as exc:
            refused.append(str(exc))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    start.wait()
    for _ in range(20):
        turn(loop)
    last_run.set()
    start.wait()
    turn(loop)
    counts = [ran.count(name) for name in range(4)]
    loop.close()
    for thread in threads:
        thread.join()
    assert counts == accepted
    assert refused == ["Event loop is closed"] * 4


def test_run_coroutine_threadsafe(loop):
    async def work(value):
        await asyncio.sleep(0)
        return value

    results = []

    def elsewhere():
        results.append(asyncio.run_coroutine_threadsafe(work(42), loop).result(timeout=20))
        loop.call_soon_threadsafe(loop.stop)

    thread = while_polling(elsewhere)
    loop.run_forever()
    thread.join()
    assert results == [42]


def test_thousand_wake_ups_of_a_waiting_loop(loop):
    """Each call finds the loop waiting or about to wait: one lost wake-up and the test hangs."""
    thread_id = threading.get_native_id()
    turns = threading.Semaphore(0)

    def work():
        wait_until_polling(thread_id)
        for _ in range(1000):
            loop.call_soon_threadsafe(turns.release)
            turns.acquire()
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    thread.start()
    loop.run_forever()
    thread.join()


@pytest.mark.skipif("sys.version_info < (3, 14)", reason="cancel() is thread-safe since Python 3.14")
def test_handle_is_cancelled_from_another_thread(loop):
    ran = []

    def elsewhere():
        for i in range(200):
            loop.call_soon_threadsafe(ran.append, i).cancel()
        loop.call_soon_threadsafe(loop.stop)

    thread = while_polling(elsewhere)
    loop.run_forever()
    thread.join()
    assert all(isinstance(i, int) for i in ran)


def test_event_set_by_a_thread(loop):
    async def main():
        event = asyncio.Event()
        loop = asyncio.get_running_loop()
        thread = while_polling(lambda: loop.call_soon_threadsafe(event.set))
        await event.wait()
        thread.join()

    run(loop, main())
