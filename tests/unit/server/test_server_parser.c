/*
 * test_server_parser.c: the parser by itself: however the bytes are cut, the verdict is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hostile.h"
#include "parser.h"

/* Feeds pieces of `step` bytes until a request is complete or refused; its verdict. */
static enum srv_parse feed(struct srv_parser *parser, const char *bytes, size_t size, size_t step,
                           size_t *consumed)
{
    enum srv_parse result = SRV_PARSE_MORE;
    *consumed = 0;
    while (result == SRV_PARSE_MORE && *consumed < size) {
        size_t used, piece = size - *consumed < step ? size - *consumed : step;
        result = srv_parser_feed(parser, bytes + *consumed, piece, &used);
        *consumed += used;
    }
    return result;
}

static void the_verdict_does_not_depend_on_how_the_bytes_are_cut(void **state)
{
    static const size_t steps[] = {1, 2, 3, 7, 4096};
    for (size_t i = 0; i < HOSTILE_COUNT; i++) {
        const struct hostile *row = &hostile_table[i];
        size_t size, whole_used, used;
        char *bytes = hostile_bytes(row, &size);
        struct srv_parser *whole = calloc(1, sizeof *whole);
        srv_parser_init(whole);
        enum srv_parse expected = feed(whole, bytes, size, size, &whole_used);
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            struct srv_parser *cut = calloc(1, sizeof *cut);
            srv_parser_init(cut);
            enum srv_parse result = feed(cut, bytes, size, steps[k], &used);
            if (result != expected || cut->status != whole->status ||
                (result == SRV_PARSE_DONE && used != whole_used))
                fail_msg("%s in steps of %zu: verdict %d status %d, whole: %d and %d", row->name,
                         steps[k], result, cut->status, expected, whole->status);
            srv_parser_fini(cut);
            free(cut);
        }
        srv_parser_fini(whole);
        free(whole);
        free(bytes);
    }
}

static void the_next_request_begins_where_the_first_ends(void **state)
{
    static const char bytes[] = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                                "GET /b HTTP/1.1\r\nHost: y\r\n\r\n";
    struct srv_parser *parser = calloc(1, sizeof *parser);
    struct api_buf head, body;
    size_t used;
    srv_parser_init(parser);
    assert_int_equal(srv_parser_feed(parser, bytes, sizeof bytes - 1, &used), SRV_PARSE_DONE);
    assert_int_equal(used, strstr(bytes, "GET") - bytes);
    assert_string_equal(parser->method, "POST");
    srv_parser_take(parser, &head, &body);
    assert_int_equal(body.size, 3);
    assert_memory_equal(body.data, "abc", 3);
    api_buf_free(&head);
    api_buf_free(&body);
    assert_int_equal(srv_parser_feed(parser, bytes + used, sizeof bytes - 1 - used, &used),
                     SRV_PARSE_DONE);
    assert_string_equal(parser->method, "GET");
    assert_int_equal(parser->target_bytes, 2);
    assert_memory_equal(parser->target, "/b", 2);
    srv_parser_fini(parser);
    free(parser);
}

static void values_are_trimmed_and_ended(void **state)
{
    static const char bytes[] = "GET /a HTTP/1.1\r\nHost: \t x \t\r\nEmpty:\r\nBlank:  \r\n\r\n";
    struct srv_parser *parser = calloc(1, sizeof *parser);
    size_t used;
    srv_parser_init(parser);
    assert_int_equal(srv_parser_feed(parser, bytes, sizeof bytes - 1, &used), SRV_PARSE_DONE);
    assert_int_equal(parser->header_count, 3);
    assert_string_equal(parser->headers[0].name, "Host");
    assert_string_equal(parser->headers[0].value, "x");
    assert_string_equal(parser->headers[1].value, "");
    assert_string_equal(parser->headers[2].value, "");
    srv_parser_fini(parser);
    free(parser);
}

static void random_bytes_never_pass_for_a_request(void **state)
{
    unsigned seed = 20240607;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 2000; round++) {
        char bytes[512];
        size_t used;
        struct srv_parser *parser = calloc(1, sizeof *parser);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)rand_r(&seed);
        srv_parser_init(parser);
        assert_int_not_equal(srv_parser_feed(parser, bytes, sizeof bytes, &used), SRV_PARSE_DONE);
        srv_parser_fini(parser);
        free(parser);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_verdict_does_not_depend_on_how_the_bytes_are_cut),
        cmocka_unit_test(the_next_request_begins_where_the_first_ends),
        cmocka_unit_test(values_are_trimmed_and_ended),
        cmocka_unit_test(random_bytes_never_pass_for_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
