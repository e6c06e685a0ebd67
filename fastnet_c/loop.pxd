from fastnet_c.acceptor cimport SpareDescriptor
from fastnet_c.handle cimport Handle
from fastnet_c.reactor cimport Reactor
from fastnet_c.timers cimport TimerHandle


cdef class Loop(Reactor):
    cdef:
        SpareDescriptor spare

    cdef Handle _new_handle(self, callback, tuple args, context)

    cdef _look_at_clock(self)
    cdef int _check_debug(self, callback, str method, bint threadsafe) except -1
    cdef TimerHandle _call_at(self, double when, callback, tuple args, context, str method)
    cdef int _fd_of(self, fd) except -1
    cdef int _free_fd_of(self, fd) except -1
    cdef int _watched_fd_of(self, fd) except -1
    cdef int _not_of_a_transport(self, fd, int number) except -1

    cdef bint _run_turns(self) except -1
