"""The two directions end apart: write_eof, eof_received, half-closed connections."""

import asyncio
import socket
import time

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import in_thread, run, until

PROTOCOLS = pytest.mark.parametrize("make", [Recorder, BufferedRecorder], ids=["protocol", "buffered"])


def test_can_write_eof(loop, link):
    async def main():
        async with link() as connection:
            assert connection.transport.can_write_eof() is True

    run(loop, main())


def test_write_eof_ends_our_direction_alone(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.write(b"request")
            connection.transport.write_eof()
            assert await connection.peer.receive_to_end() == b"request"
            connection.peer.send(b"answer")
            assert await connection.protocol.until_received(6) == b"answer"
            assert not connection.transport.is_closing()

    run(loop, main())


def test_write_eof_sends_what_waits_first(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 1_000_000)
            connection.transport.write_eof()
            assert await connection.peer.receive_to_end() == b"x" * 1_000_000
            connection.peer.send(b"answer")
            await connection.protocol.until_received(6)

    run(loop, main())


def test_write_eof_twice(loop, link):
    async def main():
        async with link() as connection:
            connection.transport.write_eof()
            connection.transport.write_eof()
            assert await connection.peer.receive_to_end() == b""

    run(loop, main())


def test_write_eof_after_close(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 1_000_000)
            connection.transport.close()
            connection.transport.write_eof()
            assert len(await connection.peer.receive_to_end()) == 1_000_000
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None

    run(loop, main())


def test_close_after_write_eof(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 1_000_000)
            connection.transport.write_eof()
            connection.transport.close()
            assert len(await connection.peer.receive_to_end()) == 1_000_000
            await connection.protocol.until_seen("lost")
            assert connection.protocol.events[-1] == ("lost", None)

    run(loop, main())


def test_write_eof_in_connection_made(loop, link):
    async def main():
        async with link(lambda: Recorder(made=lambda protocol: protocol.transport.write_eof())) as connection:
            assert await connection.peer.receive_to_end() == b""
            connection.peer.send(b"hello")
            await connection.protocol.until_received(5)

    run(loop, main())


@PROTOCOLS
@pytest.mark.parametrize("answer", [None, False, 0, ""], ids=["None", "False", "zero", "empty"])
def test_eof_received_returns_false_and_the_transport_closes(loop, link, make, answer):
    async def main():
        async with link(lambda: make(eof=lambda protocol: answer)) as connection:
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "eof", "lost"]
            assert await connection.peer.receive_to_end() == b""

    run(loop, main())


@PROTOCOLS
@pytest.mark.parametrize("answer", [True, 1, "yes"], ids=["True", "one", "text"])
def test_eof_received_returns_true_and_the_connection_stays(loop, link, make, answer):
    async def main():
        async with link(lambda: make(eof=lambda protocol: answer)) as connection:
            connection.peer.send(b"request")
            connection.peer.end()
            await connection.protocol.until_seen("eof")
            await asyncio.sleep(0.001)
            assert connection.protocol.kinds == ["made", "data", "eof"]
            assert not connection.transport.is_closing()
            connection.transport.write(b"answer")
            assert await connection.peer.receive(6) == b"answer"
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.events[-1] == ("lost", None)
            assert connection.protocol.count("eof") == 1
            assert await connection.peer.receive_to_end() == b""

    run(loop, main())


def test_much_is_written_on_a_half_closed_connection(loop, link):
    async def main():
        async with link(lambda: Recorder(keep_open=True), small=True) as connection:
            connection.peer.end()
            await connection.protocol.until_seen("eof")
            connection.transport.write(b"x" * 1_000_000)
            connection.transport.write_eof()
            assert len(await connection.peer.receive_to_end()) == 1_000_000
            assert connection.protocol.count("lost") == 0
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None

    run(loop, main())


def test_peer_ends_while_our_output_waits(loop, link):
    """eof_received returns None: the transport closes, but first it sends what waits."""

    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 1_000_000)
            connection.peer.end()
            await connection.protocol.until_seen("eof")
            assert len(await connection.peer.receive_to_end()) == 1_000_000
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds[-2:] == ["eof", "lost"] or "resume" in connection.protocol.kinds
            assert connection.protocol.error is None

    run(loop, main())


def test_peer_ends_behind_much_data(loop, link):
    async def main():
        async with link() as connection:

            def send():
                connection.peer.sock.sendall(b"x" * 3_000_000)
                connection.peer.end()

            await in_thread(send)
            await connection.protocol.until_seen("lost")
            assert len(connection.protocol.received) == 3_000_000
            assert connection.protocol.kinds == ["made", "data", "eof", "lost"]

    run(loop, main())


def test_both_ends_end_their_directions(loop, link):
    """Both directions are done, and asyncio still waits for close()."""

    async def main():
        async with link(lambda: Recorder(keep_open=True)) as connection:
            connection.transport.write(b"bye")
            connection.transport.write_eof()
            connection.peer.end()
            await connection.protocol.until_seen("eof")
            assert await connection.peer.receive_to_end() == b"bye"
            await asyncio.sleep(0.001)
            assert connection.protocol.count("lost") == 0
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None

    run(loop, main())


@pytest.mark.differs(asyncio="tells the end again after each resume", uvloop="tells the end again after each resume")
def test_eof_is_received_once_however_often_reading_is_resumed(loop, link):
    async def main():
        async with link(lambda: Recorder(keep_open=True)) as connection:
            connection.peer.end()
            await connection.protocol.until_seen("eof")
            for _ in range(3):
                connection.transport.pause_reading()
                connection.transport.resume_reading()
                await asyncio.sleep(0.001)
            assert connection.protocol.count("eof") == 1
            connection.transport.write(b"still here")
            assert await connection.peer.receive(10) == b"still here"

    run(loop, main())


def test_a_half_closed_connection_does_not_spin(loop, accepted):
    """The hang-up stays reported by the kernel for ever: it must not keep the loop awake."""

    async def main():
        async with accepted(lambda: Recorder(keep_open=True)) as connection:
            connection.peer.end()
            await connection.protocol.until_seen("eof")
            before = time.thread_time()
            await asyncio.sleep(0.1)
            assert time.thread_time() - before < 0.05
            assert connection.protocol.kinds == ["made", "eof"]

    run(loop, main())


def test_a_paused_connection_whose_peer_left_does_not_spin(loop, accepted):
    async def main():
        async with accepted() as connection:
            connection.transport.pause_reading()
            connection.peer.send(b"unread")
            connection.peer.close()
            before = time.thread_time()
            await asyncio.sleep(0.1)
            assert time.thread_time() - before < 0.05
            assert connection.protocol.kinds == ["made"]

    run(loop, main())


@pytest.mark.parametrize("buffered", [False, True], ids=["streaming", "buffered"])
def test_the_task_that_data_woke_answers_before_the_end(loop, buffered):
    """A client that asks and half-closes at once (nc, say) gets its answer, though eof_received() closes."""
    seen = []

    class Answering(asyncio.BufferedProtocol if buffered else asyncio.Protocol):  # type: ignore[misc]
        def connection_made(self, transport):
            self.transport = transport
            self.buffer = bytearray(100)

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            self.data_received(bytes(self.buffer[:nbytes]))

        def data_received(self, data):
            seen.append(data)
            self.task = asyncio.ensure_future(self.answer())

        async def answer(self):
            seen.append("task")
            self.transport.write(b"answer")

        def eof_received(self):
            seen.append("eof")

        def connection_lost(self, exc):
            seen.append(exc)

    async def main():
        server = await loop.create_server(Answering, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        client.sendall(b"ask")
        client.shutdown(socket.SHUT_WR)
        client.settimeout(20)
        assert await in_thread(client.recv, 100) == b"answer"
        assert await in_thread(client.recv, 100) == b""
        client.close()
        server.close()
        await until(lambda: None in seen)

    run(loop, main())
    assert seen == [b"ask", "task", "eof", None]
