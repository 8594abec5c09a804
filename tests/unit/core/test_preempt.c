/*
 * test_preempt.c: code that does not give way is made to, wherever it is, and finds everything as
 * it left it. The names G1, G2 and so on are those of Go's own runtime tests.
 */
#include "harness.h"

#include <grasp/inspect.h>

#include <dirent.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLICE_US_SHORT 200

static int short_slices(void **state)
{
    (void)state;
    return gr_set_time_slice_us(SLICE_US_SHORT);
}

static int usual_slices(void **state)
{
    (void)state;
    return gr_set_time_slice_us(10000) || gr_set_procs(2);
}

/* ---- One processor --------------------------------------------------------------------------- */

/* G1 */
static void a_loop_without_calls_is_suspended_and_others_run(void **state)
{
    struct spinner hog, other;
    struct gr_hold h;

    (void)state;
    assert_int_equal(gr_set_procs(1), 0);
    spinner_start(&hog);
    spinner_start(&other);
    for (int i = 0; i < 20; i++) {
        eventually_moves(&hog.count);
        eventually_moves(&other.count);
        hold(&h, hog.id);
        assert_true(stands_still(&hog.count));
        eventually_moves(&other.count);
        release(&h);
    }
    spinner_end(&hog);
    spinner_end(&other);
}

static atomic_uint turn, done;
static atomic_ulong looked;

__attribute__((noinline)) static bool my_turn(unsigned mine, unsigned players)
{
    atomic_fetch_add_explicit(&looked, 1, memory_order_relaxed);
    return atomic_load(&turn) % players == mine;
}

struct player {
    unsigned mine, players, rounds;
};

static void play(void *arg)
{
    struct player *p = arg;

    for (unsigned i = 0; i < p->rounds; i++) {
        while (!my_turn(p->mine, p->players))
            ;
        atomic_fetch_add(&turn, 1);
    }
    atomic_fetch_add(&done, 1);
}

static void pass_a_token(unsigned players, unsigned rounds)
{
    struct player p[8];

    atomic_store(&turn, 0);
    atomic_store(&done, 0);
    for (unsigned i = 0; i < players; i++) {
        p[i] = (struct player){i, players, rounds};
        assert_int_not_equal(gr_go(play, &p[i]), 0);
    }
    eventually_count(&done, players, "all players end");
    assert_int_equal(atomic_load(&turn), players * rounds);
}

/* G2 */
static void two_that_wait_for_each_other_by_spinning_share_one_processor(void **state)
{
    (void)state;
    assert_int_equal(gr_set_procs(1), 0);
    pass_a_token(2, 200);
}

/* G9 */
static void as_many_spinners_as_processors_run_at_once(void **state)
{
    (void)state;
    assert_int_equal(gr_set_time_slice_us(10000), 0);
    assert_int_equal(gr_set_procs(4), 0);
    pass_a_token(4, 500);
}

/* ---- System calls, frames, arguments --------------------------------------------------------- */

struct caller {
    atomic_ulong count;
    atomic_uint stop;
    long ns;
    uint64_t id;
};

static void sleep_over_and_over(void *arg)
{
    struct caller *c = arg;

    while (!atomic_load(&c->stop)) {
        struct timespec t = {0, c->ns};

        CHECK(nanosleep(&t, NULL) == 0);
        atomic_fetch_add(&c->count, 1);
    }
}

/* G5 */
static void suspends_around_system_calls_all_end(void **state)
{
    struct caller c[8];
    uint64_t random = test_seed;

    (void)state;
    for (long ns = 10000; ns <= 1000000; ns *= 10) {
        for (int i = 0; i < 8; i++) {
            c[i] = (struct caller){.ns = ns};
            c[i].id = gr_go(sleep_over_and_over, &c[i]);
        }
        for (int n = 0; n < 1000; n++) {
            struct caller *one = &c[next_random(&random) % 8];
            struct gr_hold h;
            unsigned long count;

            hold(&h, one->id);
            count = atomic_load(&one->count);
            assert_true(info_of(one->id).suspended);
            assert_int_equal(atomic_load(&one->count), count);
            release(&h);
        }
        for (int i = 0; i < 8; i++)
            eventually_moves(&c[i].count);
        for (int i = 0; i < 8; i++)
            atomic_store(&c[i].stop, 1);
        for (int i = 0; i < 8; i++)
            eventually_dead(c[i].id);
    }
    expect_no_faults();
}

__attribute__((noinline)) static unsigned use_a_big_frame(unsigned seed)
{
    volatile unsigned char frame[8192];

    for (size_t i = 0; i < sizeof frame; i += 512)
        frame[i] = (unsigned char)(seed + i / 512);
    for (size_t i = 0; i < sizeof frame; i += 512)
        CHECK(frame[i] == (unsigned char)(seed + i / 512));
    return frame[512];
}

static void loop_then_big_frame(void *arg)
{
    struct spinner *s = arg;

    while (!atomic_load(&s->stop)) {
        for (unsigned i = 0; i < 50000; i++)
            __asm__ volatile("" ::: "memory");
        use_a_big_frame((unsigned)atomic_fetch_add(&s->count, 1));
    }
}

/* G8 */
static void a_stop_before_a_big_frame_is_not_missed(void **state)
{
    struct spinner s = {0};
    struct gr_hold h;

    (void)state;
    s.id = gr_go(loop_then_big_frame, &s);
    for (int i = 0; i < 500; i++) {
        hold(&h, s.id);
        release(&h);
    }
    eventually_moves(&s.count);
    spinner_end(&s);
    expect_no_faults();
}

struct wide {
    double d[3];
    long n;
};

__attribute__((noinline)) static struct wide mix(long a, double x, long b, double y, long c,
                                                 double z, long d, long e, long f, long g, double u,
                                                 double v, double w, ...)
{
    struct wide r = {{x + y, z + u, v + w}, a + b + c + d + e + f + g};
    va_list args;

    va_start(args, w);
    r.n += va_arg(args, long);
    r.d[0] += va_arg(args, double);
    va_end(args);
    return r;
}

static void call_with_many_arguments(void *arg)
{
    struct spinner *s = arg;

    while (!atomic_load(&s->stop)) {
        long i = (long)(atomic_fetch_add(&s->count, 1) % 1000);
        struct wide r = mix(i, 0.5, 2, 1.5, 3, 2.5, 4, 5, 6, 7, 3.5, 4.5, (double)i, 8L, 0.25);

        CHECK(r.n == i + 35 && r.d[0] == 2.25 && r.d[1] == 6.0 && r.d[2] == 4.5 + (double)i);
    }
}

static void arguments_of_all_kinds_survive_a_stop_at_the_entry(void **state)
{
    struct spinner s = {0};
    struct gr_stats before, after;
    struct gr_hold h;

    (void)state;
    gr_stats(&before);
    s.id = gr_go(call_with_many_arguments, &s);
    for (int i = 0; i < 5000; i++) {
        hold(&h, s.id);
        release(&h);
        /* One that never runs between two holds is not stopped at an entry. */
        if (i % 4 == 0)
            eventually_moves(&s.count);
    }
    spinner_end(&s);
    expect_no_faults();
    gr_stats(&after);
    assert_true(after.preempts_sync > before.preempts_sync);
}

/* ---- Identity across threads (G11) ----------------------------------------------------------- */

#define WANDERERS 8
static struct wanderer {
    atomic_ulong count;
    int number;
    uint64_t id;
} wanderer[WANDERERS];
static atomic_uint stop_wandering;

__attribute__((noinline)) static void pass_time(unsigned long loops)
{
    for (unsigned long i = 0; i < loops; i++)
        __asm__ volatile("" ::: "memory");
}

static void wander(void *arg)
{
    struct wanderer *w = arg;
    uint64_t id = gr_id();

    while (!atomic_load(&stop_wandering)) {
        unsigned long n = atomic_fetch_add(&w->count, 1);

        errno = 1000 + w->number;
        pass_time(n % 5000);
        CHECK(errno == 1000 + w->number);
        if (n % 3 == 0)
            gr_yield();
        CHECK(errno == 1000 + w->number);
        CHECK(close(-1) == -1);
        CHECK(errno == EBADF);
        CHECK(gr_id() == id);
    }
}

static void errno_and_identity_stay_the_goroutines_own(void **state)
{
    uint64_t random = test_seed;
    uint64_t give_up = gr_now_ns() + WATCHDOG_NS;
    int last_m[WANDERERS];
    unsigned migrations = 0;

    (void)state;
    memset(last_m, -1, sizeof last_m);
    atomic_store(&stop_wandering, 0);
    for (int i = 0; i < WANDERERS; i++) {
        wanderer[i].number = i;
        wanderer[i].id = gr_go(wander, &wanderer[i]);
    }
    /* Until some have migrated, too: on a busy machine that takes longer. */
    for (int n = 0; n < 10000 || (migrations == 0 && gr_now_ns() < give_up); n++) {
        int i = (int)(next_random(&random) % WANDERERS);
        struct gr_hold h;
        int m;

        errno = 7;
        hold(&h, wanderer[i].id);
        m = info_of(wanderer[i].id).m;
        migrations += last_m[i] >= 0 && m != last_m[i];
        last_m[i] = m;
        release(&h);
        assert_int_equal(errno, 7);
        if (n % 8 == 0)
            eventually_moves(&wanderer[i].count);
    }
    atomic_store(&stop_wandering, 1);
    for (int i = 0; i < WANDERERS; i++)
        eventually_dead(wanderer[i].id);
    expect_no_faults();
    assert_true(migrations > 0);
}

/* ---- A call-back under the loader's lock (G26) ----------------------------------------------- */

static atomic_uint in_call_back, leave_call_back;

static int look_at_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)info;
    (void)size;
    (void)arg;
    atomic_store(&in_call_back, 1);
    while (!atomic_load(&leave_call_back))
        my_turn(0, 1);
    atomic_store(&in_call_back, 0);
    return 1;
}

static void iterate_objects(void *arg)
{
    struct spinner *s = arg;

    dl_iterate_phdr(look_at_object, NULL);
    spin(s);
}

/* Unwinding takes the dynamic linker's lock: the held one must not have it. */
static void look_at_stack(struct gr_hold *h)
{
    struct gr_copy copy = {.stack_capacity = gr_copy_stack_bytes_max(),
                           .vector_capacity = gr_copy_vector_bytes_max()};
    struct gr_frame frame[32];
    bool truncated;

    copy.stack = malloc(copy.stack_capacity);
    copy.vectors = malloc(copy.vector_capacity);
    assert_true(copy.stack && copy.vectors);
    assert_int_equal(gr_copy_held(h, &copy), 0);
    assert_true(gr_unwind(&copy, frame, 32, &truncated) > 0);
    free(copy.stack);
    free(copy.vectors);
}

static void nobody_is_stopped_while_it_has_the_loaders_lock(void **state)
{
    struct spinner s = {0};
    struct gr_hold h = {0};

    (void)state;
    atomic_store(&leave_call_back, 0);
    s.id = gr_go(iterate_objects, &s);
    eventually(word_is_set, &in_call_back, "it is in the call-back");
    expect_time_out(&h, s.id, GR_REFUSED_NOPREEMPT);
    atomic_store(&leave_call_back, 1);
    hold(&h, s.id);
    assert_int_equal(atomic_load(&in_call_back), 0);
    look_at_stack(&h);
    release(&h);
    spinner_end(&s);
}

/* ---- Handlers of the program's --------------------------------------------------------------- */

#define SIGNALS 20000

static atomic_ulong handled, unchecked;

/* The guard slot of this thread: 0 means that no entry check finds an overflow, or a request. */
static uint64_t guard_slot(void)
{
    uint64_t value;

#ifdef __x86_64__
    __asm__ volatile("movq %%fs:0x70, %0" : "=r"(value));
#else
    __asm__ volatile("mrs %0, tpidr_el0\n\tldr %0, [%0, #8]" : "=r"(value));
#endif
    return value;
}

static void on_usr2(int number)
{
    (void)number;
    my_turn(0, 1);
    atomic_fetch_add_explicit(&handled, 1, memory_order_relaxed);
}

static void yield_and_look(void *arg)
{
    struct spinner *s = arg;

    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        gr_yield();
        if (guard_slot() == 0)
            atomic_fetch_add_explicit(&unchecked, 1, memory_order_relaxed);
    }
}

static void signal_all_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;

    assert_non_null(tasks);
    while ((task = readdir(tasks))) {
        if (task->d_name[0] != '.')
            syscall(SYS_tgkill, getpid(), atoi(task->d_name), SIGUSR2);
    }
    closedir(tasks);
}

/* Its own check fails on a thread that has the next goroutine's guard already, and a request for it. */
static void a_handler_between_two_goroutines_leaves_the_next_its_guard(void **state)
{
    struct sigaction action = {.sa_handler = on_usr2, .sa_flags = SA_RESTART};
    struct spinner s[4] = {0};

    (void)state;
    assert_int_equal(sigaction(SIGUSR2, &action, NULL), 0);
    for (int i = 0; i < 4; i++)
        s[i].id = gr_go(yield_and_look, &s[i]);
    while (atomic_load(&handled) < SIGNALS) {
        struct gr_hold h = {0};

        signal_all_threads();
        hold(&h, s[atomic_load(&handled) % 4].id);
        release(&h);
    }
    for (int i = 0; i < 4; i++)
        spinner_end(&s[i]);
    assert_int_equal(atomic_load(&unchecked), 0);
    /* The handler stays: some of the signals are on their way yet. */
}

/* What is saved lies on the stack of who is stopped, of which an entry check leaves 16 KiB. */
static void a_stop_takes_no_room_for_registers_that_are_not_saved(void **state)
{
    (void)state;
#ifdef __x86_64__
    /* Up to AVX-512's; a processor's tiles (AMX) would be 8 KiB more. */
    assert_true(gr_copy_vector_bytes_max() <= 2752);
#else
    /* Up to SVE's at its largest, 2,048 bits. */
    assert_true(gr_copy_vector_bytes_max() <= 8832);
#endif
}

/* ---- The switch ------------------------------------------------------------------------------ */

static void loop_without_calls(void *arg)
{
    struct spinner *s = arg;

    while (!atomic_load_explicit(&s->stop, memory_order_relaxed))
        atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
}

static void switched_off_no_signal_stops_anybody_and_the_time_out_says_so(void **state)
{
    struct spinner s = {0};
    struct gr_hold h = {0};
    struct gr_stats before, after;

    (void)state;
    assert_int_equal(gr_set_async_preempt(false), 0);
    s.id = gr_go(loop_without_calls, &s);
    eventually_moves(&s.count);
    gr_stats(&before);
    assert_int_equal(gr_hold_wait(&h, s.id, 30000000), -ETIMEDOUT);
    gr_stats(&after);
    assert_true(h.refused[GR_REFUSED_OFF] > 0);
    assert_int_equal(after.signals_sent, before.signals_sent);
    assert_int_equal(info_of(s.id).holds, 0);
    assert_int_equal(gr_set_async_preempt(async_on), 0);
    if (async_on) {
        hold(&h, s.id);
        assert_int_equal(h.safepoint, GR_SAFEPOINT_ASYNC);
        release(&h);
    }
    spinner_end(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_loop_without_calls_is_suspended_and_others_run,
                                        short_slices, usual_slices),
        cmocka_unit_test_setup_teardown(
            two_that_wait_for_each_other_by_spinning_share_one_processor, short_slices,
            usual_slices),
        cmocka_unit_test_setup_teardown(as_many_spinners_as_processors_run_at_once, NULL,
                                        usual_slices),
        cmocka_unit_test(suspends_around_system_calls_all_end),
        cmocka_unit_test(a_stop_before_a_big_frame_is_not_missed),
        cmocka_unit_test(arguments_of_all_kinds_survive_a_stop_at_the_entry),
        cmocka_unit_test_setup_teardown(errno_and_identity_stay_the_goroutines_own, short_slices,
                                        usual_slices),
        cmocka_unit_test(nobody_is_stopped_while_it_has_the_loaders_lock),
        cmocka_unit_test(a_handler_between_two_goroutines_leaves_the_next_its_guard),
        cmocka_unit_test(a_stop_takes_no_room_for_registers_that_are_not_saved),
        cmocka_unit_test(switched_off_no_signal_stops_anybody_and_the_time_out_says_so),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
