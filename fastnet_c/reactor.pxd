from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnet_c.handle cimport Handle, Runnable
from fastnet_c.poller cimport Poller, Watcher
from fastnet_c.timers cimport TimerQueue


cdef extern from "csrc/syscalls.h":
    int64_t fn_now_ns() noexcept


cdef struct Counters:
    uint64_t turns, polls, blocking_polls, events, callbacks, wakeups
    uint64_t accepted, accept_refused, accept_errors
    int64_t connections, ring_bytes


cdef class Waker(Watcher):
    cdef unsigned int forks    # fork_count() when it was made

    cdef int close(self) except -1



cdef class Reactor:
    cdef:
        Poller poller
        TimerQueue timers
        Counters counters
        char *scratch              # SCRATCH_BYTES, shared by all reads of a turn

        PyObject *spare_data       # bytes given to a protocol last, owned, filled again when nobody else has it
        Py_ssize_t spare_data_room # bytes it has memory for

        # The ready ring: a list used as slots, which the collector sees.
        list ready
        Py_ssize_t ready_head, ready_count, ready_mask
        list spare_handles         # slots: used handles to be filled again
        Py_ssize_t spare_count

        # Watchers whose writes of the running callback are still held; owned while the callback runs.
        PyObject **held
        int held_count, held_size

        bint holding               # a callback runs: writes are held to its end
        bint stopping              # leave after this turn
        bint closed
        bint debug
        bint clock_overridden      # loop.time() is somebody else's
        bint just_polled           # the ready ring has not had a turn since the last poll
        bint polling               # an error is the poll's, or a signal handler's: it ends the run
        bint waiting               # in a poll that may block, without the GIL
        bint woken                 # a wake-up is on its way
        Waker waker

    cdef int push(self, Runnable runnable) except -1
    cdef Handle take_handle(self)
    cdef int hold(self, Watcher watcher) except -1
    cdef int wake(self) except -1
    cdef int run_turn(self) except -1
    cdef int end(self) except -1
    cdef bint renew(self) except -1
    cdef double now(self) except? -1.0

    cdef int _grow_ready(self) except -1
    cdef int _run_ready(self, Py_ssize_t n) except -1
    cdef int _keep_handle(self, Handle handle) except -1
    cdef int _flush_held(self) except -1
    cdef int _drop_held(self, int n) except -1
    cdef double _clock(self) except? -1.0
    cdef int _poll(self) except -1
    cdef int64_t _timeout_ns(self) except -2
    cdef Py_ssize_t _schedule_due(self) except -1
    cdef int _run_timed(self, Runnable runnable, uint32_t events) except -1


cdef enum:
    SCRATCH_BYTES = 65536
