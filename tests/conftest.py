"""Fixtures of every test: the loops, the guards that no test leaks descriptors or objects, paths, certificates."""

import asyncio
import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import descriptors, loops, running, wires

if TYPE_CHECKING:
    from tests.helpers.certificates import Certificates

LinkMaker = Callable[..., AbstractAsyncContextManager[wires.Link]]

FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker by which a test says where a loop is known to differ."""
    config.addinivalue_line(
        "markers",
        "differs(asyncio=reason, uvloop=reason, run=True): the named loop fails this test for that reason; "
        "run=False where it would hang or crash, strict=False where it sometimes passes. fastnet has no such excuse.",
    )
    # With these pytest shows all that differs, whatever the verbosity: of a megabyte that takes it minutes.
    for name in ("CI", "BUILD_NUMBER"):
        os.environ.pop(name, None)


def pytest_sessionstart() -> None:
    """Lets Ctrl-C be Ctrl-C in the tests: a shell's background jobs start with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Turns `differs` into strict xfail marks."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        name = callspec.params.get("loop_factory") if callspec else None
        for marker in item.iter_markers("differs"):
            assert "fastnet" not in marker.kwargs, "fastnet has no excuses"
            reason = marker.kwargs.get(name)
            if reason:
                how = {"strict": marker.kwargs.get("strict", True), "run": marker.kwargs.get("run", True)}
                item.add_marker(pytest.mark.xfail(reason=reason, **how))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes each loop once, for what it opens for good (libuv: a pipe); then hides all from the collector.

    The guards' gc.collect() takes a millisecond so.
    """
    specs = [getattr(item, "callspec", None) for item in session.items]
    for name in sorted({spec.params["loop_factory"] for spec in specs if spec and "loop_factory" in spec.params}):
        if loops.is_there(name):
            loops.factory(name)().close()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Notes failures, and lets go of the frames of one: what they hold would look like leaks of the next test."""
    if call.excinfo is not None:
        running.drop_entries_without_line(call.excinfo)
    report = yield
    if call.excinfo is not None:
        item.stash[FAILED] = item.session.stash[FAILED] = True
        if not item.config.getoption("usepdb", False):
            traceback.clear_frames(call.excinfo.tb)
    return report


def _live_objects() -> dict[str, int]:
    core = sys.modules.get("fastnet_c")
    return core.live_objects() if core is not None else {}


def _left_alive(before: dict[str, int]) -> dict[str, int]:
    """What there is more of than before; an executor's thread is given a moment to let go of its last Future."""
    deadline = time.monotonic() + 2
    while True:
        left = {kind: count - before.get(kind, 0) for kind, count in _live_objects().items()}
        left = {kind: count for kind, count in left.items() if count > 0}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)
        gc.collect()


@pytest.fixture(autouse=True)
def guard(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Ends a hung test, and fails one that leaves descriptors open, closes a stranger's, or leaves objects alive."""
    gc.collect()
    gc.freeze()  # else each collection looks at all that earlier tests left, and the suite slows down as it runs
    fds_before, live_before = descriptors.open_descriptors(), _live_objects()
    with running.ended_if_hung():
        yield
    # pytest holds the fixtures' values, and the exceptions that were logged, longer than it needs them.
    if request.node.funcargs is not None:  # None where pytest itself failed
        request.node.funcargs.clear()
    caplog.get_records("call").clear()
    if request.node.stash.get(FAILED, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the failure is the news; what it left behind is not
            gc.collect()
        return
    gc.collect()
    fd_changes = descriptors.difference(fds_before, descriptors.open_descriptors())
    if request.session.stash.get(FAILED, False):  # what a failed test left may go at any time
        fd_changes = [change for change in fd_changes if change.startswith("leaked")]
    if fd_changes:
        pytest.fail("descriptors differ after the test:\n  " + "\n  ".join(fd_changes), pytrace=False)
    if left := _left_alive(live_before):
        pytest.fail(f"objects of fastnet_c still alive after the test: {left}", pytrace=False)


@pytest.fixture(params=list(loops.params()))
def loop_factory(request: pytest.FixtureRequest, guard: None) -> loops.LoopFactory:
    """The function that makes a new loop, of each kind in turn."""
    return loops.factory(request.param)


@pytest.fixture
def loop_name(request: pytest.FixtureRequest, loop_factory: loops.LoopFactory) -> str:
    """'asyncio', 'uvloop' or 'fastnet'."""
    return request.node.callspec.params["loop_factory"]


@pytest.fixture
def errors() -> list[dict[str, Any]]:
    """What the loop's exception handler was told. A test that expects something takes it out; the rest fails it."""
    return []


@pytest.fixture
def loop(
    request: pytest.FixtureRequest, loop_factory: loops.LoopFactory, errors: list[dict[str, Any]]
) -> Iterator[asyncio.AbstractEventLoop]:
    """A new loop, closed after the test."""
    loop = loop_factory()
    loop.set_exception_handler(lambda loop, context: errors.append(context))
    yield loop
    if request.node.stash.get(FAILED, False):
        with contextlib.suppress(RuntimeError):
            loop.close()
        return
    if loop.is_closed():
        return
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    unexpected = [f"{context.get('message')}: {context.get('exception')!r}" for context in errors]
    errors.clear()
    assert not unexpected, "the loop's exception handler was told what the test did not expect"


@pytest.fixture(params=wires.WIRES, ids=lambda wire: wire.name)
def wire(request: pytest.FixtureRequest) -> wires.Wire:
    """TCP and Unix streams in turn."""
    return request.param


@pytest.fixture
def accepted(wire: wires.Wire) -> LinkMaker:
    """A connection on each kind of stream, made by the loop's server."""
    return wire.accepted


@pytest.fixture(params=["accepted", "connected"])
def link(request: pytest.FixtureRequest, wire: wires.Wire) -> LinkMaker:
    """A connection on each kind of stream, made by the loop's server and by its client in turn."""
    return getattr(wire, request.param)


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder of its own with a path so short that a Unix socket in it can be bound (107 bytes at most)."""
    folder = tempfile.mkdtemp(prefix="fn", dir="/tmp")
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def certificates() -> "Certificates":
    """A certificate authority and what it signed."""
    from tests.helpers.certificates import Certificates

    return Certificates()
