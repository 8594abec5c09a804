/*
 * test_chan.c: channels and select.
 *
 * Where goroutines have to be waiting before something is done, the test looks until the runtime
 * shows them so; the last cases let producers, consumers and a suspender run freely and compare
 * sums.
 */
#include "harness.h"

#include <pthread.h>

/* ---- One goroutine that does one thing ------------------------------------------------------- */

struct deed {
    struct gr_chan *chan;
    int value, result;
    atomic_uint done;
};

static void send_it(void *arg)
{
    struct deed *d = arg;

    d->result = gr_chan_send(d->chan, &d->value);
    atomic_store(&d->done, 1);
}

static void receive_it(void *arg)
{
    struct deed *d = arg;

    d->result = gr_chan_recv(d->chan, &d->value);
    atomic_store(&d->done, 1);
}

static void start(struct deed *d, void (*fn)(void *), struct gr_chan *chan, int value,
                  const char *waits_for)
{
    uint64_t id;

    *d = (struct deed){.chan = chan, .value = value, .result = 1};
    id = gr_go(fn, d);
    assert_int_not_equal(id, 0);
    if (waits_for)
        eventually_waits(id, waits_for);
}

static void expect(struct deed *d, int result, int value)
{
    eventually(word_is_set, &d->done, "the goroutine has done it");
    assert_int_equal(d->result, result);
    assert_int_equal(d->value, value);
}

/* ---- The basics ------------------------------------------------------------------------------ */

static void without_a_buffer_sender_and_receiver_meet(void **state)
{
    struct gr_chan *chan = gr_chan_create(sizeof(int), 0);
    struct deed s, r;

    (void)state;
    start(&s, send_it, chan, 5, "chan send");
    start(&r, receive_it, chan, 0, NULL);
    expect(&s, 0, 5);
    expect(&r, 0, 5);
    start(&r, receive_it, chan, 0, "chan receive");
    start(&s, send_it, chan, 6, NULL);
    expect(&r, 0, 6);
    expect(&s, 0, 6);
    eventually_alone(0);
    gr_chan_destroy(chan);
}

static void a_buffer_holds_its_capacity_in_order_and_then_the_sender_waits(void **state)
{
    struct gr_chan *chan = gr_chan_create(sizeof(int), 3);
    struct deed s[4];
    int got;

    (void)state;
    for (int i = 0; i < 3; i++) {
        start(&s[i], send_it, chan, i, NULL);
        expect(&s[i], 0, i);
        assert_int_equal(gr_chan_len(chan), i + 1);
    }
    start(&s[3], send_it, chan, 3, "chan send");
    assert_int_equal(gr_chan_try_send(chan, &(int){9}), -EAGAIN);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(gr_chan_try_recv(chan, &got), 0);
        assert_int_equal(got, i);
    }
    expect(&s[3], 0, 3);
    assert_int_equal(gr_chan_try_recv(chan, &got), -EAGAIN);
    eventually_alone(0);
    gr_chan_destroy(chan);
}

static void waiters_are_served_in_the_order_in_which_they_came(void **state)
{
    struct gr_chan *chan = gr_chan_create(sizeof(int), 0);
    struct deed r[5];

    (void)state;
    for (int i = 0; i < 5; i++)
        start(&r[i], receive_it, chan, -1, "chan receive");
    for (int i = 0; i < 5; i++)
        assert_int_equal(gr_chan_try_send(chan, &i), 0);
    for (int i = 0; i < 5; i++)
        expect(&r[i], 0, i);
    eventually_alone(0);
    gr_chan_destroy(chan);
}

static void close_wakes_receivers_and_senders_and_leaves_the_rest_to_be_read(void **state)
{
    struct gr_chan *empty = gr_chan_create(sizeof(int), 0), *full = gr_chan_create(sizeof(int), 1);
    struct deed r[2], s[2];
    int got = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        start(&r[i], receive_it, empty, -1, "chan receive");
    assert_int_equal(gr_chan_try_send(full, &(int){77}), 0);
    for (int i = 0; i < 2; i++)
        start(&s[i], send_it, full, i, "chan send");
    assert_int_equal(gr_chan_close(empty), 0);
    assert_int_equal(gr_chan_close(full), 0);
    for (int i = 0; i < 2; i++) {
        expect(&r[i], -EPIPE, -1);
        expect(&s[i], -EPIPE, i);
    }
    assert_int_equal(gr_chan_close(full), -EPIPE);
    assert_int_equal(gr_chan_try_send(full, &got), -EPIPE);
    assert_int_equal(gr_chan_try_recv(full, &got), 0);
    assert_int_equal(got, 77);
    assert_int_equal(gr_chan_try_recv(full, &got), -EPIPE);
    assert_int_equal(gr_chan_try_recv(empty, &got), -EPIPE);
    eventually_alone(0);
    gr_chan_destroy(empty);
    gr_chan_destroy(full);
}

static void a_thread_may_try_but_not_wait(void **state)
{
    struct gr_chan *chan = gr_chan_create(sizeof(int), 1);
    struct gr_select_case one = {.chan = chan, .op = GR_SELECT_SEND, .elem = &(int){1}};

    (void)state;
    assert_int_equal(gr_chan_send(chan, &(int){1}), -EPERM);
    assert_int_equal(gr_chan_recv(chan, NULL), -EPERM);
    assert_int_equal(gr_select(&one, 1, 0), -EPERM);
    assert_int_equal(gr_chan_len(chan), 0);
    gr_chan_destroy(chan);
    gr_chan_destroy(NULL);
}

static void impossible_sizes_are_refused_and_odd_ones_work(void **state)
{
    struct gr_chan *signal = gr_chan_create(0, 2), *big = gr_chan_create(65536, 2);
    unsigned char *element = calloc(1, 65536), *copy = calloc(1, 65536);

    (void)state;
    assert_null(gr_chan_create(65537, 1));
    assert_null(gr_chan_create(65536, SIZE_MAX / 2));
    assert_null(gr_chan_create(8, SIZE_MAX / 8));
    assert_int_equal(gr_chan_try_send(signal, NULL), 0);
    assert_int_equal(gr_chan_try_send(signal, NULL), 0);
    assert_int_equal(gr_chan_try_send(signal, NULL), -EAGAIN);
    assert_int_equal(gr_chan_try_recv(signal, NULL), 0);
    element[65535] = 3;
    assert_int_equal(gr_chan_try_send(big, element), 0);
    assert_int_equal(gr_chan_try_send(big, element), 0);
    assert_int_equal(gr_chan_try_recv(big, NULL), 0);
    assert_int_equal(gr_chan_try_recv(big, copy), 0);
    assert_memory_equal(element, copy, 65536);
    free(element);
    free(copy);
    gr_chan_destroy(signal);
    gr_chan_destroy(big);
}

/* ---- Select ---------------------------------------------------------------------------------- */

/* Runs fn as a goroutine and reports what it CHECKed. */
static void in_a_goroutine(void (*fn)(void *), void *arg)
{
    uint64_t id = gr_go(fn, arg);

    assert_int_not_equal(id, 0);
    eventually_dead(id);
    expect_no_faults();
}

static void select_without_waiting(void *arg)
{
    struct gr_chan *a = gr_chan_create(sizeof(int), 1), *b = gr_chan_create(sizeof(int), 1);
    struct gr_select_case cases[GR_SELECT_CASES_MAX + 1] = {{NULL, GR_SELECT_RECV, NULL, 0}};
    int got = 0, chosen[2] = {0, 0};

    (void)arg;
    cases[0] = (struct gr_select_case){a, GR_SELECT_RECV, &got, 0};
    cases[1] = (struct gr_select_case){b, GR_SELECT_RECV, &got, 0};
    CHECK(gr_select(cases, 2, 0) == -EAGAIN);
    CHECK(gr_select(cases, 2, 1000) == -EAGAIN);
    CHECK(gr_select(cases, 0, 0) == -EAGAIN);
    CHECK(gr_select(cases, GR_SELECT_CASES_MAX + 1, 0) == -EINVAL);
    cases[2] = (struct gr_select_case){a, (enum gr_select_op)9, &got, 0};
    CHECK(gr_select(cases, 3, 0) == -EINVAL);
    for (int i = 0; i < 2000; i++) {
        int index;

        CHECK(gr_chan_len(a) == 1 || gr_chan_send(a, &(int){10}) == 0);
        CHECK(gr_chan_len(b) == 1 || gr_chan_send(b, &(int){11}) == 0);
        index = gr_select(cases, 2, -1);
        CHECK(index == 0 || index == 1);
        CHECK(cases[index].result == 0 && got == 10 + index);
        chosen[index & 1]++;
    }
    /* Several ready: one at random. That one is never chosen has a chance of 2^-2000. */
    CHECK(chosen[0] > 0 && chosen[1] > 0);
    gr_chan_close(a);
    while (gr_chan_try_recv(a, NULL) == 0)
        ;
    CHECK(gr_select(cases, 1, -1) == 0 && cases[0].result == -EPIPE);
    gr_chan_destroy(a);
    gr_chan_destroy(b);
}

static void select_chooses_at_random_and_knows_its_limits(void **state)
{
    (void)state;
    in_a_goroutine(select_without_waiting, NULL);
}

struct selector {
    struct gr_chan *in, *out;
    int received, sent, index, result;
    atomic_uint done;
};

static void select_once(void *arg)
{
    struct selector *s = arg;
    struct gr_select_case cases[3] = {
        {s->in, GR_SELECT_RECV, &s->received, 0},
        {NULL, GR_SELECT_RECV, NULL, 0},
        {s->out, GR_SELECT_SEND, &s->sent, 0},
    };

    s->index = gr_select(cases, 3, -1);
    s->result = s->index >= 0 ? cases[s->index].result : 0;
    atomic_store(&s->done, 1);
}

static void await_select(struct selector *s, int index, int result)
{
    eventually(word_is_set, &s->done, "select returns");
    assert_int_equal(s->index, index);
    assert_int_equal(s->result, result);
}

static void a_waiting_select_takes_the_first_case_that_can_go_on(void **state)
{
    struct gr_chan *in = gr_chan_create(sizeof(int), 0), *out = gr_chan_create(sizeof(int), 0);
    struct selector s;
    int got = 0;

    (void)state;
    for (int way = 0; way < 4; way++) {
        uint64_t id;

        s = (struct selector){.in = in, .out = out, .sent = 33};
        id = gr_go(select_once, &s);
        eventually_waits(id, "select");
        if (way == 0) {
            assert_int_equal(gr_chan_try_send(in, &(int){44}), 0);
            await_select(&s, 0, 0);
            assert_int_equal(s.received, 44);
        } else if (way == 1) {
            assert_int_equal(gr_chan_try_recv(out, &got), 0);
            await_select(&s, 2, 0);
            assert_int_equal(got, 33);
        } else if (way == 2) {
            assert_int_equal(gr_cancel(id), 0);
            eventually(word_is_set, &s.done, "select returns");
            assert_int_equal(s.index, -ECANCELED);
        } else {
            gr_chan_close(out);
            await_select(&s, 2, -EPIPE);
        }
        eventually_dead(id);
        /* Nothing of the select is left in either channel. */
        assert_int_equal(gr_chan_try_send(in, &got), -EAGAIN);
        assert_int_equal(gr_chan_try_recv(out, &got), way == 3 ? -EPIPE : -EAGAIN);
    }
    gr_chan_destroy(in);
    gr_chan_destroy(out);
}

/* ---- Everything at once ---------------------------------------------------------------------- */

#define PARTIES 4
#define ITEMS   5000

static struct gr_chan *lane[2];
static atomic_ulong sum_in, sum_out;
static atomic_uint producers_done, consumers_done;

static void produce(void *arg)
{
    uint64_t random = test_seed + (uint64_t)(uintptr_t)arg;

    for (int i = 0; i < ITEMS; i++) {
        unsigned long item = next_random(&random) % 1000000;
        struct gr_select_case cases[2] = {{lane[0], GR_SELECT_SEND, &item, 0},
                                          {lane[1], GR_SELECT_SEND, &item, 0}};
        int index = i % 3 ? gr_select(cases, 2, -1) : gr_chan_send(lane[i % 2], &item);

        CHECK(index >= 0);
        atomic_fetch_add(&sum_in, item);
    }
    atomic_fetch_add(&producers_done, 1);
}

static void consume(void *arg)
{
    int64_t timeout = (uintptr_t)arg % 2 ? 20000 : -1;
    unsigned long item;

    for (;;) {
        struct gr_select_case cases[2] = {{lane[0], GR_SELECT_RECV, &item, 0},
                                          {lane[1], GR_SELECT_RECV, &item, 0}};
        int index = gr_select(cases, 2, timeout);

        if (index == -EAGAIN)
            continue;
        CHECK(index >= 0);
        if (index < 0)
            break;
        if (cases[index].result == -EPIPE) {
            /* This lane is at its end; the other may not be. */
            while (gr_chan_recv(lane[1 - index], &item) == 0)
                atomic_fetch_add(&sum_out, item);
            break;
        }
        atomic_fetch_add(&sum_out, item);
    }
    atomic_fetch_add(&consumers_done, 1);
}

static bool production_ended_or_suspended(uint64_t *id, uint64_t *random)
{
    struct gr_hold h = {0};

    if (gr_hold_wait(&h, id[next_random(random) % (2 * PARTIES)], HOLD_TIMEOUT_NS) == 0)
        assert_int_equal(gr_hold_end(&h), 0);
    return atomic_load(&producers_done) == PARTIES;
}

static void no_item_is_lost_or_doubled_whoever_is_suspended(size_t capacity)
{
    uint64_t id[2 * PARTIES], random = test_seed, give_up = gr_now_ns() + WATCHDOG_NS;

    atomic_store(&sum_in, 0);
    atomic_store(&sum_out, 0);
    atomic_store(&producers_done, 0);
    atomic_store(&consumers_done, 0);
    for (int i = 0; i < 2; i++)
        lane[i] = gr_chan_create(sizeof(unsigned long), capacity);
    for (uintptr_t i = 0; i < PARTIES; i++) {
        id[2 * i] = gr_go(produce, (void *)i);
        id[2 * i + 1] = gr_go(consume, (void *)i);
    }
    while (!production_ended_or_suspended(id, &random))
        assert_true(gr_now_ns() < give_up);
    for (int i = 0; i < 2; i++)
        assert_int_equal(gr_chan_close(lane[i]), 0);
    eventually_count(&consumers_done, PARTIES, "all consumers end");
    expect_no_faults();
    assert_int_equal(atomic_load(&sum_out), atomic_load(&sum_in));
    eventually_alone(0);
    for (int i = 0; i < 2; i++)
        gr_chan_destroy(lane[i]);
}

static void no_item_is_lost_without_a_buffer(void **state)
{
    (void)state;
    no_item_is_lost_or_doubled_whoever_is_suspended(0);
}

static void no_item_is_lost_with_a_buffer(void **state)
{
    (void)state;
    no_item_is_lost_or_doubled_whoever_is_suspended(7);
}

/* ---- Who destroys a channel ------------------------------------------------------------------ */

#define CLOSES 3000

static _Atomic(struct gr_chan *) to_close;

static void close_what_comes(void *arg)
{
    (void)arg;
    for (int i = 0; i < CLOSES; i++) {
        struct gr_chan *mine;

        while (!(mine = atomic_exchange(&to_close, NULL)))
            gr_yield();
        CHECK(gr_chan_close(mine) == 0);
    }
}

/* What is put where the channel was is not written to. */
static void destroy_what_was_closed(void *arg)
{
    uint64_t same_place[16];

    (void)arg;
    for (int i = 0; i < CLOSES; i++) {
        struct gr_chan *mine = gr_chan_create(sizeof same_place, 0), *next;

        atomic_store(&to_close, mine);
        if (i % 2)
            gr_yield();
        while (gr_chan_try_recv(mine, same_place) == -EAGAIN)
            ;
        gr_chan_destroy(mine);
        next = gr_chan_create(sizeof same_place, 0);
        for (int looks = 0; looks < 200; looks++)
            CHECK(gr_chan_try_recv(next, same_place) == -EAGAIN);
        gr_chan_destroy(next);
    }
}

static void a_channel_may_go_as_soon_as_it_is_seen_closed(void **state)
{
    (void)state;
    gr_go(close_what_comes, NULL);
    gr_go(destroy_what_was_closed, NULL);
    eventually_alone(0);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_buffer_sender_and_receiver_meet),
        cmocka_unit_test(a_buffer_holds_its_capacity_in_order_and_then_the_sender_waits),
        cmocka_unit_test(waiters_are_served_in_the_order_in_which_they_came),
        cmocka_unit_test(close_wakes_receivers_and_senders_and_leaves_the_rest_to_be_read),
        cmocka_unit_test(a_thread_may_try_but_not_wait),
        cmocka_unit_test(impossible_sizes_are_refused_and_odd_ones_work),
        cmocka_unit_test(select_chooses_at_random_and_knows_its_limits),
        cmocka_unit_test(a_waiting_select_takes_the_first_case_that_can_go_on),
        cmocka_unit_test(no_item_is_lost_without_a_buffer),
        cmocka_unit_test(no_item_is_lost_with_a_buffer),
        cmocka_unit_test(a_channel_may_go_as_soon_as_it_is_seen_closed),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
