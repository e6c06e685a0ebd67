/* The system calls of the hot path: each returns its result or -errno, and never touches Python.
 *
 * EINTR is retried, except by epoll: there it must reach the reactor, which looks for signals.
 * Calls that an old kernel or a container's seccomp profile refuses (ENOSYS, EPERM) fall back. */
#ifndef FN_SYSCALLS_H
#define FN_SYSCALLS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include "faults.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* the same number on x86_64 and aarch64 */
#endif

static inline int64_t fn_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline ssize_t fn_recv(int fd, void *buf, size_t len) {
    ssize_t n;
    FN_FAULT(FN_RECV, &len);
    do n = recv(fd, buf, len, 0); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Did a recv that asked for `want` and got `n` find the end of what the socket holds? (TCP only, see
 * invariant 2; a scripted short read proves nothing.) */
#define fn_recv_was_short(n, want) ((n) < (ssize_t)(want) && !fn_fault_active(FN_RECV))

static inline ssize_t fn_send(int fd, const void *buf, size_t len) {
    ssize_t n;
    FN_FAULT(FN_SEND, &len);
    do n = send(fd, buf, len, MSG_NOSIGNAL); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline ssize_t fn_sendmsg(int fd, struct iovec *iov, int iov_count) {
    struct msghdr msg;
    ssize_t n;
#ifdef FASTNET_FAULTS
    {
        size_t all = (size_t)-1;
        FN_FAULT(FN_SENDMSG, &all);
        if (all != (size_t)-1) {
            iov_count = 1;
            if (iov[0].iov_len > all) iov[0].iov_len = all;
        }
    }
#endif
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = iov;
    msg.msg_iovlen = (size_t)iov_count;
    do n = sendmsg(fd, &msg, MSG_NOSIGNAL); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* accept4(NONBLOCK | CLOEXEC); accept() and fcntl() where the call is refused. EPERM may also be a firewall's
 * word about one connection: accept() then says it again. */
static inline int fn_accept4(int fd, struct sockaddr *addr, socklen_t *addr_len) {
    static int missing = 0;
    socklen_t room = *addr_len;
    int n;
    FN_FAULT(FN_ACCEPT4, NULL);
    if (!missing) {
        do {
            *addr_len = room;
            n = accept4(fd, addr, addr_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        } while (n < 0 && errno == EINTR);
        if (n >= 0) return n;
        if (errno != ENOSYS && errno != EPERM) return -errno;
        if (errno == ENOSYS) missing = 1;
    }
    do { *addr_len = room; n = accept(fd, addr, addr_len); } while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    fcntl(n, F_SETFD, FD_CLOEXEC);
    fcntl(n, F_SETFL, fcntl(n, F_GETFL) | O_NONBLOCK);
    return n;
}

/* Waits timeout_ns (0: only looks, -1: without end). Without epoll_pwait2 the time is rounded up to
 * milliseconds, so that no timer fires early. */
static inline int fn_epoll_wait(int epfd, struct epoll_event *events, int max_events, int64_t timeout_ns) {
    static int missing = 0;
    int n;
    FN_FAULT(FN_EPOLL_WAIT, NULL);
    if (timeout_ns > 0 && !missing) {
        struct { int64_t sec, nsec; } ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        n = (int)syscall(SYS_epoll_pwait2, epfd, events, max_events, &ts, NULL, (size_t)8);
        if (n >= 0) return n;
        if (errno != ENOSYS && errno != EPERM) return -errno;
        missing = 1;
    }
    if (timeout_ns > 0) {
        int64_t ms = (timeout_ns + 999999) / 1000000;
        n = epoll_wait(epfd, events, max_events, ms > INT_MAX ? INT_MAX : (int)ms);
    } else {
        n = epoll_wait(epfd, events, max_events, timeout_ns < 0 ? -1 : 0);
    }
    return n < 0 ? -errno : n;
}

static inline int fn_epoll_ctl(int epfd, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event ev;
    ev.events = events;
    ev.data.u64 = data;
    return epoll_ctl(epfd, op, fd, &ev) < 0 ? -errno : 0;
}

static inline int fn_is_open(int fd) { return fcntl(fd, F_GETFD); }

/* The descriptor is gone whatever close() says: EINTR is not retried (close(2)). */
static inline void fn_close(int fd) { (void)close(fd); }

/* Closes with RST and without TIME_WAIT (socket(7), SO_LINGER). */
static inline void fn_close_reset(int fd) {
    struct linger now = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(fd);
}

static inline void fn_set_nodelay(int fd) {
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline int fn_open_spare(void) {
    int n;
    FN_FAULT(FN_OPEN_SPARE, NULL);
    n = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return n < 0 ? -errno : n;
}

/* Bytes that wait in the receive buffer, or -errno (ioctl FIONREAD, tcp(7), unix(7)). */
static inline int fn_readable_bytes(int fd) {
    int n = 0;
    return ioctl(fd, FIONREAD, &n) < 0 ? -errno : n;
}
#endif
