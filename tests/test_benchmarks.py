"""The benchmark harness: the load generator counts right and notices servers that are no echo; loops take turns; a loop
that fails gets a row that says so.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import callgrind, cli, generator, instructions, machine, report, rounds, servers, summary
from benchmarks.cases import CASES, choose
from benchmarks.generator import GeneratorError, Load, LoadFailed
from benchmarks.loops import LoopMissing, find_factory
from benchmarks.processes import ServerFailed, ServerProcess, try_operation
from benchmarks.rounds import Run, Settings

SETTINGS = Settings(2, 0.1, 0.0, connections=3, server_core=None, client_core=None)


def load_asyncio(style: str, load: Load) -> dict[str, Any]:
    """Runs the generator against an asyncio server; the server's end is part of it."""
    with ServerProcess(["--loop=asyncio", f"--style={style}", f"--size={load.size_bytes}"]) as server:
        result = generator.run(load, server.port, server.pid)
        last_words = server.finish()
    assert last_words["peak_memory_kib"] > 0
    return result


@pytest.mark.parametrize("style", list(servers.STYLES))
def test_counts_and_checks_each_reply(style: str) -> None:
    result = load_asyncio(style, Load(connections=7, messages=100, lines=style == "lines"))
    assert (result["messages"], result["messages_all"], result["messages_verified"]) == (100, 100, 100)
    assert (result["connections"], result["size_bytes"], result["depth"]) == (7, 1024, 1)
    latency = result["latency_us"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p99_9"] <= latency["max"]
    assert result["seconds"] > 0
    assert set(result["server"]) == set(result["generator"]) == {"user_us", "system_us"}


def test_messages_in_flight_and_turns() -> None:
    assert load_asyncio("protocol", Load(connections=3, depth=16, size_bytes=64, messages=1000))["messages"] == 1000
    assert load_asyncio("protocol", Load(connections=4, lockstep=True, messages=101))["messages_verified"] == 101


def test_a_window_of_time_counts_what_lies_in_it() -> None:
    result = load_asyncio("protocol", Load(connections=3, seconds=0.1, warmup_seconds=0.1))
    assert 0 < result["messages"] < result["messages_all"] == result["messages_verified"]
    assert result["server"]["user_us"] + result["server"]["system_us"] > 0


def test_large_messages_are_compared_in_part() -> None:
    result = load_asyncio("protocol", Load(connections=2, size_bytes=300_001, messages=40, verify_every=4))
    assert result["messages"] == 40
    assert result["messages_verified"] == 10


@contextlib.contextmanager
def one_client(reply: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server for one client that answers each chunk by `reply`, or closes where that is empty; gives its port."""

    def serve() -> None:
        with listener.accept()[0] as connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                if not (answer := reply(data)):
                    break
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def lie_from_the_fifth_byte(seen: Counter[str]) -> Callable[[bytes], bytes]:
    """Answers right but for one bit of the fifth byte that comes in."""

    def reply(data: bytes) -> bytes:
        start = seen["bytes"]
        seen["bytes"] += len(data)
        return bytes(byte ^ (start + i == 4) for i, byte in enumerate(data))

    return reply


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (lie_from_the_fifth_byte(Counter()), "wrong_bytes"),
        (lambda data: data + b"!", "extra_bytes"),
        (lambda data: b"", "closed"),
    ],
    ids=["wrong", "extra", "closed"],
)
def test_a_server_that_is_no_echo_is_noticed(reply: Callable[[bytes], bytes], kind: str) -> None:
    with one_client(reply) as port, pytest.raises(LoadFailed) as failed:
        generator.run(Load(connections=1, size_bytes=64, messages=50), port)
    assert failed.value.kind == kind
    if kind == "wrong_bytes":
        assert "message 0, byte 4:" in str(failed.value)


def test_a_lie_in_a_large_message_is_noticed() -> None:
    with one_client(lie_from_the_fifth_byte(Counter())) as port, pytest.raises(LoadFailed) as failed:
        generator.run(Load(connections=1, size_bytes=100_000, messages=50, verify_every=8), port)
    assert failed.value.kind == "wrong_bytes"


def test_a_silent_server_is_noticed() -> None:
    # It takes in all but never answers whole.
    with one_client(lambda data: data[:1]) as port, pytest.raises(LoadFailed) as failed:
        generator.run(Load(connections=1, messages=5, stall_seconds=0.3), port)
    assert failed.value.kind == "stalled"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LoadFailed, match="refused"):
        generator.run(Load(messages=1), port)


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "BUILD", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(GeneratorError, match="'no-such-compiler' is not installed"):
        generator.build()


def test_loops_by_name() -> None:
    for name in ("asyncio:SelectorEventLoop", "asyncio"):
        loop = find_factory(name)()
        assert isinstance(loop, asyncio.SelectorEventLoop)
        loop.close()
    with pytest.raises(LoopMissing, match=r"os:getcwd: getcwd\(\) made no event loop, but '"):
        find_factory("os:getcwd")()
    for name in ("no_such_module", "asyncio:no_such_factory", "asyncio:__doc__"):
        with pytest.raises(LoopMissing):
            find_factory(name)


def test_a_failing_server_says_why() -> None:
    with pytest.raises(ServerFailed, match=r"No module named 'no_such_loop' \(exit status 3\)"):
        ServerProcess(["--loop=no_such_loop"]).__enter__()
    with pytest.raises(ServerFailed, match="no_such_loop"):
        try_operation("sleep_zero", "no_such_loop")


def test_choosing_cases() -> None:
    assert choose(["streams-1k,protocol-1k"], CASES) == ["protocol-1k", "streams-1k"]
    assert choose(["sock-*"], CASES) == ["sock-64b", "sock-1k", "sock-100k"]
    with pytest.raises(ValueError, match="no case 'protocoll'"):
        choose(["protocoll"], CASES)


def test_the_order_of_loops_turns_about() -> None:
    order = rounds.schedule([CASES["sock-1k"], CASES["lines-1k"]], ["a", "b"], 2)
    assert [(number, case.style, loop) for number, case, loop in order] == [
        *[(0, "sock", "a"), (0, "sock", "b"), (0, "lines", "a"), (0, "lines", "b")],
        *[(1, "sock", "b"), (1, "sock", "a"), (1, "lines", "b"), (1, "lines", "a")],
    ]


def a_run(loop: str, number: int, messages: int, server_us: float = 1e6) -> Run:
    """A run of a second that was not made."""
    latency = {"p50": 1.0, "p99": 2.0, "p99_9": 3.0, "max": 4.0}
    used = {"server": {"user_us": server_us / 4, "system_us": server_us * 3 / 4}}
    used["generator"] = {"user_us": 0.0, "system_us": 1e6}
    return Run("sock-1k", loop, number, report={"messages": messages, "seconds": 1.0, "latency_us": latency, **used})


def test_loops_are_compared_within_a_round() -> None:
    # The machine is twice as fast in the second round: of the ratios that says nothing.
    runs = [a_run("uvloop", 0, 1000), a_run("fast", 0, 1500), a_run("fast", 1, 3000), a_run("uvloop", 1, 2000)]
    runs.append(a_run("fast", 2, 9000))  # nothing beside it
    runs.append(Run("sock-1k", "bad", 0, failure="crashed"))
    rows = {row.loop: row for row in summary.summarise(runs, ["sock-1k"], ["uvloop", "fast", "bad"], "uvloop")}
    assert rows["fast"].ratio == summary.Spread(1.5, 1.5, 1.5)
    assert rows["fast"].requests_per_second == summary.Spread(3000, 1500, 9000)
    assert rows["fast"].server_user_us == pytest.approx(1e6 / 4 / 3000)
    assert rows["bad"].failure == "crashed"
    assert rows["bad"].ratio is None
    text = report.table(list(rows.values()), [CASES["sock-1k"]], "uvloop")
    assert "! bad in sock-1k: crashed" in text


def test_a_full_generator_beside_an_idle_server_is_marked() -> None:
    runs = [a_run("uvloop", 0, 1000, server_us=0.5e6)]
    rows = summary.summarise(runs, ["sock-1k"], ["uvloop"], "uvloop")
    assert rows[0].generator_limits
    assert "uvloop*" in report.table(rows, [CASES["sock-1k"]], "uvloop")


def test_an_interrupt_keeps_what_was_measured() -> None:
    def on_run(run: Run, done: int, total: int) -> None:
        raise KeyboardInterrupt

    runs, is_complete = rounds.measure([CASES["protocol-1k"]], ["asyncio"], SETTINGS, on_run)
    assert not is_complete
    assert [run.round for run in runs] == [0]
    assert runs[0].requests_per_second > 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--case=protocol-1k", "--loop=asyncio", "--loop=no_such_loop", "--rounds=2", "--seconds=0.05"]
    assert cli.main([*words, "--output", str(tmp_path)]) == 1  # as a loop failed
    printed = capsys.readouterr().out
    assert "[4/4, 0 s left]" in printed
    assert "no_such_loop!" in printed
    assert "No module named 'no_such_loop'" in printed
    (path,) = tmp_path.iterdir()
    document = json.loads(path.read_text())
    assert document["schema"] == report.SCHEMA
    assert [len(document[key]) for key in ("summary", "runs")] == [2, 3]
    assert document["host"]["kernel"] == machine.facts()["kernel"]
    assert document["loops"]["asyncio"]["version"] == "standard library"


def test_results_of_the_same_second_are_both_kept(tmp_path: Path) -> None:
    documents = [{"host": {"time": "2026-11-24T12:00:00+0000"}, "number": number} for number in range(3)]
    paths = [report.write(document, tmp_path) for document in documents]
    assert [path.name for path in paths] == [f"echo-20261124-120000{tail}.json" for tail in ("", "-2", "-3")]
    assert [json.loads(path.read_text()) for path in paths] == documents


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "How to read the table" in capsys.readouterr().out


CALLGRIND_FILE = """\
events: Ir
fl=(1) a.c
ob=(1) /lib/liba.so
fn=(1) work
10 {own}
cob=(2) /lib/libb.so
cfn=(2) callee
calls=3 20
+1 900
ob=(2)
fn=(2)
20 900
fn=(1)
* 1
totals: {total}
"""


def test_reading_callgrind_files(tmp_path: Path) -> None:
    path = tmp_path / "callgrind.out"
    profiles = []
    for own in (99, 299):
        path.write_text(CALLGRIND_FILE.format(own=own, total=own + 901))
        profiles.append(callgrind.read(path))
    short, long = profiles
    assert short.functions == {
        ("work", "/lib/liba.so"): 99,
        ("callee", "/lib/libb.so"): 900,
        ("work", "/lib/libb.so"): 1,
    }
    assert callgrind.per_operation(short, long, 100) == 2.0
    assert callgrind.top_functions(short, long, 100, 1) == [("work", "liba.so", 2.0)]


@pytest.mark.parametrize(
    ("command", "wrong", "said"),
    [
        (cli.main, ["--rounds", "0"], "argument --rounds: must be at least 1, not 0"),
        (cli.main, ["--connections", "-3"], "argument --connections: must be at least 1, not -3"),
        (cli.main, ["--seconds", "-1"], "argument --seconds: must be a number of seconds above 0, not -1"),
        (cli.main, ["--seconds", "nan"], "argument --seconds: must be a number of seconds above 0, not nan"),
        (cli.main, ["--output", __file__], f"argument --output: {__file__} cannot be made a folder: File exists"),
        (instructions.main, ["--jobs", "-1"], "argument --jobs: must be at least 1, not -1"),
        (instructions.main, ["--top", "0"], "argument --top: must be at least 1, not 0"),
        (
            instructions.main,
            ["--output", "/proc/x"],
            "argument --output: /proc/x cannot be made a folder: No such file",
        ),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_measured(
    command: Callable[[list[str]], int], wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(wrong)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
