/*
 * test_folding.c: goroutines that are folded all the time, while others wake, hold, read and cancel them.
 *
 * A wait is long after a millisecond. Pairs with private stacks pass numbers to and fro with pauses around that length, so
 * that wakes come before, during and after a fold. Each keeps a pattern on its stack over every wait. Threads hold them,
 * compare two copies of what they hold, and let go; processors come and go; now and then somebody is cancelled and born again.
 * In the end every number has arrived once, every pattern was whole, and nobody is held.
 */
#include "harness.h"

#include <pthread.h>
#include <unistd.h>

#define PAIRS         40
#define PATTERN_WORDS 64
#define HOLDERS       3

static atomic_uint stop_all, gone;
static atomic_ulong passed, copies, folded_copies, cancels;

struct half {
    struct gr_chan *in, *out;
    uint64_t seed;
    bool first;
    _Atomic(uint64_t) id;
};
static struct half half[2 * PAIRS];

static void fill_pattern(volatile uint64_t *word, uint64_t seed)
{
    for (unsigned i = 0; i < PATTERN_WORDS; i++)
        word[i] = next_random(&seed);
}

static bool has_pattern(const volatile uint64_t *word, uint64_t seed)
{
    for (unsigned i = 0; i < PATTERN_WORDS; i++) {
        if (word[i] != next_random(&seed))
            return false;
    }
    return true;
}

/* Around what counts as a long wait. */
static int pause_a_little(uint64_t *random)
{
    return gr_sleep_ns(next_random(random) % 3000000);
}

/* By a select with a case that never comes, or plainly. */
static int receive(struct half *h, uint64_t *number, uint64_t *random)
{
    struct gr_select_case cases[] = {{.chan = h->in, .op = GR_SELECT_RECV, .elem = number},
                                     {.chan = NULL, .op = GR_SELECT_SEND}};
    int index;

    if (next_random(random) % 2)
        return gr_chan_recv(h->in, number);
    index = gr_select(cases, 2, -1);
    return index < 0 ? index : cases[0].result;
}

static void pass_numbers(void *arg)
{
    struct half *h = arg;
    uint64_t random = h->seed, number = 0;
    volatile uint64_t word[PATTERN_WORDS];

    for (unsigned round = 0; !gr_cancelled(); round++) {
        fill_pattern(word, h->seed + round);
        if (h->first || round > 0) {
            uint64_t next = number + 1;

            if (pause_a_little(&random) || gr_chan_send(h->out, &next))
                break;
        }
        if (receive(h, &number, &random))
            break;
        CHECK(has_pattern(word, h->seed + round));
        atomic_fetch_add(&passed, 1);
    }
    CHECK(gr_cancelled());
    atomic_fetch_add(&gone, 1);
}

static void bear(struct half *h)
{
    struct gr_go_opts opts = {.fn = pass_numbers, .arg = h, .stack_private = true};
    int64_t id = gr_go_with(&opts);

    CHECK(id > 0);
    atomic_store(&h->id, (uint64_t)id);
}

/* What is held does not change, folded or not. */
static void compare_copies(struct gr_hold *h, uint8_t *one, uint8_t *two, size_t bytes)
{
    struct gr_copy a = {.stack = one, .stack_capacity = bytes},
                   b = {.stack = two, .stack_capacity = bytes};
    struct gr_info info;

    CHECK(gr_copy_held(h, &a) == 0);
    sched_yield();
    CHECK(gr_copy_held(h, &b) == 0);
    CHECK(a.pc == b.pc && a.sp == b.sp && a.copied_bytes == b.copied_bytes);
    CHECK(a.sp >= a.stack_lo && a.sp <= a.stack_hi && a.pc != 0);
    /* Below SP nothing is promised. */
    CHECK(memcmp(one + (a.sp - a.copied_lo), two + (a.sp - a.copied_lo),
                 a.copied_bytes - (a.sp - a.copied_lo)) == 0);
    atomic_fetch_add(&copies, 1);
    if (gr_info(h->id, &info) == 0 && info.folded)
        atomic_fetch_add(&folded_copies, 1);
}

static void *hold_them(void *arg)
{
    uint64_t random = test_seed + (uint64_t)(uintptr_t)arg;
    size_t bytes = gr_copy_stack_bytes_max();
    uint8_t *one = malloc(bytes), *two = malloc(bytes);

    CHECK(one && two);
    while (!atomic_load(&stop_all) && !has_faults()) {
        struct half *which = &half[next_random(&random) % (2 * PAIRS)];
        struct gr_hold h = {0};
        int error = gr_hold_wait(&h, atomic_load(&which->id), HOLD_TIMEOUT_NS);

        if (error) {
            CHECK(error == -ESRCH);
            continue;
        }
        compare_copies(&h, one, two, bytes);
        if (next_random(&random) % 8 == 0)
            usleep((unsigned)(next_random(&random) % 3000)); /* woken while it is held */
        CHECK(gr_hold_end(&h) == 0);
    }
    free(one);
    free(two);
    return NULL;
}

/* Both halves of a pair end and are born again; what is left in its channels is taken out. */
static void replace_pair(unsigned pair)
{
    unsigned before = atomic_load(&gone);
    uint64_t id[2] = {atomic_load(&half[2 * pair].id), atomic_load(&half[2 * pair + 1].id)};

    assert_int_equal(gr_cancel(id[0]), 0);
    assert_int_equal(gr_cancel(id[1]), 0);
    eventually_dead(id[0]);
    eventually_dead(id[1]);
    assert_int_equal(atomic_load(&gone), before + 2);
    for (unsigned i = 2 * pair; i < 2 * pair + 2; i++)
        bear(&half[i]);
    atomic_fetch_add(&cancels, 2);
}

static void nobody_notices_that_it_was_folded(void **state)
{
    unsigned rounds = 40 * (unsigned)stress_factor();
    pthread_t holder[HOLDERS];
    uint64_t random = test_seed;
    struct gr_stats stats;
    struct gr_hold h;

    (void)state;
    for (unsigned i = 0; i < 2 * PAIRS; i += 2) {
        struct gr_chan *there = gr_chan_create(sizeof(uint64_t), 0),
                       *back = gr_chan_create(sizeof(uint64_t), 0);

        assert_true(there && back);
        half[i] = (struct half){back, there, test_seed + i * 1000, true, 0};
        half[i + 1] = (struct half){there, back, test_seed + i * 1000 + 500, false, 0};
        bear(&half[i]);
        bear(&half[i + 1]);
    }
    for (uint64_t i = 0; i < HOLDERS; i++)
        assert_int_equal(pthread_create(&holder[i], NULL, hold_them, (void *)(uintptr_t)i), 0);
    for (unsigned n = 0; n < rounds && !has_faults(); n++) {
        usleep(20000);
        gr_set_procs(1 + (unsigned)(next_random(&random) % 3));
        replace_pair((unsigned)(next_random(&random) % PAIRS));
    }
    atomic_store(&stop_all, 1);
    for (unsigned i = 0; i < HOLDERS; i++)
        pthread_join(holder[i], NULL);
    gr_stats(&stats);
    printf("%lu numbers passed, %lu folds, %lu copies, %lu of them folded, %lu cancelled\n",
           atomic_load(&passed), (unsigned long)stats.folds, atomic_load(&copies),
           atomic_load(&folded_copies), atomic_load(&cancels));
    expect_no_faults();
    assert_int_equal(stats.held, 0);
    /* Each can still be held, and goes on. */
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        hold(&h, atomic_load(&half[i].id));
        release(&h);
        assert_int_equal(gr_cancel(atomic_load(&half[i].id)), 0);
    }
    eventually_alone(0);
    gr_stats(&stats);
    assert_int_equal(stats.folded, 0);
    assert_true(stats.folds > 0);
    assert_true(atomic_load(&folded_copies) > 0);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_notices_that_it_was_folded)};

    harness_start(argc, argv, (struct gr_options){.procs = 2, .fold_after_ms = 1});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
