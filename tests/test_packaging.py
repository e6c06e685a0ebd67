"""The distribution: what an sdist and a wheel hold, that they build, and what is said on the wrong machine."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VERSION = (ROOT / "fastnet" / "_version.py").read_text().split('"')[-2]
OTHER_SYSTEM = "import sys; sys.platform = 'darwin'; import runpy; sys.path.insert(0, {root!r}); "


def run(*command: str, cwd: Path = ROOT, status: int = 0, **environment: str) -> str:
    """Runs a command and returns what it printed; fails on another exit status."""
    # A proxy or index that pip is configured with stays; what imports this checkout does not.
    inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "FASTNET_TAG"}}
    done = subprocess.run(
        command, cwd=cwd, env=inherited | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def packaged(*suffixes: str) -> set[str]:
    """The files of the packages in this checkout, relative to it."""
    files = (path for package in ("fastnet", "fastnet_c") for path in (ROOT / package).rglob("*"))
    return {str(path.relative_to(ROOT)) for path in files if path.suffix in suffixes or path.name in suffixes}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, built from a copy of the checkout: building writes into the folder."""
    copy = tmp_path_factory.mktemp("checkout") / "fastnet"
    ignored = shutil.ignore_patterns("build", "dist", ".*", "*.so", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "setup.py", "-q", "sdist", "-d", str(folder), cwd=copy)
    [file] = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from the sdist alone, without optimisation."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder))
    run(*pip, "wheel", *options, str(sdist), cwd=folder, FASTNET_BUILD="dev")
    [file] = folder.iterdir()
    return file


def test_sdist_is_complete(sdist: Path) -> None:
    """All sources, stubs, headers, tests and what the build and the README need; nothing generated."""
    assert sdist.name == f"fastnet_loop-{VERSION}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = packaged(".py", ".pyi", ".pyx", ".pxd", ".h", "py.typed")
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")}
    wanted |= {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "Makefile"}
    wanted |= {"tests/skips.txt", "tools/make_venv.py"}
    assert wanted - names == set()
    assert [name for name in names if name.startswith("build") or name.endswith((".so", ".pyc"))] == []


def test_wheel_has_the_packages_and_no_sources(wheel: Path) -> None:
    """Modules, stubs and markers of both packages, an extension for each .pyx; no Cython, C or tests."""
    names = zipfile.ZipFile(wheel).namelist()
    assert packaged(".py", ".pyi", "py.typed") - set(names) == set()
    extensions = {name.split(".")[0] for name in names if name.endswith(".so")}
    assert extensions == {name.removesuffix(".pyx") for name in packaged(".pyx")}
    allowed = {"fastnet", "fastnet_c", f"fastnet_loop-{VERSION}.dist-info"}
    assert {name.split("/")[0] for name in names} == allowed
    assert [name for name in names if name.endswith((".pyx", ".pxd", ".c", ".h"))] == []


def test_wheel_needs_nothing_at_run_time(wheel: Path) -> None:
    """Requirements belong to extras only."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"fastnet_loop-{VERSION}.dist-info/METADATA").decode()
    lines = metadata.split("\n\n")[0].splitlines()
    assert f"Version: {VERSION}" in lines
    assert "License-Expression: Apache-2.0" in lines
    assert "Requires-Python: >=3.11" in lines
    assert [line for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line] == []


def test_installed_wheel_serves(wheel: Path, tmp_path: Path) -> None:
    """Installed away from the checkout, it echoes."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", "--target", str(tmp_path / "site"), str(wheel), cwd=tmp_path)
    (tmp_path / "echo.py").write_text(
        "import asyncio, fastnet\n"
        "async def serve(reader, writer):\n"
        "    writer.write(await reader.read(5)); writer.close()\n"
        "async def main():\n"
        "    server = await asyncio.start_server(serve, '127.0.0.1', 0)\n"
        "    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "    writer.write(b'hello')\n"
        "    print(await reader.read(), fastnet.__version__, fastnet.__file__)\n"
        "    writer.close(); server.close()\n"
        "fastnet.run(main())\n"
    )
    output = run(sys.executable, "echo.py", cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert output.split() == ["b'hello'", VERSION, str(tmp_path / "site" / "fastnet" / "__init__.py")]


def test_version_is_that_of_the_package() -> None:
    """fastnet.__version__ is read from the one place, and the changelog knows it."""
    import fastnet

    assert fastnet.__version__ == VERSION
    assert f"\n## {VERSION} " in (ROOT / "CHANGELOG.md").read_text()
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]


def test_setup_says_linux_only() -> None:
    """Installing elsewhere ends with the advice."""
    code = OTHER_SYSTEM.format(root=str(ROOT)) + "runpy.run_path('setup.py', run_name='__main__')"
    assert run(sys.executable, "-c", code, status=1) == "fastnet-loop: Linux only: use uvloop or asyncio\n"


def test_import_says_linux_only() -> None:
    """Importing elsewhere does too."""
    code = OTHER_SYSTEM.format(root=str(ROOT)) + "import fastnet"
    assert run(sys.executable, "-c", code, status=1).endswith("ImportError: Linux only: use uvloop or asyncio\n")


def test_unknown_variant_is_refused() -> None:
    """A typing error does not build something else."""
    output = run(sys.executable, "setup.py", "--version", status=1, FASTNET_BUILD="quick")
    assert "use one of release, dev, faults, asan" in output


@pytest.mark.parametrize(
    ("folder", "warned"),
    [
        ("fastnet-1.0.0.dist-info", True),
        ("fastnet-1.0.0-py3.11.egg-info", True),
        ("fastnet.egg-info", True),
        ("fastnet_loop-0.1.0.dist-info", False),
        ("fastnet-loop.egg-info", False),
        ("fastnet_cli-1.0.dist-info", False),
    ],
)
def test_namesake_is_warned_of(folder: str, warned: bool, tmp_path: Path) -> None:
    """PyPI's unrelated `fastnet` writes to the same folder."""
    (tmp_path / folder).mkdir()
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    output = run(sys.executable, "-W", "always", "-c", "import fastnet", PYTHONPATH=path)
    assert output.count("RuntimeWarning: the unrelated distribution 'fastnet' is installed") == warned


def test_make_venv_says_what_is_missing(tmp_path: Path) -> None:
    """Without a compiler the message has Debian's command."""
    output = run(sys.executable, "tools/make_venv.py", str(tmp_path / "venv"), status=1, CC="/no/such/compiler")
    assert output == (
        "fastnet: the C compiler '/no/such/compiler' is missing. "
        "On Debian: apt-get install gcc make python3-dev python3-venv\n"
    )


def test_setup_says_what_is_missing(tmp_path: Path) -> None:
    """pip shows this where there is no compiler; the message has Debian's command."""
    command = (sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path))
    output = run(*command, status=1, CC="/no/such/compiler")
    assert output == (
        "fastnet-loop: the C compiler '/no/such/compiler' is missing. On Debian: apt-get install gcc python3-dev\n"
    )
