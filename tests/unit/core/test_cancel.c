/*
 * test_cancel.c: gr_cancel ends every wait of a goroutine, and loses nothing when something else
 * ends the wait at the same time.
 */
#include "harness.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static gr_mutex mutex;
static gr_cond cond;
static gr_waitgroup group;
static atomic_uint owner_may_leave, owner_is_in, woken;

__attribute__((noinline)) static void pass_time(unsigned loops)
{
    for (unsigned i = 0; i < loops; i++)
        __asm__ volatile("" ::: "memory");
}

static void own_the_mutex(void *arg)
{
    (void)arg;
    CHECK(gr_mutex_lock(&mutex) == 0);
    atomic_store(&owner_is_in, 1);
    while (!atomic_load(&owner_may_leave))
        CHECK(gr_sleep_ns(50000) == 0);
    CHECK(gr_mutex_unlock(&mutex) == 0);
}

static void sleep_for_an_hour(void *arg)
{
    (void)arg;
    CHECK(gr_sleep_ns(3600000000000u) == -ECANCELED);
}

/* ---- Cancellation of whatever waits ---------------------------------------------------------- */

static struct gr_chan *empty, *full;
static int pipe_end[2];
static uint64_t unstoppable;
static atomic_uint in_region, leave_region;

static int lock_taken(void)
{
    return gr_mutex_lock(&mutex);
}

static int wait_cond(void)
{
    gr_mutex own = GR_MUTEX_INIT;
    int result;

    CHECK(gr_mutex_lock(&own) == 0);
    result = gr_cond_wait(&cond, &own);
    CHECK(own.owner == gr_id());
    CHECK(gr_mutex_unlock(&own) == 0);
    return result;
}

static int wait_group(void)
{
    return gr_waitgroup_wait(&group);
}

static int sleep_long(void)
{
    return gr_sleep_ns(3600000000000u);
}

static int send_full(void)
{
    return gr_chan_send(full, &(int){1});
}

static int receive_empty(void)
{
    return gr_chan_recv(empty, NULL);
}

static int select_nothing(void)
{
    return gr_select(NULL, 0, -1);
}

static int select_two(void)
{
    struct gr_select_case cases[2] = {{empty, GR_SELECT_RECV, NULL, 0},
                                      {full, GR_SELECT_SEND, &(int){1}, 0}};

    return gr_select(cases, 2, 3600000000000);
}

static int poll_pipe(void)
{
    return gr_poll_fd(pipe_end[0], POLLIN, -1);
}

static int read_pipe(void)
{
    char byte;

    return read(pipe_end[0], &byte, 1) == -1 && errno == ECANCELED ? -ECANCELED : 0;
}

static int suspend_one_that_cannot_stop(void)
{
    gr_suspension s;
    int error = gr_suspend(unstoppable, 3600000000000u, &s);

    if (!error)
        gr_resume(s);
    return error;
}

static const struct wait_call {
    const char *reason;
    int (*call)(void);
} wait_calls[] = {
    {"mutex lock", lock_taken},
    {"condition wait", wait_cond},
    {"wait group", wait_group},
    {"sleep", sleep_long},
    {"chan send", send_full},
    {"chan receive", receive_empty},
    {"select", select_nothing},
    {"select", select_two},
    {"poll", poll_pipe},
    {"poll", read_pipe},
    {"suspend", suspend_one_that_cannot_stop},
};
#define WAIT_CALLS (sizeof wait_calls / sizeof wait_calls[0])

static atomic_uint call_results;

static void make_the_call(void *arg)
{
    const struct wait_call *w = arg;

    CHECK(!gr_cancelled());
    CHECK(w->call() == -ECANCELED);
    CHECK(gr_cancelled());
    /* Once cancelled, it fails again without waiting. */
    CHECK(w->call() == -ECANCELED);
    atomic_fetch_add(&call_results, 1);
}

static void stay_in_a_region(void *arg)
{
    (void)arg;
    gr_nopreempt_begin();
    atomic_store(&in_region, 1);
    while (!atomic_load(&leave_region))
        pass_time(100);
    gr_nopreempt_end();
}

static void set_up_waits(uint64_t *owner)
{
    empty = gr_chan_create(sizeof(int), 0);
    full = gr_chan_create(sizeof(int), 0);
    assert_int_equal(pipe(pipe_end), 0);
    assert_int_equal(gr_waitgroup_add(&group, 1), 0);
    atomic_store(&owner_is_in, 0);
    atomic_store(&owner_may_leave, 0);
    atomic_store(&in_region, 0);
    atomic_store(&leave_region, 0);
    *owner = gr_go(own_the_mutex, NULL);
    unstoppable = gr_go(stay_in_a_region, NULL);
    eventually(word_is_set, &owner_is_in, "the mutex is taken");
    eventually(word_is_set, &in_region, "one cannot be stopped");
}

static void cancelling_ends_every_wait(void **state)
{
    uint64_t owner;

    (void)state;
    set_up_waits(&owner);
    atomic_store(&call_results, 0);
    for (unsigned i = 0; i < WAIT_CALLS; i++) {
        uint64_t id = gr_go(make_the_call, (void *)&wait_calls[i]);

        eventually_waits(id, wait_calls[i].reason);
        assert_int_equal(gr_cancel(id), 0);
        eventually_dead(id);
        assert_int_equal(atomic_load(&call_results), i + 1);
        assert_true(info_of(id).cancelled);
        assert_int_equal(info_of(id).exit_reason, GR_EXIT_CANCELLED);
        expect_no_faults();
    }
    atomic_store(&owner_may_leave, 1);
    atomic_store(&leave_region, 1);
    eventually_alone(0);
    assert_int_equal(gr_waitgroup_done(&group), 0);
    close(pipe_end[0]);
    close(pipe_end[1]);
    gr_chan_destroy(empty);
    gr_chan_destroy(full);
}

static void a_held_one_that_is_cancelled_ends_after_its_resume(void **state)
{
    struct gr_hold h;
    uint64_t id;

    (void)state;
    id = gr_go(sleep_for_an_hour, NULL);
    eventually_waits(id, "sleep");
    hold(&h, id);
    assert_int_equal(gr_cancel(id), 0);
    for (int looks = 0; looks < 100; looks++) {
        sched_yield();
        assert_true(info_of(id).suspended);
    }
    release(&h);
    eventually_dead(id);
    assert_int_equal(gr_cancel(id), -EOWNERDEAD);
    assert_int_equal(gr_cancel(id + 1000000), -ESRCH);
    expect_no_faults();
}

static void end_at_once(void *arg)
{
    (void)arg;
}

/* While it left the registry it was called dead already, and a cancel of it went well. */
static void one_that_is_called_dead_cannot_be_cancelled(void **state)
{
    struct gr_info info = {0};

    (void)state;
    for (int i = 0; i < 5000; i++) {
        uint64_t id = gr_go(end_at_once, NULL);

        /* Ends: it is runnable. */
        while (gr_info(id, &info) == 0 && info.state != GR_DEAD)
            ;
        assert_int_equal(gr_cancel(id), -EOWNERDEAD);
    }
    eventually_alone(0);
}

/* ---- Cancel against wake --------------------------------------------------------------------- */

static void receive_until_cancelled(void *arg)
{
    struct gr_chan *chan = arg;
    int got = 0, result = gr_chan_recv(chan, &got);

    CHECK(result == -ECANCELED || (result == 0 && got == 7));
    if (result == 0)
        atomic_fetch_add(&woken, 1);
}

static void of_a_send_and_a_cancel_at_once_the_item_is_not_lost(void **state)
{
    struct gr_chan *chan = gr_chan_create(sizeof(int), 0);
    unsigned sent = 0;

    (void)state;
    atomic_store(&woken, 0);
    for (int i = 0; i < 3000; i++) {
        uint64_t id = gr_go(receive_until_cancelled, chan);
        uint64_t random = test_seed + (uint64_t)i;
        uint64_t first = next_random(&random) % 2;

        pass_time((unsigned)next_random(&random) % 20000);
        if (first)
            gr_cancel(id);
        sent += gr_chan_try_send(chan, &(int){7}) == 0;
        if (!first)
            gr_cancel(id);
        eventually_dead(id);
        assert_int_equal(atomic_load(&woken), sent);
    }
    gr_chan_destroy(chan);
    expect_no_faults();
}

/* ---- Signals at a cancelled one -------------------------------------------------------------- */

#define LOOKS 20000

static atomic_int looker_tid;
static atomic_uint looks_done;

/* What would not block works as ever: a signal that comes just before the kernel is entered changes nothing. */
static void look_at_an_empty_pipe(void *arg)
{
    struct pollfd one = {.fd = pipe_end[0], .events = POLLIN};

    (void)arg;
    CHECK(gr_sleep_ns(3600000000000u) == -ECANCELED);
    for (int i = 0; i < LOOKS; i++) {
        atomic_store(&looker_tid, gettid());
        CHECK(poll(&one, 1, 0) == 0);
        CHECK(write(pipe_end[1], "x", 1) == 1);
        CHECK(read(pipe_end[0], &(char){0}, 1) == 1);
    }
    atomic_store(&looks_done, 1);
}

static void signals_at_a_cancelled_one_end_no_call_that_need_not_block(void **state)
{
    uint64_t id;

    (void)state;
    assert_int_equal(pipe(pipe_end), 0);
    atomic_store(&looks_done, 0);
    id = gr_go(look_at_an_empty_pipe, NULL);
    eventually_waits(id, "sleep");
    assert_int_equal(gr_cancel(id), 0);
    while (!atomic_load(&looks_done) && info_of(id).state != GR_DEAD) {
        int tid = atomic_load(&looker_tid);

        if (tid)
            syscall(SYS_tgkill, getpid(), tid, SIGURG);
    }
    eventually_dead(id);
    close(pipe_end[0]);
    close(pipe_end[1]);
    expect_no_faults();
}

/* ---- Everybody ------------------------------------------------------------------------------- */

#define BREEDERS 2
#define LOW_ONES 2000

static atomic_uint low_ones_may_end;

static void wait_in_a_low_slot(void *arg)
{
    (void)arg;
    while (!atomic_load(&low_ones_may_end) && !gr_cancelled())
        gr_sleep_ns(1000000);
}

static void breed(void *arg)
{
    (void)arg;
    while (!gr_cancelled())
        CHECK(gr_go(sleep_for_an_hour, NULL) != 0);
}

static bool has_bred(void *first)
{
    return gr_list(GR_LIST_LIVE, *(uint64_t *)first, &(uint64_t){0}, 1) == 1;
}

/*
 * The last test: what is born afterwards is born cancelled. Those who bear are in slots behind those in which they bear: the
 * walk over the slots has been where a child comes before it gets to the parent that bears it.
 */
static void whoever_is_born_while_all_are_cancelled_ends_too(void **state)
{
    uint64_t breeder = 0, late;

    (void)state;
    atomic_store(&low_ones_may_end, 0);
    for (int i = 0; i < LOW_ONES; i++)
        assert_int_not_equal(gr_go(wait_in_a_low_slot, NULL), 0);
    for (int i = 0; i < BREEDERS; i++)
        assert_int_not_equal(breeder = gr_go(breed, NULL), 0);
    atomic_store(&low_ones_may_end, 1);
    eventually(has_bred, &breeder, "there are children");
    gr_cancel_all();
    eventually_alone(0);
    late = gr_go(sleep_for_an_hour, NULL);
    eventually_dead(late);
    assert_int_equal(info_of(late).exit_reason, GR_EXIT_CANCELLED);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelling_ends_every_wait),
        cmocka_unit_test(a_held_one_that_is_cancelled_ends_after_its_resume),
        cmocka_unit_test(one_that_is_called_dead_cannot_be_cancelled),
        cmocka_unit_test(of_a_send_and_a_cancel_at_once_the_item_is_not_lost),
        cmocka_unit_test(signals_at_a_cancelled_one_end_no_call_that_need_not_block),
        cmocka_unit_test(whoever_is_born_while_all_are_cancelled_ends_too),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
