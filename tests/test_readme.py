"""Every example of the README runs, and every command that it names is there."""

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
DEADLINE_SECONDS = 60


def example(name: str) -> str:
    """The Python block whose first line names the file."""
    [text] = [text for language, text in BLOCKS if language == "python" and text.startswith(f"# {name}\n")]
    return text


def commands() -> list[str]:
    """The shell commands, without their comments."""
    lines = "".join(text for language, text in BLOCKS if language == "sh").splitlines()
    return [line.partition("  #")[0].strip() for line in lines]


def unused_port() -> int:
    """A port below those that the kernel hands out by itself, so that nobody else gets it in between."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(first - 1, 1024, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A server, from its start until the test ends it."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_SECONDS)


def when_up(process: subprocess.Popen[str], attempt: Callable[[], bytes]) -> bytes:
    """What the attempt returns once the server listens; fails when the server ends before."""
    while process.poll() is None:
        try:
            return attempt()
        except OSError as error:  # urllib wraps it
            if not isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                raise
        time.sleep(0.02)  # between two tries, not to take the processor from the server
    raise AssertionError(process.communicate()[0])


def get(port: int) -> Callable[[], bytes]:
    """Fetches the page at /."""

    def attempt() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=DEADLINE_SECONDS) as response:
            body: bytes = response.read()
            return body

    return attempt


def test_server_in_ten_lines(tmp_path: Path) -> None:
    """The echo server echoes."""
    port = unused_port()
    text = example("server.py")
    assert "9000" in text
    (tmp_path / "server.py").write_text(text.replace("9000", str(port)))

    def attempt() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as client:
            client.sendall(b"hello")
            return client.recv(100)

    with running([sys.executable, "server.py"], tmp_path) as process:
        assert when_up(process, attempt) == b"hello"


def test_uvicorn(tmp_path: Path) -> None:
    """uvicorn takes our loop by name."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    [command] = [command for command in commands() if command.startswith("uvicorn ")]
    port = unused_port()
    (tmp_path / "app.py").write_text(example("app.py"))
    arguments = shlex.split(command.replace("8000", str(port)))
    with running([sys.executable, "-m", *arguments], tmp_path) as process:
        assert when_up(process, get(port)) == b"Hello from fastnet\n"


def test_aiohttp(tmp_path: Path) -> None:
    """aiohttp takes our loop as an argument."""
    if hasattr(sys, "gettotalrefcount"):
        pytest.skip("multidict (of aiohttp) crashes debug builds of CPython")
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    port = unused_port()
    (tmp_path / "web_app.py").write_text(example("web_app.py").replace("8000", str(port)))
    with running([sys.executable, "web_app.py"], tmp_path) as process:
        assert when_up(process, get(port)) == b"Hello from fastnet\n"


@pytest.mark.parametrize("conftest", ["conftest.py", "conftest.py, before pytest-asyncio 1.4"])
def test_pytest_asyncio(conftest: str, tmp_path: Path) -> None:
    """The hook gives each test our loop; so does the policy, which later versions and Pythons warn of."""
    (tmp_path / "conftest.py").write_text(example(conftest))
    (tmp_path / "test_loop.py").write_text(example("test_loop.py"))
    warnings = "error" if conftest == "conftest.py" else "ignore"
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\nfilterwarnings = {warnings}\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_every_example_is_tested() -> None:
    """No Python block without a name that a test above uses."""
    names = [text.splitlines()[0].removeprefix("# ") for language, text in BLOCKS if language == "python"]
    conftests = ["conftest.py", "conftest.py, before pytest-asyncio 1.4"]
    assert names == ["server.py", "app.py", "web_app.py", conftests[0], "test_loop.py", conftests[1]]


def test_make_targets_exist() -> None:
    """Each `make TARGET` in the text is one."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"run", "test", "bench", "lint", "asan", "clean", "help"} <= named
    assert named - targets == set()


def test_extras_exist() -> None:
    """What `pip install` names is in pyproject.toml."""
    extras = set(re.findall(r"pip install '\.\[(\w+)\]'", README))
    assert extras == {"server"}
    assert re.search(r"^server = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_linked_files_exist() -> None:
    """No dead links."""
    assert [name for name in re.findall(r"\]\(([^):#]+)\)", README) if not (ROOT / name).exists()] == []
