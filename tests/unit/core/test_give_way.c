/*
 * test_give_way.c: code whose loops consist of the runtime's own calls, which have no entry checks, is stopped in them;
 * but not what the host does when the runtime calls it.
 */
#include "harness.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static int short_slices(void **state)
{
    (void)state;
    return gr_set_time_slice_us(200) || gr_set_procs(1);
}

static int usual_slices(void **state)
{
    (void)state;
    return gr_set_time_slice_us(10000) || gr_set_procs(2) || gr_set_async_preempt(async_on);
}

/* ---- Calls --------------------------------------------------------------------------------------- */

enum kind {
    CANCELLED,
    NOW,
    ID,
    INFO,
    LIST,
    LIST_ALL,
    STATS,
    TRY_RECV,
    TRY_SEND,
    BUFFER,
    CHAN_LEN,
    CHAN_LIFE,
    SELECT,
    MUTEX,
    TRY_MUTEX,
    UNLOCK,
    SIGNAL,
    BROADCAST,
    COND_NOT_OURS,
    COND_TIMED_NOT_OURS,
    DESTROY_NONE,
    GROUP,
    GROUP_WAIT,
    POLL,
    LABEL,
    RESULT,
    LOG,
    BIRTH,
    BIRTH_WITH,
    CANCEL,
    SUSPEND,
    /* of one who was asked to end, and does not */
    CANCELLED_SLEEP,
    CANCELLED_RECV,
    CANCELLED_POLL,
    KINDS
};

struct caller {
    atomic_ulong count;
    atomic_uint stop;
    uint64_t id;
    enum kind kind;
};
static struct gr_chan *empty, *full, *buffer;
static uint64_t bystander; /* waits */
static int never_ready;

static void nothing(void *arg)
{
    (void)arg;
}

/* One function, so that no entry check is in the loop. */
static void call(void *arg)
{
    struct caller *c = arg;
    struct gr_go_opts birth = {.fn = nothing};
    gr_mutex mutex = GR_MUTEX_INIT;
    gr_cond cond = GR_COND_INIT;
    gr_waitgroup group = GR_WAITGROUP_INIT;
    gr_suspension suspension;
    struct gr_info info;
    struct gr_stats stats;
    unsigned element = 0;
    uint64_t *ids, some[4];
    size_t count;

    while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        struct gr_select_case one = {empty, GR_SELECT_RECV, &element, 0};

        atomic_fetch_add_explicit(&c->count, 1, memory_order_relaxed);
        switch (c->kind) {
        case CANCELLED:
            CHECK(!gr_cancelled());
            break;
        case NOW:
            CHECK(gr_now_ns() != 0);
            break;
        case ID:
            CHECK(gr_id() != 0);
            break;
        case INFO:
            CHECK(gr_info(bystander, &info) == 0);
            break;
        case LIST:
            CHECK(gr_list(GR_LIST_LIVE, 0, some, 4) >= 2);
            break;
        case LIST_ALL:
            ids = gr_list_all(&count);
            CHECK(ids && count >= 2);
            free(ids);
            break;
        case STATS:
            gr_stats(&stats);
            break;
        case TRY_RECV:
            CHECK(gr_chan_try_recv(empty, &element) == -EAGAIN);
            break;
        case TRY_SEND:
            CHECK(gr_chan_try_send(full, &element) == -EAGAIN);
            break;
        case BUFFER:
            CHECK(gr_chan_send(buffer, &element) == 0 && gr_chan_recv(buffer, &element) == 0);
            break;
        case CHAN_LEN:
            CHECK(gr_chan_len(full) == 1);
            break;
        case CHAN_LIFE: {
            struct gr_chan *own = gr_chan_create(8, 1);

            CHECK(own && gr_chan_close(own) == 0);
            gr_chan_destroy(own);
            break;
        }
        case SELECT:
            CHECK(gr_select(&one, 1, 0) == -EAGAIN);
            break;
        case MUTEX:
            CHECK(gr_mutex_lock(&mutex) == 0 && gr_mutex_unlock(&mutex) == 0);
            break;
        case TRY_MUTEX:
            CHECK(gr_mutex_try_lock(&mutex) == 0 && gr_mutex_unlock(&mutex) == 0);
            break;
        case UNLOCK:
            CHECK(gr_mutex_unlock(&mutex) == -EPERM);
            break;
        case SIGNAL:
            gr_cond_signal(&cond);
            break;
        case BROADCAST:
            gr_cond_broadcast(&cond);
            break;
        case COND_NOT_OURS:
            CHECK(gr_cond_wait(&cond, &mutex) == -EPERM);
            break;
        case COND_TIMED_NOT_OURS:
            CHECK(gr_cond_timed_wait(&cond, &mutex, 1) == -EPERM);
            break;
        case DESTROY_NONE:
            gr_chan_destroy(NULL);
            break;
        case GROUP:
            CHECK(gr_waitgroup_add(&group, 1) == 0 && gr_waitgroup_done(&group) == 0);
            break;
        case GROUP_WAIT:
            CHECK(gr_waitgroup_wait(&group) == 0);
            break;
        case POLL:
            CHECK(gr_poll_fd(never_ready, POLLIN, 0) == -ETIMEDOUT);
            break;
        case LABEL:
            CHECK(gr_label("a", "b") == 0);
            break;
        case RESULT:
            CHECK(gr_result("[1]") == 0);
            break;
        case LOG:
            CHECK(gr_log("called") == 0);
            break;
        case BIRTH:
            CHECK(gr_go(nothing, NULL) != 0);
            break;
        case BIRTH_WITH:
            CHECK(gr_go_with(&birth) > 0);
            break;
        case CANCEL:
            CHECK(gr_cancel(UINT64_MAX) == -ESRCH);
            break;
        case SUSPEND:
            CHECK(gr_suspend(bystander, 0, &suspension) == 0 && gr_resume(suspension) == 0);
            break;
        case CANCELLED_SLEEP:
            CHECK(gr_sleep_ns(UINT64_MAX) == -ECANCELED); /* may begin before it is asked */
            break;
        case CANCELLED_RECV:
            CHECK(gr_chan_recv(empty, &element) == -ECANCELED);
            break;
        case CANCELLED_POLL:
            CHECK(gr_poll_fd(never_ready, POLLIN, -1) == -ECANCELED);
            break;
        case KINDS:
            break;
        }
    }
}

static void stand_by(void *chan)
{
    CHECK(gr_chan_recv(chan, NULL) == -EPIPE);
}

static void slices_end_and_holds_are_met(struct caller *c)
{
    struct gr_hold h;

    eventually_moves(&c[0].count);
    eventually_moves(&c[1].count);
    hold(&h, c[0].id);
    assert_true(stands_still(&c[0].count));
    eventually_moves(&c[1].count);
    release(&h);
    eventually_moves(&c[0].count);
}

static void calls_of_the_runtime_give_way_without_signals(void **state)
{
    struct gr_chan *closed_last = gr_chan_create(0, 0);
    unsigned element = 0;
    struct caller c[2];
    int end[2];

    (void)state;
    assert_int_equal(pipe(end), 0);
    never_ready = end[0];
    bystander = gr_go(stand_by, closed_last);
    eventually_waits(bystander, "chan receive");
    assert_int_equal(gr_set_async_preempt(false), 0);
    empty = gr_chan_create(sizeof(unsigned), 0);
    full = gr_chan_create(sizeof(unsigned), 1);
    buffer = gr_chan_create(sizeof(unsigned), 4);
    assert_int_equal(gr_chan_try_send(full, &element), 0);
    for (int kind = 0; kind < KINDS; kind++) {
        for (int i = 0; i < 2; i++) {
            c[i] = (struct caller){.kind = (enum kind)kind};
            c[i].id = gr_go(call, &c[i]);
            if (kind >= CANCELLED_SLEEP)
                assert_int_equal(gr_cancel(c[i].id), 0);
        }
        slices_end_and_holds_are_met(c);
        atomic_store(&c[0].stop, 1);
        atomic_store(&c[1].stop, 1);
        eventually_alone(1);
    }
    assert_int_equal(gr_chan_close(closed_last), 0);
    eventually_alone(0);
    gr_chan_destroy(closed_last);
    close(end[0]);
    close(end[1]);
    gr_chan_destroy(empty);
    gr_chan_destroy(full);
    gr_chan_destroy(buffer);
    expect_no_faults();
}

/* ---- Call-backs ---------------------------------------------------------------------------------- */

static atomic_uint in_host, looks, met, told;

/* As a host with a lock of its own: long enough for many slices to end. */
static void on_event(void *ctx, enum gr_event event, uint64_t id, uint64_t root, const char *text)
{
    (void)ctx;
    (void)id;
    (void)root;
    (void)text;
    if (event != GR_EVENT_LOG)
        return;
    atomic_store(&in_host, 1);
    for (uint64_t end = gr_now_ns() + 5000000; gr_now_ns() < end;)
        atomic_fetch_add(&told, 1);
    atomic_store(&in_host, 0);
}

static void tell(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++)
        CHECK(gr_log("line %d", i) == 0);
}

static void look(void *stop)
{
    while (!atomic_load((atomic_uint *)stop)) {
        atomic_fetch_add(&met, atomic_load(&in_host));
        gr_yield();
        atomic_store(&looks, 1);
    }
}

static void what_the_host_does_when_it_is_called_does_not_give_way(void **state)
{
    atomic_uint stop = 0;
    uint64_t teller;

    (void)state;
    gr_on_event(on_event, NULL);
    assert_int_not_equal(gr_go(look, &stop), 0);
    /* Its first run may be upon the processor that goes. */
    eventually(word_is_set, &looks, "it looks");
    teller = gr_go(tell, NULL);
    eventually_dead(teller);
    gr_on_event(NULL, NULL);
    atomic_store(&stop, 1);
    eventually_alone(0);
    assert_true(atomic_load(&told) > 0);
    assert_int_equal(atomic_load(&met), 0);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_of_the_runtime_give_way_without_signals, short_slices,
                                        usual_slices),
        cmocka_unit_test_setup_teardown(what_the_host_does_when_it_is_called_does_not_give_way,
                                        short_slices, usual_slices),
    };

    /* The bystander is to stand still: while its stack is given back it does not. */
    harness_start(argc, argv, (struct gr_options){.procs = 2, .fold_after_ms = GR_FOLD_NEVER});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
