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
    struct api_cutting cutting;
    struct gr_core *core;
    size_t missing;
};

/* ---- Sending --------------------------------------------------------------------------------- */

/* Pool. */
static void piece(struct api_call *call)
{
    struct dump *dump = call->state;
    char *block = malloc(PIECE_BYTES);
    if (!block) {
        api_reply_cut(call);
        return;
    }
    size_t size = gr_core_read(dump->core, block, PIECE_BYTES);
    api_buf_add(&call->reply.body, block, size);
    call->reply.more = size == PIECE_BYTES && !call->reply.body.failed;
    free(block);
}

/* Pool. */
static void reply(struct api_call *call)
{
    struct dump *dump = call->state;
    struct api_buf *headers = &call->reply.headers;
    if (api_cut_problem(call, dump->cutting.err))
        return;
    api_buf_printf(headers, "Grasp-Goroutines: %zu\r\nGrasp-Missing: %zu\r\n",
                   dump->cutting.cut.count, dump->missing);
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

/* ---- The cut --------------------------------------------------------------------------------- */

/* Pool, while all of them are held. */
static void held(struct api_cutting *cutting, const struct api_suspension *suspension)
{
    struct dump *dump = (struct dump *)cutting;
    const struct api_cut *cut = &cutting->cut;
    dump->missing = suspension->failed_count;
    dump->core = gr_core_open((const struct gr_copy *const *)cut->copy, cut->count,
                              api_param_bool(cutting->call, "data", false) ? GR_CORE_DATA : 0);
    cutting->err = dump->core ? 0 : -ENOMEM;
}

static void clean_up(struct api_call *call)
{
    struct dump *dump = call->state;
    if (!dump)
        return;
    gr_core_close(dump->core);
    api_cut_free(&dump->cutting.cut);
    free(dump);
}

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
    else
        api_problem_goroutine(call, err ? err : -EOWNERDEAD, call->id);
}

/* Pool. */
static void not_held(struct api_call *call, const struct api_group *group)
{
    bool given_up = group->outcome != API_GROUP_NOTHING && group->outcome != API_GROUP_FAILED;
    if (call->id && !given_up)
        problem_of_one(call, group->suspension);
    else
        api_group_problem(call, group);
}

/* The set as the body of a suspension would name it. */
static void begin(struct api_call *call, json_t *body)
{
    struct dump *dump = calloc(1, sizeof *dump);
    json_decref(call->body);
    call->body = body;
    call->cleanup = clean_up;
    if (!body || !dump) {
        free(dump);
        api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    dump->cutting.held = held;
    dump->cutting.reply = reply;
    dump->cutting.not_held = not_held;
    api_cut_start(call, &dump->cutting);
}

void api_handle_core(struct api_call *call)
{
    if (call->format !=
        API_FORMAT_CORE) { /* for people, or programs that want no ELF: what a core is made of */
        api_handle_snapshot(call);
        return;
    }
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
