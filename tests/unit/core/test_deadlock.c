/*
 * test_deadlock.c: who waits for whom in a circle, and whether everybody waits (G23).
 *
 * A cycle must be found while others run; nothing must be found while somebody can still act, or
 * while everything merely moves fast.
 */
#include "harness.h"

#include <unistd.h>

#include <grasp/waits.h>

static atomic_uint ended;

static uint64_t go(void (*fn)(void *), void *arg)
{
    uint64_t id = gr_go(fn, arg);

    assert_int_not_equal(id, 0);
    return id;
}

static void receive(void *chan)
{
    int value;

    gr_chan_recv(chan, &value);
}

/* ---- Standing still -------------------------------------------------------------------------- */

struct ring {
    gr_mutex *mutex;
    size_t count, index;
    atomic_uint *has_own;
    int result;
};

/* Takes its own, and when all have theirs the next one's: a circle. */
static void take_own_and_next(void *arg)
{
    struct ring *r = arg;

    CHECK(gr_mutex_lock(&r->mutex[r->index]) == 0);
    atomic_fetch_add(r->has_own, 1);
    while (atomic_load(r->has_own) < r->count)
        gr_yield();
    r->result = gr_mutex_lock(&r->mutex[(r->index + 1) % r->count]);
    if (r->result == 0)
        gr_mutex_unlock(&r->mutex[(r->index + 1) % r->count]);
    gr_mutex_unlock(&r->mutex[r->index]);
}

struct circle {
    gr_mutex mutex[8];
    atomic_uint has_own;
    struct ring ring[8];
    uint64_t id[8];
    size_t count;
};

static void circle_start(struct circle *c, size_t count)
{
    *c = (struct circle){.count = count};
    for (size_t i = 0; i < count; i++) {
        c->ring[i] =
            (struct ring){.mutex = c->mutex, .count = count, .index = i, .has_own = &c->has_own};
        c->id[i] = go(take_own_and_next, &c->ring[i]);
    }
    for (size_t i = 0; i < count; i++)
        eventually_waits(c->id[i], "mutex lock");
}

static void circle_break(struct circle *c)
{
    assert_int_equal(gr_cancel(c->id[0]), 0);
    for (size_t i = 0; i < c->count; i++)
        eventually_dead(c->id[i]);
    assert_int_equal(c->ring[0].result, -ECANCELED);
    for (size_t i = 1; i < c->count; i++)
        assert_int_equal(c->ring[i].result, 0);
}

static void expect_cycle(const struct gr_deadlocks *report, const struct circle *c, size_t first)
{
    size_t start = 0;

    while (c->id[start] != report->stuck[first].id && ++start < c->count)
        ;
    assert_true(start < c->count);
    for (size_t i = 0; i < c->count; i++) {
        const struct gr_stuck *stuck = &report->stuck[first + i];

        assert_int_equal(stuck->id, c->id[(start + i) % c->count]);
        assert_int_equal(stuck->waits_for, c->id[(start + i + 1) % c->count]);
        assert_int_equal(stuck->object.kind, GR_OBJECT_MUTEX);
        assert_int_equal(stuck->object.address, (uint64_t)&c->mutex[(start + i + 1) % c->count]);
        assert_int_equal(stuck->cycle, report->stuck[first].cycle);
    }
}

static void a_cycle_of_locks_is_named_while_others_run(void **state)
{
    static struct circle two, five;
    struct spinner spinner;
    struct gr_deadlocks report;

    (void)state;
    spinner_start(&spinner);
    circle_start(&two, 2);
    circle_start(&five, 5);
    assert_int_equal(gr_deadlocks(&report), 0);
    assert_int_equal(report.cycles, 2);
    assert_int_equal(report.count, 7);
    assert_false(report.all_wait);
    assert_int_equal(report.because, GR_PROGRESS_RUNS);
    assert_int_equal(report.because_id, spinner.id);
    size_t second = report.stuck[1].cycle == report.stuck[2].cycle ? 5 : 2;
    expect_cycle(&report, second == 2 ? &two : &five, 0);
    expect_cycle(&report, second == 2 ? &five : &two, second);
    gr_deadlocks_free(&report);
    circle_break(&two);
    circle_break(&five);
    spinner_end(&spinner);
    eventually_alone(0);
    assert_int_equal(gr_deadlocks(&report), 0);
    assert_int_equal(report.cycles, 0);
    assert_int_equal(report.because, GR_PROGRESS_EMPTY);
    gr_deadlocks_free(&report);
    expect_no_faults();
}

static void sleep_long(void *arg)
{
    (void)arg;
    gr_sleep_ns(UINT64_C(3600000000000));
}

static void poll_fd(void *fd)
{
    gr_poll_fd((int)(intptr_t)fd, 1, -1);
}

static enum gr_progress progress_now(void)
{
    struct gr_deadlocks report;
    enum gr_progress because;

    assert_int_equal(gr_deadlocks(&report), 0);
    because = report.because;
    assert_int_equal(report.all_wait, because == GR_PROGRESS_NONE);
    gr_deadlocks_free(&report);
    return because;
}

static bool progress_is(void *because)
{
    return progress_now() == *(enum gr_progress *)because;
}

/* Is the answer once who has ended is gone: gr_info says dead a little before the goroutine's word does. */
static void eventually_progress(enum gr_progress because)
{
    eventually(progress_is, &because, "the goroutine that has ended is counted no more");
}

static void all_waiting_is_reported_but_not_while_one_can_go_on(void **state)
{
    struct gr_chan *chan = gr_chan_create(sizeof(int), 0);
    struct gr_hold held = {0};
    uint64_t id = go(receive, chan), other;
    int fd[2];

    (void)state;
    eventually_waits(id, "chan receive");
    assert_int_equal(progress_now(), GR_PROGRESS_NONE);
    /* Suspended: whoever did that can let it go on. */
    hold(&held, id);
    assert_int_equal(progress_now(), GR_PROGRESS_SUSPENDED);
    release(&held);
    assert_int_equal(progress_now(), GR_PROGRESS_NONE);
    other = go(sleep_long, NULL);
    eventually_waits(other, "sleep");
    assert_int_equal(progress_now(), GR_PROGRESS_TIMER);
    gr_cancel(other);
    eventually_dead(other);
    eventually_progress(GR_PROGRESS_NONE);
    assert_int_equal(pipe(fd), 0);
    other = go(poll_fd, (void *)(intptr_t)fd[0]);
    eventually_waits(other, "poll");
    assert_int_equal(progress_now(), GR_PROGRESS_FD);
    gr_cancel(other);
    eventually_dead(other);
    eventually_progress(GR_PROGRESS_NONE);
    gr_chan_close(chan);
    eventually_alone(0);
    assert_int_equal(progress_now(), GR_PROGRESS_EMPTY);
    gr_chan_destroy(chan);
    close(fd[0]);
    close(fd[1]);
}

static void a_cycle_with_a_suspended_member_is_kept_silent(void **state)
{
    static struct circle two;
    struct gr_deadlocks report;
    struct gr_hold held = {0};

    (void)state;
    circle_start(&two, 2);
    hold(&held, two.id[1]);
    assert_int_equal(gr_deadlocks(&report), 0);
    assert_int_equal(report.cycles, 0);
    assert_int_equal(report.because, GR_PROGRESS_SUSPENDED);
    assert_int_equal(report.because_id, two.id[1]);
    gr_deadlocks_free(&report);
    release(&held);
    assert_int_equal(gr_deadlocks(&report), 0);
    assert_int_equal(report.cycles, 1);
    assert_true(report.all_wait);
    gr_deadlocks_free(&report);
    circle_break(&two);
    eventually_alone(0);
    expect_no_faults();
}

/* ---- While everything moves ------------------------------------------------------------------ */

enum { MOVERS = 8, MOVES = 20000 };

struct movers {
    gr_mutex mutex[3];
    struct gr_chan *chan;
};

/* Locks in one order: there is never a cycle. */
static void move(void *arg)
{
    struct movers *m = arg;
    uint64_t random = test_seed ^ gr_id();
    int value = 0;

    for (unsigned i = 0; i < MOVES; i++) {
        unsigned a = next_random(&random) % 3, b = next_random(&random) % 3;
        unsigned low = a < b ? a : b, high = a < b ? b : a;

        CHECK(gr_mutex_lock(&m->mutex[low]) == 0);
        if (high != low)
            CHECK(gr_mutex_lock(&m->mutex[high]) == 0);
        if (i % 8 == 0)
            gr_yield();
        if (high != low)
            CHECK(gr_mutex_unlock(&m->mutex[high]) == 0);
        CHECK(gr_mutex_unlock(&m->mutex[low]) == 0);
        if (gr_chan_try_send(m->chan, &value) != 0)
            gr_chan_try_recv(m->chan, &value);
    }
    atomic_fetch_add(&ended, 1);
}

static void nothing_false_is_reported_while_everything_moves(void **state)
{
    struct movers m = {.chan = gr_chan_create(sizeof(int), 1)};
    uint64_t id[MOVERS];
    struct gr_wait_info info;
    struct gr_deadlocks report;
    unsigned looks = 0;

    (void)state;
    atomic_store(&ended, 0);
    for (unsigned i = 0; i < MOVERS; i++)
        id[i] = go(move, &m);
    while (atomic_load(&ended) < MOVERS) {
        assert_int_equal(gr_deadlocks(&report), 0);
        assert_int_equal(report.cycles, 0);
        assert_false(report.all_wait);
        gr_deadlocks_free(&report);
        for (unsigned i = 0; i < MOVERS; i++) {
            if (gr_wait_info(id[i], &info) != 0 || info.object_count == 0)
                continue;
            assert_int_equal(info.object_count, 1);
            assert_int_equal(info.object[0].kind, GR_OBJECT_MUTEX);
            assert_true(info.object[0].address >= (uint64_t)&m.mutex[0] &&
                        info.object[0].address <= (uint64_t)&m.mutex[2]);
            assert_true(info.object[0].owner != id[i]);
            looks++;
        }
    }
    printf("%u waits looked at\n", looks);
    eventually_alone(0);
    gr_chan_destroy(m.chan);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cycle_of_locks_is_named_while_others_run),
        cmocka_unit_test(all_waiting_is_reported_but_not_while_one_can_go_on),
        cmocka_unit_test(a_cycle_with_a_suspended_member_is_kept_silent),
        cmocka_unit_test(nothing_false_is_reported_while_everything_moves),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
