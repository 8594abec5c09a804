/*
 * test_api_query.c: request targets taken apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "query.h"

static int parse(struct api_target *target, const char *text)
{
    char err[256];
    return api_target_parse(target, text, strlen(text), err, sizeof err);
}

static void segments_and_parameters_are_decoded(void **state)
{
    struct api_target t;
    assert_int_equal(parse(&t, "/v1/a%2Fb/c?x=1&y=a+b%26&z&=e"), 0);
    assert_int_equal(t.segment_count, 3);
    assert_string_equal(t.segment[1], "a/b");
    assert_string_equal(api_target_param(&t, "x"), "1");
    assert_string_equal(api_target_param(&t, "y"), "a b&");
    assert_string_equal(api_target_param(&t, "z"), "");
    assert_string_equal(api_target_param(&t, ""), "e");
    assert_null(api_target_param(&t, "w"));
}

static void nothing_is_normalised(void **state)
{
    struct api_target t;
    assert_int_equal(parse(&t, "//a"), 0);
    assert_int_equal(t.segment_count, 2);
    assert_string_equal(t.segment[0], "");
    assert_int_equal(parse(&t, "/a/"), 0);
    assert_int_equal(t.segment_count, 2);
    assert_int_equal(parse(&t, "/a/../b"), 0);
    assert_int_equal(t.segment_count, 3);
    assert_int_equal(parse(&t, "/1/2/3/4/5/6/7/8/9"), 0);
    assert_int_equal(t.segment_count, 0);
    assert_int_equal(parse(&t, "/"), 0);
    assert_true(t.root);
}

static void wrong_targets_are_refused(void **state)
{
    static const char *const rows[] = {"",     "a",    "*",        "/%",   "/%4",     "/%zz",
                                       "/%00", "/%0a", "/a?b=%g0", "/a#b", "/a?b=%00"};
    struct api_target t;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (parse(&t, rows[i]) == 0)
            fail_msg("\"%s\" passed", rows[i]);
}

static void numbers_are_digits_alone(void **state)
{
    static const char *const wrong[] = {"",
                                        "-1",
                                        "+1",
                                        "01",
                                        "1 ",
                                        " 1",
                                        "0x1",
                                        "1e3",
                                        "18446744073709551616",
                                        "99999999999999999999999"};
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(api_parse_uint(wrong[i], 0, UINT64_MAX, &value));
    assert_true(api_parse_uint("0", 0, 9, &value));
    assert_true(api_parse_uint("18446744073709551615", 0, UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_false(api_parse_uint("10", 0, 9, &value));
    assert_false(api_parse_uint("0", 1, 9, &value));
}

static void encoding_and_decoding_are_inverse(void **state)
{
    char text[300], encoded[1000], target_text[1100];
    struct api_target t;
    size_t size = 0;
    for (int c = 0x20; c < 0x100; c++)
        if (c != 0x7f)
            text[size++] = (char)c;
    text[size] = 0;
    assert_true(api_percent_encode(encoded, sizeof encoded, text) < sizeof encoded);
    strcpy(target_text, "/a?q=");
    strcat(target_text, encoded);
    assert_int_equal(parse(&t, target_text), 0);
    assert_string_equal(api_target_param(&t, "q"), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_and_parameters_are_decoded),
        cmocka_unit_test(nothing_is_normalised),
        cmocka_unit_test(wrong_targets_are_refused),
        cmocka_unit_test(numbers_are_digits_alone),
        cmocka_unit_test(encoding_and_decoding_are_inverse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
