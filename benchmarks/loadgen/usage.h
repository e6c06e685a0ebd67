/* CPU time of this process and of the server that it loads, read from outside the server, so that any server can be
 * measured over exactly the window in which its requests are counted. */
#ifndef LOADGEN_USAGE_H
#define LOADGEN_USAGE_H

#include <stdint.h>
#include <sys/types.h>

struct cpu_clock {
    double total_us;
    unsigned long user_ticks, system_ticks;
};

struct cpu_usage {
    double user_us;
    double system_us;
};

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

/* What a process has used up to now; zeros if pid is 0 or gone. */
struct cpu_clock cpu_clock_of(pid_t pid);

/* The sum is exact to a microsecond. How it splits into user and system is known only to a clock tick (10 ms): over a
 * window of a second that is 1 %. */
struct cpu_usage usage_between(struct cpu_clock from, struct cpu_clock to);

#endif
