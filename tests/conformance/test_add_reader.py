"""add_reader, add_writer: level-triggered watching of descriptors that the caller owns."""

import asyncio
import os
import socket

import pytest

from tests.helpers.running import run, run_until, turn
from tests.helpers.wires import TCP


def turns(loop, count=5):
    """Several turns of the loop, without waiting."""
    for _ in range(count):
        turn(loop)


@pytest.mark.differs(uvloop="remove_reader returns None")
@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_remove_says_whether_there_was_one(loop, pair, kind):
    add, remove = getattr(loop, f"add_{kind}"), getattr(loop, f"remove_{kind}")
    assert remove(pair[0]) is False
    add(pair[0], print)
    assert remove(pair[0]) is True
    assert remove(pair[0]) is False


def test_reader(loop, pair):
    ran = []
    loop.add_reader(pair[0], lambda *args: (ran.append(args), pair[0].recv(100)), 1, "two")
    turns(loop)
    assert ran == []
    pair[1].send(b"x")
    run_until(loop, lambda: ran)
    turns(loop)
    assert ran == [(1, "two")]
    loop.remove_reader(pair[0])


def test_reader_is_called_again_while_there_is_data(loop, pair):
    ran = []
    pair[1].send(b"abc")
    loop.add_reader(pair[0], lambda: ran.append(pair[0].recv(1)))
    run_until(loop, lambda: len(ran) == 3)
    turns(loop)
    assert ran == [b"a", b"b", b"c"]
    loop.remove_reader(pair[0])


def test_reader_that_never_reads_is_called_again(loop, pair):
    count = 0

    def ready():
        nonlocal count
        count += 1
        if count >= 10:
            loop.stop()

    pair[1].send(b"x")
    loop.add_reader(pair[0], ready)
    loop.run_forever()
    loop.remove_reader(pair[0])
    assert count >= 10


def test_writer(loop, pair):
    ran = []
    loop.add_writer(pair[0], lambda *args: (ran.append(args), loop.remove_writer(pair[0])), 42)
    run_until(loop, lambda: ran)
    turns(loop)
    assert ran == [(42,)]


def test_writer_waits_for_room(loop, pair):
    ran = []
    try:
        while True:
            pair[0].send(b"x" * 10_000)
    except BlockingIOError:
        pass
    loop.add_writer(pair[0], ran.append, "room")
    turns(loop)
    assert ran == []
    while True:
        try:
            pair[1].recv(1_000_000)
        except BlockingIOError:
            break
    run_until(loop, lambda: ran)
    loop.remove_writer(pair[0])


def test_both_on_one_descriptor(loop, pair):
    ran = []
    pair[1].send(b"x")
    loop.add_reader(pair[0], lambda: (ran.append("read"), loop.remove_reader(pair[0])))
    loop.add_writer(pair[0], lambda: (ran.append("write"), loop.remove_writer(pair[0])))
    run_until(loop, lambda: len(ran) == 2)
    turns(loop)
    assert sorted(ran) == ["read", "write"]


def test_removing_one_keeps_the_other(loop, pair):
    ran = []
    loop.add_reader(pair[0], lambda: ran.append(pair[0].recv(1)))
    loop.add_writer(pair[0], print)
    loop.remove_writer(pair[0])
    pair[1].send(b"x")
    run_until(loop, lambda: ran)
    assert ran == [b"x"]
    loop.remove_reader(pair[0])


def test_a_new_callback_replaces_the_old_one(loop, pair):
    ran = []
    loop.add_reader(pair[0], ran.append, "old")
    loop.add_reader(pair[0], lambda: (ran.append("new"), loop.remove_reader(pair[0])))
    pair[1].send(b"x")
    run_until(loop, lambda: ran)
    turns(loop)
    assert ran == ["new"]


def test_replaced_inside_the_callback(loop, pair):
    ran = []

    def second():
        ran.append("second")
        loop.remove_reader(pair[0])

    def first():
        ran.append("first")
        loop.add_reader(pair[0], second)

    pair[1].send(b"x")
    loop.add_reader(pair[0], first)
    run_until(loop, lambda: len(ran) == 2)
    turns(loop)
    assert ran == ["first", "second"]


def test_removed_by_another_callback_of_the_same_poll(loop):
    """Both are ready; whichever comes first removes the other, which must not run."""
    pairs = [socket.socketpair() for _ in range(2)]
    ran = []

    def ready(i):
        ran.append(i)
        for left, _ in pairs:
            loop.remove_reader(left)

    for i, (left, right) in enumerate(pairs):
        left.setblocking(False)
        right.send(b"x")
        loop.add_reader(left, ready, i)
    run_until(loop, lambda: ran)
    turns(loop)
    for left, right in pairs:
        left.close()
        right.close()
    assert len(ran) == 1


def test_reader_that_removes_the_writer_of_the_same_descriptor(loop, pair):
    ran = []

    def readable():
        ran.append("read")
        loop.remove_reader(pair[0])
        loop.remove_writer(pair[0])

    pair[1].send(b"x")
    loop.add_reader(pair[0], readable)
    loop.add_writer(pair[0], lambda: ran.append("write") or loop.remove_writer(pair[0]))
    run_until(loop, lambda: "read" in ran)
    turns(loop)
    assert ran in (["read"], ["write", "read"])


def test_removed_and_closed_in_the_callback_and_the_number_taken_by_another(loop):
    """The event of the old descriptor must not reach the new one."""
    pairs = [socket.socketpair() for _ in range(2)]
    ran = []
    opened = []

    def ready(i):
        ran.append(i)
        for left, right in pairs:
            loop.remove_reader(left)
            left.close()
            right.close()
        opened.extend(socket.socketpair())
        for sock in opened:
            sock.setblocking(False)
            loop.add_reader(sock, ran.append, "stale event")

    for i, (left, right) in enumerate(pairs):
        left.setblocking(False)
        right.send(b"x")
        loop.add_reader(left, ready, i)
    run_until(loop, lambda: ran)
    turns(loop)
    assert len(ran) == 1
    for sock in opened:
        loop.remove_reader(sock)
        sock.close()


def test_a_reused_number_gets_its_own_events(loop):
    for _ in range(20):
        left, right = socket.socketpair()
        left.setblocking(False)
        got = []
        loop.add_reader(left, lambda left=left, got=got: got.append(left.recv(1)))
        right.send(b"x")
        run_until(loop, lambda got=got: got)  # type: ignore[misc]
        loop.remove_reader(left)
        left.close()
        right.close()


@pytest.mark.differs(asyncio="MOD of a number that the kernel forgot: FileNotFoundError", uvloop="no event", run=False)
def test_closed_without_remove_and_the_number_taken_by_another(loop):
    """A mistake of the caller, but the next socket with that number must not suffer from it."""
    left, right = socket.socketpair()
    left.setblocking(False)
    number = left.fileno()
    loop.add_reader(left, print)
    left.close()
    right.close()
    left, right = socket.socketpair()
    left.setblocking(False)
    assert number in (left.fileno(), right.fileno())
    reader, writer = (left, right) if left.fileno() == number else (right, left)
    reader.setblocking(False)
    got = []
    loop.add_reader(reader, lambda: got.append(reader.recv(1)))
    writer.send(b"x")
    run_until(loop, lambda: got)
    assert got == [b"x"]
    loop.remove_reader(reader)
    left.close()
    right.close()


def test_numbers_and_file_objects(loop):
    read_end, write_end = os.pipe()
    got = []
    with open(read_end, "rb", buffering=0) as file:
        os.set_blocking(read_end, False)
        loop.add_reader(file, lambda: got.append(file.read(1)))
        os.write(write_end, b"x")
        run_until(loop, lambda: got)
        loop.remove_reader(read_end)
        loop.add_reader(read_end, lambda: got.append(file.read(1)))
        os.write(write_end, b"y")
        run_until(loop, lambda: len(got) == 2)
        loop.remove_reader(file)
    os.close(write_end)
    assert got == [b"x", b"y"]


def test_end_of_a_pipe(loop):
    read_end, write_end = os.pipe()
    got = []
    loop.add_reader(read_end, lambda: (got.append(os.read(read_end, 1)), loop.remove_reader(read_end)))
    os.close(write_end)
    run_until(loop, lambda: got)
    os.close(read_end)
    assert got == [b""]


def test_writer_is_told_that_the_reader_left(loop):
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"x" * 10_000)
    except BlockingIOError:
        pass
    ran = []
    loop.add_writer(write_end, lambda: (ran.append(1), loop.remove_writer(write_end)))
    turns(loop)
    assert ran == []
    os.close(read_end)
    run_until(loop, lambda: ran)
    os.close(write_end)


@pytest.mark.parametrize("wrong", [-1, "text", None, 1.5, object()], ids=["negative", "str", "None", "float", "object"])
def test_wrong_descriptors_are_refused(loop, wrong):
    for name in ("add_reader", "add_writer"):
        with pytest.raises((ValueError, TypeError, OSError)):
            getattr(loop, name)(wrong, print)
    for name in ("remove_reader", "remove_writer"):
        with pytest.raises((ValueError, TypeError, OSError)):
            getattr(loop, name)(wrong)


def test_a_number_that_is_not_open(loop):
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(OSError):
        loop.add_reader(read_end, print)
    loop.remove_reader(read_end)


@pytest.mark.differs(uvloop="watches files as if they never became ready", run=False)
def test_a_file_cannot_be_watched(loop, tmp_path):
    with open(tmp_path / "file", "w+") as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)


def test_a_closed_loop_watches_nothing(loop, pair):
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_reader(pair[0], print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_writer(pair[0], print)


@pytest.mark.parametrize("name", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
def test_a_descriptor_of_a_transport_is_refused(loop, link, name):
    async def main():
        async with link() as connection:
            fd = connection.transport.get_extra_info("socket").fileno()
            arguments = (print,) if name.startswith("add") else ()
            with pytest.raises(RuntimeError, match=f"File descriptor {fd} is used by transport"):
                getattr(loop, name)(fd, *arguments)
            connection.peer.send(b"works")
            await connection.protocol.until_received(5)

    run(loop, main())


def test_a_number_that_a_transport_had_may_be_watched(loop):
    async def main():
        async with TCP.accepted() as connection:
            fd = connection.transport.get_extra_info("socket").fileno()
            connection.transport.close()
            await connection.protocol.until_seen("lost")
            await asyncio.sleep(0)
            left, right = socket.socketpair()
            assert fd in (left.fileno(), right.fileno())
            reader, writer = (left, right) if left.fileno() == fd else (right, left)
            reader.setblocking(False)
            got = loop.create_future()
            loop.add_reader(fd, lambda: got.done() or got.set_result(reader.recv(1)))
            writer.send(b"x")
            assert await got == b"x"
            loop.remove_reader(fd)
            left.close()
            right.close()

    run(loop, main())


def test_exception_in_a_callback_is_told_and_the_watch_goes_on(loop, pair, errors):
    ran = []

    def ready():
        ran.append(1)
        if len(ran) == 1:
            raise LookupError
        loop.remove_reader(pair[0])

    pair[1].send(b"x")
    loop.add_reader(pair[0], ready)
    run_until(loop, lambda: len(ran) == 2)
    assert isinstance(errors.pop()["exception"], LookupError)


def test_two_hundred_descriptors(loop):
    pairs = [socket.socketpair() for _ in range(200)]
    ran = set()
    for i, (left, right) in enumerate(pairs):
        left.setblocking(False)
        loop.add_reader(left, lambda i=i, left=left: (ran.add(i), left.recv(1)))
        right.send(b"x")
    run_until(loop, lambda: len(ran) == 200)
    for left, right in pairs:
        loop.remove_reader(left)
        left.close()
        right.close()
