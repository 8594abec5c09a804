/*
 * test_first_run.c: until a goroutine runs nothing is on its stack, and which stack it has is open: it gets the one that the
 * goroutine before left in the caches.
 */
#include "harness.h"

#include <grasp/inspect.h>

#include <time.h>

static int one_processor(void **state)
{
    (void)state;
    return gr_set_procs(1);
}

static int two_processors(void **state)
{
    (void)state;
    return gr_set_procs(2);
}

static atomic_uint runs, may_go, wrong;

/* Keeps a processor. */
static void keep(void *arg)
{
    (void)arg;
    gr_nopreempt_begin();
    atomic_fetch_add(&runs, 1);
    while (!atomic_load(&may_go))
        ;
    gr_nopreempt_end();
}

static void answer(void *arg)
{
    *(atomic_uint *)arg = 42;
}

static void looks_as_if_it_began(const struct gr_hold *h)
{
    static uint8_t stack[262144];
    struct gr_copy copy = {.stack = stack, .stack_capacity = sizeof stack};
    struct gr_frame frame[8];
    bool truncated;

    memset(stack, 1, sizeof stack);
    assert_int_equal(gr_copy_held(h, &copy), 0);
    assert_int_equal(copy.sp, copy.stack_hi);
    assert_int_not_equal(copy.pc, 0);
    assert_true(copy.copied_bytes > 0);
    for (size_t i = 0; i < copy.copied_bytes; i++)
        assert_int_equal(stack[i], 0);
    assert_int_equal(gr_unwind(&copy, frame, 8, &truncated), 1);
}

static void who_has_not_run_is_shown_where_it_will_begin(void **state)
{
    atomic_uint told = 0;
    struct gr_hold h;
    uint64_t keeper[2], id;

    (void)state;
    atomic_store(&runs, 0);
    atomic_store(&may_go, 0);
    for (int i = 0; i < 2; i++)
        keeper[i] = gr_go(keep, NULL);
    /* Both: one that gr_set_procs takes away may still run somebody. */
    eventually_count(&runs, 2, "the processors are kept");
    id = gr_go(answer, &told);
    hold(&h, id);
    looks_as_if_it_began(&h);
    atomic_store(&may_go, 1);
    for (int i = 0; i < 2; i++)
        eventually_dead(keeper[i]); /* its stack is free, and warm: not for one that is held */
    looks_as_if_it_began(&h);
    assert_int_equal(atomic_load(&told), 0);
    release(&h);
    eventually_dead(id);
    assert_int_equal(atomic_load(&told), 42);
}

/* ---- Time ---------------------------------------------------------------------------------------- */

static void spin_a_moment(void *arg)
{
    uint64_t end = gr_now_ns() + 20000;

    (void)arg;
    while (gr_now_ns() < end)
        ;
}

/*
 * From outside the time of each look is known: no life can have computed for longer than since before its birth. But for a
 * thread that the kernel took away just before the run, whose clock is as late: a few of a busy machine.
 */
static void cpu_time_is_of_this_life(void **state)
{
    enum { LIVES_LOOKED_AT = 500, APART_NS = 2000000, CLOCKS_DIFFER_NS = 1000000 };
    unsigned running = 0, too_long = 0;

    (void)state;
    for (int i = 0; i < LIVES_LOOKED_AT; i++) {
        struct timespec apart = {.tv_nsec = APART_NS}; /* the slot's last run began longer ago */
        uint64_t born = gr_now_ns(), id = gr_go(spin_a_moment, NULL);
        struct gr_info info;
        bool wrong_here = false;

        do {
            assert_int_equal(gr_info(id, &info), 0);
            running += info.state == GR_RUNNING;
            wrong_here |= info.cpu_ns > gr_now_ns() - born + CLOCKS_DIFFER_NS;
        } while (info.state != GR_DEAD);
        too_long += wrong_here;
        nanosleep(&apart, NULL);
    }
    print_message("%u looks at running ones, %u lives too long\n", running, too_long);
    assert_true(too_long <= LIVES_LOOKED_AT / 50);
}

#define LIVES 1000
static uintptr_t page_of[LIVES];
static gr_waitgroup group;

static void note_page(void *arg)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    *(uintptr_t *)arg = here & ~(uintptr_t)4095;
    gr_waitgroup_done(&group);
}

/* In a section, so that all are born before the first runs. */
static void bear_all(void *arg)
{
    (void)arg;
    gr_waitgroup_add(&group, LIVES);
    gr_nopreempt_begin();
    for (int i = 0; i < LIVES; i++)
        CHECK(gr_go(note_page, &page_of[i]) != 0);
    gr_nopreempt_end();
    gr_waitgroup_wait(&group);
}

static void short_lives_share_the_stack_that_is_warm(void **state)
{
    unsigned pages = 0;

    (void)state;
    eventually_dead(gr_go(bear_all, NULL));
    for (int i = 0; i < LIVES; i++) {
        bool seen = false;

        assert_int_not_equal(page_of[i], 0);
        for (int k = 0; k < i && !seen; k++)
            seen = page_of[k] == page_of[i];
        pages += !seen;
    }
    print_message("%d lives on %u stacks\n", LIVES, pages);
    /* One, but for the ends of slices. */
    assert_true(pages < LIVES / 10);
    expect_no_faults();
}

/* ---- Stacks that are exchanged while all is held and let go ----------------------------------------- */

#define DEPTH 20

/* Its frames are its own all the time. */
static __attribute__((noinline)) unsigned climb(unsigned depth, unsigned mine)
{
    volatile unsigned here[16];

    for (int i = 0; i < 16; i++)
        here[i] = mine + depth;
    if (depth % 5 == 0)
        gr_yield();
    if (depth < DEPTH && climb(depth + 1, mine) != mine)
        atomic_fetch_add(&wrong, 1);
    for (int i = 0; i < 16; i++)
        if (here[i] != mine + depth)
            atomic_fetch_add(&wrong, 1);
    return mine;
}

static void climb_once(void *arg)
{
    (void)climb(0, (unsigned)(uintptr_t)arg * 100);
}

static void whose_stacks_are_exchanged_have_frames_of_their_own(void **state)
{
    uint64_t id[64], seed = test_seed;

    (void)state;
    atomic_store(&wrong, 0);
    for (int round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 64; i++) {
            id[i] = gr_go(climb_once, (void *)(uintptr_t)(i + 1));
            assert_int_not_equal(id[i], 0);
        }
        for (int i = 0; i < 16; i++) {
            struct gr_hold h = {0};
            struct gr_copy copy = {0};
            uint64_t one = id[next_random(&seed) % 64];

            if (gr_hold_wait(&h, one, HOLD_TIMEOUT_NS) == 0) {
                assert_int_equal(gr_copy_held(&h, &copy), 0);
                release(&h);
            }
        }
        eventually_alone(0);
    }
    assert_int_equal(atomic_load(&wrong), 0);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_not_run_is_shown_where_it_will_begin),
        cmocka_unit_test_setup_teardown(short_lives_share_the_stack_that_is_warm, one_processor,
                                        two_processors),
        cmocka_unit_test(cpu_time_is_of_this_life),
        cmocka_unit_test(whose_stacks_are_exchanged_have_frames_of_their_own),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
