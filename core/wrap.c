/*
 * wrap.c: entering and leaving a wrapper, kernel calls on behalf of a goroutine, waiting for
 * descriptors.
 *
 * Two ways lead into the kernel. What cannot block (a MSG_DONTWAIT receive, a poll with time-out 0)
 * is called as it is. What may block is done as a system call of the goroutine: its processor can
 * be taken, it counts as stopped, and gr_cancel interrupts it by a signal. EINTR is never handed
 * on: the signals that arrive here are Grasp's own, and a program that relied on its own handler
 * interrupting a call would be surprised by ours. Rejected: letting libc do the call; a signal
 * between its last check and the kernel would be lost, arch_cancellable_syscall knows that window.
 *
 * Invariants: wrap.h, W1 to W4. No locks.
 */
#include "wrap.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

/* How long a wait inside libc lasts at most before cancellation is looked at. */
#define SLICE_NS 100000000u

_Atomic(bool) gri_wrap_printf_handlers;

__attribute__((noinline)) int gri_wrap_errno(void)
{
    return errno;
}

__attribute__((noinline)) int gri_wrap_fileno(FILE *f)
{
    int before = errno, fd = fileno(f);

    errno = before;
    return fd;
}

void gri_wrap_set_errno(int error)
{
    *gr_errno_location() = error;
}

long gri_wrap_result(long result)
{
    if (result >= 0)
        return result;
    gri_wrap_set_errno((int)-result);
    return -1;
}

struct gr_g *gri_wrap_enter_from(uint64_t caller)
{
    struct gr_g *g = gri_self();

    if (!g)
        return NULL;
    /* relaxed: shown to people. */
    atomic_store_explicit(&g->pc_hint, caller, memory_order_relaxed);
    gri_errno_to_libc();
    return g->nopreempt ? NULL : g;
}

bool gri_wrap_cancelled(const struct gr_g *g)
{
    /* acquire; pairs with gr_cancel's store: what the canceller wrote before it is seen. */
    return atomic_load_explicit(&g->cancel, memory_order_acquire) != 0;
}

void gri_wrap_leave(struct gr_g *g)
{
    int error = gri_wrap_errno();

    gri_syscall_exit(g);
    gri_wrap_set_errno(error);
}

/* ---- Kernel calls ---------------------------------------------------------------------------- */

/*
 * Repeated on EINTR, which a poll that does not wait says too when a signal is pending. Bounded: each round needs a
 * signal. Not the call that a signal can cancel: its -ECANCELED would be taken for the kernel's answer.
 */
long gri_wrap_raw(long nr, const long args[6])
{
    long result;

    do {
        result = arch_syscall(nr, args);
    } while (result == -EINTR);
    return result;
}

long gri_wrap_syscall(struct gr_g *g, long nr, const long args[6])
{
    long result;

    GRI_SYSCALL_ENTER(g);
    /*
     * The signal handler and the kernel entry read the word; atomicity of a 32-bit load is the arch's. Bounded as in
     * gri_wrap_raw.
     */
    do {
        result = arch_cancellable_syscall((const uint32_t *)(const void *)&g->cancel, nr, args);
    } while (result == -EINTR);
    gri_syscall_exit(g);
    return result;
}

long gri_wrap_syscall_ready(struct gr_g *g, long nr, const long args[6])
{
    long result;

    GRI_SYSCALL_ENTER(g);
    result = gri_wrap_raw(nr, args);
    gri_syscall_exit(g);
    return result;
}

long gri_wrap_syscall_likely(struct gr_g *g, long nr, const long args[6])
{
    return gri_wrap_cancelled(g) ? gri_wrap_syscall_ready(g, nr, args)
                                 : gri_wrap_syscall(g, nr, args);
}

/* ---- Waiting for a descriptor ---------------------------------------------------------------- */

uint64_t gri_wrap_socket_deadline(int fd, int option)
{
    struct timeval timeout = {0, 0};
    struct timespec time;
    socklen_t bytes = sizeof timeout;

    if (GRI_RAW(SYS_getsockopt, fd, SOL_SOCKET, option, (long)&timeout, (long)&bytes) < 0)
        return 0;
    if (timeout.tv_sec == 0 && timeout.tv_usec == 0)
        return 0;
    time = (struct timespec){timeout.tv_sec, timeout.tv_usec * 1000};
    return gri_now_ns() + gri_wrap_ns(&time);
}

int gri_wrap_wait(struct gr_g *g, int fd, int events, int option, uint64_t *deadline_ns)
{
    long flags = GRI_RAW(SYS_fcntl, fd, F_GETFL);
    int result;

    if (flags < 0)
        return (int)flags;
    if (flags & O_NONBLOCK)
        return -EAGAIN;
    if (gri_wrap_cancelled(g))
        return -ECANCELED;
    if (option >= 0 && *deadline_ns == 0)
        *deadline_ns = gri_wrap_socket_deadline(fd, option);
    result = gri_poll_wait(fd, events, *deadline_ns);
    return result == -ETIMEDOUT ? -EAGAIN : result;
}

enum gri_wrap_sort gri_wrap_sort(int fd)
{
    struct stat st;

    /* The kernel's call and not libc's, which goes the longer way of newfstatat. */
    if (GRI_RAW(SYS_fstat, fd, (long)&st) < 0)
        return GRI_SORT_NONE;
    if (S_ISSOCK(st.st_mode))
        return GRI_SORT_SOCKET;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? GRI_SORT_FILE
                                                                             : GRI_SORT_STREAM;
}

int gri_wrap_poll_now(int fd, int events)
{
    struct pollfd one = {.fd = fd, .events = (short)events};
    struct timespec zero = {0, 0};
    long result = GRI_RAW(SYS_ppoll, (long)&one, 1, (long)&zero, 0, 0);

    return result < 0 ? (int)result : one.revents;
}

size_t gri_wrap_iov_bytes(const struct iovec *iov, int count)
{
    size_t total = 0;

    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

/* ---- Time ------------------------------------------------------------------------------------ */

uint64_t gri_wrap_ns(const struct timespec *time)
{
    if (time->tv_sec >= INT64_MAX / 1000000000)
        return INT64_MAX;
    return (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
}

int gri_wrap_deadline(clockid_t clock, const struct timespec *at, uint64_t *deadline_ns)
{
    struct timespec now;
    uint64_t now_ns, at_ns;

    if (at->tv_nsec < 0 || at->tv_nsec > 999999999 || clock_gettime(clock, &now) != 0)
        return -EINVAL;
    now_ns = gri_wrap_ns(&now);
    at_ns = at->tv_sec < 0 ? 0 : gri_wrap_ns(at);
    *deadline_ns = gri_now_ns() + (at_ns > now_ns ? at_ns - now_ns : 0);
    return 0;
}

void gri_wrap_slice(uint64_t deadline_ns, struct timespec *until, bool *last)
{
    uint64_t end = gri_now_ns() + SLICE_NS;

    *last = deadline_ns != 0 && deadline_ns <= end;
    if (*last)
        end = deadline_ns;
    until->tv_sec = (time_t)(end / 1000000000u);
    until->tv_nsec = (long)(end % 1000000000u);
}

/* ---- Call-backs ------------------------------------------------------------------------------ */

void gri_wrap_callback_begin(struct gri_callback *callback)
{
    struct gr_g *g = gri_self();

    callback->g = g;
    if (!g)
        return;
    /* relaxed: only the goroutine itself enters and leaves GR_SYSCALL. */
    callback->in_syscall =
        gri_word_state(atomic_load_explicit(&g->word, memory_order_relaxed)) == GR_SYSCALL;
    gri_pin(g);
    if (callback->in_syscall) {
        callback->context = g->ctx_syscall;
        gri_syscall_exit(g);
    }
    gr_nopreempt_begin();
}

void gri_wrap_callback_end(struct gri_callback *callback)
{
    struct gr_g *g = callback->g;

    if (!g)
        return;
    gri_errno_to_libc();
    /* Not gr_nopreempt_end, which may stop here: libc's lock is still held. */
    g->nopreempt--;
    if (callback->in_syscall) {
        g->ctx_syscall = callback->context;
        gri_syscall_enter(g);
    }
    gri_unpin(g);
}
