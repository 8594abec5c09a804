/*
 * trace.c: GET /debug/trace: what the scheduler did for N seconds, as Chrome's trace format, which Perfetto opens.
 *
 * Three processes are shown. "processors" has a track for each processor, on which the goroutines that ran there are
 * slices; who woke whom is an arrow between two of them. "goroutines" has a track for each goroutine: what it did while it
 * did not run (runnable, waiting for what, held, in a system call). "holds" has who was held from when to when.
 *
 * Who ran already when it began, and who ran throughout and left no record at all, is shown from the beginning on.
 *
 * The runtime's rings are read when the time is over, sorted, and turned into JSON in pieces; the records are kept
 * meanwhile, so that memory is bounded by the rings.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/trace.h>

#include "trace_json.h"

#define TICK_MS     100
#define PIECE_BYTES (256 * 1024)

struct trace {
    struct api_call *call;
    struct api_timer timer;
    uint64_t began_ns, end_ns, last_ns;
    struct api_trace_json json;
    struct gr_trace_record *record;
    size_t count, capacity, at;
    bool failed, started;
};

/* ---- On the pool ----------------------------------------------------------------------------- */

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

static bool ends_a_run(enum gr_trace_kind kind)
{
    return kind == GR_TRACE_BLOCK || kind == GR_TRACE_YIELD || kind == GR_TRACE_SLICE ||
           kind == GR_TRACE_STOP || kind == GR_TRACE_SYSCALL || kind == GR_TRACE_END;
}

static void began_before(struct trace *t, uint64_t id, int thread, int p)
{
    keep(t, &(struct gr_trace_record){
                .at_ns = t->began_ns, .id = id, .kind = GR_TRACE_RUN, .thread = thread, .p = p});
}

/* Those who run now on a thread without a record have run all the time. */
static void add_undisturbed(struct trace *t, const bool *seen)
{
    struct gr_stats stats;
    struct gr_info info;
    size_t count;
    gr_stats(&stats);
    uint64_t left = stats.by_state[GR_RUNNING];
    uint64_t *ids = gr_list_all(&count);
    for (size_t i = 0; i < count && left; i++) {
        if (gr_info(ids[i], &info) || info.state != GR_RUNNING)
            continue;
        left--;
        if (info.m >= 0 && info.m < GR_TRACE_THREADS_MAX && !seen[info.m])
            began_before(t, info.id, info.m, info.p);
    }
    free(ids);
}

/* Records for the runs that began before the trace did. The records are sorted, and again afterwards. */
static void add_begun_before(struct trace *t)
{
    bool seen[GR_TRACE_THREADS_MAX] = {false};
    size_t count = t->count;
    for (size_t i = 0; i < count; i++) {
        struct gr_trace_record first = t->record[i];
        if (first.thread < 0 || first.thread >= GR_TRACE_THREADS_MAX || seen[first.thread])
            continue;
        seen[first.thread] = true;
        if (ends_a_run(first.kind))
            began_before(t, first.id, first.thread, first.p);
    }
    add_undisturbed(t, seen);
    if (t->count > count)
        qsort(t->record, t->count, sizeof *t->record, by_time);
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
        api_trace_json_end(&t->json, t->last_ns, out);
}

static void reply_head(struct api_call *call)
{
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_JSON;
    call->reply.streaming = true;
    api_buf_str(&call->reply.headers,
                "Content-Disposition: attachment; filename=\"trace.json\"\r\n");
}

/* Pool. */
static void collect(struct api_call *call)
{
    struct trace *t = call->state;
    gr_trace_stop();
    t->last_ns = gr_now_ns();
    uint64_t lost = gr_trace_each(keep, t);
    gr_trace_free();
    t->started = false;
    if (t->count)
        qsort(t->record, t->count, sizeof *t->record, by_time);
    if (lost && t->count)
        t->began_ns = t->record[0].at_ns; /* what came before is not known any more */
    else
        add_begun_before(t);
    if (t->failed) {
        api_problem_no_memory(call);
        return;
    }
    reply_head(call);
    call->piece = piece;
    api_trace_json_begin(&t->json, t->began_ns, lost, &call->reply.body);
    piece(call);
}

/* ---- On the loop ----------------------------------------------------------------------------- */

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
    if (api_is_head(call)) {
        reply_head(call);
        api_call_done(call);
        return;
    }
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
    t->began_ns = gr_now_ns();
    t->end_ns = t->began_ns + (seconds ? seconds : 1) * UINT64_C(1000000000);
    call->state = t;
    call->cleanup = clean_up;
    call->abandon = abandoned;
    tick(t);
}
