from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from "csrc/syscalls.h":
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct sockaddr_storage:
        sa_family_t ss_family
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        sa_family_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    cdef struct sockaddr_un:
        sa_family_t sun_family
        char sun_path[108]
    int getpeername(int fd, sockaddr *addr, socklen_t *addr_len) noexcept
    int getsockname(int fd, sockaddr *addr, socklen_t *addr_len) noexcept
    enum:
        AF_UNIX, AF_INET, AF_INET6, AF_UNSPEC


cdef object address_to_python(const sockaddr *addr, socklen_t addr_len)
cdef int address_from_python(int family, object address, sockaddr_storage *storage, socklen_t *addr_len) except -1
