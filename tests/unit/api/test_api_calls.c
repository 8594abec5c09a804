/*
 * test_api_calls.c: routes, checks of input, formats, lists, security: everything but holds.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

static void assert_problem(const char *method, const char *target, const char *json, int status,
                           const char *code)
{
    json_t *problem;
    int got = fake_ask(method, target, json, &problem);
    if (got != status || strcmp(fake_code(problem), code))
        fail_msg("%s %s %s: %d %s instead of %d %s", method, target, json ? json : "", got,
                 fake_code(problem), status, code);
    assert_int_equal(json_integer_value(json_object_get(problem, "status")), status);
    assert_true(json_string_length(json_object_get(problem, "detail")) > 0);
    json_decref(problem);
}

static void wrong_requests_are_problems(void **state)
{
    static const struct {
        const char *method, *target, *json;
        int status;
        const char *code;
    } rows[] = {
        {"GET", "/nothing", NULL, 404, "not-found"},
        {"GET", "/v1", NULL, 404, "not-found"},
        {"GET", "/v1/goroutines/", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/1/", NULL, 404, "not-found"},
        {"PUT", "/v1/goroutines", NULL, 405, "method-not-allowed"},
        {"DELETE", "/v1/runtime", NULL, 405, "method-not-allowed"},
        {"GET", "/v1/goroutines/0", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/-1", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/abc", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/01", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/9007199254740992", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/9007199254740991", NULL, 404, "not-found"},
        {"GET", "/v1/goroutines/1?nonsense=1", NULL, 400, "unknown-parameter"},
        {"GET", "/v1/goroutines?limit=0", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?limit=1001", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?limit=x", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?limit=1&limit=2", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?cursor=x", NULL, 400, "bad-cursor"},
        {"GET", "/v1/goroutines?state=lazy", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?state=", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?state=waiting,", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/1/roots?kind=stack,", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?selector=a%20b", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?suspended=maybe", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines?format=xml", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/1/snapshot?bytes=262145", NULL, 400, "bad-request"},
        {"GET", "/v1/goroutines/1?wait_ms=60001", NULL, 400, "bad-request"},
        {"GET", "/v1/modules/none", NULL, 404, "module-not-loaded"},
        {"POST", "/v1/goroutines", NULL, 400, "bad-request"},
        {"POST", "/v1/goroutines", "[]", 400, "bad-request"},
        {"POST", "/v1/goroutines", "{", 400, "bad-request"},
        {"POST", "/v1/goroutines", "{} {}", 400, "bad-request"},
        {"POST", "/v1/goroutines", "7", 400, "bad-request"},
        {"POST", "/v1/goroutines", "{\"module\":\"mod\"}", 400, "bad-request"},
        {"POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\",\"x\":1}", 400,
         "unknown-field"},
        {"POST", "/v1/goroutines", "{\"module\":\"mod\",\"module\":\"mod\",\"entry\":\"main\"}",
         400, "bad-request"},
        {"POST", "/v1/goroutines", "{\"module\":7,\"entry\":\"main\"}", 400, "bad-request"},
        {"POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\",\"count\":0}", 400,
         "bad-request"},
        {"POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\",\"count\":1.0}", 400,
         "bad-request"},
        {"POST", "/v1/goroutines",
         "{\"module\":\"mod\",\"entry\":\"main\",\"labels\":{\"a b\":\"\"}}", 400, "bad-request"},
        {"POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\",\"labels\":{\"a\":1}}",
         400, "bad-request"},
        {"POST", "/v1/goroutines", "{\"module\":\"none\",\"entry\":\"main\"}", 404,
         "module-not-loaded"},
        {"POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"none\"}", 404,
         "entry-not-found"},
        {"POST", "/v1/goroutines/5/suspend", "{}", 404, "not-found"},
        {"POST", "/v1/goroutines/5/resume", "{}", 404, "not-found"},
        {"DELETE", "/v1/goroutines/5", NULL, 404, "not-found"},
        {"DELETE", "/v1/suspensions/5", NULL, 404, "not-found"},
        {"PATCH", "/v1/suspensions/5", "{\"lease_ms\":1000}", 404, "not-found"},
        {"PATCH", "/v1/suspensions/5", "{}", 400, "bad-request"},
        {"PATCH", "/v1/runtime", "{\"procs\":0}", 400, "bad-request"},
        {"PATCH", "/v1/runtime", "{\"async_preempt\":1}", 400, "bad-request"},
        {"POST", "/v1/modules", "{\"name\":\"../etc\"}", 400, "bad-request"},
        {"POST", "/v1/modules", "{\"name\":\".hidden\"}", 400, "bad-request"},
        {"POST", "/v1/modules", "{\"name\":\"absent\"}", 404, "not-found"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_problem(rows[i].method, rows[i].target, rows[i].json, rows[i].status, rows[i].code);
    struct gr_stats stats;
    gr_stats(&stats);
    assert_int_equal(stats.live, 0); /* nothing was changed */
}

static void the_unknown_field_is_named(void **state)
{
    json_t *problem;
    fake_ask("PATCH", "/v1/runtime", "{\"prox\":1}", &problem);
    assert_non_null(strstr(json_string_value(json_object_get(problem, "detail")), "prox"));
    json_decref(problem);
}

static void json_may_be_32_deep_and_no_deeper(void **state)
{
    char text[256];
    for (int depth = 31; depth <= 33; depth++) {
        /* The body's own braces are one. */
        int at = sprintf(text, "{\"module\":\"mod\",\"entry\":\"main\",\"args\":");
        for (int i = 1; i < depth; i++)
            text[at++] = '[';
        for (int i = 1; i < depth; i++)
            text[at++] = ']';
        strcpy(text + at, "}");
        assert_int_equal(fake_ask("POST", "/v1/goroutines", text, NULL), depth <= 32 ? 201 : 400);
    }
    /* Brackets in strings do not count. */
    assert_int_equal(fake_ask("POST", "/v1/goroutines",
                              "{\"module\":\"mod\",\"entry\":\"main\",\"args\":"
                              "\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}",
                              NULL),
                     201);
}

static int status_with(const char *method, const char *target, const char *json,
                       struct api_peer peer, const char *header, const char *value, char *code)
{
    struct fake_call *fake = fake_start_as(method, target, json, peer, header, value);
    fake_run();
    int status = fake->call.reply.status;
    json_t *problem = json_loads(fake->body, 0, NULL);
    strcpy(code, fake_code(problem));
    json_decref(problem);
    fake_finish(fake, true);
    return status;
}

static const struct api_peer tcp = {.tcp = true};

static void tcp_asks_for_a_token_with_the_scope(void **state)
{
    static const char reader[] =
        "Bearer 0101010101010101010101010101010101010101010101010101010101010101";
    static const char basic[] =
        "Basic eDowMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxM"
        "DEwMTAxMDEwMTAxMDEwMTAx";
    char code[64];
    assert_int_equal(status_with("GET", "/v1/runtime", NULL, tcp, NULL, NULL, code), 401);
    assert_string_equal(code, "unauthorized");
    assert_int_equal(status_with("GET", "/nowhere", NULL, tcp, NULL, NULL, code), 401);
    assert_int_equal(status_with("GET", "/healthz", NULL, tcp, NULL, NULL, code), 200);
    assert_int_equal(status_with("GET", "/v1/runtime", NULL, tcp, "Authorization", reader, code),
                     200);
    assert_int_equal(status_with("GET", "/v1/runtime", NULL, tcp, "Authorization", basic, code),
                     200);
    assert_int_equal(
        status_with("POST", "/v1/goroutines", "{}", tcp, "Authorization", reader, code), 403);
    assert_string_equal(code, "forbidden");
    assert_int_equal(status_with("POST", "/v1/goroutines", "{}", tcp, "Authorization", basic, code),
                     401); /* Basic is for reading alone */
    assert_int_equal(
        status_with("GET", "/v1/runtime", NULL, tcp, "Authorization",
                    "Bearer 01010101010101010101010101010101010101010101010101010101010101"
                    "02",
                    code),
        401);
}

static int start_with_token(void **state)
{
    static struct api_token token = {.name = "reader", .scopes = API_SCOPE_READ};
    memset(token.secret, 1, sizeof token.secret);
    fake_config.tokens = &token;
    fake_config.token_count = 1;
    return fake_host_start(state);
}

static void unknown_hosts_are_refused_before_the_token(void **state)
{
    static const char *const known[] = {"localhost", "LOCALHOST:7070", "127.0.0.1:1",
                                        "[::1]:9",   "[::1]",          "127.0.0.1"};
    static const char *const unknown[] = {"evil.example",
                                          "localhost.evil",
                                          "127.0.0.1.nip.io",
                                          "localhost:x",
                                          "127.0.0.2",
                                          "[::2]",
                                          "",
                                          "localhost:99999"};
    char code[64];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(status_with("GET", "/v1/runtime", NULL, tcp, "Host", known[i], code), 401);
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(status_with("GET", "/v1/runtime", NULL, tcp, "Host", unknown[i], code),
                         421);
        assert_string_equal(code, "unknown-host");
        assert_int_equal(status_with("GET", "/healthz", NULL, tcp, "Host", unknown[i], code), 200);
        /* On the Unix socket any name does. */
        assert_int_equal(status_with("GET", "/v1/runtime", NULL, (struct api_peer){.uid = 7},
                                     "Host", unknown[i], code),
                         200);
    }
}

static void foreign_pages_change_nothing(void **state)
{
    struct api_peer peer = {.uid = 7};
    char code[64];
    assert_int_equal(
        status_with("PATCH", "/v1/runtime", "{}", peer, "Origin", "http://evil.example", code),
        403);
    assert_string_equal(code, "foreign-origin");
    assert_int_equal(status_with("PATCH", "/v1/runtime", "{}", peer, "Origin", "null", code), 403);
    assert_int_equal(
        status_with("PATCH", "/v1/runtime", "{}", peer, "Origin", "http://localhost:8", code), 403);
    assert_int_equal(
        status_with("PATCH", "/v1/runtime", "{}", peer, "Origin", "http://localhost:7", code), 200);
    assert_int_equal(
        status_with("PATCH", "/v1/runtime", "{}", peer, "Sec-Fetch-Site", "cross-site", code), 403);
    assert_int_equal(
        status_with("GET", "/v1/runtime", NULL, peer, "Origin", "http://evil.example", code), 200);
}

static void a_stranger_on_the_unix_socket_is_refused(void **state)
{
    char code[64];
    struct api_peer stranger = {.uid = 99, .refused = true};
    assert_int_equal(status_with("GET", "/v1/runtime", NULL, stranger, NULL, NULL, code), 403);
    assert_string_equal(code, "forbidden");
}

static void another_instance_is_refused(void **state)
{
    char code[64];
    struct api_peer peer = {.uid = 7};
    assert_int_equal(
        status_with("GET", "/v1/runtime", NULL, peer, "Grasp-Instance", "deadbeef", code), 412);
    assert_string_equal(code, "instance-changed");
    assert_int_equal(status_with("GET", "/v1/runtime", NULL, peer, "Grasp-Instance",
                                 api_instance(fake_api), code),
                     200);
}

static void a_walk_meets_each_once_while_others_end_and_begin(void **state)
{
    unsigned seen[64] = {0};
    char target[256] = "/v1/goroutines?limit=3";
    json_t *page, *item;
    size_t i, pages = 0;
    for (int n = 0; n < 20; n++)
        fake_goroutine(GR_WAITING);
    for (bool more = true; more; pages++) {
        assert_int_equal(fake_ask("GET", target, NULL, &page), 200);
        json_array_foreach(json_object_get(page, "items"), i, item)
            seen[json_integer_value(json_object_get(item, "id"))]++;
        const char *next = json_string_value(json_object_get(page, "next"));
        more = next != NULL;
        if (more)
            snprintf(target, sizeof target, "/v1/goroutines?limit=3&cursor=%s", next);
        json_decref(page);
        fake_end(pages + 1); /* one that was listed, and one that was not */
        fake_end(20 - pages);
    }
    for (int id = 1; id <= 20; id++)
        assert_int_equal(seen[id], 1);
    assert_int_equal(pages, 7);
}

static void a_cursor_is_of_its_list(void **state)
{
    json_t *page;
    char target[256];
    for (int n = 0; n < 3; n++)
        fake_goroutine(GR_WAITING);
    assert_int_equal(fake_ask("GET", "/v1/goroutines?limit=2", NULL, &page), 200);
    const char *next = json_string_value(json_object_get(page, "next"));
    assert_non_null(next);
    for (size_t i = 0; i < 2; i++) {
        const char *list = i == 0 ? "suspensions" : "goroutines";
        snprintf(target, sizeof target, "/v1/%s?cursor=%s", list, next);
        json_t *answer;
        assert_int_equal(fake_ask("GET", target, NULL, &answer), i == 0 ? 400 : 200);
        json_decref(answer);
    }
    json_decref(page);
}

static void the_next_page_keeps_the_filters(void **state)
{
    for (int n = 0; n < 6; n++) {
        uint64_t id = fake_goroutine(n % 2 ? GR_RUNNING : GR_WAITING);
        fake_label(id, "k", "a b");
    }
    struct fake_call *fake =
        fake_start("GET", "/v1/goroutines?state=running&limit=2&selector=k%3Da%20b", NULL);
    fake_run();
    const char *headers = fake->call.reply.headers.data;
    assert_non_null(strstr(headers, "Link: </v1/goroutines?cursor="));
    assert_non_null(strstr(headers, "&state=running&limit=2&selector=k%3Da%20b>; rel=\"next\""));
    fake_finish(fake, true);
}

static size_t count_of(const char *target)
{
    json_t *page;
    assert_int_equal(fake_ask("GET", target, NULL, &page), 200);
    size_t count = json_array_size(json_object_get(page, "items"));
    json_decref(page);
    return count;
}

static void filters_select(void **state)
{
    fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_WAITING);
    fake_label(fake_goroutine(GR_COPYSTACK), "k", "v");
    fake_end(fake_goroutine(GR_RUNNING));
    assert_int_equal(count_of("/v1/goroutines"), 4);
    assert_int_equal(count_of("/v1/goroutines?state=live"), 3);
    assert_int_equal(count_of("/v1/goroutines?state=dead"), 1);
    assert_int_equal(count_of("/v1/goroutines?state=waiting"),
                     2); /* copystack is shown as waiting */
    assert_int_equal(count_of("/v1/goroutines?state=running,waiting"), 3);
    assert_int_equal(count_of("/v1/goroutines?selector=k%3Dv"), 1);
    assert_int_equal(count_of("/v1/goroutines?selector=!k"), 3);
    assert_int_equal(count_of("/v1/goroutines?root=2"), 1);
    assert_int_equal(count_of("/v1/goroutines?module=mod&entry=main"), 4);
    assert_int_equal(count_of("/v1/goroutines?module=other"), 0);
    assert_int_equal(count_of("/v1/goroutines?suspended=true"), 0);
}

static void ndjson_streams_all_and_says_that_it_ended(void **state)
{
    for (int n = 0; n < 1500; n++)
        fake_goroutine(GR_WAITING);
    struct fake_call *fake = fake_start("GET", "/v1/goroutines?format=ndjson", NULL);
    fake_run();
    size_t lines = 0;
    for (const char *c = fake->body; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 1501);
    assert_non_null(strstr(fake->body, "\n{\"end\":true,\"seq\":"));
    fake_finish(fake, true);
}

static void a_stream_with_a_limit_tells_where_it_stopped(void **state)
{
    for (int n = 0; n < 5; n++)
        fake_goroutine(GR_WAITING);
    struct fake_call *fake = fake_start("GET", "/v1/goroutines?format=ndjson&limit=2", NULL);
    fake_run();
    assert_non_null(strstr(fake->body, "\"end\":true"));
    assert_non_null(strstr(fake->body, "\"next\":\""));
    fake_finish(fake, true);
}

static void spawn_hands_over_args_and_labels(void **state)
{
    json_t *value;
    assert_int_equal(
        fake_ask("POST", "/v1/goroutines",
                 "{\"module\":\"mod\",\"entry\":\"main\",\"args\":[1,\"x\"],\"count\":3}", &value),
        201);
    assert_int_equal(json_array_size(json_object_get(value, "ids")), 3);
    assert_string_equal(fake_spawn_args, "[1,\"x\"]");
    json_decref(value);
    fake_ask("POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\"}", NULL);
    assert_string_equal(fake_spawn_args, "null");
    fake_spawn_result = -EAGAIN;
    assert_problem("POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\"}", 429,
                   "limit-reached");
    fake_spawn_result = -ENOMEM;
    assert_problem("POST", "/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\"}", 503,
                   "out-of-resources");
}

/* When it is answered, nothing is left of it that takes the loop long to free. */
static void leaves_little(const char *json, int status)
{
    struct fake_call *call = fake_start("POST", "/v1/goroutines", json);
    const char *key;
    json_t *value;
    fake_run();
    assert_int_equal(call->call.reply.status, status);
    json_object_foreach(call->call.body, key, value)
        assert_true(json_object_size(value) + json_array_size(value) <= 1);
    fake_finish(call, true);
}

static void what_is_long_in_a_spawn_is_freed_on_the_pool(void **state)
{
    static const char begin[] = "{\"module\":\"mod\",\"entry\":\"main\",\"labels\":{\"a\":\"b\"";
    char *json = malloc(600000);
    /* Args that are taken, ones that are too long, labels that are too many. */
    for (int i = 0; i < 3; i++) {
        size_t at = (size_t)sprintf(json, "%s%s", begin, i < 2 ? "},\"args\":[0" : "");
        for (int k = 0; k < (i ? 40000 : 20000); k++)
            at += (size_t)sprintf(json + at, i < 2 ? ",0" : ",\"%d\":0", k);
        strcpy(json + at, i < 2 ? "]}" : "}}");
        leaves_little(json, i == 0 ? 201 : i == 1 ? 413 : 400);
    }
    free(json);
}

static void waiting_ends_with_the_goroutine(void **state)
{
    uint64_t id = fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("GET", "/v1/goroutines/1?wait_ms=5000", NULL);
    fake_run();
    assert_false(fake->replied);
    fake_end(id);
    fake_run();
    assert_true(fake->replied);
    assert_non_null(
        strstr(fake->body, "\"exit\":{\"reason\":\"returned\",\"code\":0,\"result\":{\"n\":1}}"));
    fake_finish(fake, true);
}

static void waiting_ends_with_the_time_as_it_is(void **state)
{
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("GET", "/v1/goroutines/1?wait_ms=5000", NULL);
    fake_clock_add_ms(4999);
    fake_run();
    assert_false(fake->replied);
    fake_clock_add_ms(1);
    fake_run();
    assert_non_null(strstr(fake->body, "\"state\":\"running\""));
    fake_finish(fake, true);
}

static void waiting_for_the_dead_or_nobody_answers_at_once(void **state)
{
    fake_end(fake_goroutine(GR_RUNNING));
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1?wait_ms=5000", NULL, NULL), 200);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/2?wait_ms=5000", NULL, NULL), 404);
}

static void a_log_with_any_bytes_is_json(void **state)
{
    json_t *value;
    fake_goroutine(GR_RUNNING);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/log", NULL, &value), 200);
    json_t *lines = json_object_get(value, "lines");
    assert_int_equal(json_array_size(lines), 2);
    assert_string_equal(json_string_value(json_array_get(lines, 1)), "two \xef\xbf\xbd");
    json_decref(value);
}

static void a_refused_file_is_listed_with_its_error(void **state)
{
    api_module_note(fake_api, "bad", "/bad.so", "everybody can write it");
    assert_int_equal(count_of("/v1/modules"), 2);
    json_t *value;
    assert_int_equal(fake_ask("GET", "/v1/modules/bad", NULL, &value), 200);
    assert_true(json_is_false(json_object_get(value, "loaded")));
    assert_string_equal(json_string_value(json_object_get(value, "error")),
                        "everybody can write it");
    json_decref(value);
}

static void unloading_is_refused_while_a_goroutine_lives(void **state)
{
    assert_problem("DELETE", "/v1/modules/none", NULL, 404, "module-not-loaded");
    uint64_t id = fake_goroutine(GR_RUNNING);
    assert_problem("DELETE", "/v1/modules/mod", NULL, 409, "module-busy");
    fake_end(id);
    assert_int_equal(fake_ask("DELETE", "/v1/modules/mod", NULL, NULL), 204);
    /* A file that the host refused is forgotten, too. */
    api_module_note(fake_api, "bad", "/bad.so", "everybody can write it");
    assert_int_equal(fake_ask("DELETE", "/v1/modules/bad", NULL, NULL), 204);
    assert_problem("DELETE", "/v1/modules/bad", NULL, 404, "module-not-loaded");
}

/* The audit log's line about what was just asked. */
static json_t *audited(void)
{
    json_t *line = json_loads(fake_audit, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    assert_null(strchr(fake_audit, '\n'));
    return line;
}

static void every_mutation_is_audited_and_nothing_else(void **state)
{
    strcpy(fake_audit, "none");
    fake_goroutine(GR_WAITING);
    fake_ask("GET", "/v1/goroutines/1", NULL, NULL);
    fake_ask("HEAD", "/v1/goroutines/1", NULL, NULL);
    fake_ask("GET", "/v1/goroutines/99", NULL, NULL);
    assert_string_equal(fake_audit, "none");
    fake_ask("POST", "/v1/goroutines/1/suspend", "{\"owner\":\n\t\"a\",\r\n\"reason\":\"b\"}", NULL);
    json_t *line = audited();
    assert_string_equal(json_string_value(json_object_get(line, "principal")), "uid:7");
    assert_string_equal(json_string_value(json_object_get(line, "target")),
                        "/v1/goroutines/1/suspend");
    assert_int_equal(json_integer_value(json_object_get(line, "status")), 200);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(line, "request"), "reason")), "b");
    assert_true(json_is_integer(json_object_get(json_object_get(line, "answer"), "id")));
    json_decref(line);
    fake_ask("DELETE", "/v1/suspensions/77?\"\\", NULL, NULL);
    line = audited();
    assert_string_equal(json_string_value(json_object_get(line, "target")),
                        "/v1/suspensions/77?\"\\");
    assert_true(json_integer_value(json_object_get(line, "status")) >= 400);
    json_decref(line);
}

static void a_long_request_is_audited_by_its_size(void **state)
{
    char body[4096];
    char args[3001];
    memset(args, 'a', sizeof args - 1);
    args[sizeof args - 1] = 0;
    snprintf(body, sizeof body, "{\"module\":\"mod\",\"entry\":\"main\",\"args\":\"%s\"}", args);
    assert_int_equal(fake_ask("POST", "/v1/goroutines", body, NULL), 201);
    json_t *line = audited();
    assert_int_equal(json_integer_value(json_object_get(line, "request_bytes")), strlen(body));
    assert_null(json_object_get(line, "request"));
    assert_non_null(json_object_get(json_object_get(line, "answer"), "ids"));
    json_decref(line);
}

static void draining_refuses_all_but_releases(void **state)
{
    fake_goroutine(GR_WAITING);
    api_drain(fake_api);
    assert_true(fake_cancelled_all);
    assert_problem("POST", "/v1/goroutines/1/suspend", "{}", 503, "draining");
    assert_problem("PATCH", "/v1/runtime", "{}", 503, "draining");
    assert_problem("POST", "/v1/goroutines/1/resume", "{}", 409, "not-suspended");
    assert_problem("GET", "/readyz", NULL, 503, "draining");
    assert_int_equal(fake_ask("GET", "/v1/runtime", NULL, NULL), 200);
    assert_int_equal(fake_ask("GET", "/healthz", NULL, NULL), 200);
}

static void every_metric_has_its_type(void **state)
{
    struct fake_call *fake = fake_start("GET", "/metrics", NULL);
    fake_run();
    assert_int_equal(fake->call.reply.status, 200);
    char last[128] = "";
    for (char *line = strtok(fake->body, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128];
        if (sscanf(line, "# TYPE %127s", name) == 1)
            strcpy(last, name);
        else if (line[0] != '#' && strncmp(line, last, strlen(last)))
            fail_msg("\"%s\" comes without a TYPE of its own", line);
    }
    fake_finish(fake, true);
}

#define CASE(fn)       cmocka_unit_test_setup_teardown(fn, fake_host_start, fake_host_stop)
#define CASE_TOKEN(fn) cmocka_unit_test_setup_teardown(fn, start_with_token, fake_host_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(wrong_requests_are_problems),
        CASE(the_unknown_field_is_named),
        CASE(json_may_be_32_deep_and_no_deeper),
        CASE_TOKEN(tcp_asks_for_a_token_with_the_scope),
        CASE_TOKEN(unknown_hosts_are_refused_before_the_token),
        CASE(foreign_pages_change_nothing),
        CASE(a_stranger_on_the_unix_socket_is_refused),
        CASE(another_instance_is_refused),
        CASE(a_walk_meets_each_once_while_others_end_and_begin),
        CASE(a_cursor_is_of_its_list),
        CASE(the_next_page_keeps_the_filters),
        CASE(filters_select),
        CASE(ndjson_streams_all_and_says_that_it_ended),
        CASE(a_stream_with_a_limit_tells_where_it_stopped),
        CASE(spawn_hands_over_args_and_labels),
        CASE(what_is_long_in_a_spawn_is_freed_on_the_pool),
        CASE(waiting_ends_with_the_goroutine),
        CASE(waiting_ends_with_the_time_as_it_is),
        CASE(waiting_for_the_dead_or_nobody_answers_at_once),
        CASE(a_log_with_any_bytes_is_json),
        CASE(unloading_is_refused_while_a_goroutine_lives),
        CASE(every_mutation_is_audited_and_nothing_else),
        CASE(a_long_request_is_audited_by_its_size),
        CASE(a_refused_file_is_listed_with_its_error),
        CASE(draining_refuses_all_but_releases),
        CASE(every_metric_has_its_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
