"""That the suite tests what it is for: a fastnet that does not import would be left out of the parameters silently."""

import asyncio

from tests.helpers import loops


def test_fastnet_is_among_the_loops():
    assert loops.is_there("fastnet")


def test_fastnet_comes_from_its_own_package():
    loop = loops.factory("fastnet")()
    loop.close()
    assert type(loop).__module__.split(".")[0] == "fastnet"
    assert isinstance(loop, asyncio.BaseEventLoop)
