"""One turn of the loop, and what all parts of the core share: the ready ring, held writes, the wake-up.

A turn, in asyncio's order: poll; run what was ready before the poll; dispatch the events; run the timers that are
due. What these schedule waits for the next turn. A poll is left out for one turn when the ready ring has work and
a poll has just been made, so that a task woken by an event costs no second system call.

Owns the poller, the timers and the scratch buffer. Called by the Loop; calls Runnable.run, Watcher.on_events,
Watcher.on_flush.
"""
import os
from asyncio.base_events import _format_handle
from asyncio.log import logger

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc, realloc

from fastnet_c.handle cimport Py_XDECREF, fn_has_weakrefs
from fastnet_c.poller cimport EPOLLET, EPOLLIN, fn_close, fn_epoll_wait, fork_count
from fastnet_c.timers cimport TimerHandle, wait_ns

cdef extern from "csrc/pycore.h":
    void fn_slot_put(PyObject *list, Py_ssize_t i, PyObject *o) noexcept
    PyObject *fn_slot_take(PyObject *list, Py_ssize_t i) noexcept
    int Py_REFCNT(PyObject *o) noexcept

cdef extern from "csrc/syscalls.h":
    int eventfd(unsigned int value, int flags) noexcept
    ssize_t write(int fd, const void *data, size_t len) noexcept
    enum:
        EFD_CLOEXEC, EFD_NONBLOCK, EINTR

cdef enum:
    READY_MIN = 64             # a power of two
    SPARE_HANDLES = 256
    MAX_EVENTS = 256           # poller.pyx's


cdef class Waker(Watcher):
    """An eventfd that ends a wait. Edge-triggered: each write is an event, so nobody ever has to read it."""

    def __cinit__(self):
        self.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.forks = fork_count()
        if self.fd < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        self.close()

    cdef int on_events(self, uint32_t events) except -1:
        return 0

    cdef uint32_t wanted(self) except? 0:
        return EPOLLIN | EPOLLET

    cdef int close(self) except -1:
        if self.fd >= 0:
            fn_close(self.fd)
            self.fd = -1
        return 0


cdef class Reactor:
    def __cinit__(self, *args, **kwargs):
        self.scratch = <char *>malloc(SCRATCH_BYTES)
        self.held_size = 16
        self.held = <PyObject **>malloc(self.held_size * sizeof(PyObject *))
        if self.scratch is NULL or self.held is NULL:
            raise MemoryError
        self.ready = [None] * READY_MIN
        self.ready_mask = READY_MIN - 1
        self.spare_handles = [None] * SPARE_HANDLES
        self.timers = TimerQueue()
        self.poller = Poller()
        self.waker = Waker()
        self.poller.add(self.waker, self.waker.wanted())

    def __dealloc__(self):
        free(self.scratch)
        Py_XDECREF(self.spare_data)
        while self.held_count:
            self.held_count -= 1
            Py_DECREF(<object>self.held[self.held_count])
        free(self.held)

    # -- the ready ring --

    cdef int push(self, Runnable runnable) except -1:
        """Run it in the next turn."""
        if self.closed:
            raise RuntimeError("Event loop is closed")
        while self.ready_count > self.ready_mask:
            self._grow_ready()
        fn_slot_put(<PyObject *>self.ready, (self.ready_head + self.ready_count) & self.ready_mask,
                    <PyObject *>runnable)
        self.ready_count += 1
        return 0

    cdef int _grow_ready(self) except -1:
        cdef list old = self.ready, new
        cdef Py_ssize_t i
        # Making a list may run the collector, and with it anybody's call_soon(): look again afterwards.
        new = [None] * (2 * (self.ready_mask + 1))
        if self.ready is not old:
            return 0
        for i in range(self.ready_count):
            new[i] = old[(self.ready_head + i) & self.ready_mask]
        self.ready = new
        self.ready_head = 0
        self.ready_mask = 2 * self.ready_mask + 1
        return 0

    cdef int _run_ready(self, Py_ssize_t n) except -1:
        cdef PyObject *item
        cdef Runnable runnable
        while n > 0 and self.ready_count > 0:
            n -= 1
            item = fn_slot_take(<PyObject *>self.ready, self.ready_head)
            self.ready_head = (self.ready_head + 1) & self.ready_mask
            self.ready_count -= 1
            runnable = <Runnable>item
            Py_DECREF(runnable)
            self.counters.callbacks += 1
            if self.debug:
                self._run_timed(runnable, 0)
            else:
                runnable.run()
            if self.held_count:
                self._flush_held()
            if type(runnable) is Handle and Py_REFCNT(<PyObject *>runnable) == 1:
                self._keep_handle(<Handle>runnable)
        return 0

    cdef int _keep_handle(self, Handle handle) except -1:
        if self.spare_count == SPARE_HANDLES or fn_has_weakrefs(handle):
            return 0
        handle._callback = handle._args = handle._context = handle._loop = None
        handle._source_traceback = handle._repr = None
        handle._cancelled = False
        if self.spare_count < SPARE_HANDLES:  # what was let go may have run anything
            fn_slot_put(<PyObject *>self.spare_handles, self.spare_count, <PyObject *>handle)
            self.spare_count += 1
        return 0

    cdef Handle take_handle(self):
        """A used handle, empty, or a new one."""
        cdef Handle handle
        if not self.spare_count:
            return Handle.__new__(Handle)
        self.spare_count -= 1
        handle = <Handle>fn_slot_take(<PyObject *>self.spare_handles, self.spare_count)
        Py_DECREF(handle)
        return handle

    # -- held writes (invariant 10) --

    cdef int hold(self, Watcher watcher) except -1:
        """Call watcher.on_flush() when the running callback has returned."""
        cdef PyObject **more
        if self.held_count == self.held_size:
            more = <PyObject **>realloc(self.held, 2 * self.held_size * sizeof(PyObject *))
            if more is NULL:
                raise MemoryError
            self.held = more
            self.held_size *= 2
        Py_INCREF(watcher)
        self.held[self.held_count] = <PyObject *>watcher
        self.held_count += 1
        return 0

    cdef int _flush_held(self) except -1:
        cdef PyObject *item
        cdef int i = 0
        if self.held_count == 1:
            item = self.held[0]
            self.held_count = 0
            watcher = <Watcher>item
            Py_DECREF(watcher)
            (<Watcher>watcher).on_flush()
        while i < self.held_count:  # flushing may call resume_writing(), which may write more
            item = self.held[i]
            i += 1
            try:
                (<Watcher>item).on_flush()
            except BaseException:  # KeyboardInterrupt: the rest keeps its place
                self._drop_held(i)
                raise
        return self._drop_held(i) if i else 0

    cdef int _drop_held(self, int n) except -1:
        cdef int i
        cdef list dropped = [<object>self.held[i] for i in range(n)]
        self.held_count -= n
        for i in range(self.held_count):
            self.held[i] = self.held[n + i]
        for watcher in dropped:
            Py_DECREF(watcher)
        return 0

    # -- waking up --

    cdef int wake(self) except -1:
        """End the wait, if there is one; from any thread that has the GIL."""
        cdef uint64_t one = 1
        if self.waiting and not self.woken:
            self.woken = True
            self.counters.wakeups += 1
            write(self.waker.fd, &one, 8)
        return 0

    # -- a turn --

    cdef double now(self) except? -1.0:
        return <double>fn_now_ns() / 1e9

    cdef double _clock(self) except? -1.0:
        """The time that timers follow."""
        return self.time() if self.clock_overridden else self.now()

    cdef int run_turn(self) except -1:
        cdef Py_ssize_t before, due
        cdef Watcher watcher
        cdef uint32_t events
        self.counters.turns += 1
        if self.ready_count and self.just_polled and self.poller.next == self.poller.ready:
            # What the last turn made ready: no look at descriptors or timers in between.
            self.just_polled = False
            self.holding = True
            return self._run_ready(self.ready_count)
        if self.poller.next == self.poller.ready:
            self._poll()
        before = self.ready_count
        due = 0
        if self.timers.heap.count:
            self.polling = True
            due = self._schedule_due()
            self.polling = False
        self.holding = True
        if before:
            self._run_ready(before)
        while self.poller.next < self.poller.ready:
            watcher = self.poller.next_event(&events)
            if watcher is None:
                break
            self.counters.events += 1
            if self.debug:
                self._run_timed(watcher, events)
            else:
                watcher.on_events(events)
            if self.held_count:
                self._flush_held()
        if due:
            self._run_ready(due)
        return 0

    cdef int _poll(self) except -1:
        cdef int64_t timeout_ns
        cdef int n
        self.holding = False  # what other threads write while this one waits goes at once
        while self.held_count:  # written by a finalizer, after its callback
            self._flush_held()
        self.just_polled = self.polling = True
        timeout_ns = self._timeout_ns()
        self.counters.polls += 1
        if timeout_ns == 0:
            n = fn_epoll_wait(self.poller.epfd, self.poller.events, MAX_EVENTS, 0)
        else:
            self.counters.blocking_polls += 1
            self.waiting = True
            with nogil:
                n = fn_epoll_wait(self.poller.epfd, self.poller.events, MAX_EVENTS, timeout_ns)
            self.waiting = self.woken = False
        self.poller.next = 0
        self.poller.ready = n if n > 0 else 0
        PyErr_CheckSignals()
        if n < 0 and n != -EINTR:
            raise OSError(-n, f"{os.strerror(-n)} (epoll_wait)")
        self.polling = False
        return 0

    cdef int64_t _timeout_ns(self) except -2:
        cdef int64_t timeout_ns = -1
        if self.timers.heap.count and not self.ready_count:
            first = self.timers.first()
            if first is not None:
                timeout_ns = wait_ns((<TimerHandle>first)._when, self._clock())
            first = None
        # Last, since the lines above may run code that schedules: finalizers of cancelled timers, another's clock.
        return 0 if self.ready_count or self.stopping else timeout_ns

    cdef Py_ssize_t _schedule_due(self) except -1:
        cdef double now = self._clock()
        cdef Py_ssize_t n = 0
        while True:
            timer = self.timers.pop_due(now)
            if timer is None:
                return n
            self.push(timer)
            n += 1

    cdef int _run_timed(self, Runnable runnable, uint32_t events) except -1:
        """Debug mode: run it, and log what took long."""
        cdef int64_t start_ns = fn_now_ns()
        cdef double seconds
        self._current_handle = runnable if isinstance(runnable, Handle) else None
        try:
            if events:
                (<Watcher>runnable).on_events(events)
            else:
                runnable.run()
            if self.held_count:
                self._flush_held()
        finally:
            self._current_handle = None
        seconds = (fn_now_ns() - start_ns) / 1e9
        if seconds >= self.slow_callback_duration:
            what = _format_handle(runnable) if isinstance(runnable, Handle) else repr(runnable)
            logger.warning("Executing %s took %.3f seconds", what, seconds)
        return 0

    cdef int end(self) except -1:
        """Leave run_forever: also after an error nothing that was written may stay behind."""
        self.holding = False
        self.just_polled = False
        error = None
        while self.held_count:
            try:
                self._flush_held()
            except BaseException as exc:
                error = exc if error is None else error  # an exception may be false
        if error is not None:
            raise error
        return 0

    cdef bint renew(self) except -1:
        """In a forked copy of the process: have an epoll and a wake-up of its own, not the parent's."""
        cdef Waker waker
        if self.waker.forks == fork_count():
            return False
        waker = Waker()
        self.poller.reopen()
        self.poller.add(waker, waker.wanted())
        self.poller.remove(self.waker)
        self.waker.close()
        self.waker = waker
        return True
