from fastnet_c.output cimport OutputTransport


cdef enum:
    READ_BUDGET = 262144       # bytes a turn (invariant 3)


cdef class InputTransport(OutputTransport):
    """A transport that reads a byte stream from a socket, and writes one."""
    cdef:
        object on_data         # protocol.data_received, bound, from the first read on; else None
        unsigned char buffered          # the protocol is a BufferedProtocol
        unsigned char read_paused
        unsigned char read_ready        # sticky: only the end of the data clears it (invariant 2)
        unsigned char read_to_eagain    # RDHUP, HUP, ERR or PRI came: a short read proves nothing
        unsigned char read_some         # this run of reads has delivered data
        unsigned char read_ended        # EOF was delivered, or shutdown_read()
        unsigned char large_reads       # the last read filled the scratch

    cdef int use_protocol(self, object protocol) except -1

    cdef int _read(self) except -1
    cdef Py_ssize_t _read_small(self) except -1
    cdef Py_ssize_t _read_large(self, Py_ssize_t budget) except -1
    cdef Py_ssize_t _read_lost(self) except -1
    cdef int _read_short(self) except -1
    cdef int _deliver(self, object data) except -1
    cdef Py_ssize_t _read_buffered(self, Py_ssize_t budget) except -1
    cdef int _user_failed(self, exc, str method) except -1
    cdef int _read_end(self, Py_ssize_t n) except -1
    cdef int _read_and_write(self, bint can_write) except -1
