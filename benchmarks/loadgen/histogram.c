#include "histogram.h"

/* Values below HISTOGRAM_STEPS have a bucket each; above, `shift` low bits are dropped so that the rest lies in
 * [HISTOGRAM_STEPS, 2 * HISTOGRAM_STEPS). */
static unsigned bucket_of(uint64_t value_ns) {
    if (value_ns < HISTOGRAM_STEPS)
        return (unsigned)value_ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value_ns) - HISTOGRAM_STEP_BITS;
    return shift * HISTOGRAM_STEPS + (unsigned)(value_ns >> shift);
}

static uint64_t top_of_bucket_ns(unsigned bucket) {
    if (bucket < 2 * HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t step = bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value_ns) {
    h->count++;
    h->sum_ns += value_ns;
    if (value_ns > h->max_ns)
        h->max_ns = value_ns;
    h->buckets[bucket_of(value_ns)]++;
}

uint64_t histogram_quantile_ns(const struct histogram *h, double fraction) {
    if (h->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)(fraction * (double)h->count + 0.999999);
    if (wanted < 1)
        wanted = 1;
    if (wanted > h->count)
        wanted = h->count;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += h->buckets[bucket];
        if (seen >= wanted) {
            uint64_t top = top_of_bucket_ns(bucket);
            return top < h->max_ns ? top : h->max_ns;
        }
    }
    return h->max_ns;
}
