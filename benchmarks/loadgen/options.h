/* The command line. */
#ifndef LOADGEN_OPTIONS_H
#define LOADGEN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct options {
    const char *host;
    uint16_t port;
    uint32_t connections;
    size_t size_bytes;
    uint32_t depth;        /* messages in flight on a connection */
    uint64_t messages;     /* stop after so many in all, or 0: after `seconds` */
    double seconds;        /* length of the measured window */
    double warmup_seconds; /* load before the window, not counted */
    double stall_seconds;  /* fail when no reply comes for so long */
    uint32_t verify_every; /* compare the bytes of one message in so many; the others are only counted */
    bool lines;
    bool lockstep;
    int cpu;          /* run on this core only, or -1 */
    pid_t server_pid; /* report this process's CPU time, or 0 */
};

/* Fills o; prints help or an error and exits where the arguments ask for it. */
void options_parse(struct options *o, int argc, char **argv);

#endif
