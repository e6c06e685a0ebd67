/* A byte ring: what a socket did not take, in order. Owns its memory; capacity is a power of two.
 *
 * reserve makes room, put appends, peek shows the content as one or two iovecs, consume drops from the front
 * and frees the memory when nothing is left, so that an idle connection holds none. */
#ifndef FN_RING_H
#define FN_RING_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

typedef struct {
    char *buf;
    size_t cap;  /* bytes allocated: 0 or a power of two */
    size_t head; /* index of the first byte, < cap */
    size_t len;  /* bytes held */
} fn_ring;

#define FN_RING_MIN 4096

static inline void fn_ring_free(fn_ring *r) {
    free(r->buf);
    r->buf = NULL;
    r->cap = r->head = r->len = 0;
}

/* Room for n more bytes: 0, or -1 without memory (the content stays as it was). */
static inline int fn_ring_reserve(fn_ring *r, size_t n) {
    size_t cap = r->cap ? r->cap : FN_RING_MIN, first;
    char *buf;
    if (r->cap - r->len >= n) return 0;
    if (n > SIZE_MAX / 4 - r->len) return -1;
    while (cap - r->len < n) cap *= 2;
    buf = (char *)malloc(cap);
    if (buf == NULL) return -1;
    if (r->len) {
        first = r->cap - r->head < r->len ? r->cap - r->head : r->len;
        memcpy(buf, r->buf + r->head, first);
        memcpy(buf + first, r->buf, r->len - first);
    }
    free(r->buf);
    r->buf = buf;
    r->cap = cap;
    r->head = 0;
    return 0;
}

static inline int fn_ring_put(fn_ring *r, const char *data, size_t n) {
    size_t tail, first;
    if (n == 0) return 0;
    if (fn_ring_reserve(r, n) < 0) return -1;
    tail = (r->head + r->len) & (r->cap - 1);
    first = r->cap - tail < n ? r->cap - tail : n;
    memcpy(r->buf + tail, data, first);
    memcpy(r->buf, data + first, n - first);
    r->len += n;
    return 0;
}

/* The first n held bytes (n <= len), from `skip` on, as up to two iovecs: how many were filled. */
static inline int fn_ring_peek(const fn_ring *r, size_t skip, size_t n, struct iovec *iov) {
    size_t at, first;
    if (n == 0) return 0;
    at = (r->head + skip) & (r->cap - 1);
    first = r->cap - at < n ? r->cap - at : n;
    iov[0].iov_base = r->buf + at;
    iov[0].iov_len = first;
    if (first == n) return 1;
    iov[1].iov_base = r->buf;
    iov[1].iov_len = n - first;
    return 2;
}

static inline void fn_ring_consume(fn_ring *r, size_t n) {
    r->len -= n;
    if (r->len == 0) fn_ring_free(r);
    else r->head = (r->head + n) & (r->cap - 1);
}
#endif
