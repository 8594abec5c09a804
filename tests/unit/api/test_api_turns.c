/*
 * test_api_turns.c: who is next: the gates by themselves, in random operations beside a plain model, and calls that wait
 * at them.
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

/* ---- A gate ---------------------------------------------------------------------------------- */

#define TURNS   300
#define CLIENTS 7

static struct api_gate gate;
static struct api_turn turns[TURNS];
static unsigned order[TURNS], begun; /* in which they began */

static void note(struct api_turn *turn)
{
    order[begun++ % TURNS] = (unsigned)(turn - turns);
}

static void ask(unsigned i, uint64_t client, bool ahead)
{
    turns[i] = (struct api_turn){.client = client, .begin = note, .ahead = ahead};
    api_turn_ask(&gate, &turns[i]);
}

static void new_gate(size_t at_once, size_t ahead)
{
    gate = (struct api_gate){.at_once = at_once, .ahead = ahead};
    begun = 0;
}

static void who_asks_for_much_waits_for_each_other_client_in_between(void **state)
{
    static const unsigned expected[] = {0, 1, 10, 20, 2, 21, 3, 4};
    new_gate(1, 0);
    for (unsigned i = 0; i < 5; i++)
        ask(i, 1, false);
    ask(10, 2, false);
    ask(20, 3, false);
    ask(21, 3, false);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(begun, i + 1);
        assert_int_equal(order[i], expected[i]);
        api_turn_end(&gate, &turns[order[i]]);
    }
    assert_int_equal(gate.running, 0);
    assert_true(api_gate_open(&gate));
}

static void what_goes_ahead_has_a_place_of_its_own(void **state)
{
    new_gate(2, 1);
    for (unsigned i = 0; i < 4; i++)
        ask(i, i, false);
    assert_int_equal(begun, 2);
    ask(4, 1, true);
    assert_int_equal(begun, 3);
    assert_int_equal(order[2], 4);
    /* One is all that there is; but it is the next, before those that waited longer. */
    ask(5, 1, true);
    assert_int_equal(begun, 3);
    api_turn_end(&gate, &turns[0]);
    assert_int_equal(order[3], 5);
    api_turn_end(&gate, &turns[4]);
    assert_int_equal(begun, 5);
    assert_int_equal(order[4], 2);
    api_turn_end(&gate, &turns[5]); /* its place is for nobody else */
    assert_int_equal(begun, 5);
}

static void those_that_go_ahead_for_ever_leave_a_place_to_others(void **state)
{
    new_gate(2, 1);
    for (unsigned i = 0; i < 3; i++)
        ask(i, i, true);
    ask(10, 1, false);
    ask(11, 1, false);
    for (unsigned i = 3; i < 9; i++)
        ask(i, i, true);
    assert_int_equal(begun, 3);
    api_turn_end(&gate, &turns[0]);
    assert_int_equal(order[3], 10);
    api_turn_end(&gate, &turns[1]); /* and two to them, the one that is left and another */
    assert_int_equal(order[4], 3);
    api_turn_end(&gate, &turns[10]);
    assert_int_equal(order[5], 11);
    api_turn_end(&gate, &turns[11]); /* nobody else waits */
    assert_int_equal(order[6], 4);
    assert_int_equal(gate.running_ahead, 3);
}

static void end_in_begin(struct api_turn *turn)
{
    note(turn);
    api_turn_end(&gate, turn);
}

static void turns_that_are_over_at_once_need_no_stack_each(void **state)
{
    new_gate(1, 0);
    ask(0, 1, false);
    for (unsigned i = 1; i < TURNS; i++) {
        turns[i] = (struct api_turn){.client = i, .begin = end_in_begin};
        api_turn_ask(&gate, &turns[i]);
    }
    api_turn_end(&gate, &turns[0]);
    assert_int_equal(begun, TURNS);
    assert_int_equal(gate.running, 0);
}

/* What the model knows: the turns that wait, by client, in their order, and the clients in theirs. */
static unsigned queue[CLIENTS][TURNS], queued[CLIENTS], row[CLIENTS], in_row;

static void model_ask(unsigned client, unsigned turn)
{
    if (queued[client] == 0)
        row[in_row++] = client;
    queue[client][queued[client]++] = turn;
}

static void row_remove(unsigned client)
{
    for (unsigned i = 0; i < in_row; i++)
        if (row[i] == client) {
            memmove(&row[i], &row[i + 1], (--in_row - i) * sizeof row[0]);
            return;
        }
}

static void model_withdraw(unsigned client, unsigned turn)
{
    for (unsigned i = 0; i < queued[client]; i++)
        if (queue[client][i] == turn)
            memmove(&queue[client][i], &queue[client][i + 1],
                    (queued[client] - i - 1) * sizeof queue[0][0]);
    if (--queued[client] == 0)
        row_remove(client);
}

static unsigned model_next(void)
{
    unsigned client = row[0], turn = queue[client][0];
    memmove(row, row + 1, --in_row * sizeof row[0]);
    memmove(queue[client], queue[client] + 1, --queued[client] * sizeof queue[0][0]);
    if (queued[client])
        row[in_row++] = client;
    return turn;
}

static void turns_come_in_the_order_of_the_model_whoever_withdraws(void **state)
{
    unsigned seed = 4711, seen = 0, withdrawn = 0;
    print_message("seed %u\n", seed);
    new_gate(3, 0);
    memset(turns, 0, sizeof turns);
    for (unsigned round = 0; round < 200000; round++) {
        unsigned i = (unsigned)rand_r(&seed) % TURNS;
        struct api_turn *turn = &turns[i];
        unsigned client = (unsigned)turn->client;
        if (turn->state == API_TURN_NONE) {
            client = (unsigned)rand_r(&seed) % CLIENTS;
            model_ask(client, i);
            ask(i, client, false);
        } else if (turn->state == API_TURN_WAITS && rand_r(&seed) % 4 == 0) {
            model_withdraw(client, i);
            api_turn_end(&gate, turn);
            withdrawn++;
        } else if (turn->state == API_TURN_HAD) {
            api_turn_end(&gate, turn);
        }
        for (; seen < begun; seen++)
            assert_int_equal(order[seen % TURNS], model_next());
        assert_true(gate.running == 3 || in_row == 0);
    }
    assert_true(seen > 1000 && withdrawn > 1000);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

#define SAVED "/v1/snapshots"

static struct fake_call *save(const char *json)
{
    return fake_start("POST", SAVED, json);
}

static void ends_with(struct fake_call *call, int status, const char *code)
{
    assert_true(call->replied);
    assert_int_equal(call->call.reply.status, status);
    json_t *body = json_loads(call->body, 0, NULL);
    assert_string_equal(fake_code(body), code);
    json_decref(body);
    fake_finish(call, true);
}

static void nobody_stands_still_for_a_cut_that_waits(void **state)
{
    uint64_t runs = fake_goroutine(GR_RUNNING), waits = fake_goroutine(GR_WAITING);
    struct fake_call *first = save("{\"ids\":[1]}"), *second = save("{\"ids\":[2]}");
    fake_run();
    assert_int_equal(fake_holds(runs), 1);
    assert_int_equal(fake_holds(waits), 0);
    assert_false(second->replied);
    fake_tell_stopped(runs);
    fake_run();
    ends_with(first, 201, "");
    ends_with(second, 201, "");
    assert_int_equal(fake_holds(runs) + fake_holds(waits), 0);
}

static void who_goes_while_it_waits_gives_its_place_to_the_next(void **state)
{
    uint64_t runs = fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_WAITING);
    struct fake_call *first = save("{\"ids\":[1]}"), *second = save("{\"ids\":[2]}"),
                     *third = save("{\"ids\":[2]}");
    fake_run();
    api_call_abandon(&second->call);
    ends_with(second, 408, "request-timeout");
    assert_false(first->replied || third->replied);
    fake_tell_stopped(runs);
    fake_run();
    ends_with(third, 201, "");
    ends_with(first, 201, "");
}

static void the_drain_ends_what_waits(void **state)
{
    uint64_t runs = fake_goroutine(GR_RUNNING);
    struct fake_call *first = save("{\"ids\":[1]}"), *second = save("{\"ids\":[1]}"),
                     *third = fake_start("GET", "/debug/core?all=1", NULL);
    fake_run();
    api_drain(fake_api);
    fake_run();
    ends_with(first, 503, "draining");
    ends_with(second, 503, "draining");
    ends_with(third, 503, "draining");
    assert_int_equal(fake_holds(runs), 0);
}

/* The gate is kept shut by two calls whose work the pool has not done. */
static void a_turn_that_does_not_come_within_a_minute_is_a_503(void **state)
{
    fake_goroutine(GR_WAITING);
    struct fake_call *has[2], *waits;
    for (int i = 0; i < 2; i++)
        has[i] = fake_start("GET", "/debug/pprof/goroutine", NULL);
    waits = fake_start("GET", "/debug/pprof/goroutine", NULL);
    fake_clock_add_ms(API_TURN_MS_MAX - 1);
    api_tick(fake_api);
    assert_false(waits->replied);
    fake_clock_add_ms(1);
    api_tick(fake_api);
    assert_non_null(strstr(waits->call.reply.headers.data, "Retry-After: 1\r\n"));
    ends_with(waits, 503, "out-of-resources");
    fake_run();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(has[i]->call.reply.status, 200);
        fake_finish(has[i], true);
    }
}

static void the_timeout_of_a_set_begins_with_its_turn(void **state)
{
    uint64_t runs = fake_goroutine(GR_RUNNING), other = fake_goroutine(GR_RUNNING);
    struct fake_call *first = save("{\"ids\":[1],\"timeout_ms\":60000}"),
                     *second = save("{\"ids\":[2],\"timeout_ms\":1000}");
    fake_run();
    fake_clock_add_ms(
        5000); /* five times what the second gives its goroutine; it is not asked yet */
    assert_int_equal(fake_holds(other), 0);
    fake_tell_stopped(runs);
    fake_run();
    ends_with(first, 201, "");
    assert_int_equal(fake_holds(other), 1);
    fake_tell_stopped(other);
    fake_run();
    ends_with(second, 201, "");
}

static void a_goroutine_that_does_not_stop_keeps_no_other_cut_waiting(void **state)
{
    uint64_t runs = fake_goroutine(GR_RUNNING);
    fake_goroutine(GR_WAITING);
    struct fake_call *first = save("{\"ids\":[1],\"timeout_ms\":60000}"),
                     *second = save("{\"ids\":[2]}");
    fake_run();
    assert_false(second->replied);
    fake_clock_add_ms(100);
    fake_run();
    ends_with(second, 201, "");
    assert_false(first->replied);
    fake_tell_stopped(runs);
    fake_run();
    ends_with(first, 201, "");
}

static void long_work_has_two_threads_and_brief_work_the_others(void **state)
{
    struct fake_call *dumps[20], *brief;
    fake_goroutine(GR_WAITING);
    for (int i = 0; i < 20; i++)
        dumps[i] = fake_start("GET", "/debug/pprof/goroutine?debug=1", NULL);
    assert_int_equal(fake_jobs(), 2);
    brief = fake_start("GET", "/v1/runtime", NULL);
    assert_int_equal(fake_jobs(), 3);
    fake_run();
    ends_with(brief, 200, "");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(dumps[i]->call.reply.status, 200);
        fake_finish(dumps[i], true);
    }
}

/* Else what others wait for would wait for all that its own client asked for besides. */
static void whoever_has_the_turn_of_cuts_or_loads_waits_for_no_long_work(void **state)
{
    struct fake_call *dumps[20], *load, *cut;
    fake_goroutine(GR_WAITING);
    for (int i = 0; i < 20; i++)
        dumps[i] = fake_start("GET", "/debug/pprof/goroutine?debug=1", NULL);
    load = fake_start("POST", "/v1/modules", "{\"name\":\"none\"}");
    assert_int_equal(fake_jobs(), 3);
    fake_run();
    ends_with(load, 404, "not-found");
    for (int i = 0; i < 20; i++)
        fake_finish(dumps[i], true);
    for (int i = 0; i < 20; i++)
        dumps[i] = fake_start("GET", "/debug/pprof/goroutine?debug=1", NULL);
    cut = save("{\"ids\":[1]}");
    assert_int_equal(fake_jobs(), 3);
    fake_run();
    ends_with(cut, 201, "");
    for (int i = 0; i < 20; i++)
        fake_finish(dumps[i], true);
}

static uint64_t watched;
static struct fake_call *watched_call;
static unsigned holds_at_its_reply;

static void note_holds(struct fake_call *call)
{
    if (call == watched_call)
        holds_at_its_reply = fake_holds(watched);
}

static void a_cut_of_nobody_keeps_no_other_waiting_for_its_answer(void **state)
{
    watched = fake_goroutine(GR_RUNNING);
    struct fake_call *dumps[2], *none, *other;
    for (int i = 0; i < 2; i++) /* what keeps the answer waiting: the pool takes what came last first */
        dumps[i] = fake_start("GET", "/debug/pprof/goroutine?debug=1", NULL);
    none = save("{\"selector\":\"kind=none\"}");
    other = save("{\"ids\":[1]}");
    watched_call = none;
    fake_on_reply = note_holds;
    fake_run();
    ends_with(none, 404, "nothing-selected");
    assert_int_equal(holds_at_its_reply, 1);
    fake_tell_stopped(watched);
    fake_run();
    ends_with(other, 201, "");
    for (int i = 0; i < 2; i++)
        fake_finish(dumps[i], true);
}

static void one_module_is_loaded_at_a_time(void **state)
{
    struct fake_call *loads[5];
    for (int i = 0; i < 5; i++)
        loads[i] = fake_start("POST", "/v1/modules", "{\"name\":\"none\"}");
    assert_int_equal(fake_jobs(), 1);
    fake_run();
    for (int i = 0; i < 5; i++)
        ends_with(loads[i], 404, "not-found");
}

/* The fake's copies are of 16 bytes each, and blocks of them of a MiB. */
static void a_cut_has_its_limit_and_so_have_all_together(void **state)
{
    struct fake_call *cores[4];
    api_destroy(fake_api);
    fake_config.cut_bytes_max = 48;
    fake_config.cuts_bytes_max = 3 << 20;
    fake_host_start(state);
    for (int i = 0; i < 3; i++)
        fake_goroutine(GR_WAITING);
    for (int i = 0; i < 4; i++) { /* three are kept, since nobody has read them */
        cores[i] = fake_start("GET", "/debug/core?all=1", NULL);
        fake_run();
        assert_true(cores[i]->replied);
        assert_int_equal(cores[i]->call.reply.status, i < 3 ? 200 : 503);
    }
    assert_non_null(strstr(cores[3]->call.reply.headers.data, "Retry-After: 1\r\n"));
    ends_with(cores[3], 503, "out-of-resources");
    fake_finish(cores[1], false);
    cores[1] = fake_start("GET", "/debug/core?all=1", NULL);
    fake_run();
    assert_int_equal(cores[1]->call.reply.status, 200);
    for (int i = 0; i < 3; i++)
        fake_finish(cores[i], true);
    fake_goroutine(GR_WAITING); /* 64 bytes now */
    cores[0] = fake_start("GET", "/debug/core?all=1", NULL);
    fake_run();
    ends_with(cores[0], 413, "too-large");
    for (unsigned id = 1; id <= 4; id++)
        assert_int_equal(fake_holds(id), 0);
}

/* Its text is large, what it names is one. */
static char *long_body(void)
{
    char *json = malloc(200000);
    size_t at = (size_t)sprintf(json, "{\"ids\":[1");
    for (int i = 0; i < 50000; i++)
        at += (size_t)sprintf(json + at, ",1");
    strcpy(json + at, "]}");
    return json;
}

static void a_long_body_is_read_on_the_pool_and_refused_like_a_short_one(void **state)
{
    char *json = long_body();
    uint64_t waits = fake_goroutine(GR_WAITING);
    struct fake_call *call = save(json);
    assert_int_equal(fake_jobs(), 1);
    assert_null(call->call.body);
    fake_run();
    ends_with(call, 201, "");
    assert_int_equal(fake_holds(waits), 0);
    json[strlen(json) - 1] = ']';
    call = save(json);
    fake_run();
    ends_with(call, 400, "bad-request");
    json[strlen(json) - 1] = '}';
    call = save(json);
    api_drain(fake_api); /* while it is read */
    fake_run();
    ends_with(call, 503, "draining");
    free(json);
}

/* So long that the pool reads it; the client goes meanwhile. */
static void goes_while_its_body_is_read(const char *target, const char *json)
{
    char *padded = malloc(strlen(json) + 30000 + 1);
    sprintf(padded, "%s%30000s", json, "");
    struct fake_call *call = fake_start("POST", target, padded);
    assert_int_equal(fake_jobs(), 1);
    api_call_abandon(&call->call);
    fake_run();
    ends_with(call, 408, "request-timeout");
    free(padded);
}

static void whoever_goes_while_its_body_is_read_holds_nobody(void **state)
{
    uint64_t runs = fake_goroutine(GR_RUNNING);
    goes_while_its_body_is_read("/v1/goroutines/1/suspend", "{\"timeout_ms\":60000}");
    goes_while_its_body_is_read("/v1/suspensions", "{\"ids\":[1],\"timeout_ms\":60000}");
    goes_while_its_body_is_read(SAVED, "{\"ids\":[1],\"timeout_ms\":60000}");
    assert_int_equal(fake_holds(runs), 0);
}

static void what_nobody_will_hear_is_not_read_to_its_end(void **state)
{
    struct fake_call *heard, *unheard;
    for (int i = 0; i < 20; i++)
        fake_goroutine(GR_WAITING);
    fake_clock_step_ns = 10000000; /* a slice is over at its first look */
    heard = fake_start("GET", "/debug/pprof/goroutine?debug=1", NULL);
    unheard = fake_start("GET", "/debug/pprof/goroutine?debug=1", NULL);
    api_call_abandon(&heard->call); /* it ended its side, and reads on */
    api_call_abandon(&unheard->call);
    unheard->call.unheard = true;
    while (!unheard->replied)
        assert_true(fake_step(0));
    assert_false(heard->replied);
    ends_with(unheard, 408, "request-timeout");
    fake_run();
    assert_int_equal(heard->call.reply.status, 200);
    fake_finish(heard, true);
}

static void a_token_that_is_taken_away_while_a_body_is_read_starts_nothing(void **state)
{
    struct api_token token = {.name = "t", .scopes = API_SCOPE_ALL};
    struct gr_info info;
    char header[8 + 2 * API_TOKEN_BYTES], json[30000];
    snprintf(header, sizeof header, "Bearer %0*d", 2 * API_TOKEN_BYTES, 0);
    snprintf(json, sizeof json, "{\"module\":\"mod\",\"entry\":\"main\"%20000s", "}");
    for (int taken = 0; taken < 2; taken++) {
        api_tokens_set(fake_api, &token, 1);
        struct fake_call *call =
            fake_start_as("POST", "/v1/goroutines", json, (struct api_peer){.tcp = true},
                          "Authorization", header);
        assert_int_equal(fake_jobs(), 1);
        if (taken)
            api_tokens_set(fake_api, NULL, 0);
        fake_run();
        ends_with(call, taken ? 401 : 201, taken ? "unauthorized" : "");
    }
    assert_int_equal(gr_info(1, &info), 0);
    assert_true(gr_info(2, &info) < 0);
}

static void the_timeout_of_a_set_does_not_count_the_look_for_it(void **state)
{
    uint64_t runs = fake_goroutine(GR_RUNNING);
    struct fake_call *call = save("{\"ids\":[1],\"timeout_ms\":1000}");
    assert_int_equal(fake_jobs(), 1);
    fake_clock_add_ms(5000);
    fake_run();
    assert_int_equal(fake_holds(runs), 1);
    fake_tell_stopped(runs);
    fake_run();
    ends_with(call, 201, "");
}

static struct fake_call *drained[3];

/* A connection that ends with its answer takes its other calls with it: their memory is another's from then on. */
static void take_the_others_along(struct fake_call *call)
{
    fake_on_reply = NULL;
    for (int i = 0; i < 3; i++) {
        if (drained[i] == call)
            continue;
        api_call_abandon(&drained[i]->call);
        ends_with(drained[i], 503, "draining");
        drained[i] = NULL;
    }
}

static void in_the_drain_an_answer_may_end_other_calls_that_wait(void **state)
{
    struct fake_call *runs;
    fake_goroutine(GR_RUNNING);
    runs = save("{\"ids\":[1]}");
    fake_run();
    for (int i = 0; i < 3; i++)
        drained[i] = save("{\"ids\":[1]}");
    fake_on_reply = take_the_others_along;
    api_drain(fake_api);
    fake_run();
    for (int i = 0; i < 3; i++)
        if (drained[i])
            ends_with(drained[i], 503, "draining");
    ends_with(runs, 503, "draining");
}

int main(void)
{
#define CALLS(name) cmocka_unit_test_setup_teardown(name, fake_host_start, fake_host_stop)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_for_much_waits_for_each_other_client_in_between),
        cmocka_unit_test(what_goes_ahead_has_a_place_of_its_own),
        cmocka_unit_test(those_that_go_ahead_for_ever_leave_a_place_to_others),
        cmocka_unit_test(turns_that_are_over_at_once_need_no_stack_each),
        cmocka_unit_test(turns_come_in_the_order_of_the_model_whoever_withdraws),
        CALLS(nobody_stands_still_for_a_cut_that_waits),
        CALLS(who_goes_while_it_waits_gives_its_place_to_the_next),
        CALLS(the_drain_ends_what_waits),
        CALLS(a_turn_that_does_not_come_within_a_minute_is_a_503),
        CALLS(the_timeout_of_a_set_begins_with_its_turn),
        CALLS(a_goroutine_that_does_not_stop_keeps_no_other_cut_waiting),
        CALLS(long_work_has_two_threads_and_brief_work_the_others),
        CALLS(whoever_has_the_turn_of_cuts_or_loads_waits_for_no_long_work),
        CALLS(a_cut_of_nobody_keeps_no_other_waiting_for_its_answer),
        CALLS(one_module_is_loaded_at_a_time),
        CALLS(a_cut_has_its_limit_and_so_have_all_together),
        CALLS(a_long_body_is_read_on_the_pool_and_refused_like_a_short_one),
        CALLS(whoever_goes_while_its_body_is_read_holds_nobody),
        CALLS(what_nobody_will_hear_is_not_read_to_its_end),
        CALLS(a_token_that_is_taken_away_while_a_body_is_read_starts_nothing),
        CALLS(the_timeout_of_a_set_does_not_count_the_look_for_it),
        CALLS(in_the_drain_an_answer_may_end_other_calls_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
