"""Scripted failures of system calls, on fastnet loops; the rules are forgotten after each test."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.probes.fixtures import attach, kind, loop_factory, pair

__all__ = ["attach", "kind", "loop_factory", "pair"]


@pytest.fixture(autouse=True)
def faults() -> Iterator[Any]:
    """faults(name, errno=..., cap=..., skip=..., count=...) scripts a system call of the core."""
    from fastnet_c import testing

    if not testing.HAVE_FAULTS:
        pytest.skip("scripted faults need a build with FASTNET_BUILD=faults")
    testing.faults_clear()
    yield testing.faults_set
    testing.faults_clear()
