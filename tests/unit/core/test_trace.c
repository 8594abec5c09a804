/*
 * test_trace.c: traces of the scheduler: what is recorded of goroutines that wake each other, are held, end.
 */
#include "harness.h"

#include <grasp/trace.h>

#define HOLDS 100

static struct seen {
    uint64_t kinds[GR_TRACE_KINDS], records, last_ns[4];
    uint64_t ping, pong, woken_by_other, blocked_on_chan, held, released, disordered;
} seen;

static struct gr_chan *there, *back;
static atomic_ulong rounds;

static void ping(void *arg)
{
    unsigned long n = 0;

    (void)arg;
    while (gr_chan_send(there, &n) == 0 && gr_chan_recv(back, &n) == 0)
        atomic_store(&rounds, ++n);
    gr_chan_close(there);
}

static void pong(void *arg)
{
    unsigned long n = 0;

    (void)arg;
    while (gr_chan_recv(there, &n) == 0 && gr_chan_send(back, &n) == 0)
        ;
    gr_chan_close(back);
}

static void look(void *arg, const struct gr_trace_record *r)
{
    size_t thread = (size_t)(r->thread + 1) % 4;

    (void)arg;
    assert_true(r->kind < GR_TRACE_KINDS);
    seen.records++;
    seen.kinds[r->kind]++;
    /* Within a worker's own ring time only goes on; the shared one is thread 0 here. */
    if (r->thread >= 0 && r->thread < 3) {
        seen.disordered += r->at_ns < seen.last_ns[thread];
        seen.last_ns[thread] = r->at_ns;
    }
    if (r->id != seen.ping && r->id != seen.pong)
        return;
    if (r->kind == GR_TRACE_READY)
        seen.woken_by_other += r->other == seen.ping + seen.pong - r->id;
    else if (r->kind == GR_TRACE_BLOCK)
        seen.blocked_on_chan += strncmp(gr_trace_reason(r->detail), "chan ", 5) == 0 && r->other;
    else if (r->kind == GR_TRACE_HELD)
        seen.held = r->other;
    else if (r->kind == GR_TRACE_RELEASED)
        seen.released = r->other;
}

static void begin(void)
{
    memset(&seen, 0, sizeof seen);
    there = gr_chan_create(sizeof(unsigned long), 0);
    back = gr_chan_create(sizeof(unsigned long), 0);
    atomic_store(&rounds, 0);
    seen.ping = gr_go(ping, NULL);
    seen.pong = gr_go(pong, NULL);
    assert_true(seen.ping && seen.pong);
    eventually_moves(&rounds);
}

static void end(void)
{
    assert_int_equal(gr_cancel(seen.ping), 0);
    assert_int_equal(gr_cancel(seen.pong), 0);
    eventually_alone(0);
    gr_chan_destroy(there);
    gr_chan_destroy(back);
    gr_trace_free();
}

static bool have_gone_on(void *target)
{
    return atomic_load(&rounds) >= *(unsigned long *)target;
}

/* Each waits for the other in every round: of the first ones here some may have begun before the trace. */
static void go_on(unsigned long more)
{
    unsigned long target = atomic_load(&rounds) + more;

    eventually(have_gone_on, &target, "the two go on");
}

static void wakes_blocks_and_holds_are_recorded(void **state)
{
    struct gr_hold h;

    (void)state;
    begin();
    assert_int_equal(gr_trace_start(GR_TRACE_RECORDS), 0);
    go_on(10);
    for (int i = 0; i < HOLDS; i++) {
        hold(&h, seen.ping);
        release(&h);
    }
    gr_trace_stop();
    gr_trace_each(look, NULL);
    assert_true(seen.kinds[GR_TRACE_RUN] > 0);
    assert_true(seen.blocked_on_chan > 0);
    assert_true(seen.woken_by_other > 0);
    assert_int_equal(seen.held, (uintptr_t)&h);
    assert_int_equal(seen.released, (uintptr_t)&h);
    assert_int_equal(seen.kinds[GR_TRACE_HELD], HOLDS);
    assert_int_equal(seen.kinds[GR_TRACE_RELEASED], HOLDS);
    assert_int_equal(seen.disordered, 0);
    end();
}

static void the_last_records_are_kept_and_the_others_counted(void **state)
{
    (void)state;
    begin();
    assert_int_equal(gr_trace_start(GR_TRACE_RECORDS_MIN), 0);
    go_on(10000);
    gr_trace_stop();
    assert_true(gr_trace_each(look, NULL) > 0);
    assert_true(seen.records > 0);
    /* Two workers, perhaps a third, and the shared ring. */
    assert_true(seen.records <= 8 * GR_TRACE_RECORDS_MIN);
    /* Nothing comes after the stop. */
    uint64_t before = seen.records;
    go_on(1000);
    seen.records = 0;
    memset(seen.last_ns, 0, sizeof seen.last_ns);
    gr_trace_each(look, NULL);
    assert_int_equal(seen.records, before);
    gr_trace_free();
    seen.records = 0;
    gr_trace_each(look, NULL);
    assert_int_equal(seen.records, 0);
    end();
}

static void one_trace_at_a_time_and_within_limits(void **state)
{
    (void)state;
    assert_int_equal(gr_trace_start(GR_TRACE_RECORDS_MIN - 1), -EINVAL);
    assert_int_equal(gr_trace_start(GR_TRACE_RECORDS_MAX + 1), -EINVAL);
    assert_int_equal(gr_trace_start(GR_TRACE_RECORDS_MAX), 0);
    assert_int_equal(gr_trace_start(GR_TRACE_RECORDS_MIN), -EBUSY);
    gr_trace_stop();
    assert_int_equal(gr_trace_start(GR_TRACE_RECORDS_MIN), 0);
    gr_trace_stop();
    gr_trace_free();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wakes_blocks_and_holds_are_recorded),
        cmocka_unit_test(the_last_records_are_kept_and_the_others_counted),
        cmocka_unit_test(one_trace_at_a_time_and_within_limits),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
