/*
 * core_dump.c: ELF cores of goroutines: GET /v1/goroutines/ID/core and GET /debug/core.
 *
 * Both hold a set (group.c), copy it as a consistent cut on the pool (cut.h), lay out the core while everybody still
 * stands still (so that with data=1 globals are of the same moment), let go, and only then send, in pieces.
 * The one goroutine of the first call is a set as well.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/inspect.h>

#include "cut.h"
#include "group.h"

#define PIECE_BYTES (256 * 1024)

struct dump {
    struct api_call *call;
    struct api_suspension *suspension;
    struct api_job job;
    struct api_cut cut;
    struct gr_core *core;
    size_t missing;
    int err;
};

/* ---- Sending
 * ------------------------------------------------------------------------------------- */

/* Pool. */
static void piece(struct api_call *call)
{
    struct dump *dump = call->state;
    char *block = malloc(PIECE_BYTES);
    size_t size = block ? gr_core_read(dump->core, block, PIECE_BYTES) : 0;
    api_buf_add(&call->reply.body, block, size);
    call->reply.more = size == PIECE_BYTES && !call->reply.body.failed;
    free(block);
}

/* Pool. */
static void reply(struct api_call *call)
{
    struct dump *dump = call->state;
    struct api_buf *headers = &call->reply.headers;
    if (dump->err == -E2BIG) {
        api_problem(call, 413, API_CODE_TOO_LARGE,
                    "the stacks are more than %zu MiB together; choose fewer goroutines",
                    API_CUT_BYTES_MAX >> 20);
        return;
    }
    if (dump->err) {
        api_problem_no_memory(call);
        return;
    }
    api_buf_printf(headers, "Grasp-Goroutines: %zu\r\nGrasp-Missing: %zu\r\n", dump->cut.count,
                   dump->missing);
    if (call->id)
        api_buf_printf(
            headers, "Content-Disposition: attachment; filename=\"goroutine-%" PRIu64 ".core\"\r\n",
            call->id);
    else
        api_buf_str(headers, "Content-Disposition: attachment; filename=\"goroutines.core\"\r\n");
    call->reply.status = 200;
    call->reply.content_type = "application/x-core";
    call->reply.streaming = true;
    call->piece = piece;
    piece(call);
}

/* ---- The cut
 * ------------------------------------------------------------------------------------- */

/* Loop: everybody was let go. */
static void let_go(struct api_suspension *suspension)
{
    struct api_call *call = suspension->call;
    struct dump *dump = call->state;
    api_suspension_destroy(suspension);
    dump->suspension = NULL;
    api_call_pool(call, reply);
}

static struct dump *dump_of(struct api_job *job)
{
    return (struct dump *)((char *)job - offsetof(struct dump, job));
}

/* Pool, while all of them are held. */
static void take(struct api_job *job)
{
    struct dump *dump = dump_of(job);
    dump->missing = dump->suspension->failed_count;
    dump->err = api_cut_take(&dump->cut, dump->suspension);
    if (dump->err)
        return;
    dump->core = gr_core_open((const struct gr_copy *const *)dump->cut.copy, dump->cut.count,
                              api_param_bool(dump->call, "data", false) ? GR_CORE_DATA : 0);
    dump->err = dump->core ? 0 : -ENOMEM;
}

static void taken(struct api_job *job)
{
    api_suspension_let_go(dump_of(job)->suspension, let_go);
}

static void clean_up(struct api_call *call)
{
    struct dump *dump = call->state;
    if (!dump)
        return;
    gr_core_close(dump->core);
    api_cut_free(&dump->cut);
    free(dump);
}

/* ---- The set
 * ------------------------------------------------------------------------------------- */

/* Pool. One goroutine that cannot be had is told as the other calls on it tell. */
static void problem_of_one(struct api_call *call, const struct api_suspension *suspension)
{
    struct gr_info info;
    int err = suspension->failed_count ? suspension->failed[0].error : gr_info(call->id, &info);
    if (err == -ETIMEDOUT)
        api_problem(call, 504, API_CODE_SUSPEND_TIMEOUT,
                    "goroutine %" PRIu64 " reached no safe-point in time; the request was "
                    "withdrawn",
                    call->id);
    else if (err == -EOVERFLOW)
        api_problem(call, 409, API_CODE_TOO_MANY_HOLDS, "the goroutine is held %d times",
                    GR_HOLDS_MAX);
    else
        api_problem_goroutine(call, err ? err : -EOWNERDEAD, call->id);
}

/* Pool. */
static void reply_not_held(struct api_call *call)
{
    struct api_group *group = call->state;
    bool given_up = group->outcome != API_GROUP_NOTHING && group->outcome != API_GROUP_FAILED;
    if (call->id && !given_up)
        problem_of_one(call, group->suspension);
    else
        api_group_problem(call, group);
    api_suspension_destroy(group->suspension);
    api_group_free(group);
    call->state = NULL;
}

static void no_memory(struct api_suspension *suspension)
{
    struct api_call *call = suspension->call;
    api_suspension_destroy(suspension);
    api_problem_no_memory(call);
    api_call_done(call);
}

static void grouped(struct api_group *group, enum api_group_outcome outcome)
{
    struct api_call *call = group->call;
    struct api_suspension *suspension = group->suspension;
    if (outcome != API_GROUP_HELD) {
        api_call_pool(call, reply_not_held);
        return;
    }
    struct dump *dump = calloc(1, sizeof *dump);
    api_group_free(group);
    call->state = dump;
    if (!dump) {
        api_suspension_let_go(suspension, no_memory);
        return;
    }
    dump->call = call;
    dump->suspension = suspension;
    dump->job.work = take;
    dump->job.done = taken;
    call->cleanup = clean_up;
    call->api->host.pool(call->api->host.ctx, &dump->job);
}

/* The set as the body of a suspension would name it. */
static void begin(struct api_call *call, json_t *body)
{
    json_decref(call->body);
    call->body = body;
    if (!body)
        api_problem_no_memory(call);
    if (!body || !api_group_start(call, grouped))
        api_call_done(call);
}

void api_handle_core(struct api_call *call)
{
    begin(call, json_pack("{s:[o]}", "ids", api_json_uint(call->id)));
}

void api_handle_debug_core(struct api_call *call)
{
    const char *selector = api_param(call, "selector"), *module = api_param(call, "module");
    json_t *body = json_object();
    if (selector)
        json_object_set_new(body, "selector", api_json_string(selector));
    /* A longer name than any module's. */
    if (module)
        json_object_set_new(body, "module",
                            api_json_string(strlen(module) > GR_NAME_MAX ? "/" : module));
    if (api_param(call, "root"))
        json_object_set_new(body, "root", api_json_uint(api_param_uint(call, "root", 0)));
    if (api_param_bool(call, "all", false))
        json_object_set_new(body, "all", json_true());
    if (json_object_size(body) != 1) {
        json_decref(body);
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "name exactly one of selector, module, root and all=1");
        api_call_done(call);
        return;
    }
    json_object_set_new(body, "timeout_ms",
                        api_json_uint(api_param_uint(call, "timeout_ms", API_TIMEOUT_MS_DEFAULT)));
    begin(call, body);
}
