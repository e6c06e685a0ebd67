"""What the third reading of the core found, each with its reproduction."""

import asyncio
import gc
import os
import signal
import socket
import threading
from typing import Any

from tests.helpers.running import run
from tests.helpers.wires import TCP


def test_a_finalizer_that_asks_for_the_socket_meanwhile_gets_the_same(loop: Any) -> None:
    """A second socket object would close the descriptor with itself; Python 3.11 collects wherever it allocates."""

    async def main() -> None:
        class Asks:
            pass

        async with TCP.accepted() as connection:
            transport = connection.transport
            asks: Any = Asks()
            asks.itself = asks
            Asks.__del__ = lambda self: transport.get_extra_info("socket")  # type: ignore[attr-defined]
            del asks
            thresholds = gc.get_threshold()
            gc.set_threshold(1, 1, 1)
            try:
                shown = transport.get_extra_info("socket")
            finally:
                gc.set_threshold(*thresholds)
            gc.collect()
            os.fstat(shown.fileno())
            assert transport.get_extra_info("socket") is not None

    run(loop, main())


def test_a_watched_socket_is_kept_though_its_number_is_waited_for(loop: Any) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop.add_reader(ours, print)
        sending = asyncio.ensure_future(loop.sock_sendall(ours, bytes(2_000_000)))
        await asyncio.sleep(0)
        theirs.setblocking(False)
        left = 2_000_000
        while left:
            try:
                left -= len(theirs.recv(1 << 20))
            except BlockingIOError:
                await asyncio.sleep(0)
        await sending
        ours.close()
        assert loop.remove_reader(ours)
        theirs.close()

    run(loop, main())


def test_removing_one_of_two_from_a_closed_socket_does_not_watch_who_has_its_number(loop: Any) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        number = ours.fileno()
        loop.add_reader(ours, print)
        loop.add_writer(ours, print)
        ours.close()
        stranger, peer = socket.socketpair()
        assert stranger.fileno() == number
        assert loop.remove_reader(ours)
        peer.send(b"for the stranger")
        before = loop.metrics()["events"]
        await asyncio.sleep(0.01)
        assert loop.metrics()["events"] == before
        assert loop.remove_writer(ours)
        for sock in (theirs, stranger, peer):
            sock.close()

    run(loop, main())


def test_a_buffered_protocols_delivery_is_within_the_budget(loop: Any) -> None:
    sizes: list[int] = []

    class Large(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(4 << 20)

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            sizes.append(nbytes)

    async def main() -> None:
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.setblocking(False)
        transport, _ = await loop.create_connection(Large, sock=accepted)
        transport.pause_reading()
        client.setblocking(False)
        total, idle = 0, 0
        while idle < 20:
            try:
                total += client.send(bytes(1 << 20))
                idle = 0
            except BlockingIOError:
                idle += 1
                await asyncio.sleep(0.001)
        transport.resume_reading()
        while sum(sizes) < total:
            await asyncio.sleep(0)
        assert total > 262144
        assert max(sizes) <= 262144
        transport.abort()
        client.close()
        server.close()

    run(loop, main())


def test_a_server_that_refuses_a_transport_loses_it(loop: Any, errors: list[dict[str, Any]]) -> None:
    class Refusing:
        def _attach(self, transport: Any = None) -> None:
            raise LookupError("no room")

        def _detach(self, transport: Any = None) -> None:
            raise AssertionError("it was never attached")

    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        loop._start_serving(asyncio.Protocol, listener, server=Refusing())
        client = socket.create_connection(listener.getsockname())
        client.settimeout(20)
        assert await loop.run_in_executor(None, client.recv, 1) == b""
        loop._stop_serving(listener)
        client.close()

    run(loop, main())
    assert isinstance(errors.pop()["exception"], LookupError)


def test_a_loop_with_signal_handlers_is_closed_in_the_main_thread(loop: Any) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)

    async def main() -> None:
        pass

    run(loop, main())
    refused: list[BaseException] = []

    def close() -> None:
        try:
            loop.close()
        except ValueError as exc:
            refused.append(exc)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert "main thread" in str(refused.pop())
    assert loop.remove_signal_handler(signal.SIGUSR1)
