"""Stream transports on TCP and Unix sockets: the life of a connection.

Edge-triggered: TCP is registered once for everything and never modified; a Unix socket, which would report EPOLLOUT
each time that its peer reads, asks for it only while output waits (invariant 1).
"""
from asyncio import constants

from libc.stdint cimport uint32_t

from fastnet_c.endpoint cimport RAW_ADDRESS_BYTES, RawAddress, attach_to_server, hold_socket
from fastnet_c.input cimport READ_BUDGET
from fastnet_c.poller cimport EPOLLET, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, fork_count
from fastnet_c.reactor cimport SCRATCH_BYTES
from fastnet_c.sockaddr cimport AF_UNIX, getpeername
from fastnet_c.transport cimport CLOSED, CLOSING, WORK_LOST, WORK_MADE, maker_token

cdef extern from "csrc/syscalls.h":
    ssize_t fn_recv(int fd, void *buf, size_t len) noexcept
    void fn_set_nodelay(int fd) noexcept
    void fn_close_reset(int fd) noexcept
    enum:
        EBADF

cdef enum:
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


cdef class StreamTransport(InputTransport):
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

    # What asyncio's start_tls() and sendfile() ask of a transport.
    @property
    def _start_tls_compatible(self):
        return True

    @property
    def _sendfile_compatible(self):
        return constants._SendfileMode.TRY_NATIVE

    # -- life cycle --

    cdef int open(self, Reactor loop, int fd, int family, object protocol, object context) except -1:
        """Take the descriptor over and have connection_made() called in the next turn."""
        self.loop = loop
        self.is_unix = family == AF_UNIX
        self.context = context
        self.use_protocol(protocol)
        self.schedule(WORK_MADE)
        self.forks = fork_count()
        self.fd = fd  # ours only now, when nothing can fail any more
        loop.counters.connections += 1
        return 0

    cdef int join(self, server) except -1:
        """Be one of the server's connections, or none at all."""
        try:
            attach_to_server(server, self)
        except BaseException:
            self.force_close(None)
            raise
        self.server = server
        return 0

    cdef uint32_t wanted(self) except? 0:
        if self.is_unix:
            return UNIX_EVENTS | (EPOLLOUT if self.output_watched else 0)
        return TCP_EVENTS

    cdef int start_watching(self) except -1:
        try:
            self.loop.poller.add(self, self.wanted())
            self.watching = True
        except OSError as exc:
            self.fatal_error(exc, "Fatal error: the connection cannot be watched")
        return 0

    cdef int watch_output(self, bint on) except -1:
        self.output_watched = on
        if self.watching:
            self.loop.poller.modify(self, self.wanted())
        return 0

    cdef int release(self) except -1:
        cdef int i
        if (self.fd >= 0 and self.read_ready and not self.force_closed and not self.is_unix
                and self.state == CLOSING and self.forks == fork_count()):
            # To close with unread input makes TCP send RST, which takes what the peer has not read of our last
            # words: throw away what has come already, within a turn's budget (RFC 9293, 3.6.1; RFC 2525, 2.17).
            for i in range(READ_BUDGET // SCRATCH_BYTES):
                if fn_recv(self.fd, self.loop.scratch, SCRATCH_BYTES) < SCRATCH_BYTES:
                    break
        return InputTransport.release(self)

    def close(self):
        """Close after what was written is sent; reading stops now. connection_lost(None) follows."""
        if self.state >= CLOSING:
            return
        self.flush()
        if self.state >= CLOSING:
            return
        self.set_state(CLOSING)
        if self.buffered_bytes() == 0:  # a sendfile that waits for room is not waited for
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
        transport.join(server)
    return transport


cdef StreamTransport stream_of_descriptor(Reactor loop, int fd, int family, const sockaddr *addr, socklen_t addr_len,
                                          const RawAddress *local, protocol, context, dict extra, server):
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
    transport.extra = extra
    if server is not None:
        transport.join(server)
    return transport
