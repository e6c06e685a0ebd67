"""asyncio's tasks, runners, timeouts and generators on the loop."""

import asyncio
import sys

import pytest

from tests.helpers.running import run, turn


def test_tasks_and_futures_are_asyncios_own(loop):
    async def main():
        return asyncio.current_task()

    assert type(loop.run_until_complete(main())) is asyncio.Task
    assert type(loop.create_future()) is asyncio.Future
    assert loop.create_future().get_loop() is loop


def test_create_task(loop):
    async def work(value):
        await asyncio.sleep(0)
        return value

    async def main():
        task = loop.create_task(work(42), name="my task")
        assert task.get_name() == "my task"
        assert task in asyncio.all_tasks()
        assert await task == 42
        assert task not in asyncio.all_tasks()

    run(loop, main())


def test_create_task_refuses_what_is_no_coroutine(loop):
    with pytest.raises(TypeError):
        loop.create_task(42)


def test_task_factory(loop):
    made = []

    def factory(loop, coroutine, **options):
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def work():
        return 42

    async def main():
        return await asyncio.create_task(work())

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    assert loop.run_until_complete(main()) == 42
    assert len(made) == 2
    loop.set_task_factory(None)
    with pytest.raises(TypeError):
        loop.set_task_factory(42)


@pytest.mark.skipif("sys.version_info < (3, 12)", reason="new in Python 3.12")
@pytest.mark.differs(uvloop="its create_task() and eager tasks do not agree on every Python", run=False)
def test_eager_tasks(loop):
    async def work():
        ran.append("at once")
        await asyncio.sleep(0)
        ran.append("later")

    async def main():
        task = asyncio.create_task(work())
        ran.append("after create_task")
        await task

    ran: list[str] = []
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    run(loop, main())
    assert ran == ["at once", "after create_task", "later"]


def test_runner(loop_factory):
    async def main():
        return asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        assert runner.run(main()) is loop
        assert runner.run(main()) is loop
    assert loop.is_closed()


@pytest.mark.skipif("sys.version_info < (3, 12)", reason="asyncio.run takes a loop_factory since Python 3.12")
def test_asyncio_run(loop_factory):
    async def main():
        await asyncio.to_thread(int)
        return type(asyncio.get_running_loop())

    loop = loop_factory()
    loop.close()
    assert asyncio.run(main(), loop_factory=loop_factory) is type(loop)  # type: ignore[call-arg]


def test_runner_cancels_what_is_left(loop_factory):
    ended = []

    async def background():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("background")

    async def main():
        main.task = asyncio.create_task(background())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert ended == ["background"]


def test_runner_in_debug_mode(loop_factory):
    async def main():
        return asyncio.get_running_loop().get_debug()

    with asyncio.Runner(loop_factory=loop_factory, debug=True) as runner:
        assert runner.run(main()) is True
    with asyncio.Runner(loop_factory=loop_factory, debug=False) as runner:
        assert runner.run(main()) is False


def test_gather(loop):
    async def work(i):
        await asyncio.sleep(0)
        if i == 3:
            raise LookupError(i)
        return i

    async def main():
        assert await asyncio.gather(*(work(i) for i in range(3))) == [0, 1, 2]
        with pytest.raises(LookupError):
            await asyncio.gather(*(work(i) for i in range(5)))
        results = await asyncio.gather(*(work(i) for i in range(5)), return_exceptions=True)
        assert results[:3] == [0, 1, 2]
        assert isinstance(results[3], LookupError)

    run(loop, main())


def test_task_group(loop):
    async def work(value):
        await asyncio.sleep(0)
        return value

    async def fail():
        raise LookupError

    async def main():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(i)) for i in range(10)]
        assert [task.result() for task in tasks] == list(range(10))
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(asyncio.Event().wait())
                group.create_task(fail())
        assert caught.group_contains(LookupError)
        assert waiting.cancelled()

    run(loop, main())


def test_wait_for(loop):
    async def main():
        assert await asyncio.wait_for(asyncio.sleep(0, "done"), 10) == "done"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.002)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0)

    run(loop, main())


def test_timeout(loop):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002):
                await asyncio.Event().wait()
        async with asyncio.timeout(10) as timeout:
            timeout.reschedule(loop.time() + 20)
            await asyncio.sleep(0)
        assert not timeout.expired()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(loop.time() - 1):
                await asyncio.Event().wait()

    run(loop, main())


def test_wait_and_as_completed(loop):
    async def work(i):
        await asyncio.sleep(i * 0.001)
        return i

    async def main():
        tasks = [asyncio.create_task(work(i)) for i in (3, 1, 2)]
        assert [await each for each in asyncio.as_completed(tasks)] == [1, 2, 3]
        event = asyncio.create_task(asyncio.Event().wait())
        done, pending = await asyncio.wait([*tasks, event], return_when=asyncio.FIRST_COMPLETED)
        assert done == set(tasks)
        assert pending == {event}
        event.cancel()

    run(loop, main())


def test_queue(loop):
    async def produce(queue):
        for i in range(100):
            await queue.put(i)

    async def main():
        queue: asyncio.Queue[int] = asyncio.Queue(3)
        task = asyncio.create_task(produce(queue))
        assert [await queue.get() for _ in range(100)] == list(range(100))
        await task

    run(loop, main())


def test_locks(loop):
    async def work(lock, semaphore, i):
        async with semaphore, lock:
            order.append(i)
            await asyncio.sleep(0)
            order.append(i)

    async def main():
        lock, semaphore = asyncio.Lock(), asyncio.Semaphore(2)
        await asyncio.gather(*(work(lock, semaphore, i) for i in range(5)))

    order: list[int] = []
    run(loop, main())
    assert order == [i for i in range(5) for _ in range(2)]


def test_cancellation(loop):
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "cleaned up"

    async def main():
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        assert await task == "cleaned up"
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel("with a message")
        with pytest.raises(asyncio.CancelledError, match="with a message"):
            await task

    run(loop, main())


def test_shutdown_asyncgens(loop):
    ended = []

    async def generator():
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async def main():
        main.generator = generator()  # type: ignore[attr-defined]
        assert await anext(main.generator) == 1  # type: ignore[attr-defined]

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert ended == [True]


def test_a_lost_async_generator_is_closed_by_the_loop(loop):
    ended = []

    async def generator():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async def main():
        async for _ in generator():
            break
        while not ended:
            await asyncio.sleep(0.001)

    run(loop, main())


def test_async_generator_hooks_are_restored(loop):
    before = sys.get_asyncgen_hooks()
    turn(loop)
    assert sys.get_asyncgen_hooks() == before


def test_thousand_sleeping_tasks(loop):
    async def nap(i):
        await asyncio.sleep(0.001 * (i % 10))
        return i

    async def main():
        assert await asyncio.gather(*(nap(i) for i in range(1000))) == list(range(1000))

    run(loop, main())


def test_as_coroutine_of_a_plain_generator_based_awaitable(loop):
    class Twice:
        def __await__(self):
            yield
            yield
            return "after two turns"

    async def main():
        return await Twice()

    assert run(loop, main()) == "after two turns"
