/*
 * metrics.c: the same numbers for Prometheus (text format 0.0.4).
 *
 * Names carry their unit in base units (seconds, bytes) and counters end in _total, as Prometheus
 * asks; the JSON API keeps nanoseconds.
 */
#include "internal.h"

#include <inttypes.h>
#include <unistd.h>

static void head(struct api_buf *out, const char *name, const char *type, const char *help)
{
    api_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct api_buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    head(out, name, type, help);
    api_buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void add_states(struct api_buf *out, const struct gr_stats *stats)
{
    head(out, "grasp_goroutines", "gauge", "Goroutines by state.");
    for (unsigned i = GR_RUNNABLE; i <= GR_DEAD; i++) { /* of the dead those that are kept */
        uint64_t count = stats->by_state[i];
        /* Copystack is shown as waiting: one series a name. */
        if (i == GR_COPYSTACK || i == GR_COPYSTACK_WOKEN)
            continue;
        if (i == GR_WAITING)
            count += stats->by_state[GR_COPYSTACK] + stats->by_state[GR_COPYSTACK_WOKEN];
        api_buf_printf(out, "grasp_goroutines{state=\"%s\"} %" PRIu64 "\n",
                       gr_state_name((enum gr_state)i), count);
    }
}

/* The names are those of `limits` in GET /v1/runtime. */
static void add_limits(struct api_buf *out, const struct gr_stats *stats)
{
    json_t *limits = api_limits_json(stats), *limit;
    const char *name;
    head(out, "grasp_limit", "gauge", "What this daemon allows at most.");
    json_object_foreach(limits, name, limit)
        api_buf_printf(out, "grasp_limit{limit=\"%s\"} %" JSON_INTEGER_FORMAT "\n", name,
                       json_integer_value(limit));
    json_decref(limits);
}

static void add_latency(struct api_buf *out, const struct gr_stats *stats)
{
    head(out, "grasp_suspend_latency_seconds", "histogram",
         "From the request to the stop, by kind of safe-point.");
    for (unsigned kind = 0; kind < GR_SAFEPOINTS; kind++) {
        const char *name = gr_safepoint_name((enum gr_safepoint)kind);
        uint64_t total = 0;
        for (unsigned i = 0; i < GR_LATENCY_BUCKETS; i++) {
            total += stats->latency[kind][i];
            api_buf_printf(out,
                           "grasp_suspend_latency_seconds_bucket{safepoint=\"%s\",le=\"%.9g\"} "
                           "%" PRIu64 "\n",
                           name, (double)(UINT64_C(2) << i) / 1e9, total);
        }
        api_buf_printf(out,
                       "grasp_suspend_latency_seconds_bucket{safepoint=\"%s\",le=\"+Inf\"} "
                       "%" PRIu64 "\n"
                       "grasp_suspend_latency_seconds_sum{safepoint=\"%s\"} %.9f\n"
                       "grasp_suspend_latency_seconds_count{safepoint=\"%s\"} %" PRIu64 "\n",
                       name, total, name, (double)stats->latency_sum_ns[kind] / 1e9, name, total);
    }
}

static void add_counters(struct api_buf *out, const struct gr_stats *stats)
{
    head(out, "grasp_safepoints_total", "counter", "Suspends that stopped, by kind of safe-point.");
    for (unsigned i = 0; i < GR_SAFEPOINTS; i++)
        api_buf_printf(out, "grasp_safepoints_total{safepoint=\"%s\"} %" PRIu64 "\n",
                       gr_safepoint_name((enum gr_safepoint)i), stats->safepoints[i]);
    head(out, "grasp_preempts_total", "counter", "Stops of running code for any reason.");
    api_buf_printf(out,
                   "grasp_preempts_total{kind=\"sync\"} %" PRIu64 "\n"
                   "grasp_preempts_total{kind=\"async\"} %" PRIu64 "\n",
                   stats->preempts_sync, stats->preempts_async);
    head(out, "grasp_refusals_total", "counter", "Requests to stop that had to wait, by reason.");
    for (unsigned i = 0; i < GR_REFUSALS; i++)
        api_buf_printf(out, "grasp_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
                       gr_refusal_name((enum gr_refusal)i), stats->refusals[i]);
    single(out, "grasp_spawned_total", "counter", "Goroutines started.", stats->spawned);
    single(out, "grasp_ended_total", "counter", "Goroutines ended.", stats->ended);
    single(out, "grasp_signals_sent_total", "counter", "Preemption signals.", stats->signals_sent);
    single(out, "grasp_signals_resent_total", "counter", "Of these, repeated after a refusal.",
           stats->signals_resent);
    single(out, "grasp_suspends_total", "counter", "Requests to suspend.", stats->suspends);
    single(out, "grasp_suspend_timeouts_total", "counter", "Of these, withdrawn at the deadline.",
           stats->suspend_timeouts);
    single(out, "grasp_suspends_gone_total", "counter", "Of these, met a goroutine that ended.",
           stats->suspends_gone);
    single(out, "grasp_resumes_total", "counter", "Holds released.", stats->resumes);
}

static void add_requests(struct api_buf *out, struct api *api)
{
    head(out, "grasp_http_requests_total", "counter", "HTTP requests by route and status.");
    for (size_t row = 0; row <= API_ROUTES_MAX; row++)
        for (size_t status = 0; status < API_STATUSES_MAX; status++) {
            uint64_t count = atomic_load_explicit(&api->served[row][status], memory_order_relaxed);
            bool known = row < api_route_count;
            if (count)
                api_buf_printf(
                    out,
                    "grasp_http_requests_total{method=\"%s\",route=\"%s\",status=\"%d\"} "
                    "%" PRIu64 "\n",
                    known ? api_routes[row].method : "", known ? api_routes[row].path : "",
                    api_status_at(status), count);
        }
}

void api_handle_metrics(struct api_call *call)
{
    struct api_buf *out = &call->reply.body;
    struct gr_stats stats;
    gr_stats(&stats);
    head(out, "grasp_info", "gauge", "The daemon's version and architecture.");
    api_buf_printf(out, "grasp_info{version=\"%s\",arch=\"%s\",pid=\"%d\",instance=\"%s\"} 1\n",
                   call->api->config.version, gr_arch_name(), (int)getpid(), call->api->instance);
    single(out, "grasp_procs", "gauge", "Processors: goroutines that may run at once.",
           stats.procs);
    single(out, "grasp_threads", "gauge", "Threads of the runtime.", stats.threads);
    single(out, "grasp_async_preempt", "gauge", "1 if preemption by signal is on.",
           stats.async_preempt);
    head(out, "grasp_time_slice_seconds", "gauge", "How long a goroutine runs while others wait.");
    api_buf_printf(out, "grasp_time_slice_seconds %.9g\n", stats.time_slice_us / 1e6);
    add_limits(out, &stats);
    add_states(out, &stats);
    single(out, "grasp_held_goroutines", "gauge", "Goroutines with at least one hold.", stats.held);
    single(out, "grasp_leases", "gauge", "Suspensions that are held now.",
           api_suspension_total(call->api));
    single(out, "grasp_leases_expired_total", "counter", "Suspensions whose lease ran out.",
           atomic_load_explicit(&call->api->leases_expired, memory_order_relaxed));
    single(out, "grasp_stack_bytes_mapped", "gauge", "Address space of stacks.",
           stats.stack_bytes_mapped);
    single(out, "grasp_stacks_folded", "gauge", "Stacks that are folded now.", stats.folded);
    single(out, "grasp_stack_folds_total", "counter", "Stacks folded so far.", stats.folds);
    single(out, "grasp_stacks_unguarded", "gauge", "Stacks without a guard region.",
           stats.stacks_unguarded);
    single(out, "grasp_inspect_bytes", "gauge", "Memory of the inspector: names, tables, caches.",
           gr_inspect_bytes());
    add_counters(out, &stats);
    add_latency(out, &stats);
    add_requests(out, call->api);
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_METRICS;
    if (out->failed)
        api_problem_no_memory(call);
}
