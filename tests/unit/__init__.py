"""The parts of the core alone: ring, heap, addresses, handles, timers, poller, ready ring, counters."""
