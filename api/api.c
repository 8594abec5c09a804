/*
 * api.c: the life of a call: checks in their order, the handler, the answer. See api.h.
 *
 * The order of the checks is part of the security: Host before the token (a rebound page learns
 * nothing), the token before the route (a stranger does not learn which paths exist), scope and
 * origin before the body is even parsed.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "snapshot.h"

#define BRIEF_NS      2000000 /* what is brief may take so long, then it is long */
#define SLICE_NS      5000000
#define BRIEF_AT_ONCE 8 /* at the pool: two for each of its threads */
#define HEAVY_AT_ONCE 2 /* of the pool's four threads */
#define BODY_ON_LOOP  16384 /* bytes; longer bodies are read on the pool, for up to 10 ms */

/* ---- The API itself -------------------------------------------------------------------------- */

static int make_instance(struct api *api)
{
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(api->instance + 2 * i, 3, "%02x", random[i]);
    return 0;
}

/* See turns.h; the host's pool has four threads or more. */
static void gates_init(struct api *api)
{
    api->brief.at_once = BRIEF_AT_ONCE;
    api->heavy.at_once = HEAVY_AT_ONCE;
    api->heavy.ahead = 1;
    api->cuts.at_once = 1;
    api->loads.at_once = 1;
}

struct api *api_create(const struct api_host *host, const struct api_config *config)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api)
        return NULL;
    api->host = *host;
    api->config = *config;
    api->alarm_ns = UINT64_MAX;
    api_routes_measure(api->route_depths);
    gates_init(api);
    api->started_realtime_ns = api_realtime_ns();
    pthread_mutex_init(&api->notes_lock, NULL);
    pthread_mutex_init(&api->names.lock, NULL);
    api_saved_init(&api->saved);
    if (make_instance(api) || api_suspensions_init(api))
        goto fail;
    api->copies = api_copies_create();
    if (!api->copies)
        goto fail_suspensions;
    if (api_events_init(api))
        goto fail_copies;
    api_watches_init(api);
    return api;
fail_copies:
    api_copies_destroy(api->copies);
fail_suspensions:
    api_suspensions_fini(api);
fail:
    api_saved_fini(&api->saved);
    pthread_mutex_destroy(&api->notes_lock);
    pthread_mutex_destroy(&api->names.lock);
    free(api);
    return NULL;
}

void api_destroy(struct api *api)
{
    if (!api)
        return;
    api_suspensions_fini(api);
    api_events_fini(api);
    api_keys_fini(&api->keys);
    api_copies_destroy(api->copies);
    api_saved_fini(&api->saved);
    api_timers_fini(&api->timers);
    for (size_t i = 0; i < api->note_count; i++) {
        free(api->notes[i].name);
        free(api->notes[i].path);
        free(api->notes[i].error);
    }
    free(api->notes);
    for (size_t i = 0; i < api->module_name_count; i++)
        free(api->module_names[i]);
    free(api->module_names);
    pthread_mutex_destroy(&api->notes_lock);
    pthread_mutex_destroy(&api->names.lock);
    free(api);
}

const char *api_instance(const struct api *api)
{
    return api->instance;
}

static void tell_alarm(struct api *api)
{
    uint64_t next = api_timers_next(&api->timers);
    if (next == api->alarm_ns)
        return;
    api->alarm_ns = next;
    api->host.alarm(api->host.ctx, next);
}

void api_tick(struct api *api)
{
    api_timers_run(&api->timers, gr_now_ns());
    api->alarm_ns = UINT64_MAX; /* it has rung */
    tell_alarm(api);
}

int api_timer_set(struct api *api, struct api_timer *timer, uint64_t at_ns)
{
    int err = api_timer_start(&api->timers, timer, at_ns);
    tell_alarm(api);
    return err;
}

void api_timer_clear(struct api *api, struct api_timer *timer)
{
    api_timer_stop(&api->timers, timer);
    tell_alarm(api);
}

void api_drain(struct api *api)
{
    struct api_suspensions *table = &api->suspensions;
    api->draining = true;
    /*
     * Each withdraws its requests and leaves the list, at once or when that is done. An answer may end its connection, and
     * with it any other of them.
     */
    for (struct api_pending *pending = table->pending; pending; pending = table->pending_next) {
        table->pending_next = pending->next;
        api_call_abandon(pending->call);
    }
    api_suspensions_release_all(api);
    gr_cancel_all();
}

/* ---- Requests -------------------------------------------------------------------------------- */

const char *api_request_header(const struct api_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (api_header_is(&request->headers[i], name))
            return request->headers[i].value;
    return NULL;
}

static bool same_instance(struct api_call *call)
{
    const char *instance = api_request_header(&call->request, API_HEADER_INSTANCE);
    if (!instance || strcasecmp(instance, call->api->instance) == 0)
        return true;
    api_problem(call, 412, API_CODE_INSTANCE_CHANGED,
                "the daemon was started anew (it is instance %s); ids from before mean nothing now",
                call->api->instance);
    return false;
}

static bool is_mutation(const struct api_call *call)
{
    return strcmp(call->route->method, "GET") != 0;
}

/* Whether a mutation comes in time. */
static bool may_begin(struct api_call *call)
{
    if (!call->api->draining || call->route->flags & API_ROUTE_RELEASE)
        return true;
    api_problem(call, 503, API_CODE_DRAINING,
                "the daemon is going down; it only takes releases of suspensions now");
    return false;
}

/* Scope, origin and drain: what a route asks of its caller. */
static bool may_call(struct api_call *call)
{
    const struct api_route *route = call->route;
    if ((route->scope & call->scopes) != route->scope) {
        api_problem(call, 403, API_CODE_FORBIDDEN,
                    "this token lacks the scope \"%s\", which the call needs",
                    route->scope & ~call->scopes & API_SCOPE_LOAD      ? "load"
                    : route->scope & ~call->scopes & API_SCOPE_CONTROL ? "control"
                                                                       : "read");
        return false;
    }
    call->credential.scopes = route->scope;
    if (!is_mutation(call))
        return true;
    return api_auth_origin(call) && may_begin(call);
}

/* The routes that need neither a known Host nor a token. */
static bool is_open(struct api_call *call)
{
    const struct api_target *target = &call->target;
    return target->segment_count == 1 && (strcmp(target->segment[0], "healthz") == 0 ||
                                          strcmp(target->segment[0], "readyz") == 0);
}

static bool check(struct api_call *call)
{
    char err[256];
    if (api_target_parse(&call->target, call->request.target, call->request.target_bytes, err,
                         sizeof err)) {
        if (api_auth_host(call))
            api_problem(call, 400, API_CODE_BAD_REQUEST, "%s", err);
        return false;
    }
    if (!is_open(call) &&
        (!api_auth_host(call) || (!api_dashboard_has(&call->target) && !api_auth_token(call))))
        return false;
    return api_route_find(call) && may_call(call) && same_instance(call) &&
           api_params_check(call) && api_format_choose(call);
}

static void handle_on_pool(struct api_call *call)
{
    enum api_lane lane = call->route->flags & API_ROUTE_LOADS   ? API_LANE_AHEAD
                         : call->route->flags & API_ROUTE_HEAVY ? API_LANE_OWN
                                                                : API_LANE_BRIEF;
    api_call_work(call, lane, call->route->handler, api_call_done);
}

static void handle(struct api_call *call)
{
    unsigned flags = call->route->flags;
    bool now;
    if (strcmp(call->route->method, "POST") == 0 && !api_keys_begin(call, &now)) {
        if (now)
            api_call_done(call);
    } else if (!(flags & API_ROUTE_POOL)) {
        call->route->handler(call);
    } else if (flags & API_ROUTE_LOADS) {
        api_call_admit(call, &call->api->loads, handle_on_pool);
    } else if (flags & API_ROUTE_HEAVY) {
        api_call_admit(call, &call->api->heavy, handle_on_pool);
    } else {
        handle_on_pool(call);
    }
}

/* Pool. What is refused may have half a million values, which the loop must not free one by one. */
static void read_body(struct api_call *call)
{
    if (api_body_read(call) || !call->body)
        return;
    json_decref(call->body);
    call->body = json_object();
}

/* Its token may have been taken away meanwhile; its connection is closed then. */
static bool still_counts(struct api_call *call)
{
    if (api_credential_counts(call->api, &call->credential))
        return true;
    api_problem(call, 401, API_CODE_UNAUTHORIZED,
                "the token was taken away while the request waited; nothing was done");
    return false;
}

static void body_was_read(struct api_call *call)
{
    if (call->reply.status || !may_begin(call) || !still_counts(call))
        api_call_done(call);
    else
        handle(call);
}

void api_call_start(struct api_call *call)
{
    call->target.segment_count = call->target.param_count = 0;
    (void)api_buf_reserve(&call->reply.body, API_RESERVED_BODY_BYTES);
    (void)api_buf_reserve(&call->reply.headers, API_RESERVED_HEADERS_BYTES);
    if (!check(call))
        api_call_done(call);
    else if (is_mutation(call) && call->request.body_bytes > BODY_ON_LOOP)
        api_call_work(call, API_LANE_LONG, read_body, body_was_read);
    else if (is_mutation(call) && !api_body_read(call))
        api_call_done(call);
    else
        handle(call);
}

void api_call_abandon(struct api_call *call)
{
    call->abandoned = true;
    if (call->abandon)
        call->abandon(call);
}

void api_call_done(struct api_call *call)
{
    call->abandon = NULL;
    api_call_leave(call);
    api_keys_done(call);
    api_audit(call);
    call->api->host.reply(call->api->host.ctx, call);
}

static struct api_call *call_of_work(struct api_work *work)
{
    return (struct api_call *)((char *)work - offsetof(struct api_call, pooled));
}

static void run_work(struct api_work *work)
{
    struct api_call *call = call_of_work(work);
    call->slice_end_ns = gr_now_ns() + (work->gate == &call->api->brief ? BRIEF_NS : SLICE_NS);
    call->again = false;
    call->work(call);
}

/*
 * Whether the next slice would be work for nobody: a client that asks and goes, again and again, must not pile it up.
 * While the daemon goes down, what can be undone is undone instead of being cut off half-done.
 */
static bool is_in_vain(struct api_call *call)
{
    if (call->undoable && call->api->draining) {
        api_problem(call, 503, API_CODE_DRAINING, "the daemon is going down; nothing was done");
        return true;
    }
    if (!call->unheard || is_mutation(call))
        return false;
    api_problem(call, 408, API_CODE_REQUEST_TIMEOUT, "the connection ended before the answer");
    return true;
}

static void work_done(struct api_work *work)
{
    struct api_call *call = call_of_work(work);
    if (call->again && !is_in_vain(call)) {
        if (call->place.gate == &call->api->heavy)
            api_call_leave(call); /* that was for one slice */
        api_work_start(call->api, work, API_LANE_LONG, call->client);
    } else {
        call->then(call);
    }
}

void api_call_work(struct api_call *call, enum api_lane lane, void (*work)(struct api_call *call),
                   void (*then)(struct api_call *call))
{
    call->work = work;
    call->then = then;
    call->pooled.run = run_work;
    call->pooled.done = work_done;
    api_work_start(call->api, &call->pooled, lane, call->client);
}

void api_call_pool(struct api_call *call, void (*work)(struct api_call *call))
{
    bool heavy = call->route->flags & API_ROUTE_HEAVY;
    api_call_work(call, heavy ? API_LANE_LONG : API_LANE_BRIEF, work, api_call_done);
}

bool api_slice_over(const struct api_call *call)
{
    return gr_now_ns() >= call->slice_end_ns;
}

void api_call_pull(struct api_call *call)
{
    if (call->pull) {
        call->pull(call);
        return;
    }
    api_buf_clear(&call->reply.body);
    api_call_work(call, API_LANE_LONG, call->piece, api_call_done);
}

static void count_served(struct api_call *call)
{
    size_t row = call->route ? (size_t)(call->route - api_routes) : API_ROUTES_MAX;
    size_t status = api_status_index(call->reply.status);
    /* Relaxed: a number to show. */
    atomic_fetch_add_explicit(&call->api->served[row][status], 1, memory_order_relaxed);
}

void api_call_finish(struct api_call *call, bool delivered)
{
    if (api_keys_end(call, delivered) && call->undelivered)
        call->undelivered(call);
    if (call->cleanup)
        call->cleanup(call);
    count_served(call);
    json_decref(call->body);
    api_buf_free(&call->args);
    api_buf_free(&call->reply.headers);
    api_buf_free(&call->reply.body);
}
