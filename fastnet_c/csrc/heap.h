/* A binary heap of deadlines, least (when, seq) first: equal deadlines come in the order of their making.
 * Holds no references: `slot` says where the owner keeps the timer. */
#ifndef FN_HEAP_H
#define FN_HEAP_H
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    double when; /* seconds on the loop's clock */
    uint64_t seq;
    uint32_t slot;
} fn_timer;

typedef struct {
    fn_timer *items;
    size_t count, cap;
} fn_heap;

static inline int fn_timer_before(const fn_timer *a, const fn_timer *b) {
    return a->when < b->when || (a->when == b->when && a->seq < b->seq);
}

static inline void fn_heap_up(fn_heap *h, size_t i) {
    fn_timer item = h->items[i];
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!fn_timer_before(&item, &h->items[parent])) break;
        h->items[i] = h->items[parent];
        i = parent;
    }
    h->items[i] = item;
}

static inline void fn_heap_down(fn_heap *h, size_t i) {
    fn_timer item = h->items[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && fn_timer_before(&h->items[child + 1], &h->items[child])) child++;
        if (!fn_timer_before(&h->items[child], &item)) break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = item;
}

static inline int fn_heap_push(fn_heap *h, double when, uint64_t seq, uint32_t slot) {
    if (h->count == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 64;
        fn_timer *items = (fn_timer *)realloc(h->items, cap * sizeof(fn_timer));
        if (items == NULL) return -1;
        h->items = items;
        h->cap = cap;
    }
    h->items[h->count].when = when;
    h->items[h->count].seq = seq;
    h->items[h->count].slot = slot;
    fn_heap_up(h, h->count++);
    return 0;
}

/* Takes the least out; the heap must not be empty. */
static inline fn_timer fn_heap_pop(fn_heap *h) {
    fn_timer least = h->items[0];
    h->items[0] = h->items[--h->count];
    if (h->count) fn_heap_down(h, 0);
    return least;
}

/* Puts the order right after entries were dropped from items[]. */
static inline void fn_heap_rebuild(fn_heap *h) {
    size_t i = h->count / 2;
    while (i-- > 0) fn_heap_down(h, i);
}

static inline void fn_heap_free(fn_heap *h) {
    free(h->items);
    h->items = NULL;
    h->count = h->cap = 0;
}
#endif
