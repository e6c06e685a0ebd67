"""The event loop policy, for Pythons that have policies (deprecated in 3.14, gone in 3.16).

Made on first use, by fastnet.EventLoopPolicy or fastnet.install(): importing fastnet asks asyncio for nothing that is
deprecated.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from asyncio import unix_events

from fastnet.loop import EventLoop

_Base = getattr(unix_events, "_DefaultEventLoopPolicy", None) or getattr(unix_events, "DefaultEventLoopPolicy", None)
if _Base is None:
    raise ImportError("this Python has no event loop policies any more: use fastnet.run() or loop_factory=")


class EventLoopPolicy(_Base):  # type: ignore[misc, valid-type]
    """Makes asyncio.new_event_loop() give a fastnet loop: asyncio.set_event_loop_policy(EventLoopPolicy())."""

    _loop_factory = EventLoop


def install() -> None:
    """Make fastnet's loop the default of this process. Prefer fastnet.run(), which needs no policy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(EventLoopPolicy())
    if sys.version_info >= (3, 14):
        warnings.warn(
            "fastnet.install() uses event loop policies, which Python 3.16 removes: use fastnet.run(main()) or"
            " asyncio.Runner(loop_factory=fastnet.new_event_loop)",
            DeprecationWarning,
            stacklevel=2,
        )
