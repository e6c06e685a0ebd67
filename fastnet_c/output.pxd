from libc.stdint cimport uint32_t

from fastnet_c.endpoint cimport Endpoint


cdef extern from "csrc/outq.h":
    ctypedef struct fn_ring:
        size_t cap
    ctypedef struct fn_outq:
        fn_ring ring
        size_t bytes
        uint32_t count


cdef class OutputTransport(Endpoint):
    """A transport that writes a byte stream to a socket."""
    cdef:
        bytes one_write        # a held write while it is the only output; else None
        fn_outq *out           # all other output; NULL: none
        object empty_waiter    # Future of a sendfile that waits: for the end of the output, for room; or None
        unsigned char output_watched    # Unix: EPOLLOUT is asked for
        unsigned int held_forks         # fork_count() when it was put there
        unsigned char in_held           # on the reactor's list of held writes
        unsigned char gathering         # writelines() runs: its buffers go out together
        unsigned char write_blocked     # the rest waits for EPOLLOUT, or for the next turn
        unsigned char eof_wanted        # write_eof() was called

    cdef int drain(self) except -1
    cdef int watch_output(self, bint on) except -1

    cdef int _check_writable(self, str name) except -1
    cdef int _put(self, object data) except -1
    cdef int _put_mutable(self, object data) except -1
    cdef int _new_out(self) except -1
    cdef int _queue(self, bytes data) except -1
    cdef int _copy_to_ring(self, const char *data, size_t size) except -1
    cdef int _check_memory(self, int r) except -1
    cdef int _queue_rest(self, bytes data, Py_ssize_t sent, bint full) except -1
    cdef int _block(self) except -1
    cdef int _drained(self) except -1
    cdef int _output_done(self) except -1
    cdef int _write_failed(self, Py_ssize_t n) except -1
    cdef int _free_out(self) except -1
    cdef int _fail_empty_waiter(self) except -1
    cdef bint _hold_one(self, bytes data) except -1
    cdef int _enter_held(self) except -1
    cdef int _output_lost(self, exc) except -1
