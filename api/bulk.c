/*
 * bulk.c: POST /v1/suspensions: a set of goroutines under one suspension.
 *
 * The set is stopped by group.c; what holds then enters the table like a single suspension, and
 * like a single one it is given back if its answer does not reach the client.
 */

#include "group.h"
#include "internal.h"

static void clean_up(struct api_call *call)
{
    if (call->reply.status != 201)
        api_suspension_give_back(call); /* the answer could not even be made */
}

static void not_entered(struct api_suspension *suspension)
{
    struct api_call *call = suspension->call;
    api_suspension_destroy(suspension);
    api_problem_no_memory(call);
    api_call_done(call);
}

static void enter(struct api_call *call, struct api_suspension *suspension)
{
    if (api_suspension_enter(suspension)) {
        api_suspension_let_go(suspension, not_entered);
        return;
    }
    suspension->call = NULL;
    call->claim = suspension->id;
    call->undelivered = api_suspension_give_back;
    call->cleanup = clean_up;
    api_buf_printf(&call->reply.headers, "Location: /v1/suspensions/%llu\r\n",
                   (unsigned long long)suspension->id);
    api_suspension_reply(call, 201, suspension);
}

static void done(struct api_group *group, enum api_group_outcome outcome)
{
    struct api_call *call = group->call;
    struct api_suspension *suspension = group->suspension;
    if (outcome != API_GROUP_HELD) {
        api_call_pool(call, api_group_reply_not_held);
        return;
    }
    api_group_free(group);
    call->state = NULL;
    enter(call, suspension);
}

static void begin(struct api_call *call)
{
    if (!api_group_start(call, done))
        api_call_done(call);
}

void api_handle_suspend_group(struct api_call *call)
{
    api_call_admit(call, &call->api->heavy, begin);
}
