/*
 * test_api_groups.c: suspensions of sets: who is in, who is not, and that every way out gives all
 * back.
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

#define GROUP "/v1/suspensions"

static uint64_t number(const json_t *value, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(value, key));
}

/* "1,2,3" of an array of ids, or of objects with a goroutine. */
static const char *ids_of(const json_t *value, const char *key)
{
    static char text[4096];
    size_t i, at = 0;
    json_t *item;
    text[0] = 0;
    json_array_foreach(json_object_get(value, key), i, item)
    {
        const json_t *id = json_is_object(item) ? json_object_get(item, "goroutine") : item;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%lld", i ? "," : "",
                               (long long)json_integer_value(id));
    }
    return text;
}

/* Asks for a group whose members need no telling; the ids that are held. */
static json_t *hold(const char *json, const char *held)
{
    json_t *value;
    assert_int_equal(fake_ask("POST", GROUP, json, &value), 201);
    assert_string_equal(ids_of(value, "held"), held);
    assert_int_equal(number(value, "count"), json_array_size(json_object_get(value, "held")));
    return value;
}

static void refuse(int status, const char *code, const char *json)
{
    json_t *value;
    assert_int_equal(fake_ask("POST", GROUP, json, &value), status);
    assert_string_equal(fake_code(value), code);
    json_decref(value);
}

static unsigned holds_of_all(unsigned count)
{
    unsigned holds = 0;
    for (unsigned id = 1; id <= count; id++)
        holds += fake_holds(id);
    return holds;
}

static void each_selection_takes_its_own(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    fake_label(2, "tier", "web");
    fake_child(1, GR_WAITING);
    json_decref(hold("{\"ids\":[3,1,1]}", "1,3"));
    json_decref(hold("{\"selector\":\"tier=web\"}", "2"));
    json_decref(hold("{\"module\":\"mod\"}", "1,2,3"));
    json_decref(hold("{\"root\":1}", "1,3"));
    json_decref(hold("{\"all\":true}", "1,2,3"));
    json_decref(hold("{\"all\":true,\"except\":[1]}", "2,3"));
    assert_int_equal(fake_holds(1), 4);
}

static void exactly_one_selection_is_needed(void **state)
{
    fake_goroutine(GR_WAITING);
    refuse(400, "bad-request", "{}");
    refuse(400, "bad-request", "{\"ids\":[1],\"all\":true}");
    refuse(400, "bad-request", "{\"all\":false}");
    refuse(400, "bad-request", "{\"ids\":[]}");
    refuse(400, "bad-request", "{\"ids\":[0]}");
    refuse(400, "bad-request", "{\"ids\":[\"1\"]}");
    refuse(400, "bad-request", "{\"selector\":\"\"}");
    refuse(400, "bad-request", "{\"selector\":\"a=b,\"}");
    refuse(400, "bad-request", "{\"all\":true,\"require\":\"one\"}");
    refuse(400, "unknown-field", "{\"all\":true,\"exept\":[1]}");
    assert_int_equal(fake_holds(1), 0);
}

static void nothing_matches(void **state)
{
    refuse(404, "nothing-selected", "{\"all\":true}");
    fake_goroutine(GR_WAITING);
    fake_end(fake_goroutine(GR_WAITING));
    refuse(404, "nothing-selected", "{\"module\":\"other\"}");
    refuse(404, "nothing-selected", "{\"all\":true,\"except\":[1]}");
    refuse(404, "nothing-selected", "{\"ids\":[2,77]}");
    assert_int_equal(fake_holds(1), 0);
}

static void failures_are_listed_with_their_reason(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_end(fake_goroutine(GR_WAITING));
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("POST", GROUP, "{\"ids\":[1,2,3,9]}");
    fake_run();
    assert_false(fake->replied);
    fake_clock_add_ms(1000);
    fake_tell_withdrawn(3);
    fake_run();
    assert_int_equal(fake->call.reply.status, 201);
    json_t *value = json_loads(fake->body, 0, NULL), *failed = json_object_get(value, "failed");
    assert_string_equal(ids_of(value, "held"), "1");
    assert_string_equal(ids_of(value, "failed"), "2,3,9");
    static const char *const codes[] = {"goroutine-dead", "suspend-timeout", "not-found"};
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(fake_code(json_array_get(failed, i)), codes[i]);
    const json_t *late = json_array_get(failed, 1);
    assert_int_equal(number(json_object_get(late, "refused"), "libc"), 3);
    assert_string_equal(json_string_value(json_object_get(late, "function")), "somewhere");
    json_decref(value);
    fake_finish(fake, true);
    assert_int_equal(holds_of_all(3), 1);
}

static void all_or_nothing(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("POST", GROUP, "{\"all\":true,\"require\":\"all\"}");
    fake_run();
    assert_int_equal(fake_holds(1), 1);
    fake_tell_withdrawn(2);
    fake_run();
    assert_int_equal(fake->call.reply.status, 409);
    value = json_loads(fake->body, 0, NULL);
    assert_string_equal(fake_code(value), "suspend-incomplete");
    assert_string_equal(ids_of(value, "failed"), "2");
    json_decref(value);
    fake_finish(fake, true);
    assert_int_equal(holds_of_all(2), 0);
}

static void none_held_is_no_success(void **state)
{
    fake_goroutine(GR_RUNNING);
    refuse(409, "suspend-incomplete", "{\"all\":true,\"timeout_ms\":0}");
    assert_int_equal(fake_holds(1), 0);
}

static void children_born_before_their_parent_stopped_are_held(void **state)
{
    fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_WAITING);
    struct fake_call *fake = fake_start("POST", GROUP, "{\"ids\":[1]}");
    fake_run();
    uint64_t child = fake_child(1, GR_RUNNING); /* 3 */
    fake_goroutine(GR_WAITING);                 /* 4: nobody of ours */
    fake_child(2, GR_WAITING);                  /* 5: a stranger's */
    fake_tell_stopped(1);
    fake_run();
    assert_false(fake->replied);
    uint64_t grandchild = fake_child(child, GR_WAITING); /* 6 */
    fake_tell_stopped(child);
    fake_run();
    assert_true(fake->replied);
    json_t *value = json_loads(fake->body, 0, NULL);
    assert_string_equal(ids_of(value, "held"), "1,3,6");
    json_decref(value);
    fake_finish(fake, true);
    assert_int_equal(fake_holds(grandchild), 1);
    assert_int_equal(holds_of_all(6), 3);
}

static void all_takes_newcomers_but_not_the_children_of_the_excepted(void **state)
{
    fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_RUNNING); /* 2: excepted */
    struct fake_call *fake = fake_start("POST", GROUP, "{\"all\":true,\"except\":[2]}");
    fake_run();
    fake_goroutine(GR_WAITING);                 /* 3: from outside */
    uint64_t child = fake_child(2, GR_RUNNING); /* 4 */
    fake_child(child, GR_RUNNING);              /* 5 */
    fake_tell_stopped(1);
    fake_run();
    assert_true(fake->replied);
    json_t *value = json_loads(fake->body, 0, NULL);
    assert_string_equal(ids_of(value, "held"), "1,3");
    json_decref(value);
    fake_finish(fake, true);
    assert_int_equal(fake_holds(2) + fake_holds(4) + fake_holds(5), 0);
}

static void one_that_ends_first_has_left_a_described_set(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("POST", GROUP, "{\"all\":true,\"require\":\"all\"}");
    fake_run();
    fake_end(2);
    fake_run();
    assert_int_equal(fake->call.reply.status, 201);
    json_t *value = json_loads(fake->body, 0, NULL);
    assert_string_equal(ids_of(value, "held"), "1");
    assert_string_equal(ids_of(value, "failed"), "");
    json_decref(value);
    fake_finish(fake, true);
}

static void the_lease_starts_after_the_last_stop_and_the_skew_is_between(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("POST", GROUP, "{\"all\":true,\"lease_ms\":500}");
    fake_run();
    fake_clock_add_ms(400);
    fake_tell_stopped(2);
    fake_run();
    json_t *value = json_loads(fake->body, 0, NULL);
    assert_int_equal(number(value, "skew_ns"), 400000000);
    assert_int_equal(number(value, "remaining_ms"), 500);
    json_decref(value);
    fake_finish(fake, true);
    fake_clock_add_ms(499);
    fake_run();
    assert_int_equal(holds_of_all(2), 2);
    fake_clock_add_ms(1);
    fake_run();
    assert_int_equal(holds_of_all(2), 0);
    assert_int_equal(fake_ask("GET", GROUP "/1", NULL, &value), 410);
    json_decref(value);
    assert_int_equal(fake_ask("DELETE", GROUP "/1", NULL, &value), 410);
    assert_string_equal(fake_code(value), "lease-expired");
    json_decref(value);
}

static void one_goroutine_leaves_the_group_alone(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    json_decref(hold("{\"all\":true}", "1,2,3"));
    assert_int_equal(fake_ask("POST", "/v1/goroutines/2/resume", "{\"suspension\":1}", NULL), 200);
    assert_int_equal(fake_ask("GET", GROUP "/1", NULL, &value), 200);
    assert_string_equal(ids_of(value, "held"), "1,3");
    assert_int_equal(number(value, "count"), 2);
    assert_false(json_object_get(value, "goroutine"));
    json_decref(value);
    assert_int_equal(fake_ask("POST", "/v1/goroutines/2/resume", "{\"suspension\":1}", &value),
                     409);
    assert_string_equal(fake_code(value), "not-suspended");
    json_decref(value);
    assert_int_equal(fake_holds(2), 0);
    /* Without a name it is the newest of the caller's, and the last one ends the group. */
    assert_int_equal(fake_ask("POST", "/v1/goroutines/1/resume", NULL, NULL), 200);
    assert_int_equal(fake_ask("POST", "/v1/goroutines/3/resume", "{\"all\":true}", NULL), 200);
    assert_int_equal(holds_of_all(3), 0);
    assert_int_equal(fake_ask("GET", GROUP "/1", NULL, NULL), 404);
    assert_int_equal(fake_ask("DELETE", GROUP "/1", NULL, NULL), 204);
}

static void delete_releases_all_and_again_says_so(void **state)
{
    for (int i = 0; i < 1500; i++) /* three chunks */
        fake_goroutine(GR_WAITING);
    assert_int_equal(fake_ask("POST", GROUP, "{\"all\":true}", NULL), 201);
    assert_int_equal(holds_of_all(1500), 1500);
    struct fake_call *fake = fake_start("DELETE", GROUP "/1", NULL);
    assert_false(fake->replied); /* the rest follows in later turns */
    assert_true(holds_of_all(1500) > 0);
    /* Whoever asks meanwhile finds it gone. */
    assert_int_equal(fake_ask("POST", "/v1/goroutines/1500/resume", NULL, NULL), 409);
    fake_run();
    assert_int_equal(fake->call.reply.status, 204);
    fake_finish(fake, true);
    assert_int_equal(holds_of_all(1500), 0);
    assert_int_equal(fake_ask("DELETE", GROUP "/1", NULL, NULL), 204);
    assert_int_equal(fake_ask("DELETE", GROUP "/2", NULL, NULL), 404);
}

static void a_client_that_goes_holds_nothing(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_RUNNING);
    /* While it is evaluated, while one is pending, before the task of the last, after the answer. */
    for (int when = 0; when < 4; when++) {
        struct fake_call *fake = fake_start("POST", GROUP, "{\"all\":true}");
        if (when > 0)
            fake_run();
        if (when > 1)
            fake_tell_stopped(2);
        if (when > 2)
            fake_run();
        if (when < 3)
            api_call_abandon(&fake->call);
        fake_run();
        if (when < 3)
            assert_int_equal(fake->call.reply.status, 408);
        fake_finish(fake, false);
        assert_int_equal(holds_of_all(2), 0);
    }
}

static void the_drain_gives_a_pending_group_back(void **state)
{
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = fake_start("POST", GROUP, "{\"all\":true}");
    fake_run();
    api_drain(fake_api);
    fake_run();
    assert_int_equal(fake->call.reply.status, 503);
    fake_finish(fake, true);
    assert_int_equal(holds_of_all(2), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_host_start, fake_host_stop)
    const struct CMUnitTest tests[] = {
        TEST(each_selection_takes_its_own),
        TEST(exactly_one_selection_is_needed),
        TEST(nothing_matches),
        TEST(failures_are_listed_with_their_reason),
        TEST(all_or_nothing),
        TEST(none_held_is_no_success),
        TEST(children_born_before_their_parent_stopped_are_held),
        TEST(all_takes_newcomers_but_not_the_children_of_the_excepted),
        TEST(one_that_ends_first_has_left_a_described_set),
        TEST(the_lease_starts_after_the_last_stop_and_the_skew_is_between),
        TEST(one_goroutine_leaves_the_group_alone),
        TEST(delete_releases_all_and_again_says_so),
        TEST(a_client_that_goes_holds_nothing),
        TEST(the_drain_gives_a_pending_group_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
