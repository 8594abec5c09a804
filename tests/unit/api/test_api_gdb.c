/*
 * test_api_gdb.c: GET /v1/gdb: who may, which goroutines, and that no hold is left behind.
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
#include "gdb_holds.h"

static struct fake_call *start_as(const char *target, struct api_peer peer, const char *connection,
                                  const char *upgrade)
{
    struct fake_call *fake = calloc(1, sizeof *fake);
    fake->headers[0] = (struct api_header){"Host", "localhost"};
    fake->headers[1] = (struct api_header){"Connection", connection};
    fake->headers[2] = (struct api_header){"Upgrade", upgrade};
    fake->call.api = fake_api;
    fake->call.host_ctx = fake;
    fake->call.request = (struct api_request){.method = "GET",
                                              .target = target,
                                              .target_bytes = strlen(target),
                                              .headers = fake->headers,
                                              .header_count = 3,
                                              .peer = peer,
                                              .parsed_ns = gr_now_ns()};
    api_call_start(&fake->call);
    return fake;
}

static struct fake_call *start(const char *target)
{
    return start_as(target, (struct api_peer){.uid = 7}, "Upgrade", "gdb-remote");
}

/* The goroutines of the session, taken over as the host does, and given back. */
static void assert_session(const char *target, const uint64_t *ids, size_t count)
{
    struct fake_call *fake = start(target);
    fake_run();
    assert_true(fake->replied);
    assert_int_equal(fake->call.reply.status, 101);
    struct api_gdb *gdb = fake->call.reply.upgrade;
    assert_non_null(gdb);
    fake->call.reply.upgrade = NULL;
    assert_int_equal(gdb->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(gdb->member[i].hold.id, ids[i]);
        assert_true(fake_holds(ids[i]) > 0);
    }
    fake_finish(fake, true);
    api_gdb_release(gdb);
}

static void assert_refused(const char *target, int status, const char *code)
{
    struct fake_call *fake = start(target);
    fake_run();
    assert_true(fake->replied);
    json_t *problem = json_loads(fake->body, 0, NULL);
    if (fake->call.reply.status != status || strcmp(fake_code(problem), code))
        fail_msg("%s: %d %s", target, fake->call.reply.status, fake_code(problem));
    assert_null(fake->call.reply.upgrade);
    json_decref(problem);
    fake_finish(fake, true);
}

static void a_session_holds_those_that_were_asked_for(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    fake_label(3, "k", "v");
    assert_session("/v1/gdb?ids=3,1", (uint64_t[]){3, 1}, 2);
    assert_session("/v1/gdb?ids=2,2", (uint64_t[]){2}, 1);
    assert_session("/v1/gdb?selector=k%3Dv", (uint64_t[]){3}, 1);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(fake_holds(id), 0);
}

static void without_a_choice_it_holds_what_is_suspended(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    assert_refused("/v1/gdb", 404, "nothing-selected");
    assert_int_equal(fake_ask("POST", "/v1/goroutines/2/suspend", NULL, NULL), 200);
    assert_session("/v1/gdb", (uint64_t[]){2}, 1);
    assert_int_equal(fake_holds(2), 1); /* the suspension's own */
}

static void a_running_one_is_waited_for(void **state)
{
    fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_WAITING);
    struct fake_call *fake = start("/v1/gdb?ids=1,2");
    fake_run();
    assert_false(fake->replied);
    fake_tell_stopped(1);
    fake_run();
    assert_true(fake->replied);
    assert_int_equal(fake->call.reply.status, 101);
    fake_finish(fake, true); /* the host did not take it */
    assert_int_equal(fake_holds(1), 0);
    assert_int_equal(fake_holds(2), 0);
}

static void one_that_does_not_stop_releases_the_others(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = start("/v1/gdb?ids=1,2");
    fake_run();
    fake_tell_withdrawn(2);
    fake_run();
    assert_true(fake->replied);
    assert_int_equal(fake->call.reply.status, 504);
    fake_finish(fake, true);
    assert_int_equal(fake_holds(1), 0);
}

static void a_selector_goes_on_without_those_that_do_not_stop(void **state)
{
    fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_WAITING);
    fake_label(1, "k", "v");
    fake_label(2, "k", "v");
    struct fake_call *fake = start("/v1/gdb?selector=k");
    fake_run();
    fake_tell_withdrawn(1);
    fake_run();
    assert_int_equal(fake->call.reply.status, 101);
    assert_int_equal(fake->call.reply.upgrade->count, 1);
    assert_int_equal(fake->call.reply.upgrade->member[0].hold.id, 2);
    fake_finish(fake, true);
    assert_int_equal(fake_holds(2), 0);
}

/* The client goes while a stop is pending: before it is told, and in the moment it is. */
static void an_abandoned_request_holds_nothing(void **state)
{
    for (int told = 0; told < 2; told++) {
        uint64_t waiting = fake_goroutine(GR_WAITING), running = fake_goroutine(GR_RUNNING);
        char target[64];
        snprintf(target, sizeof target, "/v1/gdb?ids=%d,%d", (int)waiting, (int)running);
        struct fake_call *fake = start(target);
        fake_run();
        if (told)
            fake_tell_stopped(running); /* its task is posted and has not run */
        api_call_abandon(&fake->call);
        fake_run();
        fake_finish(fake, false);
        assert_int_equal(fake_holds(waiting), 0);
        assert_int_equal(fake_holds(running), 0);
    }
}

static void wrong_requests_are_refused(void **state)
{
    fake_goroutine(GR_DEAD);
    assert_refused("/v1/gdb?ids=x", 400, "bad-request");
    assert_refused("/v1/gdb?ids=0", 400, "bad-request");
    assert_refused("/v1/gdb?ids=1,,2", 400, "bad-request");
    assert_refused("/v1/gdb?ids=1,", 400, "bad-request");
    assert_refused("/v1/gdb?ids=1&selector=k", 400, "bad-request");
    assert_refused("/v1/gdb?selector=a%20b", 400, "bad-request");
    assert_refused("/v1/gdb?nonsense=1", 400, "unknown-parameter");
    assert_refused("/v1/gdb?ids=1", 410, "goroutine-dead");
    assert_refused("/v1/gdb?ids=99", 404, "not-found");
    assert_refused("/v1/gdb?ids=", 404, "nothing-selected");
    api_drain(fake_api);
    assert_refused("/v1/gdb?ids=1", 503, "draining");
}

static _Atomic(uint32_t) sessions;

static int start_with_sessions(void **state)
{
    fake_config.gdb_sessions = &sessions;
    return fake_host_start(state);
}

static void there_are_so_many_sessions_and_no_more(void **state)
{
    fake_goroutine(GR_WAITING);
    sessions = API_GDB_SESSIONS_MAX - 1;
    assert_session("/v1/gdb?ids=1", (uint64_t[]){1}, 1);
    sessions++;
    assert_refused("/v1/gdb?ids=1", 429, "limit-reached");
    sessions = 0;
}

static void without_an_upgrade_it_says_how(void **state)
{
    static const struct {
        const char *connection, *upgrade;
        int status;
    } rows[] = {{"keep-alive, Upgrade", "GDB-Remote", 101},
                {"close", "gdb-remote", 426},
                {"Upgrade", "websocket", 426},
                {"upgrade", "h2c, gdb-remote", 101},
                {"Upgrades", "gdb-remote", 426},
                {"", "", 426}};
    fake_goroutine(GR_WAITING);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_call *fake = start_as("/v1/gdb?ids=1", (struct api_peer){.uid = 7},
                                          rows[i].connection, rows[i].upgrade);
        fake_run();
        assert_int_equal(fake->call.reply.status, rows[i].status);
        fake_finish(fake, true);
    }
    assert_int_equal(fake_holds(1), 0);
}

static int start_with_tokens(void **state)
{
    static struct api_token tokens[2] = {
        {.name = "driver", .scopes = API_SCOPE_READ | API_SCOPE_CONTROL},
        {.name = "owner", .scopes = API_SCOPE_ALL}};
    memset(tokens[0].secret, 1, sizeof tokens[0].secret);
    memset(tokens[1].secret, 2, sizeof tokens[1].secret);
    fake_config.tokens = tokens;
    fake_config.token_count = 2;
    return fake_host_start(state);
}

/* Whoever reads all memory reads the other tokens. */
static void it_takes_a_token_with_every_scope(void **state)
{
    static const struct {
        char digit;
        int status;
    } rows[] = {{'1', 403}, {'2', 101}, {'3', 401}};
    fake_goroutine(GR_WAITING);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char value[128] = "Bearer ";
        for (int k = 0; k < API_TOKEN_BYTES; k++)
            sprintf(value + strlen(value), "0%c", rows[i].digit);
        struct fake_call *fake = calloc(1, sizeof *fake);
        fake->headers[0] = (struct api_header){"Host", "localhost"};
        fake->headers[1] = (struct api_header){"Connection", "Upgrade"};
        fake->headers[2] = (struct api_header){"Upgrade", "gdb-remote"};
        fake->headers[3] = (struct api_header){"Authorization", value};
        fake->call.api = fake_api;
        fake->call.host_ctx = fake;
        fake->call.request = (struct api_request){.method = "GET",
                                                  .target = "/v1/gdb?ids=1",
                                                  .target_bytes = 13,
                                                  .headers = fake->headers,
                                                  .header_count = 4,
                                                  .peer = {.tcp = true}};
        api_call_start(&fake->call);
        fake_run();
        assert_int_equal(fake->call.reply.status, rows[i].status);
        if (rows[i].status == 403)
            assert_non_null(strstr(fake->body, "load"));
        fake_finish(fake, true);
    }
    assert_int_equal(fake_holds(1), 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fake_host_start, fake_host_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_session_holds_those_that_were_asked_for),
        CASE(without_a_choice_it_holds_what_is_suspended),
        CASE(a_running_one_is_waited_for),
        CASE(one_that_does_not_stop_releases_the_others),
        CASE(a_selector_goes_on_without_those_that_do_not_stop),
        CASE(an_abandoned_request_holds_nothing),
        CASE(wrong_requests_are_refused),
        cmocka_unit_test_setup_teardown(there_are_so_many_sessions_and_no_more, start_with_sessions,
                                        fake_host_stop),
        CASE(without_an_upgrade_it_says_how),
        cmocka_unit_test_setup_teardown(it_takes_a_token_with_every_scope, start_with_tokens,
                                        fake_host_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
