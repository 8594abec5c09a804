/*
 * test_moments.c: a birth and an end are one moment each, whoever looks and however: by id, in lists, in counts, by holding.
 */
#include "harness.h"

#include <pthread.h>
#include <sched.h>

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

/* Who has seen that it ended finds it in no list of the living and in no count. */
static void one_that_is_called_dead_counts_nowhere(void **state)
{
    struct gr_module_info module;
    struct gr_info info = {0};
    struct gr_stats stats;
    uint64_t id, listed, ended;

    (void)state;
    eventually_alone(0);
    gr_stats(&stats);
    ended = stats.ended;
    for (int i = 0; i < 3000; i++) {
        id = gr_go(do_nothing, NULL);
        /* Ends: it is runnable. */
        while (gr_info(id, &info) == 0 && info.state != GR_DEAD)
            ;
        assert_int_equal(gr_list(GR_LIST_LIVE, id - 1, &listed, 1), 0);
        gr_stats(&stats);
        assert_int_equal(stats.live, 0);
        assert_int_equal(stats.ended, ++ended);
        assert_int_equal(gr_module_info("main", &module), 0);
        assert_int_equal(module.live, 0);
        assert_int_equal(gr_list(GR_LIST_DEAD, id - 1, &listed, 1), 1);
        assert_int_equal(listed, id);
    }
}

#define FOUND 1000

static _Atomic uint64_t looked_for;

/* Each is born while somebody looks for it. */
static void *bear_who_is_looked_for(void *first)
{
    for (uint64_t id = *(uint64_t *)first; id < *(uint64_t *)first + FOUND; id++) {
        while (atomic_load(&looked_for) < id)
            sched_yield();
        if (gr_go(wait_to_end, NULL) != id)
            fault_at(__FILE__, __LINE__, "the ids are not in order");
    }
    return NULL;
}

/* Found by its id, it is whole, and can be held and read. */
static void one_that_is_found_is_whole(void **state)
{
    uint64_t first = 0, lost;
    pthread_t thread;

    (void)state;
    /* So that those who are found live in slots that others had. */
    for (int i = 0; i < FOUND; i++)
        first = gr_go(do_nothing, NULL) + 1;
    eventually_alone(0);
    atomic_store(&may_end, 0);
    assert_int_equal(pthread_create(&thread, NULL, bear_who_is_looked_for, &first), 0);
    for (uint64_t id = first; id < first + FOUND; id++) {
        struct gr_info info = {0};
        gr_suspension s;

        atomic_store(&looked_for, id);
        while (gr_info(id, &info) != 0)
            ;
        assert_int_equal(gr_suspend(id, HOLD_TIMEOUT_NS, &s), 0);
        assert_int_equal(gr_resume(s), 0);
        assert_int_equal(info.root, id);
        assert_int_equal(gr_log_read(id, &(uint64_t){0}, (char[8]){0}, 8, &lost), 0);
    }
    pthread_join(thread, NULL);
    atomic_store(&may_end, 1);
    eventually_alone(0);
    expect_no_faults();
}

/* ---- Counting ------------------------------------------------------------------------------------ */

#define RUNNERS 30000

static atomic_uint runners;

/* One bears the next and ends, so that one or two live at any time, each where a look may have been already. */
static void hand_on(void *arg)
{
    (void)arg;
    if (atomic_fetch_add(&runners, 1) < RUNNERS)
        CHECK(gr_go(hand_on, NULL) != 0);
}

static void while_one_lives_the_count_is_not_zero(void **state)
{
    struct gr_stats stats;

    (void)state;
    eventually_alone(0);
    /* So that slots far apart are used in turns. */
    atomic_store(&may_end, 0);
    for (int i = 0; i < 1000; i++)
        gr_go(wait_to_end, NULL);
    atomic_store(&may_end, 1);
    eventually_alone(0);
    atomic_store(&runners, 0);
    gr_go(hand_on, NULL);
    do {
        gr_stats(&stats);
    } while (stats.live > 0);
    assert_int_equal(atomic_load(&runners), RUNNERS + 1);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_called_dead_counts_nowhere),
        cmocka_unit_test(one_that_is_found_is_whole),
        cmocka_unit_test(while_one_lives_the_count_is_not_zero),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
