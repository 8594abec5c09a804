/*
 * wrap_poll.c: poll, select and epoll_wait.
 *
 * Each is tried with time-out 0 first. One descriptor, or an epoll set (itself a descriptor), is
 * then waited for in the poller and costs no thread. Several at once wait in the kernel as a system
 * call, with the remaining time computed again after each interruption, so that our signals never
 * shorten or stretch a wait. Rejected: registering every descriptor of a poll with the poller; a
 * million-entry poll would cost two epoll_ctl for each of them, each time.
 *
 * Invariants: wrap.h. No locks, no state.
 */
#include "wrap.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>

#define KERNEL_SIGSET_BYTES 8

extern _Noreturn void __chk_fail(void);

/* A time-out in nanoseconds (negative: none) as a monotonic deadline, 0: none. */
static uint64_t deadline_after(int64_t timeout_ns)
{
    return timeout_ns < 0 ? 0 : gri_now_ns() + (uint64_t)timeout_ns;
}

static int64_t timespec_ns(const struct timespec *timeout)
{
    if (!timeout)
        return -1;
    if (timeout->tv_sec > INT32_MAX)
        return (int64_t)INT32_MAX * 1000000000;
    return (int64_t)timeout->tv_sec * 1000000000 + timeout->tv_nsec;
}

static bool timespec_valid(const struct timespec *timeout)
{
    return !timeout ||
           (timeout->tv_sec >= 0 && timeout->tv_nsec >= 0 && timeout->tv_nsec < 1000000000);
}

/* What is left until the deadline: NULL for none. */
static struct timespec *remaining(uint64_t deadline_ns, struct timespec *left)
{
    uint64_t now = gri_now_ns();
    uint64_t ns = deadline_ns > now ? deadline_ns - now : 0;

    if (deadline_ns == 0)
        return NULL;
    left->tv_sec = (time_t)(ns / 1000000000u);
    left->tv_nsec = (long)(ns % 1000000000u);
    return left;
}

/* The user's mask, without the signal that cancels. */
static const sigset_t *open_mask(const sigset_t *mask, sigset_t *copy)
{
    if (!mask)
        return NULL;
    *copy = *mask;
    sigdelset(copy, SIGURG);
    return copy;
}

/* ---- poll ------------------------------------------------------------------------------------ */

static long poll_kernel(struct gr_g *g, struct pollfd *fds, nfds_t count, uint64_t deadline_ns,
                        const sigset_t *mask)
{
    struct timespec left;
    sigset_t copy;
    long result;
    const sigset_t *open = open_mask(mask, &copy);

    GRI_SYSCALL_ENTER(g);
    /* Each round needs a signal. */
    do {
        const long args[6] = {(long)fds, (long)count, (long)remaining(deadline_ns, &left),
                              (long)open, KERNEL_SIGSET_BYTES};

        result = arch_cancellable_syscall((const uint32_t *)(const void *)&g->cancel, SYS_ppoll, args);
    } while (result == -EINTR);
    gri_syscall_exit(g);
    return result;
}

static long poll_wait(struct gr_g *g, struct pollfd *fds, nfds_t count, int64_t timeout_ns,
                      const sigset_t *mask)
{
    struct timespec zero = {0, 0};
    uint64_t deadline = deadline_after(timeout_ns);
    long result = GRI_RAW(SYS_ppoll, (long)fds, (long)count, (long)&zero, 0, KERNEL_SIGSET_BYTES);

    if (result != 0 || timeout_ns == 0)
        return result;
    if (gri_wrap_cancelled(g))
        return -ECANCELED;
    if (mask || count != 1 || fds->fd < 0)
        return poll_kernel(g, fds, count, deadline, mask);
    /* Each round follows a wake-up by the poller. */
    while (result == 0) {
        int wait = gri_poll_wait(fds->fd, fds->events, deadline);

        if (wait == -EPERM)
            return poll_kernel(g, fds, count, deadline, NULL);
        if (wait == -ETIMEDOUT)
            return 0;
        if (wait < 0 && wait != -EBADF)
            return wait;
        result = GRI_RAW(SYS_ppoll, (long)fds, 1, (long)&zero, 0, KERNEL_SIGSET_BYTES);
    }
    return result;
}

static int wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    struct gr_g *g = gri_wrap_enter();
    int64_t timeout_ns = timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000000;

    if (!g)
        return poll(fds, count, timeout_ms);
    return (int)gri_wrap_result(poll_wait(g, fds, count, timeout_ns, NULL));
}

static int wrap___poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t room)
{
    if (room / sizeof *fds < count)
        __chk_fail();
    return wrap_poll(fds, count, timeout_ms);
}

static int wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                      const sigset_t *mask)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g)
        return ppoll(fds, count, timeout, mask);
    if (!timespec_valid(timeout))
        return (int)gri_wrap_result(-EINVAL);
    return (int)gri_wrap_result(poll_wait(g, fds, count, timespec_ns(timeout), mask));
}

static int wrap___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                            const sigset_t *mask, size_t room)
{
    if (room / sizeof *fds < count)
        __chk_fail();
    return wrap_ppoll(fds, count, timeout, mask);
}

/* ---- select ---------------------------------------------------------------------------------- */

/* The kernel overwrites the sets, so every try works on copies of them. */
struct select_sets {
    fd_set *user[3];
    fd_set copy[3];
};

static void sets_fill(struct select_sets *sets, int count)
{
    size_t bytes = ((size_t)count + 63) / 64 * 8;

    for (int i = 0; i < 3; i++) {
        if (sets->user[i])
            memcpy(&sets->copy[i], sets->user[i], bytes);
    }
}

static void sets_give(struct select_sets *sets, int count)
{
    size_t bytes = ((size_t)count + 63) / 64 * 8;

    for (int i = 0; i < 3; i++) {
        if (sets->user[i])
            memcpy(sets->user[i], &sets->copy[i], bytes);
    }
}

static long select_once(const uint32_t *cancel, int count, struct select_sets *sets,
                        struct timespec *left, const sigset_t *mask)
{
    struct {
        const sigset_t *mask;
        size_t bytes;
    } argument = {mask, KERNEL_SIGSET_BYTES};
    long args[6] = {count, 0, 0, 0, (long)left, (long)&argument};

    for (int i = 0; i < 3; i++)
        args[i + 1] = sets->user[i] ? (long)&sets->copy[i] : 0;
    sets_fill(sets, count);
    return arch_cancellable_syscall(cancel, SYS_pselect6, args);
}

static long select_wait(struct gr_g *g, int count, struct select_sets *sets, int64_t timeout_ns,
                        const sigset_t *mask)
{
    static const uint32_t never;
    struct timespec left = {0, 0};
    uint64_t deadline = deadline_after(timeout_ns);
    sigset_t copy;
    const sigset_t *open = open_mask(mask, &copy);
    long result;

    /* It says EINTR also when it does not wait. */
    do {
        result = select_once(&never, count, sets, &left, open);
    } while (result == -EINTR);
    if (result == 0 && timeout_ns != 0) {
        GRI_SYSCALL_ENTER(g);
        /* Each round needs a signal. */
        do {
            result = select_once((const uint32_t *)(const void *)&g->cancel, count, sets,
                                 remaining(deadline, &left), open);
        } while (result == -EINTR);
        gri_syscall_exit(g);
    }
    if (result >= 0)
        sets_give(sets, count);
    return result;
}

static int wrap_pselect(int count, fd_set *reads, fd_set *writes, fd_set *excepts,
                        const struct timespec *timeout, const sigset_t *mask)
{
    struct gr_g *g = gri_wrap_enter();
    struct select_sets sets = {.user = {reads, writes, excepts}};

    /* Sets larger than fd_set are allowed by Linux; they are rare enough to wait without a copy. */
    if (!g || count > FD_SETSIZE)
        return GRI_WRAP_BLOCK(g, pselect(count, reads, writes, excepts, timeout, mask));
    if (count < 0 || !timespec_valid(timeout))
        return (int)gri_wrap_result(-EINVAL);
    return (int)gri_wrap_result(select_wait(g, count, &sets, timespec_ns(timeout), mask));
}

/* Unlike pselect, Linux's select leaves the time that was not used in *timeout. */
static int wrap_select(int count, fd_set *reads, fd_set *writes, fd_set *excepts,
                       struct timeval *timeout)
{
    struct gr_g *g = gri_wrap_enter();
    struct select_sets sets = {.user = {reads, writes, excepts}};
    int64_t timeout_ns = -1;
    uint64_t start;
    long result;

    if (!g || count > FD_SETSIZE)
        return GRI_WRAP_BLOCK(g, select(count, reads, writes, excepts, timeout));
    if (count < 0 || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
        return (int)gri_wrap_result(-EINVAL);
    if (timeout) {
        struct timespec time = {timeout->tv_sec + timeout->tv_usec / 1000000,
                                timeout->tv_usec % 1000000 * 1000};

        timeout_ns = timespec_ns(&time);
    }
    start = gri_now_ns();
    result = select_wait(g, count, &sets, timeout_ns, NULL);
    if (timeout) {
        int64_t left = timeout_ns - (int64_t)(gri_now_ns() - start);

        timeout->tv_sec = left > 0 ? left / 1000000000 : 0;
        timeout->tv_usec = left > 0 ? left % 1000000000 / 1000 : 0;
    }
    return (int)gri_wrap_result(result);
}

/* ---- epoll ----------------------------------------------------------------------------------- */

static long epoll_kernel(struct gr_g *g, int fd, struct epoll_event *events, int count,
                         uint64_t deadline_ns, const sigset_t *mask)
{
    struct timespec left;
    sigset_t copy;
    const sigset_t *open = open_mask(mask, &copy);
    long result;

    GRI_SYSCALL_ENTER(g);
    /* Each round needs a signal. */
    do {
        struct timespec *time = remaining(deadline_ns, &left);
        long ms = time ? time->tv_sec * 1000 + (time->tv_nsec + 999999) / 1000000 : -1;
        const long args[6] = {fd,         (long)events,
                              count,      ms > INT32_MAX ? INT32_MAX : ms,
                              (long)open, KERNEL_SIGSET_BYTES};

        result = arch_cancellable_syscall((const uint32_t *)(const void *)&g->cancel, SYS_epoll_pwait, args);
    } while (result == -EINTR);
    gri_syscall_exit(g);
    return result;
}

static long epoll_await(struct gr_g *g, int fd, struct epoll_event *events, int count,
                        int64_t timeout_ns, const sigset_t *mask)
{
    uint64_t deadline = deadline_after(timeout_ns);
    long result = GRI_RAW(SYS_epoll_pwait, fd, (long)events, count, 0, 0, KERNEL_SIGSET_BYTES);

    if (result != 0 || timeout_ns == 0)
        return result;
    if (gri_wrap_cancelled(g))
        return -ECANCELED;
    /* Each round follows a wake-up by the poller. */
    while (result == 0 && !mask) {
        int wait = gri_poll_wait(fd, POLLIN, deadline);

        if (wait == -ETIMEDOUT)
            return 0;
        if (wait == -ECANCELED || wait == -EBADF)
            return wait;
        if (wait < 0)
            break;
        result = GRI_RAW(SYS_epoll_pwait, fd, (long)events, count, 0, 0, KERNEL_SIGSET_BYTES);
    }
    return result ? result : epoll_kernel(g, fd, events, count, deadline, mask);
}

static int wrap_epoll_pwait(int fd, struct epoll_event *events, int count, int timeout_ms,
                            const sigset_t *mask)
{
    struct gr_g *g = gri_wrap_enter();
    int64_t timeout_ns = timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000000;

    if (!g)
        return epoll_pwait(fd, events, count, timeout_ms, mask);
    return (int)gri_wrap_result(epoll_await(g, fd, events, count, timeout_ns, mask));
}

static int wrap_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    return wrap_epoll_pwait(fd, events, count, timeout_ms, NULL);
}

static int wrap_epoll_pwait2(int fd, struct epoll_event *events, int count,
                             const struct timespec *timeout, const sigset_t *mask)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g)
        return epoll_pwait2(fd, events, count, timeout, mask);
    if (!timespec_valid(timeout))
        return (int)gri_wrap_result(-EINVAL);
    return (int)gri_wrap_result(epoll_await(g, fd, events, count, timespec_ns(timeout), mask));
}

const struct gri_wrap gri_wraps_poll[] = {
    GRI_WRAP(poll),
    GRI_WRAP_AS(__poll, poll),
    GRI_WRAP(__poll_chk),
    GRI_WRAP(ppoll),
    GRI_WRAP(__ppoll_chk),
    GRI_WRAP(select),
    GRI_WRAP_AS(__select, select),
    GRI_WRAP(pselect),
    GRI_WRAP(epoll_wait),
    GRI_WRAP(epoll_pwait),
    GRI_WRAP(epoll_pwait2),
    {NULL, NULL},
};
