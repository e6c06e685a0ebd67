"""Each was found by a reader of the core, with a reproduction: it stays found."""

import asyncio
import gc
import socket
import subprocess
import sys
from typing import Any

import pytest

import fastnet
import fastnet_c
from fastnet_c.endpoint import Endpoint
from fastnet_c.output import OutputTransport
from fastnet_c.stream import StreamTransport
from fastnet_c.transport import BaseTransport
from tests.helpers.protocols import Recorder
from tests.helpers.running import in_thread, run
from tests.probes import peers


def test_a_writer_that_removes_itself_and_fails(loop: Any, errors: list[dict[str, Any]]) -> None:
    ours, theirs = socket.socketpair()

    def fail() -> None:
        loop.remove_writer(ours)
        raise LookupError

    async def main() -> None:
        loop.add_writer(ours, fail)
        while not errors:
            await asyncio.sleep(0)

    run(loop, main())
    assert isinstance(errors.pop()["exception"], LookupError)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_close_in_connection_made_sends_all(loop: Any, family: str, short_tmp: Any) -> None:
    size = 20_000_000

    class Sender(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(bytes(size))
            transport.close()

    async def main() -> None:
        if family == "tcp":
            server = await loop.create_server(Sender, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        else:
            server = await loop.create_unix_server(Sender, short_tmp / "s")
            reader, writer = await asyncio.open_unix_connection(short_tmp / "s")
        assert len(await reader.read()) == size
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_resume_writing_before_the_queue_is_empty(loop: Any, attach: Any) -> None:
    sizes: list[int] = []

    class Measuring(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            sizes.append(self.transport.get_write_buffer_size())

    protocol = Measuring()
    transport, peer = attach(protocol)
    transport.set_write_buffer_limits(high=20 << 20, low=15 << 20)

    async def main() -> None:
        transport.write(bytes(40 << 20))
        assert protocol.count("pause") == 1
        receiving = asyncio.ensure_future(in_thread(peers.recv_exact, peer, 40 << 20))
        await protocol.until_seen("resume")
        await receiving
        assert 0 < sizes[0] <= 15 << 20
        transport.close()
        await protocol.until_seen("lost")

    run(loop, main())


def test_what_a_finalizer_writes_is_sent(loop: Any, attach: Any) -> None:
    protocol = Recorder()
    transport, peer = attach(protocol)

    class Bye:
        def __call__(self) -> None:
            pass

        def __del__(self) -> None:
            transport.write(b"bye")

    async def main() -> None:
        loop.call_later(0.001, Bye())
        assert await in_thread(peers.recv_exact, peer, 3) == b"bye"
        transport.close()
        await protocol.until_seen("lost")

    run(loop, main())


def test_debug_mode_tells_of_a_failing_protocol(loop_factory: Any, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()

    class Failing(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise LookupError("mine")

    async def main() -> None:
        lost = asyncio.get_running_loop().create_future()
        Failing.connection_lost = lambda self, exc: lost.set_result(None)  # type: ignore[method-assign]
        await asyncio.get_running_loop().create_connection(Failing, sock=ours)
        theirs.send(b"x")
        await lost

    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        runner.run(main())
    assert "data_received() call failed" in caplog.text
    assert "Exception in default exception handler" not in caplog.text
    theirs.close()
    caplog.clear()


@pytest.mark.parametrize("kind", [StreamTransport, OutputTransport, Endpoint, BaseTransport])
def test_only_the_core_makes_transports(kind: type) -> None:
    with pytest.raises(TypeError, match="made by the loop"):
        kind()
    with pytest.raises(TypeError, match="made by the loop"):
        kind.__new__(kind)  # type: ignore[call-overload]


def test_a_subclass_of_bytes_is_copied(loop: Any, attach: Any) -> None:
    class Evil(bytes):
        def __bytes__(self) -> bytes:
            return self

        def __del__(self) -> None:
            transport.abort()

    protocol = Recorder()
    transport, _ = attach(protocol)

    async def main() -> None:
        transport.write(b"first")
        transport.write(Evil(b"x" * 1000))
        transport.write(Evil(b"x" * 1000))
        await protocol.until_seen("lost")

    run(loop, main())


def test_writelines_outside_a_callback_keeps_nothing_alive() -> None:
    before = fastnet_c.live_objects()
    loop = fastnet.new_event_loop()
    ours, theirs = socket.socketpair()
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=ours))
    transport.writelines([b"a", b"b"])
    assert theirs.recv(10) == b"ab"
    transport.abort()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    theirs.close()
    del loop, transport
    gc.collect()
    assert fastnet_c.live_objects() == before


def test_a_number_out_of_the_blue_takes_no_memory(loop: Any) -> None:
    for fd in (99_999, 2**30, 2**31 - 1):
        with pytest.raises(OSError, match="Bad file descriptor"):
            loop.add_reader(fd, print)


def test_a_factory_that_closes_the_socket(loop: Any) -> None:
    ours, theirs = socket.socketpair()

    def factory() -> asyncio.Protocol:
        ours.close()
        return asyncio.Protocol()

    with pytest.raises(OSError, match="closed"):
        run(loop, loop.create_connection(factory, sock=ours))
    theirs.close()


_FORKED = """
import asyncio, gc, os, socket, sys, warnings
import fastnet
warnings.simplefilter("ignore")

async def connect():
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    listener.close()
    class Collect(asyncio.Protocol):
        got = b""
        def data_received(self, data):
            self.got += data
    transport, protocol = await asyncio.get_running_loop().create_connection(Collect, sock=ours)
    return transport, protocol, theirs

def in_a_child(leave):
    # From a callback, not from a task: since Python 3.12 a forked child has no running loop for a task's step to leave.
    if os.fork() == 0:
        loop.set_exception_handler(lambda loop, context: None)  # it would tell of main(), which does not end there
        leave()
        sys.exit(0)
    os.wait()

def write_and_fork(transport):
    transport.write(b"once;")
    in_a_child(lambda: None)

async def main():
    global loop
    transport, protocol, theirs = await connect()
    loop = asyncio.get_running_loop()
    if sys.argv[1] == "held":
        loop.call_soon(write_and_fork, transport)
        await asyncio.sleep(0.01)
        theirs.setblocking(False)
        print(theirs.recv(1000))
    else:
        transport.pause_reading()
        theirs.sendall(b"the parent's")
        await asyncio.sleep(0.01)
        loop.call_soon(in_a_child, transport.close)
        await asyncio.sleep(0.01)
        transport.resume_reading()
        while not protocol.got:
            await asyncio.sleep(0.001)
        print(protocol.got)
    transport.abort()
    theirs.close()

fastnet.run(main())
"""


@pytest.mark.parametrize(("what", "printed"), [("held", "b'once;'\n"), ("received", 'b"the parent\'s"\n')])
def test_a_forked_child_takes_nothing_and_sends_nothing(what: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FORKED, what], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")
