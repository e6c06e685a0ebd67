"""An echo server on a fastnet loop, alone in its process, that obeys JSON lines on its standard input.

A thread reads the lines and answers from outside the loop: asking wakes nothing, so an idle loop stays idle while it is
watched. The end of standard input ends the process. Run as: python -m tests.probes.server_child KIND [UNIX_PATH]
"""

import asyncio
import ctypes
import json
import logging
import os
import resource
import sys
import threading
import time
from typing import Any, cast

import fastnet
from tests.probes import kernel, tls


class Echo(asyncio.Protocol):
    """Sends back what it gets; `parts` and `steps` come back in three writes, of the callback or of a task's step."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data == b"parts":
            self.write_parts()
        elif data == b"steps":
            asyncio.get_running_loop().create_task(self.later())
        else:
            self.transport.write(data)

    def write_parts(self) -> None:
        self.transport.write(b"pa")
        self.transport.write(bytearray(b"rt"))
        self.transport.writelines([b"", memoryview(b"s")])

    async def later(self) -> None:
        await asyncio.sleep(0)
        self.write_parts()


class Control:
    """The commands, each run in the thread that reads them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.stopped = asyncio.Event()
        self.loop_clock = time.pthread_getcpuclockid(threading.get_ident())
        self.thief: Thief | None = None

    def do_metrics(self) -> dict[str, int]:
        return self.loop.metrics()  # type: ignore[attr-defined]

    def do_loop_cpu(self) -> float:
        """CPU seconds of the loop's thread alone."""
        return time.clock_gettime(self.loop_clock)

    def do_stall(self, seconds: float) -> None:
        """Keep the loop busy, so that what comes meanwhile waits for it together."""
        self.loop.call_soon_threadsafe(time.sleep, seconds)

    def do_timers(self, delay: float, count: int) -> None:
        """Run timers, one after the other."""

        def next_one(left: int) -> None:
            if left:
                self.loop.call_later(delay, next_one, left - 1)

        self.loop.call_soon_threadsafe(next_one, count)

    def do_limit(self, free: int) -> int:
        """Lower the limit of descriptors so that exactly `free` more can be opened."""
        used = kernel.descriptors()
        while (filled := os.open(os.devnull, os.O_RDONLY)) < max(used):
            pass  # the gaps between those in use are no room
        os.close(filled)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (filled + free, hard))
        return filled + free

    def do_raise_limit(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def do_thief_start(self, library: str) -> None:
        self.thief = Thief(library)

    def do_thief_stop(self) -> int:
        assert self.thief is not None
        return self.thief.stop()

    def serve(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "stop":
                self.loop.call_soon_threadsafe(self.stopped.set)
                return  # no answer: the process ends, perhaps before it would be written
            result: Any = getattr(self, "do_" + command.pop("do"))(**command)
            print(json.dumps(result), flush=True)
        os._exit(0)  # whoever watched us is gone, or done


class Thief:
    """A thread in C, without the GIL, that takes each descriptor the moment it becomes free (see thief.c)."""

    def __init__(self, library: str) -> None:
        self.lib = ctypes.CDLL(library)
        self.thread = threading.Thread(target=self.lib.thief_run, daemon=True)
        self.thread.start()

    def stop(self) -> int:
        """Stop it and give back all it took; how many that was."""
        ctypes.c_int.in_dll(self.lib, "thief_stop").value = 1
        self.thread.join()
        return int(self.lib.thief_release())


async def main(kind: str, path: str) -> None:
    loop = asyncio.get_running_loop()
    control = Control(loop)
    if kind == "unix":
        server = await loop.create_unix_server(Echo, path, backlog=1024)
        address: Any = path
    else:
        context = tls.server_context() if kind == "tls" else None
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=context, backlog=1024)
        address = server.sockets[0].getsockname()
    threading.Thread(target=control.serve, daemon=True).start()
    print(json.dumps({"pid": os.getpid(), "address": address, "time": time.time()}), flush=True)
    await control.stopped.wait()
    server.close()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
    fastnet.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
