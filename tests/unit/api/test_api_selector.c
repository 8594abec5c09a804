/*
 * test_api_selector.c: label selectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "selector.h"

static bool matches(const char *text, const struct gr_info *info)
{
    struct api_selector selector;
    char err[256];
    assert_int_equal(api_selector_parse(&selector, text, err, sizeof err), 0);
    return api_selector_match(&selector, info);
}

static void each_operator_means_what_it_says(void **state)
{
    struct gr_info info = {.label_count = 2, .label = {{"a", "1"}, {"b.c", ""}}};
    assert_true(matches("", &info));
    assert_true(matches("a=1", &info));
    assert_false(matches("a=2", &info));
    assert_true(matches("a!=2", &info));
    assert_false(matches("a!=1", &info));
    assert_true(matches("z!=1", &info));
    assert_true(matches("a", &info));
    assert_false(matches("z", &info));
    assert_true(matches("!z", &info));
    assert_false(matches("!a", &info));
    assert_true(matches("b.c=", &info));
    assert_true(matches("a=1,b.c,!z", &info));
    assert_false(matches("a=1,z", &info));
}

static void values_may_have_signs_in_them(void **state)
{
    struct gr_info info = {.label_count = 1, .label = {{"a", "x=y!"}}};
    assert_true(matches("a=x=y!", &info));
}

static void wrong_selectors_are_refused_with_a_sentence(void **state)
{
    static const char *const rows[] = {",", "a,", ",a", "=1", "!", "a b", "!=1", "!!a", "ä=1"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct api_selector selector;
        char err[256] = "";
        if (api_selector_parse(&selector, rows[i], err, sizeof err) == 0 || !err[0])
            fail_msg("\"%s\" passed", rows[i]);
    }
}

static void there_is_a_limit_to_terms_and_keys(void **state)
{
    struct api_selector selector;
    char err[256], text[1024] = "a";
    for (int i = 1; i <= API_SELECTOR_TERMS_MAX; i++)
        strcat(text, ",a");
    assert_int_not_equal(api_selector_parse(&selector, text, err, sizeof err), 0);
    memset(text, 'k', 64);
    text[64] = 0;
    assert_int_not_equal(api_selector_parse(&selector, text, err, sizeof err), 0);
    text[63] = 0;
    assert_int_equal(api_selector_parse(&selector, text, err, sizeof err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operator_means_what_it_says),
        cmocka_unit_test(values_may_have_signs_in_them),
        cmocka_unit_test(wrong_selectors_are_refused_with_a_sentence),
        cmocka_unit_test(there_is_a_limit_to_terms_and_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
