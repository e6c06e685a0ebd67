"""The hot half of asyncio's loop API; fastnet.EventLoop puts asyncio.BaseEventLoop, the cold half, under it.

Names with an underscore are BaseEventLoop's hooks and attributes, kept here in C where they are hot or where the
core must see them change.
"""
import sys
from asyncio import format_helpers

from cpython.object cimport PyObject

from fastnet_c.acceptor cimport Acceptor, SpareDescriptor, live_acceptors, new_acceptor
from fastnet_c.fdwatch cimport FdWatcher, live_fd_watchers, number_of_closed, set_reader, set_writer
from fastnet_c.handle cimport Handle, PyContext_CopyCurrent
from fastnet_c.poller cimport Watcher
from fastnet_c.reactor cimport Reactor
from fastnet_c.stream cimport live_transports, stream_of_socket
from fastnet_c.timers cimport TimerHandle

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object o, object name, PyObject *value) except -1

cdef long live = 0


def live_objects():
    """How many loops, transports, listeners and descriptor watchers this process has: a dict, for tests."""
    return {
        "loops": live,
        "transports": live_transports(),
        "acceptors": live_acceptors(),
        "fd_watchers": live_fd_watchers(),
    }


cdef class Loop(Reactor):
    def __cinit__(self, *args, **kwargs):
        global live
        live += 1
        self.spare = SpareDescriptor(self)
        self._look_at_clock()

    def __dealloc__(self):
        global live
        live -= 1

    # -- the clock --

    def time(self):
        """Seconds on the monotonic clock (clock_gettime(2)), nanoseconds in its resolution."""
        return self.now()

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, <PyObject *>value)
        if name == "time":
            self._look_at_clock()

    def __delattr__(self, name):
        PyObject_GenericSetAttr(self, name, NULL)
        if name == "time":
            self._look_at_clock()

    cdef _look_at_clock(self):
        # Tools put a clock of their own in the place of time(); timers must then follow that one.
        ours = Loop.__dict__["time"]
        self.clock_overridden = type(self).time is not ours or "time" in getattr(self, "__dict__", ())

    # -- callbacks --

    cdef Handle _new_handle(self, callback, tuple args, context):
        cdef Handle handle = self.take_handle()
        handle._callback = callback
        handle._args = args
        handle._context = PyContext_CopyCurrent() if context is None else context
        handle._loop = self
        if self.debug:
            handle._source_traceback = format_helpers.extract_stack(sys._getframe(0))
        return handle

    cdef int _check_debug(self, callback, str method, bint threadsafe) except -1:
        if not threadsafe:
            self._check_thread()
        self._check_callback(callback, method)
        return 0

    def call_soon(self, callback, *args, context=None):
        """Call callback(*args) in the next turn, in context or a copy of the current one; returns a Handle."""
        cdef Handle handle
        if self.closed:
            raise RuntimeError("Event loop is closed")
        if self.debug:
            self._check_debug(callback, "call_soon", False)
        handle = self._new_handle(callback, args, context)
        self.push(handle)
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        """call_soon() from any thread, or from a signal handler."""
        cdef Handle handle
        if self.closed:
            raise RuntimeError("Event loop is closed")
        if self.debug:
            self._check_debug(callback, "call_soon_threadsafe", True)
        handle = self._new_handle(callback, args, context)
        self.push(handle)
        self.wake()
        return handle

    def call_later(self, delay, callback, *args, context=None):
        """Call callback(*args) delay seconds from now, never earlier; returns a TimerHandle."""
        if delay is None:
            raise TypeError("delay must not be None")
        return self._call_at((self.time() if self.clock_overridden else self.now()) + delay,
                             callback, args, context, "call_later")

    def call_at(self, when, callback, *args, context=None):
        """Call callback(*args) when loop.time() has reached `when`, never earlier; returns a TimerHandle."""
        if when is None:
            raise TypeError("when cannot be None")
        return self._call_at(when, callback, args, context, "call_at")

    cdef TimerHandle _call_at(self, double when, callback, tuple args, context, str method):
        cdef TimerHandle timer
        if self.closed:
            raise RuntimeError("Event loop is closed")
        if self.debug:
            self._check_debug(callback, method, False)
        timer = TimerHandle.__new__(TimerHandle)
        timer._callback = callback
        timer._args = args
        timer._context = PyContext_CopyCurrent() if context is None else context
        timer._loop = self
        timer._when = when
        if self.debug:
            timer._source_traceback = format_helpers.extract_stack(sys._getframe(0))
        self.timers.add(timer)
        return timer

    # -- running --

    def _renew_after_fork(self):
        """In a forked child, what must not be the parent's too: the epoll, the wake-up. True if it was."""
        return self.renew()

    def _run_once(self):
        """BaseEventLoop.run_forever() calls this until _stopping is set: all turns up to there."""
        self._look_at_clock()
        try:
            while not self._run_turns():
                pass
        finally:
            self.end()

    cdef bint _run_turns(self) except -1:
        """Turns until the loop stops; False after an error that a callback's own handling let through."""
        self.polling = False
        try:
            while True:
                self.run_turn()
                if self.stopping:
                    return True
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            if self.polling:
                raise
            self.call_exception_handler({"message": "Unhandled error in a callback of the loop", "exception": exc})
        return self.stopping

    def stop(self):
        """Leave run_forever() at the end of this turn; what the turn's callbacks schedule is kept."""
        self.stopping = True

    @property
    def _stopping(self):
        return self.stopping

    @_stopping.setter
    def _stopping(self, bint value):
        self.stopping = value

    @property
    def _closed(self):
        return self.closed

    @_closed.setter
    def _closed(self, bint value):
        self.closed = value

    def is_closed(self):
        """True once close() was called."""
        return self.closed

    def _check_closed(self):
        if self.closed:
            raise RuntimeError("Event loop is closed")

    @property
    def _debug(self):
        return self.debug

    @_debug.setter
    def _debug(self, bint value):
        self.debug = value

    def get_debug(self):
        """True in debug mode."""
        return self.debug

    def _close_core(self):
        """Drop what is scheduled, stop all listeners, forget all watchers; the loop is closed for good."""
        cdef Watcher watcher
        self.closed = True
        self.ready = [None]
        self.ready_head = self.ready_count = self.ready_mask = 0
        self.spare_handles, self.spare_count = [None] * len(self.spare_handles), 0
        self.timers.clear()
        if self.held_count:
            self._drop_held(self.held_count)
        for watcher in self.poller.close():
            if type(watcher) is Acceptor:
                (<Acceptor>watcher).stop()
        self.spare.close()
        self.waker.close()

    # -- descriptors --

    cdef int _fd_of(self, fd) except -1:
        """The number of an int or of an object with fileno(); as selectors, ValueError for another."""
        cdef int number
        if not isinstance(fd, int):
            try:
                fd = int(fd.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fd!r}") from None
        if not 0 <= fd <= 0x7fffffff:
            raise ValueError(f"Invalid file descriptor: {fd}")
        number = fd
        return number

    cdef int _free_fd_of(self, fd) except -1:
        return self._not_of_a_transport(fd, self._fd_of(fd))

    cdef int _not_of_a_transport(self, fd, int number) except -1:
        watcher = self.poller.find(number)
        if watcher is not None and type(watcher) is not FdWatcher and (<Watcher>watcher).fd == number:
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {watcher!r}")
        if watcher is not None and type(watcher) is FdWatcher and self._transports:
            # asyncio's own transports, which watch by _add_reader().
            transport = self._transports.get(number)
            if transport is not None and not transport.is_closing():
                raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")
        return number

    def _check_not_a_transport(self, int fd):
        self._free_fd_of(fd)

    def add_reader(self, fd, callback, *args):
        """Call callback(*args) whenever fd (an int or an object with fileno()) is readable."""
        self._check_closed()
        set_reader(self, self._free_fd_of(fd), fd, self._new_handle(callback, args, None))

    def remove_reader(self, fd):
        """Stop watching fd for reading: True if it was watched."""
        if self.closed:
            return False
        return bool(set_reader(self, self._not_of_a_transport(fd, self._watched_fd_of(fd)), None, None))

    def add_writer(self, fd, callback, *args):
        """Call callback(*args) whenever fd (an int or an object with fileno()) is writable."""
        self._check_closed()
        set_writer(self, self._free_fd_of(fd), fd, self._new_handle(callback, args, None))

    def remove_writer(self, fd):
        """Stop watching fd for writing: True if it was watched."""
        if self.closed:
            return False
        return bool(set_writer(self, self._not_of_a_transport(fd, self._watched_fd_of(fd)), None, None))

    cdef int _watched_fd_of(self, fd) except -1:
        """As _fd_of(), but also of an object that was closed while it was watched."""
        cdef int number
        try:
            return self._fd_of(fd)
        except ValueError:
            number = number_of_closed(self, fd)
            if number < 0:
                raise
            return number

    # The same for asyncio's own transports (datagrams, pipes), which may watch what they own.

    def _add_reader(self, fd, callback, *args, context=None):
        cdef Handle handle
        self._check_closed()
        handle = self._new_handle(callback, args, context)
        set_reader(self, self._fd_of(fd), fd, handle)
        return handle

    def _remove_reader(self, fd):
        return not self.closed and bool(set_reader(self, self._watched_fd_of(fd), None, None))

    def _add_writer(self, fd, callback, *args, context=None):
        cdef Handle handle
        self._check_closed()
        handle = self._new_handle(callback, args, context)
        set_writer(self, self._fd_of(fd), fd, handle)
        return handle

    def _remove_writer(self, fd):
        return not self.closed and bool(set_writer(self, self._watched_fd_of(fd), None, None))

    # -- transports and listeners --

    def _stream_transport(self, sock, protocol, waiter, extra, server, context):
        return stream_of_socket(self, sock, protocol, PyContext_CopyCurrent() if context is None else context,
                                waiter, extra, server)

    def _listen(self, factory, sock, server, int backlog, context):
        return new_acceptor(self, self.spare, sock, factory,
                            PyContext_CopyCurrent() if context is None else context, server, backlog)

    def _stop_serving(self, sock):
        watcher = self.poller.find(sock.fileno())
        if type(watcher) is Acceptor and (<Acceptor>watcher).sock is sock:
            (<Acceptor>watcher).stop()
        sock.close()

    def metrics(self):
        """Counters since the loop was made, and present sizes; a dict of name to int.

        turns, polls (calls of epoll), blocking_polls (those that could wait), events (dispatched), callbacks
        (run from the ready ring), wakeups (eventfd writes by other threads), accepted, accept_refused (closed at once for want of
        descriptors), accept_errors; connections (stream transports), ring_bytes (memory of output rings), timers.
        """
        c = self.counters
        return {
            "turns": c.turns, "polls": c.polls, "blocking_polls": c.blocking_polls, "events": c.events,
            "callbacks": c.callbacks, "wakeups": c.wakeups, "accepted": c.accepted,
            "accept_refused": c.accept_refused, "accept_errors": c.accept_errors,
            "connections": c.connections, "ring_bytes": c.ring_bytes,
            "timers": self.timers.heap.count - self.timers.cancelled,
        }
