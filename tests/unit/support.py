"""What the unit tests share."""

import contextvars
import gc
from collections.abc import Callable

from hypothesis import HealthCheck, settings

# Time decides nothing, and no folder of examples is left behind.
PROPERTY = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

_held = contextvars.ContextVar[object]("held")


def each_time(count: int, call: Callable[..., object], *args: object) -> Callable[[], None]:
    """A function that makes the call COUNT times."""

    def repeat() -> None:
        for _ in range(count):
            call(*args)

    return repeat


class Finalized:
    """Calls ACTION when its last reference goes. In a circle with itself, it waits for the collector.

    It may serve as a callback, which does nothing.
    """

    def __init__(self, action: Callable[[], object], *, circle: bool = False) -> None:
        self.action = action
        self.me = self if circle else None

    def __call__(self) -> None:
        pass

    def __del__(self) -> None:
        self.action()


def context_that_calls(action: Callable[[], object]) -> contextvars.Context:
    """A context whose end calls ACTION: it is the only holder of an object with a finalizer."""
    context = contextvars.Context()
    context.run(_held.set, Finalized(action))
    return context


def count_objects(kind: type) -> int:
    """How many objects of exactly this type the collector knows."""
    return sum(type(each) is kind for each in gc.get_objects())
