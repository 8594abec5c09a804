/*
 * test_api_crowds.c: many clients ask for everything at once, go whenever they like, and the daemon may go down.
 *
 * Each round is a random sequence of small steps: a request, a job's work, its end, a posted task, a goroutine that stops,
 * an end of a connection; an answer may itself ask for more, or take its connection and that one's other calls with it.
 * However it went, afterwards each call was answered once, nobody is held, and every gate is as it was in the beginning.
 * The last round that was begun is printed; GRASP_CROWD=N repeats round N alone.
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
#include "internal.h"

#define ROUNDS     100
#define STEPS      400
#define CLIENTS    6
#define LIVE_MAX   48
#define GOROUTINES 40
#define SEEDS      7919 /* between two rounds' seeds */
#define DEPTH_MAX  3    /* answers within answers */

static unsigned seed;

static unsigned any(unsigned count)
{
    return (unsigned)rand_r(&seed) % count;
}

/* ---- Connections, as the server treats them -------------------------------------------------- */

static struct {
    struct fake_call *call;
    bool abandoned; /* its connection is gone */
} live[LIVE_MAX];
static uint64_t
    quiet; /* the client of whom nothing is written now: its bytes are parsed, or its end is told */
static unsigned depth, ended, waited;

static int place_of(const struct fake_call *call)
{
    int i = 0;
    while (i < LIVE_MAX && live[i].call != call)
        i++;
    return i < LIVE_MAX ? i : -1;
}

static void finish(int i, bool delivered)
{
    struct fake_call *call = live[i].call;
    live[i].call = NULL;
    call->replied = true; /* or its reader is gone in the middle */
    ended++;
    fake_finish(call, delivered);
}

static void end_client(uint64_t client)
{
    uint64_t before = quiet;
    quiet = client;
    for (int i = 0; i < LIVE_MAX; i++)
        if (live[i].call && live[i].call->call.client == client && !live[i].call->replied &&
            !live[i].call->pull_due)
            api_call_abandon(&live[i].call->call);
    quiet = before;
    for (int i = 0; i < LIVE_MAX; i++)
        if (live[i].call && live[i].call->call.client == client) {
            live[i].abandoned = live[i].call->call.unheard = true;
            if (live[i].call->replied || live[i].call->pull_due)
                finish(i, false);
        }
}

/* ---- Requests -------------------------------------------------------------------------------- */

/* So long that the pool reads them. */
static char long_one[20000], long_set[20000];

static const char *const gets[] = {
    "/debug/pprof/goroutine",
    "/debug/pprof/goroutine?debug=1",
    "/debug/pprof/goroutine?debug=2",
    "/debug/core?all=1",
    "/debug/core?module=none",
    "/debug/core?all=1&timeout_ms=0",
    "/debug/trace?seconds=1",
    "/debug/pprof/profile?seconds=1",
    "/v1/deadlocks",
    "/v1/goroutines",
    "/v1/goroutines?limit=3",
    "/v1/goroutines?format=ndjson",
    "/v1/goroutines/1",
    "/v1/goroutines/2?wait_ms=500",
    "/v1/goroutines/3/snapshot",
    "/v1/goroutines/4/stack",
    "/v1/goroutines/5/core",
    "/v1/goroutines/6/roots",
    "/v1/events",
    "/v1/events?types=goroutine.created",
    "/v1/suspensions",
    "/v1/snapshots",
    "/v1/snapshots/1?format=core",
    "/v1/snapshots/2",
    "/v1/runtime",
    "/metrics",
    "/%",
    "/v1/none",
};
static const struct {
    const char *target, *json;
} posts[] = {
    {"/v1/suspensions", "{\"all\":true,\"lease_ms\":500}"},
    {"/v1/suspensions", "{\"ids\":[1,2,3,99],\"timeout_ms\":200}"},
    {"/v1/suspensions", "{\"ids\":[4,5],\"require\":\"all\",\"timeout_ms\":60000}"},
    {"/v1/suspensions", "{\"module\":\"none\"}"},
    {"/v1/suspensions", "{\"all\":true,\"require\":\"some\"}"},
    {"/v1/suspensions", long_set},
    {"/v1/snapshots", "{\"all\":true}"},
    {"/v1/snapshots", "{\"ids\":[7,8],\"timeout_ms\":60000}"},
    {"/v1/snapshots", "{\"ids\":[99]}"},
    {"/v1/snapshots", long_one},
    {"/v1/snapshots", long_set},
    {"/v1/goroutines/1/suspend", "{\"lease_ms\":100}"},
    {"/v1/goroutines/2/suspend", "{\"timeout_ms\":60000}"},
    {"/v1/goroutines/3/suspend", "{\"timeout_ms\":0}"},
    {"/v1/goroutines/4/suspend", long_one},
    {"/v1/goroutines/1/resume", "{\"all\":true}"},
    {"/v1/goroutines/2/resume", NULL},
    {"/v1/goroutines", "{\"module\":\"mod\",\"entry\":\"main\"}"},
    {"/v1/modules", "{\"name\":\"mod\"}"},
    {"/v1/modules", "{\"name\":\"none\"}"},
    {"/v1/modules", "{\"x\":1}"},
};
static const char *const others[] = {"/v1/suspensions/1", "/v1/suspensions/2", "/v1/suspensions/3",
                                     "/v1/snapshots/1",   "/v1/goroutines/9",  "/v1/modules/mod"};

static struct fake_call *request(void)
{
    static const char *const keys[] = {"a", "b", "c"};
    struct api_peer peer = {.uid = 7};
    unsigned kind = any(20);
    if (kind < 10)
        return fake_start("GET", gets[any(sizeof gets / sizeof gets[0])], NULL);
    if (kind == 10)
        return fake_start("DELETE", others[any(sizeof others / sizeof others[0])], NULL);
    unsigned i = any(sizeof posts / sizeof posts[0]);
    if (any(3))
        return fake_start("POST", posts[i].target, posts[i].json);
    return fake_start_as("POST", posts[i].target, posts[i].json, peer, "Idempotency-Key",
                         keys[any(3)]);
}

static void start(uint64_t client)
{
    int i = place_of(NULL);
    uint64_t before = quiet;
    if (i < 0)
        return;
    quiet = fake_client = client;
    struct fake_call *call = request();
    quiet = before;
    i = place_of(NULL); /* an answer may have asked for more */
    if (i < 0) {
        assert_true(call->replied || call->pull_due);
        call->replied = true;
        fake_finish(call, true);
        return;
    }
    live[i].call = call;
    live[i].abandoned = false;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void replied(struct fake_call *call)
{
    int i = place_of(call);
    uint64_t client = call->call.client;
    assert_true(call->call.reply.status >= 200 && call->call.reply.status < 600);
    if (i >= 0 && live[i].abandoned) {
        finish(i, false);
        return;
    }
    if (i < 0 || !call->replied || client == quiet || depth == DEPTH_MAX)
        return;
    depth++;
    if (any(2))
        finish(i, true);
    if (any(4) == 0)
        start(client);
    if (any(10) == 0)
        end_client(client);
    depth--;
}

/* ---- A round --------------------------------------------------------------------------------- */

static void move_goroutine(void)
{
    uint64_t id = 1 + any(GOROUTINES);
    if (!fake_pending(id))
        return;
    if (any(8) == 0)
        fake_end(id);
    else if (any(4) == 0)
        fake_tell_withdrawn(id);
    else
        fake_tell_stopped(id);
}

static void read_on(void)
{
    int i = (int)any(LIVE_MAX);
    struct fake_call *call = live[i].call;
    if (call && call->pull_due && any(4))
        fake_pull(call);
    else if (call && (call->replied || call->pull_due))
        finish(i, any(4));
}

static void step(void)
{
    unsigned kind = any(100);
    if (kind < 20)
        start(1 + any(CLIENTS));
    else if (kind < 70)
        fake_step(any(1000));
    else if (kind < 80)
        move_goroutine();
    else if (kind < 95)
        read_on();
    else if (kind < 98)
        fake_clock_add_ms(any(10) ? any(100) : 20000);
    else
        end_client(1 + any(CLIENTS));
}

static bool pending_goroutine(void)
{
    for (uint64_t id = 1; id <= GOROUTINES; id++)
        if (fake_pending(id)) {
            fake_tell_stopped(id);
            return true;
        }
    return false;
}

static void check_gate(const struct api_gate *gate)
{
    assert_int_equal(gate->running, 0);
    assert_false(gate->serving || gate->first || gate->ahead_first);
    assert_true(api_gate_open(gate));
}

static void everything_is_given_back(void)
{
    for (uint64_t client = 1; client <= CLIENTS; client++)
        end_client(client);
    do
        fake_run();
    while (pending_goroutine());
    for (int i = 0; i < LIVE_MAX; i++)
        assert_null(live[i].call);
    check_gate(&fake_api->brief);
    check_gate(&fake_api->heavy);
    check_gate(&fake_api->cuts);
    check_gate(&fake_api->loads);
    assert_null(fake_api->suspensions.pending);
    assert_null(fake_api->chunks);
    assert_int_equal(fake_api->events.stream_count, 0);
    fake_clock_add_ms(API_LEASE_MS_MAX);
    fake_run();
    for (uint64_t id = 1; id <= GOROUTINES; id++)
        assert_int_equal(fake_holds(id), 0);
}

static void round_of(unsigned number)
{
    static const enum gr_state states[] = {GR_RUNNING, GR_WAITING, GR_SYSCALL};
    seed = number * SEEDS;
    assert_int_equal(fake_host_start(NULL), 0);
    fake_slow = true;
    fake_on_reply = replied;
    fake_spawn_room = 10;
    fake_clock_step_ns = any(2) ? 10000 : 3000000; /* as slow that slices are over */
    for (int i = 0; i < GOROUTINES; i++)
        fake_goroutine(states[any(3)]);
    unsigned drain = any(2) ? any(2 * STEPS) : STEPS;
    for (unsigned i = 0; i < STEPS; i++) {
        if (i == drain)
            api_drain(fake_api);
        step();
        for (int k = 0; k < LIVE_MAX; k++)
            waited += live[k].call && live[k].call->call.place.pending.link;
    }
    everything_is_given_back();
    fake_host_stop(NULL);
}

static void whatever_clients_do_everything_is_given_back(void **state)
{
    snprintf(long_one, sizeof long_one, "{\"timeout_ms\":5000%*s", 19000, "}");
    snprintf(long_set, sizeof long_set, "{\"all\":true,\"timeout_ms\":5000%*s", 19000, "}");
    const char *only = getenv("GRASP_CROWD");
    for (unsigned i = 1; i <= ROUNDS; i++) {
        if (only && (unsigned)atoi(only) != i)
            continue;
        print_message("round %u, seed %u\r", i, i * SEEDS);
        round_of(i);
    }
    print_message("calls %u, looks at one that waits for its turn %u\n", ended, waited);
    assert_true(only || (ended > 5000 && waited > 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_clients_do_everything_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
