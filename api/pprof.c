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
#include <stdlib.h>
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

/* ---- debug=2 --------------------------------------------------------------------------------- */

/* Pool. */
static void traceback_piece(struct api_call *call)
{
    struct api_buf *out = &call->reply.body;
    const struct api_stack *stack = NULL;
    while (out->size < PIECE_BYTES && !out->failed && (stack = api_stacks_next(call->state))) {
        api_traceback_write(out, stack);
        if (api_slice_over(call))
            break;
    }
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

/* ---- The profile of goroutines --------------------------------------------------------------- */

struct goroutines {
    struct api_stacks *stacks;
    struct api_sink sink;
    size_t count;
};

static void goroutines_free(struct api_call *call)
{
    struct goroutines *g = call->state;
    api_stacks_destroy(g->stacks);
    api_sink_close(&g->sink);
    free(g);
}

/* Pool. In slices. */
static void count_goroutines(struct api_call *call)
{
    struct goroutines *g = call->state;
    char title[80];
    const struct api_stack *stack;
    while ((stack = api_stacks_next(g->stacks))) {
        api_sink_add(&g->sink, stack);
        g->count++;
        if (api_slice_over(call)) {
            call->again = true;
            return;
        }
    }
    snprintf(title, sizeof title, "%zu goroutines by where they stand", g->count);
    api_sink_reply(&g->sink, call, title);
}

static void reply_goroutines(struct api_call *call, enum api_sink_form form)
{
    static const struct api_pprof_type type = {"goroutine", "count"};
    struct goroutines *g = calloc(1, sizeof *g);
    if (!g) {
        api_problem_no_memory(call);
        return;
    }
    call->state = g;
    call->cleanup = goroutines_free;
    call->work = count_goroutines; /* the next slices begin here */
    g->stacks = api_stacks_create(call);
    if (!g->stacks)
        return;
    if (!api_sink_open(&g->sink, form, "goroutine", &type, 1, &type, 1))
        api_problem_no_memory(call);
    else
        count_goroutines(call);
}

/* Pool. */
void api_handle_pprof_goroutine(struct api_call *call)
{
    const char *debug = api_param(call, "debug");
    enum api_sink_form form;
    if (debug && strtol(debug, NULL, 10) >= 2 && !api_param(call, "format"))
        traceback_start(call);
    else if (api_sink_choose(call, &form))
        reply_goroutines(call, form);
}
