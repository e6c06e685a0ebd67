/* Small pieces of the C API that Cython does not spell, and the count of forks. */
#ifndef FN_PYCORE_H
#define FN_PYCORE_H
#include <Python.h>
#include <pthread.h>

/* Cython makes an instance's dict at once; most objects never need theirs (24 bytes against 112). */
static inline void fn_drop_dict(PyObject *o) {
    PyObject **d = _PyObject_GetDictPtr(o);
    if (d != NULL && *d != NULL) {
        PyObject *t = *d;
        *d = NULL;
        Py_DECREF(t);
    }
}

static inline int fn_has_weakrefs(PyObject *o) {
    PyTypeObject *t = Py_TYPE(o);
    return t->tp_weaklistoffset > 0 && *(PyObject **)((char *)o + t->tp_weaklistoffset) != NULL;
}

/* A list as a fixed array of slots that the collector sees: both calls keep the slot's reference count right
 * and run no other code. */
static inline void fn_slot_put(PyObject *list, Py_ssize_t i, PyObject *o) {
    PyObject *old = PyList_GET_ITEM(list, i); /* None */
    Py_INCREF(o);
    PyList_SET_ITEM(list, i, o);
    Py_DECREF(old);
}
static inline PyObject *fn_slot_take(PyObject *list, Py_ssize_t i) {
    PyObject *o = PyList_GET_ITEM(list, i);
    Py_INCREF(Py_None);
    PyList_SET_ITEM(list, i, Py_None);
    return o; /* the reference is the caller's now */
}

static inline PyObject *fn_call_tuple(PyObject *callable, PyObject *args) {
    return PyObject_Vectorcall(callable, &PyTuple_GET_ITEM(args, 0), (size_t)PyTuple_GET_SIZE(args), NULL);
}

static inline PyObject *fn_call_one(PyObject *callable, PyObject *arg) {
    PyObject *stack[2] = {NULL, arg};
    return PyObject_Vectorcall(callable, stack + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

/* For finalizers: where warnings are errors, sys.unraisablehook hears of it once, as from a Python __del__. */
static inline void fn_warn_unclosed(PyObject *o) {
    if (PyErr_ResourceWarning(o, 1, "unclosed transport %R", o) < 0) PyErr_WriteUnraisable(o);
}

/* bytes caches its hash in a field that 3.11 deprecates for others than itself. */
static inline void fn_forget_hash(PyObject *bytes) {
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif
    ((PyBytesObject *)bytes)->ob_shash = -1;
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
}

/* A bytes object of n bytes copied from data. *spare is one that was handed out before, with room for *room bytes:
 * where nobody else holds it any more it is filled again, which saves malloc's slow path for blocks over 1 KiB.
 * A block of memory knows its size, so the object may say that it is shorter than that. */
#define FN_SPARE_MIN 512
#define FN_SPARE_MAX 16384
static inline PyObject *fn_bytes_from(const char *data, Py_ssize_t n, PyObject **spare, Py_ssize_t *room) {
    PyObject *bytes = *spare;
    if (n < FN_SPARE_MIN || n > FN_SPARE_MAX) return PyBytes_FromStringAndSize(data, n);
    if (bytes != NULL && Py_REFCNT(bytes) == 1 && n <= *room && n > *room / 2) {
        Py_SET_SIZE((PyVarObject *)bytes, n);
        fn_forget_hash(bytes);
        memcpy(PyBytes_AS_STRING(bytes), data, (size_t)n);
        PyBytes_AS_STRING(bytes)[n] = 0;
        Py_INCREF(bytes);
        return bytes;
    }
    bytes = PyBytes_FromStringAndSize(data, n);
    if (bytes != NULL) {
        PyObject *old = *spare;
        Py_INCREF(bytes);
        *spare = bytes;
        *room = n;
        Py_XDECREF(old);
    }
    return bytes;
}

/* How often this process is a forked copy since the module was loaded (invariant 15). */
static unsigned int fn_forks = 0;
static void fn_fork_child(void) { fn_forks++; }
static inline void fn_watch_forks(void) { pthread_atfork(NULL, NULL, fn_fork_child); }
#endif
