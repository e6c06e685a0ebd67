"""Invariant 10: what is written inside a callback is held, and sent at its end in one system call.

The peer's socket is looked at from within the callback: held bytes are not there yet, bytes that had to go at once are.
"""

import array
import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run, run_until
from tests.probes import kernel, peers

HIGH_WATER = 64 * 1024


def in_data_received(loop: asyncio.AbstractEventLoop, attach: Any, action: Callable[[Any, Any], object]) -> Any:
    """Run action(transport, peer) inside data_received; returns the protocol and the peer after it."""
    failures: list[BaseException] = []

    def data(self: Recorder, _: bytes) -> None:
        try:
            action(self.transport, peer)
        except BaseException as error:  # reported by the test, not by the loop
            failures.append(error)

    protocol = Recorder(data=data)
    _, peer = attach(protocol)
    peer.sendall(b"go")
    run_until(loop, lambda: protocol.count("data") > 0)
    if failures:
        protocol.transport.abort()
        raise failures[0]
    return protocol, peer


def end(loop: asyncio.AbstractEventLoop, protocol: Recorder) -> None:
    protocol.transport.abort()
    run(loop, protocol.until_seen("lost"))


def test_held_until_the_callback_returns(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    def action(transport: Any, peer: Any) -> None:
        transport.write(b"one ")
        transport.write(bytearray(b"two "))
        transport.writelines([b"three ", memoryview(b"four")])
        assert peers.peek_now(peer) == b""

    protocol, peer = in_data_received(loop, attach, action)
    assert peers.recv_exact(peer, 18) == b"one two three four"
    end(loop, protocol)


@pytest.mark.parametrize("kind", ["tcp"], indirect=True)
@pytest.mark.parametrize("place", ["data_received", "a task's step", "call_soon", "connection_made"])
def test_one_segment_for_all_writes(loop: asyncio.AbstractEventLoop, attach: Any, place: str) -> None:
    """Counted by the kernel: each small send() makes a segment of its own, as TCP_NODELAY is on."""
    sent: list[int] = []

    def three(transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        sent.append(kernel.segments_sent(sock))
        for part in (b"a", b"b", b"c"):
            transport.write(part)
        loop.call_soon(lambda: sent.append(kernel.segments_sent(sock)))

    async def task() -> None:
        await asyncio.sleep(0)
        three(protocol.transport)
        await asyncio.sleep(0)

    protocol = Recorder(
        made=lambda self: three(self.transport) if place == "connection_made" else None,
        data=lambda self, data: three(self.transport) if place == "data_received" else None,
    )
    _, peer = attach(protocol)
    if place == "data_received":
        peer.sendall(b"go")
    elif place == "call_soon":
        loop.call_soon(three, protocol.transport)
    elif place == "a task's step":
        run(loop, task())
    run_until(loop, lambda: len(sent) == 2)
    assert peers.recv_exact(peer, 3) == b"abc"
    assert sent[1] - sent[0] == 1
    end(loop, protocol)


def test_outside_a_callback_a_write_goes_at_once(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """The loop is not running: nothing would come to send what is held."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    transport.write(b"at once")
    assert peers.recv_exact(peer, 7) == b"at once"
    end(loop, protocol)


def test_past_the_limit_they_go_at_once(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Held bytes do not pile up: past 64 KiB they are sent before write() returns."""

    def action(transport: Any, peer: Any) -> None:
        transport.write(bytes(HIGH_WATER))
        transport.write(b"more")
        assert peers.readable_within(peer)

    protocol, peer = in_data_received(loop, attach, action)
    assert peers.recv_exact(peer, HIGH_WATER + 4) == bytes(HIGH_WATER) + b"more"
    end(loop, protocol)


def test_past_a_lower_high_water_they_go_at_once(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """min(64 KiB, high water): pause_writing is decided by what the socket did not take, not by what was held."""

    def action(transport: Any, peer: Any) -> None:
        transport.set_write_buffer_limits(high=100)
        transport.write(b"x" * 60)
        assert peers.peek_now(peer) == b""
        transport.write(b"x" * 60)
        assert peers.readable_within(peer)

    protocol, peer = in_data_received(loop, attach, action)
    assert peers.recv_exact(peer, 120) == b"x" * 120
    assert protocol.kinds == ["made", "data"]  # the socket took it all: no pause
    end(loop, protocol)


def test_pause_writing_is_decided_within_write(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """As on asyncio, pause_writing comes before the write() that passes the mark returns."""

    def action(transport: Any, peer: Any) -> None:
        transport.write(b"held first")
        transport.write(bytes(32 << 20))
        assert protocol_of(transport).count("pause") == 1
        assert transport.get_write_buffer_size() > HIGH_WATER

    protocol, peer = in_data_received(loop, attach, action)

    async def drain() -> None:
        got = await in_thread(peers.recv_exact, peer, 10 + (32 << 20))
        assert got == b"held first" + bytes(32 << 20)
        await protocol.until_seen("resume")

    run(loop, drain())
    end(loop, protocol)


def protocol_of(transport: Any) -> Recorder:
    return transport.get_protocol()


AT_ONCE: dict[str, Callable[[Any], object]] = {
    "get_write_buffer_size": lambda transport: transport.get_write_buffer_size(),
    "write_eof": lambda transport: transport.write_eof(),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "set_protocol": lambda transport: transport.set_protocol(transport.get_protocol()),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_held_bytes_go_before(loop: asyncio.AbstractEventLoop, attach: Any, name: str) -> None:
    """These calls see to the held bytes first: they are on the wire when the call returns."""

    def action(transport: Any, peer: Any) -> None:
        transport.write(b"held")
        result = AT_ONCE[name](transport)
        assert peers.readable_within(peer)
        assert peers.peek_now(peer) == b"held"
        if name == "get_write_buffer_size":
            assert result == 0

    protocol, peer = in_data_received(loop, attach, action)
    assert peers.recv_exact(peer, 4) == b"held"
    if name in ("write_eof", "close", "abort"):
        run_until(loop, lambda: name == "write_eof" or protocol.count("lost") == 1)
        assert peers.outcome(peer) == "eof"
    end(loop, protocol)


def test_held_bytes_survive_an_exception(loop: asyncio.AbstractEventLoop, attach: Any, errors: list[Any]) -> None:
    """data_received raises after a write: asyncio has sent the bytes by then, so they go out before the end."""

    def action(self: Recorder, _: bytes) -> None:
        self.transport.write(b"last words")
        raise ValueError("on purpose")

    protocol = Recorder(data=action)
    _, peer = attach(protocol)
    peer.sendall(b"go")
    run(loop, protocol.until_seen("lost"))
    assert peers.recv_exact(peer, 10) == b"last words"
    assert [type(context["exception"]) for context in errors] == [ValueError]
    errors.clear()


@pytest.mark.parametrize("kind", ["tcp"], indirect=True)
def test_order_between_transports(loop: asyncio.AbstractEventLoop, attach: Any) -> None:
    """Of two transports written to in one callback, the one written to first is sent first."""
    order: list[str] = []
    protocols = [Recorder() for _ in range(4)]
    attached = [attach(protocol) for protocol in protocols]
    names = "abcd"

    def write() -> None:
        for i in (2, 0, 3, 1, 2):
            attached[i][0].write(names[i].encode())

    # the peers' sockets become readable one by one: the first to be sent has the earliest arrival in the kernel
    import select

    poller = select.epoll()
    for name, (_, peer) in zip(names, attached, strict=True):
        poller.register(peer, select.EPOLLIN | select.EPOLLET)
        assert name
    by_fd = {peer.fileno(): name for name, (_, peer) in zip(names, attached, strict=True)}
    loop.call_soon(write)
    run_until(loop, lambda: all(peers.readable_within(peer, 0) for _, peer in attached))
    order = [by_fd[fd] for fd, _ in poller.poll(0, 8)]  # epoll's ready list is in order of arrival
    poller.close()
    assert order == ["c", "a", "d", "b"]
    for protocol in protocols:
        end(loop, protocol)


def test_drain_that_does_not_suspend_still_flushes(loop: asyncio.AbstractEventLoop) -> None:
    """`while True: write; await drain()` never lets go of the loop as long as the socket takes all; it must send."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                writer.write(b"foo\n")
                await writer.drain()
        writer.close()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.parametrize("size", [1, 100, 4096, 65_535, 65_536, 65_537, 300_000, 1 << 20])
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("wrap", [bytearray, lambda data: memoryview(bytearray(data))], ids=["bytearray", "memoryview"])
def test_a_buffer_may_be_reused(loop: asyncio.AbstractEventLoop, attach: Any, size: int, held: bool, wrap: Any) -> None:
    """The bytes on the wire are those at the time of write(), whatever the caller does to its buffer afterwards."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    first, second = os.urandom(size), os.urandom(size)

    def write_twice() -> None:
        buffer = wrap(bytearray(first))
        transport.write(buffer)
        buffer[:] = second
        transport.writelines([b"", buffer])
        buffer[:] = bytes(size)

    async def main() -> None:
        if held:
            loop.call_soon(write_twice)
        got = await in_thread(peers.recv_exact, peer, 2 * size)
        assert got == first + second

    if not held:
        write_twice()
    run(loop, main())
    end(loop, protocol)


VIEWS: dict[str, Callable[[], memoryview]] = {
    "of numbers": lambda: memoryview(array.array("I", range(1000))),
    "of many numbers": lambda: memoryview(array.array("Q", range(20_000))),
    "with gaps": lambda: memoryview(bytearray(range(256)) * 10)[::3],
    "backwards": lambda: memoryview(bytes(range(256)) * 400)[::-1],
    "of two dimensions": lambda: memoryview(bytearray(range(240))).cast("B", [12, 20]),
    "of nothing": lambda: memoryview(b""),
}


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("name", VIEWS)
def test_views_of_any_shape(loop: asyncio.AbstractEventLoop, attach: Any, name: str, held: bool, waiting: bool) -> None:
    """Counted and sent in bytes, whatever the items are and however they lie."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    ahead = bytes(8 << 20) if waiting else b""

    def write() -> None:
        view = VIEWS[name]()
        before = transport.get_write_buffer_size()
        transport.write(view)
        transport.writelines([view, b"|"])
        if waiting:
            assert transport.get_write_buffer_size() - before == 2 * view.nbytes + 1

    async def main() -> None:
        transport.write(ahead)
        if held:
            loop.call_soon(write)
        else:
            write()
        expected = ahead + VIEWS[name]().tobytes() * 2 + b"|"
        assert await in_thread(peers.recv_exact, peer, len(expected)) == expected

    run(loop, main())
    end(loop, protocol)


@pytest.mark.parametrize("behind", [0, 8 << 20])
def test_a_buffer_may_be_reused_while_output_waits(loop: asyncio.AbstractEventLoop, attach: Any, behind: int) -> None:
    """The same where the socket takes nothing, or a part only."""
    protocol = Recorder()
    transport, peer = attach(protocol)
    ahead, parts = os.urandom(behind), [os.urandom(n) for n in (1, 1000, 70_000, 4 << 20)]

    async def main() -> None:
        transport.write(ahead)
        for part in parts:
            buffer = bytearray(part)
            view = memoryview(buffer)
            transport.write(view[: len(part) // 2])
            transport.write(view[len(part) // 2 :])
            buffer[:] = bytes(len(buffer))
            view.release()
            buffer.clear()  # nobody holds the buffer any longer, so it can be resized
        expected = ahead + b"".join(parts)
        assert await in_thread(peers.recv_exact, peer, len(expected)) == expected

    run(loop, main())
    end(loop, protocol)
