/*
 * poller.c: goroutines that wait for file descriptors: one epoll set, one-shot, edge by re-arming.
 *
 * Each wait is a record on the goroutine's stack (apart from a private one), in a hash by descriptor. A descriptor may have several
 * waiters; the epoll registration asks for the union of what they want and is re-armed while any are left.
 * The monitor sleeps in epoll_wait; idle workers look in as well. An eventfd in the set wakes the monitor.
 *
 * Rejected: readiness caching as Go's pollDesc does. It needs ownership of the descriptor from open to
 * close, and modules open descriptors behind our back (inherited, dup, libraries).
 *
 * Lock: one lock a hash bucket; under it epoll_ctl and gri_waiter_win.
 */
#include "scheduler.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS 256

struct fd_wait {
    struct gri_waiter waiter;
    struct fd_wait *next;
    int fd;
    uint32_t events;
    int error; /* of epoll_ctl, found in commit */
};

static struct bucket {
    _Alignas(GRI_CACHE_LINE) struct gri_lock lock;
    struct fd_wait *waits;
} buckets[BUCKETS];

static int epoll_fd = -1, wake_fd = -1;
static _Atomic(uint32_t) waiter_count;

int gri_poller_init(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = -1};

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (epoll_fd < 0 || wake_fd < 0)
        return -errno;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &event) != 0)
        return -errno;
    return 0;
}

void gri_poller_wake(void)
{
    uint64_t one = 1;
    int saved_errno = errno;

    if (write(wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        GR_PANIC("the monitor's eventfd: errno %d", errno);
    errno = saved_errno;
}

bool gri_poller_has_waiters(void)
{
    /* relaxed: a hint; the monitor never misses an event. */
    return atomic_load_explicit(&waiter_count, memory_order_relaxed) > 0;
}

static struct bucket *bucket_of(int fd)
{
    return &buckets[(unsigned)fd % BUCKETS];
}

/* Bucket locked: registers what all waiters of fd want. 0 or -errno. */
static int arm(struct bucket *b, int fd)
{
    struct epoll_event event = {.events = EPOLLONESHOT, .data.fd = fd};

    for (struct fd_wait *w = b->waits; w; w = w->next) {
        if (w->fd == fd)
            event.events |= w->events;
    }
    if (event.events == EPOLLONESHOT)
        return 0;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    if (errno == ENOENT && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return -errno;
}

static void unlink_wait(struct bucket *b, struct fd_wait *wait)
{
    for (struct fd_wait **at = &b->waits; *at; at = &(*at)->next) {
        if (*at == wait) {
            *at = wait->next;
            return;
        }
    }
}

/* The bucket's lock is taken here, on the system stack, so that no lock crosses the switch. */
static bool fd_commit(struct gr_g *g, void *arg)
{
    struct fd_wait *wait = arg;
    struct bucket *b = bucket_of(wait->fd);
    int error;

    gri_lock(&b->lock);
    wait->next = b->waits;
    b->waits = wait;
    error = arm(b, wait->fd);
    if (error) {
        unlink_wait(b, wait);
        wait->error = error;
    }
    gri_unlock(&b->lock);
    return error == 0;
}

/* Readies whoever waits on fd for what has come, a batch at most. events 0: whatever they wait for, with `result`. */
enum { DELIVER_BATCH = 32 };
static int deliver(int fd, uint32_t events, int result)
{
    struct gr_g *woken[DELIVER_BATCH];
    struct bucket *b = bucket_of(fd);
    int count = 0;

    gri_lock(&b->lock);
    for (struct fd_wait **at = &b->waits; *at && count < DELIVER_BATCH;) {
        struct fd_wait *w = *at;

        if (w->fd != fd || (events && !(events & (w->events | EPOLLERR | EPOLLHUP)))) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        if (gri_waiter_win(&w->waiter, result))
            woken[count++] = w->waiter.g;
    }
    if (events)
        arm(b, fd);
    gri_unlock(&b->lock);
    for (int i = 0; i < count; i++)
        gri_ready(woken[i]);
    return count;
}

/* epoll_wait with a time-out in nanoseconds, also where the kernel (before 5.11) or an emulator has none. */
static int wait_events(struct epoll_event *events, int max, int64_t timeout_ns)
{
    static _Atomic(bool) missing; /* relaxed: every thread may find it out for itself */
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};
    struct timespec *until = timeout_ns < 0 ? NULL : &timeout;
    struct pollfd ready = {.fd = epoll_fd, .events = POLLIN};
    int n;

    if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
        n = epoll_pwait2(epoll_fd, events, max, until, NULL);
        if (n >= 0 || errno != ENOSYS)
            return n;
        atomic_store_explicit(&missing, true, memory_order_relaxed);
    }
    n = timeout_ns == 0 ? 1 : ppoll(&ready, 1, until, NULL);
    return n > 0 ? epoll_wait(epoll_fd, events, max, 0) : n;
}

int gri_poller_poll(int64_t timeout_ns)
{
    enum { EVENTS = 64 };
    struct epoll_event events[EVENTS];
    int count = 0, n = wait_events(events, EVENTS, timeout_ns);

    for (int i = 0; i < n; i++) {
        uint64_t drained;

        if (events[i].data.fd >= 0)
            count += deliver(events[i].data.fd, events[i].events, 0);
        else if (timeout_ns != 0 && read(wake_fd, &drained, sizeof drained) < 0 && errno != EAGAIN)
            GR_PANIC("the monitor's eventfd: errno %d", errno);
    }
    return count;
}

void gri_poll_forget(int fd)
{
    while (fd >= 0 && gri_poller_has_waiters() && deliver(fd, 0, -EBADF) == DELIVER_BATCH)
        ;
}

static uint32_t epoll_events(int poll_events)
{
    return (poll_events & POLLIN ? EPOLLIN | EPOLLRDHUP : 0u) |
           (poll_events & POLLOUT ? EPOLLOUT : 0u) | (poll_events & POLLPRI ? EPOLLPRI : 0u);
}

int gri_poll_wait(int fd, int poll_events, uint64_t deadline_ns)
{
    struct gr_g *g = gri_self();
    struct fd_wait local, *wait = GRI_WAIT_RECORD(g, struct fd_wait, &local);
    struct bucket *b = bucket_of(fd);
    int result;

    *wait = (struct fd_wait){.waiter.careful = true, .fd = fd, .events = epoll_events(poll_events)};
    if (fd < 0 || !wait->events)
        return -EBADF;
    atomic_fetch_add_explicit(&waiter_count, 1, memory_order_relaxed);
    result =
        gri_wait(&wait->waiter, GRI_WAIT_POLL, (void *)(intptr_t)fd, deadline_ns, fd_commit, wait);
    gri_lock(&b->lock);
    unlink_wait(b, wait);
    gri_unlock(&b->lock);
    atomic_fetch_sub_explicit(&waiter_count, 1, memory_order_relaxed);
    return wait->error ? wait->error : result;
}

int gr_poll_fd(int fd, int events, int64_t timeout_ns)
{
    struct pollfd one = {.fd = fd, .events = (short)events};

    if (!gri_self())
        return -EPERM;
    GRI_GIVE_WAY();
    /* poll passes over such a one without a word. */
    if (fd < 0)
        return -EBADF;
    if (poll(&one, 1, 0) != 0)
        return one.revents & POLLNVAL ? -EBADF : 0;
    if (timeout_ns == 0)
        return -ETIMEDOUT;
    return gri_poll_wait(fd, events, timeout_ns < 0 ? 0 : gri_now_ns() + (uint64_t)timeout_ns);
}
