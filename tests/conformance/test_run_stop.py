"""run_forever, run_until_complete, stop, close: what may be nested, what is lost, what raises."""

import asyncio
import gc
import sys
import threading

import pytest

from tests.helpers.running import turn

# Fixed in 3.13.1.
PYTHON_3_13_0 = (
    "run_forever() of a running loop forgets which loop runs" if sys.version_info[:3] == (3, 13, 0) else None
)


def test_stop_ends_after_the_turn(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(loop.stop)
    loop.call_soon(ran.append, 2)
    loop.run_forever()
    assert ran == [1, 2]


@pytest.mark.differs(uvloop="stop() still runs callbacks scheduled in that same callback")
def test_what_is_scheduled_in_the_last_turn_waits_for_the_next_run(loop):
    ran = []

    def last():
        loop.stop()
        loop.call_soon(ran.append, "next run")

    loop.call_soon(last)
    loop.run_forever()
    assert ran == []
    turn(loop)
    assert ran == ["next run"]


def test_stop_before_the_run_gives_one_turn(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(lambda: loop.call_soon(ran.append, "second turn"))
    loop.stop()
    loop.run_forever()
    assert ran[:1] == [1]
    assert not loop.is_running()
    turn(loop)
    assert ran == [1, "second turn"]


def test_stop_twice(loop):
    loop.call_soon(loop.stop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    ran = []
    loop.call_soon(ran.append, 1)
    turn(loop)
    assert ran == [1]


def test_stop_from_a_timer(loop):
    loop.call_later(0.001, loop.stop)
    loop.run_forever()


def test_the_loop_runs_again_and_again(loop):
    ran = []
    for i in range(100):
        loop.call_soon(ran.append, i)
        turn(loop)
    assert ran == list(range(100))


def test_is_running(loop):
    seen = []
    assert not loop.is_running()
    loop.call_soon(lambda: seen.append(loop.is_running()))
    turn(loop)
    assert seen == [True]
    assert not loop.is_running()


def test_running_loop_is_set_and_unset(loop):
    seen = []
    loop.call_soon(lambda: seen.append(asyncio.get_running_loop()))
    turn(loop)
    assert seen == [loop]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert asyncio._get_running_loop() is None


def test_running_loop_is_unset_after_an_exception(loop):
    def fail():
        raise SystemExit

    loop.call_soon(fail)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert asyncio._get_running_loop() is None
    assert not loop.is_running()


def test_run_until_complete_returns_the_result(loop):
    async def main():
        await asyncio.sleep(0)
        return 42

    assert loop.run_until_complete(main()) == 42


def test_run_until_complete_raises_the_exception(loop):
    async def main():
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        loop.run_until_complete(main())


def test_run_until_complete_takes_a_future_and_a_task(loop):
    future = loop.create_future()
    loop.call_soon(future.set_result, "future")
    assert loop.run_until_complete(future) == "future"

    async def main():
        return "task"

    assert loop.run_until_complete(loop.create_task(main())) == "task"
    assert loop.run_until_complete(future) == "future"


def test_run_until_complete_takes_any_awaitable(loop):
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    assert loop.run_until_complete(Awaitable()) == "awaited"


def test_run_until_complete_refuses_what_is_no_awaitable(loop):
    with pytest.raises(TypeError):
        loop.run_until_complete(42)


def test_stopped_before_the_future_is_done(loop):
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"Event loop stopped before Future completed\."):
        loop.run_until_complete(future)


def test_cancelled_future(loop):
    future = loop.create_future()
    loop.call_soon(future.cancel)
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(future)


def test_future_of_another_loop_is_refused(loop, loop_factory):
    other = loop_factory()
    try:
        with pytest.raises(ValueError, match=r"different loop|belongs to"):
            loop.run_until_complete(other.create_future())
    finally:
        other.close()


@pytest.mark.differs(asyncio=PYTHON_3_13_0, run=False)
def test_nested_run_of_the_same_loop(loop):
    async def main():
        for nested in (loop.run_forever, lambda: loop.run_until_complete(loop.create_future())):
            with pytest.raises(RuntimeError, match="already running"):
                nested()
        return loop.is_running()

    assert loop.run_until_complete(main())


@pytest.mark.differs(asyncio=PYTHON_3_13_0, run=False)
def test_nested_run_of_another_loop(loop, loop_factory):
    other = loop_factory()

    async def main():
        with pytest.raises(RuntimeError, match="another loop is running"):
            other.run_forever()
        assert asyncio.get_running_loop() is loop

    try:
        loop.run_until_complete(main())
    finally:
        other.close()


def test_run_from_another_thread_while_running(loop):
    raised = []

    def elsewhere():
        try:
            loop.run_forever()
        except RuntimeError as exc:
            raised.append(str(exc).lower().rstrip("."))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=elsewhere)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert raised == ["this event loop is already running"]


def test_one_loop_run_by_several_threads_in_turn(loop):
    ran = []

    def elsewhere():
        loop.call_soon(lambda: ran.append(threading.get_ident()))
        turn(loop)

    for _ in range(3):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    elsewhere()
    assert len(ran) == 4
    assert ran[-1] == threading.get_ident()


def test_loops_in_several_threads_at_once(loop_factory):
    async def main(name):
        await asyncio.sleep(0.001)
        return name, asyncio.get_running_loop()

    results = {}

    def work(name):
        loop = loop_factory()
        results[name] = loop.run_until_complete(main(name)) == (name, loop)
        loop.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), True)


def test_close_while_running(loop):
    async def main():
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()

    loop.run_until_complete(main())
    assert not loop.is_closed()


def test_close_twice(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()


def test_everything_raises_after_close(loop):
    loop.close()

    async def never():
        pass

    calls = [
        lambda: loop.call_soon(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.run_forever(),
        lambda: loop.run_in_executor(None, print),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    coroutine = never()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coroutine)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_until_complete(coroutine)
    coroutine.close()


def test_close_lets_go_of_what_was_scheduled(loop):
    import weakref

    class Thing:
        pass

    things = [Thing(), Thing(), Thing()]
    refs = [weakref.ref(thing) for thing in things]
    loop.call_soon(lambda thing: None, things[0])
    loop.call_later(3600, lambda thing: None, things[1])
    loop.call_soon_threadsafe(lambda thing: None, things[2])
    del things
    loop.close()
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


def test_repr(loop):
    assert "running=False" in repr(loop)
    assert "closed=False" in repr(loop)
    loop.close()
    assert "closed=True" in repr(loop)


def test_a_loop_never_run_closes(loop_factory):
    loop_factory().close()


def test_it_is_an_abstract_event_loop(loop):
    assert isinstance(loop, asyncio.AbstractEventLoop)


def test_attributes_can_be_set(loop):
    loop.my_attribute = "mine"
    assert loop.my_attribute == "mine"


def test_loop_is_hashable_and_weakly_referable(loop):
    import weakref

    assert {loop: 1}[loop] == 1
    assert weakref.ref(loop)() is loop


def test_exceptions_in_a_task_do_not_stop_the_loop(loop):
    async def fail():
        raise LookupError

    async def main():
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert isinstance(task.exception(), LookupError)
        return "went on"

    assert loop.run_until_complete(main()) == "went on"
