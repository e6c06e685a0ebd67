"""Builds the extensions of fastnet_c: every fastnet_c/*.pyx becomes one. The rest is in pyproject.toml.

FASTNET_BUILD chooses the variant: release (default), dev, faults or asan (see VARIANTS). All that is generated goes to
build/, by variant and interpreter, so that variants and Pythons keep apart and each is rebuilt only where it must be:
an extension is translated again when its .pyx or a .pxd that it cimports is newer, and compiled again when its C
source, a csrc/*.h that it includes or this file is.
"""

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if not sys.platform.startswith("linux"):
    sys.exit("fastnet-loop: Linux only: use uvloop or asyncio")

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.modified import newer_group

VARIANTS = {
    "release": ["-O3", "-g0", "-fno-semantic-interposition", "-fno-plt"],
    "dev": ["-O0", "-g", "-U_FORTIFY_SOURCE"],
    "faults": ["-O1", "-g", "-DFASTNET_FAULTS"],
    "asan": ["-O1", "-g", "-U_FORTIFY_SOURCE", "-fsanitize=address", "-fno-omit-frame-pointer", "-DFASTNET_FAULTS"],
}
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "nonecheck": False,
    "cdivision": True,
    "binding": False,
    "always_allow_keywords": True,
    "auto_pickle": False,
    # Docstrings in the form that inspect.signature() understands.
    "embedsignature": True,
    "embedsignature.format": "clinic",
}

ROOT = Path(__file__).resolve().parent
CORE = Path("fastnet_c")
VARIANT = os.environ.get("FASTNET_BUILD", "release")
if VARIANT not in VARIANTS:
    sys.exit(f"fastnet-loop: FASTNET_BUILD={VARIANT}: use one of {', '.join(VARIANTS)}")
# FASTNET_TAG keeps apart what the interpreter's version does not: the same Python on another C library, say.
TAG = os.environ.get("FASTNET_TAG") or f"{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags}"
GENERATED = Path("build", f"cython-{TAG}")
JOBS = len(os.sched_getaffinity(0))


def check_compiler() -> None:
    """Ends with Debian's command where the compiler or Python's headers are missing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    missing = ""
    if shutil.which(compiler) is None:
        missing = f"the C compiler {compiler!r}"
    elif not header.exists():
        missing = str(header)
    if missing:
        sys.exit(f"fastnet-loop: {missing} is missing. On Debian: apt-get install gcc python3-dev")


def translate(extensions: list[Extension]) -> None:
    """Turns .pyx into C where it is out of date, and replaces the extensions' sources by the C files.

    cythonize() is not used: it copies our headers beside the C that it generates, so that the compiler would read, and
    name in its messages, the copies.
    """
    from Cython.Build.Dependencies import create_dependency_tree
    from Cython.Utils import file_generated_by_this_cython

    tree = create_dependency_tree()
    stale = []
    for extension in extensions:
        [source] = extension.sources
        c_file = GENERATED / Path(source).with_suffix(".c")
        newest = max(os.path.getmtime(path) for path in (*tree.all_dependencies(source), __file__))
        if not file_generated_by_this_cython(str(c_file)) or os.path.getmtime(c_file) < newest:
            stale.append((source, c_file))
        extension.sources = [str(c_file)]

    def run(job: tuple[str, Path]) -> int:
        source, c_file = job
        print(f"build: translating {source}\n", end="", flush=True)
        c_file.parent.mkdir(parents=True, exist_ok=True)
        partial = c_file.with_suffix(".tmp.c")
        options = [f"-X{name}={value}" for name, value in DIRECTIVES.items()]
        command = [sys.executable, "-m", "cython", "-3", *options, source, "-o", str(partial)]
        status = subprocess.run(command).returncode
        if status == 0:
            partial.replace(c_file)
        return status

    with ThreadPoolExecutor(JOBS) as pool:
        if any(list(pool.map(run, stale))):
            sys.exit("fastnet-loop: cython failed")


def headers_of(c_file: Path) -> list[str]:
    """The headers of ours that a C file includes, directly or through one another."""
    found: set[Path] = set()
    queue = [c_file]
    while queue:
        file = queue.pop()
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', file.read_text(), re.MULTILINE):
            for candidate in (file.parent / name, CORE / name):
                if candidate.exists() and candidate not in found:
                    found.add(candidate)
                    queue.append(candidate)
    return sorted(str(path) for path in found)


class BuildExtensions(build_ext):
    """Translates first, then compiles the extensions in parallel."""

    def run(self) -> None:
        check_compiler()
        # Two builds for the same interpreter share the generated C: one at a time.
        GENERATED.mkdir(parents=True, exist_ok=True)
        with open(GENERATED / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            translate(self.extensions)
            for extension in self.extensions:
                extension.depends = [__file__, *headers_of(Path(extension.sources[0]))]
            self.parallel = self.parallel or JOBS
            super().run()

    def build_extension(self, extension: Extension) -> None:
        """Says what is compiled: with -q the commands themselves are not shown."""
        depends = [*extension.sources, *extension.depends]
        if self.force or newer_group(depends, self.get_ext_fullpath(extension.name), "newer"):
            print(f"build: compiling {extension.name}\n", end="", flush=True)  # one write: several threads compile
        super().build_extension(extension)

    def copy_extensions_to_source(self) -> None:
        """In-place builds: puts this variant's extensions there, whichever variant was there before."""
        for extension in self.extensions:
            built = Path(self.build_lib, self.get_ext_filename(extension.name))
            placed = ROOT / self.get_ext_filename(extension.name)
            if not placed.exists() or placed.stat().st_mtime_ns != built.stat().st_mtime_ns:
                # By rename: a process that runs the old one keeps it.
                partial = placed.with_suffix(".tmp")
                shutil.copy2(built, partial)
                partial.replace(placed)


class BuildPython(build_py):
    """Removes from the build folder what is no longer among the sources, so that no wheel carries a deleted module."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        wanted = {Path(path) for path in self.get_outputs(include_bytecode=False)}
        for package in self.packages or ():
            for path in Path(self.build_lib, *package.split(".")).iterdir():
                if path.suffix in {".py", ".pyi"} and path not in wanted:
                    path.unlink()


setup(
    ext_modules=[
        Extension(
            f"{CORE}.{source.stem}",
            [str(source)],
            include_dirs=[str(CORE)],
            # GCC sees uninitialised variables in what Cython generates that are none.
            extra_compile_args=["-Wno-maybe-uninitialized", *VARIANTS[VARIANT]],
            extra_link_args=[flag for flag in VARIANTS[VARIANT] if flag.startswith("-fsanitize")],
        )
        for source in sorted(CORE.glob("*.pyx"))
    ],
    cmdclass={"build_ext": BuildExtensions, "build_py": BuildPython},
    options={"build": {"build_base": str(Path("build", f"{VARIANT}-{TAG}"))}},
)
