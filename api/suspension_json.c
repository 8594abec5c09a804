/*
 * suspension_json.c: a suspension as an object, and why goroutines are missing from it.
 *
 * A group may have a hundred thousand members: making and printing that many numbers takes tens of
 * milliseconds, which the loop does not have. So the loop copies what is shown of a large one, some
 * words a member, and a pool thread makes the text.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_ON_LOOP 64 /* members, without failures, for which the pool is not worth the way */

/* ---- Failures -------------------------------------------------------------------------------- */

static const char *failure_code(int error)
{
    switch (error) {
    case -ESRCH:
        return API_CODE_NOT_FOUND;
    case -EOWNERDEAD:
        return API_CODE_GOROUTINE_DEAD;
    case -EOVERFLOW:
        return API_CODE_TOO_MANY_HOLDS;
    case -ETIMEDOUT:
        return API_CODE_SUSPEND_TIMEOUT;
    default:
        return API_CODE_INTERNAL;
    }
}

json_t *api_refused_json(const uint64_t *refused)
{
    json_t *value = json_object();
    for (unsigned i = 0; i < GR_REFUSALS; i++)
        if (refused[i])
            json_object_set_new(value, gr_refusal_name((enum gr_refusal)i),
                                api_json_uint(refused[i]));
    return value;
}

static json_t *failure_json(const struct api_failure *failure)
{
    struct gr_frame frame = {0};
    json_t *value = json_pack("{s:o,s:s}", "goroutine", api_json_uint(failure->id), "code",
                              failure_code(failure->error));
    if (failure->error != -ETIMEDOUT)
        return value;
    if (failure->pc)
        gr_symbolise(failure->pc, true, &frame);
    json_object_set_new(value, "pc", api_json_address(failure->pc));
    json_object_set_new(value, "function", api_json_string(frame.function));
    json_object_set_new(value, "module", api_json_string(frame.module));
    json_object_set_new(value, "refused", api_refused_json(failure->refused));
    json_object_set_new(value, "attempts", api_json_uint(failure->attempts));
    return value;
}

json_t *api_failures_json(const struct api_failure *failed, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, failure_json(&failed[i]));
    return list;
}

/* ---- The object ------------------------------------------------------------------------------ */

/* What all forms show; the list's form is no more. */
json_t *api_suspension_brief(const struct api_suspension *s)
{
    uint64_t now = gr_now_ns();
    uint64_t left_ns = s->expires_ns > now ? s->expires_ns - now : 0;
    json_t *value = json_object();
    json_object_set_new(value, "id", api_json_uint(s->id));
    json_object_set_new(value, "owner", api_json_string(s->has_owner ? s->owner : NULL));
    json_object_set_new(value, "principal", json_string(s->principal));
    json_object_set_new(value, "reason", api_json_string(s->has_reason ? s->reason : NULL));
    json_object_set_new(value, "count", api_json_uint(s->count));
    json_object_set_new(value, "skew_ns", api_json_uint(s->skew_ns));
    json_object_set_new(value, "created_at", api_json_time(s->created_realtime_ns));
    json_object_set_new(value, "lease_ms", api_json_uint(s->lease_ms));
    json_object_set_new(value, "expires_at", api_json_time(api_realtime_ns() + left_ns));
    json_object_set_new(value, "remaining_ms", api_json_uint((left_ns + 999999) / 1000000));
    return value;
}

/* A copy of what is shown. */
struct shown {
    struct api_suspension brief; /* its pointers are not followed */
    struct api_failure *failed;
    size_t held_count;
    int status;
    enum gr_safepoint safepoint; /* of the only member of one that is no group */
    enum gr_state stopped_in;
    uint64_t held[];
};

static json_t *shown_json(const struct shown *shown)
{
    const struct api_suspension *s = &shown->brief;
    json_t *value = api_suspension_brief(s), *held = json_array();
    for (size_t i = 0; i < shown->held_count; i++)
        json_array_append_new(held, api_json_uint(shown->held[i]));
    json_object_set_new(value, "held", held);
    json_object_set_new(value, "failed", api_failures_json(shown->failed, s->failed_count));
    if (s->group)
        return value;
    json_object_set_new(value, "goroutine", api_json_uint(shown->held[0]));
    json_object_set_new(value, "safepoint", json_string(gr_safepoint_name(shown->safepoint)));
    json_object_set_new(value, "state", json_string(gr_state_name(shown->stopped_in)));
    json_object_set_new(value, "latency_ns", api_json_uint(s->latency_ns));
    return value;
}

static void shown_free(struct shown *shown)
{
    if (shown)
        free(shown->failed);
    free(shown);
}

static struct shown *shown_copy(const struct api_suspension *s)
{
    struct shown *shown = malloc(sizeof *shown + s->count * sizeof shown->held[0]);
    if (!shown)
        return NULL;
    shown->brief = *s;
    shown->failed = NULL;
    shown->held_count = 0;
    for (const struct api_member *m = s->members; m; m = m->sibling) {
        if (!m->link)
            continue;
        shown->safepoint = m->hold.safepoint;
        shown->stopped_in = m->hold.stopped_in;
        shown->held[shown->held_count++] = m->hold.id;
    }
    if (s->failed_count) {
        size_t bytes = s->failed_count * sizeof *s->failed;
        shown->failed = malloc(bytes);
        if (!shown->failed) {
            free(shown);
            return NULL;
        }
        memcpy(shown->failed, s->failed, bytes);
    }
    return shown;
}

/* Pool. */
static void reply_shown(struct api_call *call)
{
    struct shown *shown = call->shown;
    api_reply_json(call, shown->status, shown_json(shown));
    shown_free(shown);
    call->shown = NULL;
}

void api_suspension_reply(struct api_call *call, int status, const struct api_suspension *s)
{
    struct shown *shown = shown_copy(s);
    if (!shown) {
        api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    shown->status = status;
    if (s->count > SHOWN_ON_LOOP || s->failed_count) {
        call->shown = shown;
        api_call_work(call, API_LANE_LONG, reply_shown, api_call_done);
        return;
    }
    api_reply_json(call, status, shown_json(shown));
    shown_free(shown);
    api_call_done(call);
}
