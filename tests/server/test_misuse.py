"""Random misuse of the API in a process of its own: wrong arguments and states, any order; it may raise, not crash."""

import pytest

from tests.probes.child import run_script

MISUSE = """
import asyncio, contextlib, gc, os, random, socket, sys, time, warnings
import fastnet
from tests.probes import kernel

warnings.simplefilter("ignore")
seed = int(sys.argv[1])
rng = random.Random(seed)
loop = fastnet.new_event_loop()
loop.set_exception_handler(lambda loop, context: None)
before = None
sys.unraisablehook = lambda unraisable: None

class Evil:
    def __getattr__(self, name):
        raise (AttributeError if name.startswith("__") else ValueError)(name)

class Buffer(bytearray):
    pass

class Proto(asyncio.Protocol):
    def __init__(self):
        self.depth = 0
    def connection_made(self, transport):
        self.transport = transport
        transports.append(transport)
        self.act()
    def data_received(self, data):
        self.act()
    def eof_received(self):
        self.act()
        return rng.random() < 0.5
    def pause_writing(self):
        self.act()
    def resume_writing(self):
        self.act()
    def connection_lost(self, exc):
        self.act()
    def act(self):
        if rng.random() < 0.3:
            misuse()
        if rng.random() < 0.05:
            raise ValueError("on purpose")

class BufferedProto(Proto, asyncio.BufferedProtocol):
    data_received = None
    def get_buffer(self, sizehint):
        self.act()
        return rng.choice([bytearray(100), bytearray(1), bytearray(), memoryview(bytearray(10)), b"read-only", None, 5])
    def buffer_updated(self, nbytes):
        self.act()

def factory():
    return rng.choice([Proto, BufferedProto, Proto, Proto, object, lambda: None, list])()

transports, servers, peers, handles, tasks = [], [], [], [], []

def wrong():
    return rng.choice([
        None, 0, -1, 1, 10**6, 10**20, -10**20, 1.5, float("nan"), float("inf"), "text", b"", b"bytes", True, len, int,
        bytearray(b"x" * 70000), memoryview(b"abc"), memoryview(bytearray(4000)), [], [b"a", "b"], (), {}, object(),
        Evil(), loop,
        Buffer(b"mine"), [b"x" * 1000] * 100, range(3), lambda *args: None, loop.call_soon, b"y" * 3000000,
    ])

def arguments():
    return [rng.choice(fitting)() if rng.random() < 0.5 else wrong() for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3]))]

fitting = [
    lambda: (lambda *args: None), lambda: Proto(), lambda: BufferedProto(), lambda: rng.choice([0, 0.001, 0.01]),
    lambda: loop.time() + 0.001, lambda: rng.choice(peers or [None]), lambda: b"data", lambda: misuse,
]

TRANSPORT = [
    "write", "writelines", "write_eof", "close", "abort", "reset", "shutdown_read", "pause_reading", "resume_reading",
    "is_reading", "is_closing", "get_write_buffer_size", "set_write_buffer_limits", "get_write_buffer_limits",
    "get_extra_info", "set_protocol", "get_protocol", "can_write_eof", "__repr__", "__reduce__", "__init__", "__del__",
]
LOOP = [
    "call_soon", "call_later", "call_at", "call_soon_threadsafe", "add_reader", "remove_reader", "add_writer",
    "remove_writer", "metrics", "time", "create_future", "is_running", "is_closed", "get_debug", "__repr__", "stop",
    "set_exception_handler", "run_forever", "add_signal_handler", "remove_signal_handler", "_process_events",
    "_add_reader", "_stop_serving", "call_exception_handler",
]
SERVER = ["close", "is_serving", "get_loop", "start_serving", "close_clients", "abort_clients", "sockets", "__repr__"]

def misuse():
    if not loop_open():
        return
    with contextlib.suppress(Exception):
        kind = rng.random()
        if kind < 0.55 and transports:
            call(rng.choice(transports), rng.choice(TRANSPORT))
        elif kind < 0.9:
            name = rng.choice(LOOP)
            result = call(loop, name)
            if name.startswith("call_") and result is not None:
                handles.append(result)
            if name == "set_exception_handler":
                loop.set_exception_handler(lambda loop, context: None)
        elif kind < 0.95 and servers:
            call(rng.choice(servers), rng.choice(SERVER))
        elif handles:
            handle = rng.choice(handles)
            rng.choice([handle.cancel, handle.cancelled, handle.__repr__, handle.__hash__])()
            if rng.random() < 0.05:
                handle._run()

def call(target, name):
    method = getattr(target, name)
    if rng.random() < 0.1:
        return method(**{rng.choice(["context", "data", "high", "low", "name"]): wrong()})
    return method(*arguments())

def loop_open():
    return not loop.is_closed()

async def start(coroutine):
    task = asyncio.ensure_future(coroutine)
    tasks.append(task)
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await asyncio.wait_for(task, 0.2)

async def connect():
    kind = rng.random()
    if kind < 0.5:
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        peer.setblocking(False)
        peers.append(peer)
        try:
            await loop.connect_accepted_socket(factory, ours)
        except BaseException:
            ours.close()
            raise
    elif kind < 0.6:
        servers.append(await loop.create_server(factory, "127.0.0.1", 0))
    elif servers:
        sock = socket.socket()
        sock.setblocking(False)
        peers.append(sock)
        with contextlib.suppress(Exception):
            sock.connect(rng.choice(servers).sockets[0].getsockname())

async def sock_calls():
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    task = asyncio.ensure_future(loop.sock_recv(a, rng.choice([10, 0, -1, "x"])))
    await asyncio.sleep(0)
    rng.choice([task.cancel, a.close, b.close, lambda: b.send(b"x"), lambda: loop.remove_reader(a)])()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    a.close()
    b.close()

async def round_():
    for _ in range(20):
        step = rng.random()
        if step < 0.3:
            await start(connect())
        elif step < 0.35:
            await start(sock_calls())
        elif step < 0.5 and peers:
            peer = rng.choice(peers)
            with contextlib.suppress(Exception):
                rng.choice([
                    lambda: peer.send(b"z" * rng.choice([1, 1000, 100000])), lambda: peer.recv(1 << 20), peer.close,
                    lambda: peer.shutdown(socket.SHUT_WR), lambda: peer.shutdown(socket.SHUT_RD),
                ])()
        elif step < 0.55:
            await asyncio.sleep(rng.choice([0, 0, 0.001]))
        elif step < 0.57:
            del transports[: len(transports) // 2], handles[:]
            gc.collect()
        else:
            misuse()

def forever(coroutine):
    # any callback may stop the loop: run on until it is done
    task = loop.create_task(coroutine)
    while not task.done():
        task.add_done_callback(lambda _: loop.stop())
        loop.run_forever()
    return task.exception()

def clean():
    for server in servers:
        with contextlib.suppress(Exception):
            server.close()
    for peer in peers:
        peer.close()
    for transport in transports:
        with contextlib.suppress(Exception):
            transport.abort()
    for collection in (transports, servers, peers, handles, tasks):
        collection.clear()
    for _ in range(5):
        loop.call_soon(loop.stop)
        loop.run_forever()
    gc.collect()

loop.call_soon(loop.stop)
loop.run_forever()
for sig in (1, 2, 10, 12, 15):
    with contextlib.suppress(Exception):
        loop.remove_signal_handler(sig)
before = kernel.descriptors()
end = time.monotonic() + float(sys.argv[2])
rounds = 0
while time.monotonic() < end:
    if loop.is_closed():
        loop = fastnet.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
    error = forever(round_())
    if error is not None:
        raise error
    rounds += 1
    if rounds % 20 == 0:
        clean()
clean()
loop.close()
gc.collect()
gc.collect()
after = kernel.descriptors()
print("rounds", rounds > 3, "descriptors", len(after) <= len(before))
"""


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_random_misuse(seed: int) -> None:
    done = run_script(MISUSE, str(seed), "1.5", seconds=60)
    assert done.returncode == 0, f"seed {seed}: exit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-3000:]}"
    assert done.stdout == "rounds True descriptors True\n"
