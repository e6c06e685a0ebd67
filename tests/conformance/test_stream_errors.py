"""Exceptions of the protocol's own: told once, the connection ended, everybody else served as before."""

import asyncio
import gc
import warnings

import pytest

from tests.helpers.protocols import BufferedRecorder, Echo, Recorder
from tests.helpers.running import run, until


class Mine(Exception):
    """What the protocols of this file raise."""


def fail(protocol, *args):
    """A hook that raises."""
    raise Mine


async def still_serves(wire, address):
    """Checks that a new client is served."""
    peer = wire.peer(address)
    peer.send(b"ping")
    assert await peer.receive(4) == b"ping"
    peer.close()


def told_once(errors, *words):
    """Takes the only thing that the exception handler was told, and checks it."""
    (context,) = errors
    errors.clear()
    assert isinstance(context["exception"], Mine)
    for word in words:
        assert word in context["message"]
    return context


@pytest.mark.differs(uvloop="words its message in its own way")
@pytest.mark.parametrize(
    ("callback", "make", "name"),
    [
        ("data", Recorder, "data_received"),
        ("eof", Recorder, "eof_received"),
        ("data", BufferedRecorder, "buffer_updated"),
        ("buffer", BufferedRecorder, "get_buffer"),
        ("eof", BufferedRecorder, "eof_received"),
    ],
    ids=["data_received", "eof_received", "buffer_updated", "get_buffer", "buffered-eof_received"],
)
def test_an_exception_ends_the_connection_and_is_told_once(loop, link, errors, callback, make, name):
    async def main():
        async with link(lambda: make(**{callback: fail})) as connection:
            connection.peer.send(b"hello")
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            assert isinstance(connection.protocol.error, Mine)
            assert connection.protocol.count("lost") == 1
            assert connection.transport.is_closing()
            context = told_once(errors, f"protocol.{name}() call failed")
            assert context["transport"] is connection.transport
            assert context["protocol"] is connection.protocol

    run(loop, main())


@pytest.mark.parametrize("callback", ["data", "eof"])
def test_an_exception_in_one_connection_leaves_the_others_alone(loop, wire, errors, callback):
    async def main():
        made = []

        def factory():
            made.append(Recorder(**({callback: fail} if len(made) == 1 else {"data": echo})))
            return made[-1]

        def echo(protocol, data):
            protocol.transport.write(data)

        async with wire.serving(factory) as (_, address):
            before = wire.peer(address)
            before.send(b"1")
            assert await before.receive(1) == b"1"
            offender = wire.peer(address)
            offender.send(b"x")
            offender.end()
            try:
                assert await offender.receive_to_end() == b""
            except ConnectionResetError:
                pass
            offender.close()
            before.send(b"2")
            assert await before.receive(1) == b"2"
            await still_serves(wire, address)
            before.close()
            await until(lambda: len(made) == 3 and all(protocol.count("lost") for protocol in made))

    run(loop, main())
    told_once(errors)


def test_an_exception_in_connection_lost_is_told_and_frees_everything(loop, link, errors):
    async def main():
        async with link(lambda: Recorder(lost=fail)) as connection:
            connection.peer.close()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    run(loop, main())
    told_once(errors)


@pytest.mark.differs(uvloop="the connection can neither be used nor closed", run=False)
def test_an_exception_in_connection_made_is_told_and_others_are_served(loop, wire, errors):
    async def main():
        made = []

        def factory():
            made.append(Recorder(made=fail) if not made else Echo())
            return made[-1]

        async with wire.serving(factory) as (_, address):
            offender = wire.peer(address)
            await until(lambda: errors)
            told_once(errors, "connection_made")
            await still_serves(wire, address)
            offender.close()
            await made[0].until_seen("lost")

    run(loop, main())


@pytest.mark.differs(uvloop="the connection can neither be used nor closed", run=False)
@pytest.mark.differs(asyncio="keeps a connection whose connection_made failed")
def test_an_exception_in_connection_made_ends_the_connection(loop, wire, errors):
    async def main():
        made = []
        async with wire.serving(lambda: made.append(Recorder(made=fail)) or made[-1]) as (_, address):
            offender = wire.peer(address)
            try:
                await until(lambda: errors)
                await asyncio.sleep(0.005)
                assert made[0].kinds == ["made", "lost"]
                assert isinstance(made[0].error, Mine)
            finally:
                offender.close()
                await made[0].until_seen("lost")

    run(loop, main())
    told_once(errors, "connection_made")


def test_create_connection_returns_though_connection_made_raised(loop, wire, errors):
    """The exception handler is told; the caller gets the transport and the protocol as ever."""

    async def main():
        async with wire.serving(Echo) as (_, address):
            transport, protocol = await wire.connect(lambda: Recorder(made=fail), address)
            told_once(errors, "connection_made")
            assert protocol.kinds[0] == "made"
            transport.abort()
            await protocol.until_seen("lost")
            await asyncio.sleep(0.001)

    run(loop, main())


FACTORY = "its listener is deaf after an exception of the factory"


@pytest.mark.differs(uvloop=FACTORY, run=False)
def test_an_exception_in_the_factory_leaves_the_server_serving(loop, wire, errors):
    async def main():
        calls = []

        def factory():
            calls.append(1)
            if len(calls) <= 3:
                raise Mine
            return Echo()

        async with wire.serving(factory) as (_, address):
            for _ in range(3):
                offender = wire.peer(address)
                try:
                    assert await offender.receive_to_end() == b""
                except ConnectionResetError:
                    pass
                offender.close()
            await still_serves(wire, address)
            await asyncio.sleep(0.002)

    with pytest.warns(ResourceWarning) if asyncio_leaks(loop) else no_warnings():
        run(loop, main())
    errors.clear()


@pytest.mark.differs(asyncio="tells it in debug mode alone")
def test_an_exception_in_the_factory_is_told(loop, wire, errors):
    async def main():
        def factory():
            raise Mine

        async with wire.serving(factory) as (_, address):
            offender = wire.peer(address)
            await until(lambda: errors)
            offender.close()

    if asyncio_leaks(loop):
        raise AssertionError("nothing would be told")
    run(loop, main())
    told_once(errors)


def asyncio_leaks(loop):
    """asyncio lets go of the accepted socket without closing it."""
    return isinstance(loop, asyncio.SelectorEventLoop)


def no_warnings():
    """A context in which warnings stay what they are."""
    import contextlib

    return contextlib.nullcontext()


def test_an_exception_in_the_factory_of_a_client(loop, wire):
    async def main():
        def factory():
            raise Mine

        with wire.listening() as listener:
            with pytest.raises(Mine):
                await wire.connect(factory, listener.getsockname())

    with warnings.catch_warnings():
        if asyncio_leaks(loop):  # some patch releases of each Python do
            warnings.simplefilter("ignore", ResourceWarning)
        run(loop, main())
        gc.collect()


@pytest.mark.differs(uvloop="does not end the run, and stays deaf to Ctrl-C afterwards", run=False)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("callback", ["made", "data", "eof", "lost"])
def test_keyboard_interrupt_comes_out_of_the_run(loop, wire, kind, callback):
    async def main():
        async with wire.serving(factory) as (_, address):
            peers.append(wire.peer(address))
            peers[0].send(b"hello")
            peers[0].end()
            await asyncio.Event().wait()

    def interrupt(protocol, *args):
        protocol.hooks.clear()
        raise kind

    def factory():
        protocols.append(Recorder(**{callback: interrupt}))
        return protocols[-1]

    protocols: list[Recorder] = []
    peers: list = []
    task = loop.create_task(main())
    with pytest.raises(kind):
        loop.run_until_complete(task)
    assert not loop.is_running()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    peers[0].close()

    async def end():
        protocol = protocols[0]
        if not protocol.count("lost"):
            protocol.transport.abort()
            await protocol.until_seen("lost")
        await asyncio.sleep(0)

    run(loop, end())


def test_a_protocol_without_the_method(loop, wire, errors):
    """What is no protocol at all fails when it is called, and is told."""

    async def main():
        class Poor(asyncio.BaseProtocol):
            def connection_lost(self, exc):
                lost.append(exc)

        lost: list[object] = []
        async with wire.serving(Poor) as (_, address):
            peer = wire.peer(address)
            peer.send(b"hello")
            await until(lambda: lost)
            assert isinstance(lost[0], Exception)
            peer.close()

    run(loop, main())
    assert len(errors) == 1
    assert isinstance(errors.pop()["exception"], (AttributeError, TypeError))
