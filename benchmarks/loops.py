"""Event loops by name: `asyncio`, `uvloop`, `fastnet`, any module that has `new_event_loop`, or `module:factory`."""

import asyncio
import importlib
from collections.abc import Callable
from importlib import metadata

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

DEFAULT_LOOPS = ("asyncio", "uvloop", "fastnet")
BASELINE = "uvloop"  # the loop that the others are compared with, where it is among those measured

_DISTRIBUTIONS = {"fastnet": "fastnet-loop"}  # where it is not called like the module


class LoopMissing(Exception):
    """A loop that is not installed, or a name that leads to none."""


def split_name(name: str) -> tuple[str, str]:
    """The module and the factory that a name means."""
    module, _, factory = name.partition(":")
    return module, factory or "new_event_loop"


def find_factory(name: str) -> LoopFactory:
    """The callable that makes a loop; LoopMissing says why there is none."""
    module_name, factory_name = split_name(name)
    try:
        target = importlib.import_module(module_name)
        for part in factory_name.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise LoopMissing(f"{name}: {error}") from error
    if not callable(target):
        raise LoopMissing(f"{name}: {factory_name} cannot be called")

    def make() -> asyncio.AbstractEventLoop:
        loop = target()
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise LoopMissing(f"{name}: {factory_name}() made no event loop, but {loop!r}")
        return loop

    return make


def version_of(name: str) -> str:
    """The installed version of the distribution that a loop comes from; '' where it cannot be told."""
    module = split_name(name)[0].partition(".")[0]
    if module == "asyncio":
        return "standard library"
    try:
        return metadata.version(_DISTRIBUTIONS.get(module, module))
    except metadata.PackageNotFoundError:
        return str(getattr(importlib.import_module(module), "__version__", ""))
