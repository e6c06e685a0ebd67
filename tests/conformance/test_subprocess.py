"""Subprocesses: pipes, ends, signals, many at once, starts that fail."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
import threading

import pytest

from tests.helpers.running import in_thread, run, until

UPPER = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().upper())"


def python(source, **options):
    """Starts a Python that runs SOURCE."""
    return asyncio.create_subprocess_exec(sys.executable, "-S", "-c", source, **options)


PIPES = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}


@pytest.mark.parametrize("size", [0, 5, 1 << 20])
def test_communicate(loop, size):
    async def main():
        process = await python(UPPER, **PIPES)
        assert await process.communicate(b"x" * size) == (b"X" * size, b"")
        assert process.returncode == 0
        assert await process.wait() == 0

    run(loop, main())


def test_shell(loop):
    async def main():
        process = await asyncio.create_subprocess_shell("echo out; echo err >&2; exit 7", **PIPES)
        assert await process.communicate() == (b"out\n", b"err\n")
        assert process.returncode == 7

    run(loop, main())


def test_errors_with_the_output(loop):
    async def main():
        process = await asyncio.create_subprocess_shell("echo out; echo err >&2", stdout=-1, stderr=-2)
        output, errors = await process.communicate()
        assert output == b"out\nerr\n"
        assert errors is None

    run(loop, main())


def test_conversation(loop):
    """Line by line, then the end of the child's input."""

    async def main():
        source = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)\nprint('end')"
        process = await python(source, stdin=-1, stdout=-1)
        for word in (b"abc", b"defg"):
            process.stdin.write(word + b"\n")
            await process.stdin.drain()
            assert await process.stdout.readline() == word[::-1] + b"\n"
        process.stdin.write_eof()
        assert await process.stdout.read() == b"end\n"
        assert await process.wait() == 0

    run(loop, main())


@pytest.mark.differs(uvloop="RuntimeError at times: the handler is closed", strict=False)
def test_a_child_that_does_not_read(loop):
    """Its input stays unread: drain() or communicate() end without an exception."""

    async def main():
        process = await asyncio.create_subprocess_exec("true", stdin=-1)
        await process.communicate(b"x" * (1 << 20))
        assert process.returncode == 0

    run(loop, main())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_ended_by_a_signal(loop, number):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "100")
        process.send_signal(number)
        assert await process.wait() == -number
        assert process.returncode == -number

    run(loop, main())


def test_terminate_and_kill(loop):
    async def main():
        for way, number in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
            process = await asyncio.create_subprocess_exec("sleep", "100")
            getattr(process, way)()
            assert await process.wait() == -number

    run(loop, main())


def test_a_stopped_child_has_not_ended(loop):
    async def main():
        process = await python("import sys; sys.stdin.read()", stdin=-1)
        process.send_signal(signal.SIGSTOP)
        waiting = asyncio.ensure_future(process.wait())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        assert await waiting == 0

    run(loop, main())


def test_many_at_once(loop):
    async def one(number):
        process = await asyncio.create_subprocess_shell(f"echo {number}; exit {number}", stdout=-1)
        output, _ = await process.communicate()
        return int(output), process.returncode

    async def main():
        assert await asyncio.gather(*map(one, range(60))) == [(number, number) for number in range(60)]

    run(loop, main())


@pytest.mark.differs(uvloop="starts children in the main thread's loop alone", run=False)
def test_loops_in_other_threads(loop_factory):
    """Four loops, none in the main thread, start children at the same time: each hears of its own."""
    ended = []

    async def main():
        for number in range(10):
            process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number}")
            ended.append((number, await process.wait()))

    def thread():
        own = loop_factory()
        try:
            run(own, main())
        finally:
            own.close()

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(ended) == 40
    assert all(number == status for number, status in ended)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (["/does/not/exist"], {}, FileNotFoundError),
        (["/"], {}, PermissionError),
        (["true"], {"cwd": "/does/not/exist"}, FileNotFoundError),
        (["true"], {"universal_newlines": True}, ValueError),
        (["true"], {"bufsize": 1}, ValueError),
        ([1], {}, TypeError),
    ],
)
def test_starts_that_fail_leave_nothing(loop, arguments, options, expected):
    async def main():
        for _ in range(100):
            with pytest.raises(expected):
                await asyncio.create_subprocess_exec(arguments[0], *arguments[1:], **PIPES, **options)

    run(loop, main())


def test_environment_folder_and_descriptors(loop, tmp_path):
    async def main():
        reader, writer = os.pipe()
        source = f"import os; os.write({writer}, (os.environ['WORD'] + os.getcwd()).encode())"
        try:
            process = await python(source, env={"WORD": "hello"}, cwd=tmp_path, pass_fds=[writer])
            assert await process.wait() == 0
            assert os.read(reader, 1000).decode() == f"hello{tmp_path}"
        finally:
            os.close(reader)
            os.close(writer)

    run(loop, main())


class Recording(asyncio.SubprocessProtocol):
    """Writes down what is called."""

    def __init__(self):
        self.events = []
        self.output = b""

    def connection_made(self, transport):
        self.events.append("made")

    def pipe_data_received(self, fd, data):
        self.output += data

    def pipe_connection_lost(self, fd, exc):
        self.events.append(("pipe lost", fd, exc))

    def process_exited(self):
        self.events.append("exited")

    def connection_lost(self, exc):
        self.events.append(("lost", exc))


@pytest.mark.differs(uvloop="its transport is no asyncio.SubprocessTransport", run=False)
def test_protocol(loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(Recording, sys.executable, "-S", "-c", UPPER)
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert transport.get_pid() > 0
        assert transport.get_returncode() is None
        stdin = transport.get_pipe_transport(0)
        stdin.write(b"hello")
        stdin.write_eof()
        await until(lambda: ("lost", None) in protocol.events)
        assert protocol.output == b"HELLO"
        assert protocol.events[0] == "made"
        assert protocol.events[-1] == ("lost", None)
        assert sorted(map(str, protocol.events[1:-1])) == sorted(
            ["exited", *(str(("pipe lost", fd, None)) for fd in range(3))]
        )
        assert transport.get_returncode() == 0
        transport.close()

    run(loop, main())


@pytest.mark.differs(uvloop="is_closing() is false after close()", run=False)
def test_closing_kills(loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(Recording, "sleep", "100")
        transport.close()
        transport.close()
        assert transport.is_closing()
        await until(lambda: ("lost", None) in protocol.events)
        assert transport.get_returncode() == -signal.SIGKILL

    run(loop, main())


@pytest.mark.differs(uvloop="uses socket pairs")
def test_real_pipes(loop):
    """A child may reopen /dev/stdin, and find that it is a pipe."""

    async def main():
        source = "import os; print(oct(os.stat('/dev/stdin').st_mode), open('/dev/stdin').read())"
        process = await python(source, **PIPES)
        output, errors = await process.communicate(b"hello")
        mode, word = output.split()
        assert stat.S_ISFIFO(int(mode, 8)), errors
        assert word == b"hello"

    run(loop, main())


def test_a_cancelled_start_leaves_no_child(loop, tmp_path):
    async def main():
        for turns in range(8):
            starting = asyncio.ensure_future(asyncio.create_subprocess_exec("sleep", "1000", stdin=-1, stdout=-1))
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                process = await starting
                process.kill()
                await process.wait()
        await asyncio.sleep(0.01)  # pipes notice the ends of their children

    run(loop, main())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_output_of_a_child_that_has_ended_is_read(loop):
    async def main():
        process = await asyncio.create_subprocess_exec("sh", "-c", "echo hello", stdout=-1)
        with contextlib.suppress(ChildProcessError):  # the loop was quicker
            await in_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        await asyncio.sleep(0.01)
        assert await process.stdout.read() == b"hello\n"
        assert await process.wait() == 0

    run(loop, main())
