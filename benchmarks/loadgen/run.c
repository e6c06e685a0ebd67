#include "run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 512
#define SCRATCH_BYTES (256 * 1024)

enum phase { WARMUP, MEASURE, TAIL }; /* TAIL: nothing new is sent, replies on the way are awaited and checked */

struct run {
    struct load load;
    struct result *result;
    struct connection *connections;
    int epoll_fd;
    enum phase phase;
    uint64_t phase_end_ns;    /* of WARMUP and MEASURE; UINT64_MAX where a number of messages ends it */
    uint64_t window_start_ns;
    uint64_t last_reply_ns;
    uint64_t to_permit;       /* messages still to be sent */
    uint64_t outstanding;     /* permitted, not answered */
    struct cpu_clock self_start, server_start;
};

static uint64_t ns_of(double seconds) { return (uint64_t)(seconds * 1e9); }

static int permit(struct run *r, struct connection *c, uint32_t count) {
    if (r->phase == TAIL)
        return 0;
    if (count > r->to_permit)
        count = (uint32_t)r->to_permit;
    r->to_permit -= count;
    r->outstanding += count;
    return count > 0 ? connection_permit(c, &r->load, count) : 0;
}

static int after_replies(struct run *r, struct connection *c, uint32_t completed) {
    r->last_reply_ns = r->load.now_ns;
    r->outstanding -= completed;
    r->result->messages_all += completed;
    if (r->phase == MEASURE)
        r->result->messages += completed;
    if (!r->load.options->lockstep)
        return permit(r, c, completed);
    if (c->received < c->permitted)
        return 0;
    return permit(r, &r->connections[(c->id + 1) % r->load.options->connections], r->load.options->depth);
}

static int on_event(struct run *r, struct connection *c, uint32_t events) {
    if (events & EPOLLOUT && connection_write(c, &r->load) != 0)
        return -1;
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        return 0;
    r->load.now_ns = now_ns();
    int completed = connection_read(c, &r->load, (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
    if (completed < 0)
        return -1;
    return completed > 0 ? after_replies(r, c, (uint32_t)completed) : 0;
}

static void start_window(struct run *r, uint64_t now) {
    const struct options *o = r->load.options;
    r->load.latency = &r->result->latency;
    r->phase = MEASURE;
    r->phase_end_ns = o->messages > 0 ? UINT64_MAX : now + ns_of(o->seconds);
    r->self_start = cpu_clock_of(getpid());
    r->server_start = cpu_clock_of(o->server_pid);
    r->window_start_ns = now_ns();
}

static void end_window(struct run *r) {
    struct result *result = r->result;
    result->seconds = (double)(now_ns() - r->window_start_ns) / 1e9;
    result->self = usage_between(r->self_start, cpu_clock_of(getpid()));
    result->server = usage_between(r->server_start, cpu_clock_of(r->load.options->server_pid));
    r->load.latency = NULL;
    r->phase = TAIL;
    r->phase_end_ns = UINT64_MAX;
}

static int check_time(struct run *r) {
    uint64_t now = now_ns();
    double stall_seconds = r->load.options->stall_seconds;
    if (now - r->last_reply_ns > ns_of(stall_seconds) && r->outstanding > 0)
        return failure_set(&r->load.failure, "stalled", "no reply in %g s, %llu messages unanswered", stall_seconds,
                           (unsigned long long)r->outstanding);
    if (now < r->phase_end_ns)
        return 0;
    if (r->phase == WARMUP)
        start_window(r, now);
    else if (r->phase == MEASURE)
        end_window(r);
    return 0;
}

static int wait_ms(const struct run *r) {
    uint64_t now = now_ns();
    if (r->phase_end_ns == UINT64_MAX)
        return 100; /* to look for a stall */
    uint64_t left_ms = r->phase_end_ns > now ? (r->phase_end_ns - now) / 1000000 + 1 : 0;
    return left_ms < 100 ? (int)left_ms : 100;
}

static int turn_until_done(struct run *r) {
    struct epoll_event events[EVENTS];
    while (r->outstanding > 0) {
        int n = epoll_wait(r->epoll_fd, events, EVENTS, wait_ms(r));
        if (n < 0 && errno != EINTR)
            return failure_set(&r->load.failure, "setup", "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++)
            if (on_event(r, events[i].data.ptr, events[i].events) != 0)
                return -1;
        if (check_time(r) != 0)
            return -1;
    }
    if (r->phase == MEASURE) /* a number of messages ended it */
        end_window(r);
    return 0;
}

static int open_all(struct run *r) {
    const struct options *o = r->load.options;
    for (uint32_t i = 0; i < o->connections; i++) {
        struct connection *c = &r->connections[i];
        if (connection_open(c, i, &r->load) != 0)
            return -1;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
            return failure_set(&r->load.failure, "setup", "epoll_ctl: %s", strerror(errno));
    }
    return 0;
}

static int start(struct run *r) {
    const struct options *o = r->load.options;
    r->to_permit = o->messages > 0 ? o->messages : UINT64_MAX;
    uint64_t now = now_ns();
    r->last_reply_ns = now;
    if (o->messages > 0 || o->warmup_seconds == 0)
        start_window(r, now);
    else
        r->phase_end_ns = now + ns_of(o->warmup_seconds);
    uint32_t starters = o->lockstep ? 1 : o->connections;
    for (uint32_t i = 0; i < starters; i++)
        if (permit(r, &r->connections[i], o->depth) != 0)
            return -1;
    return 0;
}

int run_load(const struct options *o, struct result *result) {
    memset(result, 0, sizeof *result);
    struct run r = {.result = result, .phase = WARMUP};
    struct load *load = &r.load;
    load->options = o;
    load->scratch_bytes = SCRATCH_BYTES;
    load->scratch = malloc(SCRATCH_BYTES);
    r.connections = calloc(o->connections, sizeof *r.connections);
    r.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int status = -1;
    if (load->scratch == NULL || r.connections == NULL || r.epoll_fd < 0 ||
        pattern_init(&load->pattern, o->size_bytes, o->lines) != 0) {
        failure_set(&load->failure, "setup", "no memory or no descriptor");
    } else {
        for (uint32_t i = 0; i < o->connections; i++)
            r.connections[i].fd = -1; /* so that those never opened are not closed below */
        status = open_all(&r) == 0 && start(&r) == 0 ? turn_until_done(&r) : -1;
        for (uint32_t i = 0; i < o->connections; i++)
            connection_close(&r.connections[i]);
    }
    result->messages_verified = load->messages_verified;
    result->failure = load->failure;
    free(load->pattern.block);
    free(load->scratch);
    free(r.connections);
    if (r.epoll_fd >= 0)
        close(r.epoll_fd);
    return status;
}
