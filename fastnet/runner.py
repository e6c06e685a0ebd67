"""run(): asyncio.run() on a fastnet loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastnet.loop import new_event_loop

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run the coroutine main on a new fastnet loop, close the loop, and give its result, as asyncio.run() does.

    debug: asyncio's debug mode on or off; None: as PYTHONASYNCIODEBUG says. RuntimeError where a loop runs already.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("fastnet.run() cannot be called from a running event loop: await the coroutine instead")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
