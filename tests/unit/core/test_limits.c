/*
 * test_limits.c: a runtime with room for few goroutines, and settings changed while it is busy.
 */
#include "harness.h"

#include <pthread.h>

#define MOST 100

static atomic_uint may_end;

static void wait_to_end(void *arg)
{
    (void)arg;
    while (!atomic_load(&may_end))
        gr_sleep_ns(100000);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static int idle_entry(const char *args_json)
{
    (void)args_json;
    return 0;
}
GR_ENTRY("idle", idle_entry, "ends at once");

static void one_more_than_the_most_is_refused_until_one_ends(void **state)
{
    struct gr_go_opts opts = {.fn = wait_to_end};
    struct gr_stats stats;
    uint64_t id[MOST];

    (void)state;
    for (int round = 0; round < 3; round++) {
        atomic_store(&may_end, 0);
        for (int i = 0; i < MOST; i++) {
            id[i] = gr_go(wait_to_end, NULL);
            assert_int_not_equal(id[i], 0);
        }
        assert_int_equal(gr_go(wait_to_end, NULL), 0);
        assert_int_equal(gr_go_with(&opts), -EAGAIN);
        assert_int_equal(gr_spawn("main", "idle", NULL, NULL), -EAGAIN);
        gr_stats(&stats);
        assert_int_equal(stats.max_goroutines, MOST);
        assert_int_equal(stats.live, MOST);
        assert_int_equal(gr_cancel(id[7]), 0);
        atomic_store(&may_end, 1);
        eventually_alone(0);
        eventually_dead(gr_go(do_nothing, NULL));
    }
}

/* Who has seen that one ended has room for another at once. */
static void one_that_is_called_dead_takes_no_room(void **state)
{
    struct gr_info info = {0};
    uint64_t id;

    (void)state;
    atomic_store(&may_end, 0);
    for (int i = 0; i < MOST - 1; i++)
        assert_int_not_equal(gr_go(wait_to_end, NULL), 0);
    for (int i = 0; i < 5000; i++) {
        id = gr_go(do_nothing, NULL);
        assert_int_not_equal(id, 0);
        /* Ends: it is runnable. */
        while (gr_info(id, &info) == 0 && info.state != GR_DEAD)
            ;
    }
    atomic_store(&may_end, 1);
    eventually_alone(0);
}

#define SLAB_BYTES    ((uint64_t)64 * 256 * 1024) /* stack.c */
#define SLABS_AT_MOST 2

static void stacks_of_two_sizes_in_turns_take_no_more_and_more_memory(void **state)
{
    struct gr_go_opts large = {.fn = do_nothing, .stack_bytes = 1 << 20};
    struct gr_stats before, after;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        int64_t id = gr_go_with(&large);

        assert_true(id > 0);
        eventually_dead((uint64_t)id);
        eventually_dead(gr_go(do_nothing, NULL));
        eventually_alone(0);
        if (i == 500)
            gr_stats(&before);
    }
    gr_stats(&after);
    /*
     * Not one byte more can't be promised: a processor with no free slot of its own takes a new slab while
     * another keeps a few. 1,500 leaked stacks would be 375 MiB at the least.
     */
    assert_true(after.stack_bytes_mapped <= before.stack_bytes_mapped + SLABS_AT_MOST * SLAB_BYTES);
}

static void settings_outside_their_limits_are_refused(void **state)
{
    char err[200] = "";
    struct gr_stats stats;

    (void)state;
    assert_int_equal(gr_set_procs(0), -EINVAL);
    assert_int_equal(gr_set_procs(GR_PROCS_MAX + 1), -EINVAL);
    assert_int_equal(gr_set_time_slice_us(GR_TIME_SLICE_US_MIN - 1), -EINVAL);
    assert_int_equal(gr_set_time_slice_us(GR_TIME_SLICE_US_MAX + 1), -EINVAL);
    assert_int_equal(gr_start(NULL, err, sizeof err), -EALREADY);
    assert_true(strlen(err) > 0);
    gr_stats(&stats);
    assert_int_equal(stats.procs, 2);
    assert_int_equal(stats.time_slice_us, 10000);
    assert_int_equal(stats.async_preempt, async_on);
}

#define SPINNERS 6

static void processors_come_and_go_under_load(void **state)
{
    static struct spinner s[SPINNERS];
    uint64_t random = test_seed;

    (void)state;
    for (int i = 0; i < SPINNERS; i++)
        spinner_start(&s[i]);
    for (int n = 0; n < 100; n++) {
        unsigned procs = 1 + (unsigned)(next_random(&random) % 5);
        struct gr_stats stats;
        struct gr_hold h;

        assert_int_equal(gr_set_procs(procs), 0);
        gr_stats(&stats);
        assert_int_equal(stats.procs, procs);
        hold(&h, s[n % SPINNERS].id);
        release(&h);
        eventually_moves(&s[next_random(&random) % SPINNERS].count);
    }
    assert_int_equal(gr_set_procs(GR_PROCS_MAX), 0);
    for (int i = 0; i < SPINNERS; i++)
        eventually_moves(&s[i].count);
    assert_int_equal(gr_set_procs(2), 0);
    for (int i = 0; i < SPINNERS; i++)
        spinner_end(&s[i]);
}

/* A goroutine made runnable from a thread while a processor goes away is not forgotten. */
static void nobody_is_lost_when_a_processor_goes(void **state)
{
    static struct spinner s[2];
    uint64_t random = test_seed;

    (void)state;
    for (int i = 0; i < 2; i++)
        spinner_start(&s[i]);
    for (int n = 0; n < 3000; n++) {
        struct gr_hold h;

        assert_int_equal(gr_set_procs(1 + (unsigned)(next_random(&random) % 3)), 0);
        hold(&h, s[n % 2].id);
        release(&h);
        if (n % 16 == 0)
            eventually_moves(&s[n % 2].count);
    }
    assert_int_equal(gr_set_procs(2), 0);
    for (int i = 0; i < 2; i++) {
        eventually_moves(&s[i].count);
        spinner_end(&s[i]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_more_than_the_most_is_refused_until_one_ends),
        cmocka_unit_test(one_that_is_called_dead_takes_no_room),
        cmocka_unit_test(stacks_of_two_sizes_in_turns_take_no_more_and_more_memory),
        cmocka_unit_test(settings_outside_their_limits_are_refused),
        cmocka_unit_test(processors_come_and_go_under_load),
        cmocka_unit_test(nobody_is_lost_when_a_processor_goes),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2, .max_goroutines = MOST});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
