"""Debug mode: slow callbacks, calls from the wrong thread, coroutines as callbacks, tracebacks, what was not closed."""

import asyncio
import gc
import logging
import socket
import threading
import time
import warnings

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import run, run_until, turn
from tests.helpers.wires import TCP


def test_it_can_be_switched_at_run_time(loop):
    loop.set_debug(False)
    assert loop.get_debug() is False
    loop.set_debug(True)
    assert loop.get_debug() is True

    async def main():
        loop.set_debug(False)
        assert not loop.get_debug()
        loop.set_debug(True)
        await asyncio.sleep(0)
        return loop.get_debug()

    assert loop.run_until_complete(main()) is True


def test_a_slow_callback_is_logged(loop, caplog):
    def slow_callback():
        time.sleep(0.02)

    loop.set_debug(True)
    loop.slow_callback_duration = 0.01
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(slow_callback)
        turn(loop)
    assert any("slow_callback" in message and " took 0." in message for message in caplog.messages)
    assert any(message.startswith("Executing <Handle") for message in caplog.messages)


def test_a_slow_timer_and_a_slow_task_are_logged(loop, caplog):
    async def slow_task():
        time.sleep(0.02)

    loop.set_debug(True)
    loop.slow_callback_duration = 0.01
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_later(0.001, time.sleep, 0.02)
        loop.run_until_complete(slow_task())
        run_until(loop, lambda: sum(" took 0." in message for message in caplog.messages) >= 2)
    assert any("slow_task" in message for message in caplog.messages)


@pytest.mark.differs(uvloop="tells callbacks from handles only")
def test_a_slow_protocol_is_logged(loop, accepted, caplog):
    async def main():
        async with accepted(lambda: Recorder(data=lambda self, data: time.sleep(0.02))) as connection:
            connection.peer.send(b"x")
            await connection.protocol.until_received(1)
            await asyncio.sleep(0)

    loop.set_debug(True)
    loop.slow_callback_duration = 0.01
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(loop, main())
    assert any(message.startswith("Executing ") and " took 0." in message for message in caplog.messages)


def test_a_quick_callback_is_not_logged(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 20
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(time.sleep, 0.001)
        turn(loop)
    assert caplog.messages == []


def test_nothing_is_logged_outside_of_debug_mode(loop, caplog):
    loop.set_debug(False)
    loop.slow_callback_duration = 0.001
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(time.sleep, 0.01)
        turn(loop)
    assert caplog.messages == []


def test_slow_callback_duration_default(loop):
    assert loop.slow_callback_duration == 0.1


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_calls_from_another_thread_are_refused(loop, method):
    arguments = {"call_soon": (), "call_later": (1,), "call_at": (loop.time() + 1,)}[method]
    raised = []

    def elsewhere():
        try:
            getattr(loop, method)(*arguments, print)
        except RuntimeError as exc:
            raised.append(str(exc))

    async def main():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    loop.set_debug(True)
    run(loop, main())
    assert len(raised) == 1
    assert raised[0].startswith("Non-thread-safe operation")


def test_calls_while_the_loop_does_not_run_are_not_refused(loop):
    loop.set_debug(True)
    loop.call_soon(lambda: None)
    thread = threading.Thread(target=lambda: loop.call_soon(lambda: None))
    thread.start()
    thread.join()
    turn(loop)


@pytest.mark.differs(uvloop="takes anything for a callback")
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_coroutines_are_refused_as_callbacks(loop, method):
    async def coroutine_function():
        pass

    arguments = {"call_later": (1,), "call_at": (loop.time() + 1,)}.get(method, ())
    loop.set_debug(True)
    coroutine = coroutine_function()
    for wrong in (coroutine, coroutine_function):
        with pytest.raises(TypeError, match="coroutines cannot be used with"):
            getattr(loop, method)(*arguments, wrong)
    coroutine.close()


@pytest.mark.differs(uvloop="takes anything for a callback")
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_what_cannot_be_called_is_refused(loop, method):
    arguments = {"call_later": (1,), "call_at": (loop.time() + 1,)}.get(method, ())
    loop.set_debug(True)
    with pytest.raises(TypeError, match="callable object was expected"):
        getattr(loop, method)(*arguments, 42)


def test_handles_know_where_they_were_made(loop):
    loop.set_debug(True)
    handles = [
        loop.call_soon(print),
        loop.call_later(3600, print),
        loop.call_at(loop.time() + 3600, print),
        loop.call_soon_threadsafe(print),
    ]
    for handle in handles:
        frame = handle._source_traceback[-1]
        assert frame.filename == __file__
        assert frame.name == "test_handles_know_where_they_were_made"
        assert f"created at {__file__}" in repr(handle)
        handle.cancel()


def test_the_exception_handler_is_told_where_the_callback_was_scheduled(loop, errors):
    def fail():
        raise LookupError

    loop.set_debug(True)
    loop.call_soon(fail)
    turn(loop)
    context = errors.pop()
    assert context["source_traceback"][-1].filename == __file__


def test_no_tracebacks_outside_of_debug_mode(loop, errors):
    def fail():
        raise LookupError

    loop.set_debug(False)
    handle = loop.call_soon(fail)
    assert not handle._source_traceback
    turn(loop)
    assert "source_traceback" not in errors.pop()


@pytest.mark.differs(uvloop="warns of no unclosed loop")
def test_an_unclosed_loop_warns(loop_factory):
    loop = loop_factory()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()


@pytest.mark.differs(uvloop="warns of no unclosed loop")
def test_an_unclosed_loop_that_has_run_and_holds_much_is_collected(loop_factory):
    """Handles, timers, a server and transports refer to each other and to the loop: all must go."""
    loop = loop_factory()
    made = []

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0)
        peer = TCP.peer(server.sockets[0].getsockname())
        while not (made and made[0].transport):
            await asyncio.sleep(0)
        loop.call_later(3600, lambda: server)
        return peer, server

    peer, server = loop.run_until_complete(main())
    loop.call_soon(made.append, loop)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.clear()
        del loop, server, main
        gc.collect()
        gc.collect()
    peer.close()
    messages = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    assert any("unclosed event loop" in message for message in messages)


@pytest.mark.differs(uvloop="closes it with the loop, silently")
def test_an_unclosed_transport_warns(loop_factory):
    loop = loop_factory()

    async def main():
        with TCP.listening() as listener:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
            return transport

    transport = loop.run_until_complete(main())
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del transport, loop
        gc.collect()


def test_everything_works_in_debug_mode(loop, link):
    """A round trip of each kind, with all checks on."""

    async def main():
        loop.set_debug(True)
        async with link(lambda: Recorder(data=lambda protocol, data: protocol.transport.write(data))) as connection:
            sending = asyncio.ensure_future(connection.peer.send_all(b"x" * 1_000_000))
            assert len(await connection.peer.receive(1_000_000)) == 1_000_000
            await sending
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None

    loop.slow_callback_duration = 20
    run(loop, main())


def test_blocking_sockets_are_refused(loop):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            for call in (
                loop.sock_recv(left, 1),
                loop.sock_recv_into(left, bytearray(1)),
                loop.sock_sendall(left, b"x"),
                loop.sock_accept(left),
                loop.sock_connect(left, "/nowhere"),
            ):
                with pytest.raises(ValueError, match="non-blocking"):
                    await call

    loop.set_debug(True)
    run(loop, main())
