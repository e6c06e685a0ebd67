"""epoll, and the table that says whose descriptor it is.

An event carries the descriptor and the generation of its entry. When a watcher leaves, the generation goes up: an
event that was fetched before, or that a forgotten copy of the descriptor still causes, then belongs to nobody and
is dropped (invariant 4). In a forked child epoll_ctl would change the parent's registrations, so there it is left
alone; a child that goes on watching gets an epoll of its own (invariant 15).
"""
import errno
import os

from cpython.exc cimport PyErr_SetFromErrno
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

cdef extern from "csrc/pycore.h":
    unsigned int fn_forks
    void fn_watch_forks() noexcept

cdef extern from "csrc/syscalls.h":
    int epoll_create1(int flags) noexcept
    int fn_is_open(int fd) noexcept
    enum:
        EBADF, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL

# The kernel packs struct epoll_event; only C may look inside.
cdef extern from *:
    """
    #define FN_EVENT_FD(ev) ((int)((ev)->data.u64 & 0xffffffffu))
    #define FN_EVENT_GENERATION(ev) ((uint32_t)((ev)->data.u64 >> 32))
    """
    int FN_EVENT_FD(epoll_event *ev) noexcept
    uint32_t FN_EVENT_GENERATION(epoll_event *ev) noexcept

cdef enum:
    MAX_EVENTS = 256

fn_watch_forks()


cdef unsigned int fork_count() noexcept:
    """How often this process is a forked copy since the module was loaded."""
    return fn_forks


cdef class Watcher(Runnable):
    def __cinit__(self):
        self.fd = -1

    cdef int on_events(self, uint32_t events) except -1:
        raise NotImplementedError

    cdef int on_flush(self) except -1:
        return 0

    cdef uint32_t wanted(self) except? 0:
        """The events to watch for, where a forked copy of the loop has to tell its own epoll all of them anew."""
        raise NotImplementedError


cdef int raise_errno(int code, str what) except -1:
    raise OSError(code, f"{os.strerror(code)} ({what})")


cdef class Poller:
    def __cinit__(self):
        self.table = []
        self.epfd = -1
        self.forks = fn_forks
        self.events = <epoll_event *>calloc(MAX_EVENTS, sizeof(epoll_event))
        if self.events is NULL:
            raise MemoryError
        self.epfd = epoll_create1(EPOLL_CLOEXEC)
        if self.epfd < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.epfd >= 0:
            fn_close(self.epfd)
        free(self.events)
        free(self.generations)

    cdef int reopen(self) except -1:
        """In a forked copy, once: an epoll of its own instead of the parent's, watching the same."""
        cdef int epfd, fd, r
        cdef Watcher watcher
        if self.forks == fn_forks:
            return 0
        epfd = epoll_create1(EPOLL_CLOEXEC)
        if epfd < 0:
            PyErr_SetFromErrno(OSError)
        fn_close(self.epfd)
        self.epfd = epfd
        self.forks = fn_forks
        self.next = self.ready = 0
        for fd in range(self.size):
            watcher = <Watcher>self.table[fd]
            if watcher is None:
                continue
            r = fn_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, watcher.wanted(), self._data(fd))
            if r == -EBADF or r == -errno.EPERM:  # the child closed it, and the number may be a plain file's
                self.generations[fd] += 1
                self.table[fd] = None
            elif r < 0:
                raise_errno(-r, f"cannot watch descriptor {fd}")
        return 0

    cdef int _grow(self, int fd) except -1:
        cdef Py_ssize_t size = max(64, self.size), before = self.size
        cdef uint32_t *generations
        cdef list more
        while size <= fd:
            size *= 2
        more = [None] * (size - before)
        if self.size != before:
            return 0
        generations = <uint32_t *>realloc(self.generations, size * sizeof(uint32_t))
        if generations is NULL:
            raise MemoryError
        memset(generations + self.size, 0, (size - self.size) * sizeof(uint32_t))
        self.generations = generations
        self.table.extend(more)
        self.size = size
        return 0

    cdef uint64_t _data(self, int fd) noexcept:
        return <uint64_t>self.generations[fd] << 32 | <uint32_t>fd

    cdef int add(self, Watcher watcher, uint32_t events) except -1:
        """Watch watcher.fd. Whoever had the number before lost it by closing the descriptor."""
        cdef int fd = watcher.fd, r
        if self.epfd < 0:
            raise RuntimeError("Event loop is closed")
        self.reopen()
        if fd >= self.size and fn_is_open(fd) < 0:
            raise_errno(EBADF, f"cannot watch descriptor {fd}")  # before memory is taken for a number out of the blue
        while fd >= self.size:
            self._grow(fd)
        if self.table[fd] is not None:
            self.generations[fd] += 1
            self.table[fd] = None
        r = fn_epoll_ctl(self.epfd, EPOLL_CTL_ADD, fd, events, self._data(fd))
        if r == -errno.EEXIST:
            r = fn_epoll_ctl(self.epfd, EPOLL_CTL_MOD, fd, events, self._data(fd))
        if r < 0:
            raise_errno(-r, f"cannot watch descriptor {fd}")
        self.table[fd] = watcher
        return 0

    cdef int modify(self, Watcher watcher, uint32_t events) except -1:
        """Change the events; where the kernel does not know the descriptor any more it is added again."""
        cdef int fd = watcher.fd, r
        if self.epfd < 0:
            raise RuntimeError("Event loop is closed")
        self.reopen()
        if self.find(fd) is not watcher:
            return 0  # its owner closed the descriptor, and another has the number
        r = fn_epoll_ctl(self.epfd, EPOLL_CTL_MOD, fd, events, self._data(fd))
        if r == -errno.ENOENT:
            r = fn_epoll_ctl(self.epfd, EPOLL_CTL_ADD, fd, events, self._data(fd))
        if r < 0:
            raise_errno(-r, f"cannot watch descriptor {fd}")
        return 0

    cdef int reduce(self, Watcher watcher, uint32_t events) except -1:
        """Watch for less. Where the kernel does not know the descriptor nothing is watched, and that stays so: the
        number may be another file's by now."""
        cdef int r
        self.reopen()
        r = fn_epoll_ctl(self.epfd, EPOLL_CTL_MOD, watcher.fd, events, self._data(watcher.fd))
        if r < 0 and r != -errno.ENOENT:
            raise_errno(-r, f"cannot watch descriptor {watcher.fd}")
        return 0

    cdef int remove(self, Watcher watcher) except -1:
        """Forget the watcher, if it is still the one of its descriptor. Goes before close()."""
        cdef int fd = watcher.fd
        if fd < 0 or fd >= self.size or self.table[fd] is not watcher:
            return 0
        if self.epfd >= 0 and self.forks == fn_forks:
            fn_epoll_ctl(self.epfd, EPOLL_CTL_DEL, fd, 0, 0)  # refused where the user closed it: then it is gone
        self.generations[fd] += 1
        self.table[fd] = None
        return 0

    cdef Watcher find(self, int fd):
        return <Watcher>self.table[fd] if 0 <= fd < self.size else None

    cdef Watcher next_event(self, uint32_t *events):
        """The watcher of the next fetched event that still has one, or None when there are no more."""
        cdef epoll_event *event
        cdef int fd
        while self.next < self.ready:
            event = &self.events[self.next]
            self.next += 1
            fd = FN_EVENT_FD(event)
            if FN_EVENT_GENERATION(event) == self.generations[fd] and self.table[fd] is not None:
                events[0] = event.events
                return <Watcher>self.table[fd]
        return None

    cdef list close(self):
        """Stop watching everything; the watchers, for their owner to end."""
        cdef list left = [w for w in self.table if w is not None]
        cdef Py_ssize_t fd
        for fd in range(self.size):
            if self.table[fd] is not None:
                self.generations[fd] += 1
                self.table[fd] = None
        self.next = self.ready = 0
        if self.epfd >= 0:
            fn_close(self.epfd)
            self.epfd = -1
        return left
