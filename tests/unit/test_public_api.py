"""The public names: what the types are to asyncio, run(), install() and the policy, an import that warns of nothing."""

import asyncio
import functools
import inspect
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import fastnet
from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run
from tests.probes.child import run_script

PROTOCOLS = [
    (fastnet.Protocol, asyncio.Protocol),
    (fastnet.BufferedProtocol, asyncio.BufferedProtocol),
    (fastnet.DatagramProtocol, asyncio.DatagramProtocol),
]
TRANSPORTS = [
    (fastnet.Transport, asyncio.Transport),
    (fastnet.DatagramTransport, asyncio.DatagramTransport),
]
TYPES = [*PROTOCOLS, *TRANSPORTS]


def test_all_names_are_there() -> None:
    """Each of __all__, those that are made on first use too, and a plain error for any other."""
    for name in fastnet.__all__:
        assert getattr(fastnet, name) is not None
    assert fastnet.EventLoopPolicy.__module__ == "fastnet.policy"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fastnet.no_such_name


@pytest.mark.parametrize(("ours", "theirs"), TYPES)
def test_ours_are_asyncios(ours: type, theirs: type) -> None:
    """A subclass of ours is asyncio's type; asyncio's own is not ours."""
    mine = type("Mine", (ours,), {})
    assert issubclass(mine, theirs)
    assert isinstance(mine(), ours)
    assert isinstance(mine(), theirs)
    assert ours is not theirs
    assert not issubclass(theirs, ours)
    assert not isinstance(theirs(), ours)
    for other, _ in TYPES:
        assert issubclass(ours, other) == (ours is other)


@pytest.mark.parametrize(("ours", "theirs"), TYPES)
def test_a_subclass_may_have_slots(ours: type, theirs: type) -> None:
    """Ours add no instance dict, as asyncio's do not: __slots__ of a subclass save memory."""
    slotted = type("Slotted", (ours,), {"__slots__": ("mine",)})()
    slotted.mine = 5
    with pytest.raises(AttributeError):
        slotted.other = 5
    assert slotted.mine == 5


def test_a_class_of_both_worlds() -> None:
    """Mixed with asyncio's own streams, in either order of the bases."""

    class Mine(fastnet.Protocol, asyncio.streams.FlowControlMixin):
        pass

    class Theirs(asyncio.streams.FlowControlMixin, fastnet.Protocol):
        pass

    for each in (Mine, Theirs):
        assert issubclass(each, fastnet.Protocol)
        assert each.goodbye is fastnet.Protocol.goodbye


@pytest.mark.parametrize("ours", [fastnet.Protocol, fastnet.BufferedProtocol])
def test_goodbye_is_optional(ours: Any) -> None:
    """It says nothing unless it is overridden."""
    assert ours().goodbye("drain") is None
    assert list(inspect.signature(ours.goodbye).parameters) == ["self", "reason"]


def test_methods_of_the_transport_type() -> None:
    """A subclass that defines none raises as asyncio's types do; ours are among them."""
    for name in ("reset", "shutdown_read", "pause_reading", "close", "abort"):
        with pytest.raises(NotImplementedError):
            getattr(fastnet.Transport(), name)()


def stream_pair() -> tuple[socket.socket, socket.socket]:
    """One of the two does not block."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    return ours, peer


async def accepted(loop: Any) -> Any:
    """A transport made of a socket that is connected already."""
    ours, peer = stream_pair()
    peer.close()
    return (await loop.connect_accepted_socket(Recorder, ours))[0]


async def connected(loop: Any) -> Any:
    """A transport made by a client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return (await loop.create_connection(Recorder, *listener.getsockname()))[0]


async def unix(loop: Any) -> Any:
    """A transport of a Unix client."""
    ours, peer = stream_pair()
    peer.close()
    return (await loop.create_unix_connection(Recorder, sock=ours))[0]


@pytest.mark.parametrize("make", [accepted, connected, unix])
def test_a_stream_transport_is_an_instance(loop: Any, make: Callable[[Any], Awaitable[Any]]) -> None:
    """By isinstance, in a match statement, for singledispatch: what it says its class is."""

    @functools.singledispatch
    def tell(transport: object) -> str:
        return "something"

    tell.register(fastnet.Transport, lambda transport: "ours")

    async def main() -> None:
        transport: Any = await make(loop)
        assert isinstance(transport, fastnet.Transport)
        assert isinstance(transport, asyncio.Transport)
        assert issubclass(transport.__class__, fastnet.Transport)
        assert not isinstance(transport, (fastnet.DatagramTransport, asyncio.DatagramTransport, asyncio.BaseProtocol))
        assert tell(transport) == "ours"
        match transport:
            case fastnet.Transport():
                pass
            case _:
                raise AssertionError("a match statement does not know it")
        for name in dir(fastnet.Transport):
            assert name.startswith("_") or callable(getattr(transport, name)), name
        transport.abort()
        recorder: Any = transport.get_protocol()
        await recorder.until_seen("lost")

    run(loop, main())


def test_a_servers_transport_and_our_protocol(loop: Any) -> None:
    """A protocol that is a subclass of ours is served like any other, with and without slots."""

    class Greeter(fastnet.Protocol):
        __slots__ = ("transport",)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            kinds.append(isinstance(transport, fastnet.Transport) and isinstance(transport, asyncio.Transport))
            assert isinstance(transport, fastnet.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(b"hello " + data)
            self.transport.close()

    def ask(address: Any) -> bytes:
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(b"you")
            return sock.recv(100)

    async def main() -> None:
        server = await loop.create_server(Greeter, "127.0.0.1", 0)
        assert await in_thread(ask, server.sockets[0].getsockname()) == b"hello you"
        server.close()
        await server.wait_closed()

    kinds: list[bool] = []
    run(loop, main())
    assert kinds == [True]


def test_our_buffered_protocol_is_read_by_buffer(loop: Any) -> None:
    """The loop takes a subclass of ours for what asyncio's BufferedProtocol is."""

    class Buffered(fastnet.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(10)
            self.got = loop.create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got.set_result(bytes(self.buffer[:nbytes]))

    async def main() -> None:
        ours, peer = stream_pair()
        with peer:
            transport, protocol = await loop.connect_accepted_socket(Buffered, ours)
            peer.sendall(b"abc")
            assert await protocol.got == b"abc"
            transport.abort()
            await asyncio.sleep(0)

    run(loop, main())


def test_a_datagram_transport_is_an_instance(loop: Any) -> None:
    """Of ours and of asyncio's, and of no stream type of ours (asyncio's own datagram transport is a Transport)."""

    async def main() -> None:
        transport, protocol = await loop.create_datagram_endpoint(fastnet.DatagramProtocol, local_addr=("127.0.0.1", 0))
        assert isinstance(protocol, asyncio.DatagramProtocol)
        assert isinstance(transport, fastnet.DatagramTransport)
        assert isinstance(transport, asyncio.DatagramTransport)
        assert not isinstance(transport, fastnet.Transport)
        transport.close()
        await asyncio.sleep(0)

    run(loop, main())


def test_the_loop_is_asyncios(loop: Any) -> None:
    """new_event_loop() makes an EventLoop, and that may be subclassed."""
    assert type(loop) is fastnet.EventLoop
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop)

    class Mine(fastnet.EventLoop):
        def greeting(self) -> str:
            return "mine"

    mine = Mine()
    try:
        assert mine.run_until_complete(asyncio.sleep(0, mine.greeting())) == "mine"
    finally:
        mine.close()


# -- run() --


async def debug_of_the_loop() -> bool:
    """Whether the running loop is in debug mode."""
    loop = asyncio.get_running_loop()
    assert type(loop) is fastnet.EventLoop
    return loop.get_debug()


@pytest.mark.parametrize(
    ("debug", "environment", "expected"),
    [
        (True, "", True),
        (False, "", False),
        (None, "", False),
        (None, "1", True),
        (False, "1", False),
    ],
)
def test_run_debug(monkeypatch: pytest.MonkeyPatch, debug: bool | None, environment: str, expected: bool) -> None:
    """As given; None leaves it to PYTHONASYNCIODEBUG, which asyncio.run() asks too."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", environment)
    assert fastnet.run(debug_of_the_loop(), debug=debug) is expected
    if debug is None:
        assert fastnet.run(debug_of_the_loop()) is expected


def test_run_gives_the_result_and_the_error_and_closes_the_loop() -> None:
    """The loop of each call is a new one, closed and unset afterwards."""

    async def give() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def fail() -> None:
        loops.append(asyncio.get_running_loop())
        raise LookupError("on purpose")

    loops = [fastnet.run(give()), fastnet.run(give())]
    with pytest.raises(LookupError, match="on purpose"):
        fastnet.run(fail())
    assert len(set(map(id, loops))) == 3
    assert all(loop.is_closed() for loop in loops)
    assert asyncio._get_running_loop() is None


def test_run_cancels_what_is_left() -> None:
    """A task that still runs when the main one ends is cancelled, and an async generator closed."""

    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ends.append("task")

    async def generate() -> Any:
        try:
            yield 1
        finally:
            ends.append("generator")

    async def main() -> None:
        kept.append(asyncio.create_task(forever()))
        kept.append(generate())
        await anext(kept[1])
        await asyncio.sleep(0)

    ends: list[str] = []
    kept: list[Any] = []
    fastnet.run(main())
    assert ends == ["task", "generator"]
    assert kept[0].cancelled()


def test_run_inside_a_running_loop(loop: Any) -> None:
    """RuntimeError, as asyncio.run() says, and the loop that runs goes on."""

    async def main() -> None:
        for runs in (asyncio.run, fastnet.run):
            inner = asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
                runs(inner)
            inner.close()
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)

    run(loop, main())


@pytest.mark.parametrize("wrong", [5, None, debug_of_the_loop, [debug_of_the_loop]])
def test_run_of_no_coroutine(wrong: Any) -> None:
    """The very error of this Python's asyncio.run(): TypeError since 3.14, ValueError before."""
    with pytest.raises((TypeError, ValueError)) as theirs:
        asyncio.run(wrong)
    with pytest.raises((TypeError, ValueError)) as ours:
        fastnet.run(wrong)
    assert ours.type is theirs.type
    assert str(ours.value) == str(theirs.value)


def test_run_takes_debug_by_name_alone() -> None:
    """As asyncio.run()."""
    main = debug_of_the_loop()
    with pytest.raises(TypeError):
        fastnet.run(main, True)  # type: ignore[call-arg]
    main.close()


# -- install() and the policy, in processes of their own: both are settings of a whole process --

INSTALL = """
import asyncio, sys, warnings
import fastnet

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fastnet.install()
for warning in caught:
    print(warning.category.__name__, warning.filename, "fastnet.run" in str(warning.message))

async def main():
    print(type(asyncio.get_running_loop()) is fastnet.EventLoop)

asyncio.run(main())
loop = asyncio.new_event_loop()
print(type(loop) is fastnet.EventLoop)
loop.close()
"""

POLICY = """
import asyncio, threading, warnings
import fastnet

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.set_event_loop_policy(fastnet.EventLoopPolicy())
    policy = asyncio.get_event_loop_policy()
    base = asyncio.DefaultEventLoopPolicy
print(type(policy) is fastnet.EventLoopPolicy, isinstance(policy, base))
loops = [policy.new_event_loop()]
thread = threading.Thread(target=lambda: loops.append(policy.new_event_loop()))
thread.start()
thread.join()
print([type(loop) is fastnet.EventLoop for loop in loops], loops[0] is loops[1])
policy.set_event_loop(loops[0])
print(policy.get_event_loop() is loops[0])
for loop in loops:
    loop.close()
"""


def lines_of(script: str) -> list[str]:
    """What the script printed; warnings are errors there, and nothing else may be said."""
    done = run_script(script)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_install() -> None:
    """asyncio.run() and asyncio.new_event_loop() have our loop; since 3.14 one warning, at the caller's line."""
    warned = ["DeprecationWarning <string> True"] if sys.version_info >= (3, 14) else []
    assert lines_of(INSTALL) == [*warned, "True", "True"]


def test_policy() -> None:
    """It is asyncio's default policy in all but the loop that it makes."""
    assert lines_of(POLICY) == ["True True", "[True, True] False", "True"]


@pytest.mark.parametrize("script", ["import fastnet", "from fastnet import *", "import fastnet.policy"])
def test_importing_warns_of_nothing(script: str) -> None:
    """Warnings are errors there: no deprecation is touched before somebody asks for it."""
    assert lines_of(script) == []


def test_importing_makes_nothing() -> None:
    """Neither a policy nor a descriptor, and no module of tests or of subprocesses."""
    before = "import os, sys; sys.argv, fds = [], len(os.listdir('/proc/self/fd'))\n"
    after = "print(len(os.listdir('/proc/self/fd')) - fds, 'fastnet.policy' in sys.modules)"
    assert lines_of(f"{before}import fastnet\n{after}") == ["0 False"]
    assert Path(str(fastnet.__file__)).with_name("py.typed").exists()
