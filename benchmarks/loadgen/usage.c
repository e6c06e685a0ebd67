#include "usage.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Clock ticks of user and system time; the command's name, in parentheses, may hold spaces. */
static int read_ticks(pid_t pid, unsigned long *user, unsigned long *system) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *after_name = strrchr(text, ')');
    if (after_name == NULL)
        return -1;
    int got = sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", user, system);
    return got == 2 ? 0 : -1;
}

struct cpu_clock cpu_clock_of(pid_t pid) {
    struct cpu_clock clock = {0, 0, 0};
    clockid_t id;
    struct timespec ts;
    if (pid == 0 || clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &ts) != 0)
        return clock;
    if (read_ticks(pid, &clock.user_ticks, &clock.system_ticks) == 0)
        clock.total_us = (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
    return clock;
}

struct cpu_usage usage_between(struct cpu_clock from, struct cpu_clock to) {
    double total_us = to.total_us - from.total_us;
    unsigned long user = to.user_ticks - from.user_ticks;
    unsigned long system = to.system_ticks - from.system_ticks;
    double user_us = user + system > 0 ? total_us * (double)user / (double)(user + system) : 0;
    return (struct cpu_usage){user_us, total_us - user_us};
}
