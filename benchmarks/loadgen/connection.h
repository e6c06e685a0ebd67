/* One client connection: sends its messages in order, checks the replies in order. It decides nothing: run.c permits
 * messages (connection_permit) and is told of completed ones.
 *
 * Registered edge-triggered for both directions, so each call below works until EAGAIN, or until a short read, which
 * on TCP proves the socket empty. */
#ifndef LOADGEN_CONNECTION_H
#define LOADGEN_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "histogram.h"
#include "options.h"
#include "pattern.h"

/* What all connections of a run share. */
struct load {
    const struct options *options;
    struct pattern pattern;
    struct histogram *latency; /* NULL outside the measured window */
    uint64_t messages_verified;
    struct failure failure;
    unsigned char *scratch; /* replies are read here */
    size_t scratch_bytes;
    uint64_t now_ns; /* when the current event was taken up */
};

struct connection {
    int fd;
    uint32_t id;
    uint64_t permitted; /* messages that may be sent: [sent, permitted) wait to go out */
    uint64_t sent;      /* messages handed to the kernel whole */
    uint64_t received;  /* messages answered whole */
    size_t sent_bytes;     /* of message `sent` */
    size_t received_bytes; /* of message `received` */
    uint64_t *permitted_ns; /* [options->depth], by message number modulo depth */
};

/* Connects (blocking, so that all are accepted in order); the socket is non-blocking afterwards. 0 or -1. */
int connection_open(struct connection *c, uint32_t id, struct load *load);
void connection_close(struct connection *c);

/* Permits `count` more messages, and sends what the socket takes. 0 or -1. */
int connection_permit(struct connection *c, struct load *load, uint32_t count);

/* Sends what waits. 0 or -1. */
int connection_write(struct connection *c, struct load *load);

/* Reads and checks; returns how many messages were completed, or -1. `to_the_end`: a hang-up or an error was reported,
 * so read on after a short read, to see what it is. */
int connection_read(struct connection *c, struct load *load, bool to_the_end);

#endif
