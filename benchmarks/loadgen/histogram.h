/* Latency histogram: logarithmic buckets, each power of two cut into HISTOGRAM_STEPS equal steps (as HdrHistogram
 * does), so that a value is known to 1/64 of itself, from a nanosecond to hours, in 30 KiB and without allocation. An
 * empty one is all zeros. */
#ifndef LOADGEN_HISTOGRAM_H
#define LOADGEN_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 6
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value_ns);

/* The smallest value that `fraction` (0 to 1) of all values do not exceed, to the histogram's precision; 0 if empty. */
uint64_t histogram_quantile_ns(const struct histogram *h, double fraction);

#endif
