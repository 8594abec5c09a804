/*
 * test_sync.c: mutex, condition, wait group and sleep.
 */
#include "harness.h"

#include <poll.h>
#include <unistd.h>

/* ---- Mutex ----------------------------------------------------------------------------------- */

#define RIVALS 6
#define ROUNDS 3000

static gr_mutex mutex;
static unsigned long guarded;
static atomic_uint in_section, done;

__attribute__((noinline)) static void pass_time(unsigned loops)
{
    for (unsigned i = 0; i < loops; i++)
        __asm__ volatile("" ::: "memory");
}

static void count_under_the_lock(void *arg)
{
    uint64_t random = test_seed + (uint64_t)(uintptr_t)arg;

    for (int i = 0; i < ROUNDS; i++) {
        unsigned long seen;

        CHECK(gr_mutex_lock(&mutex) == 0);
        CHECK(atomic_fetch_add(&in_section, 1) == 0);
        seen = guarded;
        pass_time((unsigned)next_random(&random) % 300);
        if (i % 16 == 0)
            gr_yield();
        guarded = seen + 1;
        CHECK(atomic_fetch_sub(&in_section, 1) == 1);
        CHECK(gr_mutex_unlock(&mutex) == 0);
    }
    atomic_fetch_add(&done, 1);
}

static void only_one_is_inside_whoever_is_suspended(void **state)
{
    uint64_t id[RIVALS], random = test_seed, give_up = gr_now_ns() + WATCHDOG_NS;

    (void)state;
    guarded = 0;
    atomic_store(&done, 0);
    for (uintptr_t i = 0; i < RIVALS; i++)
        id[i] = gr_go(count_under_the_lock, (void *)i);
    while (atomic_load(&done) < RIVALS) {
        struct gr_hold h = {0};

        if (gr_hold_wait(&h, id[next_random(&random) % RIVALS], HOLD_TIMEOUT_NS) == 0)
            release(&h);
        assert_true(gr_now_ns() < give_up);
    }
    expect_no_faults();
    assert_int_equal(guarded, (unsigned long)RIVALS * ROUNDS);
    assert_int_equal(mutex.held, 0);
    eventually_alone(0);
}

static void misuse_mutex(void *arg)
{
    gr_mutex m = GR_MUTEX_INIT;

    (void)arg;
    CHECK(gr_mutex_unlock(&m) == -EPERM);
    CHECK(gr_mutex_try_lock(&m) == 0);
    CHECK(gr_mutex_try_lock(&m) == -EBUSY);
    CHECK(gr_mutex_lock(&m) == -EDEADLK);
    CHECK(gr_mutex_unlock(&m) == 0);
    CHECK(gr_mutex_lock(&m) == 0);
    CHECK(gr_mutex_unlock(&m) == 0);
    CHECK(gr_mutex_unlock(&m) == -EPERM);
    CHECK(gr_mutex_lock(&mutex) == 0);
    atomic_store(&in_section, 1);
    while (atomic_load(&in_section))
        gr_yield();
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void misuse_is_told(void **state)
{
    uint64_t id;

    (void)state;
    atomic_store(&in_section, 0);
    assert_int_equal(gr_mutex_lock(&mutex), -EPERM);
    assert_int_equal(gr_mutex_try_lock(&mutex), -EPERM);
    id = gr_go(misuse_mutex, NULL);
    eventually(word_is_set, &in_section, "it has the lock");
    assert_int_equal(gr_mutex_unlock(&mutex), -EPERM);
    atomic_store(&in_section, 0);
    eventually_dead(id);
    expect_no_faults();
}

/* ---- Suspended waiters are passed over (J3) -------------------------------------------------- */

static atomic_uint order_count, owner_may_leave, owner_is_in;
static unsigned order[3];

static void own(void *arg)
{
    (void)arg;
    CHECK(gr_mutex_lock(&mutex) == 0);
    atomic_store(&owner_is_in, 1);
    while (!atomic_load(&owner_may_leave))
        CHECK(gr_sleep_ns(50000) == 0);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void take_a_place(void *arg)
{
    CHECK(gr_mutex_lock(&mutex) == 0);
    order[atomic_load(&order_count)] = (unsigned)(uintptr_t)arg;
    atomic_fetch_add(&order_count, 1);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void wait_with_mask(unsigned mask)
{
    struct gr_hold h[3];
    unsigned free_ones = 0, place = 0;
    uint64_t owner, id[3];

    atomic_store(&order_count, 0);
    atomic_store(&owner_is_in, 0);
    atomic_store(&owner_may_leave, 0);
    owner = gr_go(own, NULL);
    eventually(word_is_set, &owner_is_in, "the owner has the lock");
    for (uintptr_t i = 0; i < 3; i++) {
        id[i] = gr_go(take_a_place, (void *)i);
        eventually_waits(id[i], "mutex lock");
    }
    for (unsigned i = 0; i < 3; i++) {
        if (mask >> i & 1)
            hold(&h[i], id[i]);
        else
            free_ones++;
    }
    atomic_store(&owner_may_leave, 1);
    eventually_dead(owner);
    eventually_count(&order_count, free_ones, "those who are not suspended get the lock");
    for (unsigned i = 0; i < 3; i++) {
        if (!(mask >> i & 1))
            assert_int_equal(order[place++], i);
    }
    for (unsigned i = 0; i < 3; i++) {
        if (mask >> i & 1)
            release(&h[i]);
    }
    eventually_count(&order_count, 3, "the others get it when they are resumed");
    for (int i = 0; i < 3; i++)
        eventually_dead(id[i]);
    assert_int_equal(mutex.held, 0);
}

static void the_first_waiter_that_is_not_suspended_gets_the_lock(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        for (unsigned mask = 0; mask < 8; mask++)
            wait_with_mask(mask);
    }
    expect_no_faults();
}

/* ---- Condition ------------------------------------------------------------------------------- */

static gr_cond cond;
static atomic_uint woken;
static unsigned tickets; /* mutex */

static void wait_for_a_ticket(void *arg)
{
    (void)arg;
    CHECK(gr_mutex_lock(&mutex) == 0);
    while (tickets == 0)
        CHECK(gr_cond_wait(&cond, &mutex) == 0);
    tickets--;
    atomic_fetch_add(&woken, 1);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void issue(unsigned count, bool broadcast)
{
    CHECK(gr_mutex_lock(&mutex) == 0);
    tickets += count;
    for (unsigned i = 0; i < count && !broadcast; i++)
        gr_cond_signal(&cond);
    if (broadcast)
        gr_cond_broadcast(&cond);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void issue_one(void *arg)
{
    (void)arg;
    issue(1, false);
}

static void issue_four(void *arg)
{
    (void)arg;
    issue(4, true);
}

static void a_signal_wakes_one_and_a_broadcast_all(void **state)
{
    uint64_t id[6];

    (void)state;
    atomic_store(&woken, 0);
    tickets = 0;
    for (int i = 0; i < 6; i++) {
        id[i] = gr_go(wait_for_a_ticket, NULL);
        eventually_waits(id[i], "condition wait");
    }
    for (unsigned i = 1; i <= 2; i++) {
        eventually_dead(gr_go(issue_one, NULL));
        eventually_count(&woken, i, "a signal wakes one");
        eventually_dead(id[i - 1]);
    }
    for (int i = 2; i < 6; i++)
        eventually_waits(id[i], "condition wait");
    eventually_dead(gr_go(issue_four, NULL));
    eventually_count(&woken, 6, "a broadcast wakes all");
    eventually_alone(0);
    gr_cond_signal(&cond);
    gr_cond_broadcast(&cond);
    expect_no_faults();
}

#define WAKES 300

static atomic_uint wakes;
static bool no_more; /* mutex */

static void wait_again_and_again(void *arg)
{
    (void)arg;
    CHECK(gr_mutex_lock(&mutex) == 0);
    while (!no_more) {
        CHECK(gr_cond_wait(&cond, &mutex) == 0);
        atomic_fetch_add(&wakes, 1);
    }
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

/* Not those who wait again because of it: it would have no end. */
static void a_broadcast_wakes_those_who_wait_and_has_an_end(void **state)
{
    uint64_t id[4];

    (void)state;
    atomic_store(&wakes, 0);
    no_more = false;
    for (int i = 0; i < 4; i++)
        id[i] = gr_go(wait_again_and_again, NULL);
    for (unsigned round = 0; round < WAKES; round++) {
        for (int i = 0; i < 4; i++)
            eventually_waits(id[i], "condition wait");
        assert_int_equal(atomic_load(&wakes), 4 * round);
        gr_cond_broadcast(&cond);
        eventually_count(&wakes, 4 * (round + 1), "each is woken");
    }
    for (int i = 0; i < 4; i++)
        eventually_waits(id[i], "condition wait");
    no_more = true; /* they all wait */
    gr_cond_broadcast(&cond);
    eventually_alone(0);
    expect_no_faults();
}

static void time_out_of_a_condition(void *arg)
{
    uint64_t before = gr_now_ns();

    (void)arg;
    CHECK(gr_cond_wait(&cond, &mutex) == -EPERM);
    CHECK(gr_mutex_lock(&mutex) == 0);
    CHECK(gr_cond_timed_wait(&cond, &mutex, 2000000) == -ETIMEDOUT);
    CHECK(gr_now_ns() - before >= 2000000);
    CHECK(mutex.owner == gr_id());
    CHECK(gr_cond_timed_wait(&cond, &mutex, 0) == -ETIMEDOUT);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void a_wait_that_times_out_has_the_mutex_again(void **state)
{
    (void)state;
    eventually_dead(gr_go(time_out_of_a_condition, NULL));
    assert_int_equal(gr_cond_wait(&cond, &mutex), -EPERM);
    assert_null(cond.waiters.head);
    expect_no_faults();
}

/* ---- Wait group ------------------------------------------------------------------------------ */

static gr_waitgroup group;

static void wait_for_the_group(void *arg)
{
    (void)arg;
    CHECK(gr_waitgroup_wait(&group) == 0);
    atomic_fetch_add(&woken, 1);
}

static void leave_the_group(void *arg)
{
    (void)arg;
    CHECK(gr_waitgroup_done(&group) == 0);
}

static void waiters_of_a_group_go_on_at_zero_and_not_before(void **state)
{
    (void)state;
    atomic_store(&woken, 0);
    assert_int_equal(gr_waitgroup_wait(&group), -EPERM);
    assert_int_equal(gr_waitgroup_done(&group), -EINVAL);
    assert_int_equal(gr_waitgroup_add(&group, 3), 0);
    assert_int_equal(gr_waitgroup_add(&group, -4), -EINVAL);
    assert_int_equal(gr_waitgroup_add(&group, INT64_MAX), -EINVAL);
    for (int i = 0; i < 5; i++)
        eventually_waits(gr_go(wait_for_the_group, NULL), "wait group");
    for (int i = 0; i < 2; i++)
        eventually_dead(gr_go(leave_the_group, NULL));
    assert_int_equal(atomic_load(&woken), 0);
    assert_int_equal(gr_waitgroup_done(&group), 0);
    eventually_count(&woken, 5, "all waiters go on");
    eventually_dead(gr_go(wait_for_the_group, NULL));
    eventually_alone(0);
    expect_no_faults();
}

/* The group is on the waiter's stack, which ends as soon as it is woken. */
static void wait_on_my_stack(void *arg)
{
    for (int i = 0; i < 300; i++) {
        gr_waitgroup mine = GR_WAITGROUP_INIT;

        CHECK(gr_waitgroup_add(&mine, 3) == 0);
        for (int n = 0; n < 3; n++)
            CHECK(gr_go(arg, &mine) != 0);
        CHECK(gr_waitgroup_wait(&mine) == 0);
        CHECK(mine.count == 0);
        memset(&mine, 0xee, sizeof mine);
    }
}

static void leave_that_group(void *arg)
{
    CHECK(gr_waitgroup_done(arg) == 0);
}

static void a_group_may_go_as_soon_as_its_waiter_is_woken(void **state)
{
    (void)state;
    eventually_dead(gr_go(wait_on_my_stack, (void *)leave_that_group));
    eventually_alone(0);
    expect_no_faults();
}

/* ---- Sleep ----------------------------------------------------------------------------------- */

#define SLEEPERS 1000
static atomic_uint slept, cancelled_sleeps;

static void sleep_shortly(void *arg)
{
    uint64_t random = test_seed + (uint64_t)(uintptr_t)arg;

    for (int i = 0; i < 5; i++) {
        uint64_t ns = next_random(&random) % 5000000, before = gr_now_ns();

        CHECK(gr_sleep_ns(ns) == 0);
        CHECK(gr_now_ns() - before >= ns);
    }
    atomic_fetch_add(&slept, 1);
}

static void sleep_for_an_hour(void *arg)
{
    uint64_t random = test_seed ^ (uint64_t)(uintptr_t)arg;

    CHECK(gr_sleep_ns(3600000000000u + next_random(&random) % 1000000000) == -ECANCELED);
    CHECK(gr_sleep_ns(1) == -ECANCELED);
    atomic_fetch_add(&cancelled_sleeps, 1);
}

static void nobody_wakes_too_early_and_long_sleepers_keep_nobody_from_waking(void **state)
{
    uint64_t sleeper[SLEEPERS / 10], random = test_seed;

    (void)state;
    for (uintptr_t i = 0; i < SLEEPERS; i++) {
        assert_int_not_equal(gr_go(sleep_shortly, (void *)i), 0);
        if (i % 10 == 0)
            sleeper[i / 10] = gr_go(sleep_for_an_hour, (void *)i);
    }
    eventually_count(&slept, SLEEPERS, "all short sleeps end");
    assert_int_equal(atomic_load(&cancelled_sleeps), 0);
    /* In random order, so that the heap loses some from its middle. */
    for (unsigned left = SLEEPERS / 10; left > 0; left--) {
        size_t at = next_random(&random) % left;

        eventually_waits(sleeper[at], "sleep");
        assert_int_equal(gr_cancel(sleeper[at]), 0);
        sleeper[at] = sleeper[left - 1];
    }
    eventually_count(&cancelled_sleeps, SLEEPERS / 10, "all cancelled sleeps end");
    eventually_alone(0);
    expect_no_faults();
}

static void a_thread_may_sleep_too(void **state)
{
    uint64_t before = gr_now_ns();

    (void)state;
    assert_int_equal(gr_sleep_ns(1000000), 0);
    assert_true(gr_now_ns() - before >= 1000000);
}

/* ---- Files ------------------------------------------------------------------------------------- */

static void wait_for_descriptors(void *arg)
{
    int end[2], closed;

    (void)arg;
    CHECK(pipe(end) == 0);
    CHECK(gr_poll_fd(end[0], POLLIN, 0) == -ETIMEDOUT);
    CHECK(gr_poll_fd(end[0], POLLIN, 1000) == -ETIMEDOUT);
    CHECK(gr_poll_fd(end[1], POLLOUT, -1) == 0);
    closed = end[0];
    close(end[0]);
    close(end[1]);
    for (int64_t timeout_ns = -1; timeout_ns <= 1; timeout_ns++) {
        CHECK(gr_poll_fd(closed, POLLIN, timeout_ns) == -EBADF);
        CHECK(gr_poll_fd(-1, POLLIN, timeout_ns) == -EBADF);
    }
    atomic_fetch_add(&done, 1);
}

static void who_waits_for_no_descriptor_is_told(void **state)
{
    (void)state;
    atomic_store(&done, 0);
    eventually_dead(gr_go(wait_for_descriptors, NULL));
    expect_no_faults();
    assert_int_equal(atomic_load(&done), 1);
    assert_int_equal(gr_poll_fd(0, POLLIN, 0), -EPERM);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_one_is_inside_whoever_is_suspended),
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(the_first_waiter_that_is_not_suspended_gets_the_lock),
        cmocka_unit_test(a_signal_wakes_one_and_a_broadcast_all),
        cmocka_unit_test(a_broadcast_wakes_those_who_wait_and_has_an_end),
        cmocka_unit_test(a_wait_that_times_out_has_the_mutex_again),
        cmocka_unit_test(waiters_of_a_group_go_on_at_zero_and_not_before),
        cmocka_unit_test(a_group_may_go_as_soon_as_its_waiter_is_woken),
        cmocka_unit_test(nobody_wakes_too_early_and_long_sleepers_keep_nobody_from_waking),
        cmocka_unit_test(a_thread_may_sleep_too),
        cmocka_unit_test(who_waits_for_no_descriptor_is_told),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
