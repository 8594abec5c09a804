/* test_example_args.c: the examples' reader of arguments and writer of results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "args.h"
#include "json.h"

static void members_are_found_among_all_sorts_of_values(void **state)
{
    (void)state;
    static const char text[] =
        " { \"a\" : [1, {\"dir\": \"no\"}, \"]}\\\"\"], \"b\":null ,\"nest\":{"
        "\"n\":9,\"dir\":\"no\"}, \"dir\":\"yes\", \"n\" : 42 }";
    char buf[16];
    assert_true(args_string(text, "dir", buf, sizeof(buf)));
    assert_string_equal(buf, "yes");
    assert_int_equal(args_u64(text, "n", 7), 42);
    assert_int_equal(args_u64(text, "b", 7), ARGS_NO_NUMBER);
    assert_int_equal(args_u64(text, "absent", 7), 7);
    assert_null(args_find(text, "absent"));
    assert_null(args_find("null", "n"));
    assert_null(args_find("{}", "n"));
    assert_null(args_find("[\"n\", 1]", "n"));
    assert_false(args_string(text, "n", buf, sizeof(buf)));
}

static void strings_are_decoded(void **state)
{
    (void)state;
    char buf[64];
    assert_true(args_string("{\"s\":\"a\\n\\\\\\/\\u0041\\u00e4\\u20ac\\ud83d\\ude00\\\"\"}", "s",
                            buf, sizeof(buf)));
    assert_string_equal(buf, "a\n\\/A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
    assert_false(args_string("{\"s\":\"12345678\"}", "s", buf, 8));
    assert_true(args_string("{\"s\":\"1234567\"}", "s", buf, 8));
    assert_string_equal(buf, "1234567");
}

static void numbers_that_are_not_whole_or_too_large_are_not_taken(void **state)
{
    (void)state;
    assert_int_equal(args_u64("{\"n\":18446744073709551615}", "n", 1), UINT64_MAX);
    assert_int_equal(args_u64("{\"n\":18446744073709551616}", "n", 1), ARGS_NO_NUMBER);
    assert_int_equal(args_u64("{\"n\":1.5}", "n", 1), ARGS_NO_NUMBER);
    assert_int_equal(args_u64("{\"n\":-2}", "n", 1), ARGS_NO_NUMBER);
    assert_int_equal(args_u64("{\"n\":3e2}", "n", 1), ARGS_NO_NUMBER);
    assert_int_equal(args_u64("{\"n\":\"5\"}", "n", 1), ARGS_NO_NUMBER);
}

static void elements_are_counted_from_zero(void **state)
{
    (void)state;
    static const char text[] = "{\"files\": [\"a,]\", [1,2], \"c\"], \"none\": []}";
    const char *array = args_find(text, "files");
    char buf[8];
    assert_true(args_copy(args_element(array, 0), buf, sizeof(buf)));
    assert_string_equal(buf, "a,]");
    assert_false(args_copy(args_element(array, 1), buf, sizeof(buf)));
    assert_true(args_copy(args_element(array, 2), buf, sizeof(buf)));
    assert_string_equal(buf, "c");
    assert_null(args_element(array, 3));
    assert_null(args_element(args_find(text, "none"), 0));
    assert_null(args_element(NULL, 0));
}

static void names_become_json_strings_whatever_their_bytes(void **state)
{
    (void)state;
    struct json *json = calloc(1, sizeof(*json));
    assert_non_null(json);
    json_add_string(json, "a\"\\\n\xc3\xa4\xff\xe2\x82");
    assert_string_equal(json->text, "\"a\\\"\\\\\\u000a\xc3\xa4\\ufffd\\ufffd\\ufffd\"");
    free(json);
}

static void text_that_does_not_fit_is_cut_inside_the_buffer(void **state)
{
    (void)state;
    struct json *json = calloc(1, sizeof(*json));
    assert_non_null(json);
    while (json_fits(json, 10))
        json_add(json, "%s", "0123456789");
    json_add(json, "%s", "0123456789");
    json_add(json, "%s", "0123456789");
    assert_true(json->used <= GR_RESULT_BYTES_MAX);
    assert_int_equal(strlen(json->text), json->used);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_among_all_sorts_of_values),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(numbers_that_are_not_whole_or_too_large_are_not_taken),
        cmocka_unit_test(elements_are_counted_from_zero),
        cmocka_unit_test(names_become_json_strings_whatever_their_bytes),
        cmocka_unit_test(text_that_does_not_fit_is_cut_inside_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
