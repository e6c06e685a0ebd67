/* Scripted faults of the system calls, compiled in with -DFASTNET_FAULTS only.
 *
 * One rule a call: the first `skip` calls pass, then `count` calls (-1: all that follow) either fail with
 * `err` or, where `err` is 0, have their length capped at `cap` bytes. Set by fastnet_c.testing.faults_set().
 * All extension modules share one table: its address is in an environment variable of the process, see fn_faults(). */
#ifndef FN_FAULTS_H
#define FN_FAULTS_H

enum { FN_RECV, FN_SEND, FN_SENDMSG, FN_ACCEPT4, FN_OPEN_SPARE, FN_EPOLL_WAIT, FN_FAULT_COUNT };

typedef struct {
    int err;
    long cap, skip, count;
    unsigned char active;
} fn_fault;

#ifdef FASTNET_FAULTS
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>

/* Each extension module is a shared object of its own, with statics of its own; the table must be the same
 * one for all. The first that asks makes it and leaves its address where the others find it. */
static fn_fault *fn_faults(void) {
    static fn_fault *table = NULL;
    if (table == NULL) {
        char name[64], value[32];
        snprintf(name, sizeof name, "_FASTNET_FAULTS_%ld", (long)getpid());
        const char *known = getenv(name);
        if (known != NULL) {
            table = (fn_fault *)strtoull(known, NULL, 16);
        } else {
            table = (fn_fault *)calloc(FN_FAULT_COUNT, sizeof(fn_fault));
            snprintf(value, sizeof value, "%llx", (unsigned long long)(uintptr_t)table);
            setenv(name, value, 1);
        }
    }
    return table;
}

/* 0: go on (with *len perhaps capped); negative: the -errno to answer with. */
static inline long fn_fault_check(int call, size_t *len) {
    fn_fault *f = &fn_faults()[call];
    if (!f->active) return 0;
    if (f->skip > 0) { f->skip--; return 0; }
    if (f->count == 0) return 0;
    if (f->count > 0) f->count--;
    if (f->err) return -f->err;
    if (len != NULL && f->cap > 0 && *len > (size_t)f->cap) *len = (size_t)f->cap;
    return 0;
}
static inline int fn_fault_active(int call) { return fn_faults()[call].active; }
#define FN_FAULT(call, lenp) do { long fn_r_ = fn_fault_check(call, lenp); if (fn_r_ < 0) return fn_r_; } while (0)
#else
#define FN_FAULT(call, lenp) do { } while (0)
#define fn_fault_active(call) 0
#endif
#endif
