from libc.stdint cimport int64_t, uint32_t

from fastnet_c.endpoint cimport RawAddress
from fastnet_c.poller cimport Watcher
from fastnet_c.reactor cimport Reactor
from fastnet_c.sockaddr cimport sockaddr, socklen_t


cdef class SpareDescriptor:
    """A descriptor on /dev/null, given up for a moment to accept and close a connection at the limit."""
    cdef:
        int fd                 # -1: lost
        Reactor loop
        int64_t warned_ns      # when the last warning was logged; 0: never
        long refused_since     # refusals that no warning has named yet

    cdef bint take(self) noexcept
    cdef int give_up(self) noexcept
    cdef int close(self) noexcept
    cdef int count_refused(self) except -1


cdef class Acceptor(Watcher):
    cdef:
        Reactor loop
        SpareDescriptor spare
        object factory         # () -> protocol
        object context         # copied for each connection
        object server
        object sock            # the listening socket, closed by stop()
        object retry           # TimerHandle that ends a rest, or None
        RawAddress local       # what the accepted sockets' own address is, if it is known
        dict unix_names        # of a Unix listener and its unnamed clients; else None
        int family
        int budget             # accepts a turn
        int rest_ms            # the next rest; grows while it does not help

    cdef int stop(self) except -1
    cdef int _make_transport(self, int fd, const sockaddr *addr, socklen_t addr_len, protocol, context) except -1
    cdef int _serve(self, int fd, const sockaddr *addr, socklen_t addr_len) except -1
    cdef bint _refuse_one(self, int error) except -1
    cdef int _rest(self, int error) except -1
    cdef int _fail(self, int error) except -1


cdef Acceptor new_acceptor(Reactor loop, SpareDescriptor spare, sock, factory, context, server, int backlog)
cdef long live_acceptors() noexcept
