"""loop.metrics() and live_objects(): every count after something that is known to happen so often."""

import asyncio
import gc
import os
import socket
import sys
import threading
from typing import Any

import pytest

import fastnet_c
from tests.helpers.running import run, run_until, turn, while_polling

NAMES = {
    "turns",
    "polls",
    "blocking_polls",
    "events",
    "callbacks",
    "wakeups",
    "accepted",
    "accept_refused",
    "accept_errors",
    "connections",
    "ring_bytes",
    "timers",
}


class Counted:
    """The growth of each counter since the last look."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.last = loop.metrics()

    def grown(self) -> dict[str, int]:
        """What changed, by how much."""
        now = self.loop.metrics()
        changes = {name: now[name] - self.last[name] for name in now if now[name] != self.last[name]}
        self.last = now
        return changes


@pytest.fixture
def counted(loop: asyncio.AbstractEventLoop) -> Counted:
    """Of a loop that has run before: its own wake-up descriptor is watched already."""
    turn(loop)
    return Counted(loop)


def test_a_new_loop_has_counted_nothing(loop: Any) -> None:
    """All names, all zero; the dict is the caller's own."""
    metrics = loop.metrics()
    assert metrics == dict.fromkeys(NAMES, 0)
    assert {type(value) for value in metrics.values()} == {int}
    metrics["turns"] = 7
    assert loop.metrics()["turns"] == 0


def test_live_objects() -> None:
    """The kinds, and that a loop comes and goes."""
    import fastnet

    gc.collect()
    before = fastnet_c.live_objects()
    assert set(before) == {"loops", "transports", "acceptors", "fd_watchers"}
    loops = [fastnet.new_event_loop() for _ in range(3)]
    assert fastnet_c.live_objects()["loops"] == before["loops"] + 3
    for loop in loops:
        loop.close()
    del loops, loop
    gc.collect()  # a loop and its parts know each other
    assert fastnet_c.live_objects() == before


def test_turns_polls_callbacks(loop: Any, counted: Counted) -> None:
    """A turn, one poll that does not wait, and the callbacks."""
    loop.call_soon(int)
    loop.call_soon(int)
    loop.call_soon(int).cancel()
    turn(loop)
    assert counted.grown() == {"turns": 1, "polls": 1, "callbacks": 4}  # a cancelled one takes its turn as well


def test_blocking_polls(loop: Any, counted: Counted) -> None:
    """A poll that could wait: until a timer is due, which it is not yet even where the machine is slow."""
    loop.call_later(0.5, loop.stop)
    assert counted.grown() == {"timers": 1}
    loop.run_forever()
    changes = counted.grown()
    assert changes["timers"] == -1
    assert 1 <= changes["blocking_polls"] <= changes["polls"] <= changes["turns"]
    assert changes["callbacks"] == 1


def test_events(loop: Any, counted: Counted) -> None:
    """Those of descriptors, one for each callback of a poll."""
    readers = []
    pairs = [socket.socketpair() for _ in range(5)]
    for ours, peer in pairs:
        loop.add_reader(ours, lambda ours=ours: readers.append(ours.recv(1)))
        peer.send(b"xy")
    turn(loop)
    assert counted.grown()["events"] == 5
    turn(loop)
    assert counted.grown()["events"] == 5
    turn(loop)
    assert "events" not in counted.grown()
    assert len(readers) == 10
    for ours, peer in pairs:
        loop.remove_reader(ours)
        ours.close()
        peer.close()


def test_wakeups(loop: Any, counted: Counted) -> None:
    """The eventfd is written only where the loop may wait, and once for any number of calls."""
    loop.call_soon_threadsafe(int)
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(int,))
    thread.start()
    thread.join()
    turn(loop)
    assert "wakeups" not in counted.grown()

    def wake() -> None:
        # Without letting go of the interpreter in between, so that the loop cannot take up the first alone.
        for _ in range(10):
            loop.call_soon_threadsafe(int)
        loop.call_soon_threadsafe(loop.stop)

    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        thread = while_polling(wake)
        loop.run_forever()
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert counted.grown()["wakeups"] == 1


def test_timers(loop: Any, counted: Counted) -> None:
    """Those that are neither cancelled nor due."""
    timers = [loop.call_later(3600 + i, print) for i in range(500)]
    assert counted.grown() == {"timers": 500}
    for timer in timers[::2]:
        timer.cancel()
        timer.cancel()
    assert counted.grown() == {"timers": -250}
    loop.call_later(-1, int)
    assert counted.grown() == {"timers": 1}
    turn(loop)
    assert counted.grown()["timers"] == -1
    loop.close()
    assert loop.metrics()["timers"] == 0


def test_connections(loop: Any, counted: Counted) -> None:
    """Accepted ones, and those that are open on either side."""

    async def connect() -> None:
        made: list[Any] = []

        class Server(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                made.append(transport)

        server = await loop.create_server(Server, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(5):
            made.append((await loop.create_connection(asyncio.Protocol, *address))[0])
        while len(made) < 10:
            await asyncio.sleep(0)
        changes = counted.grown()
        assert (changes["accepted"], changes["connections"]) == (5, 10)
        for transport in made:
            transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        changes = counted.grown()
        assert changes["connections"] == -10
        assert "accepted" not in changes
        server.close()
        await server.wait_closed()

    run(loop, connect())
    assert loop.metrics()["accept_refused"] == loop.metrics()["accept_errors"] == 0


def test_ring_bytes(loop: Any, counted: Counted) -> None:
    """The memory of output that a full socket did not take, from the first of it to the last."""
    ours, peer = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    ours.setblocking(False)
    peer.setblocking(False)

    async def attach() -> Any:
        return (await loop.connect_accepted_socket(asyncio.Protocol, ours))[0]

    transport = run(loop, attach())
    assert loop.metrics()["ring_bytes"] == 0
    sent = 0
    while loop.metrics()["ring_bytes"] == 0:
        transport.write(b"x" * 1000)
        sent += 1000
    held = loop.metrics()["ring_bytes"]
    assert held & (held - 1) == 0
    waiting = transport.get_write_buffer_size()
    while transport.get_write_buffer_size() < waiting + 100_000:
        transport.write(b"x" * 1000)
        sent += 1000
    assert loop.metrics()["ring_bytes"] >= 100_000
    received = 0

    def read() -> None:
        nonlocal received
        received += len(peer.recv(100_000))

    loop.add_reader(peer, read)
    run_until(loop, lambda: received == sent)
    loop.remove_reader(peer)
    assert loop.metrics()["ring_bytes"] == 0
    while loop.metrics()["ring_bytes"] == 0:
        transport.write(b"x" * 1000)
    transport.abort()
    assert loop.metrics()["ring_bytes"] == 0
    turn(loop)
    turn(loop)
    peer.close()


def test_counts_belong_to_a_loop(loop: Any, counted: Counted) -> None:
    """Another loop of the process counts for itself."""
    import fastnet

    other = fastnet.new_event_loop()
    other.call_soon(int)
    other.call_later(3600, print)
    turn(other)
    assert counted.grown() == {}
    assert other.metrics()["timers"] == 1
    other.close()


def test_a_signal_is_an_event(loop: Any, counted: Counted) -> None:
    """It comes through the loop's socket pair: one event, one callback."""
    import signal

    ran: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, ran.append, 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    run_until(loop, lambda: bool(ran))
    assert ran == [1]
    assert counted.grown()["events"] == 1
    loop.remove_signal_handler(signal.SIGUSR1)
