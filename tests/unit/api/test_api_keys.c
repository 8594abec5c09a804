/*
 * test_api_keys.c: Idempotency-Key: what was sent twice is done once, and what was not done may be tried again.
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

#define SPAWN   "/v1/goroutines"
#define SAVED   "/v1/snapshots"
#define ENTRY   "{\"module\":\"mod\",\"entry\":\"main\"}"
#define MANY    "{\"module\":\"mod\",\"entry\":\"main\",\"count\":3}"
#define MINUTES 60000

static const struct api_peer one = {.uid = 7}, another = {.uid = 8};

static struct fake_call *send_as(struct api_peer peer, const char *key, const char *target,
                                 const char *json)
{
    return fake_start_as("POST", target, json, peer, "idempotency-key", key);
}

/* Status and body of a request that is answered at once. The body is freed by the caller. */
static int ask_as(struct api_peer peer, const char *key, const char *target, const char *json,
                  char **body)
{
    struct fake_call *call = send_as(peer, key, target, json);
    fake_run();
    assert_true(call->replied);
    int status = call->call.reply.status;
    char *text = strdup(call->body ? call->body : "");
    fake_finish(call, true);
    if (body)
        *body = text;
    else
        free(text);
    return status;
}

static int ask(const char *key, const char *target, const char *json, char **body)
{
    return ask_as(one, key, target, json, body);
}

static void sent_twice_is_done_once(void **state)
{
    char *first, *second;
    (void)state;
    assert_int_equal(ask("k", SPAWN, ENTRY, &first), 201);
    assert_int_equal(ask("k", SPAWN, ENTRY, &second), 201);
    assert_string_equal(first, second);
    assert_string_equal(first, "{\"ids\":[1]}\n");
    free(first);
    free(second);
}

static void another_key_principal_or_path_is_another_request(void **state)
{
    char *body;
    (void)state;
    assert_int_equal(ask("k", SPAWN, ENTRY, NULL), 201);
    assert_int_equal(ask("l", SPAWN, ENTRY, &body), 201);
    assert_string_equal(body, "{\"ids\":[2]}\n");
    free(body);
    assert_int_equal(ask_as(another, "k", SPAWN, ENTRY, &body), 201);
    assert_string_equal(body, "{\"ids\":[3]}\n");
    free(body);
    assert_int_equal(ask("k", SPAWN "/1/suspend", "{\"timeout_ms\":0}", NULL), 504);
}

static void another_body_is_refused_and_does_nothing(void **state)
{
    char *body;
    json_t *list;
    (void)state;
    assert_int_equal(ask("k", SPAWN, ENTRY, NULL), 201);
    assert_int_equal(ask("k", SPAWN, ENTRY " ", &body), 409);
    assert_non_null(strstr(body, "key-reused"));
    free(body);
    assert_int_equal(fake_ask("GET", SPAWN, NULL, &list), 200);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    json_decref(list);
}

static void one_that_comes_meanwhile_waits_for_the_first(void **state)
{
    (void)state;
    fake_goroutine(GR_RUNNING);
    struct fake_call *first = send_as(one, "k", SPAWN "/1/suspend", "{}");
    fake_run();
    struct fake_call *second = send_as(one, "k", SPAWN "/1/suspend", "{}");
    struct fake_call *gone = send_as(one, "k", SPAWN "/1/suspend", "{}");
    fake_run();
    assert_false(first->replied || second->replied || gone->replied);
    assert_int_equal(fake_holds(1), 1);
    api_call_abandon(&gone->call);
    fake_run();
    assert_int_equal(gone->call.reply.status, 408);
    fake_finish(gone, false);
    fake_tell_stopped(1);
    fake_run();
    assert_int_equal(first->call.reply.status, 200);
    assert_int_equal(second->call.reply.status, 200);
    assert_string_equal(first->body, second->body);
    /* The first client is gone, but the second knows of it: it stays held. */
    fake_finish(first, false);
    fake_finish(second, true);
    assert_int_equal(fake_holds(1), 1);
}

static struct fake_call *came_then;

static void send_it_again(struct fake_call *call)
{
    (void)call;
    fake_on_reply = NULL;
    came_then = send_as(one, "k", SPAWN "/1/suspend", "{}");
}

/* The answer of one that waited lets its connection go on, and there is the same request once more. */
static void one_that_comes_while_the_waiting_are_told_is_a_first_one(void **state)
{
    (void)state;
    fake_goroutine(GR_RUNNING);
    struct fake_call *first = send_as(one, "k", SPAWN "/1/suspend", "{}");
    fake_run();
    struct fake_call *second = send_as(one, "k", SPAWN "/1/suspend", "{}");
    struct fake_call *third = send_as(one, "k", SPAWN "/1/suspend", "{}");
    fake_run();
    fake_on_reply = send_it_again;
    fake_tell_withdrawn(1);
    fake_run();
    assert_int_equal(first->call.reply.status, 504);
    assert_int_equal(second->call.reply.status, 503);
    assert_int_equal(third->call.reply.status, 503);
    fake_finish(first, true);
    fake_finish(second, true);
    fake_finish(third, true);
    assert_false(came_then->replied);
    fake_tell_stopped(1);
    fake_run();
    assert_int_equal(came_then->call.reply.status, 200);
    fake_finish(came_then, true);
    assert_int_equal(fake_holds(1), 1);
}

static void what_was_undone_is_done_anew(void **state)
{
    (void)state;
    fake_goroutine(GR_WAITING);
    struct fake_call *lost = send_as(one, "k", SPAWN "/1/suspend", "{}");
    fake_run();
    assert_int_equal(lost->call.reply.status, 200);
    fake_finish(lost, false);
    fake_run();
    assert_int_equal(fake_holds(1), 0);
    char *body;
    assert_int_equal(ask("k", SPAWN "/1/suspend", "{}", &body), 200);
    assert_non_null(strstr(body, "\"id\":2,"));
    free(body);
    assert_int_equal(fake_holds(1), 1);
}

static void what_could_not_be_done_is_tried_again(void **state)
{
    (void)state;
    fake_spawn_result = -12; /* -ENOMEM */
    assert_int_equal(ask("k", SPAWN, ENTRY, NULL), 503);
    fake_spawn_result = 0;
    assert_int_equal(ask("k", SPAWN, ENTRY, NULL), 201);
}

static void an_answer_is_kept_for_ten_minutes_and_while_held(void **state)
{
    char *body;
    (void)state;
    fake_goroutine(GR_WAITING);
    assert_int_equal(ask("s", SPAWN, ENTRY, NULL), 201);
    assert_int_equal(ask("h", SPAWN "/1/suspend", "{\"lease_ms\":3600000}", NULL), 200);
    fake_clock_add_ms(10 * MINUTES - 1);
    assert_int_equal(ask("s", SPAWN, ENTRY, &body), 201);
    assert_string_equal(body, "{\"ids\":[2]}\n");
    free(body);
    fake_clock_add_ms(2);
    assert_int_equal(ask("s", SPAWN, ENTRY, &body), 201);
    assert_string_equal(body, "{\"ids\":[3]}\n");
    free(body);
    assert_int_equal(ask("h", SPAWN "/1/suspend", "{\"lease_ms\":3600000}", &body), 200);
    assert_non_null(strstr(body, "\"id\":1,"));
    free(body);
    assert_int_equal(fake_holds(1), 1);
}

static void a_key_has_1_to_255_visible_characters(void **state)
{
    char key[API_KEY_BYTES_MAX + 2];
    (void)state;
    assert_int_equal(ask("", SPAWN, ENTRY, NULL), 400);
    assert_int_equal(ask("a b", SPAWN, ENTRY, NULL), 400);
    memset(key, 'k', sizeof key);
    key[API_KEY_BYTES_MAX + 1] = 0;
    assert_int_equal(ask(key, SPAWN, ENTRY, NULL), 400);
    key[API_KEY_BYTES_MAX] = 0;
    assert_int_equal(ask(key, SPAWN, ENTRY, NULL), 201);
}

static void the_query_makes_no_other_request(void **state)
{
    char *first, *second;
    (void)state;
    assert_int_equal(ask("k", SPAWN, ENTRY, &first), 201);
    assert_int_equal(ask("k", SPAWN "?format=pretty", ENTRY, &second), 201);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void what_was_done_in_part_is_not_done_again(void **state)
{
    char *first, *second;
    (void)state;
    fake_spawn_room = 2;
    assert_int_equal(ask("k", SPAWN, MANY, &first), 429);
    assert_non_null(strstr(first, "\"ids\":[1,2]"));
    fake_spawn_room = 100;
    assert_int_equal(ask("k", SPAWN, MANY, &second), 429);
    assert_string_equal(first, second);
    free(first);
    free(second);
    /* Nothing was done: tried again. */
    fake_spawn_room = 0;
    assert_int_equal(ask("l", SPAWN, MANY, NULL), 429);
    fake_spawn_room = 100;
    assert_int_equal(ask("l", SPAWN, MANY, NULL), 201);
}

/* Jansson's memory: the `fails_at`-th request of it from now on is refused, and so are all later ones if `for_good`. */
static unsigned requests, fails_at;
static bool for_good;

static void *scarce(size_t bytes)
{
    requests++;
    return fails_at && (requests == fails_at || (for_good && requests > fails_at)) ? NULL
                                                                                   : malloc(bytes);
}

static unsigned saved_count(void)
{
    json_t *list;
    assert_int_equal(fake_ask("GET", SAVED "?limit=1000", NULL, &list), 200);
    unsigned count = (unsigned)json_array_size(json_object_get(list, "items"));
    assert_true(json_is_null(json_object_get(list, "next")));
    json_decref(list);
    return count;
}

static unsigned goroutine_count(void)
{
    size_t live;
    free(gr_list_all(&live));
    return (unsigned)live;
}

/* `count` more were made: whoever is named in an answer is one of them, and nobody is left out. */
static void names_all(const char *answer, unsigned count)
{
    json_t *body = json_loads(answer, 0, NULL), *ids = json_object_get(body, "ids");
    assert_true(!ids || json_array_size(ids) == count);
    json_decref(body);
}

/* Whether memory ran out. What was done is not done by the second one, which gets the same answer; what was not, is. */
static bool ask_twice_with_scarce_memory(const char *target, const char *json,
                                         unsigned (*count)(void))
{
    static unsigned number;
    char key[16], *first, *second;
    snprintf(key, sizeof key, "k%u", number++);
    unsigned before = count();
    struct fake_call *call = send_as(one, key, target, json);
    requests = 0;
    json_set_alloc_funcs(scarce, free);
    fake_run();
    json_set_alloc_funcs(malloc, free);
    bool ran_out = requests >= fails_at;
    int status = call->call.reply.status;
    first = strdup(call->body);
    fake_finish(call, true);
    unsigned after = count();
    assert_true(status == 201 || status == 503);
    names_all(first, after - before);
    assert_int_equal(ask(key, target, json, &second), after > before ? status : 201);
    if (after > before) {
        assert_int_equal(count(), after);
        assert_string_equal(first, second);
    }
    free(first);
    free(second);
    return ran_out;
}

static void memory_that_runs_out_anywhere_makes_nothing_be_done_twice(void **state)
{
    static const struct {
        const char *target, *json;
        unsigned (*count)(void);
    } cases[] = {{SPAWN, MANY, goroutine_count}, {SAVED, "{\"ids\":[1]}", saved_count}};
    fake_goroutine(GR_WAITING);
    for (int i = 0; i < 4; i++) {
        for_good = i % 2;
        fails_at = 1;
        while (ask_twice_with_scarce_memory(cases[i / 2].target, cases[i / 2].json,
                                            cases[i / 2].count))
            fails_at++;
        assert_true(fails_at > 3);
    }
}

static void fill_share(struct api_peer peer)
{
    char key[32];
    for (int i = 0; i < API_KEYS_SHARE_MAX; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(ask_as(peer, key, SPAWN, ENTRY, NULL), 201);
    }
}

static void one_key_more_than_a_share_is_refused_to_its_principal_alone(void **state)
{
    (void)state;
    fake_spawn_result = 1;
    fill_share(one);
    assert_int_equal(ask("one-more", SPAWN, ENTRY, NULL), 429);
    assert_int_equal(ask("key-0", SPAWN, ENTRY, NULL), 201);
    assert_int_equal(ask_as(another, "one-more", SPAWN, ENTRY, NULL), 201);
    fake_clock_add_ms(10 * MINUTES + 1);
    assert_int_equal(ask("one-more", SPAWN, ENTRY, NULL), 201);
}

static void one_key_more_than_all_are_remembered_is_refused(void **state)
{
    (void)state;
    fake_spawn_result = 1;
    for (uint32_t uid = 10; uid < 10 + API_KEYS_MAX / API_KEYS_SHARE_MAX; uid++)
        fill_share((struct api_peer){.uid = uid});
    assert_int_equal(ask("one-more", SPAWN, ENTRY, NULL), 429);
    fake_clock_add_ms(10 * MINUTES + 1);
    assert_int_equal(ask("one-more", SPAWN, ENTRY, NULL), 201);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_host_start, fake_host_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sent_twice_is_done_once),
        TEST(another_key_principal_or_path_is_another_request),
        TEST(another_body_is_refused_and_does_nothing),
        TEST(one_that_comes_meanwhile_waits_for_the_first),
        TEST(one_that_comes_while_the_waiting_are_told_is_a_first_one),
        TEST(what_was_undone_is_done_anew),
        TEST(what_could_not_be_done_is_tried_again),
        TEST(an_answer_is_kept_for_ten_minutes_and_while_held),
        TEST(a_key_has_1_to_255_visible_characters),
        TEST(the_query_makes_no_other_request),
        TEST(what_was_done_in_part_is_not_done_again),
        TEST(memory_that_runs_out_anywhere_makes_nothing_be_done_twice),
        TEST(one_key_more_than_a_share_is_refused_to_its_principal_alone),
        TEST(one_key_more_than_all_are_remembered_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
