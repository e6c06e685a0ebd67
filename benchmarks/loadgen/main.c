/* loadgen: see the help in options.c. Order of the files, low to high: failure, histogram, pattern, usage, options,
 * connection, run, main. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "options.h"
#include "run.h"

static void use_core(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fprintf(stderr, "loadgen: core %d: %s; running on any\n", cpu, strerror(errno));
}

static void allow_descriptors(uint32_t connections) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < connections + 64u) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void print_failure(const struct failure *f) {
    printf("{\"failure\": \"%s\", \"text\": \"", f->kind);
    for (const char *c = f->text; *c != '\0'; c++)
        if (*c >= ' ' && *c != '"' && *c != '\\')
            putchar(*c);
    printf("\"}\n");
}

static double quantile_us(const struct histogram *h, double fraction) {
    return (double)histogram_quantile_ns(h, fraction) / 1e3;
}

static void print_result(const struct options *o, const struct result *r) {
    const struct histogram *h = &r->latency;
    double mean_us = h->count > 0 ? (double)h->sum_ns / (double)h->count / 1e3 : 0;
    printf("{\"messages\": %llu, \"seconds\": %.6f, ", (unsigned long long)r->messages, r->seconds);
    printf("\"connections\": %u, \"size_bytes\": %zu, \"depth\": %u, ", o->connections, o->size_bytes, o->depth);
    printf("\"messages_all\": %llu, \"messages_verified\": %llu, ", (unsigned long long)r->messages_all,
           (unsigned long long)r->messages_verified);
    printf("\"latency_us\": {\"mean\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"p99_9\": %.3f, \"max\": %.3f}, ", mean_us,
           quantile_us(h, 0.5), quantile_us(h, 0.99), quantile_us(h, 0.999), (double)h->max_ns / 1e3);
    printf("\"generator\": {\"user_us\": %.0f, \"system_us\": %.0f}, ", r->self.user_us, r->self.system_us);
    printf("\"server\": {\"user_us\": %.0f, \"system_us\": %.0f}}\n", r->server.user_us, r->server.system_us);
}

int main(int argc, char **argv) {
    struct options o;
    static struct result result; /* 30 KiB */
    options_parse(&o, argc, argv);
    if (o.cpu >= 0)
        use_core(o.cpu);
    allow_descriptors(o.connections);
    if (run_load(&o, &result) != 0) {
        print_failure(&result.failure);
        return 1;
    }
    print_result(&o, &result);
    return 0;
}
