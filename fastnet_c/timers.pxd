from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnet_c.handle cimport Handle


cdef extern from "csrc/heap.h":
    ctypedef struct fn_timer:
        double when
        uint64_t seq
        uint32_t slot
    ctypedef struct fn_heap:
        fn_timer *items
        size_t count
    int fn_heap_push(fn_heap *h, double when, uint64_t seq, uint32_t slot) noexcept
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
        uint32_t *free_slots       # indices that hold None; as many fit in as there are slots
        size_t free_count
        size_t room                # for slots, in free_slots
        uint64_t next_seq
        size_t cancelled           # of those in the heap

    cdef int add(self, TimerHandle timer) except -1
    cdef TimerHandle pop_due(self, double now)
    cdef TimerHandle first(self)
    cdef int clear(self) except -1

    cdef uint32_t _new_slot(self, TimerHandle timer) except? 0
    cdef int _free_slot(self, uint32_t slot) except -1
    cdef TimerHandle _release(self, uint32_t slot)
    cdef _compact(self)


cdef int64_t wait_ns(double when, double now) noexcept
