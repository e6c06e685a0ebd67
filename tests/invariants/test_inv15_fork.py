"""Invariant 15: in a forked child every teardown is close() only, so that the parent's connections live on."""

import pytest

from tests.probes.child import run_script

_PRELUDE = """
import asyncio, gc, os, signal, socket, sys, warnings
import fastnet

warnings.simplefilter("ignore", ResourceWarning)

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transports.append(transport)
    def data_received(self, data):
        self.transport.write(data)

transports, peers, kind = [], [], sys.argv[1]
loop = fastnet.new_event_loop()

async def serve():
    if kind == "unix":
        path = sys.argv[2]
        server = await loop.create_unix_server(Echo, path)
        address, family = path, socket.AF_UNIX
    else:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address, family = server.sockets[0].getsockname(), socket.AF_INET
    return server, address, family

server, address, family = loop.run_until_complete(serve())

def connect():
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect(address)
    return sock

async def echoes(loop, sock):
    sock.sendall(b"ping")
    got = b""
    while len(got) < 4:
        got += await loop.run_in_executor(None, sock.recv, 4)
    return got == b"ping"

async def all_echo(loop):
    return all([await echoes(loop, sock) for sock in peers])

def in_child(body):
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child: {status}"

async def connected():
    while len(transports) < len(peers):
        await asyncio.sleep(0.001)

async def lockstep(sock):
    # without an executor: no threads beside a fork
    sock.sendall(b"ping")
    sock.setblocking(False)
    got = b""
    while len(got) < 4:
        try:
            got += sock.recv(4)
        except BlockingIOError:
            await asyncio.sleep(0.001)
    sock.settimeout(20)
    return got == b"ping"

async def all_lockstep():
    return all([await lockstep(sock) for sock in peers])

for _ in range(3):
    peers.append(connect())
loop.run_until_complete(connected())
assert loop.run_until_complete(all_lockstep())
"""

_END = """
assert loop.run_until_complete(all_lockstep())
peers.append(connect())
loop.run_until_complete(connected())
assert loop.run_until_complete(all_lockstep())
assert not any(transport.is_closing() for transport in transports)
# what the parent closes ends in good order: the child has left no SO_LINGER behind
transports[1].close()
loop.run_until_complete(asyncio.sleep(0.001))
assert peers[1].recv(1) == b""
for sock in peers:
    sock.close()
async def gone():
    server.close()
    while not all(transport.is_closing() for transport in transports):
        await asyncio.sleep(0.001)
loop.run_until_complete(gone())
loop.run_until_complete(asyncio.sleep(0))
loop.close()
print("good")
"""

CHILDREN = {
    "exits": "pass",
    "closes the loop": "loop.close()",
    "aborts and resets": """
    transports[0].abort()
    transports[1].reset() if hasattr(transports[1], "reset") else transports[1].abort()
    transports[2].close()
    server.close()
    loop.close()""",
    "runs what it scheduled": """
    transports[0].abort()
    transports[1].reset()
    transports[2].close()
    loop.call_soon(loop.stop)
    loop.run_forever()""",
    "drops everything": """
    global loop, server
    transports.clear()
    del loop, server
    gc.collect()""",
    "closes its copies of the peers": """
    for sock in peers:
        sock.close()
    loop.close()""",
    "makes a loop of its own": """
    loop.close()
    own = fastnet.new_event_loop()
    async def main():
        served = await own.create_server(Echo, "127.0.0.1", 0)
        sock = socket.create_connection(served.sockets[0].getsockname())
        assert await echoes(own, sock)
        sock.close()
        served.close()
        await asyncio.sleep(0.001)
    own.run_until_complete(main())
    own.close()""",
    "runs a loop of its own beside the old one": """
    fastnet.run(asyncio.sleep(0.01))
    transports[0].write(b"")
    transports[0].abort()""",
    "stays while the parent goes on": """
    pass""",
}


@pytest.mark.parametrize("child", CHILDREN)
def test_fork_between_runs(child: str, kind: str, short_tmp: object) -> None:
    script = f"{_PRELUDE}\ndef body():\n    {CHILDREN[child].strip()}\nin_child(body)\n{_END}"
    check(script, kind, f"{short_tmp}/s")


@pytest.mark.parametrize("child", ["exits", "aborts and resets", "closes its copies of the peers"])
def test_fork_in_a_callback(child: str, kind: str, short_tmp: object) -> None:
    """The child is born inside the running loop, and only tears down."""
    body = CHILDREN[child].replace("loop.close()", "pass").strip()
    script = f"""{_PRELUDE}
def body():
    {body}
loop.call_soon(in_child, body)
loop.run_until_complete(asyncio.sleep(0.01))
{_END}"""
    check(script, kind, f"{short_tmp}/s")


def test_end_with_a_living_child(kind: str, short_tmp: object) -> None:
    """A child that holds copies of everything: close() sends no end then, write_eof() does, and no event is amiss."""
    script = f"""{_PRELUDE}
held_r, held_w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(held_w)
    os.read(held_r, 1)  # until the parent says so
    os._exit(0)
os.close(held_r)
before = loop.metrics()["events"]
transports[0].close()
transports[1].write_eof()
loop.run_until_complete(asyncio.sleep(0.02))
peers[0].setblocking(False)
try:
    raise AssertionError(f"no end was expected: {{peers[0].recv(1)!r}}")
except BlockingIOError:
    pass
assert peers[1].recv(1) == b""
# what arrives for the closed one, alive in the child, wakes nobody
for _ in range(5):
    peers[0].send(b"x")
loop.run_until_complete(asyncio.sleep(0.02))
assert loop.metrics()["events"] - before < 10, loop.metrics()
assert loop.run_until_complete(lockstep(peers[2]))
os.close(held_w)
os.waitpid(pid, 0)
peers[0].settimeout(20)
try:
    assert peers[0].recv(1) == b""
except ConnectionResetError:
    pass  # it held data that nobody read
peers[1].close()
transports[1].abort()
del peers[:2], transports[:2]
peers.append(connect())
loop.run_until_complete(connected())
{_END}"""
    check(script, kind, f"{short_tmp}/s")


def check(script: str, kind: str, path: str) -> None:
    done = run_script(script, kind, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good\n", "")
