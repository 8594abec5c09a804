/*
 * test_api_formats.c: in which form answers are asked for, and bodies sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

static void format_beats_accept(void **state)
{
    static const struct {
        const char *target, *accept, *type;
        int status;
    } rows[] = {
        {"/v1/runtime", "application/json", "application/json", 200},
        {"/v1/runtime", "text/plain", "text/plain; charset=utf-8", 200},
        {"/v1/runtime", "text/*;q=0.5, application/x-ndjson", "application/x-ndjson", 200},
        {"/v1/runtime", "*/*", "application/json", 200},
        {"/v1/runtime", "text/html, */*;q=0.1", "application/json", 200},
        {"/v1/runtime", "application/json;q=0, text/plain", "text/plain; charset=utf-8", 200},
        {"/v1/runtime", "image/png", "application/problem+json", 406},
        {"/v1/runtime", "application/json;Q=0, text/plain", "text/plain; charset=utf-8", 200},
        {"/v1/runtime", "application/json ; Q=0.1, text/plain;q=0.01", "application/json", 200},
        {"/v1/runtime", "application/json;level=1;q=0.1, text/plain;q=0.2", "text/plain; charset=utf-8", 200},
        {"/v1/runtime", "application/json;faq=0", "application/json", 200},
        {"/v1/runtime", "*/*;Q=0", "application/problem+json", 406},
        {"/v1/runtime?format=text", "application/json", "text/plain; charset=utf-8", 200},
        {"/v1/runtime?format=pretty", "image/png", "application/json", 200},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_call *fake = fake_start_as(
            "GET", rows[i].target, NULL, (struct api_peer){.uid = 7}, "Accept", rows[i].accept);
        fake_run();
        assert_int_equal(fake->call.reply.status, rows[i].status);
        assert_string_equal(fake->call.reply.content_type, rows[i].type);
        fake_finish(fake, true);
    }
}

static void a_body_of_another_type_names_curl(void **state)
{
    struct fake_call *fake =
        fake_start_as("POST", "/v1/goroutines/1/suspend", "{}", (struct api_peer){.uid = 7},
                      "Content-Type", "application/x-www-form-urlencoded");
    fake_run();
    assert_int_equal(fake->call.reply.status, 415);
    assert_non_null(strstr(fake->body, "--json"));
    fake_finish(fake, true);
}

static void a_body_is_in_utf_8(void **state)
{
    static const struct {
        const char *type;
        int status;
    } rows[] = {
        {"application/json", 201},
        {"application/json;charset=utf-8", 201},
        {"Application/JSON ; Charset=\"UTF-8\"", 201},
        {"application/json;", 201},
        {"application/json; profile=\"x;charset=latin1\"; charset=utf-8", 201},
        {"application/json; charset=latin1", 415},
        {"application/json; charset=utf-16", 415},
        {"application/json; charset=\"utf-16\"", 415},
        {"application/json; charset=utf-8; charset=latin1", 415},
        {"application/json; charset=", 415},
        {"application/json; charset", 415},
        {"application/json; charset=\"utf-8", 201},
        {"application/jsonp", 415},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_call *fake =
            fake_start_as("POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\"}",
                          (struct api_peer){.uid = 7}, "Content-Type", rows[i].type);
        fake_run();
        int status = fake->call.reply.status;
        fake_finish(fake, true);
        if (status != rows[i].status)
            fail_msg("%s: %d", rows[i].type, status);
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fake_host_start, fake_host_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(format_beats_accept),
        CASE(a_body_of_another_type_names_curl),
        CASE(a_body_is_in_utf_8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
