/*
 * test_storms.c: goroutines that are nearly always inside libc, suspended again and again (G25).
 *
 * A signal that finds the thread in libc stops nobody; the checked import stubs have to. Whether
 * malloc's or stdio's locks are held by a stopped goroutine shows at once: the suspending thread
 * itself allocates and prints between suspend and resume.
 */
#include "harness.h"

#define COPY_BYTES ((size_t)1 << 20)
#define SLOTS      16

struct storm {
    atomic_ulong count;
    atomic_uint stop;
    uint64_t random;
    uint64_t id;
};

static bool goes_on(struct storm *s)
{
    atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
    return !atomic_load_explicit(&s->stop, memory_order_relaxed);
}

static void allocate(void *arg)
{
    struct storm *s = arg;
    unsigned char *slot[SLOTS] = {NULL};
    size_t bytes[SLOTS];

    do {
        size_t i = next_random(&s->random) % SLOTS;

        if (slot[i]) {
            CHECK(slot[i][0] == (unsigned char)i && slot[i][bytes[i] - 1] == (unsigned char)i);
            free(slot[i]);
        }
        bytes[i] = 1 + next_random(&s->random) % 4096;
        slot[i] = malloc(bytes[i]);
        CHECK(slot[i] != NULL);
        slot[i][0] = slot[i][bytes[i] - 1] = (unsigned char)i;
    } while (goes_on(s));
    for (size_t i = 0; i < SLOTS; i++)
        free(slot[i]);
}

static void print(void *arg)
{
    struct storm *s = arg;
    char text[128], expected[32];

    do {
        unsigned number = (unsigned)next_random(&s->random);
        int n = snprintf(text, sizeof text, "%u %s %.3f %5c", number, "words", number / 7.0, 'x');

        CHECK(n > 0 && (size_t)n < sizeof text);
        snprintf(expected, sizeof expected, "%u words ", number);
        CHECK(strncmp(text, expected, strlen(expected)) == 0);
    } while (goes_on(s));
}

static void copy(void *arg)
{
    struct storm *s = arg;
    unsigned char *from = malloc(COPY_BYTES), *to = malloc(COPY_BYTES);
    unsigned char byte = 0;

    CHECK(from && to);
    memset(from, 0, COPY_BYTES);
    do {
        from[0] = from[COPY_BYTES - 1] = ++byte;
        memcpy(to, from, COPY_BYTES);
        CHECK(to[0] == byte && to[COPY_BYTES - 1] == byte);
    } while (goes_on(s));
    free(from);
    free(to);
}

static void storm_through(void (*fn)(void *))
{
    uint64_t suspends = 10000 * stress_factor(), random = test_seed;
    struct storm storm[2];

    for (int i = 0; i < 2; i++) {
        storm[i] = (struct storm){.random = test_seed + (uint64_t)i};
        storm[i].id = gr_go(fn, &storm[i]);
        assert_int_not_equal(storm[i].id, 0);
        eventually_moves(&storm[i].count);
    }
    for (uint64_t n = 0; n < suspends && !has_faults(); n++) {
        struct storm *s = &storm[next_random(&random) % 2];
        struct gr_hold h;
        unsigned long count;
        char text[32];
        void *volatile bytes; /* volatile: or the compiler leaves malloc and free out */

        hold(&h, s->id);
        count = atomic_load(&s->count);
        bytes = malloc(64 + n % 1000);
        free(bytes);
        snprintf(text, sizeof text, "%g", (double)n);
        assert_int_equal(atomic_load(&s->count), count);
        release(&h);
        if (n % 8 == 0)
            eventually_moves(&s->count);
    }
    for (int i = 0; i < 2; i++) {
        eventually_moves(&storm[i].count);
        assert_int_equal(info_of(storm[i].id).holds, 0);
        atomic_store(&storm[i].stop, 1);
        eventually_dead(storm[i].id);
    }
    expect_no_faults();
}

static void every_suspend_in_a_malloc_storm_ends(void **state)
{
    (void)state;
    storm_through(allocate);
}

static void every_suspend_in_a_printf_storm_ends(void **state)
{
    (void)state;
    storm_through(print);
}

static void every_suspend_in_a_memcpy_storm_ends(void **state)
{
    (void)state;
    storm_through(copy);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_suspend_in_a_malloc_storm_ends),
        cmocka_unit_test(every_suspend_in_a_printf_storm_ends),
        cmocka_unit_test(every_suspend_in_a_memcpy_storm_ends),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
