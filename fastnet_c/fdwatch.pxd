from fastnet_c.handle cimport Handle
from fastnet_c.poller cimport Watcher
from fastnet_c.reactor cimport Reactor


cdef class FdWatcher(Watcher):
    """The callbacks of add_reader() and add_writer() on one descriptor."""
    cdef:
        Reactor loop
        Handle reader, writer
        object file                                    # the object that is watched; None: only its number was told

    cdef int update(self, bint less) except -1


cdef int set_reader(Reactor loop, int fd, file, Handle handle) except -1
cdef int set_writer(Reactor loop, int fd, file, Handle handle) except -1
cdef int number_of_closed(Reactor loop, file) except -2
cdef long live_fd_watchers() noexcept
