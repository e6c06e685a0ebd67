#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#define OFFSETS 4096u /* windows start at one of so many offsets */

static const unsigned char newline = '\n';

int pattern_init(struct pattern *p, size_t message_bytes, bool lines) {
    p->message_bytes = message_bytes;
    p->body_bytes = lines ? message_bytes - 1 : message_bytes;
    size_t block_bytes = message_bytes + OFFSETS;
    p->block = malloc(block_bytes);
    if (p->block == NULL)
        return -1;
    uint64_t state = 0x9e3779b97f4a7c15u; /* xorshift64: the same bytes in every run */
    for (size_t i = 0; i < block_bytes; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        unsigned char byte = (unsigned char)(state >> 32);
        p->block[i] = lines && byte == newline ? 'n' : byte;
    }
    return 0;
}

static const unsigned char *body_of(const struct pattern *p, uint32_t connection, uint64_t message) {
    /* Odd multipliers spread neighbours over the offsets; any two messages in flight at once differ. */
    return p->block + (connection * 1021u + (uint32_t)message * 337u) % OFFSETS;
}

int pattern_iovecs(const struct pattern *p, uint32_t connection, uint64_t message, size_t from, struct iovec out[2]) {
    int used = 0;
    if (from < p->body_bytes) {
        out[used].iov_base = (void *)(body_of(p, connection, message) + from);
        out[used++].iov_len = p->body_bytes - from;
    }
    if (p->body_bytes < p->message_bytes) {
        out[used].iov_base = (void *)&newline;
        out[used++].iov_len = 1;
    }
    return used;
}

unsigned char pattern_byte(const struct pattern *p, uint32_t connection, uint64_t message, size_t index) {
    return index < p->body_bytes ? body_of(p, connection, message)[index] : newline;
}

size_t pattern_mismatch(const struct pattern *p, uint32_t connection, uint64_t message, size_t from,
                        const unsigned char *data, size_t length) {
    size_t body = from < p->body_bytes ? p->body_bytes - from : 0;
    if (body > length)
        body = length;
    bool body_right = body == 0 || memcmp(data, body_of(p, connection, message) + from, body) == 0;
    if (body_right && (body == length || data[body] == newline))
        return length;
    size_t index = 0;
    while (data[index] == pattern_byte(p, connection, message, from + index))
        index++;
    return index;
}
