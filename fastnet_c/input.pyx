"""Reading of a stream: until the socket is empty, or the turn's budget is spent.

Edge-triggered: what is not read now causes no new event, so that there is something to read is remembered until recv
says EAGAIN (invariant 2). HUP, ERR and RDHUP only make reading ready: recv tells the outcome (invariant 6). After each
call into user code the state is looked at again (invariant 7).
"""
import os
from asyncio import BufferedProtocol

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastnet_c.handle cimport PyContext_Exit, Py_XDECREF, enter_context, fn_call_one, raise_pending
from fastnet_c.poller cimport EPOLLERR, EPOLLHUP, EPOLLOUT, EPOLLPRI, EPOLLRDHUP
from fastnet_c.reactor cimport SCRATCH_BYTES
from fastnet_c.transport cimport CLOSING, OPEN, WORK_READ, WORK_WRITE

cdef extern from "csrc/syscalls.h":
    ssize_t fn_recv(int fd, void *buf, size_t len) noexcept
    bint fn_recv_was_short(ssize_t n, size_t want) noexcept
    int fn_readable_bytes(int fd) noexcept
    int shutdown(int fd, int how) noexcept
    enum:
        EAGAIN, SHUT_RD

cdef extern from "csrc/pycore.h":
    PyObject *fn_bytes_from(const char *data, Py_ssize_t n, PyObject **spare, Py_ssize_t *room)

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **bytes, Py_ssize_t size) noexcept
    PyObject *PyBytes_New "PyBytes_FromStringAndSize"(const char *s, Py_ssize_t size) except NULL


cdef class InputTransport(OutputTransport):
    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        self.buffered = isinstance(protocol, BufferedProtocol)
        self.on_data = None
        return 0

    cdef int forget_protocol(self) except -1:
        self.protocol = self.on_data = None
        return 0

    def set_protocol(self, protocol):
        """Hand the connection over to another protocol, which gets all that is read from now on."""
        self.flush()
        self.use_protocol(protocol)

    cdef int on_events(self, uint32_t events) except -1:
        cdef bint can_write = self.out is not NULL and events & (EPOLLOUT | EPOLLERR | EPOLLHUP)
        if events & ~EPOLLOUT:
            self.read_ready = True
            if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI):
                self.read_to_eagain = True
        elif not can_write:
            return 0
        return self._read_and_write(can_write)

    cdef int do_work(self, unsigned int work) except -1:
        return self._read_and_write(work == WORK_WRITE)

    cdef int _read_and_write(self, bint can_write) except -1:
        cdef bint done = False
        enter_context(self.context)
        try:
            self._read()
            if can_write and self.out is not NULL:
                self.write_blocked = False
                self.drain()
            done = True
        finally:
            PyContext_Exit(self.context)
            if not done:  # KeyboardInterrupt, SystemExit: no edge will come again for what is left
                if self.read_ready:
                    self.schedule(WORK_READ)
                if can_write and self.out is not NULL:
                    self.schedule(WORK_WRITE)
        return 0

    cdef int _read(self) except -1:
        """Read until the socket is empty or the turn's budget is spent."""
        cdef Py_ssize_t n, budget = READ_BUDGET
        self.read_some = False
        while self.read_ready and self.state == OPEN and not self.read_paused and not self.read_ended:
            if budget <= 0:
                return self.schedule(WORK_READ)
            if self.buffered:
                n = self._read_buffered(budget)
            elif self.large_reads:
                n = self._read_large(budget)
            else:
                n = self._read_small()
            if n <= 0:
                return 0
            budget -= n
            self.read_some = True
        return 0

    cdef Py_ssize_t _read_small(self) except -1:
        """By way of the shared scratch: one allocation of the right size. 0: nothing more for now."""
        cdef Py_ssize_t n = fn_recv(self.fd, self.loop.scratch, SCRATCH_BYTES)
        cdef PyObject *data
        if n <= 0:
            return self._read_end(n)
        if fn_recv_was_short(n, SCRATCH_BYTES):
            self._read_short()
        else:
            self.large_reads = n == SCRATCH_BYTES
        data = fn_bytes_from(self.loop.scratch, n, &self.loop.spare_data, &self.loop.spare_data_room)
        if data is NULL:
            return self._read_lost()
        received = <object>data
        Py_XDECREF(data)
        self._deliver(received)
        return n

    cdef Py_ssize_t _read_lost(self) except -1:
        """No memory for what was received: the stream has a hole now, so the connection ends."""
        try:
            raise_pending()
        except BaseException as exc:
            self.fatal_error(exc, "Fatal error: no memory for received data")
        return 0

    cdef Py_ssize_t _read_large(self, Py_ssize_t budget) except -1:
        """Straight into a bytes of the size that waits, so that nothing is copied or given back."""
        cdef Py_ssize_t n, size = fn_readable_bytes(self.fd)
        cdef PyObject *data
        if size < SCRATCH_BYTES // 2:
            self.large_reads = False
            return self._read_small()
        size = min(size + 1, max(budget, SCRATCH_BYTES))  # one more: a full read would not prove that it was all
        data = PyBytes_New(NULL, size)
        n = fn_recv(self.fd, PyBytes_AS_STRING(<object>data), size)
        if n <= 0:
            Py_XDECREF(data)
            return self._read_end(n)
        if fn_recv_was_short(n, size):
            self._read_short()
        if n < size and _PyBytes_Resize(&data, n) < 0:
            return self._read_lost()
        received = <object>data
        Py_XDECREF(data)
        self._deliver(received)
        return n

    cdef int _read_short(self) except -1:
        # On TCP a short read has emptied the socket, and what comes now causes a new edge; recv on a Unix
        # socket also stops at passed descriptors, on TCP at urgent data.
        if not self.is_unix and not self.read_to_eagain:
            self.read_ready = False
        return 0

    cdef int _deliver(self, object data) except -1:
        cdef PyObject *result
        on_data = self.on_data
        if on_data is None:
            try:
                on_data = self.on_data = self.protocol.data_received
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                return self._user_failed(exc, "data_received")
        result = fn_call_one(on_data, data)
        if result is NULL:
            try:
                raise_pending()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                return self._user_failed(exc, "data_received")
        Py_XDECREF(result)
        return 0

    cdef Py_ssize_t _read_buffered(self, Py_ssize_t budget) except -1:
        """Into the protocol's own buffer (asyncio.BufferedProtocol)."""
        cdef Py_buffer view
        cdef Py_ssize_t n, size
        protocol = self.protocol
        try:
            buffer = protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            return self._user_failed(exc, "get_buffer")
        if self.state != OPEN or self.read_paused or self.read_ended or self.protocol is not protocol:
            PyBuffer_Release(&view)  # get_buffer() closed, paused or replaced us
            if self.protocol is not protocol:
                self.schedule(WORK_READ)
            return 0
        size = min(view.len, max(budget, SCRATCH_BYTES))
        n = fn_recv(self.fd, view.buf, size)
        PyBuffer_Release(&view)
        if n <= 0:
            return self._read_end(n)
        if fn_recv_was_short(n, size):
            self._read_short()
        try:
            protocol.buffer_updated(n)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            return self._user_failed(exc, "buffer_updated")
        return n

    cdef int _user_failed(self, exc, str method) except -1:
        self.flush()  # what it wrote before it failed was written
        self.fatal_error(exc, f"Fatal error: protocol.{method}() call failed.")
        return 0

    cdef int _read_end(self, Py_ssize_t n) except -1:
        """recv() gave no data: empty for now, end of the stream, or an error."""
        if n == -EAGAIN:
            self.read_ready = self.read_to_eagain = False
            return 0
        if n < 0:
            self.fatal_error(OSError(-n, os.strerror(-n)), "Fatal read error on socket transport")
            return 0
        if self.read_some:
            # In the next turn, as with a loop that reads once a turn: a task that the data has woken answers first,
            # and its answer is lost where the default eof_received() closes the transport.
            return self.schedule(WORK_READ)
        self.read_ready = False
        self.read_ended = True
        try:
            keep_open = self.protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            self.read_ended, self.read_ready = False, True  # as asyncio's: it will be called again
            raise
        except BaseException as exc:
            return self._user_failed(exc, "eof_received")
        if not keep_open:
            self.close()
        return 0

    def is_reading(self):
        """True while data is delivered to the protocol: not paused, not closing."""
        return self.state < CLOSING and not self.read_paused

    def pause_reading(self):
        """Deliver nothing, neither data nor EOF, until resume_reading(); harmless when paused already."""
        if self.state < CLOSING:
            self.read_paused = True

    def resume_reading(self):
        """Deliver again, what came meanwhile first; harmless when not paused."""
        if self.state < CLOSING and self.read_paused:
            self.read_paused = False
            if self.read_ready:  # no new edge will come for it
                self.schedule(WORK_READ)

    def shutdown_read(self):
        """End reading for good, in this direction alone (shutdown(2), SHUT_RD); writing goes on.

        The protocol gets neither more data nor eof_received().
        """
        if self.state < CLOSING and not self.read_ended:
            self.read_ended = True
            shutdown(self.fd, SHUT_RD)
