/* The first thing that went wrong. Functions that can fail return -1 and have filled it. */
#ifndef LOADGEN_FAILURE_H
#define LOADGEN_FAILURE_H

struct failure {
    const char *kind; /* "wrong_bytes", "extra_bytes", "closed", "socket", "stalled", "setup"; NULL: nothing failed */
    char text[256];
};

__attribute__((format(printf, 3, 4))) int failure_set(struct failure *f, const char *kind, const char *format, ...);

#endif
