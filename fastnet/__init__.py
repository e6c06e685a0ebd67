"""fastnet: a fast asyncio event loop and server framework for Linux, with its core in C.

In short:

    import fastnet
    fastnet.run(main())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastnet._platform  # noqa: F401  (first: it refuses other systems than Linux)
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
