"""The end of a connection that a transport owns: descriptor, socket object, addresses, server.

A socket that was handed in is held until the end, one made on demand for get_extra_info('socket') is detached before
the descriptor is closed (invariant 5). Addresses are kept raw: they are wanted seldom, and the peer's cannot be asked
for once it is gone. Closing is: out of the poller's table, then close, in release() alone (invariant 4).
"""
import _socket
import socket
from asyncio import trsock

from libc.string cimport memcpy

from fastnet_c.poller cimport fn_close, fork_count
from fastnet_c.sockaddr cimport (
    AF_INET, AF_INET6, address_to_python, getpeername, getsockname, sockaddr_in, sockaddr_in6, sockaddr_storage,
)
from fastnet_c.transport cimport CLOSED, BaseTransport

cdef extern from "csrc/syscalls.h":
    void fn_close_reset(int fd) noexcept

cdef extern from "csrc/pycore.h":
    void fn_warn_unclosed(object o) noexcept


cdef object init_socket = _socket.socket.__init__
cdef object detach_socket = _socket.socket.detach


cdef class Endpoint(BaseTransport):
    def __dealloc__(self):
        if self.fd >= 0:
            fn_close(self.fd)

    cdef int forget_protocol(self) except -1:
        raise NotImplementedError

    cdef int set_peer(self, const sockaddr *addr, socklen_t addr_len) except -1:
        if not self.is_unix and 0 < addr_len <= RAW_ADDRESS_BYTES:
            memcpy(self.peer.bytes, addr, addr_len)
            self.peer.length = <unsigned char>addr_len
        return 0

    cdef int release(self) except -1:
        cdef int fd = self.fd
        cdef bint inherited = self.forks != fork_count()
        cdef socklen_t addr_len = RAW_ADDRESS_BYTES
        if fd < 0:
            return 0
        if self.state < CLOSED:
            self.set_state(CLOSED)
        self.drop_output()
        # The names can be asked for afterwards, as asyncio's.
        if not self.is_unix and not self.local.length:
            if getsockname(fd, <sockaddr *>self.local.bytes, &addr_len) == 0 and addr_len <= RAW_ADDRESS_BYTES:
                self.local.length = <unsigned char>addr_len
        try:
            if self.is_unix:
                self._keep_unix_names()
        finally:
            self._release_descriptor(fd, self.reset_wanted and not inherited)
        return 0

    cdef int _release_descriptor(self, int fd, bint reset) except -1:
        self.loop.poller.remove(self)
        self.loop.counters.connections -= 1
        self.fd = -1
        try:
            self._close_descriptor(fd, reset)
        finally:
            self.forget_protocol()
            server, self.server = self.server, None
            if server is not None:
                detach_from_server(server, self)
        return 0

    cdef int _keep_unix_names(self) except -1:
        if self.extra is not None and "sockname" in self.extra:
            return 0
        names = {"sockname": self._address(&self.local, False), "peername": self._address(&self.peer, True)}
        if self.extra is not None:
            names.update(self.extra)
        self.extra = names
        return 0

    cdef int _close_descriptor(self, int fd, bint reset) except -1:
        sock = self.sock
        if sock is not None and self.sock_is_ours:
            detach_socket(sock)  # in C: an exception of a signal handler would leak the descriptor
            sock._closed = True
            sock = None
        if sock is None:
            if reset:
                fn_close_reset(fd)
            else:
                fn_close(fd)
            return 0
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        release_socket(sock)
        sock.close()
        return 0

    def __del__(self):
        if self.fd < 0:
            return
        fn_warn_unclosed(self)
        self.release()

    # -- extra info --

    def get_extra_info(self, name, default=None):
        """'socket', 'sockname', 'peername', what the maker of the transport handed in, or default."""
        if name == "socket":
            if self.sock_view is None and (sock := self._socket()) is not None:
                self.sock_view = trsock.TransportSocket(sock)
            value = self.sock_view
        elif name == "peername":
            value = self._address(&self.peer, True)
        elif name == "sockname":
            value = self._address(&self.local, False)
        else:
            value = None
        if value is None and self.extra is not None:
            return self.extra.get(name, default)
        return default if value is None else value

    cdef object _socket(self):
        if self.sock is None and self.fd >= 0:
            # socket.socket(fileno=fd), but without Python code: an exception of a signal handler in there would
            # throw away a socket object that owns our descriptor.
            sock = socket.socket.__new__(socket.socket)
            init_socket(sock, -1, -1, -1, self.fd)
            if self.sock is not None:  # a finalizer has asked meanwhile
                detach_socket(sock)
                return self.sock
            self.sock = sock
            self.sock_is_ours = True
            sock._io_refs = 0
            sock._closed = False
        return self.sock

    @property
    def _sock(self):
        return self._socket()

    @property
    def _sock_fd(self):
        return self.fd

    cdef object _address(self, RawAddress *known, bint of_peer):
        cdef sockaddr_storage storage
        cdef socklen_t addr_len = sizeof(sockaddr_storage)
        cdef int r
        if known.length:
            return address_to_python(<sockaddr *>known.bytes, known.length)
        if self.fd < 0:
            return None
        r = (getpeername if of_peer else getsockname)(self.fd, <sockaddr *>&storage, &addr_len)
        return None if r < 0 else address_to_python(<sockaddr *>&storage, addr_len)


cdef int detach_from_server(server, transport) except -1:
    if _server_wants_transport:
        server._detach(transport)
    else:
        server._detach()
    return 0


cdef int attach_to_server(server, transport) except -1:
    if _server_wants_transport:
        server._attach(transport)
    else:
        server._attach()
    return 0


def _takes_transport():
    from asyncio.base_events import Server
    return Server._detach.__code__.co_argcount > 1  # since 3.13 a server knows its transports


cdef bint _server_wants_transport = _takes_transport()


cdef int local_of_listener(int fd, RawAddress *local) except -1:
    """The address that all connections of a listener have; not known where it listens on every address."""
    cdef socklen_t addr_len = RAW_ADDRESS_BYTES
    cdef const sockaddr *addr = <const sockaddr *>local.bytes
    local.length = 0
    if getsockname(fd, <sockaddr *>local.bytes, &addr_len) < 0 or addr_len > RAW_ADDRESS_BYTES:
        return 0
    if addr.sa_family == AF_INET and (<const sockaddr_in *>addr).sin_addr.s_addr:
        local.length = <unsigned char>addr_len
    elif addr.sa_family == AF_INET6 and any((<const sockaddr_in6 *>addr).sin6_addr.s6_addr[:16]):
        local.length = <unsigned char>addr_len
    return 0


cdef int hold_socket(sock) except -1:
    """Keep the descriptor open though its owner may call sock.close() (invariant 5)."""
    if isinstance(sock, socket.socket):
        sock._io_refs += 1
    return 0


cdef int release_socket(sock) except -1:
    if isinstance(sock, socket.socket) and sock._io_refs > 0:
        sock._io_refs -= 1
    return 0
