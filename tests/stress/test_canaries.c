/*
 * test_canaries.c: no bit of a goroutine's registers changes by being stopped by a signal (G13).
 *
 * CANARIES goroutines on two processors hold random contents in every register for some 20 µs at a
 * time and compare; meanwhile they are stopped as often as GRASP_STRESS_STOPS says (default
 * 100,000), by threads that suspend and resume them, a twentieth as often by slices that end, and a
 * tenth as often by both. They migrate all the time.
 *
 * Built with -DWIRED it has a thread-local variable, so that each canary has a thread of its own (G12): it is
 * stopped and goes on there.
 *
 * Arguments: --part=N makes one Nth of the stops; --vectors=xsavec, xsave or fxsave force the way in which vectors are saved; with
 * fxsave the canaries keep to what it saves.
 */
#include "harness.h"

#include <pthread.h>
#include <unistd.h>

#include "canary.h"

#define CANARIES 5
#define STOPPERS 3

/* Of arch/arch.h; libgrasp exports it for tests. */
int arch_force_vector_save(const char *name);

#if defined(WIRED)
static __thread int wires_the_module = 1;
#define MIGRATE false
#else
#define MIGRATE true
#endif

static const char *vectors = "";
static uint64_t stops_wanted = 100000;

static struct guinea_pig {
    uint64_t id;
    struct canary *canary;
    uint64_t random;
    atomic_ulong rounds;
    int last_thread; /* the stoppers' guess; races do no harm */
} pig[CANARIES];
static atomic_uint stop_canaries, stop_stoppers;
static atomic_ulong migrations;

static void canary_goroutine(void *arg)
{
    struct guinea_pig *p = arg;

#if defined(WIRED)
    wires_the_module++;
#endif
    while (!atomic_load_explicit(&stop_canaries, memory_order_relaxed)) {
        const char *wrong = canary_round(p->canary, &p->random);

        if (wrong) {
            fault_at("canary of goroutine", (int)gr_id(), wrong);
            return;
        }
        atomic_fetch_add_explicit(&p->rounds, 1, memory_order_relaxed);
    }
}

static void start_canaries(void)
{
    atomic_store(&stop_canaries, 0);
    for (int i = 0; i < CANARIES; i++) {
        pig[i].canary = canary_create();
        assert_non_null(pig[i].canary);
        pig[i].random = test_seed + (uint64_t)i;
        pig[i].last_thread = -1;
        pig[i].id = gr_go(canary_goroutine, &pig[i]);
        assert_int_not_equal(pig[i].id, 0);
    }
}

static void end_canaries(void)
{
    for (int i = 0; i < CANARIES && !has_faults(); i++)
        eventually_moves(&pig[i].rounds);
    atomic_store(&stop_canaries, 1);
    for (int i = 0; i < CANARIES; i++) {
        eventually_dead(pig[i].id);
        canary_destroy(pig[i].canary);
    }
    expect_no_faults();
}

static void notice_thread(struct guinea_pig *p)
{
    struct gr_info info;

    if (gr_info(p->id, &info) != 0)
        return;
    if (p->last_thread >= 0 && info.m != p->last_thread)
        atomic_fetch_add_explicit(&migrations, 1, memory_order_relaxed);
    p->last_thread = info.m;
}

/* Suspends one canary after the other in random order, for a random short time. */
static void *stopper(void *arg)
{
    uint64_t random = test_seed ^ (uint64_t)(uintptr_t)arg * 0x1234567;

    while (!atomic_load(&stop_stoppers)) {
        struct guinea_pig *p = &pig[next_random(&random) % CANARIES];
        struct gr_hold hold = {0};
        int error = gr_hold_wait(&hold, p->id, HOLD_TIMEOUT_NS);

        if (error == -ESRCH) /* its canary died: the test fails by its fault */
            break;
        CHECK(error == 0);
        if (error)
            break;
        notice_thread(p);
        for (uint64_t n = next_random(&random) % 64; n > 0; n--)
            __asm__ volatile("" ::: "memory");
        CHECK(gr_hold_end(&hold) == 0);
    }
    return NULL;
}

struct progress {
    uint64_t wanted;
};

static bool enough_stops(void *arg)
{
    struct progress *p = arg;
    struct gr_stats stats;

    gr_stats(&stats);
    return stats.preempts_async >= p->wanted || stats.live < CANARIES;
}

/* Until so many more stops by signals have been made; the watchdog counts only while none is made.
 */
static void await_stops(uint64_t count)
{
    struct gr_stats stats;
    uint64_t end;

    gr_stats(&stats);
    end = stats.preempts_async + count;
    while (stats.preempts_async < end && stats.live >= CANARIES) {
        struct progress p = {stats.preempts_async + 1};

        eventually(enough_stops, &p, "the canaries are stopped by signals");
        gr_stats(&stats);
    }
}

static void suspend_canaries(uint64_t stops)
{
    pthread_t thread[STOPPERS];

    atomic_store(&stop_stoppers, 0);
    start_canaries();
    for (uintptr_t i = 0; i < STOPPERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, stopper, (void *)(i + 1)), 0);
    await_stops(stops);
    atomic_store(&stop_stoppers, 1);
    for (int i = 0; i < STOPPERS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < CANARIES; i++)
        assert_int_equal(info_of(pig[i].id).holds, 0);
    end_canaries();
    assert_int_equal(atomic_load(&migrations) > 0, MIGRATE);
    print_message("%lu stops in another thread than the one before\n", atomic_load(&migrations));
}

static void suspends_change_no_register(void **state)
{
    (void)state;
    suspend_canaries(stops_wanted);
}

static void ends_of_slices_change_no_register(void **state)
{
    (void)state;
    assert_int_equal(gr_set_time_slice_us(GR_TIME_SLICE_US_MIN), 0);
    start_canaries();
    await_stops(stops_wanted / 20);
    end_canaries();
    assert_int_equal(gr_set_time_slice_us(10000), 0);
}

static void both_together_change_no_register(void **state)
{
    (void)state;
    assert_int_equal(gr_set_time_slice_us(GR_TIME_SLICE_US_MIN), 0);
    suspend_canaries(stops_wanted / 10);
    assert_int_equal(gr_set_time_slice_us(10000), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suspends_change_no_register),
        cmocka_unit_test(ends_of_slices_change_no_register),
        cmocka_unit_test(both_together_change_no_register),
    };
    const char *stops = getenv("GRASP_STRESS_STOPS");
    uint64_t part = 1;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--vectors=", 10) == 0)
            vectors = argv[i] + 10;
        if (strncmp(argv[i], "--part=", 7) == 0)
            part = strtoull(argv[i] + 7, NULL, 10);
    }
    stops_wanted = stops ? strtoull(stops, NULL, 10) : stops_wanted * stress_factor();
    stops_wanted /= part;
    harness_start(argc, argv, (struct gr_options){.procs = 2});
    if (*vectors && arch_force_vector_save(vectors) != 0) {
        printf("this processor has no %s: skipped\n", vectors);
        return 77;
    }
    struct gr_module_info module;
    if (gr_module_info("main", &module) != 0 || module.wired == MIGRATE) {
        fprintf(stderr, "module main is %swired: %s\n", MIGRATE ? "" : "not ",
                module.wired_because);
        return 2;
    }
    canary_init(vectors);
    printf("%llu stops by suspends, vectors %s\n", (unsigned long long)stops_wanted,
           canary_width());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
