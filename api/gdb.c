/*
 * gdb.c: GET /v1/gdb: holds the goroutines of a gdb session and hands them to the host.
 *
 * Which ones: `ids`, or a `selector`, or, if neither is given, those that are suspended now. The
 * session holds each by itself, so that it keeps standing when a lease ends. The set is found on the
 * pool, the holds are asked for on the loop, all at once, with one time-out; the last one that is told
 * answers.
 *
 * It needs all scopes: whoever reads the whole memory can read the tokens in it.
 *
 *   I1  `pending` counts the holds that a call-back will still come for, plus one while they are
 *       asked for; it is the loop's.
 *   I2  Every member of what is handed over is stopped.
 */
#include "gdb_holds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "internal.h"
#include "selector.h"

struct asked {
    int error; /* it could not even be asked */
    struct api_task task;
    struct request *request;
};

struct request {
    struct api_call *call;
    struct api_work work;
    uint64_t timeout_ns;
    struct api_selector selector;
    bool has_selector, by_id;
    size_t id_count;
    uint64_t ids[API_GDB_THREADS_MAX];
    bool too_many;
    struct api_gdb *gdb;
    struct asked *asked;
    size_t pending;
};

void api_gdb_release(struct api_gdb *gdb)
{
    if (!gdb)
        return;
    for (size_t i = 0; i < gdb->count; i++)
        gr_hold_end(&gdb->member[i].hold);
    free(gdb);
}

static void cleanup(struct api_call *call)
{
    struct request *request = call->state;
    api_gdb_release(call->reply.upgrade ? call->reply.upgrade : request->gdb);
    free(request->asked);
    free(request);
}

/* ---- Holding --------------------------------------------------------------------------------- */

static uint32_t state_of(const struct gr_hold *hold)
{
    /* acquire; pairs with the teller's release. */
    return atomic_load_explicit(&hold->state, memory_order_acquire);
}

/* The first that does not stand still; `count`: all do. */
static size_t first_failed(const struct api_gdb *gdb)
{
    size_t i = 0;
    while (i < gdb->count && state_of(&gdb->member[i].hold) == GR_HOLD_STOPPED)
        i++;
    return i;
}

/* Those that ended meanwhile leave the set; their records move, which nobody waits on any more. */
static void keep_stopped(struct api_gdb *gdb)
{
    size_t kept = 0;
    for (size_t i = 0; i < gdb->count; i++) {
        if (state_of(&gdb->member[i].hold) != GR_HOLD_STOPPED)
            continue;
        if (kept != i)
            memcpy(&gdb->member[kept], &gdb->member[i], sizeof gdb->member[i]);
        kept++;
    }
    gdb->count = kept;
}

static void nothing_held(struct api_call *call, const struct request *request)
{
    if (request->by_id || request->has_selector)
        api_problem(call, 404, API_CODE_NOTHING_SELECTED, "no live goroutine matches");
    else
        api_problem(call, 404, API_CODE_NOTHING_SELECTED,
                    "no goroutine is suspended; suspend one first, or name some by ids= or "
                    "selector=");
}

static void problem_of(struct api_call *call, const struct gr_hold *hold, int error)
{
    if (error == -ETIMEDOUT || state_of(hold) == GR_HOLD_WITHDRAWN)
        api_problem(call, 504, API_CODE_SUSPEND_TIMEOUT,
                    "goroutine %llu reached no safe-point in time; nothing is held",
                    (unsigned long long)hold->id);
    else
        api_problem_goroutine(call, error ? error : -EOWNERDEAD, hold->id);
}

static void answer(struct request *request)
{
    struct api_call *call = request->call;
    size_t failed = first_failed(request->gdb);
    call->abandon = NULL;
    if (failed < request->gdb->count && request->by_id) {
        problem_of(call, &request->gdb->member[failed].hold, request->asked[failed].error);
    } else {
        keep_stopped(request->gdb);
        if (request->gdb->count == 0)
            nothing_held(call, request);
        else
            call->reply.upgrade = request->gdb;
    }
    if (call->reply.upgrade) {
        call->reply.status = 101;
        api_buf_str(&call->reply.headers, "Upgrade: " API_UPGRADE_GDB "\r\n");
        request->gdb = NULL;
    }
    api_call_done(call);
}

static void settle(struct request *request)
{
    if (--request->pending == 0)
        answer(request);
}

static void told(struct api_task *task)
{
    struct asked *asked = (struct asked *)((char *)task - offsetof(struct asked, task));
    settle(asked->request);
}

/* Any thread, also a system stack. */
static void on_hold(struct gr_hold *hold)
{
    struct asked *asked = hold->ctx;
    const struct api_host *host = &asked->request->call->api->host;
    host->post(host->ctx, &asked->task);
}

static void abandoned(struct api_call *call)
{
    struct request *request = call->state;
    /* One more, so that the last withdrawal does not answer, and free this, under our feet. */
    request->pending++;
    for (size_t i = 0; i < request->gdb->count; i++)
        if (gr_hold_cancel(&request->gdb->member[i].hold))
            request->pending--;
    settle(request);
}

/* Loop: all at once. */
static void ask(struct request *request)
{
    struct api_gdb *gdb = request->gdb;
    request->pending = 1;
    for (size_t i = 0; i < gdb->count; i++) {
        struct asked *asked = &request->asked[i];
        struct gr_hold *hold = &gdb->member[i].hold;
        asked->request = request;
        asked->task.run = told;
        int result = gr_hold_start(hold, request->ids[i], request->timeout_ns, on_hold, asked);
        if (result == GR_HOLD_PENDING)
            request->pending++;
        else if (result != GR_HOLD_STOPPED)
            asked->error = result;
    }
    request->call->abandon = abandoned;
    settle(request);
}

/* ---- Choosing -------------------------------------------------------------------------------- */

static void choose(struct request *request, uint64_t id)
{
    struct gr_info info;
    if (gr_info(id, &info) || info.state == GR_DEAD)
        return;
    if (request->has_selector ? !api_selector_match(&request->selector, &info) : !info.suspended)
        return;
    if (request->id_count < API_GDB_THREADS_MAX)
        request->ids[request->id_count++] = id;
    else
        request->too_many = true;
}

/* Pool. */
static void find(struct api_work *work)
{
    struct request *request = (struct request *)((char *)work - offsetof(struct request, work));
    size_t count;
    if (request->by_id)
        return;
    uint64_t *ids = gr_list_all(&count);
    for (size_t i = 0; i < count && !request->too_many; i++)
        choose(request, ids[i]);
    free(ids);
}

static void found(struct api_work *work)
{
    struct request *request = (struct request *)((char *)work - offsetof(struct request, work));
    struct api_call *call = request->call;
    size_t count = request->id_count;
    if (!request->too_many && count && !call->abandoned) {
        request->gdb = calloc(1, sizeof *request->gdb + count * sizeof request->gdb->member[0]);
        request->asked = calloc(count, sizeof *request->asked);
        if (request->gdb && request->asked) {
            request->gdb->count = count;
            ask(request);
            return;
        }
        api_problem_no_memory(call);
    } else if (request->too_many) {
        api_problem(call, 429, API_CODE_LIMIT_REACHED,
                    "a gdb session holds at most %d goroutines; choose fewer by ids= or selector=",
                    API_GDB_THREADS_MAX);
    } else {
        nothing_held(call, request);
    }
    api_call_done(call);
}

/* ---- The request ----------------------------------------------------------------------------- */

/* "7,9,12". A problem and false if it is not that. */
static bool read_ids(struct api_call *call, struct request *request)
{
    const char *rest = api_param(call, "ids"), *text;
    size_t size;
    char one[32];
    request->by_id = rest != NULL;
    if (rest && !*rest)
        return true; /* nobody is named */
    while (api_item_next(&rest, &text, &size)) {
        uint64_t id;
        snprintf(one, sizeof one, "%.*s", (int)(size < 31 ? size : 31), text);
        if (!api_parse_uint(one, 1, API_ID_MAX, &id)) {
            api_problem(call, 400, API_CODE_BAD_REQUEST,
                        "parameter ids is a list of ids with commas, as 7,9; \"%s\" is none", one);
            return false;
        }
        if (request->id_count == API_GDB_THREADS_MAX) {
            request->too_many = true;
            return true;
        }
        bool known = false;
        for (size_t i = 0; i < request->id_count; i++)
            known = known || request->ids[i] == id;
        if (!known)
            request->ids[request->id_count++] = id;
    }
    return true;
}

static bool read_selection(struct api_call *call, struct request *request)
{
    char err[256];
    const char *selector = api_param(call, "selector");
    if (!read_ids(call, request))
        return false;
    if (selector && request->by_id) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "give ids or a selector, not both");
        return false;
    }
    request->has_selector = selector != NULL;
    if (selector && api_selector_parse(&request->selector, selector, err, sizeof err)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "parameter selector: %s", err);
        return false;
    }
    return true;
}

/* Whether a comma-separated header has the word. */
static bool has_word(const char *value, const char *word)
{
    while (value && *value) {
        value += strspn(value, " \t,");
        size_t size = strcspn(value, " \t,");
        if (size == strlen(word) && strncasecmp(value, word, size) == 0)
            return true;
        value += size;
    }
    return false;
}

static bool wants_upgrade(struct api_call *call)
{
    if (strcmp(call->request.method, "GET") == 0 && !call->request.body_bytes &&
        has_word(api_request_header(&call->request, "connection"), "upgrade") &&
        has_word(api_request_header(&call->request, "upgrade"), API_UPGRADE_GDB))
        return true;
    api_buf_str(&call->reply.headers, "Upgrade: " API_UPGRADE_GDB "\r\n");
    api_problem(call, 426, API_CODE_UPGRADE_REQUIRED,
                "send \"Connection: Upgrade\" and \"Upgrade: " API_UPGRADE_GDB
                "\", and no body; after the 101 the connection speaks gdb's remote protocol "
                "(grasp gdb does it)");
    return false;
}

/* A problem and false if there can be no session now. */
static bool may_begin(struct api_call *call)
{
    const _Atomic(uint32_t) *sessions = call->api->config.gdb_sessions;
    if (call->api->draining)
        api_problem(call, 503, API_CODE_DRAINING, "the daemon is going down");
    else if (sessions &&
             /* relaxed: the loop's own number. */
             atomic_load_explicit(sessions, memory_order_relaxed) >= API_GDB_SESSIONS_MAX)
        api_problem(call, 429, API_CODE_LIMIT_REACHED, "there are %d gdb sessions already",
                    API_GDB_SESSIONS_MAX);
    else
        return true;
    return false;
}

void api_handle_gdb(struct api_call *call)
{
    if (!wants_upgrade(call)) {
        api_call_done(call);
        return;
    }
    struct request *request = may_begin(call) ? calloc(1, sizeof *request) : NULL;
    if (!request) {
        if (!call->reply.status)
            api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    request->call = call;
    request->timeout_ns =
        api_param_uint(call, "timeout_ms", API_TIMEOUT_MS_DEFAULT) * UINT64_C(1000000);
    call->state = request;
    call->cleanup = cleanup;
    if (!read_selection(call, request)) {
        api_call_done(call);
        return;
    }
    request->work.run = find;
    request->work.done = found;
    api_work_start(call->api, &request->work, request->by_id ? API_LANE_BRIEF : API_LANE_LONG,
                   call->client);
}
