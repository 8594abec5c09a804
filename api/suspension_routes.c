/*
 * suspension_routes.c: list, show, prolong and release suspensions.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>

static uint64_t suspension_next(struct api_walk *walk, json_t **item)
{
    uint64_t id = api_suspension_next(walk->api, walk->after, item);
    if (id)
        walk->after = id;
    return id;
}

static void suspension_walk_free(struct api_walk *walk)
{
    free(walk);
}

void api_handle_suspensions(struct api_call *call)
{
    struct api_walk *walk = calloc(1, sizeof *walk);
    if (!walk) {
        api_problem_no_memory(call);
        return;
    }
    walk->next = suspension_next;
    walk->destroy = suspension_walk_free;
    if (api_walk_begin(call, walk))
        api_list_reply(call, walk);
    else
        suspension_walk_free(walk);
}

static struct api_suspension *find(struct api_call *call)
{
    enum api_suspension_end how;
    struct api_suspension *suspension = api_suspension_find(call->api, call->id, &how);
    if (suspension)
        return suspension;
    if (how == API_SUSPENSION_EXPIRED)
        api_problem(call, 410, API_CODE_LEASE_EXPIRED,
                    "the lease of suspension %" PRIu64 " ran out; its goroutines were released",
                    call->id);
    else
        api_problem(call, 404, API_CODE_NOT_FOUND, "there is no suspension %" PRIu64 "%s", call->id,
                    how == API_SUSPENSION_RELEASED ? " any more: it was released" : "");
    return NULL;
}

void api_handle_suspension(struct api_call *call)
{
    struct api_suspension *suspension = find(call);
    if (suspension)
        api_suspension_reply(call, 200, suspension);
    else
        api_call_done(call);
}

void api_handle_suspension_patch(struct api_call *call)
{
    struct api_suspension *suspension = find(call);
    if (suspension) {
        api_suspension_lease(suspension, gr_now_ns(), api_body_uint(call, "lease_ms", 0));
        api_suspension_reply(call, 200, suspension);
    } else {
        api_call_done(call);
    }
}

void api_handle_suspension_delete(struct api_call *call)
{
    enum api_suspension_end how = API_SUSPENSION_RELEASED;
    struct api_suspension *suspension = api_suspension_find(call->api, call->id, &how);
    if (suspension) {
        api_suspension_release(suspension, API_SUSPENSION_RELEASED, call);
        return;
    }
    if (how == API_SUSPENSION_RELEASED)
        call->reply.status = 204;
    else
        find(call);
    api_call_done(call);
}
