"""create_unix_server: paths, abstract names, sockets, the file of a socket."""

import os
import socket

import pytest

from tests.helpers.protocols import Echo, Recorder
from tests.helpers.running import run
from tests.helpers.servers import end, is_served


def test_unix_path(loop, short_tmp):
    async def main():
        path = str(short_tmp / "socket")
        server = await loop.create_unix_server(Echo, path)
        assert server.sockets[0].getsockname() == path
        assert await is_served(path, socket.AF_UNIX)
        await end(server)
        assert not await is_served(path, socket.AF_UNIX)

    run(loop, main())


def test_unix_path_object(loop, short_tmp):
    async def main():
        server = await loop.create_unix_server(Echo, short_tmp / "socket")
        assert await is_served(str(short_tmp / "socket"), socket.AF_UNIX)
        await end(server)

    run(loop, main())


@pytest.mark.differs(uvloop="cuts abstract names short, and hangs at close()", run=False)
def test_unix_abstract_name(loop):
    async def main():
        name = f"\0fastnet-test-{os.getpid()}"
        server = await loop.create_unix_server(Echo, name)
        assert await is_served(name, socket.AF_UNIX)
        transport, protocol = await loop.create_unix_connection(Recorder, name)
        transport.write(b"ping")
        await protocol.until_received(4)
        assert transport.get_extra_info("peername") == name.encode()
        transport.close()
        await protocol.until_seen("lost")
        await end(server)

    run(loop, main())


def test_unix_stale_socket_is_replaced(loop, short_tmp):
    async def main():
        path = str(short_tmp / "socket")
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        assert os.path.exists(path)
        server = await loop.create_unix_server(Echo, path)
        assert await is_served(path, socket.AF_UNIX)
        await end(server)

    run(loop, main())


def test_unix_path_that_is_a_file(loop, short_tmp):
    async def main():
        path = short_tmp / "file"
        path.write_text("precious")
        with pytest.raises(OSError, match="in use"):
            await loop.create_unix_server(Echo, str(path))
        assert path.read_text() == "precious"

    run(loop, main())


def test_unix_sock(loop, short_tmp):
    async def main():
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(short_tmp / "socket"))
        server = await loop.create_unix_server(Echo, sock=sock)
        assert await is_served(str(short_tmp / "socket"), socket.AF_UNIX)
        await end(server)

    run(loop, main())


def test_unix_wrong_arguments(loop, short_tmp):
    async def main():
        with socket.socket(socket.AF_UNIX) as sock, socket.socket() as tcp:
            with pytest.raises(ValueError):
                await loop.create_unix_server(Echo, str(short_tmp / "socket"), sock=sock)
            with pytest.raises(ValueError):
                await loop.create_unix_server(Echo)
            with pytest.raises(ValueError, match="UNIX"):
                await loop.create_unix_server(Echo, sock=tcp)

    run(loop, main())


@pytest.mark.skipif("sys.version_info < (3, 13)", reason="new in Python 3.13")
def test_unix_socket_is_removed_at_the_end(loop, short_tmp):
    async def main():
        path = str(short_tmp / "socket")
        await end(await loop.create_unix_server(Echo, path))
        assert not os.path.exists(path)
        await end(await loop.create_unix_server(Echo, path, cleanup_socket=False))
        assert os.path.exists(path)

    run(loop, main())
