/*
 * test_waits.c: what a goroutine waits for, who would have to act, and who else waits.
 *
 * Every arrangement is looked at while it stands, through the public header alone, and taken apart
 * again: nothing here may be left waiting.
 */
#include "harness.h"

#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <grasp/inspect.h>
#include <grasp/waits.h>

static atomic_uint ended;

static struct gr_wait_info wait_of(uint64_t id)
{
    static struct gr_wait_info info;

    assert_int_equal(gr_wait_info(id, &info), 0);
    return info;
}

static uint64_t go(void (*fn)(void *), void *arg)
{
    uint64_t id = gr_go(fn, arg);

    assert_int_not_equal(id, 0);
    return id;
}

/* ---- One object of each kind ----------------------------------------------------------------- */

static void receive(void *chan)
{
    int value;

    gr_chan_recv(chan, &value);
    atomic_fetch_add(&ended, 1);
}

static void send(void *chan)
{
    int value = 7;

    gr_chan_send(chan, &value);
    atomic_fetch_add(&ended, 1);
}

static void a_receiver_shows_its_channel_and_who_used_it_last(void **state)
{
    struct gr_chan *chan = gr_chan_create(sizeof(int), 0);
    struct gr_wait_party parties[4];
    uint64_t sender = go(send, chan), receiver, second;

    (void)state;
    atomic_store(&ended, 0);
    eventually_waits(sender, "chan send");
    receiver = go(receive, chan);
    eventually_count(&ended, 2, "both met");
    second = go(receive, chan);
    eventually_waits(second, "chan receive");
    struct gr_wait_info info = wait_of(second);
    assert_int_equal(info.object_count, 1);
    assert_int_equal(info.object[0].kind, GR_OBJECT_CHANNEL);
    assert_int_equal(info.object[0].op, GR_WAIT_OP_RECV);
    assert_int_equal(info.object[0].address, (uint64_t)chan);
    assert_int_equal(info.object[0].last_sender, sender);
    assert_int_equal(info.object[0].last_receiver, receiver);
    assert_int_equal(info.object[0].capacity, 0);
    assert_false(info.timed);
    assert_int_equal(info_of(second).wait_address, (uint64_t)chan);
    assert_int_equal(gr_wait_parties(GR_OBJECT_CHANNEL, (uint64_t)chan, parties, 4), 1);
    assert_int_equal(parties[0].id, second);
    assert_int_equal(parties[0].op, GR_WAIT_OP_RECV);
    assert_int_equal(gr_wait_parties(GR_OBJECT_CHANNEL, (uint64_t)chan + 8, parties, 4), 0);
    assert_int_equal(gr_wait_parties(GR_OBJECT_MUTEX, (uint64_t)chan, parties, 4), 0);
    gr_chan_close(chan);
    eventually_alone(0);
    gr_chan_destroy(chan);
    assert_int_equal(gr_wait_info(second, &info), 0); /* dead: it waits for nothing */
    assert_int_equal(info.object_count, 0);
    assert_int_equal(gr_wait_info(UINT64_MAX, &info), -ESRCH);
}

struct pair {
    struct gr_chan *a, *b;
};

static void select_both(void *arg)
{
    struct pair *pair = arg;
    int value = 1, other;
    struct gr_select_case cases[3] = {{.chan = pair->a, .op = GR_SELECT_RECV, .elem = &other},
                                      {.chan = NULL, .op = GR_SELECT_RECV, .elem = &other},
                                      {.chan = pair->b, .op = GR_SELECT_SEND, .elem = &value}};

    gr_select(cases, 3, -1);
}

static void select_timed(void *arg)
{
    struct pair *pair = arg;
    int other;
    struct gr_select_case one = {.chan = pair->a, .op = GR_SELECT_RECV, .elem = &other};

    gr_select(&one, 1, INT64_C(3600000000000));
}

static void a_select_shows_all_its_channels(void **state)
{
    struct pair pair = {gr_chan_create(sizeof(int), 0), gr_chan_create(sizeof(int), 0)};
    struct gr_wait_party party;
    uint64_t id = go(select_both, &pair), timed = go(select_timed, &pair);

    (void)state;
    eventually_waits(id, "select");
    eventually_waits(timed, "select");
    struct gr_wait_info info = wait_of(id);
    assert_int_equal(info.object_count, 2);
    assert_int_equal(info.object[0].address, (uint64_t)pair.a);
    assert_int_equal(info.object[0].op, GR_WAIT_OP_RECV);
    assert_int_equal(info.object[1].address, (uint64_t)pair.b);
    assert_int_equal(info.object[1].op, GR_WAIT_OP_SEND);
    assert_false(info.timed);
    assert_true(wait_of(timed).timed);
    assert_int_equal(info_of(id).wait_address, 0);
    assert_int_equal(gr_wait_parties(GR_OBJECT_CHANNEL, (uint64_t)pair.b, &party, 1), 1);
    assert_int_equal(party.id, id);
    assert_int_equal(party.op, GR_WAIT_OP_SEND);
    /* More than there is room for are counted. */
    assert_int_equal(gr_wait_parties(GR_OBJECT_CHANNEL, (uint64_t)pair.a, &party, 1), 2);
    gr_chan_close(pair.a);
    eventually_alone(0);
    gr_chan_destroy(pair.a);
    gr_chan_destroy(pair.b);
}

struct holder {
    gr_mutex *mutexes;
    size_t count;
    atomic_uint holds, let_go;
};

static void hold_mutexes(void *arg)
{
    struct holder *h = arg;

    for (size_t i = 0; i < h->count; i++)
        CHECK(gr_mutex_lock(&h->mutexes[i]) == 0);
    atomic_store(&h->holds, 1);
    while (!atomic_load(&h->let_go))
        gr_yield();
    for (size_t i = 0; i < h->count; i++)
        CHECK(gr_mutex_unlock(&h->mutexes[i]) == 0);
}

static void want_mutex(void *mutex)
{
    CHECK(gr_mutex_lock(mutex) == 0);
    CHECK(gr_mutex_unlock(mutex) == 0);
}

static void a_waiter_for_a_mutex_shows_who_holds_it(void **state)
{
    gr_mutex mutexes[GR_LOCKS_SHOWN + 2] = {0};
    struct holder h = {.mutexes = mutexes, .count = 1};
    struct gr_wait_info info;
    uint64_t owner = go(hold_mutexes, &h), waiter;

    (void)state;
    eventually(word_is_set, &h.holds, "the mutex is held");
    waiter = go(want_mutex, &mutexes[0]);
    eventually_waits(waiter, "mutex lock");
    info = wait_of(waiter);
    assert_int_equal(info.object_count, 1);
    assert_int_equal(info.object[0].kind, GR_OBJECT_MUTEX);
    assert_int_equal(info.object[0].address, (uint64_t)&mutexes[0]);
    assert_int_equal(info.object[0].owner, owner);
    assert_int_equal(info.lock_count, 0);
    info = wait_of(owner);
    assert_int_equal(info.object_count, 0);
    assert_int_equal(info.lock_count, 1);
    assert_int_equal(info.lock[0], (uint64_t)&mutexes[0]);
    atomic_store(&h.let_go, 1);
    eventually_alone(0);

    /* At the limit of what is shown, and beyond it. */
    h.count = GR_LOCKS_SHOWN + 2;
    atomic_store(&h.holds, 0);
    atomic_store(&h.let_go, 0);
    owner = go(hold_mutexes, &h);
    eventually(word_is_set, &h.holds, "all are held");
    info = wait_of(owner);
    assert_int_equal(info.lock_count, GR_LOCKS_SHOWN);
    for (size_t i = 0; i < GR_LOCKS_SHOWN; i++)
        assert_int_equal(info.lock[i], (uint64_t)&mutexes[i]);
    atomic_store(&h.let_go, 1);
    eventually_alone(0);
    expect_no_faults();
}

struct handed {
    gr_mutex mutex;
    atomic_uint has, let_go;
};

static void take_handed(void *arg)
{
    struct handed *h = arg;

    CHECK(gr_mutex_lock(&h->mutex) == 0);
    atomic_fetch_add(&h->has, 1);
    while (!atomic_load(&h->let_go))
        gr_yield();
    CHECK(gr_mutex_unlock(&h->mutex) == 0);
}

static void a_mutex_that_is_handed_over_is_the_next_ones(void **state)
{
    struct handed h = {0};
    uint64_t first = go(take_handed, &h), second;

    (void)state;
    eventually_count(&h.has, 1, "the first has it");
    second = go(take_handed, &h);
    eventually_waits(second, "mutex lock");
    struct gr_hold held = {0};
    hold(&held, first); /* so that it is seen with the lock, and then without */
    assert_int_equal(wait_of(first).lock_count, 1);
    release(&held);
    atomic_store(&h.let_go, 1);
    eventually_alone(0);
    atomic_store(&h.let_go, 0);
    atomic_store(&h.has, 0);
    first = go(take_handed, &h);
    eventually_count(&h.has, 1, "it is free for the next");
    assert_int_equal(wait_of(first).lock_count, 1);
    assert_int_equal(wait_of(first).lock[0], (uint64_t)&h.mutex);
    atomic_store(&h.let_go, 1);
    eventually_alone(0);
    expect_no_faults();
}

static void wait_for_group(void *group)
{
    CHECK(gr_waitgroup_wait(group) == 0);
}

static void a_wait_group_shows_its_count(void **state)
{
    gr_waitgroup group = GR_WAITGROUP_INIT;
    uint64_t id;

    (void)state;
    assert_int_equal(gr_waitgroup_add(&group, 3), 0);
    id = go(wait_for_group, &group);
    eventually_waits(id, "wait group");
    struct gr_wait_info info = wait_of(id);
    assert_int_equal(info.object[0].kind, GR_OBJECT_WAITGROUP);
    assert_int_equal(info.object[0].count, 3);
    assert_int_equal(gr_waitgroup_add(&group, -3), 0);
    eventually_alone(0);
    expect_no_faults();
}

struct thread_locks {
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;
    struct gr_chan *leave;
    atomic_uint holds;
};

/* Holds both, and waits in a channel with them: stopped together with its thread. */
static void hold_thread_locks(void *arg)
{
    struct thread_locks *l = arg;
    int value;

    CHECK(pthread_mutex_lock(&l->mutex) == 0);
    CHECK(pthread_rwlock_wrlock(&l->rwlock) == 0);
    atomic_store(&l->holds, 1);
    gr_chan_recv(l->leave, &value);
    CHECK(pthread_rwlock_unlock(&l->rwlock) == 0);
    CHECK(pthread_mutex_unlock(&l->mutex) == 0);
}

static void want_thread_mutex(void *arg)
{
    struct thread_locks *l = arg;

    CHECK(pthread_mutex_lock(&l->mutex) == 0);
    CHECK(pthread_mutex_unlock(&l->mutex) == 0);
}

static void want_thread_rwlock(void *arg)
{
    struct thread_locks *l = arg;

    CHECK(pthread_rwlock_rdlock(&l->rwlock) == 0);
    CHECK(pthread_rwlock_unlock(&l->rwlock) == 0);
}

static void a_lock_of_libc_shows_the_goroutine_on_its_owners_thread(void **state)
{
    struct thread_locks l = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                             .rwlock = PTHREAD_RWLOCK_INITIALIZER,
                             .leave = gr_chan_create(sizeof(int), 0)};
    uint64_t owner = go(hold_thread_locks, &l), waiter, reader;

    (void)state;
    eventually(word_is_set, &l.holds, "the locks are held");
    eventually_waits(owner, "chan receive");
    waiter = go(want_thread_mutex, &l);
    reader = go(want_thread_rwlock, &l);
    eventually_waits(waiter, "pthread mutex");
    eventually_waits(reader, "pthread rwlock");
    struct gr_wait_info info = wait_of(waiter);
    assert_int_equal(info.object_count, 1);
    assert_int_equal(info.object[0].kind, GR_OBJECT_THREAD_MUTEX);
    assert_int_equal(info.object[0].address, (uint64_t)&l.mutex);
    assert_int_equal(info.object[0].owner, owner);
    assert_true(info.object[0].owner_thread > 0);
    info = wait_of(reader);
    assert_int_equal(info.object[0].kind, GR_OBJECT_THREAD_RWLOCK);
    assert_int_equal(info.object[0].owner, owner);
    /* All wait, and the one that has to act waits for a channel. */
    struct gr_deadlocks report;
    assert_int_equal(gr_deadlocks(&report), 0);
    assert_true(report.all_wait);
    assert_int_equal(report.count, 3);
    assert_int_equal(report.cycles, 0);
    assert_int_equal(report.stuck[0].id, owner);
    assert_int_equal(report.stuck[0].waits_for, 0);
    assert_int_equal(report.stuck[1].id, waiter);
    assert_int_equal(report.stuck[1].waits_for, owner);
    gr_deadlocks_free(&report);
    gr_chan_close(l.leave);
    eventually_alone(0);
    gr_chan_destroy(l.leave);
    expect_no_faults();
}

/* A thread of the program's holds it: that is nobody's deadlock. */
static void a_lock_of_a_foreign_thread_is_no_deadlock(void **state)
{
    struct thread_locks l = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct gr_deadlocks report;
    uint64_t waiter;

    (void)state;
    pthread_mutex_lock(&l.mutex);
    waiter = go(want_thread_mutex, &l);
    eventually_waits(waiter, "pthread mutex");
    struct gr_wait_info info = wait_of(waiter);
    assert_int_equal(info.object[0].owner, 0);
    assert_true(info.object[0].owner_thread > 0);
    assert_int_equal(gr_deadlocks(&report), 0);
    assert_false(report.all_wait);
    assert_int_equal(report.because, GR_PROGRESS_THREAD);
    gr_deadlocks_free(&report);
    pthread_mutex_unlock(&l.mutex);
    eventually_alone(0);
    expect_no_faults();
}

/* ---- What is shown of it --------------------------------------------------------------------- */

static atomic_uint call_may_end;

static void call_into_the_kernel(void *arg)
{
    (void)arg;
    while (!atomic_load(&call_may_end))
        syscall(SYS_futex, &call_may_end, FUTEX_WAIT, 0, NULL, NULL, 0);
    atomic_fetch_add(&ended, 1);
}

static bool is_long_in_the_kernel(void *id)
{
    struct gr_info info = info_of(*(uint64_t *)id);

    return info.state == GR_SYSCALL && info.wait_ns > 500000000;
}

/* Two figures are compared, neither with a time of day: how long it was in the call, and how long on a processor. */
static void a_long_system_call_is_no_time_on_a_processor(void **state)
{
    uint64_t id = go(call_into_the_kernel, NULL), before;
    struct gr_info info;

    (void)state;
    eventually(is_long_in_the_kernel, &id, "it is in the kernel");
    before = info_of(id).cpu_ns;
    info = info_of(id);
    assert_int_equal(info.cpu_ns,
                     before); /* it stands still, and what came before the call is in it */
    assert_true(info.cpu_ns > 0);
    atomic_store(&call_may_end, 1);
    syscall(SYS_futex, &call_may_end, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    eventually_dead(id);
    assert_true(info_of(id).cpu_ns < info.wait_ns / 2);
    expect_no_faults();
}

/* Pinned ones are handed from thread to thread, and each of these sleeps in between. */
#define SHARERS       8
#define SHARER_ROUNDS 3000

static atomic_uint sharers_done;

static void share_pinned(void *arg)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    (void)arg;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < SHARER_ROUNDS; i++)
        gr_yield();
    pthread_mutex_unlock(&mutex);
    atomic_fetch_add(&sharers_done, 1);
}

static void share_free(void *arg)
{
    (void)arg;
    for (int i = 0; i < SHARER_ROUNDS; i++)
        gr_yield();
    atomic_fetch_add(&sharers_done, 1);
}

static void time_on_a_processor_is_counted_once(void **state)
{
    uint64_t id[SHARERS], sum = 0, before = gr_now_ns(), passed;

    (void)state;
    for (int i = 0; i < SHARERS; i++)
        id[i] = go(i % 2 ? share_pinned : share_free, NULL);
    eventually_count(&sharers_done, SHARERS, "all have had their turns");
    for (int i = 0; i < SHARERS; i++) {
        eventually_dead(id[i]);
        sum += info_of(id[i]).cpu_ns;
    }
    passed = gr_now_ns() - before;
    assert_true(sum <= 2 * passed); /* processors */
    expect_no_faults();
}

static atomic_uint sleeper_may_end;
static int never_ready[2];

static atomic_uint passed_lines;

static inline __attribute__((always_inline)) void pass_a_line(void)
{
    atomic_fetch_add(&passed_lines, 1);
}

/* By our own call, by libc's, and in a wait for a descriptor; what is behind each call is of another function. */
__attribute__((noinline)) static void sleep_here(unsigned way)
{
    const struct timespec time = {.tv_nsec = 20000000};
    struct pollfd fd = {.fd = never_ready[0], .events = POLLIN};

    while (!atomic_load(&sleeper_may_end)) {
        if (way == 0) {
            gr_sleep_ns(20000000);
            pass_a_line();
        } else if (way == 1) {
            nanosleep(&time, NULL);
            pass_a_line();
        } else {
            poll(&fd, 1, 20);
            pass_a_line();
        }
    }
}

static void sleeper(void *arg)
{
    sleep_here((unsigned)(uintptr_t)arg);
}

static bool is_shown_in_its_function(void *id)
{
    struct gr_info info = info_of(*(uint64_t *)id);
    struct gr_frame frame = {0};

    if (info.state == GR_WAITING && info.pc)
        gr_symbolise(info.pc, true, &frame);
    return frame.function && strcmp(frame.function, "sleep_here") == 0;
}

static void a_sleeper_is_shown_where_it_sleeps(void **state)
{
    uint64_t id[3];

    (void)state;
    assert_int_equal(pipe(never_ready), 0);
    for (uintptr_t i = 0; i < 3; i++)
        id[i] = go(sleeper, (void *)i);
    for (unsigned i = 0; i < 3; i++)
        eventually(is_shown_in_its_function, &id[i], "the function that sleeps is shown");
    atomic_store(&sleeper_may_end, 1);
    for (unsigned i = 0; i < 3; i++)
        eventually_dead(id[i]);
    close(never_ready[0]);
    close(never_ready[1]);
    expect_no_faults();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receiver_shows_its_channel_and_who_used_it_last),
        cmocka_unit_test(a_select_shows_all_its_channels),
        cmocka_unit_test(a_waiter_for_a_mutex_shows_who_holds_it),
        cmocka_unit_test(a_mutex_that_is_handed_over_is_the_next_ones),
        cmocka_unit_test(a_wait_group_shows_its_count),
        cmocka_unit_test(a_lock_of_libc_shows_the_goroutine_on_its_owners_thread),
        cmocka_unit_test(a_lock_of_a_foreign_thread_is_no_deadlock),
        cmocka_unit_test(a_long_system_call_is_no_time_on_a_processor),
        cmocka_unit_test(time_on_a_processor_is_counted_once),
        cmocka_unit_test(a_sleeper_is_shown_where_it_sleeps),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
