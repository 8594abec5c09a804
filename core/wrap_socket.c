/*
 * wrap_socket.c: sockets. A call is tried with MSG_DONTWAIT; where it would block, the goroutine
 * parks in the poller and tries again. So a waiting goroutine costs no thread, and the user's
 * O_NONBLOCK, SO_RCVTIMEO, SO_SNDTIMEO and MSG_WAITALL keep their meaning.
 *
 * A blocking send on a stream returns only when all is sent, so a partial one goes on. When the
 * rest cannot be sent (cancelled, time-out, error), what was sent is the result, as the kernel
 * would have it.
 *
 * Invariants: wrap.h. No locks, no state.
 */
#include "wrap.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* ---- Receiving ------------------------------------------------------------------------------- */

static long receive(struct gr_g *g, int fd, struct msghdr *message, int flags)
{
    uint64_t deadline = 0;
    socklen_t name_bytes = message->msg_namelen;
    size_t control_bytes = message->msg_controllen;

    /* Ends with data, an error or cancellation: each round follows a wake-up by the poller. */
    for (;;) {
        long result = GRI_RAW(SYS_recvmsg, fd, (long)message, flags | MSG_DONTWAIT);
        int wait;

        if (result != -EAGAIN || (flags & MSG_DONTWAIT))
            return result;
        wait = gri_wrap_wait(g, fd, POLLIN, SO_RCVTIMEO, &deadline);
        if (wait == -EPERM)
            return GRI_SYS(g, SYS_recvmsg, fd, (long)message, flags);
        if (wait < 0)
            return wait;
        message->msg_namelen = name_bytes;
        message->msg_controllen = control_bytes;
    }
}

long gri_wrap_socket_read(struct gr_g *g, int fd, const struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};

    return receive(g, fd, &message, 0);
}

/* MSG_WAITALL on one buffer: goes on until it is full, the stream ends or something fails. */
static long receive_all(struct gr_g *g, int fd, struct msghdr *message, int flags)
{
    struct iovec *iov = message->msg_iov;
    size_t done = 0, total = iov->iov_len;
    char *start = iov->iov_base;

    while (done < total) {
        long result;

        iov->iov_base = start + done;
        iov->iov_len = total - done;
        result = receive(g, fd, message, flags & ~MSG_WAITALL);
        if (result <= 0)
            return done ? (long)done : result;
        done += (size_t)result;
    }
    return (long)done;
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t bytes = sizeof type;

    return GRI_RAW(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&bytes) == 0 &&
           type == SOCK_STREAM;
}

static ssize_t wrap_recvfrom(int fd, void *buf, size_t bytes, int flags, struct sockaddr *from,
                             socklen_t *from_bytes)
{
    struct gr_g *g = gri_wrap_enter();
    struct iovec iov = {buf, bytes};
    struct msghdr message = {.msg_name = from, .msg_iov = &iov, .msg_iovlen = 1};
    long result;

    if (!g)
        return recvfrom(fd, buf, bytes, flags, from, from_bytes);
    if (from && !from_bytes)
        return gri_wrap_result(-EFAULT);
    message.msg_namelen = from ? *from_bytes : 0;
    if (bytes && (flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL && is_stream(fd))
        result = receive_all(g, fd, &message, flags);
    else
        result = receive(g, fd, &message, flags);
    if (result >= 0 && from)
        *from_bytes = message.msg_namelen;
    return gri_wrap_result(result);
}

static ssize_t wrap_recv(int fd, void *buf, size_t bytes, int flags)
{
    return wrap_recvfrom(fd, buf, bytes, flags, NULL, NULL);
}

extern _Noreturn void __chk_fail(void);

static ssize_t wrap___recv_chk(int fd, void *buf, size_t bytes, size_t room, int flags)
{
    if (bytes > room)
        __chk_fail();
    return wrap_recvfrom(fd, buf, bytes, flags, NULL, NULL);
}

static ssize_t wrap___recvfrom_chk(int fd, void *buf, size_t bytes, size_t room, int flags,
                                   struct sockaddr *from, socklen_t *from_bytes)
{
    if (bytes > room)
        __chk_fail();
    return wrap_recvfrom(fd, buf, bytes, flags, from, from_bytes);
}

static ssize_t wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g)
        return recvmsg(fd, message, flags);
    if ((flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL && message->msg_iovlen == 1 &&
        !message->msg_control && is_stream(fd)) {
        struct iovec iov = message->msg_iov[0];
        struct msghdr copy = *message;
        long result;

        copy.msg_iov = &iov;
        result = receive_all(g, fd, &copy, flags);
        message->msg_namelen = copy.msg_namelen;
        message->msg_flags = copy.msg_flags;
        return gri_wrap_result(result);
    }
    return gri_wrap_result(receive(g, fd, message, flags));
}

static int wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                         struct timespec *timeout)
{
    struct gr_g *g = gri_wrap_enter();
    long result;

    if (!g)
        return recvmmsg(fd, messages, count, flags, timeout);
    result = GRI_RAW(SYS_recvmmsg, fd, (long)messages, count, flags | MSG_DONTWAIT, 0, 0);
    if (result == (long)count || (result > 0 && (flags & MSG_WAITFORONE)) ||
        (result < 0 && result != -EAGAIN) || (flags & MSG_DONTWAIT))
        return (int)gri_wrap_result(result);
    if (result < 0)
        result = 0;
    if (gri_wrap_cancelled(g))
        return result ? (int)result : (int)gri_wrap_result(-ECANCELED);
    {
        long more = GRI_SYS(g, SYS_recvmmsg, fd, (long)(messages + result), (long)count - result,
                            flags, (long)timeout, 0);

        if (more < 0)
            return result ? (int)result : (int)gri_wrap_result(more);
        return (int)(result + more);
    }
}

/* ---- Sending --------------------------------------------------------------------------------- */

/* Sends one piece whole, or fails having sent *done of it. */
static long send_piece(struct gr_g *g, int fd, const char *at, size_t bytes, int flags,
                       size_t *done, uint64_t *deadline)
{
    *done = 0;
    while (*done < bytes) {
        long result = GRI_RAW(SYS_sendto, fd, (long)(at + *done), (long)(bytes - *done),
                              flags | MSG_DONTWAIT, 0, 0);

        if (result >= 0) {
            *done += (size_t)result;
            continue;
        }
        if (result == -EAGAIN)
            result = gri_wrap_wait(g, fd, POLLOUT, SO_SNDTIMEO, deadline);
        if (result < 0)
            return result;
    }
    return 0;
}

/* The part of a stream's message after the first `done` bytes. */
static long send_rest(struct gr_g *g, int fd, const struct msghdr *message, size_t done, int flags,
                      uint64_t *deadline)
{
    size_t skip = done;

    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const struct iovec *iov = &message->msg_iov[i];
        size_t sent;
        long result;

        if (skip >= iov->iov_len) {
            skip -= iov->iov_len;
            continue;
        }
        result = send_piece(g, fd, (const char *)iov->iov_base + skip, iov->iov_len - skip, flags,
                            &sent, deadline);
        done += sent;
        skip = 0;
        if (result < 0)
            break;
    }
    return (long)done;
}

static long send_message(struct gr_g *g, int fd, const struct msghdr *message, int flags)
{
    uint64_t deadline = 0;
    size_t total = gri_wrap_iov_bytes(message->msg_iov, (int)message->msg_iovlen);

    /* Ends with data sent, an error or cancellation: each round follows a wake-up by the poller. */
    for (;;) {
        long result = GRI_RAW(SYS_sendmsg, fd, (long)message, flags | MSG_DONTWAIT);
        long flags_now;

        if (flags & MSG_DONTWAIT)
            return result;
        if (result >= 0 && (size_t)result < total) {
            flags_now = GRI_RAW(SYS_fcntl, fd, F_GETFL);
            if (flags_now < 0 || (flags_now & O_NONBLOCK))
                return result;
            return send_rest(g, fd, message, (size_t)result, flags, &deadline);
        }
        if (result != -EAGAIN)
            return result;
        result = gri_wrap_wait(g, fd, POLLOUT, SO_SNDTIMEO, &deadline);
        if (result == -EPERM)
            return GRI_SYS(g, SYS_sendmsg, fd, (long)message, flags);
        if (result < 0)
            return result;
    }
}

long gri_wrap_socket_write(struct gr_g *g, int fd, const struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};

    return send_message(g, fd, &message, 0);
}

static ssize_t wrap_sendto(int fd, const void *buf, size_t bytes, int flags,
                           const struct sockaddr *to, socklen_t to_bytes)
{
    struct gr_g *g = gri_wrap_enter();
    struct iovec iov = {(void *)buf, bytes};
    struct msghdr message = {
        .msg_name = (void *)to, .msg_namelen = to_bytes, .msg_iov = &iov, .msg_iovlen = 1};

    if (!g)
        return sendto(fd, buf, bytes, flags, to, to_bytes);
    return gri_wrap_result(send_message(g, fd, &message, flags));
}

static ssize_t wrap_send(int fd, const void *buf, size_t bytes, int flags)
{
    return wrap_sendto(fd, buf, bytes, flags, NULL, 0);
}

static ssize_t wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct gr_g *g = gri_wrap_enter();

    return g ? gri_wrap_result(send_message(g, fd, message, flags)) : sendmsg(fd, message, flags);
}

static int wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    struct gr_g *g = gri_wrap_enter();
    unsigned done = 0;

    if (!g)
        return sendmmsg(fd, messages, count, flags);
    while (done < count) {
        long result = send_message(g, fd, &messages[done].msg_hdr, flags);

        if (result < 0)
            return done ? (int)done : (int)gri_wrap_result(result);
        messages[done++].msg_len = (unsigned)result;
    }
    return (int)done;
}

/* ---- Connections ----------------------------------------------------------------------------- */

static int wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t deadline = 0;

    if (!g)
        return accept4(fd, address, bytes, flags);
    /* Another acceptor may be faster: then the kernel call waits, as a system call of ours. */
    for (int ready = gri_wrap_poll_now(fd, POLLIN); ready == 0;
         ready = gri_wrap_poll_now(fd, POLLIN)) {
        int wait = gri_wrap_wait(g, fd, POLLIN, SO_RCVTIMEO, &deadline);

        if (wait == -EPERM)
            break;
        if (wait < 0)
            return (int)gri_wrap_result(wait);
    }
    return (int)gri_wrap_result(
        GRI_SYS_LIKELY(g, SYS_accept4, fd, (long)address, (long)bytes, flags));
}

static int wrap_accept(int fd, struct sockaddr *address, socklen_t *bytes)
{
    return wrap_accept4(fd, address, bytes, 0);
}

/*
 * A connection is under way on a socket made non-blocking for it: its outcome. If its time-out comes first it goes on, and
 * `under_way` is what the kernel says then: -EINPROGRESS, or -EALREADY of one that began in a call before.
 */
static long await_connection(struct gr_g *g, int fd, long under_way)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    long result;

    if (gri_wrap_cancelled(g))
        return -ECANCELED;
    result = gri_poll_wait(fd, POLLOUT, gri_wrap_socket_deadline(fd, SO_SNDTIMEO));
    if (result < 0)
        return result == -ETIMEDOUT ? under_way : result;
    result = GRI_RAW(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, (long)&error, (long)&bytes);
    return result < 0 ? result : -error;
}

static int wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    struct gr_g *g = gri_wrap_enter();
    long flags, result;

    if (!g)
        return connect(fd, address, bytes);
    flags = GRI_RAW(SYS_fcntl, fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK))
        return (int)gri_wrap_result(GRI_RAW(SYS_connect, fd, (long)address, bytes));
    /* A Unix socket whose peer's queue is full says EAGAIN, and no poll tells when to try again. */
    if (bytes >= sizeof(sa_family_t) && address && address->sa_family == AF_UNIX)
        return (int)gri_wrap_result(GRI_SYS(g, SYS_connect, fd, (long)address, bytes));
    result = GRI_RAW(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
    if (result == 0) {
        result = GRI_RAW(SYS_connect, fd, (long)address, bytes);
        if (result == -EINPROGRESS || result == -EALREADY)
            result = await_connection(g, fd, result);
        GRI_RAW(SYS_fcntl, fd, F_SETFL, flags);
    }
    return (int)gri_wrap_result(result);
}

const struct gri_wrap gri_wraps_socket[] = {
    GRI_WRAP(recvfrom),
    GRI_WRAP(recv),
    GRI_WRAP(__recv_chk),
    GRI_WRAP(__recvfrom_chk),
    GRI_WRAP(recvmsg),
    GRI_WRAP(recvmmsg),
    GRI_WRAP(sendto),
    GRI_WRAP(send),
    GRI_WRAP_AS(__send, send),
    GRI_WRAP(sendmsg),
    GRI_WRAP(sendmmsg),
    GRI_WRAP(accept4),
    GRI_WRAP(accept),
    GRI_WRAP(connect),
    GRI_WRAP_AS(__connect, connect),
    {NULL, NULL},
};
