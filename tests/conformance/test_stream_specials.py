"""What comes beside the stream of bytes must not stall it: urgent data on TCP, passed descriptors on Unix."""

import array
import asyncio
import os
import socket

import pytest

from tests.helpers.protocols import BufferedRecorder, Recorder
from tests.helpers.running import run
from tests.helpers.wires import TCP, UNIX

PROTOCOLS = pytest.mark.parametrize("make", [Recorder, BufferedRecorder], ids=["protocol", "buffered"])


@PROTOCOLS
def test_urgent_data_does_not_stall_the_stream(loop, make):
    async def main():
        async with TCP.accepted(make) as connection:
            sock = connection.peer.sock
            sock.sendall(b"before ")
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(b"after")
            # The urgent byte stays out of the stream.
            assert await connection.protocol.until_received(12) == b"before after"
            sock.sendall(b" and on")
            assert await connection.protocol.until_received(19) == b"before after and on"

    run(loop, main())


@PROTOCOLS
def test_urgent_data_between_two_parts_that_wait(loop, make):
    """One read stops at the mark with more behind it and no new event for that."""

    async def main():
        async with TCP.accepted(make) as connection:
            connection.transport.pause_reading()
            sock = connection.peer.sock
            for _ in range(3):
                sock.sendall(b"part")
                sock.send(b"!", socket.MSG_OOB)
            sock.sendall(b"end")
            await asyncio.sleep(0.002)
            connection.transport.resume_reading()
            # A mark that a later one replaces gives its byte back to the stream.
            await connection.protocol.until(lambda: connection.protocol.received.endswith(b"end"))
            assert connection.protocol.received.replace(b"!", b"") == b"partpartpartend"

    run(loop, main())


@PROTOCOLS
def test_urgent_data_alone_and_then_the_end(loop, make):
    async def main():
        async with TCP.accepted(make) as connection:
            connection.peer.sock.send(b"!", socket.MSG_OOB)
            await asyncio.sleep(0.002)
            connection.peer.send(b"data")
            await connection.protocol.until_received(4)
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "eof", "lost"]
            assert connection.protocol.received.replace(b"!", b"") == b"data"

    run(loop, main())


@PROTOCOLS
def test_urgent_data_in_a_ping_pong(loop, make):
    async def main():
        def answer(protocol, data):
            protocol.transport.write(data)

        async with TCP.accepted(lambda: make(data=answer)) as connection:
            for i in range(50):
                connection.peer.sock.send(b"!", socket.MSG_OOB)
                connection.peer.send(b"%02d" % i)
                answered = b""
                while not answered.endswith(b"%02d" % i):
                    answered += await connection.peer.receive(1)

    run(loop, main())


def send_descriptor(sock, data, fd):
    """Sends bytes and a descriptor with them."""
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


@PROTOCOLS
def test_passed_descriptors_do_not_stall_the_stream(loop, make):
    """recv stops at each message that carried descriptors; nobody asked for them, so they are closed."""

    async def main():
        async with UNIX.accepted(make) as connection:
            read_end, write_end = os.pipe()
            try:
                connection.transport.pause_reading()
                for i in range(20):
                    send_descriptor(connection.peer.sock, b"%02d" % i, read_end)
                    connection.peer.send(b"--")
                await asyncio.sleep(0.002)
                connection.transport.resume_reading()
                expected = b"".join(b"%02d--" % i for i in range(20))
                assert await connection.protocol.until_received(80) == expected
                connection.peer.end()
                await connection.protocol.until_seen("lost")
            finally:
                os.close(read_end)
                os.close(write_end)

    run(loop, main())


@PROTOCOLS
def test_passed_descriptors_while_reading(loop, make):
    async def main():
        async with UNIX.accepted(make) as connection:
            with open(os.devnull) as devnull:
                for i in range(20):
                    send_descriptor(connection.peer.sock, b"x", devnull.fileno())
                    await connection.protocol.until_received(i + 1)

    run(loop, main())


def test_many_small_messages_on_unix(loop):
    """Each is a buffer of its own in the kernel."""

    async def main():
        async with UNIX.accepted() as connection:
            connection.transport.pause_reading()
            connection.peer.sock.setblocking(False)
            sent = 0
            try:
                while sent < 1000:
                    connection.peer.sock.send(b"x")
                    sent += 1
            except BlockingIOError:
                pass
            connection.transport.resume_reading()
            assert len(await connection.protocol.until_received(sent)) == sent
            connection.peer.end()
            await connection.protocol.until_seen("lost")

    run(loop, main())


def test_credentials_of_the_peer(loop):
    async def main():
        async with UNIX.accepted() as connection:
            sock = connection.transport.get_extra_info("socket")
            credentials = array.array("i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            assert list(credentials) == [os.getpid(), os.getuid(), os.getgid()]

    run(loop, main())


def test_a_duplicate_of_the_descriptor_keeps_the_connection_but_not_our_events(loop):
    """close() while a duplicate lives sends no FIN, and the loop gets no event of it afterwards."""

    async def main():
        async with TCP.accepted() as connection:
            duplicate = os.dup(connection.transport.get_extra_info("socket").fileno())
            try:
                connection.transport.close()
                await connection.protocol.until_seen("lost")
                connection.peer.send(b"for the duplicate")
                await asyncio.sleep(0.002)
                assert connection.protocol.kinds == ["made", "lost"]
                assert os.read(duplicate, 100) == b"for the duplicate"
                os.write(duplicate, b"alive")
                assert await connection.peer.receive(5) == b"alive"
            finally:
                os.close(duplicate)
            assert await connection.peer.receive_to_end() == b""

    run(loop, main())


def test_write_eof_ends_the_direction_though_a_duplicate_lives(loop):
    async def main():
        async with TCP.accepted() as connection:
            duplicate = os.dup(connection.transport.get_extra_info("socket").fileno())
            try:
                connection.transport.write(b"last")
                connection.transport.write_eof()
                assert await connection.peer.receive_to_end() == b"last"
            finally:
                os.close(duplicate)

    run(loop, main())
