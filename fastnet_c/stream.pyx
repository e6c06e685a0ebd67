"""Stream transports on TCP and Unix sockets: reading until the socket is empty, and the life of the connection.

Edge-triggered: TCP is registered once for everything and never modified; a Unix socket, which would report EPOLLOUT each time that its
peer reads, asks for it only while output waits (invariant 1). HUP, ERR and RDHUP only make reading and writing
ready: recv and send tell the outcome (invariant 6). After each call into user code the state is looked at again
(invariant 7).
"""
import os
from asyncio import BufferedProtocol, constants

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastnet_c.handle cimport PyContext_Exit, Py_XDECREF, enter_context, fn_call_one, raise_pending
from fastnet_c.endpoint cimport RAW_ADDRESS_BYTES, RawAddress, attach_to_server, hold_socket
from fastnet_c.poller cimport EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP
from fastnet_c.reactor cimport SCRATCH_BYTES
from fastnet_c.sockaddr cimport AF_UNIX, getpeername
from fastnet_c.transport cimport CLOSED, CLOSING, OPEN, WORK_LOST, WORK_MADE, WORK_READ, WORK_WRITE, maker_token

cdef extern from "csrc/syscalls.h":
    ssize_t fn_recv(int fd, void *buf, size_t len) noexcept
    bint fn_recv_was_short(ssize_t n, size_t want) noexcept
    int fn_readable_bytes(int fd) noexcept
    void fn_set_nodelay(int fd) noexcept
    int shutdown(int fd, int how) noexcept
    void fn_close_reset(int fd) noexcept
    enum:
        EAGAIN, EBADF, SHUT_RD

cdef extern from "csrc/pycore.h":
    object fn_bytes_from(const char *data, Py_ssize_t n, PyObject **spare, Py_ssize_t *room)

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **bytes, Py_ssize_t size) except -1
    PyObject *PyBytes_New "PyBytes_FromStringAndSize"(const char *s, Py_ssize_t size) except NULL

cdef enum:
    READ_BUDGET = 262144       # bytes a turn (invariant 3)
    LARGE_READ_MAX = 262144
    # What TCP sockets, and Unix sockets without output, are registered for.
    TCP_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET
    UNIX_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET

cdef long live = 0             # transports in the process, for tests
_public_type = None            # the Python class that the transports report as theirs


def set_public_type(cls):
    """Tell what type(transport) seems to be to isinstance(); called once, by the package on top."""
    global _public_type
    _public_type = cls


cdef long live_transports() noexcept:
    return live


cdef class StreamTransport(OutputTransport):
    def __cinit__(self, *args):
        global live
        self.counted = True
        live += 1

    def __dealloc__(self):
        global live
        live -= self.counted  # not where BaseTransport refused to be made

    @property
    def __class__(self):
        return _public_type or StreamTransport

    # What asyncio's start_tls() and sendfile() ask of a transport. sendfile() reads and writes in pieces for now.
    @property
    def _start_tls_compatible(self):
        return True

    @property
    def _sendfile_compatible(self):
        return constants._SendfileMode.FALLBACK

    # -- life cycle --

    cdef int open(self, Reactor loop, int fd, int family, object protocol, object context) except -1:
        """Take the descriptor over and have connection_made() called in the next turn."""
        self.loop = loop
        self.is_unix = family == AF_UNIX
        self.context = context
        self.use_protocol(protocol)
        self.schedule(WORK_MADE)
        self.fd = fd  # ours only now, when nothing can fail any more
        loop.counters.connections += 1
        return 0

    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        self.buffered = isinstance(protocol, BufferedProtocol)
        self.on_data = None
        return 0

    cdef int forget_protocol(self) except -1:
        self.protocol = self.on_data = None
        return 0

    cdef int start_watching(self) except -1:
        try:
            if self.is_unix:
                self.loop.poller.add(self, UNIX_EVENTS | (EPOLLOUT if self.output_watched else 0))
            else:
                self.loop.poller.add(self, TCP_EVENTS)
            self.watching = True
        except OSError as exc:
            self.fatal_error(exc, "Fatal error: the connection cannot be watched")
        return 0

    cdef int watch_output(self, bint on) except -1:
        self.output_watched = on
        if self.watching:
            self.loop.poller.modify(self, UNIX_EVENTS | (EPOLLOUT if on else 0))
        return 0

    cdef int release(self) except -1:
        cdef int i
        if (self.fd >= 0 and self.read_ready and not self.force_closed and not self.is_unix
                and self.state == CLOSING and not self.loop.poller.is_forked_copy()):
            # To close with unread input makes TCP send RST, which takes what the peer has not read of our last
            # words: throw away what has come already, within a turn's budget (RFC 9293, 3.6.1; RFC 2525, 2.17).
            for i in range(READ_BUDGET // SCRATCH_BYTES):
                if fn_recv(self.fd, self.loop.scratch, SCRATCH_BYTES) < SCRATCH_BYTES:
                    break
        return OutputTransport.release(self)

    cdef int do_work(self, unsigned int work) except -1:
        return self._read_and_write(work == WORK_WRITE)

    cdef int _read_and_write(self, bint can_write) except -1:
        enter_context(self.context)
        try:
            self._read()
            if can_write and self.out is not NULL:
                self.write_blocked = False
                self.drain()
        except BaseException:  # KeyboardInterrupt, SystemExit: no edge will come again for what is left
            if self.read_ready:
                self.schedule(WORK_READ)
            if can_write and self.out is not NULL:
                self.schedule(WORK_WRITE)
            raise
        finally:
            PyContext_Exit(self.context)
        return 0

    def close(self):
        """Close after what was written is sent; reading stops now. connection_lost(None) follows."""
        if self.state >= CLOSING:
            return
        self.flush()
        if self.state >= CLOSING:
            return
        self.set_state(CLOSING)
        if self.out is NULL:
            self.lost_scheduled = True
            self.schedule(WORK_LOST)

    def abort(self):
        """Close at once: what waits to be sent is dropped. connection_lost(None) follows."""
        if not self.lost_scheduled:
            self.flush()
            self.force_close(None)

    def reset(self):
        """Close at once with RST (socket(7), SO_LINGER 0): no TIME_WAIT, unsent and unread data are lost."""
        if self.state < CLOSED:
            self.reset_wanted = not self.is_unix
            self.force_close(None)

    def _force_close(self, exc):
        self.force_close(exc)

    def _fatal_error(self, exc, message="Fatal error on transport"):
        self.fatal_error(exc, message)

    def set_protocol(self, protocol):
        """Hand the connection over to another protocol, which gets all that is read from now on."""
        self.flush()
        self.use_protocol(protocol)

    # -- reading --

    cdef int on_events(self, uint32_t events) except -1:
        cdef bint can_write = self.out is not NULL and events & (EPOLLOUT | EPOLLERR | EPOLLHUP)
        if events & ~EPOLLOUT:
            self.read_ready = True
            if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI):
                self.read_to_eagain = True
        elif not can_write:
            return 0
        return self._read_and_write(can_write)

    cdef int _read(self) except -1:
        """Read until the socket is empty or the turn's budget is spent."""
        cdef Py_ssize_t n, budget = READ_BUDGET
        while self.read_ready and self.state == OPEN and not self.read_paused and not self.read_ended:
            if budget <= 0:
                return self.schedule(WORK_READ)
            if self.buffered:
                n = self._read_buffered()
            elif self.large_reads:
                n = self._read_large()
            else:
                n = self._read_small()
            if n <= 0:
                return 0
            budget -= n
        return 0

    cdef Py_ssize_t _read_small(self) except -1:
        """By way of the shared scratch: one allocation of the right size. 0: nothing more for now."""
        cdef Py_ssize_t n = fn_recv(self.fd, self.loop.scratch, SCRATCH_BYTES)
        if n <= 0:
            return self._read_end(n)
        if fn_recv_was_short(n, SCRATCH_BYTES):
            self._read_short()
        else:
            self.large_reads = n == SCRATCH_BYTES
        self._deliver(fn_bytes_from(self.loop.scratch, n, &self.loop.spare_data, &self.loop.spare_data_room))
        return n

    cdef Py_ssize_t _read_large(self) except -1:
        """Straight into a bytes of the size that waits, so that nothing is copied or given back."""
        cdef Py_ssize_t n, size = fn_readable_bytes(self.fd)
        cdef PyObject *data
        if size < SCRATCH_BYTES // 2:
            self.large_reads = False
            return self._read_small()
        size = min(size + 1, LARGE_READ_MAX)  # one more: a full read would not prove that it was all
        data = PyBytes_New(NULL, size)
        n = fn_recv(self.fd, PyBytes_AS_STRING(<object>data), size)
        if n <= 0:
            Py_XDECREF(data)
            return self._read_end(n)
        if fn_recv_was_short(n, size):
            self._read_short()
        if n < size:
            _PyBytes_Resize(&data, n)
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

    cdef Py_ssize_t _read_buffered(self) except -1:
        """Into the protocol's own buffer (asyncio.BufferedProtocol)."""
        cdef Py_buffer view
        cdef Py_ssize_t n, size
        try:
            buffer = self.protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            return self._user_failed(exc, "get_buffer")
        if self.state != OPEN or self.read_paused or self.read_ended or not self.buffered:
            PyBuffer_Release(&view)  # get_buffer() closed, paused or replaced us
            return 0
        size = view.len
        n = fn_recv(self.fd, view.buf, size)
        PyBuffer_Release(&view)
        if n <= 0:
            return self._read_end(n)
        if fn_recv_was_short(n, size):
            self._read_short()
        try:
            self.protocol.buffer_updated(n)
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

    def __repr__(self):
        if self.fd < 0:
            return "<fastnet.Transport closed>"
        state = ("connecting", "open", "closing", "closed")[<int>self.state]
        reading = "idle" if self.read_paused or self.state >= CLOSING else "polling"
        return (f"<fastnet.Transport {state} fd={self.fd} read={reading}"
                f" write=<{'polling' if self.write_blocked else 'idle'}, bufsize={self.buffered_bytes()}>>")



cdef StreamTransport stream_of_socket(Reactor loop, sock, protocol, context, waiter, dict extra, server):
    """A transport on a connected, non-blocking socket, which it holds until the end."""
    cdef StreamTransport transport
    cdef int fd = sock.fileno(), family = sock.family
    cdef socklen_t addr_len = RAW_ADDRESS_BYTES
    if fd < 0:
        raise OSError(EBADF, "the socket is closed")
    transport = StreamTransport.__new__(StreamTransport, maker_token())
    transport.is_unix = family == AF_UNIX
    if not transport.is_unix:
        fn_set_nodelay(fd)
        if getpeername(fd, <sockaddr *>transport.peer.bytes, &addr_len) == 0 and addr_len <= RAW_ADDRESS_BYTES:
            transport.peer.length = <unsigned char>addr_len
    transport.open(loop, fd, family, protocol, context)
    transport.sock = sock
    hold_socket(sock)
    transport.extra = extra
    transport.waiter = waiter
    if server is not None:
        transport.server = server
        attach_to_server(server, transport)
    return transport


cdef StreamTransport stream_of_descriptor(Reactor loop, int fd, int family, const sockaddr *addr, socklen_t addr_len,
                                          const RawAddress *local, protocol, context, server):
    """A transport on a descriptor that was just accepted; local: its own address, as far as it is known."""
    cdef StreamTransport transport
    try:
        transport = StreamTransport.__new__(StreamTransport, maker_token())
        transport.open(loop, fd, family, protocol, context)
    except BaseException:
        fn_close_reset(fd)
        raise
    transport.set_peer(addr, addr_len)
    transport.local = local[0]
    if server is not None:
        transport.server = server
        attach_to_server(server, transport)
    return transport
