/*
 * bench_sched.c: what it costs to be born, to yield, to pass a value on, to sleep, and to be there.
 *
 * Batches as in the Go peer: a sample of spawn+exit is 10,000 children of one goroutine joined by a
 * wait group, one of yield 10,000 yields by each of 2 goroutines a processor, and 20 by each of
 * 10,000, most of which no processor's own queue has room for, one of ping-pong 100 round trips over two channels without a buffer. Memory is the growth of the resident set and of
 * page tables, which the kernel counts apart and which a sparse stack layout can waste (128 bytes
 * to 2 KiB a goroutine).
 */
#include "bench.h"

#define SPAWN_BATCHES 100
#define SPAWN_BATCH   10000
#define YIELD_BATCHES 100
#define YIELDS        10000
#define CROWD         10000
#define CROWD_YIELDS  20
#define PING_BATCHES  2000
#define PINGS         100
#define SLEEPERS      10000
#define IDLE          100000

static double samples[SLEEPERS];
static int wanted;

static void emit_threads(const char *metric, const char *unit)
{
    char name[64];

    snprintf(name, sizeof name, "%s_%uthr", metric, bench_procs);
    bench_emit(name, unit, samples, wanted);
}

static gr_waitgroup group;

static void done_at_once(void *arg)
{
    (void)arg;
    gr_waitgroup_done(&group);
}

static void spawn_batches(void *arg)
{
    (void)arg;
    for (int b = 0; b < wanted; b++) {
        int64_t start;

        gr_waitgroup_add(&group, SPAWN_BATCH);
        start = now_ns();
        for (int i = 0; i < SPAWN_BATCH; i++)
            bench_go(done_at_once, NULL);
        gr_waitgroup_wait(&group);
        samples[b] = (double)(now_ns() - start) / SPAWN_BATCH;
    }
}

static int goroutines, yields;

static void yielder(void *arg)
{
    (void)arg;
    for (int i = 0; i < yields; i++)
        gr_yield();
    gr_waitgroup_done(&group);
}

static void yield_batches(void *arg)
{
    (void)arg;
    for (int b = 0; b < wanted; b++) {
        int64_t start;

        gr_waitgroup_add(&group, goroutines);
        start = now_ns();
        for (int i = 0; i < goroutines; i++)
            bench_go(yielder, NULL);
        gr_waitgroup_wait(&group);
        samples[b] = (double)(now_ns() - start) / (yields * goroutines);
    }
}

static struct gr_chan *to_ponger, *to_pinger;

static void ponger(void *arg)
{
    int64_t value;

    (void)arg;
    while (gr_chan_recv(to_ponger, &value) == 0)
        gr_chan_send(to_pinger, &value);
    gr_waitgroup_done(&group);
}

static void ping_batches(void *arg)
{
    (void)arg;
    gr_waitgroup_add(&group, 1);
    bench_go(ponger, NULL);
    for (int b = 0; b < wanted; b++) {
        int64_t start = now_ns();

        for (int64_t i = 0; i < PINGS; i++) {
            int64_t back = -1;

            gr_chan_send(to_ponger, &i);
            if (gr_chan_recv(to_pinger, &back) != 0 || back != i)
                bench_fail("ping-pong: %lld came back for %lld", (long long)back, (long long)i);
        }
        samples[b] = (double)(now_ns() - start) / PINGS;
    }
    gr_chan_close(to_ponger);
    gr_waitgroup_wait(&group);
}

void bench_switch(void)
{
    wanted = scaled(SPAWN_BATCHES, 10);
    bench_run(spawn_batches, NULL);
    emit_threads("spawn_exit", "ns/task");
    wanted = scaled(YIELD_BATCHES, 10);
    goroutines = 2 * (int)bench_procs;
    yields = YIELDS;
    bench_run(yield_batches, NULL);
    emit_threads("yield", "ns/switch");
    to_ponger = gr_chan_create(sizeof(int64_t), 0);
    to_pinger = gr_chan_create(sizeof(int64_t), 0);
    if (!to_ponger || !to_pinger)
        bench_fail("no memory for a channel");
    wanted = scaled(PING_BATCHES, 20);
    bench_run(ping_batches, NULL);
    emit_threads("pingpong_rtt", "ns/rtt");
    /* Last: for a while after it the stacks of those who have ended are given back. */
    goroutines = CROWD;
    yields = CROWD_YIELDS;
    wanted = scaled(YIELD_BATCHES, 10);
    bench_run(yield_batches, NULL);
    emit_threads("yield_crowd", "ns/switch");
}

/* ---- Sleep ----------------------------------------------------------------------------------- */

static int64_t sleep_base;

static void sleeper(void *arg)
{
    long index = (long)arg;
    /* Due at moments spread over one second, in no order. */
    int64_t due = sleep_base + (index * 7919 % SLEEPERS) * (1000000000 / SLEEPERS);
    int64_t now = now_ns();

    gr_sleep_ns(due > now ? (uint64_t)(due - now) : 0);
    samples[index] = (double)(now_ns() - due) / 1000;
    gr_waitgroup_done(&group);
}

static void start_sleepers(void *arg)
{
    (void)arg;
    gr_waitgroup_add(&group, SLEEPERS);
    sleep_base = now_ns() + 100000000;
    for (long i = 0; i < SLEEPERS; i++)
        bench_go(sleeper, (void *)i);
    if (now_ns() > sleep_base)
        fputs("sleepers: making them took longer than the lead, lateness is overstated\n", stderr);
    gr_waitgroup_wait(&group);
}

void bench_sleep(void)
{
    bench_run(start_sleepers, NULL);
    bench_emit("sleep_late_10k", "us", samples, SLEEPERS);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static struct gr_chan *idle_chan;
static gr_waitgroup idle_up;
struct crowd {
    int count;
    bool stack_private;
};

static void idle(void *arg)
{
    (void)arg;
    gr_waitgroup_done(&idle_up);
    gr_chan_recv(idle_chan, NULL);
    gr_waitgroup_done(&group);
}

static void start_idle(void *arg)
{
    const struct crowd *crowd = arg;
    struct gr_go_opts opts = {.fn = idle, .stack_private = crowd->stack_private};

    gr_waitgroup_add(&idle_up, crowd->count);
    gr_waitgroup_add(&group, crowd->count);
    for (int i = 0; i < crowd->count; i++)
        if (gr_go_with(&opts) <= 0)
            bench_fail("only %d goroutines could be made", i);
    gr_waitgroup_wait(&idle_up);
    gr_sleep_ns(50000000); /* as the Go peer: what is still on its way to sleep gets there */
}

static void end_idle(void *arg)
{
    (void)arg;
    gr_chan_close(idle_chan);
    gr_waitgroup_wait(&group);
}

/* Until all stacks that can be are folded: how long that takes is not what is measured. */
static void wait_for_folds(uint64_t count)
{
    struct gr_stats stats;
    int64_t give_up = now_ns() + 120000000000ll;

    do {
        usleep(10000);
        gr_stats(&stats);
    } while (stats.folded < count && now_ns() < give_up);
    if (stats.folded < count)
        fprintf(stderr, "memory: only %llu of %llu stacks were folded\n",
                (unsigned long long)stats.folded, (unsigned long long)count);
}

static void measure_idle(const char *what, struct crowd crowd)
{
    double resident = rss_bytes(), tables = proc_bytes("/proc/self/status", "VmPTE:"), v;
    char metric[64];

    idle_chan = gr_chan_create(0, 0);
    if (!idle_chan)
        bench_fail("no memory for a channel");
    bench_run(start_idle, &crowd);
    if (crowd.stack_private)
        wait_for_folds((uint64_t)crowd.count);
    v = (rss_bytes() - resident) / crowd.count;
    snprintf(metric, sizeof metric, "idle_mem_%s", what);
    bench_emit(metric, "B/task", &v, 1);
    v = (proc_bytes("/proc/self/status", "VmPTE:") - tables) / crowd.count;
    snprintf(metric, sizeof metric, "idle_page_tables_%s", what);
    bench_emit(metric, "B/task", &v, 1);
    bench_run(end_idle, NULL);
    gr_chan_destroy(idle_chan);
}

void bench_memory(void)
{
    measure_idle("100k", (struct crowd){IDLE, false});
}

void bench_memory_private(void)
{
    measure_idle("private_100k", (struct crowd){IDLE, true});
}

void bench_memory_million(void)
{
    measure_idle("private_1M", (struct crowd){10 * IDLE, true});
}
