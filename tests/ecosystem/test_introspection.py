"""Python's own look into a running process: `python -m asyncio pstree PID` finds the tasks of fastnet's loop."""

import subprocess
import sys

import pytest

_PROGRAM = """
import asyncio
import fastnet

async def leaf():
    await asyncio.to_thread(input)

async def middle():
    async with asyncio.TaskGroup() as group:
        group.create_task(leaf(), name="the leaf")
        await asyncio.sleep(0)
        print("ready", flush=True)

async def main():
    await middle()

fastnet.run(main())
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="python -m asyncio pstree is new in Python 3.14")
def test_pstree_shows_the_tasks() -> None:
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        shown = subprocess.run(
            [sys.executable, "-m", "asyncio", "pstree", str(child.pid)], capture_output=True, text=True, timeout=60
        )
        child.communicate(b"\n", timeout=60)
    if "ermission" in shown.stderr + shown.stdout:
        pytest.skip("this user may not read another process: " + shown.stderr[-80:])
    assert shown.returncode == 0, shown.stderr
    for name in ("Task-1", "main", "middle", "the leaf", "leaf"):
        assert name in shown.stdout
    assert child.returncode == 0
