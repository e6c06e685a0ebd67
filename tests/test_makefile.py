"""The Makefile: which tests ARGS choose on which build, and folders with a space in their names. Nothing is run."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def dry_run(*arguments: str, folder: Path = ROOT) -> str:
    """The commands that make would run, a line each."""
    # Without what the make that runs the tests hands on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "-n", "TAG=0", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.replace("\\\n", "")


def pytest_lines(arguments: str) -> list[str]:
    """The lines of `make test ARGS=...` that run pytest."""
    return [line for line in dry_run("test", f"ARGS={arguments}").splitlines() if "-m pytest" in line]


def pytest_runs(arguments: str) -> list[tuple[str, list[str]]]:
    """The runs of pytest of `make test ARGS=...`: the build, and what is chosen there."""
    runs = []
    for line in pytest_lines(arguments):
        words = shlex.split(line.partition("||")[0].partition("-m pytest")[2])
        words = [word for word in words if not word.startswith(("-o", "cache_dir=", "--ignore=", "--junitxml="))]
        runs.append(("faults" if line.startswith("cd ") else "release", words))
    return runs


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ("", [("release", []), ("faults", ["tests/faults"])]),
        ("-k echo", [("release", ["-k", "echo"]), ("faults", ["tests/faults", "-k", "echo"])]),
        ("-x tests/unit/test_ring.py", [("release", ["-x", "tests/unit/test_ring.py"])]),
        ("tests/faults/test_accept.py -x", [("faults", ["tests/faults/test_accept.py", "-x"])]),
        ("tests/unit tests/faults", [("release", ["tests/unit"]), ("faults", ["tests/faults"])]),
    ],
)
def test_arguments_of_make_test(arguments: str, runs: list[tuple[str, list[str]]]) -> None:
    """A path has its tests run on the build that is theirs, and no others."""
    assert pytest_runs(arguments) == runs


@pytest.mark.parametrize(
    ("arguments", "statuses", "status"),
    [
        ("", (0, 0), 0),
        ("-k x", (0, 5), 0),
        ("-k x", (5, 0), 0),
        ("-k x", (5, 5), 5),
        ("-k x", (1, 5), 1),
        ("-k x", (0, 1), 1),
        ("", (0, 5), 5),
        ("tests/unit -k x", (5,), 5),
        ("tests/faults -k x", (5,), 5),
    ],
)
def test_nothing_collected(arguments: str, statuses: tuple[int, ...], status: int, tmp_path: Path) -> None:
    """pytest's status 5 is none of make's where ARGS chose tests of the other build alone."""
    (tmp_path / "build/faults-0").mkdir(parents=True)
    (tmp_path / "build/results-0").mkdir()
    lines = pytest_lines(arguments)
    assert len(lines) == len(statuses)
    for line, result in zip(lines, statuses, strict=True):
        before, _, after = line.partition("||")
        folder = "cd build/faults-0 && " if before.startswith("cd ") else ""
        script = f"{folder}(exit {result}) ||{after}".replace(str(ROOT), str(tmp_path))
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path).returncode
        if done:
            break
    assert done == status


def test_a_folder_with_a_space(tmp_path: Path) -> None:
    """Its path is quoted wherever a command has it."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    commands = dry_run("test", "asan", folder=folder)
    assert commands.count(str(folder)) == commands.count(f'"{folder}') > 0
