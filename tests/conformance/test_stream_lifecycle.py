"""The order of a connection's callbacks, and closing or aborting it inside each of them."""

from tests.helpers.running import run


def test_order_of_callbacks(loop, link):
    async def main():
        async with link() as connection:
            protocol, peer = connection.protocol, connection.peer
            peer.send(b"hello")
            await protocol.until_received(5)
            peer.end()
            await protocol.until_seen("lost")
            assert protocol.kinds == ["made", "data", "eof", "lost"]
            assert protocol.received == b"hello"
            assert protocol.error is None
            assert await peer.receive_to_end() == b""

    run(loop, main())


def test_data_and_eof_at_once(loop, link):
    async def main():
        async with link() as connection:
            connection.peer.send(b"x" * 1000)
            connection.peer.end()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "data", "eof", "lost"]
            assert connection.protocol.received == b"x" * 1000

    run(loop, main())
