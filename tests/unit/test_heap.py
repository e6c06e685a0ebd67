"""csrc/heap.h against a sorted list."""

import bisect
import itertools
import math
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastnet_c.testing import Heap
from tests.unit.support import PROPERTY

# Few values, so that many deadlines are equal; and any.
DEADLINES = st.sampled_from([0.0, 1.0, 1.5, math.nextafter(1.5, 2), -2.0, math.inf, -math.inf]) | st.floats(
    allow_nan=False
)


class HeapMachine(RuleBasedStateMachine):
    """Pushes, pops and drops in any order; seq grows as the queue's does."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = Heap()
        self.model: list[tuple[float, int, int]] = []
        self.seq = itertools.count()
        self.slots = itertools.count(7)

    @rule(deadlines=st.lists(DEADLINES, min_size=1, max_size=80))
    def push(self, deadlines: list[float]) -> None:
        """Entries with distinct seq and slot."""
        for when in deadlines:
            entry = (when, next(self.seq), next(self.slots))
            self.heap.push(*entry)
            bisect.insort(self.model, entry)

    @precondition(lambda self: self.model)
    @rule(count=st.integers(1, 20))
    def pop(self, count: int) -> None:
        """The least first; of equal deadlines, the one that was made first."""
        for _ in range(min(count, len(self.model))):
            assert self.heap.pop() == self.model.pop(0)

    @precondition(lambda self: not self.model)
    @rule()
    def pop_from_an_empty_heap(self) -> None:
        """The wrapper refuses it."""
        with pytest.raises(IndexError):
            self.heap.pop()

    @rule(data=st.data(), share=st.floats(0, 1))
    def drop(self, data: st.DataObject, share: float) -> None:
        """Any entries go, and the order of the rest is right again."""
        chosen = random.Random(data.draw(st.integers(0, 1000)))
        slots = {slot for _, _, slot in self.model if chosen.random() < share}
        self.heap.drop(slots)
        self.model = [entry for entry in self.model if entry[2] not in slots]

    @invariant()
    def same_length(self) -> None:
        """As many as there should be."""
        assert len(self.heap) == len(self.model)

    def teardown(self) -> None:
        """All that is left comes in order."""
        while self.model:
            self.pop(20)
        assert len(self.heap) == 0


HeapMachine.TestCase.settings = settings(PROPERTY, max_examples=40)
TestHeapMachine = HeapMachine.TestCase


def test_equal_deadlines_come_in_the_order_of_their_making() -> None:
    """Also in large numbers, and after a rebuild."""
    heap = Heap()
    for seq in range(5000):
        heap.push(float(seq % 3), seq, seq)
    heap.drop(set(range(0, 5000, 7)))
    order = [heap.pop() for _ in range(len(heap))]
    assert order == sorted((float(seq % 3), seq, seq) for seq in range(5000) if seq % 7)


def test_large_numbers_keep_their_value() -> None:
    """seq has 64 bits, slot 32, the deadline all digits of a double."""
    heap = Heap()
    entries = [(1e9 + 1e-7, 2**64 - 1, 2**32 - 1), (1e9, 2**63, 0), (5e-324, 0, 1)]
    for entry in entries:
        heap.push(*entry)
    assert [heap.pop() for _ in entries] == sorted(entries)


def test_drop_everything() -> None:
    """A rebuild of nothing, and life after it."""
    heap = Heap()
    heap.drop(set())
    for seq in range(100):
        heap.push(1.0, seq, seq)
    heap.drop(range(100))
    assert len(heap) == 0
    heap.push(2.0, 1, 1)
    assert heap.pop() == (2.0, 1, 1)
