/* What the messages contain. Message k of connection c is a window of one shared random block, at an offset that
 * depends on c and k: a stale, a swapped or a shifted reply does not match, nothing is generated or copied while the
 * load runs, and the block stays in the cache. In line mode the block has no newline and each message ends in one. */
#ifndef LOADGEN_PATTERN_H
#define LOADGEN_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct pattern {
    unsigned char *block;
    size_t message_bytes;
    size_t body_bytes; /* message_bytes, less the newline in line mode */
};

/* 0, or -1 without memory. */
int pattern_init(struct pattern *p, size_t message_bytes, bool lines);

/* Describes bytes [from, message_bytes) of a message in up to 2 iovecs; returns how many. */
int pattern_iovecs(const struct pattern *p, uint32_t connection, uint64_t message, size_t from, struct iovec out[2]);

/* The index in data of the first byte that is not the message's byte at from + index; length if all are right. */
size_t pattern_mismatch(const struct pattern *p, uint32_t connection, uint64_t message, size_t from,
                        const unsigned char *data, size_t length);

/* The byte of a message at an index, for error messages. */
unsigned char pattern_byte(const struct pattern *p, uint32_t connection, uint64_t message, size_t index);

#endif
