#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "usage.h"

#define BATCH 32 /* messages a sendmsg */

int connection_open(struct connection *c, uint32_t id, struct load *load) {
    const struct options *o = load->options;
    memset(c, 0, sizeof *c);
    c->id = id;
    c->fd = -1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(o->port)};
    if (inet_pton(AF_INET, o->host, &address.sin_addr) != 1)
        return failure_set(&load->failure, "setup", "not an IPv4 address: %s", o->host);
    c->permitted_ns = calloc(o->depth, sizeof *c->permitted_ns);
    if (c->permitted_ns == NULL)
        return failure_set(&load->failure, "setup", "out of memory");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return failure_set(&load->failure, "setup", "connection %u: socket: %s", id, strerror(errno));
    int on = 1;
    struct timeval patience = {.tv_sec = (time_t)o->stall_seconds + 1};
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* bounds connect() as well */
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        return failure_set(&load->failure, "setup", "connection %u: connect: %s", id, strerror(errno));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    return 0;
}

void connection_close(struct connection *c) {
    if (c->fd >= 0)
        close(c->fd);
    free(c->permitted_ns);
    c->fd = -1;
    c->permitted_ns = NULL;
}

int connection_permit(struct connection *c, struct load *load, uint32_t count) {
    uint64_t now = now_ns();
    for (; count > 0; count--)
        c->permitted_ns[c->permitted++ % load->options->depth] = now;
    return connection_write(c, load);
}

static int iovecs_of_waiting(const struct connection *c, const struct load *load, struct iovec *out) {
    int used = 0;
    size_t from = c->sent_bytes;
    for (uint64_t message = c->sent; message < c->permitted && message < c->sent + BATCH; message++) {
        used += pattern_iovecs(&load->pattern, c->id, message, from, out + used);
        from = 0;
    }
    return used;
}

int connection_write(struct connection *c, struct load *load) {
    struct iovec parts[2 * BATCH];
    while (c->sent < c->permitted) {
        struct msghdr header = {.msg_iov = parts, .msg_iovlen = (size_t)iovecs_of_waiting(c, load, parts)};
        ssize_t n = sendmsg(c->fd, &header, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN)
                return 0;
            if (errno == EINTR)
                continue;
            return failure_set(&load->failure, "socket", "connection %u: send: %s", c->id, strerror(errno));
        }
        c->sent_bytes += (size_t)n;
        c->sent += c->sent_bytes / load->pattern.message_bytes;
        c->sent_bytes %= load->pattern.message_bytes;
    }
    return 0;
}

static bool is_verified(const struct connection *c, const struct load *load) {
    return (c->id + c->received) % load->options->verify_every == 0;
}

/* Takes `length` bytes of reply, which are at data unless that is NULL; returns the number of messages completed. */
static int take(struct connection *c, struct load *load, const unsigned char *data, size_t length) {
    int completed = 0;
    while (length > 0) {
        if (c->received == c->permitted)
            return failure_set(&load->failure, "extra_bytes", "connection %u: %zu bytes more than were sent", c->id,
                               length);
        size_t part = load->pattern.message_bytes - c->received_bytes;
        if (part > length)
            part = length;
        if (data != NULL && is_verified(c, load)) {
            size_t right = pattern_mismatch(&load->pattern, c->id, c->received, c->received_bytes, data, part);
            if (right < part) {
                size_t at = c->received_bytes + right;
                return failure_set(&load->failure, "wrong_bytes",
                                   "connection %u, message %llu, byte %zu: sent 0x%02x, got 0x%02x", c->id,
                                   (unsigned long long)c->received, at,
                                   pattern_byte(&load->pattern, c->id, c->received, at), data[right]);
            }
        }
        if (data != NULL)
            data += part;
        length -= part;
        c->received_bytes += part;
        if (c->received_bytes == load->pattern.message_bytes) {
            load->messages_verified += is_verified(c, load);
            if (load->latency != NULL)
                histogram_add(load->latency, load->now_ns - c->permitted_ns[c->received % load->options->depth]);
            c->received++;
            c->received_bytes = 0;
            completed++;
        }
    }
    return completed;
}

int connection_read(struct connection *c, struct load *load, bool to_the_end) {
    int completed = 0;
    for (;;) {
        size_t room = load->scratch_bytes;
        int flags = 0;
        if (load->options->verify_every > 1 && c->received < c->permitted) {
            /* One message at a time, as each is either compared or dropped unread: MSG_TRUNC makes TCP throw the
             * bytes away without copying them, which keeps the generator cheaper than the server on large messages. */
            if (!is_verified(c, load))
                flags = MSG_TRUNC;
            size_t rest = load->pattern.message_bytes - c->received_bytes;
            if (flags != 0 || rest < room)
                room = rest;
        }
        ssize_t n = recv(c->fd, load->scratch, room, flags);
        if (n < 0) {
            if (errno == EAGAIN)
                return completed;
            if (errno == EINTR)
                continue;
            return failure_set(&load->failure, "socket", "connection %u: recv: %s", c->id, strerror(errno));
        }
        if (n == 0)
            return failure_set(&load->failure, "closed", "connection %u: closed by the server after %llu replies",
                               c->id, (unsigned long long)c->received);
        int more = take(c, load, flags == 0 ? load->scratch : NULL, (size_t)n);
        if (more < 0)
            return -1;
        completed += more;
        if (!to_the_end && ((size_t)n < room || c->received == c->permitted))
            return completed;
    }
}
