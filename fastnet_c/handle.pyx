"""Handles: a callback with its arguments and its context, run by the reactor.

They behave as asyncio.Handle does, are instances of it to isinstance(), and cost one small object. The reactor
keeps used ones and fills them again where nobody else holds them.
"""
import inspect
from asyncio import events, format_helpers


cdef bint debug_is_asked = "debug" in inspect.signature(format_helpers._format_callback_source).parameters


cdef class Runnable:
    cdef int run(self) except -1:
        raise NotImplementedError


cdef int raise_pending() except -1:
    return -1  # the error indicator is set already


cdef class Handle(Runnable):
    """A callback that was scheduled; see asyncio.Handle. Made by the loop's call_soon() and kin."""

    @property
    def __class__(self):
        return events.Handle

    def cancel(self):
        """Keep the callback from being called; harmless when it has run or was cancelled before."""
        if not self._cancelled:
            self._cancelled = True
            if self._loop is not None and self._loop.get_debug():
                self._repr = repr(self)
            self._callback = None
            self._args = None

    def cancelled(self):
        """True if cancel() was called."""
        return self._cancelled

    def get_context(self):
        """The contextvars.Context in which the callback runs."""
        return self._context

    def _run(self):
        self.run()

    def _repr_info(self):
        return events.Handle._repr_info(self)

    def __repr__(self):
        return events.Handle.__repr__(self)

    cdef int run(self) except -1:
        cdef:
            PyObject *result
            object callback = self._callback, context = self._context
            tuple args = self._args
        if self._cancelled:
            return 0
        if not PyContext_CheckExact(context):
            return self._run_in_foreign_context(callback, args)
        if PyContext_Enter(context) < 0:
            return self._report_error()
        result = fn_call_tuple(callback, args)
        if PyContext_Exit(context) < 0 or result is NULL:
            Py_XDECREF(result)
            return self._report_error()
        Py_XDECREF(result)
        return 0

    cdef int _run_in_foreign_context(self, object callback, tuple args) except -1:
        # Not a contextvars.Context: whatever has a run() will do, as in asyncio; else the error is reported.
        try:
            self._context.run(callback, *args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc)
        return 0

    cdef int _report_error(self) except -1:
        try:
            raise_pending()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc)
        return 0

    cdef _report(self, exc):
        # Since 3.13.1 and 3.12.8 arguments are told in debug mode only.
        if debug_is_asked:
            callback = format_helpers._format_callback_source(self._callback, self._args, debug=self._loop.get_debug())
        else:
            callback = format_helpers._format_callback_source(self._callback, self._args)
        details = {"message": f"Exception in callback {callback}", "exception": exc, "handle": self}
        if self._source_traceback:
            details["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(details)
