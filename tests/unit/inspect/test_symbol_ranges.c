/*
 * test_symbol_ranges.c: nested ranges against a search of all of them, and interned strings.
 */
#include "symbol_ranges.h"
#include "symbol_strings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static unsigned seed;

/* How many of the ranges cover `at`, found the slow way. */
static size_t covering_by_search(const struct gri_ranges *ranges, uint64_t at)
{
    size_t n = 0;
    for (size_t i = 0; i < ranges->count; i++)
        n += ranges->item[i].lo <= at && at < ranges->item[i].hi;
    return n;
}

static void walk_visits_every_covering_range_once_innermost_first(void **state)
{
    for (int round = 0; round < 200; round++) {
        struct gri_ranges ranges = {0};
        int count = rand_r(&seed) % 60;
        for (int i = 0; i < count; i++) {
            uint64_t lo = (uint64_t)(rand_r(&seed) % 200);
            struct gri_range range = {.lo = lo, .hi = lo + (uint64_t)(rand_r(&seed) % 50)};
            range.depth = (uint32_t)i;
            assert_int_equal(gri_ranges_add(&ranges, &range), 0);
        }
        gri_ranges_sort(&ranges);
        for (uint64_t at = 0; at < 260; at++) {
            size_t visited = 0;
            const struct gri_range *range = NULL, *before = NULL;
            while ((range = gri_ranges_covering(&ranges, at, before)) != NULL) {
                assert_true(range->lo <= at && at < range->hi);
                if (before)
                    assert_true(range->lo < before->lo ||
                                (range->lo == before->lo && range->hi > before->hi) ||
                                (range->lo == before->lo && range->hi == before->hi &&
                                 range->depth < before->depth));
                before = range;
                visited++;
            }
            assert_int_equal(visited, covering_by_search(&ranges, at));
        }
        gri_ranges_fini(&ranges);
    }
}

static void empty_list_covers_nothing(void **state)
{
    struct gri_ranges ranges = {0};
    gri_ranges_sort(&ranges);
    assert_null(gri_ranges_covering(&ranges, 1, NULL));
    gri_ranges_fini(&ranges);
}

static void equal_strings_are_one_and_stay(void **state)
{
    enum { MANY = 20000 };
    static const char *copy[MANY];
    char text[64];
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "name %d", i);
        copy[i] = gri_intern(text);
        assert_ptr_not_equal(copy[i], text);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "name %d", i);
        assert_string_equal(copy[i], text);
        assert_ptr_equal(gri_intern(text), copy[i]);
    }
    assert_null(gri_intern(NULL));
    assert_true(gri_intern_bytes() > MANY * 6);
}

static void long_string_is_kept_whole(void **state)
{
    char *text = malloc(200001);
    assert_non_null(text);
    memset(text, 'x', 200000);
    text[200000] = '\0';
    const char *copy = gri_intern(text);
    assert_string_equal(copy, text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk_visits_every_covering_range_once_innermost_first),
        cmocka_unit_test(empty_list_covers_nothing),
        cmocka_unit_test(equal_strings_are_one_and_stay),
        cmocka_unit_test(long_string_is_kept_whole),
    };
    const char *given = getenv("GRASP_TEST_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u (GRASP_TEST_SEED repeats it)\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
