/*
 * test_fold.c: private stacks of goroutines that wait long are folded, and nobody notices.
 *
 * A wait counts as long after a millisecond here. What a goroutine had on its stack, and what others hand it while it is folded,
 * is compared bit by bit.
 */
#include "harness.h"

#include <grasp/waits.h>
#include <pthread.h>
#include <unistd.h>

#define PATTERN_WORDS 100
#define LARGE_BYTES   1000 /* more than the slot for elements has */

static atomic_uint ended;

static int64_t go_private(void (*fn)(void *), void *arg)
{
    struct gr_go_opts opts = {.fn = fn, .arg = arg, .stack_private = true};
    int64_t id = gr_go_with(&opts);

    assert_true(id > 0);
    return id;
}

static bool is_folded(void *id)
{
    struct gr_info info;

    return gr_info(*(uint64_t *)id, &info) == 0 && info.folded;
}

static void eventually_folded(uint64_t id)
{
    eventually(is_folded, &id, "the goroutine is folded");
}

static void fill_pattern(uint64_t *word, uint64_t seed)
{
    for (unsigned i = 0; i < PATTERN_WORDS; i++)
        word[i] = next_random(&seed);
}

static bool has_pattern(const uint64_t *word, uint64_t seed)
{
    for (unsigned i = 0; i < PATTERN_WORDS; i++) {
        if (word[i] != next_random(&seed))
            return false;
    }
    return true;
}

/* ---- Every kind of wait -------------------------------------------------------------------------- */

struct large {
    uint8_t bytes[LARGE_BYTES];
};

static struct gr_chan *small_chan, *large_chan, *empty_chan;
static gr_mutex mutex;
static gr_cond cond;
static gr_waitgroup group;
static int pipe_fd[2];
static bool cond_set;

typedef void wait_fn(void);

static void by_receive(void)
{
    uint64_t got = 0;

    CHECK(gr_chan_recv(small_chan, &got) == 0);
    CHECK(got == 42);
}

static void by_send(void)
{
    uint64_t sent = 43;

    CHECK(gr_chan_send(small_chan, &sent) == 0);
}

static void by_large_receive(void)
{
    struct large got = {{0}};

    CHECK(gr_chan_recv(large_chan, &got) == 0);
    for (unsigned i = 0; i < LARGE_BYTES; i++)
        CHECK(got.bytes[i] == (uint8_t)(i * 7));
}

static void by_large_send(void)
{
    struct large sent;

    for (unsigned i = 0; i < LARGE_BYTES; i++)
        sent.bytes[i] = (uint8_t)(i * 7);
    CHECK(gr_chan_send(large_chan, &sent) == 0);
}

static void by_select(void)
{
    uint64_t got = 0;
    struct large sent = {{0}};
    struct gr_select_case cases[] = {{.chan = large_chan, .op = GR_SELECT_SEND, .elem = &sent},
                                     {.chan = NULL, .op = GR_SELECT_RECV},
                                     {.chan = small_chan, .op = GR_SELECT_RECV, .elem = &got}};

    CHECK(gr_select(cases, 3, -1) == 2);
    CHECK(cases[2].result == 0);
    CHECK(got == 42);
}

static void by_select_send(void)
{
    struct large sent;
    struct gr_select_case cases[] = {{.chan = empty_chan, .op = GR_SELECT_RECV},
                                     {.chan = large_chan, .op = GR_SELECT_SEND, .elem = &sent}};

    for (unsigned i = 0; i < LARGE_BYTES; i++)
        sent.bytes[i] = (uint8_t)(i * 7);
    CHECK(gr_select(cases, 2, 60000000000) == 1);
    CHECK(cases[1].result == 0);
}

static void by_mutex(void)
{
    CHECK(gr_mutex_lock(&mutex) == 0);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void by_condition(void)
{
    CHECK(gr_mutex_lock(&mutex) == 0);
    while (!cond_set)
        CHECK(gr_cond_wait(&cond, &mutex) == 0);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void by_group(void)
{
    CHECK(gr_waitgroup_wait(&group) == 0);
}

static void by_poll(void)
{
    char got = 0;

    CHECK(read(pipe_fd[0], &got, 1) == 1);
    CHECK(got == 'x');
}

struct waiting {
    wait_fn *fn;
    uint64_t seed;
};

/* A pattern on the stack, a wait, the pattern again. */
static void wait_over_pattern(void *arg)
{
    struct waiting *w = arg;
    uint64_t word[PATTERN_WORDS];

    fill_pattern(word, w->seed);
    __asm__ volatile("" ::"r"(word) : "memory");
    errno = 77;
    w->fn();
    CHECK(errno == 77);
    __asm__ volatile("" ::"r"(word) : "memory");
    CHECK(has_pattern(word, w->seed));
    atomic_fetch_add(&ended, 1);
}

static void lock_until_told(void *arg)
{
    CHECK(gr_mutex_lock(&mutex) == 0);
    atomic_store((atomic_uint *)arg, 1);
    while (atomic_load((atomic_uint *)arg) == 1)
        gr_sleep_ns(100000);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void set_condition(void *arg)
{
    (void)arg;
    CHECK(gr_mutex_lock(&mutex) == 0);
    cond_set = true;
    gr_cond_signal(&cond);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static uint64_t start_folded(struct waiting *w, wait_fn *fn)
{
    uint64_t id;

    *w = (struct waiting){fn, test_seed ^ (uint64_t)(uintptr_t)w};
    atomic_store(&ended, 0);
    id = (uint64_t)go_private(wait_over_pattern, w);
    eventually_folded(id);
    assert_true(strlen(info_of(id).wait_reason) > 0);
    return id;
}

static void expect_woken(uint64_t id)
{
    eventually_dead(id);
    expect_no_faults();
    assert_int_equal(atomic_load(&ended), 1);
}

static void receivers_and_senders_get_and_give_their_elements_while_folded(void **state)
{
    struct waiting w;
    uint64_t value = 42, got = 0, id;
    struct large large;

    (void)state;
    for (unsigned i = 0; i < LARGE_BYTES; i++)
        large.bytes[i] = (uint8_t)(i * 7);
    id = start_folded(&w, by_receive);
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    expect_woken(id);
    id = start_folded(&w, by_send);
    assert_int_equal(gr_chan_try_recv(small_chan, &got), 0);
    assert_int_equal(got, 43);
    expect_woken(id);
    id = start_folded(&w, by_large_receive);
    assert_int_equal(gr_chan_try_send(large_chan, &large), 0);
    expect_woken(id);
    id = start_folded(&w, by_large_send);
    memset(&large, 0, sizeof large);
    assert_int_equal(gr_chan_try_recv(large_chan, &large), 0);
    assert_int_equal(large.bytes[LARGE_BYTES - 1], (uint8_t)((LARGE_BYTES - 1) * 7));
    expect_woken(id);
}

static void a_select_gets_and_gives_its_element_while_folded(void **state)
{
    static struct gr_wait_info wait;
    struct waiting w;
    struct large large = {{0}};
    uint64_t value = 42, id;

    (void)state;
    id = start_folded(&w, by_select);
    /* Others are shown what it waits for, though that lay on its stack. */
    assert_int_equal(gr_wait_info(id, &wait), 0);
    assert_int_equal(wait.object_count, 2);
    assert_true(wait.object[0].address == (uint64_t)(uintptr_t)large_chan);
    assert_true(wait.object[1].address == (uint64_t)(uintptr_t)small_chan);
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    expect_woken(id);
    /* The other case is off its channel's list. */
    assert_int_equal(gr_chan_try_recv(large_chan, &large), -EAGAIN);
    id = start_folded(&w, by_select_send);
    assert_int_equal(gr_chan_try_recv(large_chan, &large), 0);
    assert_int_equal(large.bytes[9], 63);
    expect_woken(id);
}

static void whoever_waits_for_a_lock_is_folded_and_gets_it(void **state)
{
    atomic_uint told = 0;
    struct waiting w;
    uint64_t id, owner;

    (void)state;
    owner = gr_go(lock_until_told, &told);
    eventually(word_is_set, &told, "the lock is taken");
    id = start_folded(&w, by_mutex);
    atomic_store(&told, 2);
    expect_woken(id);
    eventually_dead(owner);
    cond_set = false;
    id = start_folded(&w, by_condition);
    gr_go(set_condition, NULL);
    expect_woken(id);
    assert_int_equal(gr_waitgroup_add(&group, 1), 0);
    id = start_folded(&w, by_group);
    assert_int_equal(gr_waitgroup_done(&group), 0);
    expect_woken(id);
}

static void whoever_waits_for_a_descriptor_is_folded_and_reads(void **state)
{
    struct waiting w;
    uint64_t id;

    (void)state;
    assert_int_equal(pipe(pipe_fd), 0);
    id = start_folded(&w, by_poll);
    assert_int_equal(write(pipe_fd[1], "x", 1), 1);
    expect_woken(id);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

static void by_cancelled_receive(void)
{
    uint64_t got = 7;

    CHECK(gr_chan_recv(small_chan, &got) == -ECANCELED);
    CHECK(got == 7);
}

static void by_long_sleep(void)
{
    CHECK(gr_sleep_ns(3600000000000) == -ECANCELED);
}

static void a_folded_goroutine_can_be_cancelled(void **state)
{
    static wait_fn *const fn[] = {by_cancelled_receive, by_long_sleep};
    struct waiting w;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t id = start_folded(&w, fn[i]);

        assert_int_equal(gr_cancel(id), 0);
        expect_woken(id);
    }
}

static void sleep_a_little(void *arg)
{
    uint64_t word[PATTERN_WORDS], seed = (uint64_t)(uintptr_t)arg;

    for (unsigned i = 0; i < 5; i++) {
        fill_pattern(word, seed + i);
        __asm__ volatile("" ::"r"(word) : "memory");
        CHECK(gr_sleep_ns(3000000) == 0);
        __asm__ volatile("" ::"r"(word) : "memory");
        CHECK(has_pattern(word, seed + i));
    }
    atomic_fetch_add(&ended, 1);
}

static void sleepers_are_folded_and_wake_by_themselves(void **state)
{
    struct gr_stats before, after;

    (void)state;
    atomic_store(&ended, 0);
    gr_stats(&before);
    for (uint64_t i = 0; i < 100; i++)
        go_private(sleep_a_little, (void *)(uintptr_t)(test_seed + i * 1000));
    eventually_count(&ended, 100, "all sleepers wake five times");
    eventually_alone(0);
    expect_no_faults();
    gr_stats(&after);
    assert_true(after.folds > before.folds);
    assert_int_equal(after.folded, 0);
}

/* ---- Holds --------------------------------------------------------------------------------------- */

struct shot {
    struct gr_copy copy;
    uint8_t *stack;
};

static void take_shot(struct shot *shot, struct gr_hold *h)
{
    size_t bytes = gr_copy_stack_bytes_max();

    shot->stack = malloc(bytes);
    assert_non_null(shot->stack);
    memset(&shot->copy, 0, sizeof shot->copy);
    shot->copy.stack = shot->stack;
    shot->copy.stack_capacity = bytes;
    assert_int_equal(gr_copy_held(h, &shot->copy), 0);
}

static const uint64_t *pattern_in(const struct shot *shot, uint64_t seed)
{
    for (size_t i = 0; i + PATTERN_WORDS * 8 <= shot->copy.copied_bytes; i += 8) {
        if (has_pattern((const uint64_t *)(shot->stack + i), seed))
            return (const uint64_t *)(shot->stack + i);
    }
    return NULL;
}

/* Held while it waits in by_receive and is not folded yet; when the hold was late, another one. */
static uint64_t hold_unfolded(struct waiting *w, struct gr_hold *h)
{
    uint64_t value = 42, id;

    for (;;) {
        id = (uint64_t)go_private(wait_over_pattern, w);
        eventually_waits(id, "chan receive");
        hold(h, id);
        if (!info_of(id).folded)
            return id;
        release(h);
        assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
        eventually_dead(id);
    }
}

/* Nothing runs when it is let go, so whoever folds must not have gone to sleep for good. */
static void one_that_was_held_is_folded_once_it_is_let_go(void **state)
{
    struct waiting w = {by_receive, test_seed}, other;
    struct large large;
    struct gr_hold h;
    uint64_t value = 42, id, other_id;

    (void)state;
    for (unsigned i = 0; i < LARGE_BYTES; i++)
        large.bytes[i] = (uint8_t)(i * 7);
    id = hold_unfolded(&w, &h);
    other_id = start_folded(&other, by_large_receive); /* so all have been looked at since */
    assert_false(info_of(id).folded);
    release(&h);
    eventually_folded(id);
    assert_int_equal(gr_chan_try_send(large_chan, &large), 0);
    expect_woken(other_id);
    atomic_store(&ended, 0);
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    expect_woken(id);
}

static void a_copy_of_a_folded_goroutine_is_as_one_made_before(void **state)
{
    struct shot before, after;
    struct waiting w = {by_receive, test_seed};
    struct gr_hold h;
    uint64_t value = 42, id;

    (void)state;
    id = hold_unfolded(&w, &h);
    take_shot(&before, &h);
    assert_non_null(pattern_in(&before, w.seed));
    release(&h);
    eventually_folded(id);
    hold(&h, id);
    assert_true(info_of(id).folded);
    take_shot(&after, &h);
    assert_true(info_of(id).folded);
    assert_int_equal(after.copy.pc, before.copy.pc);
    assert_int_equal(after.copy.sp, before.copy.sp);
    assert_int_equal(after.copy.reg_present, before.copy.reg_present);
    for (unsigned i = 0; i < gr_register_count(); i++) {
        if (before.copy.reg_present >> i & 1)
            assert_int_equal(after.copy.reg[i], before.copy.reg[i]);
    }
    assert_int_equal(after.copy.copied_lo, before.copy.copied_lo);
    assert_int_equal(after.copy.copied_bytes, before.copy.copied_bytes);
    assert_non_null(pattern_in(&after, w.seed));
    /* From SP up to the pattern's end it is the same stack. */
    assert_memory_equal(
        after.stack + (after.copy.sp - after.copy.copied_lo),
        before.stack + (before.copy.sp - before.copy.copied_lo),
        (size_t)((const uint8_t *)(pattern_in(&before, w.seed) + PATTERN_WORDS) - before.stack) -
            (before.copy.sp - before.copy.copied_lo));
    /* Live memory, as a debugger reads it, is that as well. */
    assert_int_equal(gr_memory_read(after.copy.sp, before.stack, 1024), 1024);
    gr_held_patch(&h, after.copy.sp, before.stack, 1024);
    assert_memory_equal(before.stack, after.stack + (after.copy.sp - after.copy.copied_lo), 1024);
    assert_true(info_of(id).folded);
    /* Woken while it is held, it goes on when it is let go. */
    atomic_store(&ended, 0);
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    assert_int_equal(atomic_load(&ended), 0);
    release(&h);
    expect_woken(id);
    free(before.stack);
    free(after.stack);
}

/* ---- What is not folded ---------------------------------------------------------------------------- */

static volatile int *_Atomic shared_local;

static void let_others_write(void *arg)
{
    volatile int local = 0;

    (void)arg;
    atomic_store(&shared_local, &local);
    by_receive();
    CHECK(local == 42);
    atomic_fetch_add(&ended, 1);
}

/* Others that wait since later are folded: so id was looked at, and was not. */
static void fold_some_others(uint64_t id)
{
    struct waiting w;
    uint64_t other;

    for (unsigned i = 0; i < 3; i++) {
        other = start_folded(&w, by_long_sleep);
        assert_false(info_of(id).folded);
        assert_int_equal(gr_cancel(other), 0);
        eventually_dead(other);
    }
    atomic_store(&ended, 0);
}

static void others_may_write_to_a_stack_that_is_not_private(void **state)
{
    uint64_t value = 42, id = gr_go(let_others_write, NULL);

    (void)state;
    eventually_waits(id, "chan receive");
    fold_some_others(id);
    *atomic_load(&shared_local) = 42;
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    expect_woken(id);
}

static pthread_mutex_t thread_lock = PTHREAD_MUTEX_INITIALIZER;

static void by_pinned_receive(void)
{
    pthread_mutex_lock(&thread_lock);
    by_receive();
    pthread_mutex_unlock(&thread_lock);
}

static void a_pinned_goroutine_is_not_folded(void **state)
{
    struct waiting pinned = {by_pinned_receive, test_seed};
    uint64_t value = 42, id;

    (void)state;
    id = (uint64_t)go_private(wait_over_pattern, &pinned);
    eventually_waits(id, "chan receive");
    assert_int_equal(gr_waitgroup_add(&group, 1), 0);
    fold_some_others(id);
    assert_int_equal(gr_waitgroup_done(&group), 0);
    assert_int_equal(gr_chan_try_send(small_chan, &value), 0);
    expect_woken(id);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receivers_and_senders_get_and_give_their_elements_while_folded),
        cmocka_unit_test(a_select_gets_and_gives_its_element_while_folded),
        cmocka_unit_test(whoever_waits_for_a_lock_is_folded_and_gets_it),
        cmocka_unit_test(whoever_waits_for_a_descriptor_is_folded_and_reads),
        cmocka_unit_test(a_folded_goroutine_can_be_cancelled),
        cmocka_unit_test(sleepers_are_folded_and_wake_by_themselves),
        cmocka_unit_test(a_copy_of_a_folded_goroutine_is_as_one_made_before),
        cmocka_unit_test(one_that_was_held_is_folded_once_it_is_let_go),
        cmocka_unit_test(others_may_write_to_a_stack_that_is_not_private),
        cmocka_unit_test(a_pinned_goroutine_is_not_folded),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2, .fold_after_ms = 1});
    small_chan = gr_chan_create(sizeof(uint64_t), 0);
    large_chan = gr_chan_create(LARGE_BYTES, 0);
    empty_chan = gr_chan_create(0, 0);
    if (!small_chan || !large_chan || !empty_chan)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
