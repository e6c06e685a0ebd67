/* The output of a connection: segments in the order of the writes.
 *
 * A segment is either a slice of an immutable bytes object, held by reference, or the next `len` bytes of the
 * ring. Exact bytes objects take part in no reference cycle, so the collector need not see these references. */
#ifndef FN_OUTQ_H
#define FN_OUTQ_H
#include <Python.h>
#include "ring.h"

typedef struct {
    PyObject *owner; /* the bytes object; NULL: the bytes are in the ring */
    const char *ptr; /* with an owner only */
    size_t len;
} fn_seg;

typedef struct {
    fn_ring ring;
    fn_seg *segs; /* `few` until more are needed */
    uint32_t head, count, cap;
    size_t bytes; /* sum of the segments */
    fn_seg few[4];
} fn_outq;

static inline fn_outq *fn_outq_new(void) {
    fn_outq *q = (fn_outq *)malloc(sizeof(fn_outq));
    if (q == NULL) return NULL;
    memset(&q->ring, 0, sizeof q->ring);
    q->segs = q->few;
    q->head = q->count = 0;
    q->cap = 4;
    q->bytes = 0;
    return q;
}

static inline void fn_outq_free(fn_outq *q) {
    uint32_t i;
    for (i = 0; i < q->count; i++) Py_XDECREF(q->segs[q->head + i].owner);
    if (q->segs != q->few) free(q->segs);
    fn_ring_free(&q->ring);
    free(q);
}

/* A free segment at the end, or NULL without memory. */
static inline fn_seg *fn_outq_slot(fn_outq *q) {
    if (q->head + q->count == q->cap) {
        if (q->head >= q->cap / 2) {
            memmove(q->segs, q->segs + q->head, q->count * sizeof(fn_seg));
        } else {
            fn_seg *more = (fn_seg *)malloc(2 * (size_t)q->cap * sizeof(fn_seg));
            if (more == NULL) return NULL;
            memcpy(more, q->segs + q->head, q->count * sizeof(fn_seg));
            if (q->segs != q->few) free(q->segs);
            q->segs = more;
            q->cap *= 2;
        }
        q->head = 0;
    }
    return &q->segs[q->head + q->count];
}

static inline int fn_outq_ref(fn_outq *q, PyObject *owner, const char *ptr, size_t len) {
    fn_seg *seg = fn_outq_slot(q);
    if (seg == NULL) return -1;
    Py_INCREF(owner);
    seg->owner = owner;
    seg->ptr = ptr;
    seg->len = len;
    q->count++;
    q->bytes += len;
    return 0;
}

static inline int fn_outq_copy(fn_outq *q, const char *ptr, size_t len) {
    fn_seg *seg;
    if (q->count && q->segs[q->head + q->count - 1].owner == NULL) {
        if (fn_ring_put(&q->ring, ptr, len) < 0) return -1;
        q->segs[q->head + q->count - 1].len += len;
    } else {
        seg = fn_outq_slot(q);
        if (seg == NULL || fn_ring_put(&q->ring, ptr, len) < 0) return -1;
        seg->owner = NULL;
        seg->ptr = NULL;
        seg->len = len;
        q->count++;
    }
    q->bytes += len;
    return 0;
}

/* The front of the queue as iovecs: how many (at most max, which is 2 or more). */
static inline int fn_outq_iov(const fn_outq *q, struct iovec *iov, int max) {
    int n = 0;
    size_t in_ring = 0;
    uint32_t i;
    for (i = 0; i < q->count && n + 2 <= max; i++) {
        const fn_seg *seg = &q->segs[q->head + i];
        if (seg->owner == NULL) {
            n += fn_ring_peek(&q->ring, in_ring, seg->len, iov + n);
            in_ring += seg->len;
        } else {
            iov[n].iov_base = (void *)seg->ptr;
            iov[n].iov_len = seg->len;
            n++;
        }
    }
    return n;
}

static inline void fn_outq_consume(fn_outq *q, size_t n) {
    q->bytes -= n;
    while (n) {
        fn_seg *seg = &q->segs[q->head];
        size_t part = n < seg->len ? n : seg->len;
        if (seg->owner == NULL) fn_ring_consume(&q->ring, part);
        else seg->ptr += part;
        seg->len -= part;
        n -= part;
        if (seg->len == 0) {
            Py_XDECREF(seg->owner);
            q->head++;
            q->count--;
        }
    }
}

/* The socket is full and the wait may be long: copies what is small into the ring, so that not many small
 * objects are held. Only where the ring is empty, else the order would be lost. */
static inline void fn_outq_settle(fn_outq *q, size_t small_bytes) {
    uint32_t i, out = 0;
    fn_seg *segs = q->segs + q->head;
    if (q->ring.len) return;
    for (i = 0; i < q->count; i++) {
        fn_seg seg = segs[i];
        if (seg.len < small_bytes && fn_ring_put(&q->ring, seg.ptr, seg.len) == 0) {
            Py_DECREF(seg.owner);
            if (out && segs[out - 1].owner == NULL) { segs[out - 1].len += seg.len; continue; }
            seg.owner = NULL;
            seg.ptr = NULL;
        }
        segs[out++] = seg;
    }
    q->count = out;
}
#endif
