"""Invariant 16: CONNECTING, OPEN, CLOSING, CLOSED, in this order and nothing else; every call is harmless in each."""

import asyncio
import itertools
from typing import Any

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import run, turn
from tests.probes import peers

ENDS = ["close", "abort", "reset", "peer"]


def end(name: str, transport: Any, peer: Any) -> None:
    if name == "peer":
        peers.close_with_reset(peer)
    else:
        getattr(transport, name)()


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize(("first", "second"), list(itertools.product(ENDS, ENDS)))
def test_two_ends(loop: asyncio.AbstractEventLoop, attach: Any, first: str, second: str, waiting: bool) -> None:
    """However it is ended, and ended again, connection_lost is called once."""
    for between in range(3):
        protocol = Recorder()
        transport, peer = attach(protocol)
        if waiting:
            transport.write(bytes(64 << 20))
        end(first, transport, peer)
        for _ in range(between):
            turn(loop)
        if (first, second) != ("peer", "peer"):
            end(second, transport, peer)
        if waiting and "peer" not in (first, second) and {first, second} == {"close"}:
            peer.close()  # close() alone would wait for the peer to read
        run(loop, protocol.until_seen("lost"))
        for _ in range(3):
            turn(loop)
        assert protocol.count("lost") == 1
        assert transport.is_closing()
        assert transport.get_write_buffer_size() == 0
        peer.close()


CALLS: dict[str, Any] = {
    "is_closing": lambda t: t.is_closing(),
    "write": lambda t: t.write(b"x"),
    "write nothing": lambda t: t.write(b""),
    "writelines": lambda t: t.writelines([b"x", bytearray(b"y")]),
    "get_write_buffer_size": lambda t: t.get_write_buffer_size(),
    "get_write_buffer_limits": lambda t: t.get_write_buffer_limits(),
    "set_write_buffer_limits": lambda t: t.set_write_buffer_limits(high=5, low=1),
    "pause_reading": lambda t: t.pause_reading(),
    "resume_reading": lambda t: t.resume_reading(),
    "is_reading": lambda t: t.is_reading(),
    "can_write_eof": lambda t: t.can_write_eof(),
    "get_protocol": lambda t: t.get_protocol(),
    "get_extra_info": lambda t: [t.get_extra_info(k) for k in ("socket", "peername", "sockname", "sslcontext", 5)],
    "set_protocol": lambda t: t.set_protocol(t.get_protocol()),
    "close": lambda t: t.close(),
    "abort": lambda t: t.abort(),
    "reset": lambda t: t.reset(),
    "repr": lambda t: repr(t),
    "attribute": lambda t: setattr(t, "mine", 1),
}


@pytest.mark.parametrize("state", ["closing with output", "closed", "loop closed"])
@pytest.mark.parametrize("call", CALLS)
def test_calls_when_it_is_over(loop_factory: Any, pair: Any, call: str, state: str) -> None:
    """A transport answers every call when it is closing or closed, and when its loop is closed."""
    loop = loop_factory()
    ours, peer = pair()
    protocol = Recorder()
    transport, _ = loop.run_until_complete(loop.connect_accepted_socket(lambda: protocol, ours))
    if state == "closing with output":
        transport.write(bytes(64 << 20))
        transport.close()
    else:
        transport.abort()
        turn(loop)
        turn(loop)
        if state == "loop closed":
            loop.close()
    CALLS[call](transport)
    if state != "loop closed":
        transport.abort()
        for _ in range(3):
            turn(loop)
        loop.close()
    assert protocol.count("lost") == 1


def test_only_a_connected_socket_becomes_a_transport(loop: asyncio.AbstractEventLoop) -> None:
    """connection_made and connection_lost come in pairs, also where the connection was dead on arrival."""
    import socket

    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        peers.close_with_reset(peer)
        listener.close()
        ours.setblocking(False)
        protocol = Recorder()
        try:
            await loop.connect_accepted_socket(lambda: protocol, ours)
        except OSError:
            assert protocol.kinds == []
            ours.close()
        else:
            await protocol.until_seen("lost")
            assert protocol.kinds == ["made", "lost"]

    run(loop, main())
