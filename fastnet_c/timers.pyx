"""Timers: a heap keyed by (deadline in ns, order of making); a cancelled timer stays until it comes up, or until
most are cancelled and the heap is rebuilt without them.

The queue owns the timers through a list, where the collector sees them; the heap holds indices only.
"""
from asyncio import events
from libc.math cimport ceil

# A heap smaller than this is not worth rebuilding.
cdef enum:
    COMPACT_MIN = 100

# The farthest deadline that is kept as such (some 146 years): a later one never comes.
cdef int64_t FAR_NS = <int64_t>1 << 62


cdef int64_t deadline_ns(double when) except -1:
    """The first nanosecond at which a clock shown in float seconds is at or past `when`: never early."""
    cdef int64_t ns
    if when != when:
        raise ValueError("the time of a timer must be a number of seconds, not NaN")
    if when >= 4.0e9:
        return FAR_NS
    if when <= 0:
        return 0
    ns = <int64_t>ceil(when * 1e9)
    while <double>ns / 1e9 < when:
        ns += 1
    return ns


cdef class TimerHandle(Handle):
    """A callback that was scheduled for a time; see asyncio.TimerHandle."""

    @property
    def __class__(self):
        return events.TimerHandle

    def when(self):
        """The time it is scheduled for: seconds on the clock of loop.time()."""
        return self._when

    def cancel(self):
        """Keep the callback from being called; harmless when it has run or was cancelled before."""
        cdef TimerQueue queue = self._queue
        if not self._cancelled:
            Handle.cancel(self)
            if self._scheduled and queue is not None:
                queue.cancelled += 1
                if queue.cancelled > COMPACT_MIN and queue.cancelled > queue.heap.count // 2:
                    queue._compact()

    def _repr_info(self):
        return events.TimerHandle._repr_info(self)

    def __hash__(self):
        return hash(self._when)

    def __lt__(self, other):
        return self._when < (<TimerHandle>other)._when if type(other) is TimerHandle else NotImplemented

    def __le__(self, other):
        return self < other or self == other if type(other) is TimerHandle else NotImplemented

    def __gt__(self, other):
        return self._when > (<TimerHandle>other)._when if type(other) is TimerHandle else NotImplemented

    def __ge__(self, other):
        return self > other or self == other if type(other) is TimerHandle else NotImplemented

    def __eq__(self, other):
        cdef TimerHandle that
        if type(other) is not TimerHandle:
            return NotImplemented
        that = <TimerHandle>other
        return (self._when == that._when and self._callback == that._callback
                and self._args == that._args and self._cancelled == that._cancelled)


cdef class TimerQueue:
    def __cinit__(self):
        self.slots = []
        self.free_slots = []

    def __dealloc__(self):
        fn_heap_free(&self.heap)

    cdef int add(self, TimerHandle timer, int64_t when_ns) except -1:
        cdef uint32_t slot
        if self.free_slots:
            slot = self.free_slots.pop()
            self.slots[slot] = timer
        else:
            slot = <uint32_t>len(self.slots)
            self.slots.append(timer)
        if fn_heap_push(&self.heap, when_ns, self.next_seq, slot) < 0:
            self._release(slot)
            raise MemoryError
        self.next_seq += 1
        timer._queue = self
        timer._scheduled = True
        return 0

    cdef TimerHandle _release(self, uint32_t slot):
        cdef TimerHandle timer = <TimerHandle>self.slots[slot]
        self.slots[slot] = None
        self.free_slots.append(slot)
        timer._scheduled = False
        return timer

    cdef TimerHandle pop_due(self, int64_t now_ns):
        """The next live timer whose deadline has come, or None; drops cancelled ones on the way."""
        cdef TimerHandle timer
        while self.heap.count and self.heap.items[0].when_ns <= now_ns:
            timer = self._release(fn_heap_pop(&self.heap).slot)
            if not timer._cancelled:
                return timer
            self.cancelled -= 1
        return None

    cdef int64_t next_ns(self) except -2:
        """The deadline of the first live timer, or -1."""
        while self.heap.count:
            if not (<TimerHandle>self.slots[self.heap.items[0].slot])._cancelled:
                return self.heap.items[0].when_ns
            self._release(fn_heap_pop(&self.heap).slot)
            self.cancelled -= 1
        return -1

    cdef _compact(self):
        cdef size_t i, kept = 0
        for i in range(self.heap.count):
            if (<TimerHandle>self.slots[self.heap.items[i].slot])._cancelled:
                self._release(self.heap.items[i].slot)
            else:
                self.heap.items[kept] = self.heap.items[i]
                kept += 1
        self.heap.count = kept
        self.cancelled = 0
        fn_heap_rebuild(&self.heap)

    cdef int clear(self) except -1:
        cdef list slots = self.slots
        self.heap.count = 0
        self.cancelled = 0
        self.slots = []
        self.free_slots = []
        for timer in slots:
            if timer is not None:
                (<TimerHandle>timer)._scheduled = False
        return 0
