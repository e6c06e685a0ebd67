"""The direction of the sources: a lower module never names a higher one, and files stay short."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module may name only modules of earlier rows. A new module gets its place here.
CORE_ROWS = [
    ["handle"],
    ["timers", "poller"],
    ["reactor"],
    ["fdwatch", "sockaddr", "transport"],
    ["endpoint"],
    ["output"],
    ["input"],
    ["stream"],
    ["acceptor"],
    ["loop"],
    ["testing", "__init__"],
]
PACKAGE_ROWS = [
    ["_version", "_platform"],
    ["protocols", "transports", "_signals", "_sockcalls", "_sendfile", "_unix", "_subprocess"],
    ["loop"],
    ["policy", "runner"],
    ["__init__"],
    ["demo"],
]
LIMIT_LINES = 420


def ranks() -> dict[str, int]:
    """The row of each module, the core below the package."""
    rows = [[f"fastnet_c.{name}" for name in row] for row in CORE_ROWS]
    rows += [[f"fastnet.{name}" for name in row] for row in PACKAGE_ROWS]
    return {name: rank for rank, row in enumerate(rows) for name in row}


def module_name(path: Path) -> str:
    """The dotted name of a source file, with __init__ spelled out."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[.\w]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^#\n]*)"
    r"|c?import[ \t]+(?P<plain>[^#\n]+))",
    re.MULTILINE,
)


def named_by_cython(text: str) -> Iterator[tuple[str, list[str]]]:
    """The modules that a Cython source imports or cimports, and the names taken from each."""
    text = re.sub(r'"""(?:.|\n)*?"""', "", text)
    for match in IMPORT.finditer(text):
        if match["plain"]:
            for part in match["plain"].split(","):
                yield part.split()[0], []
        else:
            yield (
                match["source"],
                [part.split()[0] for part in re.split(r"[,\n]", match["names"].strip("()")) if part.split()],
            )


def named_by_python(text: str) -> Iterator[tuple[str, list[str]]]:
    """The same for a Python source or stub."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def targets(path: Path) -> set[str]:
    """Which of our modules a source names."""
    read = named_by_python if path.suffix in {".py", ".pyi"} else named_by_cython
    package = path.relative_to(ROOT).parts[0]
    known = ranks()
    found = set()
    for source, names in read(path.read_text()):
        if source.startswith("."):
            source = f"{package}.{source[1:]}".rstrip(".")
        if source.split(".")[0] not in {"fastnet", "fastnet_c"}:
            continue
        for candidate in [f"{source}.{name}" for name in names] or [source]:
            if candidate in known:
                found.add(candidate)
            elif source in known:
                found.add(source)
            else:
                found.add(f"{source}.__init__")
    return found - {module_name(path)}


def violations(path: Path) -> list[str]:
    """What a source names that does not lie below it."""
    known = ranks()
    name = module_name(path)
    if name not in known:
        return [f"{name} has no place among the rows of tests/test_layering.py"]
    return [
        f"{path.relative_to(ROOT)} names {target}, which is not below it"
        for target in sorted(targets(path))
        if target not in known or known[target] >= known[name]
    ]


def sources(*patterns: str) -> list[Path]:
    """The files of this checkout that match."""
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


SOURCES = sources("fastnet_c/*.py[xdi]", "fastnet_c/*.pxd", "fastnet_c/*.py", "fastnet/**/*.py", "fastnet/**/*.pyi")


def test_there_are_sources() -> None:
    """The patterns find the core and the package."""
    names = {module_name(path) for path in SOURCES}
    assert {"fastnet_c.handle", "fastnet_c.loop", "fastnet.__init__", "fastnet.loop"} <= names


def test_no_upward_import() -> None:
    """handle < timers, poller < reactor < ... < loop < fastnet."""
    assert [violation for path in SOURCES for violation in violations(path)] == []


def test_headers_include_only_headers() -> None:
    """The C leaves know the system, Python and one another; nothing that Cython generates."""
    for path in sources("fastnet_c/csrc/*.h"):
        included = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
        assert [name for name in included if not (path.parent / name).exists()] == [], path


def test_files_are_short() -> None:
    """One thing a file."""
    folders = ("fastnet", "fastnet_c", "tests", "benchmarks", "tools")
    suffixes = (".py", ".pyi", ".pyx", ".pxd", ".h", ".c")
    files = sources(*(f"{folder}/**/*{suffix}" for folder in folders for suffix in suffixes))
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: number for name, number in lines.items() if number > LIMIT_LINES} == {}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from fastnet_c.handle cimport Handle, TimerHandle", [("fastnet_c.handle", ["Handle", "TimerHandle"])]),
        ("    from .loop import (\n    Loop,\n    x as y,\n)", [(".loop", ["Loop", "x"])]),
        ("cimport fastnet_c.poller as p", [("fastnet_c.poller", [])]),
        ("import os, fastnet_c.loop", [("os", []), ("fastnet_c.loop", [])]),
        ('"""import fastnet"""', []),
        ("# import fastnet", []),
    ],
)
def test_reads_cython(line: str, expected: list[tuple[str, list[str]]]) -> None:
    """The reader of Cython's imports finds what is there."""
    assert list(named_by_cython(line)) == expected


def test_finds_an_upward_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is able to fail."""
    monkeypatch.setattr("tests.test_layering.ROOT", tmp_path)
    (tmp_path / "fastnet_c").mkdir()
    poller = tmp_path / "fastnet_c" / "poller.pyx"
    poller.write_text("from fastnet_c.reactor cimport Reactor\nfrom .handle cimport Handle\nimport fastnet\n")
    assert violations(poller) == [
        "fastnet_c/poller.pyx names fastnet.__init__, which is not below it",
        "fastnet_c/poller.pyx names fastnet_c.reactor, which is not below it",
    ]
