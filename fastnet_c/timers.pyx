"""Timers: a heap keyed by (deadline, order of making); a cancelled timer stays until it comes up, or until
most are cancelled and the heap is rebuilt without them.

The queue owns the timers through a list, where the collector sees them; the heap holds indices only.
"""
from asyncio import events

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.math cimport ceil

# A heap smaller than this is not worth rebuilding.
cdef enum:
    COMPACT_MIN = 100

# A longer wait is cut into pieces of a day, as asyncio's.
cdef double MAX_WAIT = 24 * 3600.0


cdef int64_t wait_ns(double when, double now) noexcept:
    """How long to wait from now to when: in ns, rounded up, a day at most."""
    if when <= now:
        return 0
    return <int64_t>ceil(min(when - now, MAX_WAIT) * 1e9)


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

    def __dealloc__(self):
        fn_heap_free(&self.heap)
        PyMem_Free(self.free_slots)

    cdef int add(self, TimerHandle timer) except -1:
        cdef uint32_t slot
        if timer._when != timer._when:
            raise ValueError("the time of a timer must be a number of seconds, not NaN")
        if self.free_count:
            self.free_count -= 1
            slot = self.free_slots[self.free_count]
            self.slots[slot] = timer
        else:
            slot = self._new_slot(timer)
        if fn_heap_push(&self.heap, timer._when, self.next_seq, slot) < 0:
            self._release(slot)
            raise MemoryError
        self.next_seq += 1
        timer._queue = self
        timer._scheduled = True
        return 0

    cdef uint32_t _new_slot(self, TimerHandle timer) except? 0:
        cdef size_t room = self.room
        cdef void *larger
        if <size_t>len(self.slots) == room:
            room = max(<size_t>16, 2 * room)
            larger = PyMem_Realloc(self.free_slots, room * sizeof(uint32_t))
            if larger is NULL:
                raise MemoryError
            self.free_slots = <uint32_t *>larger
            self.room = room
        self.slots.append(timer)
        return <uint32_t>(len(self.slots) - 1)

    cdef int _free_slot(self, uint32_t slot) except -1:
        self.slots[slot] = None
        self.free_slots[self.free_count] = slot
        self.free_count += 1
        return 0

    cdef TimerHandle _release(self, uint32_t slot):
        cdef TimerHandle timer = <TimerHandle>self.slots[slot]
        self._free_slot(slot)
        timer._scheduled = False
        return timer

    cdef TimerHandle first(self):
        """The live timer that is due first, or None; drops cancelled ones before it."""
        cdef TimerHandle timer
        while self.heap.count:
            timer = <TimerHandle>self.slots[self.heap.items[0].slot]
            if not timer._cancelled:
                return timer
            self._release(fn_heap_pop(&self.heap).slot)
            self.cancelled -= 1
            timer = None
        return None

    cdef TimerHandle pop_due(self, double now):
        """Take out the first live timer if its time has come, else None."""
        cdef TimerHandle timer = self.first()
        if timer is None or timer._when > now:
            return None
        return self._release(fn_heap_pop(&self.heap).slot)

    cdef _compact(self):
        cdef size_t i, kept = 0
        cdef list dropped = []  # let go at the end, for that may run anything
        cdef TimerHandle timer
        for i in range(self.heap.count):
            timer = <TimerHandle>self.slots[self.heap.items[i].slot]
            if timer._cancelled:
                dropped.append(timer)  # the last that may want memory: from here on all of it happens
        for i in range(self.heap.count):
            timer = <TimerHandle>self.slots[self.heap.items[i].slot]
            if timer._cancelled:
                timer._scheduled = False
                self._free_slot(self.heap.items[i].slot)
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
        self.free_count = 0
        for timer in slots:
            if timer is not None:
                (<TimerHandle>timer)._scheduled = False
        return 0
