/* A thread that takes every descriptor as soon as one is free: what a busy application does to a server at its
 * limit. */
#include <unistd.h>

volatile int thief_stop = 0;
static int taken[65536];
static int count = 0;

void thief_run(void) {
    while (!thief_stop && count < 65536) {
        int fd = dup(0); /* the shortest way to a descriptor */
        if (fd >= 0)
            taken[count++] = fd;
    }
}

int thief_release(void) {
    int released = count;
    while (count > 0)
        close(taken[--count]);
    return released;
}
