"""Byte-exactness: many connections at once, random sizes and random chunks, digests compared at both ends."""

import asyncio
import hashlib
import random

import pytest

from tests.helpers.certificates import HOST
from tests.helpers.running import in_thread, run
from tests.helpers.wires import TCP, UNIX

LARGEST_BYTES = 8 * 1024 * 1024


class Digester(asyncio.Protocol):
    """Echoes, and digests what came; reads no more while the output waits."""

    def connection_made(self, transport):
        """Starts the digest."""
        self.transport = transport
        self.digest = hashlib.blake2b()
        self.count = 0

    def data_received(self, data):
        """Digests and sends back."""
        self.digest.update(data)
        self.count += len(data)
        self.transport.write(data)

    def pause_writing(self):
        """Stops reading while the output waits."""
        self.transport.pause_reading()

    def resume_writing(self):
        """Goes on reading."""
        self.transport.resume_reading()


def log_distributed(rng, largest):
    """A number from 1 to LARGEST, as often between 1 and 10 as between 1,000 and 10,000."""
    return max(1, min(largest, round(largest ** rng.random())))


class Exchange:
    """COUNT connections at once, each sending random data in random chunks and reading it back."""

    def __init__(self, count, largest, seed):
        self.rng = random.Random(seed)
        self.sizes = [log_distributed(self.rng, largest) for _ in range(count)]
        self.sizes[0] = largest
        self.pool = self.rng.randbytes(2 * largest)
        self.protocols = []

    def factory(self):
        """Makes and keeps the server's protocols."""
        self.protocols.append(Digester())
        return self.protocols[-1]

    def data(self, size, seed):
        """SIZE bytes out of the pool, from a place that SEED chooses."""
        start = random.Random(seed).randrange(len(self.pool) - size)
        return memoryview(self.pool)[start : start + size]

    def chunks(self, data, seed):
        """DATA in pieces of random sizes: some large ones, and runs of small ones."""
        rng = random.Random(seed)
        at, small = 0, 0
        while at < len(data):
            length = log_distributed(rng, 300_000)
            if length < 1000:
                small += 1
                length = length if small < 200 else 100_000
            yield data[at : at + length]
            at += length

    async def client(self, connect, index):
        """One connection: the digest of what came back must be that of what was sent."""
        data = self.data(self.sizes[index], index)
        reader, writer = await connect()

        async def send():
            rng = random.Random(index)
            for chunk in self.chunks(data, index):
                kind = rng.randrange(4)
                if kind == 0:
                    writer.write(bytes(chunk))
                elif kind == 1:
                    buffer = bytearray(chunk)
                    writer.write(buffer)
                elif kind == 2:
                    writer.write(chunk)
                else:
                    middle = len(chunk) // 2
                    writer.writelines([chunk[:middle], chunk[middle:]])
                if rng.random() < 0.5:
                    await writer.drain()
            await writer.drain()

        sending = asyncio.ensure_future(send())
        digest = hashlib.blake2b()
        left = len(data)
        while left:
            part = await reader.read(log_distributed(self.rng, 200_000))
            assert part, f"the stream ended {left} bytes early"
            digest.update(part)
            left -= len(part)
        await sending
        assert digest.digest() == hashlib.blake2b(data).digest()
        writer.close()
        await writer.wait_closed()

    async def run(self, connect):
        """All clients at once, then the server's digests are compared with the clients' data."""
        await asyncio.gather(*(self.client(connect, index) for index in range(len(self.sizes))))
        await asyncio.sleep(0.01)
        seen = sorted(protocol.digest.digest() for protocol in self.protocols)
        sent = sorted(hashlib.blake2b(self.data(size, index)).digest() for index, size in enumerate(self.sizes))
        assert seen == sent


async def over(kind, exchange, certificates):
    """Runs the exchange over TCP, Unix sockets or TLS."""
    if kind == "unix":
        async with UNIX.serving(exchange.factory, backlog=200) as (_, path):
            await exchange.run(lambda: asyncio.open_unix_connection(path))
        return
    options = {"ssl": certificates.server()} if kind == "tls" else {}
    async with TCP.serving(exchange.factory, backlog=200, **options) as (_, address):
        client_options = {"ssl": certificates.client(), "server_hostname": HOST} if kind == "tls" else {}
        await exchange.run(lambda: asyncio.open_connection(*address, **client_options))


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_twenty_connections(loop, certificates, kind):
    run(loop, over(kind, Exchange(20, LARGEST_BYTES // 8, 20), certificates))


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_hundred_connections_up_to_8_mib(certificates, kind):
    """The size that fastnet promises; the others would prove nothing new by it."""
    fastnet = pytest.importorskip("fastnet")
    loop = fastnet.new_event_loop()
    try:
        run(loop, over(kind, Exchange(100, LARGEST_BYTES, 100), certificates))
    finally:
        loop.close()


@pytest.mark.parametrize("wire", [TCP, UNIX], ids=["tcp", "unix"])
def test_pipelined_messages_and_a_blocking_peer(loop, wire):
    """Messages of random sizes in one stream, the peer on a thread writing and reading in pieces of its own."""
    rng = random.Random(30)
    data = rng.randbytes(1_500_000)

    def talk(peer):
        received = bytearray()
        at = 0
        while at < len(data):
            length = log_distributed(rng, 100_000)
            peer.sock.sendall(data[at : at + length])
            at += length
            received += peer.receive_now(length if at <= len(data) else len(data) - (at - length))
        return bytes(received)

    async def main():
        protocols = []
        async with wire.serving(lambda: protocols.append(Digester()) or protocols[-1]) as (_, address):
            peer = wire.peer(address)
            assert await in_thread(talk, peer) == data
            peer.close()
            await asyncio.sleep(0.005)
        assert protocols[0].count == len(data)

    run(loop, main())
