/*
 * test_scavenge.c: memory of stacks goes back to the kernel: of long waits what they do not need, of the dead all but some.
 *
 * A wait counts as long after a millisecond here. What is resident is asked of the kernel (mincore).
 */
#include "harness.h"

#include <sys/mman.h>
#include <unistd.h>

static struct gr_chan *small_chan, *empty_chan;

static size_t resident_pages(uint64_t lo, uint64_t hi)
{
    static unsigned char vec[4096];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (hi - lo) / page, count = 0;

    assert_true(pages <= sizeof vec);
    assert_int_equal(mincore((void *)lo, hi - lo, vec), 0);
    for (size_t i = 0; i < pages; i++)
        count += vec[i] & 1;
    return count;
}

#define DEEP_BYTES 100000

/* Touches a deep part of the stack, then waits in a shallow one. */
__attribute__((noinline)) static void go_deep(void)
{
    volatile uint8_t deep[DEEP_BYTES];

    for (size_t i = 0; i < DEEP_BYTES; i += 512)
        deep[i] = 1;
    CHECK(deep[0] == 1);
}

static void deep_then_receive(void *arg)
{
    uint64_t got;

    (void)arg;
    go_deep();
    CHECK(gr_chan_recv(small_chan, &got) == 0);
}

struct span {
    uint64_t id, lo, hi;
    size_t most;
};

static bool has_few_pages(void *arg)
{
    struct span *s = arg;

    return resident_pages(s->lo, s->hi) <= s->most;
}

/* The stack of one that waits, by a copy of nothing but its bounds. */
static struct span span_of(uint64_t id)
{
    struct gr_copy copy = {0};
    struct gr_hold h;

    eventually_waits(id, "chan receive");
    hold(&h, id);
    assert_int_equal(gr_copy_held(&h, &copy), 0);
    release(&h);
    return (struct span){id, copy.stack_lo, copy.stack_hi, 0};
}

static void pages_that_a_long_wait_does_not_need_go_back(void **state)
{
    struct gr_go_opts opts = {.fn = deep_then_receive, .stack_private = true};
    uint64_t value = 42;
    struct span s;

    (void)state;
    /* Not private: the page or two that are in use stay. */
    s = span_of(gr_go(deep_then_receive, NULL));
    s.most = 2;
    eventually(has_few_pages, &s, "all but the used pages of a stack are given back");
    assert_true(resident_pages(s.lo, s.hi) >= 1);
    assert_false(info_of(s.id).folded);
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    eventually_dead(s.id);
    /* Private: all go. */
    s = span_of((uint64_t)gr_go_with(&opts));
    s.most = 0;
    eventually(has_few_pages, &s, "all pages of a folded stack are given back");
    assert_true(info_of(s.id).folded);
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    eventually_dead(s.id);
    expect_no_faults();
}

#define CROWD     4000
#define CROWD_MAX 1700 /* WARM_SLOTS and what two processors keep, with room for who came later */

static _Atomic(uint64_t) address_in[CROWD];
static atomic_uint arrived;

static void crowd_member(void *arg)
{
    uint64_t index = (uint64_t)(uintptr_t)arg;

    atomic_store(&address_in[index], (uint64_t)(uintptr_t)__builtin_frame_address(0));
    atomic_fetch_add(&arrived, 1);
    gr_chan_recv(empty_chan, NULL);
}

static bool crowd_is_gone(void *arg)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;

    (void)arg;
    for (unsigned i = 0; i < CROWD; i++) {
        uint64_t at = atomic_load(&address_in[i]) & ~(page - 1);

        count += resident_pages(at, at + page);
    }
    return count < CROWD_MAX;
}

static void stacks_of_a_crowd_that_ended_go_back(void **state)
{
    (void)state;
    atomic_store(&arrived, 0);
    for (uint64_t i = 0; i < CROWD; i++)
        assert_int_not_equal(gr_go(crowd_member, (void *)(uintptr_t)i), 0);
    eventually_count(&arrived, CROWD, "the crowd is there");
    assert_int_equal(gr_chan_close(empty_chan), 0);
    eventually_alone(0);
    eventually(crowd_is_gone, NULL, "the stacks of those that ended are given back");
    gr_chan_destroy(empty_chan);
    empty_chan = gr_chan_create(0, 0);
    /* And are used again. */
    atomic_store(&arrived, 0);
    for (uint64_t i = 0; i < CROWD; i++)
        assert_int_not_equal(gr_go(crowd_member, (void *)(uintptr_t)i), 0);
    eventually_count(&arrived, CROWD, "the crowd is there again");
    assert_int_equal(gr_chan_close(empty_chan), 0);
    eventually_alone(0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_that_a_long_wait_does_not_need_go_back),
        cmocka_unit_test(stacks_of_a_crowd_that_ended_go_back),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2, .fold_after_ms = 1});
    small_chan = gr_chan_create(sizeof(uint64_t), 0);
    empty_chan = gr_chan_create(0, 0);
    if (!small_chan || !empty_chan)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
