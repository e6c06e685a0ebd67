"""What goes wrong first: one error that names the problem and the remedy, and no second traceback behind it."""

import os
import pydoc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastnet

ROOT = Path(__file__).resolve().parent.parent


def run_python(code: str, folder: Path = ROOT) -> tuple[int, str]:
    """The exit status of a Python that imports from FOLDER, and what it wrote."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # -S: a checkout that the environment knows by a .pth file must not come into it.
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return done.returncode, done.stdout


def test_a_checkout_that_is_not_built(tmp_path: Path) -> None:
    """fastnet is named, the folder, and both ways out."""
    for package in ("fastnet", "fastnet_c"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for module in ("fastnet", "fastnet.loop", "fastnet.demo"):
        status, output = run_python(f"import {module}", tmp_path)
        error = output.splitlines()[-1]
        assert status == 1
        assert error.startswith(f"ImportError: fastnet in {tmp_path} is not built for Python {sys.version_info[0]}.")
        assert "run `make build` there" in error
        assert "start Python in another folder" in error
        assert output.count("Traceback") == 1


def test_another_missing_module_is_named_itself(tmp_path: Path) -> None:
    """A broken Python is not taken for a checkout that was not built."""
    status, output = run_python("import sys; sys.modules['asyncio'] = None; import fastnet")
    assert status == 1
    assert "asyncio" in output.splitlines()[-1]
    assert "not built" not in output


def test_wrong_arguments() -> None:
    """The TypeError alone."""
    status, output = run_python("import fastnet; fastnet.EventLoop(1)")
    assert status == 1
    assert output.count("Traceback") == 1
    assert output.splitlines()[-1].startswith("TypeError: EventLoop.__init__() takes 1 positional argument")


def test_a_subclass_that_fails_to_be_made() -> None:
    """Its own exception alone."""
    code = "import fastnet\nclass Mine(fastnet.EventLoop):\n    def __init__(self):\n        raise ValueError\nMine()"
    status, output = run_python(code)
    assert status == 1
    assert output.count("Traceback") == 1
    assert output.splitlines()[-1] == "ValueError"


def test_too_few_descriptors() -> None:
    """The OSError alone, and nothing is left open."""
    code = """
import os, resource, fastnet
taken = os.open("/dev/null", os.O_RDONLY)
for more in (1, 2):
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + more, 4096))
    try:
        fastnet.EventLoop()
    except OSError as error:
        print(error.strerror)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
assert os.open("/dev/null", os.O_RDONLY) == taken + 1
"""
    assert run_python(code) == (0, "Too many open files\n" * 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_help() -> None:
    """help(fastnet) has an example and names what there is."""
    text = pydoc.plain(pydoc.render_doc(fastnet))
    description = text.split("PACKAGE CONTENTS")[0]
    assert "fastnet.run(main())" in description
    for name in fastnet.__all__:
        assert name in description or name == "__version__", name
