/*
 * test_text_ranges.c: lists of code ranges, against a bitmap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "text_ranges.h"

#define SPACE 512

static unsigned seed = 12345;

static unsigned roll(unsigned below)
{
    seed = seed * 1103515245u + 12345u;
    return seed / 65536u % below;
}

static void fill(struct gri_text_list *list, bool *bits, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned lo = roll(SPACE), hi = lo + roll(20);

        if (hi > SPACE)
            hi = SPACE;
        assert_true(gri_text_list_add(list, lo, hi));
        for (unsigned at = lo; at < hi; at++)
            bits[at] = true;
    }
    gri_text_list_normalise(list);
}

static void assert_equals_bits(const struct gri_text_list *list, const bool *bits)
{
    bool seen[SPACE] = {false};

    for (size_t i = 0; i < list->count; i++) {
        assert_true(list->range[i].lo < list->range[i].hi);
        if (i)
            assert_true(list->range[i - 1].hi <= list->range[i].lo);
        for (uint64_t at = list->range[i].lo; at < list->range[i].hi; at++)
            seen[at] = true;
    }
    assert_memory_equal(seen, bits, sizeof seen);
}

static void normalised_lists_cover_the_same_code(void **state)
{
    (void)state;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 2000; round++) {
        struct gri_text_list list = {0};
        bool bits[SPACE] = {false};

        fill(&list, bits, roll(60));
        assert_equals_bits(&list, bits);
        gri_text_list_fini(&list);
    }
}

static void subtraction_leaves_exactly_the_rest(void **state)
{
    (void)state;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 2000; round++) {
        struct gri_text_list list = {0}, holes = {0}, out = {0};
        bool bits[SPACE] = {false}, hole_bits[SPACE] = {false};

        fill(&list, bits, roll(40));
        fill(&holes, hole_bits, roll(40));
        for (unsigned at = 0; at < SPACE; at++)
            bits[at] = bits[at] && !hole_bits[at];
        assert_true(gri_text_list_subtract(&out, &list, &holes));
        assert_equals_bits(&out, bits);
        gri_text_list_fini(&list);
        gri_text_list_fini(&holes);
        gri_text_list_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalised_lists_cover_the_same_code),
        cmocka_unit_test(subtraction_leaves_exactly_the_rest),
    };

    return cmocka_run_group_tests_name("text_ranges", tests, NULL, NULL);
}
