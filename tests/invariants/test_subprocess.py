"""Children of a fastnet loop: watched by pidfds, reaped once, and nothing stays open."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.running import run
from tests.probes import strace
from tests.probes.child import environment, run_script


def pidfds() -> int:
    """How many this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += "pidfd" in os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # that of listdir() itself
    return count


def test_a_child_is_watched_by_a_pidfd_and_no_signal_handler(loop: Any) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sleep", "100")
        assert pidfds() == 1
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
        process.kill()
        await process.wait()
        assert pidfds() == 0

    run(loop, main())


def test_a_status_that_another_has_read(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported as 255, as asyncio does, and the number is not killed any more: it may be another's now."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec("true")
        os.waitpid(process.pid, 0)
        assert await process.wait() == 255
        assert process.returncode == 255

    run(loop, main())
    assert "exit status already read" in caplog.text


def test_popens_own_poll_is_no_other(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What it has read is not lost."""

    async def main() -> None:
        transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "sh", "-c", "exit 3")
        transport.get_extra_info("subprocess").wait()
        assert await transport._wait() == 3
        transport.close()

    run(loop, main())
    assert not caplog.records


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_loop_closed_before_its_child_has_ended(loop: Any) -> None:
    async def main() -> Any:
        return await asyncio.create_subprocess_exec("sleep", "100")

    process = run(loop, main())
    loop.close()
    assert pidfds() == 0
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)
    del process
    gc.collect()


_CHILDREN = """
import asyncio, sys
import fastnet

async def one(number):
    process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number}", stdin=-1, stdout=-1)
    await process.communicate(b"unread")
    return process.returncode

async def main():
    assert await asyncio.gather(*map(one, range(20))) == list(range(20))
    killed = await asyncio.create_subprocess_exec("sleep", "100")
    killed.kill()
    assert await killed.wait() == -9

fastnet.run(main())
"""


def test_a_program_that_starts_many() -> None:
    done = run_script(_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace works")
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EMFILE"])
def test_without_pidfds(error: str, tmp_path: Path) -> None:
    """Old kernels, some containers, no descriptor left: a thread waits for each child."""
    log = tmp_path / "log"
    command = [*strace.wrapper(log, "pidfd_open", f"pidfd_open:error={error}"), sys.executable, "-c", _CHILDREN]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(strace.calls(log)) >= 21  # asyncio itself asks once whether there are pidfds, since 3.14
    assert all(call.error == error for call in strace.calls(log))
