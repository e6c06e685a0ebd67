"""The event loops that the conformance tests run on, by name."""

import asyncio
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec

import pytest

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def is_there(name: str) -> bool:
    """Whether the loop's package is installed and, for fastnet, built."""
    if name == "fastnet":
        try:
            return hasattr(import_module(name), "new_event_loop")
        except ImportError:
            return False
    return find_spec(name) is not None


def factory(name: str) -> LoopFactory:
    """The function that makes a new loop of the kind called NAME."""
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    return import_module(name).new_event_loop


def params() -> Iterator[object]:
    """The parameters of the `loop_factory` fixture; fastnet is among them only where it is built."""
    yield pytest.param("asyncio", id="asyncio")
    missing = not is_there("uvloop")
    yield pytest.param("uvloop", id="uvloop", marks=[pytest.mark.skip(reason="uvloop is not installed")] * missing)
    if is_there("fastnet"):
        yield pytest.param("fastnet", id="fastnet")
