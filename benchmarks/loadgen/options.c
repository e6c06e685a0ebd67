#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: loadgen --port PORT [options]\n"
    "Loads an echo server in a closed loop (a connection sends its next message when a reply is complete), checks\n"
    "that each reply is what was sent, and prints one JSON object.\n"
    "\n"
    "  --host ADDRESS        IPv4 address of the server (127.0.0.1)\n"
    "  --port PORT           its port\n"
    "  --connections N       connections, all open before the first message (50)\n"
    "  --size BYTES          length of a message (1024)\n"
    "  --depth N             messages in flight on a connection (1)\n"
    "  --seconds S           length of the measured window (1)\n"
    "  --warmup S            load before that window, not counted (0)\n"
    "  --messages N          instead of a window: stop after N messages in all\n"
    "  --lockstep            connections take turns: one sends and waits for its reply, then the next\n"
    "  --lines               messages are lines: one newline, at the end\n"
    "  --verify-every N      compare the bytes of one message in N, only count those of the others (1)\n"
    "  --stall S             fail when no reply comes for S seconds (10)\n"
    "  --cpu CORE            run on this core only\n"
    "  --server-pid PID      report the CPU time that this process used in the window\n"
    "\n"
    "Exit status: 0 all replies right; 1 a wrong reply, a closed connection or a stall, which the JSON object names;\n"
    "2 wrong arguments.\n";

static void refuse(const char *option, const char *value) {
    fprintf(stderr, "loadgen: bad value for --%s: %s\n", option, value);
    exit(2);
}

static uint64_t whole(const char *option, const char *text, uint64_t low, uint64_t high) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || value < low || value > high)
        refuse(option, text);
    return value;
}

static double positive(const char *option, const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value < 1e6))
        refuse(option, text);
    return value;
}

void options_parse(struct options *o, int argc, char **argv) {
    *o = (struct options){.host = "127.0.0.1", .connections = 50, .size_bytes = 1024, .depth = 1, .seconds = 1,
                          .stall_seconds = 10, .verify_every = 1, .cpu = -1};
    enum { HELP, HOST, PORT, CONNECTIONS, SIZE, DEPTH, SECONDS, WARMUP, MESSAGES, LOCKSTEP, LINES, VERIFY, STALL, CPU,
           SERVER_PID };
    static const struct option table[] = {
        {"help", no_argument, NULL, HELP},
        {"host", required_argument, NULL, HOST},
        {"port", required_argument, NULL, PORT},
        {"connections", required_argument, NULL, CONNECTIONS},
        {"size", required_argument, NULL, SIZE},
        {"depth", required_argument, NULL, DEPTH},
        {"seconds", required_argument, NULL, SECONDS},
        {"warmup", required_argument, NULL, WARMUP},
        {"messages", required_argument, NULL, MESSAGES},
        {"lockstep", no_argument, NULL, LOCKSTEP},
        {"lines", no_argument, NULL, LINES},
        {"verify-every", required_argument, NULL, VERIFY},
        {"stall", required_argument, NULL, STALL},
        {"cpu", required_argument, NULL, CPU},
        {"server-pid", required_argument, NULL, SERVER_PID},
        {NULL, 0, NULL, 0},
    };
    int which, index = 0;
    while ((which = getopt_long(argc, argv, "", table, &index)) != -1) {
        const char *name = which == '?' ? "" : table[index].name;
        switch (which) {
        case HELP: fputs(help, stdout); exit(0);
        case HOST: o->host = optarg; break;
        case PORT: o->port = (uint16_t)whole(name, optarg, 1, 65535); break;
        case CONNECTIONS: o->connections = (uint32_t)whole(name, optarg, 1, 1000000); break;
        case SIZE: o->size_bytes = whole(name, optarg, 1, 1u << 30); break;
        case DEPTH: o->depth = (uint32_t)whole(name, optarg, 1, 1024); break;
        case SECONDS: o->seconds = positive(name, optarg); break;
        case WARMUP: o->warmup_seconds = positive(name, optarg); break;
        case MESSAGES: o->messages = whole(name, optarg, 1, UINT64_MAX); break;
        case LOCKSTEP: o->lockstep = true; break;
        case LINES: o->lines = true; break;
        case VERIFY: o->verify_every = (uint32_t)whole(name, optarg, 1, UINT32_MAX); break;
        case STALL: o->stall_seconds = positive(name, optarg); break;
        case CPU: o->cpu = (int)whole(name, optarg, 0, 1023); break;
        case SERVER_PID: o->server_pid = (pid_t)whole(name, optarg, 1, INT32_MAX); break;
        default: exit(2); /* getopt has said why */
        }
    }
    if (optind < argc || o->port == 0) {
        fputs(o->port == 0 ? "loadgen: --port is needed\n" : "loadgen: unexpected argument\n", stderr);
        exit(2);
    }
}
