"""Socket addresses both ways, in the form of Python's socket module: no look-ups, numbers only.

IPv4 (host, port); IPv6 (host, port, flowinfo, scope_id); Unix: a path as str, an abstract name as bytes with its
leading NUL, '' for an unnamed socket. On the wire all numbers are big-endian (ip(7), ipv6(7), unix(7)).
"""
import os

from libc.string cimport memcpy, memset

cdef extern from "arpa/inet.h":
    const char *inet_ntop(int family, const void *src, char *dst, socklen_t size) noexcept
    int inet_pton(int family, const char *src, void *dst) noexcept
    uint16_t htons(uint16_t n) noexcept
    uint16_t ntohs(uint16_t n) noexcept
    uint32_t htonl(uint32_t n) noexcept
    uint32_t ntohl(uint32_t n) noexcept

cdef enum:
    TEXT_BYTES = 64            # longer than any IPv6 address in text
    UNIX_PATH_OFFSET = 2       # offsetof(struct sockaddr_un, sun_path)
    UNIX_PATH_BYTES = 108


cdef object address_to_python(const sockaddr *addr, socklen_t addr_len):
    """The Python form; None where there is no address, as getsockname() of no family gives."""
    cdef char text[TEXT_BYTES]
    cdef const sockaddr_in *v4
    cdef const sockaddr_in6 *v6
    if addr_len < sizeof(sa_family_t):
        return None
    if addr.sa_family == AF_INET:
        v4 = <const sockaddr_in *>addr
        inet_ntop(AF_INET, &v4.sin_addr, text, TEXT_BYTES)
        return (text.decode("ascii"), ntohs(v4.sin_port))
    if addr.sa_family == AF_INET6:
        v6 = <const sockaddr_in6 *>addr
        inet_ntop(AF_INET6, &v6.sin6_addr, text, TEXT_BYTES)
        return (text.decode("ascii"), ntohs(v6.sin6_port), ntohl(v6.sin6_flowinfo), v6.sin6_scope_id)
    if addr.sa_family == AF_UNIX:
        return _unix_to_python((<const sockaddr_un *>addr).sun_path, <Py_ssize_t>addr_len - UNIX_PATH_OFFSET)
    return (addr.sa_family, (<const char *>addr)[sizeof(sa_family_t):addr_len])


cdef object _unix_to_python(const char *path, Py_ssize_t n):
    if n <= 0:
        return ""
    name = path[:n]
    if name[0] == 0:  # abstract: every byte counts, NULs too
        return name
    return os.fsdecode(name.split(b"\0", 1)[0])


cdef int address_from_python(int family, object address, sockaddr_storage *storage, socklen_t *addr_len) except -1:
    memset(storage, 0, sizeof(sockaddr_storage))
    if family == AF_INET:
        return _inet_from_python(address, <sockaddr_in *>storage, addr_len)
    if family == AF_INET6:
        return _inet6_from_python(address, <sockaddr_in6 *>storage, addr_len)
    if family == AF_UNIX:
        return _unix_from_python(address, <sockaddr_un *>storage, addr_len)
    raise ValueError(f"address family {family} is not supported: AF_INET, AF_INET6 and AF_UNIX are")


cdef uint32_t _number(object value, str name, uint32_t limit) except? 0xffffffff:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 0 <= value <= limit:
        raise OverflowError(f"{name} must be 0-{limit}, not {value}")
    return value


cdef object _host(object address, int least, int most):
    if not isinstance(address, tuple) or not least <= len(address) <= most or not isinstance(address[0], str):
        raise TypeError(f"address must be a tuple of a host's number (str) and a port, not {address!r}")
    return address[0]


cdef int _inet_from_python(object address, sockaddr_in *v4, socklen_t *addr_len) except -1:
    host = _host(address, 2, 2) or "0.0.0.0"
    v4.sin_family = AF_INET
    v4.sin_port = htons(_number(address[1], "port", 65535))
    if "\0" in host or inet_pton(AF_INET, host.encode(), &v4.sin_addr) != 1:
        raise ValueError(f"{host!r} is not an IPv4 address: resolve a name with getaddrinfo() first")
    addr_len[0] = sizeof(sockaddr_in)
    return 0


cdef int _inet6_from_python(object address, sockaddr_in6 *v6, socklen_t *addr_len) except -1:
    host = _host(address, 2, 4) or "::"
    v6.sin6_family = AF_INET6
    v6.sin6_port = htons(_number(address[1], "port", 65535))
    if len(address) > 2:
        v6.sin6_flowinfo = htonl(_number(address[2], "flowinfo", 0xfffff))
    if len(address) > 3:
        v6.sin6_scope_id = _number(address[3], "scope_id", 0xffffffff)
    if "\0" in host or inet_pton(AF_INET6, host.encode(), &v6.sin6_addr) != 1:
        raise ValueError(f"{host!r} is not an IPv6 address: resolve a name with getaddrinfo() first")
    addr_len[0] = sizeof(sockaddr_in6)
    return 0


cdef int _unix_from_python(object address, sockaddr_un *un, socklen_t *addr_len) except -1:
    cdef bytes name = os.fsencode(address) if not isinstance(address, (bytes, bytearray)) else bytes(address)
    cdef Py_ssize_t n = len(name), room = UNIX_PATH_BYTES
    cdef const char *chars = name
    un.sun_family = AF_UNIX
    if n and name[0] != 0:
        room -= 1  # a path ends with a NUL
        if b"\0" in name:
            raise ValueError("a Unix socket path must not hold a NUL byte, but at its start (an abstract name)")
    if n > room:
        raise OSError(f"AF_UNIX path too long: {n} bytes, {room} at most")
    memcpy(un.sun_path, chars, n)
    addr_len[0] = <socklen_t>(UNIX_PATH_OFFSET + n + (1 if n and name[0] != 0 else 0))
    return 0
