/*
 * runtime.c: starts the runtime, and the settings that can be changed while it runs.
 */
#include "scheduler.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SLICE_US_DEFAULT 10000
#define CALIBRATE_NS     10000000

/* How fast arch_ticks counts. */
static void calibrate(void)
{
    struct timespec nap = {0, CALIBRATE_NS};
    uint64_t ns = gri_now_ns(), ticks = arch_ticks();

    nanosleep(&nap, NULL);
    gri_sched.ticks_per_ns = (double)(arch_ticks() - ticks) / (double)(gri_now_ns() - ns);
}

/* The cgroup's CPU quota in processors, 0: none. Version 2, then version 1. */
static double cgroup_quota(void)
{
    long long quota, period;
    double cpus = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");

    if (f) {
        if (fscanf(f, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
            cpus = (double)quota / (double)period;
        fclose(f);
        return cpus;
    }
    f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re");
    if (f) {
        if (fscanf(f, "%lld", &quota) == 1 && quota > 0)
            cpus = (double)quota / 100000.0;
        fclose(f);
    }
    return cpus;
}

static unsigned default_procs(void)
{
    cpu_set_t set;
    unsigned procs = 1;
    double quota = cgroup_quota();

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        procs = (unsigned)CPU_COUNT(&set);
    if (quota > 0 && ceil(quota) < procs)
        procs = (unsigned)ceil(quota);
    return procs < 1 ? 1 : procs > GR_PROCS_MAX ? GR_PROCS_MAX : procs;
}

int gr_set_async_preempt(bool on)
{
    /* relaxed: sender and handler each look; one that looked before is one signal late. */
    atomic_store_explicit(&gri_sched.async_off, !on, memory_order_relaxed);
    return 0;
}

int gr_set_time_slice_us(uint32_t us)
{
    if (us < GR_TIME_SLICE_US_MIN || us > GR_TIME_SLICE_US_MAX)
        return -EINVAL;
    atomic_store_explicit(&gri_sched.slice_us, us, memory_order_relaxed);
    atomic_store_explicit(&gri_sched.slice_ticks, gri_ns_to_ticks((uint64_t)us * 1000),
                          memory_order_relaxed);
    return 0;
}

static int check_options(const struct gr_options *o, char *err, size_t err_bytes)
{
    if (o->procs > GR_PROCS_MAX) {
        snprintf(err, err_bytes, "procs is %u, the most is %d", o->procs, GR_PROCS_MAX);
        return -EINVAL;
    }
    if (o->time_slice_us &&
        (o->time_slice_us < GR_TIME_SLICE_US_MIN || o->time_slice_us > GR_TIME_SLICE_US_MAX)) {
        snprintf(err, err_bytes, "the time slice is %u us, it must be %d to %d", o->time_slice_us,
                 GR_TIME_SLICE_US_MIN, GR_TIME_SLICE_US_MAX);
        return -EINVAL;
    }
    return 0;
}

int gr_start(const struct gr_options *options, char *err, size_t err_bytes)
{
    static const struct gr_options defaults;
    const struct gr_options *o = options ? options : &defaults;
    uint32_t fresh = 0;
    char ignored[1];
    int error;

    if (!err) {
        err = ignored;
        err_bytes = 0;
    }
    error = check_options(o, err, err_bytes);
    if (error)
        return error;
    if (!atomic_compare_exchange_strong_explicit(&gri_sched.started, &fresh, 1,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        snprintf(err, err_bytes, "the runtime is running already");
        return -EALREADY;
    }
    arch_init();
    calibrate();
    gri_sched.nice_off = o->nice_off;
    gri_sched.base_nice = getpriority(PRIO_PROCESS, 0);
    gr_set_async_preempt(!o->async_preempt_off);
    gr_set_time_slice_us(o->time_slice_us ? o->time_slice_us : SLICE_US_DEFAULT);
    gri_registry_init(o->max_goroutines);
    gri_dead_init();
    gri_goroutine_init();
    gri_crash_init(o->crash_dir);
    gri_stack_init(o->stack_guard);
    if ((error = gri_module_load_main(err, err_bytes)))
        return error;
    if ((error = gri_preempt_init()) || (error = gri_poller_init())) {
        snprintf(err, err_bytes, "signals or epoll: %s", strerror(-error));
        return error;
    }
    if ((error = gri_threads_init(o->procs ? o->procs : default_procs(), err, err_bytes)))
        return error;
    if ((error = gri_monitor_start(err, err_bytes)))
        return error;
    return gri_scavenger_start(o->fold_after_ms, err, err_bytes);
}
