/*
 * test_wired.c: a program with thread-local variables: each of its goroutines is a thread of its own (G12).
 */
#include "harness.h"

#include <sys/syscall.h>
#include <unistd.h>

#define WIRED 6

static __thread unsigned long mine;

static struct wired {
    atomic_ulong count;
    atomic_long tid;
    uint64_t id;
} wired[WIRED];
static atomic_uint stop_wired;

__attribute__((noinline)) static void step(struct wired *w)
{
    CHECK(++mine == atomic_fetch_add(&w->count, 1) + 1);
}

static void keep_to_my_thread(void *arg)
{
    struct wired *w = arg;

    atomic_store(&w->tid, syscall(SYS_gettid));
    while (!atomic_load(&stop_wired)) {
        step(w);
        if (mine % 64 == 0)
            gr_yield();
        if (mine % 256 == 1)
            CHECK(syscall(SYS_gettid) == atomic_load(&w->tid));
        if (mine % 1024 == 2)
            CHECK(gr_sleep_ns(1000) == 0);
    }
    CHECK(syscall(SYS_gettid) == atomic_load(&w->tid));
}

static void a_wired_goroutine_keeps_its_thread_through_suspends(void **state)
{
    uint64_t random = test_seed;

    (void)state;
    for (int i = 0; i < WIRED; i++)
        wired[i].id = gr_go(keep_to_my_thread, &wired[i]);
    for (int n = 0; n < 3000; n++) {
        struct wired *w = &wired[next_random(&random) % WIRED];
        struct gr_hold h;
        unsigned long count;

        hold(&h, w->id);
        assert_true(info_of(w->id).wired);
        count = atomic_load(&w->count);
        if (n % 8 == 0)
            eventually_moves(&wired[(size_t)(w - wired + 1) % WIRED].count);
        assert_int_equal(atomic_load(&w->count), count);
        release(&h);
        if (n % 8 == 0)
            eventually_moves(&w->count);
    }
    for (int i = 0; i < WIRED; i++) {
        for (int k = 0; k < i; k++)
            assert_true(atomic_load(&wired[i].tid) != atomic_load(&wired[k].tid));
    }
    atomic_store(&stop_wired, 1);
    for (int i = 0; i < WIRED; i++)
        eventually_dead(wired[i].id);
    expect_no_faults();
}

static void the_module_says_why_it_is_wired(void **state)
{
    struct gr_module_info info;

    (void)state;
    assert_int_equal(gr_module_info("main", &info), 0);
    assert_true(info.wired);
    assert_true(strlen(info.wired_because) > 0);
}

static void start_afresh(void *arg)
{
    CHECK(gr_id() != 0);
    atomic_fetch_add((atomic_ulong *)arg, 1);
}

static void wired_ones_that_end_leave_threads_for_others(void **state)
{
    static atomic_ulong ended;
    struct gr_stats stats;

    (void)state;
    for (int i = 0; i < 500; i++)
        eventually_dead(gr_go(start_afresh, &ended));
    assert_int_equal(atomic_load(&ended), 500);
    gr_stats(&stats);
    assert_true(stats.threads < 100);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wired_goroutine_keeps_its_thread_through_suspends),
        cmocka_unit_test(the_module_says_why_it_is_wired),
        cmocka_unit_test(wired_ones_that_end_leave_threads_for_others),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
