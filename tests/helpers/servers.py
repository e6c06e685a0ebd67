"""What tests of servers ask: whether one serves, and to end it."""

import asyncio
import socket

from tests.helpers.running import in_thread


async def is_served(address, family=socket.AF_INET):
    """Whether a client of ADDRESS gets an echo."""

    def ask():
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(20)
            try:
                sock.connect(address)
                sock.sendall(b"ping")
                return sock.recv(4) == b"ping"
            except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
                return False

    return await in_thread(ask)


async def end(server):
    """Closes the server and waits for it, and for its connections to have gone."""
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.001)
