"""The loop of these tests is fastnet's alone."""

import gc
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.loops import LoopFactory


@pytest.fixture
def loop_factory(guard: None) -> LoopFactory:
    """Makes fastnet loops only."""
    import fastnet

    return fastnet.new_event_loop


CollectAfter = Callable[[int], None]


@pytest.fixture
def collect_after(guard: None) -> Iterator[CollectAfter]:
    """Has the collector run when so many more objects were made: from C code too, where Python 3.11 may collect.

    The test disables the collector first. Its settings are put back afterwards.
    """
    enabled, threshold = gc.isenabled(), gc.get_threshold()
    kept: list[list[None]] = []

    def start(allocations: int) -> None:
        kept.extend([] for _ in range(200))  # lists that the interpreter keeps for reuse are no allocations
        gc.set_threshold(gc.get_count()[0] + allocations + 1)
        gc.enable()

    yield start
    gc.set_threshold(*threshold)
    if enabled:
        gc.enable()
    else:
        gc.disable()
