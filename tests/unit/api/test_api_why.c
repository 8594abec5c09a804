/*
 * test_api_why.c: how it is told why a goroutine does not run, and who waits for whom.
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

static char *ask_text(const char *target)
{
    struct fake_call *fake = fake_start("GET", target, NULL);
    fake_run();
    assert_int_equal(fake->call.reply.status, 200);
    char *text = strdup(fake->body);
    fake_finish(fake, true);
    return text;
}

static void assert_has(const char *text, const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("\"%s\" is not in:\n%s", wanted, text);
}

static int64_t integer(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static void a_lock_names_its_owner_and_what_that_one_does(void **state)
{
    uint64_t id = fake_goroutine(GR_WAITING), owner = fake_goroutine(GR_SYSCALL);
    json_t *g;
    fake_wait = (struct gr_wait_info){
        .object_count = 1,
        .object[0] = {.kind = GR_OBJECT_MUTEX, .address = 0x1000, .owner = owner},
        .lock_count = 1,
        .lock[0] = 0x2000};
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1", NULL, &g), 200);
    assert_int_equal(integer(g, "id"), id);
    const json_t *object = json_array_get(json_object_get(g, "waits_for"), 0);
    assert_string_equal(json_string_value(json_object_get(object, "kind")), "mutex");
    assert_string_equal(json_string_value(json_object_get(object, "address")), "0x1000");
    assert_int_equal(integer(object, "owner"), owner);
    assert_string_equal(json_string_value(json_object_get(object, "owner_state")), "syscall");
    assert_true(json_is_false(json_object_get(object, "owner_suspended")));
    assert_int_equal(json_integer_value(json_array_get(json_object_get(object, "waiters"), 0)), 6);
    assert_string_equal(json_string_value(json_array_get(json_object_get(g, "locks_held"), 0)),
                        "0x2000");
    json_decref(g);
    char *text = ask_text("/v1/goroutines/1?format=text");
    assert_has(text, "waits for mutex 0x1000, held by goroutine 2 (syscall: mutex)");
    assert_has(text, "holds mutex 0x2000");
    free(text);
}

static void a_lock_of_a_thread_names_the_thread(void **state)
{
    fake_goroutine(GR_SYSCALL);
    fake_wait = (struct gr_wait_info){
        .object_count = 1,
        .object[0] = {.kind = GR_OBJECT_THREAD_MUTEX, .address = 0x1000, .owner_thread = 77}};
    char *text = ask_text("/v1/goroutines/1?format=text");
    assert_has(text, "pthread mutex 0x1000, held by thread 77, which runs no goroutine");
    free(text);
}

static void a_select_shows_each_channel_and_its_other_end(void **state)
{
    json_t *g;
    fake_goroutine(GR_WAITING);
    fake_wait = (struct gr_wait_info){
        .object_count = 2,
        .timed = true,
        .object = {{.kind = GR_OBJECT_CHANNEL,
                    .op = GR_WAIT_OP_SEND,
                    .address = 0x10,
                    .length = 2,
                    .capacity = 2,
                    .last_receiver = 9},
                   {.kind = GR_OBJECT_CHANNEL, .op = GR_WAIT_OP_RECV, .address = 0x20}}};
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1", NULL, &g), 200);
    const json_t *list = json_object_get(g, "waits_for"), *first = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), 2);
    assert_true(json_is_true(json_object_get(g, "wait_timed")));
    assert_string_equal(json_string_value(json_object_get(first, "op")), "send");
    assert_int_equal(integer(first, "length"), 2);
    assert_int_equal(integer(first, "last_receiver"), 9);
    assert_true(json_is_null(json_object_get(first, "last_sender")));
    assert_int_equal(json_integer_value(json_array_get(json_object_get(first, "senders"), 0)), 4);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(first, "receivers"), 0)), 5);
    assert_int_equal(integer(first, "waiting"), 2);
    json_decref(g);
}

static void holders_are_shown_with_owner_and_reason(void **state)
{
    json_t *g;
    fake_goroutine(GR_WAITING);
    assert_int_equal(fake_ask("POST", "/v1/goroutines/1/suspend",
                              "{\"owner\":\"me\",\"reason\":\"a look\"}", NULL),
                     200);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1", NULL, &g), 200);
    const json_t *held_by = json_object_get(g, "held_by"), *s = json_array_get(held_by, 0);
    assert_int_equal(json_array_size(held_by), 1);
    assert_string_equal(json_string_value(json_object_get(s, "owner")), "me");
    assert_string_equal(json_string_value(json_object_get(s, "reason")), "a look");
    json_decref(g);
    char *text = ask_text("/v1/goroutines/1?format=text");
    assert_has(text, "held by suspension 1 of uid:7, owner me: a look");
    free(text);
}

static void no_deadlock_says_why_not(void **state)
{
    json_t *value;
    fake_deadlocks = (struct gr_deadlocks){.because = GR_PROGRESS_TIMER, .because_id = 3};
    assert_int_equal(fake_ask("GET", "/v1/deadlocks", NULL, &value), 200);
    assert_true(json_is_false(json_object_get(value, "deadlock")));
    assert_string_equal(json_string_value(json_object_get(value, "because")), "timer");
    assert_int_equal(integer(value, "because_goroutine"), 3);
    json_decref(value);
    char *text = ask_text("/v1/deadlocks?format=text");
    assert_string_equal(text, "no deadlock: timer (goroutine 3)\n");
    free(text);
}

static void cycles_are_told_apart_from_the_rest(void **state)
{
    struct gr_stuck stuck[5] = {
        {.id = 1, .waits_for = 2, .cycle = 1, .object = {.kind = GR_OBJECT_MUTEX, .owner = 2}},
        {.id = 2, .waits_for = 1, .cycle = 1, .object = {.kind = GR_OBJECT_MUTEX, .owner = 1}},
        {.id = 3, .waits_for = 3, .cycle = 2, .object = {.kind = GR_OBJECT_MUTEX, .owner = 3}},
        {.id = 4, .object = {.kind = GR_OBJECT_CHANNEL, .op = GR_WAIT_OP_RECV, .address = 0x40}},
        {.id = 5, .waits_for = 4, .object = {.kind = GR_OBJECT_MUTEX, .owner = 4}}};
    json_t *value;
    for (int i = 0; i < 5; i++)
        fake_goroutine(GR_WAITING);
    fake_deadlocks =
        (struct gr_deadlocks){.all_wait = true, .cycles = 2, .live = 5, .stuck = stuck, .count = 5};
    assert_int_equal(fake_ask("GET", "/v1/deadlocks", NULL, &value), 200);
    const json_t *cycles = json_object_get(value, "cycles");
    const json_t *others = json_object_get(value, "waiting");
    assert_true(json_is_true(json_object_get(value, "deadlock")));
    assert_int_equal(json_array_size(cycles), 2);
    assert_int_equal(json_array_size(json_array_get(cycles, 0)), 2);
    assert_int_equal(json_array_size(json_array_get(cycles, 1)), 1);
    assert_int_equal(json_array_size(others), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(others, 0), "missing")),
                        "nobody sends");
    assert_int_equal(integer(json_array_get(others, 1), "needs"), 4);
    json_decref(value);
    char *text = ask_text("/v1/deadlocks?format=text");
    assert_has(text, "deadlock: 2 goroutines wait for each other in a circle\n"
                     "  goroutine 1 (main) waits for mutex");
    assert_has(text, "every goroutine waits for another:\n"
                     "  goroutine 4 (main) waits for channel 0x40 to receive");
    assert_has(text, ": nobody sends\n");
    free(text);
}

static void roots_are_named_filtered_and_limited(void **state)
{
    json_t *value;
    fake_goroutine(GR_WAITING);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/roots", NULL, &value), 200);
    const json_t *items = json_object_get(value, "items"), *first = json_array_get(items, 0);
    assert_int_equal(json_array_size(items), 3);
    assert_string_equal(json_string_value(json_object_get(first, "register")), "r0");
    assert_string_equal(json_string_value(json_object_get(first, "kind")), "channel");
    assert_int_equal(integer(first, "offset"), 16);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 1), "at")),
                        "0x7008");
    assert_int_equal(integer(json_array_get(items, 1), "goroutine"), 9);
    assert_string_equal(json_string_value(json_object_get(json_array_get(items, 2), "module")),
                        "mod");
    assert_true(json_is_false(json_object_get(value, "truncated")));
    json_decref(value);
    assert_int_equal(
        fake_ask("GET", "/v1/goroutines/1/roots?kind=data,other%20stack&limit=1", NULL, &value),
        200);
    assert_int_equal(integer(value, "total"), 2);
    assert_int_equal(json_array_size(json_object_get(value, "items")), 1);
    assert_true(json_is_true(json_object_get(value, "truncated")));
    json_decref(value);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/roots?kind=thing", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/roots?kind=", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/roots?limit=0", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/1/roots?limit=32769", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/goroutines/2/roots", NULL, NULL), 404);
    assert_int_equal(fake_holds(1), 0);
    char *text = ask_text("/v1/goroutines/1/roots?format=text");
    assert_has(text, "0x2000             other stack 0x2000+0 of goroutine 9\n");
    assert_has(text, "data 0x3000+1 of mod\n");
    free(text);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fake_host_start, fake_host_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_lock_names_its_owner_and_what_that_one_does),
        CASE(a_lock_of_a_thread_names_the_thread),
        CASE(a_select_shows_each_channel_and_its_other_end),
        CASE(holders_are_shown_with_owner_and_reason),
        CASE(no_deadlock_says_why_not),
        CASE(cycles_are_told_apart_from_the_rest),
        CASE(roots_are_named_filtered_and_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
