"""The base of the transports: life cycle, flow control, the calls into the protocol that all have.

A transport owns its descriptor (in Watcher.fd) until release(). It reaches the protocol through the connection's
one context. Errors of the socket end in connection_lost(); errors of the user's code are reported to the loop's
exception handler and close this connection only.
"""
from asyncio.log import logger

from fastnet_c.handle cimport PyContext_Exit, enter_context, fn_drop_dict

cdef enum:
    HIGH_WATER = 65536
    LOG_DROPPED_WRITES = 4     # as asyncio: warn when somebody goes on writing to a lost connection


# Only the core has it: without a loop a transport has no legs to stand on.
cdef object maker = object()


cdef object maker_token():
    """What a transport's __new__ must be given."""
    return maker


cdef class BaseTransport(Watcher):
    def __cinit__(self, token=None):
        if token is not maker:
            raise TypeError("transports are made by the loop: use create_connection() or create_server()")
        fn_drop_dict(self)
        self.high_water = HIGH_WATER
        self.low_water = HIGH_WATER // 4

    def __reduce__(self):
        raise TypeError(f"a {type(self).__name__} owns a descriptor and cannot be copied or pickled")

    # -- life cycle --

    cdef int set_state(self, State state) except -1:
        assert state > self.state, "a transport's state only goes forward"
        self.state = state
        return 0

    cdef int schedule(self, unsigned int work) except -1:
        """Have run() called in the next turn for this piece of work; once, however often it is asked for."""
        if not self.pending & work:
            self.loop.push(self)
            self.pending |= work
        return 0

    cdef int run(self) except -1:
        cdef unsigned int work = self.pending & -self.pending
        self.pending &= ~work
        if work == WORK_MADE:
            self.call_connection_made()
        elif work == WORK_LOST:
            self.call_connection_lost()
        elif work:
            self.do_work(work)
        return 0

    cdef int do_work(self, unsigned int work) except -1:
        raise NotImplementedError

    cdef int start_watching(self) except -1:
        raise NotImplementedError

    cdef int flush(self) except -1:
        raise NotImplementedError

    cdef int drop_output(self) except -1:
        raise NotImplementedError

    cdef int release(self) except -1:
        raise NotImplementedError

    cdef Py_ssize_t buffered_bytes(self) except -1:
        raise NotImplementedError

    cdef int call_connection_made(self) except -1:
        enter_context(self.context)
        if self.state == CONNECTING:
            self.set_state(OPEN)
        try:
            try:
                self.protocol.connection_made(self)
            except (SystemExit, KeyboardInterrupt):
                self._after_connection_made()
                raise
            except BaseException as exc:
                self.fatal_error(exc, "Fatal error: protocol.connection_made() call failed.")
            self._after_connection_made()
        finally:
            PyContext_Exit(self.context)
        return 0

    cdef int _after_connection_made(self) except -1:
        if self.state == OPEN or (self.state == CLOSING and not self.lost_scheduled):  # output is left to send
            self.start_watching()
        waiter = self.waiter
        self.waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return 0

    cdef int call_connection_lost(self) except -1:
        protocol = self.protocol
        error = self.error
        self.error = None
        enter_context(self.context)
        try:
            if protocol is not None:
                protocol.connection_lost(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_lost() call failed.")
        finally:
            PyContext_Exit(self.context)
            self.release()
        return 0

    cdef int force_close(self, object exc) except -1:
        """End now: what was not sent is dropped; connection_lost(exc) follows through the ready ring."""
        if self.lost_scheduled:
            return 0
        self.drop_output()
        if self.state < CLOSING:
            self.set_state(CLOSING)
        self.lost_scheduled = self.force_closed = True
        self.error = exc
        self.schedule(WORK_LOST)
        return 0

    cdef int fatal_error(self, object exc, str message) except -1:
        if isinstance(exc, OSError):
            if self.loop.debug:
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._report(exc, message)
        self.force_close(exc)
        return 0

    cdef _report(self, exc, message):
        self.loop.call_exception_handler(
            {"message": message, "exception": exc, "transport": self, "protocol": self.protocol}
        )

    def is_closing(self):
        """True once the transport is closing or closed."""
        return self.state >= CLOSING

    def get_protocol(self):
        """The current protocol; None once the connection is lost."""
        return self.protocol

    # -- flow control, asyncio's rules --

    @property
    def _protocol_paused(self):
        return bool(self.protocol_paused)

    @property
    def _loop(self):
        return self.loop

    cdef int maybe_pause(self) except -1:
        if self.protocol_paused or self.buffered_bytes() <= self.high_water:
            return 0
        self.protocol_paused = True
        try:
            self.protocol.pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "protocol.pause_writing() failed")
        return 0

    cdef int maybe_resume(self) except -1:
        if not self.protocol_paused or self.buffered_bytes() > self.low_water:
            return 0
        self.protocol_paused = False
        try:
            self.protocol.resume_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "protocol.resume_writing() failed")
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        """Set the marks, in bytes, at which pause_writing() and resume_writing() are called.

        Defaults: high 64 KiB, or four times low where that is given; low a quarter of high. ValueError unless
        high >= low >= 0.
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high_water = high
        self.low_water = low
        if self.state < CLOSED:
            self.flush()
            self.maybe_pause()

    def get_write_buffer_limits(self):
        """The (low, high) marks in bytes."""
        return (self.low_water, self.high_water)

    cdef int count_dropped_write(self) except -1:
        if self.dropped_writes >= LOG_DROPPED_WRITES:
            logger.warning("socket.send() raised exception.")
        self.dropped_writes += 1
        return 0
