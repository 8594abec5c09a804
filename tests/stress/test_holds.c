/*
 * test_holds.c: many parties that suspend the same goroutines, in every way there is, at the same
 * time.
 *
 * What has to hold at the end is arithmetic: every request was answered once, as stopped, timed
 * out, gone or withdrawn; the holds are 0; who was held goes on. What has to hold in between is
 * that nobody moves while a hold says so.
 */
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define THREADS 8

/* ---- Eight threads, one goroutine ------------------------------------------------------------ */

struct victim {
    struct spinner spinner; /* first: the goroutine function gets it */
    struct gr_chan *chan;
};

static struct victim victim;
static atomic_ulong budget, cancelled;

static void sleeper(void *arg)
{
    struct spinner *s = arg;

    while (!atomic_load(&s->stop)) {
        atomic_fetch_add(&s->count, 1);
        usleep(50);
    }
}

static void receiver(void *arg)
{
    struct victim *v = arg;
    int got;

    while (gr_chan_recv(v->chan, &got) == 0)
        atomic_fetch_add(&v->spinner.count, 1);
}

static void allocator(void *arg)
{
    struct spinner *s = arg;

    while (!atomic_load(&s->stop)) {
        void *volatile bytes = malloc(100); /* volatile: or the compiler leaves both calls out */

        free(bytes);
        atomic_fetch_add(&s->count, 1);
    }
}

/* The hold says that the victim stands still: it does. */
static void check_still(void)
{
    unsigned long count = atomic_load(&victim.spinner.count);

    for (int i = 0; i < 20; i++)
        __asm__ volatile("" ::: "memory");
    CHECK(atomic_load(&victim.spinner.count) == count);
}

static void hold_and_wait(uint64_t timeout_ns)
{
    struct gr_hold h = {0};
    int error = gr_hold_wait(&h, victim.spinner.id, timeout_ns);

    if (error) {
        CHECK(error == -ETIMEDOUT);
        CHECK(timeout_ns < HOLD_TIMEOUT_NS);
        CHECK(gr_hold_end(&h) == -EINVAL);
        return;
    }
    check_still();
    CHECK(gr_hold_end(&h) == 0);
    CHECK(gr_hold_end(&h) == -EINVAL);
}

struct call_back {
    struct gr_hold hold;
    bool end_there;
    atomic_uint told;
};

static void on_told(struct gr_hold *hold)
{
    struct call_back *c = hold->ctx;

    if (c->end_there && atomic_load(&hold->state) == GR_HOLD_STOPPED)
        CHECK(gr_hold_end(hold) == 0);
    CHECK(atomic_fetch_add(&c->told, 1) == 0);
}

static void await_call_back(struct call_back *c)
{
    uint64_t give_up = gr_now_ns() + WATCHDOG_NS;

    while (!atomic_load(&c->told) && gr_now_ns() < give_up)
        sched_yield();
    CHECK(atomic_load(&c->told) == 1);
}

static void hold_by_call_back(uint64_t timeout_ns, bool cancel, bool end_there)
{
    struct call_back *c = calloc(1, sizeof *c);
    int result;

    c->end_there = end_there;
    result = gr_hold_start(&c->hold, victim.spinner.id, timeout_ns, on_told, c);
    if (result == GR_HOLD_PENDING && cancel && gr_hold_cancel(&c->hold)) {
        atomic_fetch_add(&cancelled, 1);
        CHECK(atomic_load(&c->hold.state) == GR_HOLD_WITHDRAWN);
        CHECK(atomic_load(&c->told) == 0);
    } else if (result == GR_HOLD_PENDING) {
        await_call_back(c);
        if (atomic_load(&c->hold.state) == GR_HOLD_STOPPED) {
            check_still();
            CHECK(gr_hold_end(&c->hold) == 0);
        }
    } else if (result == GR_HOLD_STOPPED) {
        CHECK(atomic_load(&c->told) == 0);
        check_still();
        CHECK(gr_hold_end(&c->hold) == 0);
    } else {
        CHECK(result == -ETIMEDOUT && timeout_ns == 0);
    }
    free(c);
}

static void *party(void *arg)
{
    uint64_t random = test_seed * 31 + (uint64_t)(uintptr_t)arg;

    while (!has_faults() && (long)atomic_fetch_sub(&budget, 1) > 0) {
        uint64_t r = next_random(&random);
        uint64_t timeout = r & 8 ? HOLD_TIMEOUT_NS : r & 16 ? (r >> 8) % 50000 : (r >> 8) % 2;

        if (r & 1)
            hold_and_wait(timeout);
        else
            hold_by_call_back(timeout, r & 2, r & 4);
    }
    return NULL;
}

static void eight_parties_hold(void (*fn)(void *), uint64_t times)
{
    pthread_t thread[THREADS];
    struct gr_stats before, after;

    atomic_store(&victim.spinner.count, 0);
    atomic_store(&victim.spinner.stop, 0);
    atomic_store(&budget, times);
    atomic_store(&cancelled, 0);
    gr_stats(&before);
    victim.spinner.id = gr_go(fn, &victim);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, party, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    expect_no_faults();
    assert_int_equal(info_of(victim.spinner.id).holds, 0);
    gr_stats(&after);
    assert_int_equal(after.held, 0);
    /* Each request had one end. */
    assert_int_equal(after.suspends - before.suspends,
                     after.resumes - before.resumes + after.suspend_timeouts -
                         before.suspend_timeouts + atomic_load(&cancelled));
    assert_int_equal(after.suspends_gone, before.suspends_gone);
}

static void eight_threads_hold_one_that_runs(void **state)
{
    (void)state;
    eight_parties_hold(spin, 40000 * stress_factor());
    eventually_moves(&victim.spinner.count);
    spinner_end(&victim.spinner);
}

static void eight_threads_hold_one_in_system_calls(void **state)
{
    (void)state;
    eight_parties_hold(sleeper, 20000 * stress_factor());
    eventually_moves(&victim.spinner.count);
    spinner_end(&victim.spinner);
}

static void eight_threads_hold_one_in_malloc(void **state)
{
    (void)state;
    eight_parties_hold(allocator, 20000 * stress_factor());
    eventually_moves(&victim.spinner.count);
    spinner_end(&victim.spinner);
}

static void eight_threads_hold_one_that_waits(void **state)
{
    unsigned long count;
    int value = 1;

    (void)state;
    victim.chan = gr_chan_create(sizeof value, 0);
    eight_parties_hold(receiver, 20000 * stress_factor());
    eventually_waits(victim.spinner.id, "chan receive");
    count = atomic_load(&victim.spinner.count);
    assert_int_equal(gr_chan_try_send(victim.chan, &value), 0);
    eventually_moves_from(&victim.spinner.count, count);
    gr_chan_close(victim.chan);
    eventually_dead(victim.spinner.id);
    gr_chan_destroy(victim.chan);
}

/* ---- Suspend against exit (E3) --------------------------------------------------------------- */

struct short_life {
    uint64_t loops, way;
};

static void live_shortly(void *arg)
{
    struct short_life *life = arg;

    for (uint64_t i = 0; i < life->loops; i++)
        __asm__ volatile("" ::: "memory");
    if (life->way == 1)
        gr_yield();
    if (life->way == 2)
        usleep(1);
    if (life->way == 3)
        gr_sleep_ns(1000);
}

static void race_with_exit(uint64_t *random, unsigned *stopped, unsigned *gone)
{
    struct short_life life = {next_random(random) % 30000, next_random(random) % 4};
    struct call_back c = {.end_there = next_random(random) & 1};
    bool by_call_back = next_random(random) & 1;
    uint64_t delay = next_random(random) % 30000, id = gr_go(live_shortly, &life);
    int result;

    assert_int_not_equal(id, 0);
    for (uint64_t i = 0; i < delay; i++)
        __asm__ volatile("" ::: "memory");
    if (by_call_back) {
        result = gr_hold_start(&c.hold, id, HOLD_TIMEOUT_NS, on_told, &c);
        if (result == GR_HOLD_PENDING) {
            await_call_back(&c);
            result = c.end_there && atomic_load(&c.hold.state) == GR_HOLD_RELEASED
                         ? GR_HOLD_RELEASED
                         : (int)atomic_load(&c.hold.state);
        }
    } else {
        result = gr_hold_wait(&c.hold, id, HOLD_TIMEOUT_NS);
        result = result == 0 ? GR_HOLD_STOPPED : result;
    }
    if (result == GR_HOLD_STOPPED) {
        assert_int_equal(gr_hold_end(&c.hold), 0);
        ++*stopped;
    } else if (result == GR_HOLD_RELEASED) {
        ++*stopped;
    } else {
        assert_true(result == GR_HOLD_GONE || result == -EOWNERDEAD || result == -ESRCH);
        assert_int_equal(gr_hold_end(&c.hold), -EINVAL);
        ++*gone;
    }
    eventually_dead(id);
}

static void suspend_of_one_that_exits_stops_it_or_says_gone(void **state)
{
    uint64_t random = test_seed;
    unsigned stopped = 0, gone = 0;
    struct gr_stats before, after;

    (void)state;
    gr_stats(&before);
    for (uint64_t i = 0; i < 5000 * stress_factor(); i++)
        race_with_exit(&random, &stopped, &gone);
    print_message("%u stopped, %u gone\n", stopped, gone);
    assert_true(stopped > 0);
    assert_true(gone > 0);
    eventually_alone(before.live);
    gr_stats(&after);
    assert_int_equal(after.held, 0);
    expect_no_faults();
}

/* ---- Goroutines that suspend each other (E2) ------------------------------------------------- */

#define CIRCLE 3
static struct member {
    uint64_t id, times;
    atomic_ulong count;
    unsigned long seen; /* the main thread's */
    struct member *other;
} member[CIRCLE];
static atomic_uint go;

/* Suspends the next member of the circle over and over; it may be suspended itself at any time. */
static void suspend_other(void *arg)
{
    struct member *m = arg;

    while (!atomic_load(&go))
        gr_yield();
    for (uint64_t i = 0; i < m->times; i++) {
        gr_suspension s;
        int error = gr_suspend(m->other->id, HOLD_TIMEOUT_NS, &s);

        if (error == -ESRCH)
            break; /* it has ended */
        CHECK(error == 0);
        if (error)
            break;
        CHECK(gr_resume(s) == 0);
        CHECK(gr_resume(s) == -EINVAL);
        atomic_fetch_add(&m->count, 1);
    }
}

static bool ended_or_moved(void *arg)
{
    struct member *m = arg;
    struct gr_info info;

    return gr_info(m->id, &info) != 0 || info.state == GR_DEAD || atomic_load(&m->count) != m->seen;
}

/* The watchdog runs only while it makes no progress. */
static void eventually_ends_or_moves(struct member *m)
{
    struct gr_info info;

    while (!has_faults() && gr_info(m->id, &info) == 0 && info.state != GR_DEAD) {
        m->seen = atomic_load(&m->count);
        eventually(ended_or_moved, m, "the member of the circle goes on");
    }
}

static void circle_suspends(int members, uint64_t times)
{
    struct gr_stats stats;

    atomic_store(&go, 0);
    for (int i = 0; i < members; i++) {
        member[i] = (struct member){.times = times, .other = &member[(i + 1) % members]};
        member[i].id = gr_go(suspend_other, &member[i]);
        assert_int_not_equal(member[i].id, 0);
    }
    atomic_store(&go, 1);
    for (int i = 0; i < members; i++)
        eventually_ends_or_moves(&member[i]);
    expect_no_faults();
    gr_stats(&stats);
    assert_int_equal(stats.held, 0);
}

static void two_that_suspend_each_other_both_end(void **state)
{
    (void)state;
    circle_suspends(2, 100000 * stress_factor());
}

static void three_that_suspend_in_a_circle_all_end(void **state)
{
    (void)state;
    circle_suspends(3, 30000 * stress_factor());
}

/* ---- All at once (G3, G4) -------------------------------------------------------------------- */

#define SPINNERS 5

static void suspend_all(struct gr_hold *holds, struct spinner *s)
{
    for (int i = 0; i < SPINNERS; i++)
        hold(&holds[i], s[i].id);
}

static void all_spinners_stop_and_resume_1000_times(void **state)
{
    struct spinner s[SPINNERS];
    struct gr_hold h[SPINNERS];

    (void)state;
    for (int i = 0; i < SPINNERS; i++)
        spinner_start(&s[i]);
    for (int round = 0; round < 1000; round++) {
        unsigned long count[SPINNERS];

        suspend_all(h, s);
        for (int i = 0; i < SPINNERS; i++)
            count[i] = atomic_load(&s[i].count);
        for (int i = 0; i < SPINNERS; i++)
            assert_int_equal(atomic_load(&s[i].count), count[i]);
        for (int i = 0; i < SPINNERS; i++)
            release(&h[i]);
    }
    for (int i = 0; i < SPINNERS; i++)
        eventually_moves(&s[i].count);
    for (int i = 0; i < SPINNERS; i++)
        spinner_end(&s[i]);
}

static atomic_uint stop_spawning;
static atomic_ulong generations;

/* Lives on in its child. */
static void spawn_self(void *arg)
{
    atomic_fetch_add(&generations, 1);
    if (!atomic_load(&stop_spawning) && gr_go(spawn_self, arg) == 0)
        fault_at(__FILE__, __LINE__, "no child");
}

static void *change_procs(void *arg)
{
    uint64_t random = test_seed;

    (void)arg;
    while (!atomic_load(&stop_spawning)) {
        CHECK(gr_set_procs(1 + (unsigned)(next_random(&random) % 4)) == 0);
        usleep(100);
    }
    CHECK(gr_set_procs(2) == 0);
    return NULL;
}

static void suspend_all_with_changing_procs_and_a_self_spawner_goes_on(void **state)
{
    struct spinner s[SPINNERS];
    struct gr_hold h[SPINNERS];
    pthread_t thread;

    (void)state;
    atomic_store(&stop_spawning, 0);
    for (int i = 0; i < SPINNERS; i++)
        spinner_start(&s[i]);
    assert_int_not_equal(gr_go(spawn_self, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, change_procs, NULL), 0);
    for (int round = 0; round < 300; round++) {
        suspend_all(h, s);
        eventually_moves(&generations);
        for (int i = 0; i < SPINNERS; i++)
            release(&h[i]);
    }
    atomic_store(&stop_spawning, 1);
    pthread_join(thread, NULL);
    for (int i = 0; i < SPINNERS; i++)
        eventually_moves(&s[i].count);
    for (int i = 0; i < SPINNERS; i++)
        spinner_end(&s[i]);
    eventually_alone(0);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_threads_hold_one_that_runs),
        cmocka_unit_test(eight_threads_hold_one_in_system_calls),
        cmocka_unit_test(eight_threads_hold_one_in_malloc),
        cmocka_unit_test(eight_threads_hold_one_that_waits),
        cmocka_unit_test(suspend_of_one_that_exits_stops_it_or_says_gone),
        cmocka_unit_test(two_that_suspend_each_other_both_end),
        cmocka_unit_test(three_that_suspend_in_a_circle_all_end),
        cmocka_unit_test(all_spinners_stop_and_resume_1000_times),
        cmocka_unit_test(suspend_all_with_changing_procs_and_a_self_spawner_goes_on),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
