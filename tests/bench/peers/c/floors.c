/*
 * floors.c: what this machine itself takes: below these nobody gets.
 *
 * Across cores the requester sits on processor 0 and the target on 1. A wake is measured from
 * before the call that wakes to the first clock reading of the thread that slept; `_call` is the
 * waker's call alone.
 */
#include "../../sample.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define MOST 20000

static double first[MOST], second[MOST];
static _Atomic(int64_t) stamp;
static _Atomic(int) quit, word, target_tid, asleep;

static void on_signal(int signo)
{
    (void)signo;
    atomic_store(&stamp, now_ns());
}

static void *spinner(void *arg)
{
    (void)arg;
    pin(1);
    atomic_store(&target_tid, (int)syscall(SYS_gettid));
    while (!atomic_load_explicit(&quit, memory_order_relaxed))
        ;
    return NULL;
}

static int64_t wait_for_stamp(void)
{
    int64_t seen;

    while (!(seen = atomic_load(&stamp)))
        ;
    return seen;
}

/* ---- A signal to another core ---------------------------------------------------------------- */

static void signal_across(void)
{
    int samples = scaled(MOST, 20), pid = getpid();
    pthread_t thread;

    pthread_create(&thread, NULL, spinner, NULL);
    while (!atomic_load(&target_tid))
        ;
    for (int i = 0; i < samples; i++) {
        int64_t t0, t1;

        atomic_store(&stamp, 0);
        t0 = now_ns();
        syscall(SYS_tgkill, pid, target_tid, SIGURG);
        t1 = now_ns();
        first[i] = (double)(wait_for_stamp() - t0);
        second[i] = (double)(t1 - t0);
        spin_ns(3000);
    }
    atomic_store(&quit, 1);
    pthread_join(thread, NULL);
    emit("floor", "tgkill_to_handler_xcore", "ns", first, samples);
    emit("floor", "tgkill_call", "ns", second, samples);
}

/* ---- Waking a thread asleep on another core -------------------------------------------------- */

enum wake { FUTEX, EVENTFD, EPOLL };
static int event_fd, epoll_fd;

static bool sleep_once(enum wake kind)
{
    uint64_t counter;
    struct epoll_event event;

    if (kind == FUTEX) {
        while (!atomic_load(&word))
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
        return true;
    }
    if (kind == EPOLL && epoll_wait(epoll_fd, &event, 1, -1) < 0)
        return false;
    return read(event_fd, &counter, sizeof counter) == sizeof counter;
}

static void *sleeper(void *arg)
{
    enum wake kind = (enum wake)(intptr_t)arg;

    pin(1);
    while (!atomic_load(&quit)) {
        atomic_store(&asleep, 1);
        if (!sleep_once(kind))
            continue;
        atomic_store(&word, 0);
        atomic_store(&asleep, 0);
        atomic_store(&stamp, now_ns());
    }
    return NULL;
}

static bool wake_once(enum wake kind)
{
    uint64_t one = 1;

    atomic_store(&word, 1);
    if (kind == FUTEX)
        return syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) >= 0;
    return write(event_fd, &one, sizeof one) == sizeof one;
}

static void wake_across(enum wake kind, const char *name)
{
    int samples = scaled(MOST / 2, 20), n = 0;
    struct epoll_event event = {.events = EPOLLIN};
    pthread_t thread;
    char metric[64];

    quit = asleep = word = 0;
    event_fd = eventfd(0, 0);
    epoll_fd = epoll_create1(0);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event);
    pthread_create(&thread, NULL, sleeper, (void *)(intptr_t)kind);
    while (n < samples) {
        int64_t t0, t1;

        while (!atomic_load(&asleep))
            ;
        spin_ns(30000); /* from saying that it sleeps to sleeping in the kernel */
        if (n == samples - 1)
            atomic_store(&quit, 1);
        atomic_store(&stamp, 0);
        t0 = now_ns();
        if (!wake_once(kind))
            break;
        t1 = now_ns();
        first[n] = (double)(wait_for_stamp() - t0);
        second[n++] = (double)(t1 - t0);
    }
    pthread_join(thread, NULL);
    close(event_fd);
    close(epoll_fd);
    snprintf(metric, sizeof metric, "%s_wake_xcore", name);
    emit("floor", metric, "ns", first, n);
    snprintf(metric, sizeof metric, "%s_wake_call", name);
    emit("floor", metric, "ns", second, n);
}

/* ---- What is too short to be timed alone ----------------------------------------------------- */

#define BATCH(name, per, stmt)                                                                     \
    do {                                                                                           \
        int samples_ = scaled(2000, 20);                                                           \
                                                                                                   \
        for (int batch_ = 0; batch_ < samples_; batch_++) {                                        \
            int64_t start_ = now_ns();                                                             \
                                                                                                   \
            for (int i_ = 0; i_ < (per); i_++) {                                                   \
                stmt;                                                                              \
            }                                                                                      \
            first[batch_] = (double)(now_ns() - start_) / (per);                                   \
        }                                                                                          \
        emit("floor", name, "ns", first, samples_);                                                \
    } while (0)

static ucontext_t main_context, other_context;
static char other_stack[65536] __attribute__((aligned(64)));

static void swap_back(void)
{
    for (;;)
        swapcontext(&other_context, &main_context);
}

static void copy_8_kib(void)
{
    static char from[8192] __attribute__((aligned(64))), to[8192] __attribute__((aligned(64)));

    memset(from, 1, sizeof from);
    BATCH("memcpy_8KiB", 1000, memcpy(to, from, sizeof from);
          __asm__ volatile("" ::"r"(to), "r"(from)
                           : "memory"));
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    int pid = getpid(), self = (int)syscall(SYS_gettid);

    pin(0);
    sigaction(SIGURG, &action, NULL);
    BATCH("clock_gettime", 1000, (void)now_ns());
    BATCH("getpid_syscall", 1000, syscall(SYS_getpid));
    BATCH("signal_self_roundtrip", 100, syscall(SYS_tgkill, pid, self, SIGURG));
    signal_across();
    wake_across(FUTEX, "futex");
    wake_across(EVENTFD, "eventfd");
    wake_across(EPOLL, "epoll_eventfd");
    getcontext(&other_context);
    other_context.uc_stack.ss_sp = other_stack;
    other_context.uc_stack.ss_size = sizeof other_stack;
    makecontext(&other_context, swap_back, 0);
    BATCH("swapcontext_there_and_back", 100, swapcontext(&main_context, &other_context));
    copy_8_kib();
    BATCH("sched_yield_alone", 100, sched_yield());
    return 0;
}
