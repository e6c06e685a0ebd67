"""Fixtures of in-process tests on fastnet alone; the conftest.py of a folder that wants them imports them."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.helpers.loops import LoopFactory
from tests.probes import peers


@pytest.fixture
def loop_factory(guard: None) -> LoopFactory:
    """Makes fastnet loops only."""
    import fastnet

    return fastnet.new_event_loop


@pytest.fixture(params=["tcp", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both kinds of stream."""
    return request.param


@pytest.fixture
def pair(kind: str) -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Makes connected sockets, (ours, the peer's); what is left of them is closed after the test."""
    made: list[socket.socket] = []

    def make() -> tuple[socket.socket, socket.socket]:
        ours, peer = peers.PAIRS[kind]()
        made.extend((ours, peer))
        return ours, peer

    yield make
    for sock in made:
        sock.close()


@pytest.fixture
def attach(loop: asyncio.AbstractEventLoop, pair: Any) -> Callable[[Any], tuple[Any, socket.socket]]:
    """Gives a protocol a connection on the loop, which must not be running: (transport, the peer's socket)."""

    def attach_protocol(protocol: Any) -> tuple[Any, socket.socket]:
        ours, peer = pair()
        transport, _ = loop.run_until_complete(loop.connect_accepted_socket(lambda: protocol, ours))
        return transport, peer

    return attach_protocol
