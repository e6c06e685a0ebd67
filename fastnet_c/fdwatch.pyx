"""add_reader() and add_writer(): level-triggered, because callers need not read until EAGAIN.

The table's word is not enough to know that the kernel still watches a descriptor: its owner may have closed it, and
the number may be another file's by now. So each change goes to the kernel, which says ENOENT where it forgot.

An object that is watched is kept, as asyncio does: nobody else may hold the socket, and one that was closed while it
was watched has no number any more by which remove_reader() could find it (anyio closes its sockets first).
"""
from libc.stdint cimport uint32_t

from fastnet_c.poller cimport EPOLLIN, EPOLLOUT

cdef long live = 0


cdef long live_fd_watchers() noexcept:
    return live


cdef class FdWatcher(Watcher):
    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1

    cdef int on_events(self, uint32_t events) except -1:
        cdef Handle reader = self.reader, writer
        if reader is not None and events & ~EPOLLOUT:
            reader.run()
        writer = self.writer  # looked at now, for the reader may have removed it; held, for it may remove itself
        if writer is not None and events & ~EPOLLIN:
            writer.run()
        return 0

    cdef uint32_t wanted(self) except? 0:
        return (EPOLLIN if self.reader is not None else 0) | (EPOLLOUT if self.writer is not None else 0)

    cdef int update(self, bint less) except -1:
        """Bring the poller up to what is wanted; less: which is less than before."""
        cdef uint32_t events = self.wanted()
        if not events:
            self.loop.poller.remove(self)
        elif less:
            self.loop.poller.reduce(self, events)
        elif self.loop.poller.find(self.fd) is self:
            self.loop.poller.modify(self, events)
        else:
            self.loop.poller.add(self, events)
        return 0

    def __repr__(self):
        return f"<fastnet descriptor {self.fd} reader={self.reader!r} writer={self.writer!r}>"


cdef int number_of_closed(Reactor loop, file) except -2:
    """The number under which this object is watched that its owner closed; -1 where it is not."""
    for watcher in loop.poller.table:
        if type(watcher) is FdWatcher and (<FdWatcher>watcher).file is file:
            return (<FdWatcher>watcher).fd
    return -1


cdef FdWatcher _watcher_of(Reactor loop, int fd, bint make):
    cdef FdWatcher watcher
    known = loop.poller.find(fd)
    if type(known) is FdWatcher:
        return <FdWatcher>known
    if not make:
        return None
    watcher = FdWatcher.__new__(FdWatcher)
    watcher.loop = loop
    watcher.fd = fd
    return watcher


cdef bint _has_number(file, int fd) except -1:
    try:
        return file.fileno() == fd
    except (AttributeError, TypeError, ValueError, OSError):
        return False


cdef int _set(FdWatcher watcher, file, Handle reader, Handle writer) except -1:
    cdef Handle old_reader = watcher.reader, old_writer = watcher.writer
    watcher.reader, watcher.writer = reader, writer
    try:
        watcher.update(file is None)
    except BaseException:
        if file is not None:
            watcher.reader, watcher.writer = old_reader, old_writer
            raise
        # Removing one of two from a descriptor that is closed: the other stays, until it is removed as well.
    if file is not None:
        if not isinstance(file, int):
            watcher.file = file
        elif watcher.file is not None and not _has_number(watcher.file, watcher.fd):
            watcher.file = None  # closed, and the number is another's now; else it is the same, told by its number
    if old_reader is not None and old_reader is not reader:
        old_reader.cancel()
    if old_writer is not None and old_writer is not writer:
        old_writer.cancel()
    return 0


cdef int set_reader(Reactor loop, int fd, file, Handle handle) except -1:
    """Make handle what runs when file, whose number is fd, is readable; nothing, if both are None.

    1 if there was another before, else 0.
    """
    cdef FdWatcher watcher = _watcher_of(loop, fd, handle is not None)
    if watcher is None:
        return 0
    had = watcher.reader is not None
    if had or handle is not None:
        _set(watcher, file, handle, watcher.writer)
    return had


cdef int set_writer(Reactor loop, int fd, file, Handle handle) except -1:
    """Make handle what runs when file, whose number is fd, is writable; nothing, if both are None.

    1 if there was another before, else 0.
    """
    cdef FdWatcher watcher = _watcher_of(loop, fd, handle is not None)
    if watcher is None:
        return 0
    had = watcher.writer is not None
    if had or handle is not None:
        _set(watcher, file, watcher.reader, handle)
    return had
