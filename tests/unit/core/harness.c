/*
 * harness.c: see harness.h.
 */
#include "harness.h"

#include <sched.h>
#include <sys/random.h>
#include <unistd.h>

bool async_on = true;
uint64_t test_seed;

static _Atomic(const char *) fault_text;
static const char *fault_file;
static int fault_line;
static atomic_uint fault_taken;

void harness_start(int argc, char **argv, struct gr_options options)
{
    const char *seed = getenv("GRASP_TEST_SEED");
    char err[512] = "";

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--async-preempt=off") == 0)
            async_on = false;
        if (strncmp(argv[i], "--only=", 7) == 0)
            cmocka_set_test_filter(argv[i] + 7);
    }
    if (seed)
        test_seed = strtoull(seed, NULL, 0);
    else if (getrandom(&test_seed, sizeof test_seed, 0) != sizeof test_seed)
        test_seed = (uint64_t)getpid();
    printf("GRASP_TEST_SEED=0x%llx\n", (unsigned long long)test_seed);
    options.async_preempt_off = !async_on;
    if (gr_start(&options, err, sizeof err) != 0) {
        fprintf(stderr, "the runtime does not start: %s\n", err);
        exit(2);
    }
}

uint64_t stress_factor(void)
{
    const char *text = getenv("GRASP_STRESS");
    uint64_t factor = text ? strtoull(text, NULL, 10) : 1;

    return factor > 0 ? factor : 1;
}

uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- Waiting --------------------------------------------------------------------------------- */

void eventually(condition_fn *cond, void *arg, const char *what)
{
    uint64_t give_up = gr_now_ns() + WATCHDOG_NS;

    while (!cond(arg)) {
        if (gr_now_ns() > give_up)
            fail_msg("never: %s", what);
        usleep(20);
    }
}

bool word_is_set(void *word)
{
    return atomic_load((atomic_uint *)word) != 0;
}

struct wanted_count {
    atomic_uint *count;
    unsigned wanted;
};

static bool count_reached(void *arg)
{
    struct wanted_count *w = arg;

    return atomic_load(w->count) >= w->wanted;
}

void eventually_count(atomic_uint *count, unsigned wanted, const char *what)
{
    struct wanted_count w = {count, wanted};

    eventually(count_reached, &w, what);
    assert_int_equal(atomic_load(count), wanted);
}

static bool is_dead(void *id)
{
    struct gr_info info;
    int error = gr_info(*(uint64_t *)id, &info);

    return error == -EOWNERDEAD || (error == 0 && info.state == GR_DEAD);
}

void eventually_dead(uint64_t id)
{
    eventually(is_dead, &id, "the goroutine ends");
}

struct moving {
    atomic_ulong *counter;
    unsigned long seen;
};

static bool has_moved(void *arg)
{
    struct moving *m = arg;

    return atomic_load(m->counter) != m->seen;
}

void eventually_moves(atomic_ulong *counter)
{
    eventually_moves_from(counter, atomic_load(counter));
}

void eventually_moves_from(atomic_ulong *counter, unsigned long seen)
{
    struct moving m = {counter, seen};

    eventually(has_moved, &m, "the counter moves");
}

struct waiting {
    uint64_t id;
    const char *reason;
};

static bool waits(void *arg)
{
    struct waiting *w = arg;
    struct gr_info info;

    return gr_info(w->id, &info) == 0 && strcmp(info.wait_reason, w->reason) == 0;
}

void eventually_waits(uint64_t id, const char *reason)
{
    struct waiting w = {id, reason};

    eventually(waits, &w, reason);
}

static bool alone(void *others)
{
    struct gr_stats stats;

    gr_stats(&stats);
    return stats.live <= *(uint64_t *)others;
}

void eventually_alone(uint64_t others)
{
    eventually(alone, &others, "all goroutines of the test have ended");
}

struct gr_info info_of(uint64_t id)
{
    struct gr_info info;

    assert_int_equal(gr_info(id, &info), 0);
    return info;
}

/* ---- Holding --------------------------------------------------------------------------------- */

void hold(struct gr_hold *hold, uint64_t id)
{
    int error;

    memset(hold, 0, sizeof *hold);
    error = gr_hold_wait(hold, id, HOLD_TIMEOUT_NS);
    if (error)
        fail_msg("goroutine %llu can't be stopped: %s", (unsigned long long)id, strerror(-error));
    assert_int_equal(atomic_load(&hold->state), GR_HOLD_STOPPED);
}

void release(struct gr_hold *hold)
{
    assert_int_equal(gr_hold_end(hold), 0);
}

void expect_time_out(struct gr_hold *hold, uint64_t id, enum gr_refusal reason)
{
    uint64_t give_up = gr_now_ns() + WATCHDOG_NS;

    do {
        assert_true(gr_now_ns() < give_up);
        memset(hold, 0, sizeof *hold);
        assert_int_equal(gr_hold_wait(hold, id, 30000000), -ETIMEDOUT);
    } while (hold->refused[reason] == 0);
}

bool stands_still(atomic_ulong *counter)
{
    unsigned long before = atomic_load(counter);

    for (int looks = 0; looks < 100; looks++) {
        sched_yield();
        if (atomic_load(counter) != before)
            return false;
    }
    return true;
}

/* ---- Spinners -------------------------------------------------------------------------------- */

__attribute__((noinline)) static void count_one(struct spinner *s)
{
    atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
}

void spin(void *spinner)
{
    struct spinner *s = spinner;

    if (async_on) {
        while (!atomic_load_explicit(&s->stop, memory_order_relaxed))
            atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
    } else {
        while (!atomic_load_explicit(&s->stop, memory_order_relaxed))
            count_one(s);
    }
}

void spinner_start(struct spinner *spinner)
{
    atomic_store(&spinner->count, 0);
    atomic_store(&spinner->stop, 0);
    spinner->id = gr_go(spin, spinner);
    assert_int_not_equal(spinner->id, 0);
    eventually_moves(&spinner->count);
}

void spinner_end(struct spinner *spinner)
{
    atomic_store(&spinner->stop, 1);
    eventually_dead(spinner->id);
}

/* ---- Faults of goroutines -------------------------------------------------------------------- */

void fault_at(const char *file, int line, const char *what)
{
    if (atomic_exchange(&fault_taken, 1))
        return;
    fault_file = file;
    fault_line = line;
    /* release; pairs with expect_no_faults: file and line are seen. */
    atomic_store_explicit(&fault_text, what, memory_order_release);
}

bool has_faults(void)
{
    return atomic_load(&fault_text) != NULL;
}

void expect_no_faults(void)
{
    const char *what = atomic_load_explicit(&fault_text, memory_order_acquire);

    if (!what)
        return;
    atomic_store(&fault_text, NULL);
    atomic_store(&fault_taken, 0);
    fail_msg("%s:%d: not so in a goroutine: %s", fault_file, fault_line, what);
}
