/*
 * trace.c: GET /debug/trace: what the scheduler did for N seconds, as Chrome's trace format, which Perfetto opens.
 *
 * Three processes are shown. "processors" has a track for each processor, on which the goroutines that ran there are
 * slices; who woke whom is an arrow between two of them. "goroutines" has a track for each goroutine: what it did while it
 * did not run (runnable, waiting for what, held, in a system call). "holds" has who was held from when to when.
 *
 * The runtime's rings are read when the time is over, sorted, and turned into JSON in pieces; the records are kept
 * meanwhile, so that memory is bounded by the rings.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/trace.h>

#include "trace_json.h"

#define TICK_MS     100
#define PIECE_BYTES (256 * 1024)

struct trace {
    struct api_call *call;
    struct api_timer timer;
    uint64_t end_ns;
    struct api_trace_json json;
    struct gr_trace_record *record;
    size_t count, capacity, at;
    bool failed, started;
};

/* ---- On the pool
 * --------------------------------------------------------------------------------- */

static void keep(void *arg, const struct gr_trace_record *record)
{
    struct trace *t = arg;
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? t->capacity * 2 : 4096;
        struct gr_trace_record *grown = reallocarray(t->record, capacity, sizeof *grown);
        if (!grown) {
            t->failed = true;
            return;
        }
        t->record = grown;
        t->capacity = capacity;
    }
    t->record[t->count++] = *record;
}

static int by_time(const void *a, const void *b)
{
    const struct gr_trace_record *x = a, *y = b;
    if (x->at_ns != y->at_ns)
        return x->at_ns < y->at_ns ? -1 : 1;
    return (x > y) - (x < y);
}

/* Pool. */
static void piece(struct api_call *call)
{
    struct trace *t = call->state;
    struct api_buf *out = &call->reply.body;
    while (t->at < t->count && out->size < PIECE_BYTES && !out->failed)
        api_trace_json_add(&t->json, &t->record[t->at++], out);
    call->reply.more = t->at < t->count && !out->failed;
    if (!call->reply.more && !out->failed)
        api_trace_json_end(&t->json, out);
}

/* Pool. */
static void collect(struct api_call *call)
{
    struct trace *t = call->state;
    gr_trace_stop();
    uint64_t lost = gr_trace_each(keep, t);
    gr_trace_free();
    t->started = false;
    if (t->failed) {
        api_problem_no_memory(call);
        return;
    }
    if (t->count)
        qsort(t->record, t->count, sizeof *t->record, by_time);
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_JSON;
    call->reply.streaming = true;
    call->piece = piece;
    api_buf_str(&call->reply.headers,
                "Content-Disposition: attachment; filename=\"trace.json\"\r\n");
    api_trace_json_begin(&t->json, t->count ? t->record[0].at_ns : 0, lost, &call->reply.body);
    piece(call);
}

/* ---- On the loop
 * --------------------------------------------------------------------------------- */

static void tick(struct trace *t)
{
    struct api_call *call = t->call;
    uint64_t now = gr_now_ns(), next = now + TICK_MS * UINT64_C(1000000);
    next = next < t->end_ns ? next : t->end_ns;
    if (now < t->end_ns && !call->api->draining && !call->abandoned &&
        api_timer_set(call->api, &t->timer, next) == 0)
        return;
    call->abandon = NULL;
    api_call_pool(call, collect);
}

static void fire(struct api_timer *timer)
{
    tick((struct trace *)((char *)timer - offsetof(struct trace, timer)));
}

static void abandoned(struct api_call *call)
{
    struct trace *t = call->state;
    api_timer_clear(call->api, &t->timer);
    tick(t);
}

static void clean_up(struct api_call *call)
{
    struct trace *t = call->state;
    if (t->started) {
        gr_trace_stop();
        gr_trace_free();
    }
    api_trace_json_free(&t->json);
    free(t->record);
    free(t);
}

void api_handle_debug_trace(struct api_call *call)
{
    uint64_t seconds = api_param_uint(call, "seconds", 0);
    struct trace *t = calloc(1, sizeof *t);
    int err = t ? gr_trace_start(api_param_uint(call, "records", GR_TRACE_RECORDS)) : -ENOMEM;
    if (err) {
        free(t);
        if (err == -EBUSY)
            api_problem(call, 429, API_CODE_LIMIT_REACHED,
                        "somebody takes a trace already, and there is one at a time; try again "
                        "later");
        else
            api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    t->call = call;
    t->timer.fire = fire;
    t->started = true;
    t->end_ns = gr_now_ns() + (seconds ? seconds : 1) * UINT64_C(1000000000);
    call->state = t;
    call->cleanup = clean_up;
    call->abandon = abandoned;
    tick(t);
}
