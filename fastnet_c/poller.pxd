from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnet_c.handle cimport Runnable


cdef extern from "csrc/syscalls.h":
    cdef struct epoll_event:
        uint32_t events
    int fn_epoll_wait(int epfd, epoll_event *events, int max_events, int64_t timeout_ns) noexcept nogil
    int fn_epoll_ctl(int epfd, int op, int fd, uint32_t events, uint64_t data) noexcept
    void fn_close(int fd) noexcept
    enum:
        EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLPRI, EPOLLERR, EPOLLHUP, EPOLLET, EPOLLONESHOT


cdef class Watcher(Runnable):
    """The owner of a descriptor's events. Lives in the poller's table from add() to remove()."""
    cdef int fd                                        # -1: none

    cdef int on_events(self, uint32_t events) except -1
    cdef int on_flush(self) except -1
    cdef uint32_t wanted(self) except? 0


cdef unsigned int fork_count() noexcept


cdef class Poller:
    cdef:
        int epfd                                       # -1 once closed
        list table                                     # Watcher or None, by descriptor
        uint32_t *generations                          # by descriptor: +1 each time that its watcher leaves
        Py_ssize_t size                                # of both
        epoll_event *events
        int next, ready                                # events[next:ready] are still to be dispatched
        unsigned int forks                             # of the process when the poller was made

    cdef int add(self, Watcher watcher, uint32_t events) except -1
    cdef int modify(self, Watcher watcher, uint32_t events) except -1
    cdef int reduce(self, Watcher watcher, uint32_t events) except -1
    cdef int remove(self, Watcher watcher) except -1
    cdef Watcher find(self, int fd)
    cdef Watcher next_event(self, uint32_t *events)
    cdef int reopen(self) except -1
    cdef list close(self)

    cdef int _grow(self, int fd) except -1
    cdef uint64_t _data(self, int fd) noexcept
