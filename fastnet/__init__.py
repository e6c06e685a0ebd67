"""An event loop for asyncio on Linux, its core in C: a drop-in replacement for asyncio's own.

    import asyncio, fastnet

    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main():
        async with await asyncio.start_server(echo, "127.0.0.1", 9000) as server:
            await server.serve_forever()

    fastnet.run(main())

Ways to use it:

    fastnet.run(main(), debug=None)     asyncio.run() on a fastnet loop
    fastnet.new_event_loop()            a loop; also asyncio.Runner(loop_factory=fastnet.new_event_loop)
                                        and uvicorn --loop fastnet:new_event_loop
    fastnet.install()                   makes it the loop of asyncio.run(), by an EventLoopPolicy (until Python 3.16)

The loop, EventLoop, does all that asyncio documents but subprocesses, and has metrics(). Protocol, BufferedProtocol and
DatagramProtocol are asyncio's, with an optional goodbye(reason); Transport and DatagramTransport are the types that the
loop's transports report, for isinstance() and annotations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastnet._platform  # noqa: F401  (first: it says what is missing)
from fastnet._version import __version__
from fastnet.loop import EventLoop, new_event_loop
from fastnet.protocols import BufferedProtocol, DatagramProtocol, Protocol
from fastnet.runner import run
from fastnet.transports import DatagramTransport, Transport

if TYPE_CHECKING:
    from fastnet.policy import EventLoopPolicy, install

__all__ = [
    "BufferedProtocol",
    "DatagramProtocol",
    "DatagramTransport",
    "EventLoop",
    "EventLoopPolicy",
    "Protocol",
    "Transport",
    "__version__",
    "install",
    "new_event_loop",
    "run",
]


def __getattr__(name: str) -> Any:
    # Event loop policies are deprecated since 3.14: only who asks for them may meet the warnings.
    if name in ("EventLoopPolicy", "install"):
        from fastnet import policy

        return getattr(policy, name)
    raise AttributeError(f"module 'fastnet' has no attribute {name!r}")
