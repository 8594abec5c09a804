/*
 * cpu_profile.c: GET /debug/pprof/profile: where goroutines spend CPU time, for N seconds.
 *
 * A timer of the loop rings every TICK_MS; each time a job on the pool drains what the threads have recorded (grasp/profile.h),
 * unwinds it and adds it to the sink, so that memory is bounded and neither the loop nor a pool thread is
 * occupied for the whole time. A client that goes, or the daemon's end, ends it at the next tick.
 *
 *   I1  Between jobs nobody but the loop touches the struct; during a job nobody but the job.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/profile.h>

#include "pprof_sink.h"
#include "selector.h"

#define TICK_MS         50
#define SECONDS_DEFAULT 30

struct cpu_profile {
    struct api_call *call;
    struct api_timer timer;
    struct api_work pool;
    struct api_sink sink;
    struct api_selector selector;
    const char *module, *entry;
    uint64_t root, end_ns, period_ns;
    bool filtered, started, working, hurry, last;
    struct gr_profile_stats stats;
    struct gr_info info;
    struct gr_frame frames[GR_FRAMES_MAX];
};

/* ---- On the pool ----------------------------------------------------------------------------- */

static bool matches(const struct cpu_profile *p, const struct gr_info *info)
{
    if (!p->filtered)
        return true;
    return info && (!p->root || info->root == p->root) &&
           (!p->module || strcmp(info->module, p->module) == 0) &&
           (!p->entry || strcmp(info->entry, p->entry) == 0) &&
           api_selector_match(&p->selector, info);
}

static void add_record(void *arg, const struct gr_copy *copy, uint64_t periods)
{
    struct cpu_profile *p = arg;
    bool truncated;
    /* One that ended long ago, or the runtime itself, has no labels. */
    const struct gr_info *info = copy->id && gr_info(copy->id, &p->info) == 0 ? &p->info : NULL;
    if (!matches(p, info))
        return;
    ssize_t count = gr_unwind(copy, p->frames, GR_FRAMES_MAX, &truncated);
    struct api_stack stack = {
        .id = copy->id,
        .info = info,
        .frames = p->frames,
        .count = count > 0 ? (size_t)count : 0,
        /* The runtime's own time has one frame by intent. */
        .truncated = truncated && copy->id,
        .value = {(int64_t)periods, (int64_t)(periods * p->period_ns)},
    };
    api_sink_add(&p->sink, &stack);
}

static void reply(struct cpu_profile *p)
{
    char title[160];
    double seconds = (double)(gr_now_ns() - p->sink.began_ns) / 1e9;
    snprintf(title, sizeof title,
             "CPU time of goroutines: %.1f s, %" PRIu64 " samples at %.0f Hz, %" PRIu64 " lost",
             seconds, p->stats.records, 1e9 / (double)p->period_ns, p->stats.lost);
    api_sink_reply(&p->sink, p->call, title);
}

static void work(struct api_work *pool)
{
    struct cpu_profile *p =
        (struct cpu_profile *)((char *)pool - offsetof(struct cpu_profile, pool));
    if (p->last)
        gr_profile_stop(&p->stats);
    gr_profile_drain(add_record, p);
    if (p->last)
        reply(p);
}

/* ---- On the loop ----------------------------------------------------------------------------- */

static void tick(struct cpu_profile *p);

static void fire(struct api_timer *timer)
{
    tick((struct cpu_profile *)((char *)timer - offsetof(struct cpu_profile, timer)));
}

static void done(struct api_work *pool)
{
    struct cpu_profile *p =
        (struct cpu_profile *)((char *)pool - offsetof(struct cpu_profile, pool));
    struct api_call *call = p->call;
    p->working = false;
    if (p->last) {
        p->started = false;
        api_call_done(call);
        return;
    }
    uint64_t next = gr_now_ns() + TICK_MS * UINT64_C(1000000);
    next = next < p->end_ns ? next : p->end_ns;
    if (p->hurry || api_timer_set(call->api, &p->timer, next))
        tick(p);
}

static void tick(struct cpu_profile *p)
{
    struct api *api = p->call->api;
    p->last = p->hurry || api->draining || gr_now_ns() >= p->end_ns;
    p->working = true;
    p->pool.run = work;
    p->pool.done = done;
    api_work_start(api, &p->pool, p->last ? API_LANE_LONG : API_LANE_BRIEF, p->call->client);
}

static void abandoned(struct api_call *call)
{
    struct cpu_profile *p = call->state;
    p->hurry = true;
    if (p->working)
        return;
    api_timer_clear(call->api, &p->timer);
    tick(p);
}

static void cleanup(struct api_call *call)
{
    struct cpu_profile *p = call->state;
    if (p->started)
        gr_profile_stop(NULL);
    api_sink_close(&p->sink);
    free(p);
}

/* A problem and false if something is wrong. */
static bool prepare(struct api_call *call, struct cpu_profile *p)
{
    static const struct api_pprof_type types[] = {{"samples", "count"}, {"cpu", "nanoseconds"}};
    const char *selector = api_param(call, "selector");
    enum api_sink_form form;
    char err[256];
    p->module = api_param(call, "module");
    p->entry = api_param(call, "entry");
    p->root = api_param_uint(call, "root", 0);
    p->filtered = selector || p->module || p->entry || p->root;
    if (selector && api_selector_parse(&p->selector, selector, err, sizeof err)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "parameter selector: %s", err);
        return false;
    }
    if (!api_sink_choose(call, &form))
        return false;
    if (!api_sink_open(&p->sink, form, "cpu", types, 2, &types[1], (int64_t)p->period_ns)) {
        api_problem_no_memory(call);
        return false;
    }
    return true;
}

/* False: it is answered. */
static bool start(struct api_call *call, struct cpu_profile *p)
{
    uint64_t hz = api_param_uint(call, "hz", GR_PROFILE_HZ);
    uint64_t seconds = api_param_uint(call, "seconds", 0);
    p->call = call;
    p->timer.fire = fire;
    p->period_ns = 1000000000 / hz;
    p->end_ns = gr_now_ns() + (seconds ? seconds : SECONDS_DEFAULT) * UINT64_C(1000000000);
    if (!prepare(call, p))
        return false;
    if (api_is_head(call)) {
        api_sink_reply_head(&p->sink, call);
        return false;
    }
    int err = gr_profile_start((unsigned)hz);
    p->started = err == 0;
    if (err == -EBUSY)
        api_problem(call, 429, API_CODE_LIMIT_REACHED,
                    "somebody takes a CPU profile already, and there is one at a time; try again "
                    "later");
    else if (err)
        api_problem_no_memory(call);
    return err == 0;
}

void api_handle_pprof_profile(struct api_call *call)
{
    struct cpu_profile *p = calloc(1, sizeof *p);
    if (!p) {
        api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    call->state = p;
    call->cleanup = cleanup;
    if (!start(call, p)) {
        api_call_done(call);
        return;
    }
    call->abandon = abandoned;
    tick(p);
}
