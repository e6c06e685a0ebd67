/* One run: all connections, from connect to close. */
#ifndef LOADGEN_RUN_H
#define LOADGEN_RUN_H

#include "connection.h"
#include "histogram.h"
#include "options.h"
#include "usage.h"

struct result {
    uint64_t messages; /* completed in the measured window */
    double seconds;    /* length of that window */
    uint64_t messages_all; /* completed in all, warm-up and tail included */
    uint64_t messages_verified; /* of those: compared byte for byte */
    struct histogram latency;
    struct cpu_usage self, server; /* in the window */
    struct failure failure;
};

/* 0, or -1 with result->failure filled. */
int run_load(const struct options *o, struct result *result);

#endif
