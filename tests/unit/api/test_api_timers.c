/*
 * test_api_timers.c: the heap of timers against a plain list, in random operations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "timers.h"

#define COUNT 200

static struct api_timer timers[COUNT];
static uint64_t expected[COUNT]; /* UINT64_MAX: not running */
static uint64_t now, last_fired;
static unsigned fired;

static void on_fire(struct api_timer *timer)
{
    size_t i = (size_t)(timer - timers);
    assert_true(expected[i] <= now);
    assert_true(expected[i] >= last_fired);
    last_fired = expected[i];
    expected[i] = UINT64_MAX;
    fired++;
}

static uint64_t earliest(void)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < COUNT; i++)
        at = expected[i] < at ? expected[i] : at;
    return at;
}

static void timers_fire_once_in_order_and_never_early(void **state)
{
    struct api_timers heap = {0};
    unsigned seed = 77;
    print_message("seed %u\n", seed);
    for (size_t i = 0; i < COUNT; i++) {
        timers[i].fire = on_fire;
        expected[i] = UINT64_MAX;
    }
    for (int round = 0; round < 20000; round++) {
        size_t i = (size_t)rand_r(&seed) % COUNT;
        switch (rand_r(&seed) % 4) {
        case 0:
        case 1:
            expected[i] = now + 1 + (uint64_t)rand_r(&seed) % 1000;
            assert_int_equal(api_timer_start(&heap, &timers[i], expected[i]), 0);
            break;
        case 2:
            expected[i] = UINT64_MAX;
            api_timer_stop(&heap, &timers[i]);
            break;
        case 3:
            now += (uint64_t)rand_r(&seed) % 20;
            last_fired = 0;
            api_timers_run(&heap, now);
            assert_true(earliest() > now);
            break;
        }
        assert_true(api_timers_next(&heap) == earliest());
    }
    assert_true(fired > 1000);
    api_timers_fini(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(timers_fire_once_in_order_and_never_early)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
