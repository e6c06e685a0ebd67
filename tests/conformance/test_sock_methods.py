"""sock_recv, sock_recv_into, sock_sendall, sock_accept, sock_connect: data, ends, errors, cancellation."""

import asyncio
import os
import random
import socket

import pytest

from tests.helpers.running import in_thread, run
from tests.helpers.wires import TCP, Peer


def test_recv_of_what_is_there(loop, pair):
    async def main():
        pair[1].send(b"hello")
        assert await loop.sock_recv(pair[0], 3) == b"hel"
        assert await loop.sock_recv(pair[0], 100) == b"lo"

    run(loop, main())


def test_recv_waits(loop, pair):
    async def main():
        receiving = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
        await asyncio.sleep(0.001)
        assert not receiving.done()
        pair[1].send(b"hello")
        assert await receiving == b"hello"

    run(loop, main())


def test_recv_at_the_end(loop, pair):
    async def main():
        receiving = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
        await asyncio.sleep(0)
        pair[1].close()
        assert await receiving == b""
        assert await loop.sock_recv(pair[0], 100) == b""

    run(loop, main())


def test_recv_into(loop, pair):
    async def main():
        buffer = bytearray(10)
        pair[1].send(b"hello")
        assert await loop.sock_recv_into(pair[0], buffer) == 5
        assert buffer == b"hello\0\0\0\0\0"
        receiving = asyncio.ensure_future(loop.sock_recv_into(pair[0], memoryview(buffer)[5:]))
        await asyncio.sleep(0)
        pair[1].send(b"there")
        assert await receiving == 5
        assert buffer == b"hellothere"
        pair[1].close()
        assert await loop.sock_recv_into(pair[0], buffer) == 0

    run(loop, main())


def test_sendall(loop, pair):
    data = random.Random(10).randbytes(3_000_000)

    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(pair[0], data))
        received = bytearray()
        while len(received) < len(data):
            received += await loop.sock_recv(pair[1], 100_000)
        assert await sending is None
        assert received == data

    run(loop, main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_of_every_type(loop, pair, kind):
    async def main():
        await loop.sock_sendall(pair[0], kind(b"hello"))
        await loop.sock_sendall(pair[0], kind(b""))
        assert await loop.sock_recv(pair[1], 100) == b"hello"

    run(loop, main())


def test_sendall_to_a_peer_that_left(loop, pair):
    async def main():
        pair[1].close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await loop.sock_sendall(pair[0], b"hello")

    run(loop, main())


def test_sendall_to_a_peer_that_leaves(loop, pair):
    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(pair[0], b"x" * 10_000_000))
        await asyncio.sleep(0.001)
        assert not sending.done()
        pair[1].close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await sending

    run(loop, main())


def test_recv_is_told_of_a_reset(loop):
    async def main():
        with TCP.listening() as listener, socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, listener.getsockname())
            accepted, _ = listener.accept()
            receiving = asyncio.ensure_future(loop.sock_recv(sock, 1))
            await asyncio.sleep(0)
            Peer(accepted).reset()
            with pytest.raises(ConnectionResetError):
                await receiving

    run(loop, main())


def test_accept(loop):
    async def main():
        with TCP.listening() as listener:
            listener.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await asyncio.sleep(0.001)
            assert not accepting.done()
            peer = TCP.peer(listener.getsockname())
            sock, address = await accepting
            with sock:
                assert isinstance(sock, socket.socket)
                assert address == peer.sock.getsockname()
                assert sock.gettimeout() == 0
                assert not os.get_inheritable(sock.fileno())
                peer.send(b"hello")
                assert await loop.sock_recv(sock, 5) == b"hello"
            peer.close()

    run(loop, main())


def test_accept_again_and_again(loop):
    async def main():
        with TCP.listening() as listener:
            listener.setblocking(False)
            for _ in range(20):
                peer = TCP.peer(listener.getsockname())
                sock, _ = await loop.sock_accept(listener)
                sock.close()
                peer.close()

    run(loop, main())


def test_connect(loop):
    async def main():
        with TCP.listening() as listener, socket.socket() as sock:
            sock.setblocking(False)
            assert await loop.sock_connect(sock, listener.getsockname()) is None
            accepted, _ = listener.accept()
            await loop.sock_sendall(sock, b"hello")
            assert accepted.recv(5) == b"hello"
            accepted.close()

    run(loop, main())


def test_connect_unix(loop, short_tmp):
    async def main():
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
            listener.bind(str(short_tmp / "s"))
            listener.listen()
            sock.setblocking(False)
            await loop.sock_connect(sock, str(short_tmp / "s"))
            accepted, _ = listener.accept()
            accepted.close()

    run(loop, main())


def test_connect_by_host_name(loop):
    async def main():
        with TCP.listening() as listener, socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("localhost", listener.getsockname()[1]))
            listener.accept()[0].close()
        await loop.shutdown_default_executor()

    run(loop, main())


def test_connect_refused(loop):
    async def main():
        with socket.socket() as unused, socket.socket() as sock:
            unused.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(sock, unused.getsockname())

    run(loop, main())


def test_both_directions_at_once(loop, pair):
    async def main():
        receiving = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
        sending = asyncio.ensure_future(loop.sock_sendall(pair[0], b"x" * 2_000_000))
        await asyncio.sleep(0)
        pair[1].send(b"hello")
        assert await receiving == b"hello"
        count = 0
        while count < 2_000_000:
            count += len(await loop.sock_recv(pair[1], 1_000_000))
        await sending

    run(loop, main())


def test_ping_pong(loop, pair):
    async def main():
        async def echo():
            while data := await loop.sock_recv(pair[1], 100):
                await loop.sock_sendall(pair[1], data)

        task = asyncio.ensure_future(echo())
        for i in range(500):
            await loop.sock_sendall(pair[0], b"%03d" % i)
            assert await loop.sock_recv(pair[0], 100) == b"%03d" % i
        pair[0].shutdown(socket.SHUT_WR)
        await task

    run(loop, main())


def test_cancelled_recv_loses_nothing(loop, pair):
    async def main():
        for i in range(10):
            receiving = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
            await asyncio.sleep(0)
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
            pair[1].send(b"%d" % i)
            assert await loop.sock_recv(pair[0], 100) == b"%d" % i

    run(loop, main())


def test_cancelled_sendall_and_then_another_use(loop, pair):
    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(pair[0], b"x" * 10_000_000))
        await asyncio.sleep(0.001)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        pair[1].setblocking(False)
        while True:
            try:
                pair[1].recv(1_000_000)
            except BlockingIOError:
                break
        await loop.sock_sendall(pair[0], b"end")
        assert (await loop.sock_recv(pair[1], 100)) == b"end"

    run(loop, main())


def test_cancelled_accept_and_then_another(loop):
    async def main():
        with TCP.listening() as listener:
            listener.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await asyncio.sleep(0)
            accepting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await accepting
            peer = TCP.peer(listener.getsockname())
            sock, _ = await loop.sock_accept(listener)
            sock.close()
            peer.close()

    run(loop, main())


@pytest.mark.differs(
    asyncio="a cancelled sock_recv and a close at once make the next socket with that number lose events", run=False
)
def test_cancelled_recv_closed_and_the_number_taken_at_once(loop):
    async def main():
        for i in range(10):
            left, right = socket.socketpair()
            left.setblocking(False)
            receiving = asyncio.ensure_future(loop.sock_recv(left, 100))
            await asyncio.sleep(0)
            receiving.cancel()
            left.close()
            right.close()
            left, right = socket.socketpair()  # takes the numbers before the cancelled task has run
            left.setblocking(False)
            right.setblocking(False)
            receiving = [asyncio.ensure_future(loop.sock_recv(sock, 100)) for sock in (left, right)]
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            left.send(b"a%d" % i)
            right.send(b"b%d" % i)
            assert await asyncio.gather(*receiving) == [b"b%d" % i, b"a%d" % i]
            left.close()
            right.close()

    run(loop, main())


def test_recv_with_a_timeout(loop, pair):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await loop.sock_recv(pair[0], 1)
        pair[1].send(b"x")
        assert await loop.sock_recv(pair[0], 1) == b"x"

    run(loop, main())


def test_a_socket_of_a_transport_is_refused(loop, accepted):
    async def main():
        async with accepted() as connection:
            sock = socket.socket(fileno=connection.transport.get_extra_info("socket").fileno())
            try:
                with pytest.raises(RuntimeError, match="used by transport"):
                    await loop.sock_recv(sock, 1)
            finally:
                sock.detach()

    run(loop, main())


def test_a_closed_socket(loop):
    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        left.close()
        right.close()
        for call in (lambda: loop.sock_recv(left, 1), lambda: loop.sock_sendall(left, b"x")):
            with pytest.raises((OSError, ValueError)):
                await call()

    run(loop, main())


def test_large_transfer_with_a_thread(loop, pair):
    """The peer blocks on a thread, so the loop waits in its poll for each part."""

    async def main():
        pair[1].setblocking(True)
        sending = asyncio.ensure_future(loop.sock_sendall(pair[0], b"x" * 3_000_000))
        assert len(await in_thread(Peer(pair[1]).receive_now, 3_000_000)) == 3_000_000
        await sending

    run(loop, main())


def test_fifty_sockets_wait_at_once(loop):
    async def main():
        pairs = [socket.socketpair() for _ in range(50)]
        for left, _ in pairs:
            left.setblocking(False)
        receiving = [asyncio.ensure_future(loop.sock_recv(left, 10)) for left, _ in pairs]
        await asyncio.sleep(0)
        for i, (_, right) in enumerate(pairs):
            right.send(b"%d" % i)
        assert await asyncio.gather(*receiving) == [b"%d" % i for i in range(50)]
        for left, right in pairs:
            left.close()
            right.close()

    run(loop, main())
