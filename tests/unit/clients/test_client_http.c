/*
 * test_client_http.c: places, requests and answers, bytes in and bytes out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "http_client.h"
#include "place.h"

static void places_are_read_in_every_spelling(void **state)
{
    static const struct {
        const char *text, *name;
    } rows[] = {{"unix:/run/x.sock", "unix:/run/x.sock"},
                {"unix:///run/x.sock", "unix:/run/x.sock"},
                {"/run/x.sock", "unix:/run/x.sock"},
                {"http://localhost:7070", "http://localhost:7070"},
                {"http://localhost:7070/", "http://localhost:7070"},
                {"http://127.0.0.1:7070/#token=abc", "http://127.0.0.1:7070"},
                {"http://h", "http://h:80"},
                {"[::1]:7070", "http://[::1]:7070"},
                {"localhost:1", "http://localhost:1"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_place place = {0};
        char err[256], name[400];
        if (http_place_parse(&place, rows[i].text, err, sizeof err))
            fail_msg("%s: %s", rows[i].text, err);
        http_place_name(&place, name, sizeof name);
        assert_string_equal(name, rows[i].name);
    }
}

static void bad_places_are_refused_with_a_reason(void **state)
{
    static const char *const rows[] = {"",        "localhost", "localhost:", "h:0",
                                       "h:65536", "h:12x",     "https://h",  "http://h/path",
                                       "http://", "[::1",      "unix:",      "h:123456"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_place place = {0};
        char err[256] = "";
        if (!http_place_parse(&place, rows[i], err, sizeof err) || !*err)
            fail_msg("\"%s\" was taken", rows[i]);
    }
}

static const char two[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nGrasp-Instance: abc\r\n"
    "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n"
    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

static void an_answer_ends_where_the_next_begins_however_it_is_cut(void **state)
{
    for (size_t step = 1; step <= sizeof two; step++) {
        struct http_answer answer;
        enum http_progress progress = HTTP_MORE;
        size_t at = 0, used;
        http_answer_init(&answer);
        while (progress == HTTP_MORE && at < sizeof two - 1) {
            size_t piece = sizeof two - 1 - at < step ? sizeof two - 1 - at : step;
            progress = http_answer_feed(&answer, two + at, piece, &used);
            at += used;
        }
        assert_int_equal(progress, HTTP_DONE);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body.data, "{\"a\":1}");
        assert_string_equal(answer.content_type, "application/json");
        assert_string_equal(answer.instance, "abc");
        assert_true(answer.keep_alive);
        assert_int_equal(at, strstr(two, "HTTP/1.1 204") - two);
        http_answer_reset(&answer);
        progress = http_answer_feed(&answer, two + at, sizeof two - 1 - at, &used);
        assert_int_equal(progress, HTTP_DONE);
        assert_int_equal(answer.status, 204);
        assert_false(answer.keep_alive);
        http_answer_fini(&answer);
    }
}

static void an_end_in_the_middle_is_no_answer(void **state)
{
    static const char cut[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
    static const char until_close[] = "HTTP/1.1 200 OK\r\n\r\nabc";
    struct http_answer answer;
    size_t used;
    http_answer_init(&answer);
    assert_int_equal(http_answer_feed(&answer, cut, sizeof cut - 1, &used), HTTP_MORE);
    assert_int_equal(http_answer_end(&answer), HTTP_BROKEN);
    assert_non_null(answer.error);
    http_answer_reset(&answer);
    assert_int_equal(http_answer_feed(&answer, until_close, sizeof until_close - 1, &used),
                     HTTP_MORE);
    assert_int_equal(http_answer_end(&answer), HTTP_DONE);
    assert_string_equal(answer.body.data, "abc");
    http_answer_reset(&answer);
    assert_int_equal(http_answer_feed(&answer, "SSH-2.0\r\n", 9, &used), HTTP_BROKEN);
    http_answer_fini(&answer);
}

static void what_is_too_large_for_memory_is_refused_at_its_edge(void **state)
{
    static const char four[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
    struct http_answer answer;
    size_t used;
    http_answer_init(&answer);
    answer.body_max = 4;
    assert_int_equal(http_answer_feed(&answer, four, sizeof four - 1, &used), HTTP_DONE);
    answer.body_max = 3;
    http_answer_reset(&answer);
    assert_int_equal(http_answer_feed(&answer, four, sizeof four - 1, &used), HTTP_BROKEN);
    http_answer_fini(&answer);
}

static void a_request_has_one_host_and_the_token_only_if_there_is_one(void **state)
{
    struct http_place place = {.host = "::1", .port = "7070", .token = "abc"};
    struct http_request request = {
        .method = "POST", .target = "/v1/x", .body = "{}", .body_bytes = 2};
    struct http_buf out = {0};
    http_request_write(&out, &place, &request);
    assert_string_equal(out.data,
                        "POST /v1/x HTTP/1.1\r\nHost: [::1]:7070\r\nAuthorization: Bearer abc"
                        "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    http_buf_free(&out);
    http_buf_quoted(&out, "a b&c=\xc3\xa9~");
    assert_string_equal(out.data, "a%20b%26c%3D%C3%A9~");
    http_buf_free(&out);
}

/* As graspd reads it: a line may end in a comment, and may be nothing else. */
static void the_first_token_of_a_file_is_found_among_its_comments(void **state)
{
    static char long_comment[2048];
    const struct {
        const char *text, *token;
    } rows[] = {{"abc\n", "abc"},
                {"# who\n\n  # and why\nbob read abc\n", "abc"},
                {"bob read abc # until May\nann read def\n", "abc"},
                {"abc#until May", "abc"},
                {long_comment, "abc"}};
    char path[] = "/tmp/grasp-token-XXXXXX";
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    memset(long_comment, 'x', 2000);
    long_comment[0] = '#';
    strcpy(long_comment + 2000, "\nabc\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_place place;
        struct place_flags flags = {.url = "http://localhost:1", .token_file = path};
        char err[256] = "";
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, rows[i].text, strlen(rows[i].text), 0), strlen(rows[i].text));
        if (place_find(&place, &flags, NULL, 0, err, sizeof err))
            fail_msg("%s", err);
        assert_string_equal(place.token, rows[i].token);
    }
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_read_in_every_spelling),
        cmocka_unit_test(bad_places_are_refused_with_a_reason),
        cmocka_unit_test(an_answer_ends_where_the_next_begins_however_it_is_cut),
        cmocka_unit_test(an_end_in_the_middle_is_no_answer),
        cmocka_unit_test(what_is_too_large_for_memory_is_refused_at_its_edge),
        cmocka_unit_test(a_request_has_one_host_and_the_token_only_if_there_is_one),
        cmocka_unit_test(the_first_token_of_a_file_is_found_among_its_comments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
