/*
 * wrap_time.c: the sleep family, all of it on gri_sleep: the goroutine parks, the thread does
 * not.
 *
 * A sleep ends early for one reason only, cancellation. Then it fails with ECANCELED and says what
 * was left, as an interrupted sleep does.
 *
 * Invariants: wrap.h. No locks, no state.
 */
#include "wrap.h"

#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

static bool timespec_valid(const struct timespec *time)
{
    return time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000;
}

/* 0 or -ECANCELED; *left_ns: what was not slept. */
static int sleep_ns(uint64_t ns, uint64_t *left_ns)
{
    uint64_t start = gri_now_ns();
    int result = gri_sleep(ns);
    uint64_t slept = gri_now_ns() - start;

    *left_ns = result == 0 || slept >= ns ? 0 : ns - slept;
    return result;
}

static void give_rest(struct timespec *rest, uint64_t left_ns)
{
    if (rest) {
        rest->tv_sec = (time_t)(left_ns / 1000000000u);
        rest->tv_nsec = (long)(left_ns % 1000000000u);
    }
}

static int wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t left;
    int result;

    if (!g)
        return nanosleep(time, rest);
    if (!timespec_valid(time))
        return (int)gri_wrap_result(-EINVAL);
    result = sleep_ns(gri_wrap_ns(time), &left);
    if (result < 0)
        give_rest(rest, left);
    return (int)gri_wrap_result(result);
}

/* Clocks that run as the monotonic one does, more or less; a CPU-time clock needs the kernel. */
static bool clock_is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
           clock == CLOCK_TAI;
}

/* Sleeps again while the clock has not come to `time`: it may have been set back. */
static int sleep_until(clockid_t clock, const struct timespec *time)
{
    uint64_t until_ns = gri_wrap_ns(time);

    /* Each round sleeps for what is missing by that clock, which is asked once: time goes on between two looks. */
    for (;;) {
        struct timespec now;
        uint64_t now_ns;
        int result;

        if (clock_gettime(clock, &now) != 0)
            return EINVAL;
        now_ns = gri_wrap_ns(&now);
        if (now_ns >= until_ns)
            return 0;
        result = gri_sleep(until_ns - now_ns);
        if (result < 0)
            return -result;
    }
}

/* Returns the error number and leaves errno alone, as POSIX has it. */
static int wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                                struct timespec *rest)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t left;
    int result;

    if (!g)
        return clock_nanosleep(clock, flags, time, rest);
    if (!timespec_valid(time))
        return EINVAL;
    if (!clock_is_wall(clock))
        return (int)-GRI_SYS(g, SYS_clock_nanosleep, clock, flags, (long)time, (long)rest);
    if (flags & TIMER_ABSTIME)
        return sleep_until(clock, time);
    result = sleep_ns(gri_wrap_ns(time), &left);
    if (result < 0)
        give_rest(rest, left);
    return -result;
}

static unsigned wrap_sleep(unsigned seconds)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t left;
    int result;

    if (!g)
        return sleep(seconds);
    result = sleep_ns((uint64_t)seconds * 1000000000u, &left);
    if (result == 0)
        return 0;
    gri_wrap_set_errno(ECANCELED);
    return (unsigned)((left + 999999999u) / 1000000000u);
}

static int wrap_usleep(useconds_t us)
{
    struct gr_g *g = gri_wrap_enter();

    return g ? (int)gri_wrap_result(gri_sleep((uint64_t)us * 1000u)) : usleep(us);
}

/* C11's: 0, -1 if interrupted, another negative value for errors. */
static int wrap_thrd_sleep(const struct timespec *time, struct timespec *rest)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t left;
    int result;

    if (!g)
        return thrd_sleep(time, rest);
    if (!timespec_valid(time))
        return -2;
    result = sleep_ns(gri_wrap_ns(time), &left);
    if (result < 0)
        give_rest(rest, left);
    return (int)gri_wrap_result(result);
}

static int wrap_sched_yield(void)
{
    if (gri_wrap_enter())
        gri_yield();
    else
        gr_yield();
    return 0;
}

static void wrap_thrd_yield(void)
{
    if (gri_wrap_enter())
        gri_yield();
    else
        gr_yield();
}

const struct gri_wrap gri_wraps_time[] = {
    GRI_WRAP(nanosleep),       GRI_WRAP_AS(__nanosleep, nanosleep),
    GRI_WRAP(clock_nanosleep), GRI_WRAP(sleep),
    GRI_WRAP(usleep),          GRI_WRAP(thrd_sleep),
    GRI_WRAP(sched_yield),     GRI_WRAP_AS(__sched_yield, sched_yield),
    GRI_WRAP(thrd_yield),      {NULL, NULL},
};
