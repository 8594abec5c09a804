/*
 * test_profile.c: CPU profiles: who is recorded, with which stack, and what start and stop promise.
 *
 * How many records a second there are is the kernel's and the machine's affair; the cases wait until there are enough.
 */
#include "harness.h"

#include <grasp/inspect.h>
#include <grasp/profile.h>
#include <time.h>

#define ENOUGH     30
#define FRAMES_MAX 64
#define DEEP       2000 /* frames of a stack that is larger than what is recorded */

static struct seen {
    uint64_t id;
    const char *function; /* that must be on each stack */
    uint64_t records, periods, whole, with_function, cut, bare;
} seen[3];

static atomic_uint stop;
static atomic_ulong rounds;

#define KEPT      __attribute__((noinline, noclone))
#define NO_TAIL() __asm__ volatile("" ::: "memory")

KEPT static void burn_here(void)
{
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
}

static void burner(void *arg)
{
    (void)arg;
    burn_here();
    NO_TAIL();
}

KEPT static int compare_and_burn(const void *a, const void *b)
{
    (void)a;
    (void)b;
    burn_here();
    NO_TAIL();
    return 0;
}

static void sorter(void *arg)
{
    int numbers[2] = {2, 1};

    (void)arg;
    qsort(numbers, 2, sizeof numbers[0], compare_and_burn);
    NO_TAIL();
}

KEPT static unsigned descend(unsigned depth)
{
    volatile unsigned here = depth;

    if (depth == 0)
        burn_here();
    else
        here += descend(depth - 1);
    return here;
}

static void descender(void *arg)
{
    (void)arg;
    descend(DEEP);
    NO_TAIL();
}

static void look(void *arg, const struct gr_copy *copy, uint64_t periods)
{
    static struct gr_frame frame[FRAMES_MAX];
    bool truncated, found = false;
    ssize_t count = gr_unwind(copy, frame, FRAMES_MAX, &truncated);

    (void)arg;
    assert_true(count >= 1);
    assert_true(periods >= 1);
    assert_int_equal(frame[0].pc, copy->pc);
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        if (copy->id != seen[i].id || copy->id == 0)
            continue;
        for (ssize_t k = 0; k < count; k++)
            found = found || (frame[k].function && !strcmp(frame[k].function, seen[i].function));
        seen[i].records++;
        seen[i].periods += periods;
        seen[i].with_function += found;
        seen[i].whole += !truncated;
        seen[i].cut += copy->truncated;
        seen[i].bare += copy->copied_bytes == 0;
    }
}

static bool all_seen(void *arg)
{
    (void)arg;
    gr_profile_drain(look, NULL);
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
        if (seen[i].id && seen[i].records < ENOUGH)
            return false;
    return true;
}

static void begin(size_t i, void (*fn)(void *), const char *function)
{
    seen[i] = (struct seen){.id = gr_go(fn, NULL), .function = function};
    assert_true(seen[i].id > 0);
}

static void end(void)
{
    atomic_store(&stop, 1);
    eventually_alone(0);
    atomic_store(&stop, 0);
    memset(seen, 0, sizeof seen);
}

static void running_goroutines_are_recorded_with_their_whole_stacks(void **state)
{
    (void)state;
    struct gr_profile_stats stats;

    begin(0, burner, "burner");
    begin(1, sorter, "sorter");
    assert_int_equal(gr_profile_start(GR_PROFILE_HZ_MAX), 0);
    eventually(all_seen, NULL, "both goroutines are recorded often enough");
    gr_profile_stop(&stats);
    assert_true(stats.threads >= 1 && stats.threads_missed == 0);
    assert_true(stats.records >= 2 * ENOUGH);
    for (size_t i = 0; i < 2; i++) {
        assert_true(seen[i].periods >= seen[i].records);
        /* In its first moments one is not in its function yet, and switching in and out is recorded as well. */
        assert_true(seen[i].with_function + 5 >= seen[i].records);
        assert_true(seen[i].whole + 5 >= seen[i].records);
    }
    end();
}

static void stacks_deeper_than_a_record_are_cut(void **state)
{
    (void)state;
    begin(0, descender, "descend");
    assert_int_equal(gr_profile_start(GR_PROFILE_HZ_MAX), 0);
    eventually(all_seen, NULL, "the goroutine is recorded often enough");
    gr_profile_stop(NULL);
    assert_true(seen[0].cut > 0);
    assert_true(seen[0].with_function > 0);
    end();
}

static bool has_come_to(void *target)
{
    return atomic_load(&rounds) >= *(unsigned long *)target;
}

static void let_run(unsigned long more)
{
    unsigned long target = atomic_load(&rounds) + more;

    eventually(has_come_to, &target, "the goroutine runs on");
}

static void after_the_stop_nothing_is_recorded(void **state)
{
    (void)state;
    struct gr_profile_stats stats;

    begin(0, burner, "burner");
    assert_int_equal(gr_profile_start(100), 0);
    eventually(all_seen, NULL, "the goroutine is recorded often enough");
    gr_profile_stop(&stats);
    gr_profile_drain(look, NULL);
    uint64_t records = seen[0].records;
    /* After the stop nothing comes, however long it runs on. */
    let_run(10000000);
    gr_profile_drain(look, NULL);
    assert_int_equal(seen[0].records, records);
    end();
}

static void one_profile_at_a_time_and_within_limits(void **state)
{
    (void)state;
    struct gr_profile_stats stats = {.lost = 77};

    assert_int_equal(gr_profile_start(0), -EINVAL);
    assert_int_equal(gr_profile_start(GR_PROFILE_HZ_MAX + 1), -EINVAL);
    assert_int_equal(gr_profile_start(GR_PROFILE_HZ_MAX), 0);
    assert_int_equal(gr_profile_start(100), -EBUSY);
    gr_profile_stop(&stats);
    assert_int_equal(stats.lost, 0);
    gr_profile_stop(NULL);
    assert_int_equal(gr_profile_start(1), 0);
    gr_profile_stop(NULL);
}

/* ---- Awkward moments ------------------------------------------------------------------------------ */

KEPT static void read_clocks(void *arg)
{
    struct timespec t;

    (void)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
        atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
    }
}

KEPT static void yield_on(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        gr_yield();
        atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
    }
}

/* In the middle of a switch SP is on the thread's own stack: then there is a record without a stack, never one of half a stack. */
static void all_are_whole_or_have_none(size_t i)
{
    print_message("of %lu records %lu are whole and %lu without a stack, %lu show the function\n",
                  (unsigned long)seen[i].records, (unsigned long)seen[i].whole,
                  (unsigned long)seen[i].bare, (unsigned long)seen[i].with_function);
    /* Some as above, in its first moments. */
    assert_true(seen[i].whole + seen[i].bare + 5 >= seen[i].records);
    assert_true(seen[i].with_function + seen[i].bare + 5 >= seen[i].records);
    assert_true(seen[i].with_function > 0);
}

/* G16 */
static void in_the_vdso_stacks_end_as_well(void **state)
{
    (void)state;
    begin(0, read_clocks, "read_clocks");
    assert_int_equal(gr_profile_start(GR_PROFILE_HZ_MAX), 0);
    eventually(all_seen, NULL, "the goroutine is recorded often enough");
    gr_profile_stop(NULL);
    all_are_whole_or_have_none(0);
    end();
    expect_no_faults();
}

#define YIELDS 1000000

static bool yielded_enough(void *target)
{
    return all_seen(NULL) && atomic_load(&rounds) >= *(unsigned long *)target;
}

/* G19 */
static void nobody_is_unwound_through_half_a_switch(void **state)
{
    unsigned long target = atomic_load(&rounds) + YIELDS;

    (void)state;
    begin(0, yield_on, "yield_on");
    begin(1, yield_on, "yield_on");
    assert_int_equal(gr_profile_start(GR_PROFILE_HZ_MAX), 0);
    eventually(yielded_enough, &target, "both goroutines yield and are recorded often enough");
    gr_profile_stop(NULL);
    all_are_whole_or_have_none(0);
    all_are_whole_or_have_none(1);
    end();
}

static bool some_are_lost(void *arg)
{
    struct gr_profile_stats stats;

    (void)arg;
    gr_profile_stats(&stats);
    return stats.lost > 0;
}

static void records_that_nobody_drains_are_counted_as_lost(void **state)
{
    (void)state;
    begin(0, burner, "burner");
    assert_int_equal(gr_profile_start(GR_PROFILE_HZ_MAX), 0);
    eventually(some_are_lost, NULL, "records are lost");
    gr_profile_stop(NULL);
    gr_profile_drain(look, NULL);
    /* Both threads may have run it. */
    assert_true(seen[0].records > 0 && seen[0].records <= 2 * GR_PROFILE_RECORDS);
    end();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_goroutines_are_recorded_with_their_whole_stacks),
        cmocka_unit_test(stacks_deeper_than_a_record_are_cut),
        cmocka_unit_test(after_the_stop_nothing_is_recorded),
        cmocka_unit_test(one_profile_at_a_time_and_within_limits),
        cmocka_unit_test(in_the_vdso_stacks_end_as_well),
        cmocka_unit_test(nobody_is_unwound_through_half_a_switch),
        cmocka_unit_test(records_that_nobody_drains_are_counted_as_lost),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
