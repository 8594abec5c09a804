/*
 * base.c: what everything else stands on: panic, the short lock, futexes, the clock, names.
 */
#include "core.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

void gri_panic(const char *file, int line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    int n = snprintf(text, sizeof text, "grasp: panic at %s:%d (goroutine %llu): ", file, line,
                     (unsigned long long)gri_id());

    va_start(args, fmt);
    n += vsnprintf(text + n, sizeof text - (size_t)n - 1, fmt, args);
    va_end(args);
    if ((size_t)n > sizeof text - 2)
        n = sizeof text - 2;
    text[n++] = '\n';
    if (write(STDERR_FILENO, text, (size_t)n) < 0)
        abort();
    abort();
}

uint64_t gri_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t gr_now_ns(void)
{
    GRI_GIVE_WAY();
    return gri_now_ns();
}

/*
 * Through a pipe of this call's own, where process_vm_readv is missing: containers may forbid it, and qemu-user does not
 * have it. Pieces end at page boundaries: write says of memory that is there in part only that it faults.
 */
static size_t memory_read_by_pipe(uint64_t address, uint8_t *to, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), done = 0;
    int end[2];

    if (pipe2(end, O_CLOEXEC) != 0)
        return 0;
    while (done < bytes) {
        size_t piece = page - (address + done) % page;

        if (piece > bytes - done)
            piece = bytes - done;
        if (write(end[1], (const void *)(uintptr_t)(address + done), piece) != (ssize_t)piece ||
            read(end[0], to + done, piece) != (ssize_t)piece)
            break;
        done += piece;
    }
    close(end[0]);
    close(end[1]);
    return done;
}

size_t gri_memory_read(uint64_t address, void *to, size_t bytes)
{
    struct iovec local = {to, bytes}, remote = {(void *)(uintptr_t)address, bytes};
    int saved_errno = errno;
    /* The kernel copies page by page and stops before the first that is not there. */
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    if (n < 0 && (errno == ENOSYS || errno == EPERM))
        n = (ssize_t)memory_read_by_pipe(address, to, bytes);
    errno = saved_errno;
    return n < 0 ? 0 : (size_t)n;
}

/* ---- Futex --------------------------------------------------------------------------------------- */

/* Both keep errno: callers run on goroutines' and programs' own threads, which did not ask for a system call. */
int gri_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    int saved_errno = errno, result = 0;

    if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? NULL : &timeout, NULL, 0))
        result = -errno;
    errno = saved_errno;
    return result;
}

void gri_futex_wake(_Atomic(uint32_t) *word, int count)
{
    int saved_errno = errno;

    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved_errno;
}

/* ---- Lock ---------------------------------------------------------------------------------------- */

#define LOCK_SPINS 40 /* pauses before sleeping: about the length of a critical section */

void gri_lock_slow(struct gri_lock *lock)
{
    for (int i = 0; i < LOCK_SPINS; i++) {
        uint32_t expected = 0;

        /* acquire; pairs with gri_unlock's release. */
        if (atomic_compare_exchange_weak_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        arch_pause();
    }
    /* acquire as above. Whoever slept leaves a 2: others may sleep too, and it costs one wake too many at worst. */
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        gri_futex_wait(&lock->word, 2, -1);
}

void gri_unlock_slow(struct gri_lock *lock)
{
    gri_futex_wake(&lock->word, 1);
}

/* ---- Names --------------------------------------------------------------------------------------- */

const char *gr_state_name(enum gr_state state)
{
    static const char *const names[GR_STATES] = {
        [GR_IDLE] = "runnable",           [GR_RUNNABLE] = "runnable",   [GR_RUNNING] = "running",
        [GR_SYSCALL] = "syscall",         [GR_WAITING] = "waiting",     [GR_COPYSTACK] = "waiting",
        [GR_COPYSTACK_WOKEN] = "waiting", [GR_PREEMPTED] = "preempted", [GR_DEAD] = "dead"};

    return (unsigned)state < GR_STATES ? names[state] : "unknown";
}

const char *gr_safepoint_name(enum gr_safepoint kind)
{
    static const char *const names[GR_SAFEPOINTS] = {"blocked", "sync", "async"};

    return (unsigned)kind < GR_SAFEPOINTS ? names[kind] : "unknown";
}

const char *gr_refusal_name(enum gr_refusal reason)
{
    static const char *const names[GR_REFUSALS] = {[GR_REFUSED_NOT_RUNNING] = "not-running",
                                                   [GR_REFUSED_NOPREEMPT] = "no-preempt",
                                                   [GR_REFUSED_STACK] = "stack",
                                                   [GR_REFUSED_RUNTIME] = "runtime",
                                                   [GR_REFUSED_LIBC] = "libc",
                                                   [GR_REFUSED_UNSAFE_POINT] = "unsafe-point",
                                                   [GR_REFUSED_OFF] = "async-off",
                                                   [GR_REFUSED_BLOCKED] = "blocked-in-kernel"};

    return (unsigned)reason < GR_REFUSALS ? names[reason] : "unknown";
}
