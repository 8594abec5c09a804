/*
 * test_suspend.c: what a hold promises, one claim a case. The names E1, J6 and so on are those of
 * Erlang's and the JVM's own tests of suspension, G14 of Go's.
 */
#include "harness.h"

#include <pthread.h>
#include <sched.h>

#define MANY 8

/* ---- One holder ------------------------------------------------------------------------------ */

/* E1 */
static void each_suspend_finds_it_stopped_and_each_resume_lets_it_go(void **state)
{
    struct spinner s;
    struct gr_hold h;

    (void)state;
    spinner_start(&s);
    for (int i = 0; i < 10000; i++) {
        struct gr_info info;
        unsigned long count;

        hold(&h, s.id);
        count = atomic_load(&s.count);
        info = info_of(s.id);
        assert_true(info.suspended);
        assert_int_equal(info.holds, 1);
        assert_int_not_equal(info.state, GR_RUNNING);
        assert_int_equal(atomic_load(&s.count), count);
        release(&h);
        info = info_of(s.id);
        assert_int_equal(info.holds, 0);
        assert_false(info.suspended);
        if (i % 16 == 0)
            eventually_moves(&s.count);
    }
    spinner_end(&s);
}

static void a_held_goroutine_stands_still_until_released(void **state)
{
    struct spinner s;
    struct gr_hold h;

    (void)state;
    spinner_start(&s);
    hold(&h, s.id);
    assert_true(stands_still(&s.count));
    release(&h);
    eventually_moves(&s.count);
    spinner_end(&s);
}

/* E5 */
static void resume_without_suspend_is_refused_and_changes_nothing(void **state)
{
    struct spinner s;
    struct gr_hold h, never = {0};
    gr_suspension made_up = {NULL, 7}, failed = {&h, 7};

    (void)state;
    spinner_start(&s);
    hold(&h, s.id);
    assert_int_equal(gr_hold_end(&never), -EINVAL);
    assert_int_equal(gr_resume(made_up), -EINVAL);
    assert_int_equal(gr_suspend(UINT64_MAX, 0, &failed), -ESRCH);
    assert_null(failed.record);
    assert_int_equal(gr_resume(failed), -EINVAL);
    assert_int_equal(info_of(s.id).holds, 1);
    release(&h);
    assert_int_equal(gr_hold_end(&h), -EINVAL);
    assert_int_equal(info_of(s.id).holds, 0);
    spinner_end(&s);
}

static void a_suspension_is_released_once_also_by_a_copy_of_it(void **state)
{
    struct spinner s;
    gr_suspension first, copy, second;

    (void)state;
    spinner_start(&s);
    assert_int_equal(gr_suspend(s.id, HOLD_TIMEOUT_NS, &first), 0);
    copy = first;
    assert_int_equal(gr_resume(first), 0);
    assert_int_equal(gr_suspend(s.id, HOLD_TIMEOUT_NS, &second), 0);
    /* The record may be the same one again; the serial is not. */
    assert_int_equal(gr_resume(copy), -EINVAL);
    assert_int_equal(info_of(s.id).holds, 1);
    assert_int_equal(gr_resume(second), 0);
    assert_int_equal(gr_suspend(s.id, HOLD_TIMEOUT_NS, NULL), -EINVAL);
    assert_int_equal(info_of(s.id).holds, 0);
    spinner_end(&s);
}

/* ---- Several holders ------------------------------------------------------------------------- */

/* E4 */
static void only_the_last_release_lets_it_go(void **state)
{
    struct spinner s;
    struct gr_hold h[12];
    uint64_t random = test_seed;

    (void)state;
    spinner_start(&s);
    for (int i = 0; i < 12; i++)
        hold(&h[i], s.id);
    for (unsigned left = 12; left > 1; left--) {
        size_t at = next_random(&random) % left;

        release(&h[at]);
        memmove(&h[at], &h[at + 1], (left - 1 - at) * sizeof h[0]);
        assert_int_equal(info_of(s.id).holds, left - 1);
        assert_true(info_of(s.id).suspended);
        assert_true(stands_still(&s.count));
    }
    release(&h[0]);
    eventually_moves(&s.count);
    spinner_end(&s);
}

/* E7 */
static void holds_go_to_their_maximum_and_back_to_zero(void **state)
{
    struct gr_hold *h = calloc(GR_HOLDS_MAX, sizeof *h), more = {0};
    struct spinner s;

    (void)state;
    assert_non_null(h);
    spinner_start(&s);
    for (int i = 0; i < GR_HOLDS_MAX; i++)
        hold(&h[i], s.id);
    assert_int_equal(info_of(s.id).holds, GR_HOLDS_MAX);
    assert_int_equal(gr_hold_wait(&more, s.id, HOLD_TIMEOUT_NS), -EOVERFLOW);
    assert_int_equal(gr_hold_end(&more), -EINVAL);
    assert_int_equal(info_of(s.id).holds, GR_HOLDS_MAX);
    for (int i = 0; i < GR_HOLDS_MAX; i++)
        release(&h[i]);
    assert_int_equal(info_of(s.id).holds, 0);
    eventually_moves(&s.count);
    hold(&more, s.id);
    release(&more);
    spinner_end(&s);
    free(h);
}

/* J1 */
static void those_excepted_are_untouched(void **state)
{
    struct spinner s[MANY];
    struct gr_hold h[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++)
        spinner_start(&s[i]);
    for (int i = 2; i < MANY; i++)
        hold(&h[i], s[i].id);
    for (int i = 0; i < 2; i++)
        eventually_moves(&s[i].count);
    for (int i = 2; i < MANY; i++)
        assert_true(info_of(s[i].id).suspended);
    for (int i = 4; i < MANY; i++)
        release(&h[i]);
    for (int i = 0; i < MANY; i++) {
        if (i == 2 || i == 3)
            assert_true(info_of(s[i].id).suspended && stands_still(&s[i].count));
        else
            eventually_moves(&s[i].count);
    }
    release(&h[2]);
    release(&h[3]);
    for (int i = 0; i < MANY; i++)
        spinner_end(&s[i]);
}

/* ---- Waiting goroutines ---------------------------------------------------------------------- */

static struct gr_chan *chan;
static atomic_uint received;

static void receive_one(void *arg)
{
    unsigned value = 0;

    (void)arg;
    CHECK(gr_chan_recv(chan, &value) == 0);
    atomic_store(&received, value);
}

/* E8 */
static void a_wake_while_held_is_remembered_and_followed_after_the_resume(void **state)
{
    unsigned value = 42;

    (void)state;
    for (int i = 0; i < 200; i++) {
        struct gr_hold h;
        uint64_t id;

        chan = gr_chan_create(sizeof value, 0);
        atomic_store(&received, 0);
        id = gr_go(receive_one, NULL);
        eventually_waits(id, "chan receive");
        hold(&h, id);
        assert_int_equal(h.safepoint, GR_SAFEPOINT_BLOCKED);
        assert_int_equal(gr_chan_try_send(chan, &value), 0);
        for (int looks = 0; looks < 50; looks++) {
            sched_yield();
            assert_int_equal(atomic_load(&received), 0);
        }
        assert_true(info_of(id).suspended);
        release(&h);
        eventually(word_is_set, &received, "the woken goroutine runs");
        assert_int_equal(atomic_load(&received), 42);
        eventually_dead(id);
        gr_chan_destroy(chan);
    }
    expect_no_faults();
}

static void wait_for_the_close(void *arg)
{
    unsigned value;

    (void)arg;
    CHECK(gr_chan_recv(chan, &value) == -EPIPE);
}

/*
 * Held on its way to a processor it becomes PREEMPTED without moving, and whoever asks next is told what the first one
 * was: of one that never ran, of one that was woken, and of one whose slice was over.
 */
static void every_holder_is_told_the_same_safepoint(void **state)
{
    enum { CROWD = 6, LOOKS = 200 };
    static struct spinner s[CROWD];
    unsigned queued = 0;

    (void)state;
    chan = gr_chan_create(sizeof(unsigned), 0);
    for (int i = 0; i < CROWD; i++)
        spinner_start(&s[i]);
    for (int i = 0; i < LOOKS; i++) {
        struct gr_hold first, second;
        bool fresh = i % 2;
        uint64_t id = fresh ? gr_go(wait_for_the_close, NULL) : s[i / 2 % CROWD].id;

        hold(&first, id);
        if (first.stopped_in == GR_RUNNABLE) {
            queued++;
            while (info_of(id).state == GR_RUNNABLE)
                sched_yield();
            assert_int_equal(info_of(id).state, GR_PREEMPTED);
        }
        hold(&second, id);
        assert_int_equal(second.safepoint, first.safepoint);
        release(&second);
        release(&first);
    }
    for (int i = 0; i < CROWD; i++)
        spinner_end(&s[i]);
    print_message("%u of %d were held in a queue\n", queued, LOOKS);
    assert_true(queued > 0);
    gr_chan_close(chan);
    eventually_alone(0);
    gr_chan_destroy(chan);
    expect_no_faults();
}

static void with_no_time_only_a_stopped_one_is_held(void **state)
{
    struct spinner s;
    struct gr_hold h = {0};
    uint64_t id;

    (void)state;
    assert_int_equal(gr_set_procs(2), 0);
    spinner_start(&s);
    /* Alone on its processor it is running, or about to. */
    for (int tries = 0; gr_hold_wait(&h, s.id, 0) == 0; tries++) {
        release(&h);
        assert_true(tries < 1000000);
    }
    assert_int_equal(atomic_load(&h.state), GR_HOLD_WITHDRAWN);
    spinner_end(&s);
    chan = gr_chan_create(sizeof(unsigned), 0);
    id = gr_go(receive_one, NULL);
    eventually_waits(id, "chan receive");
    assert_int_equal(gr_hold_wait(&h, id, 0), 0);
    release(&h);
    assert_int_equal(gr_chan_try_send(chan, &(unsigned){1}), 0);
    eventually_dead(id);
    gr_chan_destroy(chan);
    expect_no_faults();
}

/* ---- The dead and the unknown ---------------------------------------------------------------- */

static void do_nothing(void *arg)
{
    (void)arg;
}

static void on_told_never(struct gr_hold *hold)
{
    (void)hold;
    fault_at(__FILE__, __LINE__, "told of a hold that was refused");
}

static void suspend_of_the_dead_and_the_unknown_says_so(void **state)
{
    struct gr_hold h = {0};
    gr_suspension s;
    uint64_t id = gr_go(do_nothing, NULL);

    (void)state;
    eventually_dead(id);
    assert_int_equal(gr_hold_start(&h, id, HOLD_TIMEOUT_NS, on_told_never, NULL), -EOWNERDEAD);
    assert_int_equal(gr_hold_wait(&h, id, HOLD_TIMEOUT_NS), -ESRCH);
    assert_int_equal(gr_suspend(id, HOLD_TIMEOUT_NS, &s), -ESRCH);
    assert_int_equal(gr_hold_start(&h, id + 1000000, HOLD_TIMEOUT_NS, on_told_never, NULL), -ESRCH);
    assert_int_equal(gr_hold_start(&h, 0, HOLD_TIMEOUT_NS, on_told_never, NULL), -ESRCH);
    assert_int_equal(gr_hold_end(&h), -EINVAL);
    assert_false(gr_hold_cancel(&h));
    expect_no_faults();
}

/* While it left the registry it was called dead already, and the request went out. */
static void one_that_is_called_dead_cannot_be_held(void **state)
{
    struct gr_hold h = {0};
    struct gr_info info = {0};

    (void)state;
    for (int i = 0; i < 5000; i++) {
        uint64_t id = gr_go(do_nothing, NULL);

        /* Ends: it is runnable. */
        while (gr_info(id, &info) == 0 && info.state != GR_DEAD)
            ;
        assert_int_equal(gr_hold_start(&h, id, HOLD_TIMEOUT_NS, on_told_never, NULL), -EOWNERDEAD);
    }
    expect_no_faults();
}

/* ---- Suspending oneself (J6) ----------------------------------------------------------------- */

static gr_suspension own;
static atomic_uint gone_on;

static void stop_myself(void *arg)
{
    gr_suspension ignored;

    (void)arg;
    CHECK(gr_suspend(gr_id(), HOLD_TIMEOUT_NS, &ignored) == -EDEADLK);
    for (unsigned i = 1; i <= 100; i++) {
        CHECK(gr_suspend_self(&own) == 0);
        atomic_store(&gone_on, i);
    }
}

static bool is_suspended(void *id)
{
    struct gr_info info;

    return gr_info(*(uint64_t *)id, &info) == 0 && info.suspended;
}

static void one_that_suspends_itself_is_resumed_by_others(void **state)
{
    gr_suspension ignored;
    uint64_t id;

    (void)state;
    assert_int_equal(gr_suspend_self(&ignored), -EPERM);
    atomic_store(&gone_on, 0);
    id = gr_go(stop_myself, NULL);
    for (unsigned i = 1; i <= 100; i++) {
        eventually(is_suspended, &id, "it suspends itself");
        assert_int_equal(atomic_load(&gone_on), i - 1);
        assert_int_equal(gr_resume(own), 0);
    }
    eventually_dead(id);
    assert_int_equal(atomic_load(&gone_on), 100);
    expect_no_faults();
}

static struct spinner others[MANY];
static atomic_uint all_held, let_go;

static void suspend_all_others(void *arg)
{
    gr_suspension s[MANY];

    (void)arg;
    for (int i = 0; i < MANY; i++)
        CHECK(gr_suspend(others[i].id, HOLD_TIMEOUT_NS, &s[i]) == 0);
    atomic_store(&all_held, 1);
    while (!atomic_load(&let_go))
        gr_yield();
    for (int i = 0; i < MANY; i++)
        CHECK(gr_resume(s[i]) == 0);
}

static void a_goroutine_can_suspend_all_others(void **state)
{
    uint64_t id;

    (void)state;
    atomic_store(&all_held, 0);
    atomic_store(&let_go, 0);
    for (int i = 0; i < MANY; i++)
        spinner_start(&others[i]);
    id = gr_go(suspend_all_others, NULL);
    eventually(word_is_set, &all_held, "all others are suspended");
    for (int i = 0; i < MANY; i++)
        assert_true(info_of(others[i].id).suspended && stands_still(&others[i].count));
    atomic_store(&let_go, 1);
    eventually_dead(id);
    for (int i = 0; i < MANY; i++)
        eventually_moves(&others[i].count);
    for (int i = 0; i < MANY; i++)
        spinner_end(&others[i]);
    expect_no_faults();
}

/* ---- Where nobody may be stopped (G14) ------------------------------------------------------- */

static atomic_uint inside, leave;
static atomic_ulong turns;

__attribute__((noinline)) static void take_a_turn(void)
{
    atomic_fetch_add(&turns, 1);
}

static void stay_in_a_section(void *arg)
{
    (void)arg;
    gr_nopreempt_begin();
    gr_nopreempt_begin();
    gr_nopreempt_end();
    atomic_store(&inside, 1);
    while (!atomic_load(&leave))
        take_a_turn();
    atomic_store(&inside, 0);
    gr_nopreempt_end();
    while (atomic_load(&leave))
        take_a_turn();
}

/* The runtime's own calls are where it gives way, but not here. */
static void ask_in_a_section(void *arg)
{
    (void)arg;
    gr_nopreempt_begin();
    atomic_store(&inside, 1);
    while (!atomic_load(&leave)) {
        atomic_fetch_add(&turns, 1);
        CHECK(!gr_cancelled());
    }
    atomic_store(&inside, 0);
    gr_nopreempt_end();
    while (atomic_load(&leave))
        take_a_turn();
}

GR_NOPREEMPT static void stay_in_a_function(void)
{
    atomic_store(&inside, 1);
    while (!atomic_load(&leave))
        atomic_fetch_add(&turns, 1);
    atomic_store(&inside, 0);
}

static void call_a_function_that_is_not_stopped(void *arg)
{
    (void)arg;
    stay_in_a_function();
    while (atomic_load(&leave))
        take_a_turn();
}

static void refused_then_held(void (*fn)(void *), enum gr_refusal reason)
{
    struct gr_hold h = {0};
    uint64_t id;

    atomic_store(&inside, 0);
    atomic_store(&leave, 0);
    id = gr_go(fn, NULL);
    eventually(word_is_set, &inside, "it is inside");
    expect_time_out(&h, id, reason);
    assert_int_equal(atomic_load(&inside), 1);
    assert_int_equal(atomic_load(&h.state), GR_HOLD_WITHDRAWN);
    if (async_on)
        assert_true(h.attempts > 0 && h.pc != 0);
    assert_int_equal(info_of(id).holds, 0);
    eventually_moves(&turns);
    atomic_store(&leave, 1);
    hold(&h, id);
    assert_int_equal(atomic_load(&inside), 0);
    release(&h);
    atomic_store(&leave, 0);
    eventually_dead(id);
}

static void in_a_no_preempt_section_the_time_out_says_so(void **state)
{
    (void)state;
    refused_then_held(stay_in_a_section, GR_REFUSED_NOPREEMPT);
    refused_then_held(ask_in_a_section, GR_REFUSED_NOPREEMPT);
}

static void in_a_no_preempt_function_the_time_out_says_so(void **state)
{
    (void)state;
    refused_then_held(call_a_function_that_is_not_stopped,
                      async_on ? GR_REFUSED_UNSAFE_POINT : GR_REFUSED_OFF);
}

static void a_request_made_in_a_section_is_followed_at_its_end(void **state)
{
    struct gr_hold h = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        uint64_t id;

        atomic_store(&inside, 0);
        atomic_store(&leave, 0);
        id = gr_go(stay_in_a_section, NULL);
        eventually(word_is_set, &inside, "it is inside");
        assert_int_equal(gr_hold_start(&h, id, HOLD_TIMEOUT_NS, on_told_never, NULL),
                         GR_HOLD_PENDING);
        assert_true(gr_hold_cancel(&h));
        atomic_store(&leave, 1);
        hold(&h, id);
        release(&h);
        atomic_store(&leave, 0);
        eventually_dead(id);
    }
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_suspend_finds_it_stopped_and_each_resume_lets_it_go),
        cmocka_unit_test(a_held_goroutine_stands_still_until_released),
        cmocka_unit_test(resume_without_suspend_is_refused_and_changes_nothing),
        cmocka_unit_test(a_suspension_is_released_once_also_by_a_copy_of_it),
        cmocka_unit_test(only_the_last_release_lets_it_go),
        cmocka_unit_test(holds_go_to_their_maximum_and_back_to_zero),
        cmocka_unit_test(those_excepted_are_untouched),
        cmocka_unit_test(a_wake_while_held_is_remembered_and_followed_after_the_resume),
        cmocka_unit_test(every_holder_is_told_the_same_safepoint),
        cmocka_unit_test(with_no_time_only_a_stopped_one_is_held),
        cmocka_unit_test(suspend_of_the_dead_and_the_unknown_says_so),
        cmocka_unit_test(one_that_is_called_dead_cannot_be_held),
        cmocka_unit_test(one_that_suspends_itself_is_resumed_by_others),
        cmocka_unit_test(a_goroutine_can_suspend_all_others),
        cmocka_unit_test(in_a_no_preempt_section_the_time_out_says_so),
        cmocka_unit_test(in_a_no_preempt_function_the_time_out_says_so),
        cmocka_unit_test(a_request_made_in_a_section_is_followed_at_its_end),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
