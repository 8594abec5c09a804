/*
 * pprof.c: GET /debug/pprof/ and /debug/pprof/goroutine; the CPU profile is cpu_profile.c.
 *
 * Paths and parameters are Go's, so that tools that were made for Go's net/http/pprof need no change. Tools add
 * parameters of their own, so unknown ones are ignored here, unlike under /v1. A traceback of each goroutine
 * (debug=2) is streamed in pieces, in bounded memory however many there are.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pprof_sink.h"
#include "pprof_text.h"
#include "stacks.h"

#define PIECE_BYTES (256 * 1024)

void api_handle_pprof_index(struct api_call *call)
{
    struct gr_stats stats;
    gr_stats(&stats);
    api_buf_printf(&call->reply.body,
                   "goroutine?debug=2   %" PRIu64 " goroutines, a traceback each\n"
                   "goroutine?debug=1   those that are alike counted\n"
                   "goroutine           the same for go tool pprof, a sample each\n"
                   "profile?seconds=30  where goroutines spend CPU time, for go tool pprof\n"
                   "../trace?seconds=1  what the scheduler does, for Perfetto\n"
                   "../core?all=1       an ELF core for gdb\n"
                   "\n"
                   "?format=folded|svg  folded stacks, or a flame graph, of either\n"
                   "?selector=&module=&entry=&root=  some goroutines only\n",
                   stats.live);
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_TEXT;
}

/* ---- debug=2
 * ------------------------------------------------------------------------------------- */

/* Pool. */
static void traceback_piece(struct api_call *call)
{
    struct api_buf *out = &call->reply.body;
    const struct api_stack *stack = NULL;
    while (out->size < PIECE_BYTES && !out->failed && (stack = api_stacks_next(call->state)))
        api_traceback_write(out, stack);
    call->reply.more = stack && !out->failed;
}

static void traceback_cleanup(struct api_call *call)
{
    api_stacks_destroy(call->state);
}

static void traceback_start(struct api_call *call)
{
    call->state = api_stacks_create(call);
    if (!call->state)
        return;
    call->cleanup = traceback_cleanup;
    call->piece = traceback_piece;
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_TEXT;
    call->reply.streaming = true;
    traceback_piece(call);
}

/* ---- The profile of goroutines
 * ------------------------------------------------------------------- */

static void reply_goroutines(struct api_call *call, enum api_sink_form form)
{
    static const struct api_pprof_type type = {"goroutine", "count"};
    struct api_sink sink;
    char title[80];
    size_t count = 0;
    const struct api_stack *stack;
    struct api_stacks *stacks = api_stacks_create(call);
    if (!stacks)
        return;
    if (!api_sink_open(&sink, form, "goroutine", &type, 1, &type, 1)) {
        api_problem_no_memory(call);
    } else {
        for (; (stack = api_stacks_next(stacks)); count++)
            api_sink_add(&sink, stack);
        snprintf(title, sizeof title, "%zu goroutines by where they stand", count);
        api_sink_reply(&sink, call, title);
        api_sink_close(&sink);
    }
    api_stacks_destroy(stacks);
}

/* Pool. */
void api_handle_pprof_goroutine(struct api_call *call)
{
    const char *debug = api_param(call, "debug");
    enum api_sink_form form;
    if (debug && strcmp(debug, "2") == 0 && !api_param(call, "format"))
        traceback_start(call);
    else if (api_sink_choose(call, &form))
        reply_goroutines(call, form);
}
