"""What a turn runs in which order: handles that were ready, then descriptors, then timers."""

import asyncio
import socket
import time

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import run, run_until
from tests.helpers.wires import TCP


@pytest.mark.differs(uvloop="runs timers before descriptors, and what is ready last")
def test_ready_then_descriptors_then_timers(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    ran = []
    loop.add_reader(left, lambda: (ran.append("descriptor"), loop.remove_reader(left)))

    def first():
        right.send(b"x")
        loop.call_later(0, ran.append, "timer")
        loop.call_soon(ran.append, "ready")
        time.sleep(0.002)

    loop.call_soon(first)
    run_until(loop, lambda: len(ran) == 3)
    left.close()
    right.close()
    assert ran == ["ready", "descriptor", "timer"]


def test_callbacks_scheduled_by_a_descriptors_callback_run_after_it(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    right.send(b"x")
    ran = []

    def readable():
        loop.remove_reader(left)
        loop.call_soon(ran.append, "scheduled")
        ran.append("descriptor")

    loop.add_reader(left, readable)
    run_until(loop, lambda: len(ran) == 2)
    left.close()
    right.close()
    assert ran == ["descriptor", "scheduled"]


def test_callbacks_do_not_starve_descriptors(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    turns = 0

    def busy():
        nonlocal turns
        turns += 1
        if turns == 10:
            right.send(b"x")
        if loop_goes_on:
            loop.call_soon(busy)

    loop_goes_on = True
    loop.add_reader(left, loop.stop)
    loop.call_soon(busy)
    loop.run_forever()
    loop_goes_on = False
    loop.remove_reader(left)
    left.close()
    right.close()
    assert 10 <= turns < 100


def test_readable_descriptors_do_not_starve_callbacks(loop):
    """A descriptor that is always readable: callbacks and timers get their turn all the same."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.send(b"x")
    reads = 0

    def readable():
        nonlocal reads
        reads += 1

    ran = []
    loop.add_reader(left, readable)
    loop.call_later(0.005, ran.append, "timer")
    loop.call_soon(ran.append, "ready")
    run_until(loop, lambda: len(ran) == 2)
    loop.remove_reader(left)
    left.close()
    right.close()
    assert ran == ["ready", "timer"]
    assert reads > 1


def test_connection_made_runs_before_data_received(loop, wire):
    async def main():
        order = []

        class Early(Recorder):
            def connection_made(self, transport):
                order.append("made")
                loop.call_soon(order.append, "after made")
                super().connection_made(transport)

            def data_received(self, data):
                order.append("data")
                super().data_received(data)

        made = []
        async with wire.serving(lambda: made.append(Early()) or made[-1]) as (_, address):
            peer = wire.peer(address)
            peer.send(b"early")  # before the loop has even accepted
            while not made:
                await asyncio.sleep(0)
            await made[0].until_received(5)
            peer.close()
            await made[0].until_seen("lost")
        assert order[0] == "made"
        assert order.index("made") < order.index("data")

    run(loop, main())


def test_connection_lost_is_never_called_inside_close(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.close()
            assert connection.protocol.count("lost") == 0
            await connection.protocol.until_seen("lost")

    run(loop, main())


def test_connection_lost_is_never_called_inside_abort(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.abort()
            assert connection.protocol.count("lost") == 0
            await connection.protocol.until_seen("lost")

    run(loop, main())


def test_create_connection_returns_after_connection_made(loop):
    async def main():
        async with TCP.connected() as connection:
            assert connection.protocol.kinds == ["made"]
            assert connection.protocol.transport is connection.transport

    run(loop, main())


def test_sleep_0_is_fair(loop):
    async def work(name):
        for _ in range(5):
            order.append(name)
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(work("a"), work("b"), work("c"))

    order: list[str] = []
    run(loop, main())
    assert order == ["a", "b", "c"] * 5
