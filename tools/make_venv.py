"""Makes a virtual environment for this checkout, or brings it up to date: make_venv.py VENV EXTRA...

Installed are the build requirements and the named extras of pyproject.toml, and a .pth file so that the environment
imports this checkout. Packages of the extra `interop` are installed one by one, only as wheels, and may be missing.
What is there is written down in VENV, so that a second run does nothing. Only the standard library is used, and old
Pythons can read this file, to be told that they are too old.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
REMEDY = "apt-get install gcc make python3-dev python3-venv"
OPTIONAL = "interop"


def fail(problem: str) -> NoReturn:
    """Ends with the problem and what to do about it on a Debian machine."""
    sys.exit(f"fastnet: {problem}. On Debian: {REMEDY}")


def check_machine() -> None:
    """Ends with a clear message where something that the build needs is missing."""
    if not sys.platform.startswith("linux"):
        sys.exit("fastnet: Linux only: use uvloop or asyncio")
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("fastnet: Python 3.11 or newer is needed, {} is {}.{}".format(sys.executable, *sys.version_info[:2]))
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler).split()[0]) is None:
        fail("the C compiler {!r} is missing".format(os.environ.get("CC", compiler)))
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        fail(f"{header} is missing")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        fail(f"the venv module of {sys.executable} is incomplete")


def requirements(extras: "tuple[str, ...]") -> "dict[str, list[str]]":
    """What to install for each group of packages: the build requirements, then the extras."""
    import tomllib

    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    groups = {"build": project["build-system"]["requires"]}
    for extra in extras:
        groups[extra] = project["project"]["optional-dependencies"][extra]
    return groups


def pip(python: Path, *arguments: str) -> bool:
    """True if pip could install it."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments]
    return subprocess.run(command).returncode == 0


def main(folder: str, *extras: str) -> None:
    """Makes the environment FOLDER or brings it up to date."""
    check_machine()
    venv = ROOT / folder
    python = venv / "bin" / "python"
    record = venv / "fastnet-installed.json"
    interpreter = [os.path.realpath(sys.executable), sys.version]
    done: dict[str, Any] = {"interpreter": None, "groups": {}}
    if record.exists():
        done = json.loads(record.read_text())
    wanted = requirements(extras)
    changed = [name for name, packages in wanted.items() if done["groups"].get(name, packages) != packages]
    if done["interpreter"] != interpreter or changed:
        print(f"venv: making {venv.name} for Python {sys.version.split()[0]}", flush=True)
        shutil.rmtree(venv, ignore_errors=True)
        if subprocess.run([sys.executable, "-m", "venv", str(venv)]).returncode != 0:
            fail(f"{sys.executable} -m venv failed")
        done = {"interpreter": interpreter, "groups": {}, "missing": []}
        library = sysconfig.get_path("purelib", "venv", {"base": str(venv), "platbase": str(venv)})
        Path(library, "fastnet-checkout.pth").write_text(f"{ROOT}\n")
    for name, packages in wanted.items():
        if name in done["groups"]:
            continue
        print("venv: installing {} ({})".format(name, ", ".join(packages)), flush=True)
        if name != OPTIONAL:
            if not pip(python, *packages):
                sys.exit("fastnet: pip could not install {}".format(", ".join(packages)))
        elif not pip(python, "--only-binary", ":all:", *packages):
            done["missing"] = [one for one in packages if not pip(python, "--only-binary", ":all:", one)]
        done["groups"][name] = packages
        record.write_text(json.dumps(done, indent=2) + "\n")
    if done["missing"]:
        print("venv: not installable on this Python: {}; tests that need them are skipped".format(done["missing"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
