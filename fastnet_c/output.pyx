"""Writing of a stream: held to the end of the callback, sent in one system call, the rest queued.

While the reactor runs a callback, write() only holds a reference to an immutable bytes object, or a copy of
anything else; the end of the callback sends all of it by one send() or sendmsg() (invariant 10). Held bytes go at
once when they pass min(64 KiB, high water) and before anything that depends on what was sent. Outside a callback a
write goes at once. What the socket does not take stays in the output queue: large bytes by reference, the rest
copied into the ring. Nothing is sent while the queue waits for EPOLLOUT.
"""
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject

from fastnet_c.poller cimport fork_count
from fastnet_c.transport cimport CLOSING, WORK_LOST, WORK_WRITE

cdef extern from "Python.h":
    bytes PyBytes_FromObject(object o)  # exactly bytes, unlike bytes(o) where o has a __bytes__()

cdef extern from "csrc/outq.h":
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    fn_outq *fn_outq_new() noexcept
    void fn_outq_free(fn_outq *q) noexcept
    int fn_outq_ref(fn_outq *q, PyObject *owner, const char *ptr, size_t len) noexcept
    int fn_outq_copy(fn_outq *q, const char *ptr, size_t len) noexcept
    int fn_outq_iov(const fn_outq *q, iovec *iov, int max) noexcept
    void fn_outq_consume(fn_outq *q, size_t n) noexcept
    void fn_outq_settle(fn_outq *q, size_t small_bytes) noexcept

cdef extern from "csrc/syscalls.h":
    ssize_t fn_send(int fd, const void *buf, size_t len) noexcept
    ssize_t fn_sendmsg(int fd, iovec *iov, int count) noexcept
    int shutdown(int fd, int how) noexcept
    enum:
        EAGAIN, SHUT_WR

cdef enum:
    HOLD_BYTES = 65536         # held writes go at once when they are more
    HOLD_SEGMENTS = 32         # after so many, small writes are copied together
    SMALL_BYTES = 16384        # kept by reference while the socket is full: writes of at least this
    WRITE_BUDGET = 1 << 20     # bytes a turn, so that a fast reader does not keep the loop for itself
    MAX_IOVECS = 64


cdef class OutputTransport(Endpoint):
    def __dealloc__(self):
        if self.out is not NULL:
            fn_outq_free(self.out)

    # -- the API --

    def write(self, data):
        """Send data (bytes, bytearray or memoryview) without waiting; asyncio.WriteTransport.write.

        The bytes sent are those that data holds now. TypeError for another type, RuntimeError after write_eof().
        Writes to a lost connection are dropped; connection_lost() has told why.
        """
        if PyBytes_CheckExact(data) and self._hold_one(<bytes>data):
            return
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        self._check_writable("write")
        if self.lost_scheduled:
            if len(data):
                self.count_dropped_write()
            return
        try:
            self._put(data)
        finally:
            if not self.loop.holding:
                self.flush()
                self.maybe_pause()

    def writelines(self, list_of_data):
        """Send the buffers of an iterable, in order and together; asyncio.WriteTransport.writelines."""
        buffers = [data if isinstance(data, (bytes, bytearray, memoryview)) else memoryview(data)
                   for data in list_of_data]
        self._check_writable("writelines")
        if self.lost_scheduled:
            if buffers:
                self.count_dropped_write()
            return
        self.gathering = True
        try:
            for data in buffers:
                self._put(data)
        finally:
            self.gathering = False
            if not self.loop.holding:
                self.flush()
            self.maybe_pause()
            self.maybe_resume()

    def write_eof(self):
        """Half-close: send what was written, then FIN; reading goes on. Harmless when repeated."""
        if self.state >= CLOSING or self.eof_wanted:
            return
        self.flush()
        self.eof_wanted = True
        if self.out is NULL and not self.lost_scheduled:
            shutdown(self.fd, SHUT_WR)

    def can_write_eof(self):
        """True: TCP and Unix stream sockets can be half-closed."""
        return True

    def get_write_buffer_size(self):
        """Bytes that were written and that the kernel has not taken yet."""
        self.flush()
        return self.buffered_bytes()

    def _make_empty_waiter(self):
        # asyncio's hook for sendfile: a Future that is done when nothing waits to be sent.
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self.flush()
        self.empty_waiter = self.loop.create_future()
        if self.out is NULL:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _make_room_waiter(self):
        # For a sendfile that found the socket full: a Future that is done when there is room. An output of no bytes
        # waits for EPOLLOUT, as any other.
        if self.out is NULL and not self.lost_scheduled:
            self._new_out()
            self._block()
        self.empty_waiter = self.loop.create_future()
        if self.out is NULL:
            self._fail_empty_waiter()
        return self.empty_waiter

    cdef int _fail_empty_waiter(self) except -1:
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_exception(ConnectionError("Connection is closed by peer"))
        return 0

    def _reset_empty_waiter(self):
        self.empty_waiter = None

    # -- holding --

    cdef bint _hold_one(self, bytes data) except -1:
        """The common case: the callback's first write, of an immutable buffer that is not large."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if (not self.loop.holding or self.out is not NULL or self.one_write is not None or size == 0
                or size > HOLD_BYTES or size > self.high_water
                or self.eof_wanted or self.lost_scheduled or self.empty_waiter is not None):
            return False
        self.one_write = data
        if not self.in_held:
            self._enter_held()
        return True

    cdef int _enter_held(self) except -1:
        self.loop.hold(self)
        self.in_held = True
        self.held_forks = fork_count()
        return 0

    cdef int _check_writable(self, str name) except -1:
        if self.eof_wanted:
            raise RuntimeError(f"Cannot call {name}() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError(f"unable to {name}; sendfile is in progress")
        return 0

    cdef int _put(self, object data) except -1:
        """Hold or queue one buffer; the caller flushes where nothing is held."""
        cdef Py_ssize_t size
        if self.lost_scheduled:
            return 0  # writelines(): pause_writing() aborted in between
        if not PyBytes_CheckExact(data):
            if self.write_blocked or not (self.loop.holding or self.gathering) or len(data) > HOLD_BYTES:
                return self._put_mutable(data)
            data = PyBytes_FromObject(data)  # what it holds now, whatever its owner does to it in this callback
        size = PyBytes_GET_SIZE(data)
        if size == 0:
            return 0
        if self.out is NULL and self.one_write is None:
            self.one_write = <bytes>data
        else:
            self._queue(<bytes>data)
            if self.write_blocked:
                return self.maybe_pause()
        if self.loop.holding and not self.in_held:
            self._enter_held()
        size = self.buffered_bytes()
        if size > self.high_water or size > HOLD_BYTES:
            self.flush()
            return self.maybe_pause()
        return 0

    cdef int _put_mutable(self, object data) except -1:
        """Send a buffer that may change under us, and copy what is left of it."""
        cdef Py_buffer view
        cdef Py_ssize_t n = 0
        if isinstance(data, memoryview) and not data.c_contiguous:
            data = PyBytes_FromObject(data)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.flush()  # what was written before
            if self.lost_scheduled or view.len == 0:
                return 0
            if self.out is NULL:
                n = fn_send(self.fd, view.buf, view.len)
                if n < 0 and n != -EAGAIN:
                    return self._write_failed(n)
                n = max(n, 0)
                if n == view.len:
                    return self._output_done() if self.state == CLOSING else 0
                self._new_out()
            self._copy_to_ring(<const char *>view.buf + n, view.len - n)
        except MemoryError as exc:
            if n <= 0:  # nothing of it went out: the caller may try again
                if self.out is not NULL and self.out.bytes == 0:
                    self._free_out()
                raise
            return self._output_lost(exc)
        finally:
            PyBuffer_Release(&view)
        if not self.write_blocked:
            self.drain()  # until the socket says that it is full
        return self.maybe_pause()

    cdef int _new_out(self) except -1:
        self.out = fn_outq_new()
        if self.out is NULL:
            raise MemoryError
        return 0

    cdef int _queue(self, bytes data) except -1:
        cdef bytes first = self.one_write
        cdef size_t size = PyBytes_GET_SIZE(data)
        if self.out is NULL:
            self._new_out()
            if first is not None:
                if fn_outq_ref(self.out, <PyObject *>first, PyBytes_AS_STRING(first), PyBytes_GET_SIZE(first)) < 0:
                    self._free_out()  # it stays held
                    raise MemoryError
                self.one_write = None
        if size >= SMALL_BYTES or not (self.write_blocked or self.out.count >= HOLD_SEGMENTS):
            return self._check_memory(fn_outq_ref(self.out, <PyObject *>data, PyBytes_AS_STRING(data), size))
        return self._copy_to_ring(PyBytes_AS_STRING(data), size)

    cdef int _copy_to_ring(self, const char *data, size_t size) except -1:
        cdef size_t before = self.out.ring.cap
        cdef int r = fn_outq_copy(self.out, data, size)
        self.loop.counters.ring_bytes += <Py_ssize_t>self.out.ring.cap - <Py_ssize_t>before
        return self._check_memory(r)

    cdef int _check_memory(self, int r) except -1:
        if r < 0:
            raise MemoryError
        return 0

    # -- sending --

    cdef int on_flush(self) except -1:
        self.in_held = False  # what resume_writing() writes in there is held anew
        if self.held_forks != fork_count():
            return self.drop_output()  # held when the process forked: the parent sends it
        return self.flush()

    cdef int flush(self) except -1:
        """Send what is held, as far as the socket takes it."""
        cdef bytes data = self.one_write
        cdef Py_ssize_t n, size
        if self.in_held and self.held_forks != fork_count():
            return self.drop_output()  # held when the process forked: the parent sends it
        if data is None:
            if self.out is NULL or self.write_blocked:
                return 0
            return self.drain()
        if self.lost_scheduled:
            self.one_write = None
            return 0
        size = PyBytes_GET_SIZE(data)
        n = fn_send(self.fd, PyBytes_AS_STRING(data), size)
        if n == size:
            self.one_write = None
            return self._output_done() if self.state == CLOSING else 0
        if n < 0 and n != -EAGAIN:
            return self._write_failed(n)
        return self._queue_rest(data, max(n, 0), n == -EAGAIN)

    cdef int _queue_rest(self, bytes data, Py_ssize_t sent, bint full) except -1:
        cdef Py_ssize_t rest = PyBytes_GET_SIZE(data) - sent
        try:
            self._new_out()
            if rest >= SMALL_BYTES:
                self._check_memory(fn_outq_ref(self.out, <PyObject *>data, PyBytes_AS_STRING(data) + sent, rest))
            else:
                self._copy_to_ring(PyBytes_AS_STRING(data) + sent, rest)
        except MemoryError as exc:
            return self._output_lost(exc)
        self.one_write = None
        if full:
            return self._block()
        return self.drain()

    cdef int drain(self) except -1:
        """Send from the queue until it is empty, the socket is full or the turn's budget is spent."""
        cdef iovec iov[MAX_IOVECS]
        cdef int count
        cdef Py_ssize_t n, budget = WRITE_BUDGET
        cdef size_t before
        while True:
            count = fn_outq_iov(self.out, iov, MAX_IOVECS)
            if count == 0:
                return self._drained()  # it was a sendfile that waited
            if count == 1:
                n = fn_send(self.fd, iov[0].iov_base, iov[0].iov_len)
            else:
                n = fn_sendmsg(self.fd, iov, count)
            if n < 0:
                return self._block() if n == -EAGAIN else self._write_failed(n)
            before = self.out.ring.cap
            fn_outq_consume(self.out, n)
            self.loop.counters.ring_bytes += <Py_ssize_t>self.out.ring.cap - <Py_ssize_t>before
            if self.out.bytes == 0:
                return self._drained()
            budget -= n
            if budget <= 0:
                self.write_blocked = True
                self.schedule(WORK_WRITE)
                return self.maybe_resume()

    cdef int _block(self) except -1:
        """The socket is full: EPOLLOUT will come, on TCP by itself."""
        cdef size_t before = self.out.ring.cap
        self.write_blocked = True
        fn_outq_settle(self.out, SMALL_BYTES)
        self.loop.counters.ring_bytes += <Py_ssize_t>self.out.ring.cap - <Py_ssize_t>before
        if self.is_unix:
            self.watch_output(True)
        return self.maybe_resume()

    cdef int _drained(self) except -1:
        self._free_out()
        if self.output_watched:
            self.watch_output(False)
        self.maybe_resume()
        return self._output_done()

    cdef int _output_done(self) except -1:
        if self.out is not NULL or self.one_write is not None or self.lost_scheduled:
            return 0  # resume_writing() wrote more, or closed
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_result(None)
        if self.state == CLOSING:
            self.lost_scheduled = True
            self.schedule(WORK_LOST)
        elif self.eof_wanted:
            shutdown(self.fd, SHUT_WR)
        return 0

    cdef int _write_failed(self, Py_ssize_t n) except -1:
        return self.fatal_error(OSError(-n, os.strerror(-n)), "Fatal write error on socket transport")

    cdef int _output_lost(self, exc) except -1:
        """No memory for the rest of what was sent in part: the stream would have a hole."""
        self.force_close(exc)  # first: whoever hears of it may write
        self._report(exc, "Fatal error: no memory for output")
        return 0

    cdef int maybe_pause(self) except -1:
        return 0 if self.gathering else Endpoint.maybe_pause(self)

    cdef int maybe_resume(self) except -1:
        return 0 if self.gathering else Endpoint.maybe_resume(self)

    cdef int call_connection_lost(self) except -1:
        try:
            Endpoint.call_connection_lost(self)
        finally:
            self._fail_empty_waiter()
        return 0

    cdef int watch_output(self, bint on) except -1:
        raise NotImplementedError

    cdef int _free_out(self) except -1:
        if self.out is not NULL:
            self.loop.counters.ring_bytes -= <Py_ssize_t>self.out.ring.cap
            fn_outq_free(self.out)
            self.out = NULL
        self.write_blocked = False
        return 0

    cdef int drop_output(self) except -1:
        self.one_write = None
        return self._free_out()

    cdef Py_ssize_t buffered_bytes(self) except -1:
        if self.out is not NULL:
            return self.out.bytes
        return 0 if self.one_write is None else PyBytes_GET_SIZE(self.one_write)
