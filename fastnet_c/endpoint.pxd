from fastnet_c.sockaddr cimport sockaddr, socklen_t
from fastnet_c.transport cimport BaseTransport


cdef enum:
    RAW_ADDRESS_BYTES = 28     # of sockaddr_in6; a Unix address is asked for when it is wanted


cdef struct RawAddress:
    unsigned char bytes[RAW_ADDRESS_BYTES]
    unsigned char length       # 0: not known


cdef class Endpoint(BaseTransport):
    """A transport that owns a descriptor (Watcher.fd)."""
    cdef:
        object sock            # the socket handed in, or the one made on demand; None
        object sock_view       # the TransportSocket of it that was given out, or None
        dict extra             # what was handed in for get_extra_info(), or None
        RawAddress peer, local
        unsigned int forks     # fork_count() when it was opened: a forked child only closes it
        unsigned char is_unix
        unsigned char sock_is_ours      # made on demand: detached, not closed, at the end
        unsigned char reset_wanted      # close with RST

    cdef int set_peer(self, const sockaddr *addr, socklen_t addr_len) except -1
    cdef int forget_protocol(self) except -1
    cdef int _release_descriptor(self, int fd, bint reset) except -1
    cdef int _close_descriptor(self, int fd, bint reset) except -1
    cdef object _socket(self)
    cdef object _address(self, RawAddress *known, bint of_peer)
    cdef int _keep_unix_names(self) except -1


cdef int attach_to_server(server, transport) except -1
cdef int detach_from_server(server, transport) except -1
cdef int local_of_listener(int fd, RawAddress *local) except -1
cdef int hold_socket(sock) except -1
cdef int release_socket(sock) except -1
