/*
 * bench_fairness.c: how long a newcomer waits behind goroutines that never pause.
 *
 * As in the Go peer: N spinners without calls for each processor. fair_spawn: a parent that spins
 * as well spawns a short goroutine; from the spawn to its last instruction. fair_wake: a goroutine
 * sleeps for 5 ms; by how much it wakes late. The spinners and the parent make no call that could
 * let others in.
 */
#include "bench.h"

#include <stdatomic.h>

#define SAMPLES      200
#define SLEEP_NS     5000000
#define MOST_SPINNER 64

static double spawned[SAMPLES], woken[SAMPLES];
static int wanted;
static _Atomic(uint32_t) stop_spinners;
static _Atomic(int64_t) newcomer_ran;
static gr_waitgroup group;

static void spinner(void *arg)
{
    uint64_t x = 1;

    (void)arg;
    while (atomic_load_explicit(&stop_spinners, memory_order_relaxed) == 0) {
        x = x * 6364136223846793005u + 1;
        __asm__ volatile("" : "+r"(x));
    }
    gr_waitgroup_done(&group);
}

static void newcomer(void *arg)
{
    (void)arg;
    /* release; pairs with the relaxed spin of the parent, which needs the number alone. */
    atomic_store_explicit(&newcomer_ran, now_ns(), memory_order_release);
}

static void parent(void *arg)
{
    (void)arg;
    for (int i = 0; i < wanted; i++) {
        int64_t start, end;

        atomic_store_explicit(&newcomer_ran, 0, memory_order_relaxed);
        start = now_ns();
        bench_go(newcomer, NULL);
        while ((end = atomic_load_explicit(&newcomer_ran, memory_order_relaxed)) == 0)
            ;
        spawned[i] = (double)(end - start) / 1000;
    }
    for (int i = 0; i < wanted; i++) {
        int64_t start = now_ns();

        gr_sleep_ns(SLEEP_NS);
        woken[i] = (double)(now_ns() - start - SLEEP_NS) / 1000;
    }
}

static void behind(unsigned spinners_per_core)
{
    unsigned spinners = spinners_per_core * bench_procs;
    char metric[64];

    if (spinners > MOST_SPINNER)
        bench_fail("%u spinners are too many to wait behind", spinners);
    atomic_store_explicit(&stop_spinners, 0, memory_order_relaxed);
    gr_waitgroup_add(&group, spinners);
    for (unsigned i = 0; i < spinners; i++)
        bench_go(spinner, NULL);
    usleep(30000);
    bench_run(parent, NULL);
    atomic_store_explicit(&stop_spinners, 1, memory_order_relaxed);
    snprintf(metric, sizeof metric, "fair_spawn_%uspin_per_core", spinners_per_core);
    bench_emit(metric, "us", spawned, wanted);
    snprintf(metric, sizeof metric, "fair_wake_%uspin_per_core", spinners_per_core);
    bench_emit(metric, "us", woken, wanted);
}

void bench_fairness(void)
{
    wanted = scaled(SAMPLES, 10);
    behind(1);
    behind(4);
}
