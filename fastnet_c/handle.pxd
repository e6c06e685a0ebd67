# What the ready ring holds. Lowest module of the core.
from cpython.object cimport PyObject


cdef extern from "csrc/pycore.h":
    void fn_drop_dict(object o)
    bint fn_has_weakrefs(object o) noexcept
    PyObject *fn_call_tuple(object callable, tuple args)
    PyObject *fn_call_one(object callable, object arg)

cdef extern from "Python.h":
    bint PyContext_CheckExact(object o)
    int PyContext_Enter(object context)
    int PyContext_Exit(object context)
    object PyContext_CopyCurrent()
    object PyContext_Copy(object context)
    void Py_XDECREF(PyObject *o)


cdef class Runnable:
    """Something the reactor runs once for each time that it was put on the ready ring."""
    cdef int run(self) except -1


cdef class Handle(Runnable):
    cdef:
        readonly object _callback           # None once cancelled
        readonly tuple _args                # None once cancelled
        readonly object _context            # contextvars.Context the callback runs in
        readonly object _loop               # whose exception handler hears of errors
        readonly object _source_traceback   # debug mode: where it was made
        readonly object _repr               # debug mode: what it was before cancel()
        object __weakref__
        readonly bint _cancelled

    cdef int _report_error(self) except -1

    cdef int _run_in_foreign_context(self, object callback, tuple args) except -1
    cdef _report(self, exc)


# Raises the exception that a C call left behind.
cdef int raise_pending() except -1


cdef inline int enter_context(object context) except -1:
    return PyContext_Enter(context)
