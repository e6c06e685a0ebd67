from fastnet_c.endpoint cimport RawAddress
from fastnet_c.output cimport OutputTransport
from fastnet_c.reactor cimport Reactor
from fastnet_c.sockaddr cimport sockaddr, socklen_t


cdef class StreamTransport(OutputTransport):
    cdef:
        object on_data         # protocol.data_received, bound, from the first read on; else None
        unsigned char counted           # among the live transports
        unsigned char watching          # registered with the poller
        unsigned char buffered          # the protocol is a BufferedProtocol
        unsigned char read_paused
        unsigned char read_ready        # sticky: only the end of the data clears it (invariant 2)
        unsigned char read_to_eagain    # RDHUP, HUP, ERR or PRI came: a short read proves nothing
        unsigned char read_ended        # EOF was delivered, or shutdown_read()
        unsigned char large_reads       # the last read filled the scratch

    cdef int open(self, Reactor loop, int fd, int family, object protocol, object context) except -1
    cdef int use_protocol(self, object protocol) except -1

    cdef int _read(self) except -1
    cdef Py_ssize_t _read_small(self) except -1
    cdef Py_ssize_t _read_large(self) except -1
    cdef int _read_short(self) except -1
    cdef int _deliver(self, object data) except -1
    cdef Py_ssize_t _read_buffered(self) except -1
    cdef int _user_failed(self, exc, str method) except -1
    cdef int _read_end(self, Py_ssize_t n) except -1

    cdef int _read_and_write(self, bint can_write) except -1


cdef long live_transports() noexcept


cdef StreamTransport stream_of_socket(Reactor loop, sock, protocol, context, waiter, dict extra, server)
cdef StreamTransport stream_of_descriptor(Reactor loop, int fd, int family, const sockaddr *addr, socklen_t addr_len,
                                          const RawAddress *local, protocol, context, server)
