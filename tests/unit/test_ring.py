"""csrc/ring.h against a bytearray."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastnet_c.testing import Ring
from tests.unit.support import PROPERTY

MIN_BYTES = 4096
# Around the sizes where something changes, and any size between.
SIZES = st.sampled_from([0, 1, 2, 4095, 4096, 4097, 8192]) | st.integers(0, 10_000)
# 251 is a prime: a byte says where it stands, so that a part at a wrong place shows.
PATTERN = bytes(i % 251 for i in range(20_000))


class RingMachine(RuleBasedStateMachine):
    """Puts, peeks and consumes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring()
        self.model = bytearray()
        self.capacity = 0
        self.written = itertools.count()

    @rule(size=SIZES)
    def put(self, size: int) -> None:
        """The ring takes all, and grows by doubling where it must."""
        start = next(self.written) * 37 % 251
        data = PATTERN[start : start + size]
        self.ring.put(data)
        self.model += data
        if size:
            self.capacity = max(self.capacity, MIN_BYTES)
            while self.capacity < len(self.model):
                self.capacity *= 2

    @precondition(lambda self: self.model)
    @rule(part=st.floats(0, 1))
    def consume(self, part: float) -> None:
        """What was written first goes first."""
        size = round(part * len(self.model))
        self.ring.consume(size)
        del self.model[:size]
        if not self.model:
            self.capacity = 0

    @precondition(lambda self: self.model)
    @rule()
    def consume_all(self) -> None:
        """Drained: the memory is given back."""
        self.consume(1.0)

    @rule(at=st.floats(0, 1), part=st.floats(0, 1))
    def peek(self, at: float, part: float) -> None:
        """Any piece is where it should be, in two parts at most."""
        skip = round(at * len(self.model))
        size = round(part * (len(self.model) - skip))
        parts = self.ring.peek(skip, size)
        assert b"".join(parts) == self.model[skip : skip + size]
        assert len(parts) <= 2
        assert all(parts)

    @rule(beyond=st.integers(1, 10))
    def beyond(self, beyond: int) -> None:
        """The wrapper refuses what the C code must never be asked for."""
        with pytest.raises(ValueError):
            self.ring.consume(len(self.model) + beyond)
        with pytest.raises(ValueError):
            self.ring.peek(beyond, len(self.model))

    @invariant()
    def agrees(self) -> None:
        """Content, length and capacity are the model's."""
        assert len(self.ring) == len(self.model)
        assert b"".join(self.ring.peek(0, len(self.model))) == self.model
        assert self.ring.capacity == self.capacity
        assert self.capacity & (self.capacity - 1) == 0, "no power of two"
        assert (self.capacity == 0) == (not self.model)


RingMachine.TestCase.settings = settings(PROPERTY, max_examples=60)
TestRingMachine = RingMachine.TestCase


@PROPERTY
@given(start=st.integers(1, MIN_BYTES - 1), size=st.integers(1, MIN_BYTES), grow=st.integers(0, 3 * MIN_BYTES))
def test_growth_straightens_a_wrapped_ring(start: int, size: int, grow: int) -> None:
    """Content that goes around the end of the memory stays in order when the ring moves to a larger one."""
    ring = Ring()
    ring.put(bytes(start + 1))
    ring.consume(start)
    ring.put(PATTERN[: size - 1])
    assert len(ring.peek(0, size)) == (2 if start + size > MIN_BYTES else 1)
    ring.put(PATTERN[size - 1 :][:grow])
    ring.consume(1)
    assert b"".join(ring.peek(0, len(ring))) == PATTERN[: size - 1 + grow]


def test_every_offset_of_a_full_ring() -> None:
    """Full to the last byte, with its first byte anywhere: one part more only where it wraps."""
    for head in range(0, MIN_BYTES, 255):
        ring = Ring()
        ring.put(bytes(head + 1))
        ring.consume(head)
        ring.put(PATTERN[: MIN_BYTES - 1])
        assert ring.capacity == len(ring) == MIN_BYTES
        parts = ring.peek(0, MIN_BYTES)
        assert [len(part) for part in parts] == ([MIN_BYTES - head, head] if head else [MIN_BYTES])
        for skip in (0, 1, MIN_BYTES - head - 1, MIN_BYTES - head, MIN_BYTES - 1):
            if skip >= MIN_BYTES:
                continue
            wanted = (b"\0" + PATTERN)[skip:MIN_BYTES]
            assert b"".join(ring.peek(skip, MIN_BYTES - skip)) == wanted
        ring.put(b"x")
        assert ring.capacity == 2 * MIN_BYTES


def test_empty() -> None:
    """Without bytes there is no memory, whatever was there before."""
    ring = Ring()
    assert (len(ring), ring.capacity, ring.peek(0, 0)) == (0, 0, [])
    ring.put(b"")
    ring.consume(0)
    assert ring.capacity == 0
    for _ in range(3):
        ring.put(bytes(100_000))
        assert ring.capacity == 131_072
        ring.consume(99_999)
        assert ring.capacity == 131_072
        ring.consume(1)
        assert (len(ring), ring.capacity, ring.peek(0, 0)) == (0, 0, [])


def test_a_steady_stream_does_not_grow() -> None:
    """As much out as in: the ring goes round and round in the memory it has."""
    ring = Ring()
    ring.put(PATTERN[:3000])
    model = bytearray(PATTERN[:3000])
    for _ in range(200):
        ring.put(PATTERN[:1000])
        model += PATTERN[:1000]
        assert b"".join(ring.peek(0, 1000)) == model[:1000]
        ring.consume(1000)
        del model[:1000]
        assert ring.capacity == MIN_BYTES
