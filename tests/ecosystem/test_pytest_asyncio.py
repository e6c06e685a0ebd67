"""pytest-asyncio on the fastnet loop: by its hook for loop factories, and by the policy."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.probes.child import environment

pytest_asyncio = pytest.importorskip("pytest_asyncio", exc_type=ImportError)

HOOK = """
import fastnet

def pytest_asyncio_loop_factories(config, item):
    return {"fastnet": fastnet.new_event_loop}
"""
POLICY = """
import warnings
import fastnet, pytest

@pytest.fixture(scope="session")
def event_loop_policy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return fastnet.EventLoopPolicy()
"""
TESTS = """
import asyncio
import fastnet, pytest, pytest_asyncio

@pytest_asyncio.fixture
async def server():
    assert type(asyncio.get_running_loop()) is fastnet.EventLoop

    async def echo(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()

@pytest.mark.asyncio
async def test_echo(server):
    assert type(asyncio.get_running_loop()) is fastnet.EventLoop
    reader, writer = await asyncio.open_connection(*server)
    writer.write(b"hello\\n")
    assert await reader.read() == b"hello\\n"
    writer.close()
    await writer.wait_closed()

loops = []

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("i", range(3))
async def test_one_loop_for_the_module(i):
    loops.append(asyncio.get_running_loop())
    assert all(loop is loops[0] for loop in loops)

@pytest.mark.asyncio
async def test_failure_is_seen():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()
"""


def run_pytest(folder: Path, conftest: str, *options: str) -> str:
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(TESTS)
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-c", "/dev/null", "--rootdir", ".",
        "-q", "-o", "asyncio_default_fixture_loop_scope=function", *options, "test_it.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_by_the_hook(tmp_path: Path) -> None:
    assert "5 passed" in run_pytest(tmp_path, HOOK)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies are deprecated since 3.14")
def test_by_the_policy(tmp_path: Path) -> None:
    # pytest-asyncio itself deprecates the fixture, in favour of the hook
    assert "5 passed" in run_pytest(tmp_path, POLICY, "-W", "ignore::pytest.PytestDeprecationWarning")
