/*
 * test_api_json.c: values as text: the writer beside jansson's, raw texts, times beside libc's calendar.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "internal.h"

static const char *written(struct api_buf *out, const json_t *value, bool pretty)
{
    api_buf_clear(out);
    api_json_write(out, value, pretty);
    api_buf_add(out, "", 1);
    assert_false(out->failed);
    return out->data;
}

static void it_writes_what_jansson_writes(void **state)
{
    static const char *const texts[] = {"{}",
                                        "[]",
                                        "[[],{}]",
                                        "null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "0.1",
                                        "1e300",
                                        "-0.0",
                                        "\"\"",
                                        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"",
                                        "\"\\u00e4\\u20ac\\ud83d\\ude00\"",
                                        "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"e\",\"\":0}",
                                        "[1,[2,[3,[4]]],{\"x\":[]}]",
                                        "\"a\\u0000b\""};
    struct api_buf out = {0};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *value = json_loads(texts[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        char *compact = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        char *pretty = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
        assert_string_equal(written(&out, value, false), compact);
        assert_string_equal(written(&out, value, true), pretty);
        free(compact);
        free(pretty);
        json_decref(value);
    }
    api_buf_free(&out);
}

static void a_raw_text_loses_only_its_blanks(void **state)
{
    struct api_buf out = {0};
    (void)state;
    json_t *raw = api_json_raw("{ \"a b\" :\n[ 18446744073709551615 ,\t\"c \\\" d\\\\\" ] }\r\n");
    json_t *list = json_pack("[o,i]", raw, 1);
    assert_string_equal(written(&out, list, false),
                        "[{\"a b\":[18446744073709551615,\"c \\\" d\\\\\"]},1]");
    assert_non_null(api_json_raw_text(raw));
    json_decref(list);
    api_buf_free(&out);
}

/* No string that was parsed or made of a workload's bytes is taken for raw text. */
static void no_other_string_is_raw(void **state)
{
    struct api_buf out = {0};
    (void)state;
    json_t *parsed = json_loads("[\"\\u00ff}\",\"\\u0001\"]", 0, NULL),
           *made = api_json_string("\xff}");
    assert_null(api_json_raw_text(json_array_get(parsed, 0)));
    assert_null(api_json_raw_text(made));
    assert_string_equal(written(&out, made, false), "\"\xef\xbf\xbd}\"");
    api_buf_clear(&out);
    api_put_text(&out, "\xff}");
    api_put_text(&out, NULL);
    api_put_text(&out, "a\n");
    api_buf_add(&out, "", 1);
    assert_string_equal(out.data, "\"\xef\xbf\xbd}\"null\"a\\n\"");
    json_decref(parsed);
    json_decref(made);
    api_buf_free(&out);
}

static void times_are_those_of_the_calendar(void **state)
{
    (void)state;
    /* Every day from 1970 to 2170, each at another second. */
    for (uint64_t day = 0; day < 73050; day++) {
        uint64_t seconds = day * 86400 + day * 7919 % 86400, micros = day * 104729 % 1000000;
        time_t time = (time_t)seconds;
        struct tm utc;
        char date[40], wanted[64], shown[API_TIME_BYTES];
        gmtime_r(&time, &utc);
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
        snprintf(wanted, sizeof wanted, "%s.%06uZ", date, (unsigned)micros);
        api_time_format(shown, seconds * 1000000000 + micros * 1000 + 999);
        assert_string_equal(shown, wanted);
    }
}

static void numbers_are_written_in_full(void **state)
{
    struct api_buf out = {0};
    (void)state;
    api_buf_uint(&out, 0);
    api_buf_str(&out, " ");
    api_buf_uint(&out, UINT64_MAX);
    api_put_hex(&out, 0);
    api_put_hex(&out, UINT64_MAX);
    api_buf_add(&out, "", 1);
    assert_string_equal(out.data, "0 18446744073709551615\"0x0\"\"0xffffffffffffffff\"");
    api_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_writes_what_jansson_writes),
        cmocka_unit_test(a_raw_text_loses_only_its_blanks),
        cmocka_unit_test(no_other_string_is_raw),
        cmocka_unit_test(times_are_those_of_the_calendar),
        cmocka_unit_test(numbers_are_written_in_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
