/*
 * test_api_saved.c: saved snapshots: what is in the file, every form of it, and that nothing is held or left behind
 * whatever fails.
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

#define SAVED "/v1/snapshots"

static json_int_t number(const json_t *value, const char *key)
{
    return json_integer_value(json_object_get(value, key));
}

static void refuse(const char *method, const char *target, const char *json, int status,
                   const char *code)
{
    json_t *value;
    assert_int_equal(fake_ask(method, target, json, &value), status);
    assert_string_equal(fake_code(value), code);
    json_decref(value);
}

/* The body as it was sent; freed by the caller. */
static char *get(const char *target, int status)
{
    struct fake_call *call = fake_start("GET", target, NULL);
    fake_run();
    assert_true(call->replied);
    assert_int_equal(call->call.reply.status, status);
    char *body = strdup(call->body ? call->body : "");
    fake_finish(call, true);
    return body;
}

static void three_goroutines(void)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    fake_label(2, "tier", "web");
    fake_child(1, GR_WAITING);
}

static void nobody_is_held(void)
{
    for (unsigned id = 1; id <= 3; id++)
        assert_int_equal(fake_holds(id), 0);
}

static void a_cut_is_saved_as_one_file_and_nobody_is_held_afterwards(void **state)
{
    json_t *value;
    (void)state;
    three_goroutines();
    assert_int_equal(fake_ask("POST", SAVED, "{\"all\":true}", &value), 201);
    assert_int_equal(number(value, "id"), 1);
    assert_int_equal(number(value, "count"), 3);
    assert_int_equal(json_array_size(json_object_get(value, "failed")), 0);
    json_decref(value);
    nobody_is_held();
    assert_non_null(strstr(fake_store_name, "-1"));
    assert_int_equal(fake_ask("GET", SAVED, NULL, &value), 200);
    assert_int_equal(json_array_size(json_object_get(value, "items")), 1);
    json_decref(value);
}

static void every_form_is_made_of_the_same_file(void **state)
{
    json_t *value;
    size_t i;
    json_t *member;
    char *body;
    (void)state;
    three_goroutines();
    assert_int_equal(fake_ask("POST", SAVED, "{\"ids\":[1,2]}", NULL), 201);
    body = get(SAVED "/1", 200);
    value = json_loads(body, 0, NULL);
    assert_non_null(value);
    assert_int_equal(json_array_size(json_object_get(value, "goroutines")), 2);
    json_array_foreach(json_object_get(value, "goroutines"), i, member)
    {
        assert_int_equal(number(member, "goroutine"), i + 1);
        assert_int_equal(json_array_size(json_object_get(member, "frames")), 2);
    }
    json_decref(value);
    free(body);
    body = get(SAVED "/1?format=pretty", 200);
    value = json_loads(body, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(value, "goroutines")), 2);
    json_decref(value);
    free(body);
    body = get(SAVED "/1?format=text", 200);
    assert_non_null(strstr(body, "goroutine 1 "));
    assert_non_null(strstr(body, "goroutine 2 "));
    assert_non_null(strstr(body, "loop"));
    free(body);
    body = get(SAVED "/1?format=folded", 200);
    assert_string_equal(body, "0x2000;loop 2\n");
    free(body);
    free(get(SAVED "/1?format=core", 200));
}

static void a_full_disk_is_said_and_leaves_nothing(void **state)
{
    json_t *value;
    (void)state;
    three_goroutines();
    fake_store_err = -ENOSPC;
    refuse("POST", SAVED, "{\"all\":true}", 507, "disk-full");
    nobody_is_held();
    assert_string_equal(fake_store_name, "");
    assert_int_equal(fake_ask("GET", SAVED, NULL, &value), 200);
    assert_int_equal(json_array_size(json_object_get(value, "items")), 0);
    json_decref(value);
    fake_store_err = 0;
    assert_int_equal(fake_ask("POST", SAVED, "{\"all\":true}", NULL), 201);
}

static void without_a_state_directory_nobody_is_stopped(void **state)
{
    (void)state;
    three_goroutines();
    fake_no_store = true;
    refuse("POST", SAVED, "{\"all\":true}", 503, "out-of-resources");
    nobody_is_held();
}

static void a_selection_is_named_as_for_suspensions(void **state)
{
    (void)state;
    three_goroutines();
    refuse("POST", SAVED, "{}", 400, "bad-request");
    refuse("POST", SAVED, "{\"ids\":[1],\"all\":true}", 400, "bad-request");
    refuse("POST", SAVED, "{\"selector\":\"tier=db\"}", 404, "nothing-selected");
    refuse("POST", SAVED, "{\"all\":true,\"lease_ms\":1000}", 400, "unknown-field");
    assert_int_equal(fake_ask("POST", SAVED, "{\"selector\":\"tier=web\"}", NULL), 201);
}

static void a_deleted_one_is_gone_with_its_file(void **state)
{
    (void)state;
    three_goroutines();
    assert_int_equal(fake_ask("POST", SAVED, "{\"all\":true}", NULL), 201);
    assert_int_equal(fake_ask("DELETE", SAVED "/1", NULL, NULL), 204);
    assert_string_equal(fake_store_name, "");
    refuse("GET", SAVED "/1", NULL, 404, "not-found");
    refuse("DELETE", SAVED "/1", NULL, 404, "not-found");
    refuse("GET", SAVED "/7", NULL, 404, "not-found");
}

static void one_more_than_are_kept_is_refused_until_one_is_deleted(void **state)
{
    (void)state;
    three_goroutines();
    for (int i = 0; i < API_SNAPSHOTS_MAX; i++)
        assert_int_equal(fake_ask("POST", SAVED, "{\"ids\":[1]}", NULL), 201);
    refuse("POST", SAVED, "{\"ids\":[1]}", 429, "limit-reached");
    nobody_is_held();
    /* The fake store knows the newest file only. */
    char target[64];
    snprintf(target, sizeof target, SAVED "/%d", API_SNAPSHOTS_MAX);
    assert_int_equal(fake_ask("DELETE", target, NULL, NULL), 204);
    assert_int_equal(fake_ask("POST", SAVED, "{\"ids\":[1]}", NULL), 201);
}

/* The host breaks the connection of an answer whose body has failed: what was sent must not look whole. */
static void a_file_that_ends_too_early_is_sent_as_a_broken_answer(void **state)
{
    static const struct {
        size_t cut;
        const char *target;
    } forms[] = {{1, SAVED "/1?format=core"}, {100, SAVED "/1"}};
    (void)state;
    three_goroutines();
    assert_int_equal(fake_ask("POST", SAVED, "{\"all\":true}", NULL), 201);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        fake_store_cut(forms[i].cut);
        struct fake_call *call = fake_start("GET", forms[i].target, NULL);
        fake_run();
        assert_true(call->replied);
        assert_int_equal(call->call.reply.status, 200);
        assert_true(call->call.reply.body.failed);
        fake_finish(call, false);
    }
    /* Its first piece is all of it, so that there is still time for a problem. */
    assert_int_equal(fake_ask("GET", SAVED "/1?format=text", NULL, NULL), 503);
}

static void a_drain_between_two_slices_leaves_no_file(void **state)
{
    (void)state;
    three_goroutines();
    fake_clock_step_ns = 10000000; /* a slice is over at its first look */
    struct fake_call *call = fake_start("POST", SAVED, "{\"all\":true}");
    while (!fake_store_open)
        assert_true(fake_step(0));
    assert_false(call->replied);
    api_drain(fake_api);
    fake_run();
    assert_int_equal(call->call.reply.status, 503);
    assert_non_null(strstr(call->body, "draining"));
    fake_finish(call, true);
    assert_false(fake_store_open);
    assert_string_equal(fake_store_name, "");
    nobody_is_held();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_host_start, fake_host_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cut_is_saved_as_one_file_and_nobody_is_held_afterwards),
        TEST(every_form_is_made_of_the_same_file),
        TEST(a_full_disk_is_said_and_leaves_nothing),
        TEST(without_a_state_directory_nobody_is_stopped),
        TEST(a_selection_is_named_as_for_suspensions),
        TEST(a_deleted_one_is_gone_with_its_file),
        TEST(one_more_than_are_kept_is_refused_until_one_is_deleted),
        TEST(a_file_that_ends_too_early_is_sent_as_a_broken_answer),
        TEST(a_drain_between_two_slices_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
