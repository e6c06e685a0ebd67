from fastnet_c.endpoint cimport RawAddress
from fastnet_c.input cimport InputTransport
from fastnet_c.reactor cimport Reactor
from fastnet_c.sockaddr cimport sockaddr, socklen_t


cdef class StreamTransport(InputTransport):
    cdef:
        unsigned char counted           # among the live transports
        unsigned char watching          # registered with the poller

    cdef int open(self, Reactor loop, int fd, int family, object protocol, object context) except -1
    cdef int join(self, server) except -1


cdef long live_transports() noexcept


cdef StreamTransport stream_of_socket(Reactor loop, sock, protocol, context, waiter, dict extra, server)
cdef StreamTransport stream_of_descriptor(Reactor loop, int fd, int family, const sockaddr *addr, socklen_t addr_len,
                                          const RawAddress *local, protocol, context, dict extra, server)
