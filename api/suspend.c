/*
 * suspend.c: suspend and resume of one goroutine.
 *
 * A suspend is asked once, on the loop. Either the goroutine stands still already and the answer
 * goes out at once, or the runtime calls back from whatever thread saw the stop, and the suspension
 * itself is the task that comes home to the loop. Three things may end the wait first: the deadline
 * (the runtime's), the client (abandon) and the drain; all of them withdraw the request, and if the
 * stop won the race, release it.
 *
 *   I1  While call->abandon is set the suspension is pending: it is in the list of the pending, its
 *       hold is the runtime's, and exactly one of gr_hold_cancel's true and the posted task will come.
 *   I2  A suspension is in the table (and its lease runs) before its answer is sent; if the answer
 *       cannot be delivered it is released.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

/* What a call of ours keeps in call->state while it waits, and until its answer is delivered. */
struct suspend {
    struct api_suspension *suspension; /* NULL once it is in the table */
    struct api_pending pending;
};

static void suspend_free(struct api_call *call)
{
    if (call->reply.status != 200)
        api_suspension_give_back(call); /* the answer could not even be made */
    free(call->state);
}

/* ---- Why it did not stop --------------------------------------------------------------------- */

void api_problem_timeout(struct api_call *call, const struct gr_hold *hold)
{
    struct gr_frame frame = {0};
    if (hold->pc)
        gr_symbolise(hold->pc, true, &frame);
    json_t *members =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "goroutine", api_json_uint(call->id), "pc",
                  api_json_address(hold->pc), "function", api_json_string(frame.function), "module",
                  api_json_string(frame.module), "refused", api_refused_json(hold->refused),
                  "attempts", api_json_uint(hold->attempts));
    api_problem_with(call, 504, API_CODE_SUSPEND_TIMEOUT, members,
                     "goroutine %" PRIu64 " reached no safe-point in time; the request was "
                     "withdrawn. \"refused\" says why it could not be stopped where it was",
                     call->id);
}

/* Pool. */
static void reply_timeout(struct api_call *call)
{
    struct suspend *suspend = call->state;
    api_problem_timeout(call, &suspend->suspension->members->hold);
    api_suspension_destroy(suspend->suspension);
    suspend->suspension = NULL;
}

static void reply_failed(struct api_call *call, int err)
{
    struct suspend *suspend = call->state;
    if (err == -ETIMEDOUT) {
        api_call_pool(call, reply_timeout);
        return;
    }
    api_problem_goroutine(call, err, call->id);
    api_suspension_destroy(suspend->suspension);
    suspend->suspension = NULL;
    api_call_done(call);
}

/* The client went, or the daemon goes down. The hold is not ours any more. */
static void reply_given_up(struct api_call *call)
{
    struct suspend *suspend = call->state;
    api_suspension_destroy(suspend->suspension);
    suspend->suspension = NULL;
    if (call->api->draining)
        api_problem(call, 503, API_CODE_DRAINING, "the daemon is going down");
    else
        api_problem(call, 408, API_CODE_REQUEST_TIMEOUT,
                    "the connection ended before the goroutine stopped; nothing is held");
    api_call_done(call);
}

/* ---- It stopped ------------------------------------------------------------------------------ */

static void reply_stopped(struct api_call *call)
{
    struct suspend *suspend = call->state;
    struct api_suspension *suspension = suspend->suspension;
    if (call->abandoned || call->api->draining) {
        gr_hold_end(&suspension->members->hold);
        reply_given_up(call);
        return;
    }
    if (api_suspension_enter(suspension)) {
        gr_hold_end(&suspension->members->hold);
        reply_failed(call, -ENOMEM);
        return;
    }
    suspend->suspension = NULL;
    call->claim = suspension->id;
    suspension->call = NULL;
    call->undelivered = api_suspension_give_back;
    api_suspension_reply(call, 200, suspension);
}

/* Loop: the runtime has told how the request ended. */
static void told(struct api_task *task)
{
    struct api_suspension *suspension =
        (struct api_suspension *)((char *)task - offsetof(struct api_suspension, task));
    struct gr_hold *hold = &suspension->members->hold;
    struct api_call *call = suspension->call;
    struct suspend *suspend = call->state;
    call->abandon = NULL;
    api_pending_remove(&suspend->pending);
    /* acquire; pairs with the teller's release: the hold's fields are complete. */
    switch (atomic_load_explicit(&hold->state, memory_order_acquire)) {
    case GR_HOLD_STOPPED:
        if (hold->stopped_ns > call->request.parsed_ns)
            suspension->latency_ns = hold->stopped_ns - call->request.parsed_ns;
        reply_stopped(call);
        break;
    case GR_HOLD_GONE:
        reply_failed(call, -EOWNERDEAD);
        break;
    default:
        reply_failed(call, -ETIMEDOUT);
        break;
    }
}

/* Any thread, system stack: only brings it home. */
static void on_hold(struct gr_hold *hold)
{
    struct api_suspension *suspension = hold->ctx;
    suspension->api->host.post(suspension->api->host.ctx, &suspension->task);
}

static void suspend_abandoned(struct api_call *call)
{
    struct suspend *suspend = call->state;
    /* False: it was told already, and the task that is under way will give it back (I1). */
    if (!gr_hold_cancel(&suspend->suspension->members->hold))
        return;
    api_pending_remove(&suspend->pending);
    reply_given_up(call);
}

void api_handle_suspend(struct api_call *call)
{
    uint64_t timeout_ns = api_body_uint(call, "timeout_ms", API_TIMEOUT_MS_DEFAULT) * 1000000;
    struct suspend *suspend = calloc(1, sizeof *suspend);
    struct api_suspension *suspension = suspend ? api_suspension_create(call, 1) : NULL;
    if (!suspension) {
        free(suspend);
        api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    suspend->suspension = suspension;
    suspension->task.run = told;
    call->state = suspend;
    call->cleanup = suspend_free;
    struct gr_hold *hold = &suspension->members->hold;
    int result = gr_hold_start(hold, call->id, timeout_ns, on_hold, suspension);
    if (result == GR_HOLD_PENDING) {
        call->abandon = suspend_abandoned;
        api_pending_add(call->api, &suspend->pending, call);
        if (call->abandoned) /* while its body was read */
            suspend_abandoned(call);
    } else if (result == GR_HOLD_STOPPED) {
        /* 0 if it stood still when asked; else it stopped by itself within the short watch. */
        if (hold->stopped_ns > hold->asked_ns)
            suspension->latency_ns = hold->stopped_ns - call->request.parsed_ns;
        reply_stopped(call);
    } else {
        reply_failed(call, result);
    }
}

/* ---- Resume ---------------------------------------------------------------------------------- */

static void show(struct api_call *call)
{
    json_t *value;
    int err = api_goroutine_get(call->api, call->id, &value);
    if (err)
        api_problem_goroutine(call, err, call->id);
    else
        api_reply_json(call, 200, value);
}

static json_t *holders_json(struct api *api, uint64_t goroutine)
{
    json_t *list = json_array();
    for (struct api_member *m = api_member_first(api, goroutine); m; m = api_member_next(m)) {
        const struct api_suspension *s = m->suspension;
        json_array_append_new(list, json_pack("{s:o,s:o,s:s}", "id", api_json_uint(s->id), "owner",
                                              api_json_string(s->has_owner ? s->owner : NULL),
                                              "principal", s->principal));
    }
    return list;
}

static void not_suspended(struct api_call *call, const char *why)
{
    json_t *holders = holders_json(call->api, call->id);
    api_problem_with(call, 409, API_CODE_NOT_SUSPENDED, json_pack("{s:o}", "suspensions", holders),
                     "%s", why);
}

/* The goroutine must exist and live; a problem and false if not. */
static bool alive(struct api_call *call)
{
    struct gr_info info;
    int err = gr_info(call->id, &info);
    if (!err && info.state == GR_DEAD)
        err = -EOWNERDEAD;
    if (err)
        api_problem_goroutine(call, err, call->id);
    return !err;
}

/* The claim of suspension `id` on the goroutine of the call; a problem and NULL if it has none. */
static struct api_member *find_claim(struct api_call *call, uint64_t id)
{
    enum api_suspension_end how;
    struct api_suspension *suspension = api_suspension_find(call->api, id, &how);
    struct api_member *member = api_member_first(call->api, call->id);
    while (member && member->suspension->id != id)
        member = api_member_next(member);
    if (member)
        return member;
    if (!suspension && how == API_SUSPENSION_EXPIRED)
        api_problem(call, 410, API_CODE_LEASE_EXPIRED,
                    "the lease of suspension %" PRIu64 " ran out; it was released then", id);
    else if (!suspension && how == API_SUSPENSION_UNKNOWN)
        api_problem(call, 404, API_CODE_NOT_FOUND, "there is no suspension %" PRIu64, id);
    else
        not_suspended(call, suspension ? "that suspension does not hold this goroutine"
                                       : "that suspension was released already");
    return NULL;
}

static bool resume_one(struct api_call *call, uint64_t id)
{
    struct api_member *member = find_claim(call, id);
    if (member)
        api_member_release(member);
    return member != NULL;
}

static bool resume_all(struct api_call *call)
{
    struct api_member *member = api_member_first(call->api, call->id);
    if (!member)
        not_suspended(call, "nobody holds this goroutine");
    bool any = member != NULL;
    while (member) { /* each turn takes one away */
        api_member_release(member);
        member = api_member_first(call->api, call->id);
    }
    return any;
}

static bool resume_newest(struct api_call *call)
{
    struct api_member *member = api_member_first(call->api, call->id);
    bool others = member != NULL;
    while (member && strcmp(member->suspension->principal, call->principal))
        member = api_member_next(member);
    if (member)
        api_member_release(member);
    else
        not_suspended(call, others
                                ? "you hold nothing of this goroutine, but others do: name one of "
                                  "\"suspensions\", or send {\"all\":true}"
                                : "nobody holds this goroutine");
    return member != NULL;
}

void api_handle_resume(struct api_call *call)
{
    uint64_t id = api_body_uint(call, "suspension", 0);
    bool all = json_is_true(json_object_get(call->body, "all")), done = false;
    if (id && all)
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "name one suspension or ask for all, not both");
    else if (alive(call))
        done = all ? resume_all(call) : id ? resume_one(call, id) : resume_newest(call);
    if (done && !api_goroutine_at_once(call, false))
        api_call_pool(call, show);
    else
        api_call_done(call);
}
