"""What tests/conftest.py does around each test, where it matters to what a failing run tells."""

import random

import pytest

from tests.helpers import running


def test_long_bytes_that_differ_are_told_at_once() -> None:
    """Also where the environment says CI, and with -v: pytest would show the difference of all of it, for minutes."""
    expected = random.Random(1).randbytes(1_000_000)
    received = expected[:500_000] + bytes(100) + expected[500_100:]
    with pytest.raises(AssertionError, match="At index 500000 diff"):
        assert received == expected


def test_a_place_without_a_line_does_not_end_the_run() -> None:
    def unknown_place() -> None:
        raise running.Hung("for this test")

    unknown_place.__code__ = unknown_place.__code__.replace(co_linetable=b"")
    with pytest.raises(running.Hung) as caught:
        unknown_place()
    assert caught.traceback[-1]._rawentry.tb_lineno in (None, -1)  # -1: before 3.11.3
    running.drop_entries_without_line(caught)
    assert "Hung: for this test" in str(caught.getrepr())
