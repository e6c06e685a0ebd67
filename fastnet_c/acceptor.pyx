"""Listening sockets: accept in batches, and what happens when there are no descriptors left.

Level-triggered: an edge-triggered listener that stops short gets no event for what already waits, and none at all
once its queue is full (invariant 8). At EMFILE or ENFILE the spare descriptor is closed, the connection accepted
into its place, closed at once with RST, and the spare opened again: the queue keeps moving, clients learn at once,
nothing spins. Where another thread took the spare's place, and for ENOBUFS and ENOMEM, the listener rests for 10 ms,
growing to 100 ms (invariant 13).
"""
import os
import socket
from asyncio.log import logger

from libc.stdint cimport uint32_t

from fastnet_c.endpoint cimport local_of_listener
from fastnet_c.handle cimport PyContext_Copy, PyContext_Exit, enter_context
from fastnet_c.poller cimport EPOLLHUP, EPOLLIN, fn_close
from fastnet_c.reactor cimport fn_now_ns
from fastnet_c.sockaddr cimport AF_INET, AF_INET6, AF_UNIX, sockaddr, sockaddr_storage, socklen_t
from fastnet_c.stream cimport stream_of_descriptor

cdef extern from "csrc/syscalls.h":
    int fn_accept4(int fd, sockaddr *addr, socklen_t *addr_len) noexcept
    int fn_open_spare() noexcept
    void fn_close_reset(int fd) noexcept
    void fn_set_nodelay(int fd) noexcept
    enum:
        EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, EBADF, EINVAL

cdef enum:
    MAX_BUDGET = 64
    REST_MIN_MS = 10
    REST_MAX_MS = 100

cdef int64_t WARN_EVERY_NS = 1000000000

cdef long live = 0


cdef long live_acceptors() noexcept:
    return live


cdef class SpareDescriptor:
    def __cinit__(self, Reactor loop):
        self.loop = loop
        self.fd = -1

    def __dealloc__(self):
        self.close()

    cdef bint take(self) noexcept:
        """Have the spare again, if descriptors allow it."""
        if self.fd < 0:
            self.fd = fn_open_spare()
        return self.fd >= 0

    cdef int give_up(self) noexcept:
        """Free its place for one accept; true if it had one."""
        if self.fd < 0:
            return 0
        fn_close(self.fd)
        self.fd = -1
        return 1

    cdef int close(self) noexcept:
        return self.give_up()

    cdef int count_refused(self) except -1:
        """One more connection was refused: count it, and say so at most once a second."""
        cdef int64_t now_ns = fn_now_ns()
        self.loop.counters.accept_refused += 1
        self.refused_since += 1
        if self.warned_ns and now_ns - self.warned_ns < WARN_EVERY_NS:
            return 0
        logger.warning(
            "out of file descriptors: %d connection%s accepted and closed at once; raise the limit"
            " (ulimit -n, LimitNOFILE=) or close what is not needed",
            self.refused_since, " was" if self.refused_since == 1 else "s were")
        self.warned_ns = now_ns
        self.refused_since = 0
        return 0


cdef class Acceptor(Watcher):
    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1

    cdef uint32_t wanted(self) except? 0:
        return EPOLLIN if self.retry is None else 0

    def __repr__(self):
        return f"<fastnet listener {self.sock!r}>"

    cdef int on_events(self, uint32_t events) except -1:
        """Accept what waits, up to the turn's budget; the listener is level-triggered, so the rest comes again."""
        cdef sockaddr_storage storage
        cdef socklen_t addr_len
        cdef int i, fd
        for i in range(self.budget):
            if self.fd < 0:
                return 0  # the factory stopped the server
            addr_len = sizeof(storage)
            fd = fn_accept4(self.fd, <sockaddr *>&storage, &addr_len)
            if fd >= 0:
                self.rest_ms = REST_MIN_MS
                self._serve(fd, <sockaddr *>&storage, addr_len)
            elif fd == -EAGAIN:
                # Of a Unix listener that was shut down accept4 says just this, and epoll its end without end.
                return self._fail(-EINVAL) if events & EPOLLHUP else 0
            elif fd == -EMFILE or fd == -ENFILE:
                if not self._refuse_one(fd):
                    return 0
            elif fd == -ENOBUFS or fd == -ENOMEM:
                return self._rest(fd)
            elif fd == -EBADF or fd == -EINVAL:
                return self._fail(fd)
            else:
                # ECONNABORTED and kin: an error of that connection, handed over by accept (accept(2)).
                self.loop.counters.accept_errors += 1
        return 0

    cdef int _serve(self, int fd, const sockaddr *addr, socklen_t addr_len) except -1:
        """Make protocol and transport in a context of their own, a copy of the server's."""
        self.loop.counters.accepted += 1
        try:
            context = PyContext_Copy(self.context)
            enter_context(context)
        except BaseException:
            fn_close_reset(fd)
            raise
        try:
            protocol = self.factory()
        except (SystemExit, KeyboardInterrupt):
            fn_close_reset(fd)
            raise
        except BaseException as exc:
            fn_close_reset(fd)
            self.loop.call_exception_handler({
                "message": "Exception in the protocol factory: the connection was closed",
                "exception": exc,
                "asyncio_server": self.server,
            })
            return 0
        finally:
            PyContext_Exit(context)
        try:
            self._make_transport(fd, addr, addr_len, protocol, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.loop.call_exception_handler({
                "message": "A connection was closed: no transport could be made for it", "exception": exc,
                "protocol": protocol,
            })
        return 0

    cdef int _make_transport(self, int fd, const sockaddr *addr, socklen_t addr_len, protocol, context) except -1:
        # All unnamed clients of a Unix listener have the same names: nobody has to ask the kernel for them.
        extra = self.unix_names if addr_len <= sizeof(addr.sa_family) else None
        stream_of_descriptor(self.loop, fd, self.family, addr, addr_len, &self.local, protocol, context, extra,
                             self.server)
        return 0

    cdef bint _refuse_one(self, int error) except -1:
        """At the limit: accept one with the spare's place and close it. False: nothing waits, or a rest began."""
        cdef sockaddr_storage storage
        cdef socklen_t addr_len = sizeof(storage)
        cdef int fd
        if not self.spare.give_up():
            if not self.spare.take():
                self._rest(error)
                return False
            self.spare.give_up()
        fd = fn_accept4(self.fd, <sockaddr *>&storage, &addr_len)
        if fd >= 0:
            fn_close_reset(fd)
        self.spare.take()
        if fd >= 0:
            self.spare.count_refused()
            if self.spare.fd >= 0:
                return True
            fd = error  # somebody took its place
        elif fd == -EAGAIN:
            # accept4 reserves the descriptor before it looks: at the limit EMFILE says nothing of the queue.
            return False
        elif fd != -EMFILE and fd != -ENFILE and fd != -ENOBUFS and fd != -ENOMEM:
            self.loop.counters.accept_errors += 1  # that connection's own, or seen again at the next accept
            return True
        self._rest(fd)
        return False

    cdef int _rest(self, int error) except -1:
        """Stop listening for a moment; the queue keeps what comes."""
        self.loop.counters.accept_errors += 1
        self.loop.poller.modify(self, 0)
        self.retry = self.loop.call_later(self.rest_ms / 1000.0, _end_rest, self)
        self.rest_ms = min(2 * self.rest_ms, REST_MAX_MS)
        return 0

    cdef int _fail(self, int error) except -1:
        # The application closed or shut down our socket: level-triggered it would never be silent.
        self.loop.poller.remove(self)
        self.loop.call_exception_handler({
            "message": "the listening socket failed and is not watched any more",
            "exception": OSError(-error, os.strerror(-error)),
            "socket": self.sock,
        })
        return 0

    cdef int stop(self) except -1:
        """Stop listening and close the socket: who still waits in its queue is reset by the kernel."""
        retry, self.retry = self.retry, None
        sock, self.sock = self.sock, None
        if retry is not None:
            retry.cancel()
        self.loop.poller.remove(self)
        self.fd = -1
        self.server = self.factory = None
        if sock is not None:
            sock.close()
        return 0


def _end_rest(Acceptor acceptor not None):
    acceptor.retry = None
    if acceptor.fd >= 0:
        acceptor.spare.take()
        acceptor.loop.poller.modify(acceptor, EPOLLIN)


cdef Acceptor new_acceptor(Reactor loop, SpareDescriptor spare, sock, factory, context, server, int backlog):
    """Start to accept on a listening, non-blocking socket."""
    cdef Acceptor acceptor = Acceptor.__new__(Acceptor)
    acceptor.loop = loop
    acceptor.spare = spare
    acceptor.sock = sock
    acceptor.fd = sock.fileno()
    acceptor.family = sock.family
    acceptor.factory = factory
    acceptor.context = context
    acceptor.server = server
    if acceptor.family == AF_UNIX:
        acceptor.unix_names = {"sockname": sock.getsockname(), "peername": ""}
    local_of_listener(acceptor.fd, &acceptor.local)
    acceptor.budget = max(1, min(backlog, MAX_BUDGET))
    acceptor.rest_ms = REST_MIN_MS
    if acceptor.family == AF_INET or acceptor.family == AF_INET6:
        fn_set_nodelay(acceptor.fd)  # Linux hands it on to the accepted sockets: a system call less for each
    spare.take()
    loop.poller.add(acceptor, EPOLLIN)
    return acceptor
