/*
 * test_fairness.c: one processor for all: nobody starves behind others, whatever they do, and no thread more is needed.
 */
#include "harness.h"

#include <fcntl.h>
#include <dlfcn.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static atomic_uint stop;

/* ---- Pairs that hand something to and fro --------------------------------------------------------- */

#if defined(__SANITIZE_THREAD__)
#define TURNS 200000 /* libtsan's switch to another fiber takes twenty times as long */
#else
#define TURNS 4000000 /* of each pair: some forty slices */
#endif
#define FACTOR 2

struct pair {
    struct gr_chan *there, *back;
    unsigned work; /* of each turn */
    atomic_ulong count;
};

static void work_for(unsigned n)
{
    for (volatile unsigned i = 0; i < n; i++)
        ;
}

static void begin_turns(void *arg)
{
    struct pair *p = arg;

    while (!atomic_load(&stop)) {
        if (gr_chan_send(p->there, NULL) || gr_chan_recv(p->back, NULL))
            break;
        work_for(p->work);
        atomic_fetch_add(&p->count, 1);
    }
    gr_chan_close(p->there);
}

static void answer_turns(void *arg)
{
    struct pair *p = arg;

    while (gr_chan_recv(p->there, NULL) == 0) {
        work_for(p->work);
        atomic_fetch_add(&p->count, 1);
        if (gr_chan_send(p->back, NULL))
            break;
    }
}

static bool both_had_turns(void *arg)
{
    struct pair *p = arg;

    return atomic_load(&p[0].count) >= TURNS && atomic_load(&p[1].count) >= TURNS;
}

/* G6: two that wake each other inherit the slice; that must not keep others out. */
static void pairs_that_wake_each_other_share_the_processor(void **state)
{
    static struct pair pair[2];

    (void)state;
    atomic_store(&stop, 0);
    for (unsigned i = 0; i < 2; i++) {
        pair[i].there = gr_chan_create(0, 0);
        pair[i].back = gr_chan_create(0, 0);
        atomic_store(&pair[i].count, 0);
        assert_true(pair[i].there && pair[i].back);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_not_equal(gr_go(answer_turns, &pair[i]), 0);
        assert_int_not_equal(gr_go(begin_turns, &pair[i]), 0);
    }
    eventually(both_had_turns, pair, "both pairs have their turns");
    atomic_store(&stop, 1);
    eventually_alone(0);
    print_message("turns: %lu and %lu\n", atomic_load(&pair[0].count), atomic_load(&pair[1].count));
    for (unsigned i = 0; i < 2; i++) {
        assert_true(atomic_load(&pair[i].count) / FACTOR <= atomic_load(&pair[1 - i].count));
        gr_chan_destroy(pair[i].there);
        gr_chan_destroy(pair[i].back);
    }
}

/* ---- More than a ring holds ----------------------------------------------------------------------- */

#define MANY    1000 /* a ring has 256 places: most are in the global queue */
#define MOST    200  /* turns of the first; a round is one of everybody's */
#define UNEQUAL 4    /* nobody has had so many times as many turns as another */

static atomic_uint first_has_most, begun;
static atomic_ulong turns[MANY];

static void give_way(void *arg)
{
    atomic_ulong *mine = arg;

    atomic_fetch_add(&begun, 1);
    while (atomic_load(&begun) < MANY) /* nobody begins before the last is born */
        gr_yield();
    while (!atomic_load(&first_has_most)) {
        if (atomic_fetch_add(mine, 1) + 1 == MOST)
            atomic_store(&first_has_most, 1);
        gr_yield();
    }
}

/* Those in the global queue have their turns as those in the processor's own, however many are there. */
static void of_very_many_that_give_way_nobody_starves(void **state)
{
    unsigned long least = MOST;

    (void)state;
    atomic_store(&first_has_most, 0);
    atomic_store(&begun, 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_not_equal(gr_go(give_way, &turns[i]), 0);
    eventually_alone(0);
    for (unsigned i = 0; i < MANY; i++)
        least = atomic_load(&turns[i]) < least ? atomic_load(&turns[i]) : least;
    print_message("turns: %d to %lu\n", MOST, least);
    assert_true(least >= MOST / UNEQUAL);
}

/* ---- Sleepers ------------------------------------------------------------------------------------- */

#define WRITERS 4
#define WAKES   100

static atomic_ulong written[WRITERS];
static atomic_uint wakes;

static void write_to_null(void *arg)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    CHECK(fd >= 0);
    while (!atomic_load(&stop)) {
        CHECK(write(fd, "x", 1) == 1);
        atomic_fetch_add((atomic_ulong *)arg, 1);
    }
    close(fd);
}

static void wake_often(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        CHECK(gr_sleep_ns(1000000) == 0);
        atomic_fetch_add(&wakes, 1);
    }
}

static bool woke_often(void *arg)
{
    return atomic_load((atomic_uint *)arg) >= WAKES;
}

/* G7 */
static void a_sleeper_wakes_behind_writers_and_spinners(void **state)
{
    static struct spinner s;

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        atomic_store(&stop, 0);
        atomic_store(&wakes, 0);
        for (unsigned i = 0; i < WRITERS; i++)
            assert_int_not_equal(gr_go(write_to_null, &written[i]), 0);
        if (round == 1)
            spinner_start(&s);
        assert_int_not_equal(gr_go(wake_often, NULL), 0);
        eventually(woke_often, &wakes, "the sleeper wakes again and again");
        for (unsigned i = 0; i < WRITERS; i++)
            eventually_moves(&written[i]);
        atomic_store(&stop, 1);
        if (round == 1)
            spinner_end(&s);
        eventually_alone(0);
        expect_no_faults();
    }
}

/* ---- A crowd that computes ------------------------------------------------------------------------ */

#define HOGS          600
#define SLEEPERS      8
#define HOG_SLICE     200 /* us */
#define ROUNDS        50
#define ROUND_NS      2000000u
#define STUBBORN_WORK 10000000

static struct spinner hogs[HOGS];
static atomic_uint sleepers_done;

/* All at the same moments, however late they were before. */
static void wake_together(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        CHECK(gr_sleep_ns(ROUND_NS - (uint64_t)now.tv_nsec % ROUND_NS) == 0);
    }
    atomic_fetch_add(&sleepers_done, 1);
}

/* Its thread can't be had for a while: who waits for it is given to others. */
static void be_stubborn(void *arg)
{
    atomic_uint *end = arg;

    while (!atomic_load(end)) {
        gr_nopreempt_begin();
        work_for(STUBBORN_WORK);
        gr_nopreempt_end();
    }
}

/*
 * Of those who wake at once all but one find the next slot taken, and who is in it may be given away. Put behind the crowd
 * each would wait for a slice of every hog. In turns with it they need some two slices each.
 */
static void who_wakes_is_not_put_behind_a_crowd_that_computes(void **state)
{
    struct gr_stats before, after;
    atomic_uint end = 0;
    uint64_t slices;

    (void)state;
    assert_int_equal(gr_set_time_slice_us(HOG_SLICE), 0);
    atomic_store(&sleepers_done, 0);
    for (unsigned i = 0; i < HOGS; i++)
        spinner_start(&hogs[i]);
    assert_int_not_equal(gr_go(be_stubborn, &end), 0);
    for (unsigned i = 0; i < SLEEPERS; i++)
        assert_int_not_equal(gr_go(wake_together, NULL), 0);
    gr_stats(&before);
    eventually_count(&sleepers_done, SLEEPERS, "all sleepers have had their rounds");
    gr_stats(&after);
    slices =
        after.preempts_sync + after.preempts_async - before.preempts_sync - before.preempts_async;
    print_message("%d rounds of wakes took %llu slices\n", ROUNDS, (unsigned long long)slices);
    assert_true(slices < ROUNDS * HOGS / 4);
    /* Neither do they keep the crowd from its turns. */
    for (unsigned i = 0; i < HOGS; i++)
        eventually_moves(&hogs[i].count);
    for (unsigned i = 0; i < HOGS; i++)
        atomic_store(&hogs[i].stop, 1);
    atomic_store(&end, 1);
    eventually_alone(0);
    expect_no_faults();
    assert_int_equal(gr_set_time_slice_us(10000), 0);
}

static struct gr_chan *baton;
static _Atomic(uint64_t) given_at, taken_at; /* in slices */
static atomic_uint mover_done, taker_done, taker_stopped;

static uint64_t slices_so_far(void)
{
    struct gr_stats stats;

    gr_stats(&stats);
    return stats.preempts_sync + stats.preempts_async;
}

static uint64_t own_stops(void)
{
    struct gr_info info;

    CHECK(gr_info(gr_id(), &info) == 0);
    return info.preempts_sync + info.preempts_async;
}

static void take_baton(void *arg)
{
    uint64_t before = own_stops();

    (void)arg;
    CHECK(gr_chan_recv(baton, NULL) == 0);
    atomic_store(&taken_at, slices_so_far());
    atomic_store(&taker_stopped, own_stops() > before);
    atomic_store(&taker_done, 1);
}

/* Wakes the taker into the next slot of the second processor, and gives that up before anybody comes out of it. */
static void give_baton_and_processor(void *arg)
{
    struct gr_info info;

    (void)arg;
    for (;;) {
        gr_nopreempt_begin();
        CHECK(gr_info(gr_id(), &info) == 0);
        if (info.p == 1)
            break;
        gr_nopreempt_end();
    }
    atomic_store(&given_at, slices_so_far());
    CHECK(gr_chan_send(baton, NULL) == 0);
    CHECK(gr_set_procs(1) == 0);
    gr_nopreempt_end();
    gr_yield();
    atomic_store(&mover_done, 1);
}

/* After how many slices the taker ran. */
static uint64_t pass_baton(void)
{
    uint64_t taker;

    atomic_store(&mover_done, 0);
    atomic_store(&taker_done, 0);
    assert_int_equal(gr_set_procs(2), 0);
    baton = gr_chan_create(0, 0);
    taker = gr_go(take_baton, NULL);
    eventually_waits(taker, "chan receive");
    for (unsigned i = 0; i < HOGS; i++)
        spinner_start(&hogs[i]);
    assert_int_not_equal(gr_go(give_baton_and_processor, NULL), 0);
    eventually(word_is_set, &taker_done, "the taker has it");
    eventually(word_is_set, &mover_done, "the mover goes on");
    for (unsigned i = 0; i < HOGS; i++)
        atomic_store(&hogs[i].stop, 1);
    eventually_alone(0);
    gr_chan_destroy(baton);
    return atomic_load(&taken_at) - atomic_load(&given_at);
}

static void who_wakes_on_a_processor_that_goes_is_not_put_behind_the_crowd(void **state)
{
    uint64_t slices;
    int tries = 0;

    (void)state;
    assert_int_equal(gr_set_time_slice_us(HOG_SLICE), 0);
    /* On a busy machine the taker's own slice may be over before it has looked: then it is behind the crowd by right. */
    do {
        slices = pass_baton();
        assert_true(++tries < 20);
    } while (atomic_load(&taker_stopped));
    print_message("the taker ran after %llu slices, in try %d\n", (unsigned long long)slices,
                  tries);
    assert_true(slices < HOGS / 4);
    expect_no_faults();
    assert_int_equal(gr_set_time_slice_us(10000), 0);
}

/* ---- Threads -------------------------------------------------------------------------------------- */

#define CROWD 60
#define WARM                                                                                       \
    4000 /* so many slots and stacks are there before memory is short, wherever the free ones are kept */

static atomic_uint ran;

static void run_a_little(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++)
        gr_yield();
    atomic_fetch_add(&ran, 1);
}

static void start_crowd(int count)
{
    atomic_store(&ran, 0);
    for (int i = 0; i < count; i++)
        assert_int_not_equal(gr_go(run_a_little, NULL), 0);
}

static size_t mapped_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    size_t pages = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%zu", &pages), 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* G24: pthread_create fails, since there is no room for a stack; those that are there do the work. */
static void without_new_threads_everybody_still_runs(void **state)
{
    struct rlimit before, tight;
    struct gr_stats stats;
    unsigned threads;

    (void)state;
    if (dlsym(RTLD_DEFAULT, "__asan_init") || dlsym(RTLD_DEFAULT, "__tsan_init")) {
        print_message("skipped: a sanitizer's own mappings would be what is refused\n");
        return;
    }
    start_crowd(WARM);
    eventually_count(&ran, WARM, "everybody runs");
    eventually_alone(0);
    /* The processors are made while there is memory for them. */
    assert_int_equal(gr_set_procs(64), 0);
    assert_int_equal(gr_set_procs(1), 0);
    gr_stats(&stats);
    threads = stats.threads;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    tight = before;
    tight.rlim_cur = mapped_bytes() + 131072; /* less than a thread's stack */
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    assert_int_equal(getrlimit(RLIMIT_AS, &tight), 0);
    if (tight.rlim_cur == before.rlim_cur) {
        print_message("skipped: limits of memory are not kept here (an emulator)\n");
        return;
    }
    assert_int_equal(gr_set_procs(64), 0);
    for (int round = 0; round < 20; round++) {
        start_crowd(CROWD);
        eventually_count(&ran, CROWD, "everybody runs without new threads");
    }
    eventually_alone(0);
    gr_stats(&stats);
    /* One place more is kept for the next try, however often it failed. */
    assert_true(stats.threads <= threads + 2);
    /* There is room again: more threads come. */
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    start_crowd(CROWD);
    eventually_count(&ran, CROWD, "everybody runs");
    eventually_alone(0);
    assert_int_equal(gr_set_procs(1), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_that_wake_each_other_share_the_processor),
        cmocka_unit_test(of_very_many_that_give_way_nobody_starves),
        cmocka_unit_test(a_sleeper_wakes_behind_writers_and_spinners),
        cmocka_unit_test(who_wakes_is_not_put_behind_a_crowd_that_computes),
        cmocka_unit_test(who_wakes_on_a_processor_that_goes_is_not_put_behind_the_crowd),
        cmocka_unit_test(without_new_threads_everybody_still_runs),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 1});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
