"""The loop of these tests is fastnet's alone; what they share beside tests/conftest.py."""

from tests.probes.fixtures import attach, kind, loop_factory, pair

__all__ = ["attach", "kind", "loop_factory", "pair"]
