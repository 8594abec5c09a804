/*
 * runtime_routes.c: health, and the runtime as an object that can be shown and changed.
 */
#include "internal.h"

#include <unistd.h>

void api_handle_healthz(struct api_call *call)
{
    api_reply_text(call, 200, API_TYPE_TEXT, "ok\n");
    api_call_done(call);
}

void api_handle_openapi(struct api_call *call)
{
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_JSON;
    api_buf_add(&call->reply.body, api_openapi, (size_t)(api_openapi_end - api_openapi));
    if (call->reply.body.failed)
        api_problem_no_memory(call);
    api_call_done(call);
}

void api_handle_readyz(struct api_call *call)
{
    if (call->api->draining)
        api_problem(call, 503, API_CODE_DRAINING, "the daemon is going down");
    else
        api_reply_text(call, 200, API_TYPE_TEXT, "ready\n");
    api_call_done(call);
}

/* Waiting and copystack share a name: counts of the same name are added. */
static json_t *states_json(const struct gr_stats *stats)
{
    json_t *states = json_object();
    for (unsigned i = GR_RUNNABLE; i < GR_STATES; i++) {
        const char *name = gr_state_name((enum gr_state)i);
        uint64_t before = (uint64_t)json_integer_value(json_object_get(states, name));
        json_object_set_new(states, name, api_json_uint(before + stats->by_state[i]));
    }
    return states;
}

static json_t *safepoints_json(const struct gr_stats *stats)
{
    json_t *value = json_object();
    for (unsigned i = 0; i < GR_SAFEPOINTS; i++)
        json_object_set_new(value, gr_safepoint_name((enum gr_safepoint)i),
                            api_json_uint(stats->safepoints[i]));
    return value;
}

static json_t *refusals_json(const struct gr_stats *stats)
{
    json_t *value = json_object();
    for (unsigned i = 0; i < GR_REFUSALS; i++)
        json_object_set_new(value, gr_refusal_name((enum gr_refusal)i),
                            api_json_uint(stats->refusals[i]));
    return value;
}

json_t *api_limits_json(const struct gr_stats *stats)
{
    return json_pack("{s:o,s:i,s:i,s:i,s:i,s:i,s:i}", "max_goroutines",
                     api_json_uint(stats->max_goroutines), "holds_per_goroutine", GR_HOLDS_MAX,
                     "lease_ms_max", API_LEASE_MS_MAX, "timeout_ms_max", API_TIMEOUT_MS_MAX,
                     "body_bytes", API_BODY_BYTES_MAX, "args_bytes", GR_ARGS_BYTES_MAX,
                     "list_limit", API_LIMIT_MAX);
}

json_t *api_runtime_json(struct api *api)
{
    struct gr_stats stats;
    gr_stats(&stats);
    json_t *value = json_object();
    json_object_set_new(value, "version", api_json_string(api->config.version));
    json_object_set_new(value, "modules_dir", api_json_string(api->config.modules_dir));
    json_object_set_new(value, "arch", json_string(gr_arch_name()));
    json_object_set_new(value, "pid", json_integer(getpid()));
    json_object_set_new(value, "instance", json_string(api->instance));
    json_object_set_new(value, "started_at", api_json_time(api->started_realtime_ns));
    json_object_set_new(value, "procs", json_integer(stats.procs));
    json_object_set_new(value, "threads", json_integer(stats.threads));
    json_object_set_new(value, "async_preempt", json_boolean(stats.async_preempt));
    json_object_set_new(value, "time_slice_us", json_integer(stats.time_slice_us));
    json_object_set_new(value, "goroutines", states_json(&stats));
    json_object_set_new(value, "live", api_json_uint(stats.live));
    json_object_set_new(value, "spawned", api_json_uint(stats.spawned));
    json_object_set_new(value, "ended", api_json_uint(stats.ended));
    json_object_set_new(value, "held", api_json_uint(stats.held));
    json_object_set_new(value, "suspensions", api_json_uint(api_suspension_total(api)));
    json_object_set_new(value, "safepoints", safepoints_json(&stats));
    json_object_set_new(value, "preempts",
                        json_pack("{s:o,s:o}", "sync", api_json_uint(stats.preempts_sync), "async",
                                  api_json_uint(stats.preempts_async)));
    json_object_set_new(value, "refusals", refusals_json(&stats));
    json_object_set_new(value, "limits", api_limits_json(&stats));
    const _Atomic(uint32_t) *sessions = api->config.gdb_sessions;
    json_object_set_new(
        value, "gdb",
        json_pack("{s:o,s:i}", "unix", api_json_string(api->config.gdb_unix), "sessions",
                  /* relaxed: a number to show. */
                  sessions ? (int)atomic_load_explicit(sessions, memory_order_relaxed) : 0));
    return value;
}

void api_handle_runtime(struct api_call *call)
{
    api_reply_json(call, 200, api_runtime_json(call->api));
}

/* The ranges were checked with the route's fields, so none of these can refuse what another has
 * applied. */
void api_handle_runtime_patch(struct api_call *call)
{
    const json_t *async_preempt = json_object_get(call->body, "async_preempt");
    uint64_t procs = api_body_uint(call, "procs", 0);
    uint64_t slice = api_body_uint(call, "time_slice_us", 0);
    int err = 0;
    if (procs)
        err = gr_set_procs((unsigned)procs);
    if (!err && async_preempt)
        err = gr_set_async_preempt(json_is_true(async_preempt));
    if (!err && slice)
        err = gr_set_time_slice_us((uint32_t)slice);
    if (err)
        api_problem_goroutine(call, err, 0);
    else
        api_reply_json(call, 200, api_runtime_json(call->api));
}
