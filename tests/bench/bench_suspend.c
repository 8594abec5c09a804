/*
 * bench_suspend.c: how long a goroutine goes on after somebody asked to hold it.
 *
 * A sample is: wait until the target has made progress since the last sample, read the clock, ask,
 * learn that it is stopped, read the clock. The progress matters: a target that was resumed and has
 * not run yet would be found preempted, which takes 30 ns and says nothing. While it is held its
 * progress is compared; one that moved ends the program.
 *
 * Three ways to ask, since they end differently:
 *
 * suspend_*: gr_hold_start from a thread, which then spins for the call-back, as Go's suspendG
 * spins.
 *
 * suspend_told_*: the same requests by the runtime's own stamps, asked_ns to stopped_ns.
 *
 * suspend_thread_*: gr_hold_wait; the thread sleeps and is woken.
 *
 * suspend_goroutine_*: gr_suspend from a goroutine, which parks and is made runnable.
 *
 * suspend_resume_* includes the call that lets go; resume_to_running_* is from there to the next
 * progress.
 *
 * Targets that work in calls longer than the wait for progress (memcpy of 1 MiB) are asked at a
 * random moment of the call, or every sample would find them at its beginning.
 */
#include "bench.h"

#include <stdatomic.h>
#include <sys/stat.h>

#define SAMPLES       20000
#define BUDGET_NS     20000000000ll
#define TIMEOUT_NS    2000000000ull
#define COPY_BYTES    (1 << 20)
#define COPY_JITTER   80000
#define TARGET_WARMUP 5000000

static double asked_to_known[SAMPLES], told[SAMPLES], with_resume[SAMPLES], to_running[SAMPLES];
static uint64_t safepoints[GR_SAFEPOINTS];

/* Counted by the target; relaxed reads are enough, the value is all that is passed. */
static _Atomic(uint64_t) progress;
static _Atomic(uint32_t) stop_target, target_gone;
static uint64_t sink;

static void target_left(void)
{
    atomic_store_explicit(&target_gone, 1, memory_order_release);
}

static bool target_goes_on(void)
{
    return atomic_load_explicit(&stop_target, memory_order_relaxed) == 0;
}

/* No call: only a signal stops it. */
static void spin_tight(void *arg)
{
    (void)arg;
    while (atomic_load_explicit(&stop_target, memory_order_relaxed) == 0)
        atomic_fetch_add(&progress, 1);
    target_left();
}

/* A frame as large as the Go peer's callee. */
__attribute__((noinline)) static uint64_t callee(uint64_t x)
{
    volatile uint64_t a[64];

    a[x & 63] = x;
    a[(x + 1) & 63] = x;
    return a[(x + 1) & 63] + x;
}

static void spin_calls(void *arg)
{
    uint64_t sum = 0;

    (void)arg;
    while (target_goes_on()) {
        sum += callee(sum);
        atomic_fetch_add(&progress, 1);
    }
    sink = sum;
    target_left();
}

/* Nothing but malloc and free, of sizes that touch several bins. */
static void spin_malloc(void *arg)
{
    void *kept[16] = {0};

    (void)arg;
    for (unsigned i = 0; target_goes_on(); i++) {
        free(kept[i & 15]);
        kept[i & 15] = malloc(24 + (i * 2654435761u >> 18));
        atomic_fetch_add(&progress, 1);
    }
    for (unsigned i = 0; i < 16; i++)
        free(kept[i]);
    target_left();
}

static void spin_memcpy(void *arg)
{
    char *from = malloc(COPY_BYTES), *to = malloc(COPY_BYTES);

    (void)arg;
    if (!from || !to)
        bench_fail("no memory for two blocks of %d bytes", COPY_BYTES);
    memset(from, 1, COPY_BYTES);
    while (target_goes_on()) {
        memcpy(to, from, COPY_BYTES);
        __asm__ volatile("" ::"r"(to) : "memory");
        atomic_fetch_add(&progress, 1);
    }
    free(from);
    free(to);
    target_left();
}

static void receive_one(void *chan)
{
    gr_chan_recv(chan, NULL);
    target_left();
}

/* Opening a FIFO for reading blocks in the kernel, and no poller knows it. */
static char fifo_path[64];
static void open_fifo(void *arg)
{
    FILE *fifo = fopen(fifo_path, "r");

    (void)arg;
    if (fifo)
        fclose(fifo);
    target_left();
}

static void wait_for_progress(uint64_t since, uint64_t more)
{
    int64_t give_up = now_ns() + 10000000000ll;

    while (atomic_load_explicit(&progress, memory_order_relaxed) < since + more)
        if (now_ns() > give_up)
            bench_fail("a target made no progress for 10 s after it was resumed");
}

static uint64_t progress_now(void)
{
    return atomic_load_explicit(&progress, memory_order_relaxed);
}

static _Atomic(uint32_t) called_back;
static void on_told(struct gr_hold *hold)
{
    (void)hold;
    /* release; pairs with the acquire in ask_spinning: the record is ours again. */
    atomic_store_explicit(&called_back, 1, memory_order_release);
}

/* The three ways to ask. Each returns once the target is stopped. */
typedef void ask_fn(struct gr_hold *hold, uint64_t id);

static void ask_spinning(struct gr_hold *hold, uint64_t id)
{
    int result;

    atomic_store_explicit(&called_back, 0, memory_order_relaxed);
    result = gr_hold_start(hold, id, TIMEOUT_NS, on_told, NULL);
    if (result == GR_HOLD_PENDING)
        while (!atomic_load_explicit(&called_back, memory_order_acquire))
            ;
    else if (result != GR_HOLD_STOPPED)
        bench_fail("gr_hold_start: %s", strerror(-result));
}

static void ask_sleeping(struct gr_hold *hold, uint64_t id)
{
    int result = gr_hold_wait(hold, id, TIMEOUT_NS);

    if (result != 0)
        bench_fail("gr_hold_wait: %s", strerror(-result));
}

struct shape {
    const char *name;
    bool progresses;
    uint64_t progress_before; /* a sample begins after so much */
    int64_t jitter_ns;        /* and a random time up to this */
};

static void before_sample(const struct shape *shape, unsigned *seed)
{
    if (!shape->progresses)
        return;
    wait_for_progress(progress_now(), shape->progress_before);
    if (shape->jitter_ns > 0)
        spin_ns(rand_r(seed) % shape->jitter_ns);
}

/* One request by a thread: fills sample i. */
static void sample_thread(const struct shape *shape, uint64_t id, ask_fn *ask, int i)
{
    struct gr_hold hold;
    uint64_t before, state;
    int64_t t0, t1, t2;

    memset(&hold, 0, sizeof hold);
    t0 = now_ns();
    ask(&hold, id);
    t1 = now_ns();
    state = atomic_load_explicit(&hold.state, memory_order_acquire);
    if (state != GR_HOLD_STOPPED)
        bench_fail("%s: a hold ended in state %d, attempts %d, pc 0x%llx", shape->name, (int)state,
                   (int)hold.attempts, (unsigned long long)hold.pc);
    before = progress_now();
    told[i] = (double)(hold.stopped_ns - hold.asked_ns);
    safepoints[hold.safepoint]++;
    if (progress_now() != before)
        bench_fail("%s: it moved while it was held", shape->name);
    t2 = now_ns();
    gr_hold_end(&hold);
    with_resume[i] = (double)(t1 - t0 + now_ns() - t2);
    asked_to_known[i] = (double)(t1 - t0);
    if (shape->progresses) {
        wait_for_progress(before, 1);
        to_running[i] = (double)(now_ns() - t2);
    }
}

static void emit_named(const char *prefix, const char *name, double *v, int n)
{
    char metric[96];

    snprintf(metric, sizeof metric, "%s_%s", prefix, name);
    bench_emit(metric, "ns", v, n);
}

static void measure_by_thread(const struct shape *shape, uint64_t id, int n)
{
    int64_t end = now_ns() + BUDGET_NS;
    unsigned seed = 1;
    int taken = 0;

    memset(safepoints, 0, sizeof safepoints);
    for (; taken < n && now_ns() < end; taken++) {
        before_sample(shape, &seed);
        sample_thread(shape, id, ask_spinning, taken);
    }
    emit_named("suspend", shape->name, asked_to_known, taken);
    emit_named("suspend_told", shape->name, told, taken);
    emit_named("suspend_resume", shape->name, with_resume, taken);
    if (shape->progresses)
        emit_named("resume_to_running", shape->name, to_running, taken);
    fprintf(stderr, "%s %s: stopped blocked %llu, at a check %llu, by signal %llu\n", bench_peer,
            shape->name, (unsigned long long)safepoints[GR_SAFEPOINT_BLOCKED],
            (unsigned long long)safepoints[GR_SAFEPOINT_SYNC],
            (unsigned long long)safepoints[GR_SAFEPOINT_ASYNC]);
    end = now_ns() + BUDGET_NS;
    for (taken = 0; taken < n && now_ns() < end; taken++) {
        before_sample(shape, &seed);
        sample_thread(shape, id, ask_sleeping, taken);
    }
    emit_named("suspend_thread", shape->name, asked_to_known, taken);
}

struct by_goroutine {
    const struct shape *shape;
    uint64_t id;
    int wanted, taken;
};

static void suspend_in_goroutine(void *arg)
{
    struct by_goroutine *by = arg;
    int64_t end = now_ns() + BUDGET_NS;
    unsigned seed = 1;

    for (; by->taken < by->wanted && now_ns() < end; by->taken++) {
        gr_suspension suspension;
        int64_t t0;
        int result;

        before_sample(by->shape, &seed);
        t0 = now_ns();
        result = gr_suspend(by->id, TIMEOUT_NS, &suspension);
        asked_to_known[by->taken] = (double)(now_ns() - t0);
        if (result != 0)
            bench_fail("%s: gr_suspend: %s", by->shape->name, strerror(-result));
        gr_resume(suspension);
    }
}

static void measure(const struct shape *shape, void (*body)(void *), void *arg)
{
    struct by_goroutine by = {shape, 0, scaled(SAMPLES, 20), 0};

    atomic_store_explicit(&stop_target, 0, memory_order_relaxed);
    atomic_store_explicit(&target_gone, 0, memory_order_relaxed);
    by.id = bench_go(body, arg);
    /* Into its loop, or to sleep: nothing tells when it has got there in the kernel. */
    spin_ns(TARGET_WARMUP);
    measure_by_thread(shape, by.id, by.wanted);
    bench_run(suspend_in_goroutine, &by);
    emit_named("suspend_goroutine", shape->name, asked_to_known, by.taken);
}

static void end_target(void)
{
    atomic_store_explicit(&stop_target, 1, memory_order_relaxed);
    while (!atomic_load_explicit(&target_gone, memory_order_acquire))
        usleep(100);
}

static void measure_spinning(const struct shape *shape, void (*body)(void *))
{
    measure(shape, body, NULL);
    end_target();
}

static void measure_blocked(void)
{
    static const struct shape blocked = {.name = "blocked_chan"}, in_call = {.name = "in_syscall"};
    struct gr_chan *chan = gr_chan_create(0, 0);
    FILE *other_end;

    if (!chan)
        bench_fail("no memory for a channel");
    measure(&blocked, receive_one, chan);
    gr_chan_close(chan);
    end_target();
    gr_chan_destroy(chan);

    snprintf(fifo_path, sizeof fifo_path, "/tmp/grasp-bench-%d", (int)getpid());
    if (mkfifo(fifo_path, 0600) != 0)
        bench_fail("%s: a FIFO cannot be made there", fifo_path);
    measure(&in_call, open_fifo, NULL);
    other_end = fopen(fifo_path, "w");
    end_target();
    if (other_end)
        fclose(other_end);
    unlink(fifo_path);
}

void bench_suspend(void)
{
    static const struct shape tight = {"spin_tight", true, 50, 0};
    static const struct shape calls = {"spin_calls", true, 50, 0};
    static const struct shape in_malloc = {"libc_malloc", true, 50, 0};
    static const struct shape in_memcpy = {"libc_memcpy_1MiB", true, 1, COPY_JITTER};

    measure_spinning(&tight, spin_tight);
    measure_spinning(&calls, spin_calls);
    measure_spinning(&in_malloc, spin_malloc);
    measure_spinning(&in_memcpy, spin_memcpy);
    measure_blocked();
}
