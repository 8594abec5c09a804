/*
 * test_api_holds.c: suspensions: who holds what, and that every way out gives it back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

#define SUSPEND "/v1/goroutines/1/suspend"
#define RESUME  "/v1/goroutines/1/resume"

static uint64_t number(const json_t *value, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(value, key));
}

static uint64_t suspend(const char *json)
{
    json_t *value;
    assert_int_equal(fake_ask("POST", SUSPEND, json, &value), 200);
    uint64_t id = number(value, "id");
    assert_true(id > 0);
    json_decref(value);
    return id;
}

static void a_waiting_goroutine_is_held_at_once(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    assert_int_equal(fake_ask("POST", SUSPEND, "{\"owner\":\"me\",\"reason\":\"why\"}", &value),
                     200);
    assert_int_equal(number(value, "goroutine"), 1);
    assert_int_equal(number(value, "latency_ns"), 0);
    assert_int_equal(number(value, "lease_ms"), 30000);
    assert_int_equal(number(value, "count"), 1);
    assert_string_equal(json_string_value(json_object_get(value, "safepoint")), "blocked");
    assert_string_equal(json_string_value(json_object_get(value, "owner")), "me");
    assert_string_equal(json_string_value(json_object_get(value, "reason")), "why");
    assert_string_equal(json_string_value(json_object_get(value, "principal")), "uid:7");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(value, "held"), 0)), 1);
    json_decref(value);
    assert_int_equal(fake_holds(1), 1);
}

static void a_running_one_answers_when_it_stopped(void **state)
{
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("POST", SUSPEND, NULL);
    fake_run();
    assert_false(fake->replied);
    fake_clock_add_ms(3);
    fake_tell_stopped(1);
    fake_run();
    assert_true(fake->replied);
    json_t *value = json_loads(fake->body, 0, NULL);
    assert_int_equal(number(value, "latency_ns"), 3000000);
    assert_string_equal(json_string_value(json_object_get(value, "safepoint")), "async");
    json_decref(value);
    fake_finish(fake, true);
    assert_int_equal(fake_holds(1), 1);
}

static void the_deadline_says_what_stood_in_the_way(void **state)
{
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("POST", SUSPEND, NULL);
    fake_tell_withdrawn(1);
    fake_run();
    assert_int_equal(fake->call.reply.status, 504);
    json_t *value = json_loads(fake->body, 0, NULL);
    assert_string_equal(fake_code(value), "suspend-timeout");
    assert_string_equal(json_string_value(json_object_get(value, "pc")), "0xabc");
    assert_string_equal(json_string_value(json_object_get(value, "function")), "somewhere");
    assert_string_equal(json_string_value(json_object_get(value, "module")), "mod");
    assert_int_equal(number(json_object_get(value, "refused"), "libc"), 3);
    assert_int_equal(number(value, "attempts"), 4);
    json_decref(value);
    fake_finish(fake, true);
    assert_int_equal(fake_holds(1), 0);
}

static void timeout_0_holds_only_what_stands_still(void **state)
{
    fake_goroutine(GR_RUNNING);
    assert_int_equal(fake_ask("POST", SUSPEND, "{\"timeout_ms\":0}", NULL), 504);
    assert_int_equal(fake_holds(1), 0);
}

static void the_dead_and_the_unknown_differ(void **state)
{
    json_t *value;
    fake_end(fake_goroutine(GR_RUNNING));
    assert_int_equal(fake_ask("POST", SUSPEND, NULL, &value), 410);
    assert_string_equal(fake_code(value), "goroutine-dead");
    json_decref(value);
    assert_int_equal(fake_ask("POST", RESUME, NULL, NULL), 410);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/snapshot", NULL, NULL), 410);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/2/snapshot", NULL, NULL), 404);
}

static void a_connection_that_ends_first_holds_nothing(void **state)
{
    fake_goroutine(GR_RUNNING);
    /* It ends before the stop: the request is withdrawn. */
    struct fake_call *fake = fake_start("POST", SUSPEND, NULL);
    api_call_abandon(&fake->call);
    assert_int_equal(fake_holds(1), 0);
    fake_finish(fake, false);
    /* It ends after the stop was told to the bridge, before the loop heard of it. */
    fake = fake_start("POST", SUSPEND, NULL);
    fake_tell_stopped(1);
    api_call_abandon(&fake->call);
    fake_run();
    assert_int_equal(fake_holds(1), 0);
    fake_finish(fake, false);
    /* It ends after the answer was made, before it was written. */
    fake = fake_start("POST", SUSPEND, NULL);
    fake_tell_stopped(1);
    fake_run();
    assert_int_equal(fake_holds(1), 1);
    fake_finish(fake, false);
    assert_int_equal(fake_holds(1), 0);
    json_t *list;
    fake_ask("GET", "/v1/suspensions", NULL, &list);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 0);
    json_decref(list);
}

static void a_lease_ends_by_itself_on_the_monotonic_clock(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    uint64_t id = suspend("{\"lease_ms\":500}");
    assert_int_equal(id, 1);
    fake_clock_add_ms(499);
    fake_run();
    assert_int_equal(fake_holds(1), 1);
    fake_clock_add_ms(1);
    fake_run();
    assert_int_equal(fake_holds(1), 0);
    assert_int_equal(fake_ask("GET", "/v1/suspensions/1", NULL, &value), 410);
    assert_string_equal(fake_code(value), "lease-expired");
    json_decref(value);
    assert_int_equal(fake_ask("DELETE", "/v1/suspensions/1", NULL, NULL), 410);
    assert_int_equal(fake_ask("PATCH", "/v1/suspensions/1", "{\"lease_ms\":500}", NULL), 410);
    assert_int_equal(fake_ask("POST", RESUME, "{\"suspension\":1}", NULL), 410);
}

static void a_lease_can_be_prolonged_and_cut(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    suspend("{\"lease_ms\":500}");
    fake_clock_add_ms(400);
    assert_int_equal(fake_ask("PATCH", "/v1/suspensions/1", "{\"lease_ms\":2000}", &value), 200);
    assert_int_equal(number(value, "remaining_ms"), 2000);
    json_decref(value);
    fake_clock_add_ms(1999);
    fake_run();
    assert_int_equal(fake_holds(1), 1);
    assert_int_equal(fake_ask("PATCH", "/v1/suspensions/1", "{\"lease_ms\":100}", NULL), 200);
    fake_clock_add_ms(100);
    fake_run();
    assert_int_equal(fake_holds(1), 0);
}

static void leases_of_many_end_each_in_its_time(void **state)
{
    char json[64];
    fake_goroutine(GR_WAITING);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(json, sizeof json, "{\"lease_ms\":%u}", 100 + (i * 37) % 100);
        suspend(json);
    }
    fake_clock_add_ms(99);
    for (unsigned left = 100; left > 0; left--) {
        fake_run();
        assert_int_equal(fake_holds(1), left);
        fake_clock_add_ms(1);
    }
    fake_run();
    assert_int_equal(fake_holds(1), 0);
}

static void a_release_can_be_repeated(void **state)
{
    fake_goroutine(GR_WAITING);
    suspend(NULL);
    assert_int_equal(fake_ask("DELETE", "/v1/suspensions/1", NULL, NULL), 204);
    assert_int_equal(fake_holds(1), 0);
    assert_int_equal(fake_ask("DELETE", "/v1/suspensions/1", NULL, NULL), 204);
    assert_int_equal(fake_ask("GET", "/v1/suspensions/1", NULL, NULL), 404);
    assert_int_equal(fake_ask("POST", RESUME, "{\"suspension\":1}", NULL), 409);
}

static void resume_takes_the_newest_of_the_caller(void **state)
{
    json_t *value;
    struct api_peer other = {.uid = 8};
    fake_goroutine(GR_WAITING);
    suspend(NULL);
    struct fake_call *fake = fake_start_as("POST", SUSPEND, NULL, other, NULL, NULL);
    fake_finish(fake, true);
    suspend(NULL);
    assert_int_equal(fake_holds(1), 3);
    assert_int_equal(fake_ask("POST", RESUME, NULL, &value), 200);
    json_t *ids = json_object_get(value, "suspensions");
    assert_int_equal(json_array_size(ids), 2);
    assert_int_equal(json_integer_value(json_array_get(ids, 0)), 1);
    assert_int_equal(json_integer_value(json_array_get(ids, 1)), 2);
    assert_int_equal(number(value, "holds"), 2);
    json_decref(value);
    assert_int_equal(fake_ask("POST", RESUME, NULL, NULL), 200);
    /* Only the other's is left: it is named, and kept. */
    assert_int_equal(fake_ask("POST", RESUME, NULL, &value), 409);
    assert_string_equal(fake_code(value), "not-suspended");
    json_t *left = json_array_get(json_object_get(value, "suspensions"), 0);
    assert_int_equal(number(left, "id"), 2);
    assert_string_equal(json_string_value(json_object_get(left, "principal")), "uid:8");
    json_decref(value);
    assert_int_equal(fake_holds(1), 1);
    assert_int_equal(fake_ask("POST", RESUME, "{\"suspension\":2}", NULL), 200);
    assert_int_equal(fake_holds(1), 0);
}

static void resume_all_releases_everybody(void **state)
{
    fake_goroutine(GR_WAITING);
    suspend(NULL);
    fake_finish(fake_start_as("POST", SUSPEND, NULL, (struct api_peer){.uid = 8}, NULL, NULL),
                true);
    assert_int_equal(fake_ask("POST", RESUME, "{\"all\":true}", NULL), 200);
    assert_int_equal(fake_holds(1), 0);
    assert_int_equal(fake_ask("POST", RESUME, "{\"all\":true}", NULL), 409);
}

static void resume_does_not_touch_what_holds_another(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    suspend(NULL);
    assert_int_equal(fake_ask("POST", "/v1/goroutines/2/resume", "{\"suspension\":1}", NULL), 409);
    assert_int_equal(fake_holds(1), 1);
    assert_int_equal(fake_ask("POST", RESUME, "{\"suspension\":1,\"all\":true}", NULL), 400);
    assert_int_equal(fake_ask("POST", RESUME, "{\"suspension\":9}", NULL), 404);
    assert_int_equal(fake_holds(1), 1);
}

static void resume_without_suspend_changes_nothing(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    assert_int_equal(fake_ask("POST", RESUME, NULL, &value), 409);
    assert_string_equal(fake_code(value), "not-suspended");
    json_decref(value);
    assert_int_equal(fake_holds(1), 0);
}

static void draining_releases_and_answers_everybody(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_RUNNING);
    suspend(NULL);
    struct fake_call *first = fake_start("POST", "/v1/goroutines/2/suspend", NULL);
    struct fake_call *second = fake_start("POST", "/v1/goroutines/3/suspend", NULL);
    fake_tell_stopped(3); /* stopped, but the loop has not heard of it */
    api_drain(fake_api);
    fake_run();
    assert_int_equal(first->call.reply.status, 503);
    assert_int_equal(second->call.reply.status, 503);
    fake_finish(first, true);
    fake_finish(second, true);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(fake_holds(id), 0);
}

static void a_snapshot_lets_go_before_anything_is_formatted(void **state)
{
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("GET", "/v1/goroutines/1/snapshot?bytes=5&vectors=1", NULL);
    assert_int_equal(fake_holds(1), 1);
    fake_tell_stopped(1); /* on the teller's thread, before the loop runs at all */
    assert_int_equal(fake_holds(1), 0);
    fake_run();
    assert_int_equal(fake->call.reply.status, 200);
    json_t *value = json_loads(fake->body, 0, NULL);
    json_t *registers = json_object_get(value, "registers");
    assert_int_equal(json_object_size(registers), 1); /* what was not saved is absent */
    assert_string_equal(json_string_value(json_object_get(registers, "r0")), "0xff");
    assert_string_equal(json_string_value(json_object_get(json_object_get(value, "vectors"), "v0")),
                        "0102abff");
    json_t *stack = json_object_get(value, "stack");
    assert_string_equal(json_string_value(json_object_get(stack, "base64")), "MDEyMzQ=");
    json_t *frame = json_array_get(json_object_get(value, "frames"), 0);
    assert_string_equal(json_string_value(json_object_get(frame, "function")), "loop");
    assert_int_equal(number(frame, "line"), 12);
    frame = json_array_get(json_object_get(value, "frames"), 1);
    assert_true(json_is_null(json_object_get(frame, "function")));
    assert_true(json_is_null(json_object_get(frame, "line")));
    json_decref(value);
    fake_finish(fake, true);
}

static void a_snapshot_does_not_wait_for_other_holders(void **state)
{
    fake_goroutine(GR_WAITING);
    suspend(NULL);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/snapshot", NULL, NULL), 200);
    assert_int_equal(fake_holds(1), 1);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/stack?format=text", NULL, NULL), 200);
    assert_int_equal(fake_holds(1), 1);
}

static void an_abandoned_snapshot_leaves_nothing(void **state)
{
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("GET", "/v1/goroutines/1/stack", NULL);
    api_call_abandon(&fake->call);
    fake_run();
    assert_int_equal(fake_holds(1), 0);
    fake_finish(fake, false);
}

static void the_list_has_counts_and_the_object_its_members(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    suspend(NULL);
    suspend(NULL);
    assert_int_equal(fake_ask("GET", "/v1/suspensions?limit=1", NULL, &value), 200);
    json_t *item = json_array_get(json_object_get(value, "items"), 0);
    assert_int_equal(number(item, "count"), 1);
    assert_null(json_object_get(item, "held"));
    assert_true(json_is_string(json_object_get(value, "next")));
    json_decref(value);
    assert_int_equal(fake_ask("GET", "/v1/suspensions/2", NULL, &value), 200);
    assert_int_equal(json_array_size(json_object_get(value, "held")), 1);
    json_decref(value);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1", NULL, &value), 200);
    assert_true(json_is_true(json_object_get(value, "suspended")));
    assert_int_equal(json_array_size(json_object_get(value, "suspensions")), 2);
    json_decref(value);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fake_host_start, fake_host_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_waiting_goroutine_is_held_at_once),
        CASE(a_running_one_answers_when_it_stopped),
        CASE(the_deadline_says_what_stood_in_the_way),
        CASE(timeout_0_holds_only_what_stands_still),
        CASE(the_dead_and_the_unknown_differ),
        CASE(a_connection_that_ends_first_holds_nothing),
        CASE(a_lease_ends_by_itself_on_the_monotonic_clock),
        CASE(a_lease_can_be_prolonged_and_cut),
        CASE(leases_of_many_end_each_in_its_time),
        CASE(a_release_can_be_repeated),
        CASE(resume_takes_the_newest_of_the_caller),
        CASE(resume_all_releases_everybody),
        CASE(resume_does_not_touch_what_holds_another),
        CASE(resume_without_suspend_changes_nothing),
        CASE(draining_releases_and_answers_everybody),
        CASE(a_snapshot_lets_go_before_anything_is_formatted),
        CASE(a_snapshot_does_not_wait_for_other_holders),
        CASE(an_abandoned_snapshot_leaves_nothing),
        CASE(the_list_has_counts_and_the_object_its_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
