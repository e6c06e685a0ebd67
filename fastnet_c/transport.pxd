from fastnet_c.poller cimport Watcher
from fastnet_c.reactor cimport Reactor


cdef enum State:               # changes in set_state() only, and only upwards
    CONNECTING                 # connection_made() has not been called
    OPEN
    CLOSING                    # no more reading; output may still leave
    CLOSED                     # connection_lost() was called, the descriptor is gone


cdef enum:                     # work put on the ready ring; the lowest bit is done first
    WORK_MADE = 1              # call connection_made()
    WORK_READ = 2              # read on
    WORK_WRITE = 4             # write on
    WORK_LOST = 8              # call connection_lost() and release the descriptor


cdef object maker_token()


cdef class BaseTransport(Watcher):
    """What every transport has: a protocol and its context, a state, limits of its output buffer."""
    cdef:
        dict __dict__          # made when somebody sets an attribute
        object __weakref__
        Reactor loop
        object protocol        # None after connection_lost()
        object context         # the contextvars.Context of all callbacks of this connection
        object server          # to be told when the connection ends, or None
        object waiter          # Future that create_connection() waits for, or None
        object error           # what connection_lost() will get
        Py_ssize_t high_water, low_water
        State state
        unsigned char protocol_paused
        unsigned char lost_scheduled
        unsigned char force_closed      # by an error, abort() or reset(): nothing is waited for
        unsigned int dropped_writes
        unsigned int pending   # WORK_* on the ready ring

    cdef int set_state(self, State state) except -1
    cdef int schedule(self, unsigned int work) except -1
    cdef int flush(self) except -1
    cdef Py_ssize_t buffered_bytes(self) except -1
    cdef int maybe_pause(self) except -1
    cdef int maybe_resume(self) except -1
    cdef int force_close(self, object exc) except -1
    cdef int drop_output(self) except -1
    cdef int fatal_error(self, object exc, str message) except -1
    cdef int release(self) except -1
    cdef int call_connection_made(self) except -1
    cdef int call_connection_lost(self) except -1
    cdef int start_watching(self) except -1
    cdef int do_work(self, unsigned int work) except -1
    cdef int count_dropped_write(self) except -1

    cdef _report(self, exc, message)

    cdef int _after_connection_made(self) except -1
