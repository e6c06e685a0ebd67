from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnet_c.handle cimport Handle


cdef extern from "csrc/heap.h":
    ctypedef struct fn_timer:
        int64_t when_ns
        uint64_t seq
        uint32_t slot
    ctypedef struct fn_heap:
        fn_timer *items
        size_t count
    int fn_heap_push(fn_heap *h, int64_t when_ns, uint64_t seq, uint32_t slot) noexcept
    fn_timer fn_heap_pop(fn_heap *h) noexcept
    void fn_heap_rebuild(fn_heap *h) noexcept
    void fn_heap_free(fn_heap *h) noexcept


cdef class TimerHandle(Handle):
    cdef:
        readonly double _when               # seconds on the loop's clock, as it was asked for
        readonly bint _scheduled            # in the heap
        TimerQueue _queue


cdef class TimerQueue:
    cdef:
        fn_heap heap
        list slots                 # the timers, at the index that the heap knows
        list free_slots
        uint64_t next_seq
        size_t cancelled           # of those in the heap

    cdef int add(self, TimerHandle timer, int64_t when_ns) except -1
    cdef TimerHandle pop_due(self, int64_t now_ns)
    cdef int64_t next_ns(self) except -2
    cdef int clear(self) except -1

    cdef TimerHandle _release(self, uint32_t slot)
    cdef _compact(self)


cdef int64_t deadline_ns(double when) except -1
