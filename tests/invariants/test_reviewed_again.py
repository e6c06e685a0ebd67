"""What the second reading of the core found, each with its reproduction."""

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

import fastnet
from tests.helpers.running import run, turn, wait_until_polling
from tests.helpers.wires import TCP


async def joined(loop: Any, factory: Any = asyncio.Protocol, size: int | None = None) -> tuple[Any, Any, socket.socket]:
    """A transport on one end of a socket pair, its protocol, and the other end."""
    ours, theirs = socket.socketpair()
    if size is not None:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    transport, protocol = await loop.create_connection(factory, sock=ours)
    return transport, protocol, theirs


_FORKED_LOOP = """
import asyncio, os, signal, socket
import fastnet

def child(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.send(b"x" * 10)
    async def main():
        loop.add_reader(ours, loop.remove_reader, ours)
        await asyncio.sleep(0.01)
        before = loop.metrics()["polls"]
        await asyncio.sleep(0.1)
        assert loop.metrics()["polls"] - before < 10, loop.metrics()
        await loop.run_in_executor(None, int)  # a wake-up from a thread
        got = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await got.wait()
    loop.run_until_complete(main())
    ours.close()
    theirs.close()

loop = fastnet.new_event_loop()
ours, theirs = socket.socketpair()
ours.setblocking(False)
got = []
def readable():
    got.append(ours.recv(100))
    loop.stop()
loop.add_reader(ours, readable)
loop.call_later(0.001, loop.stop)
loop.run_forever()
pid = os.fork()
if pid == 0:
    try:
        child(loop)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
theirs.send(b"the parent's")
loop.run_forever()
async def in_a_thread():
    await loop.run_in_executor(None, int)
loop.run_until_complete(in_a_thread())
loop.close()
ours.close()
theirs.close()
print(got)
"""


def test_a_loop_made_before_a_fork_runs_in_the_child() -> None:
    """With an epoll, a wake-up and a signal pipe of its own: nothing spins, and the parent's go on."""
    done = subprocess.run([sys.executable, "-c", _FORKED_LOOP], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, '[b"the parent\'s"]\n', "")


@pytest.mark.parametrize("where", ["callback", "outside"])
def test_pause_writing_does_not_write_between_the_lines(loop: Any, where: str) -> None:
    class Writer(asyncio.Protocol):
        transport: Any = None

        def pause_writing(self) -> None:
            self.transport.write(b"<pause>")

    async def main() -> None:
        transport, protocol, theirs = await joined(loop, Writer, size=4096)
        protocol.transport = transport
        lines = [bytes([65 + i]) * 100_000 for i in range(8)]
        if where == "callback":
            transport.writelines(lines)
        else:
            await loop.run_in_executor(None, transport.writelines, lines)
        wanted = b"".join(lines) + b"<pause>"
        theirs.setblocking(False)
        got = b""
        while len(got) < len(wanted):
            try:
                got += theirs.recv(1 << 20)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert got == wanted
        transport.abort()
        theirs.close()

    run(loop, main())


def test_the_last_flush_sends_all_whatever_one_raises(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Interrupt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Fatal write" in record.getMessage():
                raise KeyboardInterrupt

    async def main() -> list[Any]:
        return [await joined(loop) for _ in range(3)]

    connections = run(loop, main())
    connections[0][2].close()

    def write_and_leave() -> None:
        for transport, _, _ in connections:
            transport.write(b"x")
        raise SystemExit

    handler = Interrupt()
    loop.set_debug(True)
    caplog.set_level(logging.DEBUG, "asyncio")
    logging.getLogger("asyncio").addHandler(handler)
    try:
        loop.call_soon(write_and_leave)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            loop.run_forever()
    finally:
        logging.getLogger("asyncio").removeHandler(handler)
        loop.set_debug(False)
    for transport, _, theirs in connections[1:]:
        theirs.setblocking(False)
        assert theirs.recv(10) == b"x"
        theirs.close()
        transport.abort()
    turn(loop)
    turn(loop)


def test_a_datagram_transport_shows_itself_and_its_descriptor_is_its_own(loop: Any) -> None:
    async def main() -> None:
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        assert isinstance(transport, fastnet.DatagramTransport)
        fd = transport.get_extra_info("socket").fileno()
        assert repr(transport) == f"<fastnet.DatagramTransport open fd={fd} bufsize=0>"
        for refused in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                refused(fd, print)
        transport.close()
        assert "closing" in repr(transport)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert repr(transport) == "<fastnet.DatagramTransport closed>"

    run(loop, main())


def test_an_interrupt_while_the_socket_object_is_made_leaves_the_descriptor(loop: Any) -> None:
    """socket.socket(fileno=) would be thrown away half-made, and close the descriptor."""

    def interrupt(frame: Any, event: str, arg: object) -> Any:
        if frame.f_code.co_name != "__init__" or not frame.f_code.co_filename.endswith("/socket.py"):
            return None
        sys.settrace(None)
        raise KeyboardInterrupt

    async def main() -> None:
        async with TCP.accepted() as connection:
            transport = connection.transport
            before = sys.gettrace()
            sys.settrace(interrupt)
            try:
                transport.get_extra_info("socket")
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(before)
            gc.collect()
            os.fstat(transport.get_extra_info("socket").fileno())
            transport.write(b"alive")
            assert await connection.peer.receive(5) == b"alive"

    run(loop, main())


def test_the_empty_waiter_hears_of_a_lost_connection(loop: Any) -> None:
    async def main() -> None:
        transport, _, theirs = await joined(loop)
        transport.write(bytes(5_000_000))
        waiter = transport._make_empty_waiter()
        theirs.close()
        with pytest.raises(ConnectionError, match="closed by peer"):
            await waiter

    run(loop, main())


def test_another_loops_close_leaves_the_running_ones_wakeup(loop: Any) -> None:
    other = fastnet.new_event_loop()
    other.add_signal_handler(signal.SIGUSR1, print)

    async def main() -> None:
        other.close()
        woken = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR2, woken.set)
        assert signal.set_wakeup_fd(-1) != -1
        loop.remove_signal_handler(signal.SIGUSR2)

    run(loop, main())
    assert signal.set_wakeup_fd(-1) == -1


def test_what_a_thread_writes_while_the_loop_waits_goes_at_once(loop: Any) -> None:
    async def main() -> None:
        transport, _, theirs = await joined(loop)
        theirs.settimeout(20)
        got = []
        loop_thread = threading.get_native_id()

        def write() -> None:
            wait_until_polling(loop_thread)
            polls = loop.metrics()["polls"]
            transport.write(b"hi")
            got.append((theirs.recv(10), loop.metrics()["polls"] - polls))
            loop.call_soon_threadsafe(done.set)

        done = asyncio.Event()
        thread = threading.Thread(target=write)
        thread.start()
        await done.wait()
        thread.join()
        assert got == [(b"hi", 0)]
        transport.abort()
        theirs.close()

    run(loop, main())


def test_get_buffer_may_set_another_buffered_protocol(loop: Any) -> None:
    seen: list[Any] = []

    class Buffered(asyncio.BufferedProtocol):
        transport: Any

        def __init__(self, successor: Any) -> None:
            self.successor = successor
            self.buffer = bytearray(100)

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def get_buffer(self, sizehint: int) -> bytearray:
            if self.successor is not None:
                self.transport.set_protocol(self.successor)
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            seen.append((self.successor, bytes(self.buffer[:nbytes])))

    async def main() -> None:
        transport, _, theirs = await joined(loop, lambda: Buffered(Buffered(None)))
        theirs.send(b"hello")
        while not seen:
            await asyncio.sleep(0)
        assert seen == [(None, b"hello")]
        transport.abort()
        theirs.close()

    run(loop, main())


def test_a_clock_that_fails_ends_the_run(loop: Any) -> None:
    def fail() -> float:
        raise LookupError("the clock")

    timer = loop.call_later(10, print)
    loop.call_soon(lambda: setattr(loop, "time", fail))
    with pytest.raises(LookupError, match="the clock"):
        loop.run_forever()
    del loop.time
    timer.cancel()


def test_the_names_of_a_closed_unix_connection(loop: Any, short_tmp: Any) -> None:
    async def main() -> None:
        path = str(short_tmp / "s")
        accepted: list[Any] = []

        class Server(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                accepted.append(transport)

        server = await loop.create_unix_server(Server, path)
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, path)
        while not accepted:
            await asyncio.sleep(0)
        for one in (transport, accepted[0]):
            one.abort()
        await asyncio.sleep(0.001)
        names = [[one.get_extra_info(name) for name in ("sockname", "peername")] for one in (transport, accepted[0])]
        assert names == [["", path], [path, ""]]
        assert transport.get_extra_info("sockname", "default") == ""
        server.close()

    run(loop, main())
