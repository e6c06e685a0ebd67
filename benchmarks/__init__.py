"""Compares asyncio event loops: `python -m benchmarks` measures time, `python -m benchmarks.instructions` instructions.

Low to high: loops, cases, machine; servers and operations (what runs in a measured process); generator (the client,
written in C in loadgen/) and processes; rounds, summary, report; callgrind; the two commands, cli and instructions.
"""
