"""What is checked once, when fastnet is imported: the system, that the core is built, and that no other distribution
owns its name.

Importing this module is the check. It lists directories where importlib.metadata would do, since importing that takes
longer than all the rest of fastnet's Python.
"""

import os
import re
import sys
import warnings

# fastnet-1.0.0.dist-info, fastnet-1.0.0-py3.11.egg-info, fastnet.egg-info; not our own fastnet_loop-0.1.0.dist-info.
_NAMESAKE = re.compile(r"fastnet(-[0-9][^-]*(-py[0-9.]+)?)?\.(dist|egg)-info", re.IGNORECASE)


def require_linux(platform: str = sys.platform) -> None:
    """Raises ImportError on any other system than Linux."""
    if not platform.startswith("linux"):
        raise ImportError("Linux only: use uvloop or asyncio")


def require_core() -> None:
    """Raises ImportError where the extension modules are not there, as in a checkout that was not built."""
    try:
        import fastnet_c  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "fastnet_c":
            raise
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        python = ".".join(map(str, sys.version_info[:2]))
        raise ImportError(
            f"fastnet in {folder} is not built for Python {python} ({error.name} is missing): run `make build` there "
            f"(`make build PYTHON=python{python}` for this Python); or, if fastnet-loop is installed by pip, start "
            "Python in another folder, for this one hides what is installed",
            name="fastnet",
        ) from None


def find_namesake(path: list[str] = sys.path) -> str | None:
    """Where PyPI's unrelated distribution `fastnet` is installed, if it is."""
    for entry in path:
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("fast") and _NAMESAKE.fullmatch(name):
                return os.path.join(entry, name)
    return None


def warn_of_namesake() -> None:
    """Warns where the two distributions share an environment: their files overwrite one another."""
    found = find_namesake()
    if found is not None:
        warnings.warn(
            f"the unrelated distribution 'fastnet' is installed as well ({found}) and writes to the same folder as "
            "'fastnet-loop': run 'pip uninstall fastnet', then install fastnet-loop again, with --force-reinstall",
            RuntimeWarning,
            stacklevel=2,
        )


require_linux()
require_core()
warn_of_namesake()
