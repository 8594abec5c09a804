/*
 * test_api_events.c: the stream of events: order, going on where one left off, and slow readers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events.h"
#include "fake.h"

static struct fake_call *follow(const char *target, const char *last)
{
    struct fake_call *fake = fake_start_as("GET", target, NULL, (struct api_peer){.uid = 7},
                                           last ? "Last-Event-ID" : NULL, last);
    fake_run();
    return fake;
}

/* The client goes. */
static void leave(struct fake_call *fake)
{
    api_call_abandon(&fake->call);
    fake_run();
    if (fake->pull_due) { /* its last piece was being written */
        api_call_finish(&fake->call, false);
        free(fake->body);
        free(fake);
    } else {
        fake_finish(fake, false);
    }
}

/* By memmem: ASan's strstr measures the rest of the text for every find, which is quadratic in a long text. */
static size_t count(const char *text, const char *what)
{
    const char *end = text + strlen(text);
    size_t found = 0, bytes = strlen(what);
    for (; (text = memmem(text, (size_t)(end - text), what, bytes)); text += bytes)
        found++;
    return found;
}

static void id_of(char *out, size_t out_bytes, uint64_t seq)
{
    snprintf(out, out_bytes, "%s-%llu", api_instance(fake_api), (unsigned long long)seq);
}

static uint64_t list_seq(void)
{
    json_t *list;
    assert_int_equal(fake_ask("GET", "/v1/suspensions", NULL, &list), 200);
    uint64_t seq = (uint64_t)json_integer_value(json_object_get(list, "seq"));
    json_decref(list);
    return seq;
}

static void what_happens_to_a_suspension_is_told_in_order(void **state)
{
    fake_goroutine(GR_WAITING);
    struct fake_call *fake = follow("/v1/events", NULL);
    assert_string_equal(fake->call.reply.content_type, "text/event-stream");
    fake_ask("POST", "/v1/goroutines/1/suspend", "{\"owner\":\"me\\nyou\"}", NULL);
    fake_ask("POST", "/v1/goroutines/1/resume", NULL, NULL);
    fake_ask("POST", "/v1/goroutines/1/suspend", "{\"lease_ms\":100}", NULL);
    fake_clock_add_ms(100);
    fake_run();
    const char *suspended = strstr(fake->body, "event: suspended\nid: ");
    const char *resumed = strstr(fake->body, "event: resumed\nid: ");
    const char *expired = strstr(fake->body, "event: lease-expired\nid: ");
    assert_true(suspended && resumed && expired && suspended < resumed && resumed < expired);
    assert_non_null(
        strstr(suspended, "\"owner\":\"me\\nyou\",\"principal\":\"uid:7\",\"reason\":null}\n\n"));
    char id[64];
    id_of(id, sizeof id, 1);
    assert_int_equal(strncmp(suspended + strlen("event: suspended\nid: "), id, strlen(id)), 0);
    leave(fake);
}

static void log_lines_of_any_bytes_are_told(void **state)
{
    struct fake_call *fake = follow("/v1/events?types=log", NULL);
    fake_log(fake_goroutine(GR_RUNNING), "a\nb \xff");
    fake_run();
    assert_non_null(strstr(fake->body, "\"line\":\"a\\nb \xef\xbf\xbd\"}\n\n"));
    leave(fake);
}

static void a_deadlock_is_told_once_until_it_is_gone(void **state)
{
    struct gr_stuck stuck[] = {{.id = 1, .waits_for = 2, .cycle = 1},
                               {.id = 2, .waits_for = 1, .cycle = 1}};
    (void)state;
    fake_goroutine(GR_WAITING);
    fake_goroutine(GR_WAITING);
    struct fake_call *fake = follow("/v1/events", NULL);
    for (int i = 0; i < 3; i++) { /* nothing, a cycle, the same cycle, nothing, … */
        fake_clock_add_ms(1000);
        fake_run();
        assert_int_equal(count(fake->body, "event: deadlock-suspected\n"), i);
        fake_deadlocks.cycles = 1;
        fake_deadlocks.stuck = stuck;
        fake_deadlocks.count = 2;
        for (int k = 0; k < 3; k++) {
            fake_clock_add_ms(1000);
            fake_run();
            assert_int_equal(count(fake->body, "event: deadlock-suspected\n"), i + 1);
        }
        fake_deadlocks = (struct gr_deadlocks){.because = GR_PROGRESS_RUNS};
    }
    assert_non_null(strstr(fake->body, "\"cycles\":[[{\"goroutine\":1,"));
    leave(fake);
    /* Nobody follows: nobody looks. */
    fake_clock_add_ms(5000);
    fake_run();
}

static void births_and_ends_are_told_only_if_asked_for(void **state)
{
    uint64_t root = fake_goroutine(GR_RUNNING);
    struct fake_call *plain = follow("/v1/events", NULL);
    assert_false(fake_births_told);
    fake_child(root, GR_RUNNING);
    struct fake_call *births =
        follow("/v1/events?types=goroutine.created,goroutine.ended,resumed", NULL);
    assert_true(fake_births_told);
    fake_end(fake_child(root, GR_RUNNING));
    fake_run();
    assert_int_equal(count(plain->body, "goroutine"), 0);
    assert_int_equal(count(births->body, "event: goroutine.created\n"), 1);
    assert_int_equal(count(births->body, "event: goroutine.ended\n"), 1);
    leave(plain);
    leave(births);
    assert_true(fake_births_told); /* for whoever comes back */
    fake_clock_add_ms(60000);
    fake_run();
    assert_false(fake_births_told);
}

static void it_goes_on_behind_the_last_event_that_was_seen(void **state)
{
    char id[64];
    uint64_t g = fake_goroutine(GR_RUNNING);
    for (int i = 0; i < 5; i++)
        fake_log(g, "line");
    id_of(id, sizeof id, 3);
    struct fake_call *fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: log\n"), 2);
    assert_int_equal(count(fake->body, "event: reset\n"), 0);
    leave(fake);
    id_of(id, sizeof id, 5);
    fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: "), 0);
    leave(fake);
}

static void what_is_not_there_any_more_is_a_reset(void **state)
{
    char id[64];
    uint64_t g = fake_goroutine(GR_RUNNING);
    for (int i = 0; i < API_LINES_KEPT + 2; i++)
        fake_log(g, "line");
    id_of(id, sizeof id, 1);
    struct fake_call *fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 1);
    assert_non_null(strstr(fake->body, "\"reason\":\"too-old\""));
    fake_log(g, "after");
    fake_run();
    assert_non_null(strstr(fake->body, "\"line\":\"after\""));
    leave(fake);
    id_of(id, sizeof id, 2); /* 1 and 2 were run over: this is the oldest that is known */
    fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 1);
    leave(fake);
    id_of(id, sizeof id, 3);
    fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 0);
    assert_int_equal(count(fake->body, "event: log\n"), API_LINES_KEPT);
    leave(fake);
    static const char *const strange[] = {"", "x", "00000000000000000000000000000000-1",
                                          "99999999999999999999999999999999-"};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        fake = follow("/v1/events", strange[i]);
        assert_non_null(strstr(fake->body, "\"reason\":\"another-instance\""));
        leave(fake);
    }
    id_of(id, sizeof id, 1u << 30); /* from the future */
    fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 1);
    leave(fake);
}

static void a_list_from_before_births_were_recorded_is_a_reset(void **state)
{
    char id[64];
    uint64_t root = fake_goroutine(GR_RUNNING);
    id_of(id, sizeof id, list_seq());
    fake_child(root, GR_RUNNING); /* nobody wrote this down */
    struct fake_call *fake = follow("/v1/events?types=goroutine.created", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 1);
    leave(fake);
    id_of(id, sizeof id, list_seq());
    fake_child(root, GR_RUNNING);
    fake = follow("/v1/events?types=goroutine.created", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 0);
    assert_int_equal(count(fake->body, "event: goroutine.created\n"), 1);
    leave(fake);
}

static void a_slow_reader_is_told_how_much_it_lost_and_dropped(void **state)
{
    uint64_t g = fake_goroutine(GR_RUNNING);
    struct fake_call *quick = follow("/v1/events?types=suspended", NULL);
    fake_slow = true;
    struct fake_call *slow = follow("/v1/events", NULL);
    assert_true(slow->pull_due);
    fake_slow = false;
    for (int i = 0; i < API_LINES_KEPT + 7; i++) {
        fake_log(g, "line");
        if (i % 1000 == 0)
            fake_run(); /* the quick one keeps up */
    }
    fake_pull(slow);
    fake_run();
    assert_true(slow->replied);
    assert_int_equal(count(slow->body, "event: lost\n"), 1);
    char id[64], lost[64];
    id_of(id, sizeof id, API_LINES_KEPT + 7);
    snprintf(lost, sizeof lost, "\"lost\":%d}", API_LINES_KEPT + 7); /* all up to the number that it has */
    assert_non_null(strstr(slow->body, id));
    assert_non_null(strstr(slow->body, lost));
    fake_finish(slow, true);
    assert_false(quick->replied);
    assert_int_equal(count(quick->body, "event: "), 0);
    leave(quick);
}

static void a_flood_of_log_lines_costs_those_nothing_who_do_not_follow_them(void **state)
{
    uint64_t g = fake_goroutine(GR_WAITING);
    fake_slow = true;
    struct fake_call *slow = follow("/v1/events?types=suspended,resumed", NULL);
    fake_ask("POST", "/v1/goroutines/1/suspend", NULL, NULL);
    for (int i = 0; i < 2 * API_LINES_KEPT; i++)
        fake_log(g, "line");
    fake_ask("POST", "/v1/goroutines/1/resume", NULL, NULL);
    fake_slow = false;
    fake_pull(slow);
    fake_run();
    assert_int_equal(count(slow->body, "event: lost\n"), 0);
    assert_int_equal(count(slow->body, "event: suspended\n"), 1);
    assert_int_equal(count(slow->body, "event: resumed\n"), 1);
    leave(slow);
}

static void long_texts_push_out_what_they_run_over(void **state)
{
    char line[4096];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = 0;
    uint64_t g = fake_goroutine(GR_RUNNING);
    for (int i = 0; i < 1000; i++)
        fake_log(g, line); /* four times what is kept of text */
    char id[64];
    id_of(id, sizeof id, 1000 - API_EVENT_TEXT_BYTES / 4095);
    struct fake_call *fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 0);
    assert_int_equal(count(fake->body, line), API_EVENT_TEXT_BYTES / 4095);
    leave(fake);
    id_of(id, sizeof id, 999 - API_EVENT_TEXT_BYTES / 4095);
    fake = follow("/v1/events", id);
    assert_int_equal(count(fake->body, "event: reset\n"), 1);
    leave(fake);
}

static void selectors_keep_events_of_other_goroutines_out(void **state)
{
    fake_goroutine(GR_RUNNING);
    fake_label(fake_goroutine(GR_RUNNING), "tier", "web");
    struct fake_call *fake = follow("/v1/events?selector=tier%3Dweb", NULL);
    fake_log(1, "one");
    fake_log(2, "two");
    fake_run();
    assert_null(strstr(fake->body, "\"one\""));
    assert_non_null(strstr(fake->body, "\"two\""));
    leave(fake);
}

static void silence_is_broken_every_15_seconds(void **state)
{
    struct fake_call *fake = follow("/v1/events", NULL);
    size_t before = count(fake->body, "\n\n");
    for (size_t i = 1; i <= 3; i++) {
        fake_clock_add_ms(15000);
        fake_run();
        assert_int_equal(count(fake->body, "\n\n"), before + i);
    }
    assert_int_equal(count(fake->body, "event: "), 0);
    leave(fake);
}

static void events_that_a_selector_keeps_out_do_not_prolong_the_silence(void **state)
{
    fake_goroutine(GR_RUNNING);
    struct fake_call *fake = follow("/v1/events?selector=tier%3Dweb", NULL);
    for (size_t i = 1; i <= 9; i++) {
        fake_clock_add_ms(5000);
        fake_log(1, "one");
        fake_run();
        assert_int_equal(count(fake->body, ": still here\n\n"), i / 3);
    }
    assert_int_equal(count(fake->body, "event: "), 0);
    leave(fake);
}

static void at_most_32_streams_are_open(void **state)
{
    struct fake_call *streams[API_EVENT_STREAMS_MAX];
    for (size_t i = 0; i < API_EVENT_STREAMS_MAX; i++)
        streams[i] = follow("/v1/events", NULL);
    json_t *value;
    assert_int_equal(fake_ask("GET", "/v1/events", NULL, &value), 429);
    assert_string_equal(fake_code(value), "limit-reached");
    json_decref(value);
    leave(streams[0]);
    streams[0] = follow("/v1/events", NULL);
    assert_false(streams[0]->replied);
    for (size_t i = 0; i < API_EVENT_STREAMS_MAX; i++)
        leave(streams[i]);
}

static void wrong_parameters_are_named(void **state)
{
    assert_int_equal(fake_ask("GET", "/v1/events?types=nonsense", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/events?types=", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/events?types=module,", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/events?types=,module", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/events?types=module,,log", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/events?selector=,", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/events?limit=1", NULL, NULL), 400);
    assert_int_equal(fake_ask("GET", "/v1/events?format=folded", NULL, NULL), 400);
}

static void other_formats_have_a_line_an_event(void **state)
{
    struct fake_call *json = follow("/v1/events?format=ndjson", NULL);
    struct fake_call *text = follow("/v1/events?format=text", NULL);
    fake_log(fake_goroutine(GR_RUNNING), "hello");
    fake_run();
    json_t *value = json_loads(json->body, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(value, "line")), "hello");
    json_decref(value);
    assert_non_null(strstr(text->body, "Z log "));
    leave(json);
    leave(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_host_start, fake_host_stop)
    const struct CMUnitTest tests[] = {
        TEST(what_happens_to_a_suspension_is_told_in_order),
        TEST(log_lines_of_any_bytes_are_told),
        TEST(a_deadlock_is_told_once_until_it_is_gone),
        TEST(births_and_ends_are_told_only_if_asked_for),
        TEST(it_goes_on_behind_the_last_event_that_was_seen),
        TEST(what_is_not_there_any_more_is_a_reset),
        TEST(a_list_from_before_births_were_recorded_is_a_reset),
        TEST(a_slow_reader_is_told_how_much_it_lost_and_dropped),
        TEST(a_flood_of_log_lines_costs_those_nothing_who_do_not_follow_them),
        TEST(long_texts_push_out_what_they_run_over),
        TEST(selectors_keep_events_of_other_goroutines_out),
        TEST(silence_is_broken_every_15_seconds),
        TEST(events_that_a_selector_keeps_out_do_not_prolong_the_silence),
        TEST(at_most_32_streams_are_open),
        TEST(wrong_parameters_are_named),
        TEST(other_formats_have_a_line_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
