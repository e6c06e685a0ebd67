"""Sockets that their owner closes, or drops, while the loop watches them."""

import gc
import socket
import weakref

import pytest

from tests.helpers.running import run_until, turn

KINDS = pytest.mark.parametrize("kind", ["reader", "writer"])


@KINDS
def test_a_watch_can_be_removed_after_the_socket_was_closed(loop, pair, kind):
    """anyio closes a socket that a task waits for first, and removes the watch when the task goes on."""
    add, remove = getattr(loop, f"add_{kind}"), getattr(loop, f"remove_{kind}")
    ran = []
    if kind == "reader":
        pair[1].send(b"x")
    add(pair[0], ran.append, 1)
    pair[0].close()
    assert remove(pair[0]) in (True, None)  # uvloop never tells
    with pytest.raises(ValueError):
        remove(pair[0])
    for _ in range(3):
        turn(loop)
    assert ran == []


@pytest.mark.differs(asyncio="OSError: Bad file descriptor")
def test_each_of_two_watches_can_be_removed_after_the_socket_was_closed(loop, pair):
    loop.add_reader(pair[0], print)
    loop.add_writer(pair[0], print)
    pair[0].close()
    loop.remove_writer(pair[0])
    loop.remove_reader(pair[0])
    with pytest.raises(ValueError):
        loop.remove_reader(pair[0])


def test_removed_when_closed_while_another_stays(loop, pair):
    other_left, other_right = socket.socketpair()
    got = []
    loop.add_reader(pair[0], print)
    loop.add_reader(other_left, lambda: (got.append(other_left.recv(1)), loop.remove_reader(other_left)))
    pair[0].close()
    loop.remove_reader(pair[0])
    other_right.send(b"x")
    run_until(loop, lambda: got)
    other_left.close()
    other_right.close()


@KINDS
def test_a_closed_socket_that_nobody_watched_is_refused(loop, pair, kind):
    pair[0].close()
    with pytest.raises(ValueError):
        getattr(loop, f"remove_{kind}")(pair[0])


@pytest.mark.differs(asyncio="MOD of a number that the kernel forgot: FileNotFoundError", uvloop="closes it later")
def test_a_late_remove_does_not_touch_who_has_the_number_now(loop, pair):
    number = pair[0].fileno()
    loop.add_reader(pair[0], print)
    pair[0].close()
    left, right = socket.socketpair()
    left.setblocking(False)
    assert left.fileno() == number
    got = []
    loop.add_reader(number, lambda: (got.append(left.recv(1)), loop.remove_reader(number)))
    with pytest.raises(ValueError):
        loop.remove_reader(pair[0])
    right.send(b"x")
    run_until(loop, lambda: got)
    left.close()
    right.close()


def test_a_watched_socket_is_kept(loop):
    """Its owner may have dropped it: then the loop alone holds it, until the watch is removed."""
    left, right = socket.socketpair()
    number, alive = left.fileno(), weakref.ref(left)
    got = []
    loop.add_reader(left, got.append, "ready")
    del left
    gc.collect()
    assert alive() is not None
    right.send(b"x")
    run_until(loop, lambda: got)
    kept = alive()
    assert kept is not None
    loop.remove_reader(number)
    assert kept.fileno() == number
    kept.close()
    right.close()
    del kept
    turn(loop)
    assert alive() is None


def test_a_closed_loop_lets_go_of_what_it_watched(loop, pair):
    class Owned:
        def fileno(self):
            return number

    number = pair[0].fileno()
    owned = Owned()
    alive = weakref.ref(owned)
    loop.add_reader(owned, print)
    del owned
    loop.close()
    gc.collect()
    assert alive() is None
