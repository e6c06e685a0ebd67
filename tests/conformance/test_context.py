"""Context variables: one context a connection, copies at call time, the server's context as the model."""

import asyncio
import contextvars
import sys

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import in_thread, run, until

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")
SEVERAL_COPIES = "up to 3.14: several copies of the context for one connection" if sys.version_info < (3, 15) else None


@pytest.mark.differs(asyncio=SEVERAL_COPIES)
@pytest.mark.parametrize("make", [Recorder, BufferedRecorder], ids=["protocol", "buffered"])
def test_all_callbacks_of_a_connection_share_one_context(loop, wire, make):
    async def main():
        def note(protocol, *args):
            seen.append(VAR.get())
            VAR.set(f"set after {len(seen)}")

        VAR.set("the server's")
        async with wire.accepted(lambda: make(made=note, data=note, eof=note, lost=note)) as connection:
            connection.peer.send(b"hello")
            await connection.protocol.until_received(5)
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
        assert VAR.get() == "the server's"

    seen: list[str] = []
    run(loop, main())
    assert seen == ["the server's", "set after 1", "set after 2", "set after 3"]


def test_two_connections_do_not_share_a_context(loop, wire):
    async def main():
        def note(protocol, *args):
            seen.append(VAR.get())
            VAR.set(f"set by {len(seen)}")

        VAR.set("the server's")
        async with wire.accepted(lambda: Recorder(made=note)), wire.accepted(lambda: Recorder(made=note)):
            pass

    seen: list[str] = []
    run(loop, main())
    assert seen == ["the server's", "the server's"]


def test_a_client_starts_with_a_copy_of_the_callers_context(loop, wire):
    async def main():
        def note(protocol, *args):
            seen.append(VAR.get())
            VAR.set("the connection's")

        VAR.set("the caller's")
        async with wire.connected(lambda: Recorder(made=note)):
            assert VAR.get() == "the caller's"

    seen: list[str] = []
    run(loop, main())
    assert seen == ["the caller's"]


@pytest.mark.differs(uvloop="calls them in the connection's context")
def test_pause_and_resume_inside_write_run_in_the_writers_context(loop, accepted):
    async def main():
        def note(protocol):
            seen.append(VAR.get())

        async with accepted(lambda: Recorder(pause=note), small=True) as connection:
            VAR.set("the writer's")
            connection.transport.write(b"x" * 1_000_000)
            await connection.peer.receive(1_000_000)

    seen: list[str] = []
    run(loop, main())
    assert seen == ["the writer's"]


def test_a_write_in_a_callback_may_pause_and_close(loop, accepted):
    """pause_writing is called with the connection's context entered already: it must not be entered twice."""

    async def main():
        def answer(protocol, data):
            VAR.set("the callback's")
            protocol.transport.write(b"x" * 1_000_000)

        def note(protocol):
            seen.append(VAR.get())

        async with accepted(lambda: Recorder(data=answer, pause=note), small=True) as connection:
            connection.peer.send(b"?")
            await until(lambda: seen)  # a peer that reads meanwhile may take all of it from a Unix socket
            await connection.peer.receive(1_000_000)

    seen: list[str] = []
    run(loop, main())
    assert seen == ["the callback's"]


@pytest.mark.differs(uvloop="runs the callback in the very context of the call")
@pytest.mark.parametrize("way", ["add_reader", "add_writer"])
def test_add_reader_copies_the_context(loop, way):
    import socket

    left, right = socket.socketpair()
    left.setblocking(False)
    right.send(b"x")
    seen = []

    def ready():
        seen.append(VAR.get())
        VAR.set("the callback's")
        loop.stop()

    VAR.set("at the call")
    getattr(loop, way)(left, ready)
    VAR.set("later")
    loop.run_forever()
    getattr(loop, way.replace("add", "remove"))(left)
    left.close()
    right.close()
    assert seen == ["at the call"]
    assert VAR.get() == "later"


def test_signal_handlers_copy_the_context(loop):
    import signal

    from tests.helpers.running import send_signal

    seen = []

    def handler():
        seen.append(VAR.get())
        loop.stop()

    VAR.set("at the call")
    loop.add_signal_handler(signal.SIGUSR1, handler)
    VAR.set("later")
    loop.call_soon(send_signal, signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == ["at the call"]


def test_tasks_have_a_copy_each(loop):
    async def child(name):
        seen.append(VAR.get())
        VAR.set(name)
        await asyncio.sleep(0)
        seen.append(VAR.get())

    async def main():
        VAR.set("parent")
        await asyncio.gather(child("a"), child("b"))
        assert VAR.get() == "parent"

    seen: list[str] = []
    run(loop, main())
    assert seen == ["parent", "parent", "a", "b"]


def test_create_task_takes_a_context(loop):
    async def child():
        VAR.set("child's")

    async def main():
        context = contextvars.copy_context()
        await loop.create_task(child(), context=context)
        assert context[VAR] == "child's"

    run(loop, main())


def test_to_thread_takes_the_context_along(loop):
    async def main():
        VAR.set("main")
        assert await asyncio.to_thread(VAR.get) == "main"
        assert await in_thread(VAR.get) != "main"
        await loop.shutdown_default_executor()

    run(loop, main())


def test_future_callbacks_take_a_context(loop):
    async def main():
        future = loop.create_future()
        seen = []
        VAR.set("at the call")
        future.add_done_callback(lambda _: seen.append(VAR.get()))
        VAR.set("later")
        future.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == ["at the call"]

    run(loop, main())
