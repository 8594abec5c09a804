/*
 * deadlocks.c: who waits for whom in a circle, and whether everybody waits (grasp/waits.h).
 *
 * Two findings of different weight, told apart in the answer: a cycle of locks is a deadlock,
 * whatever else goes on; that every goroutine waits is a suspicion, since a thread of the program
 * that is no goroutine may still act. If there is no finding, it says why.
 */
#include "internal.h"

#include <string.h>

#include <grasp/waits.h>

#define STUCK_SHOWN 1000

/* ---- JSON ------------------------------------------------------------------------------------ */

/* What is missing for one that no known goroutine keeps waiting. */
static const char *missing_party(const struct gr_stuck *stuck)
{
    switch (stuck->object.kind) {
    case GR_OBJECT_CHANNEL:
        return stuck->more                           ? "nobody is at the other end of its channels"
               : stuck->object.op == GR_WAIT_OP_SEND ? "nobody receives"
                                                     : "nobody sends";
    case GR_OBJECT_COND:
        return "nobody signals";
    case GR_OBJECT_WAITGROUP:
        return "the count does not come to 0";
    default:
        return "nobody is known who could let it go on";
    }
}

static json_t *stuck_json(const struct gr_stuck *stuck)
{
    struct gr_info info;
    json_t *value = json_object();
    json_object_set_new(value, "goroutine", api_json_uint(stuck->id));
    if (gr_info(stuck->id, &info) == 0) {
        json_object_set_new(value, "module", api_json_string(info.module[0] ? info.module : NULL));
        json_object_set_new(value, "entry", api_json_string(info.entry[0] ? info.entry : NULL));
        json_object_set_new(value, "name", api_json_string(info.name[0] ? info.name : NULL));
        json_object_set_new(value, "wait_ns", api_json_uint(info.wait_ns));
    }
    json_object_set_new(value, "waits_for",
                        stuck->object.kind ? api_wait_object_json(&stuck->object) : json_null());
    if (stuck->waits_for)
        json_object_set_new(value, "needs", api_json_uint(stuck->waits_for));
    else
        json_object_set_new(value, "missing", json_string(missing_party(stuck)));
    return value;
}

static json_t *cycles_json(const struct gr_deadlocks *report)
{
    json_t *cycles = json_array(), *cycle = NULL;
    uint64_t number = 0;
    size_t shown = report->count < STUCK_SHOWN ? report->count : STUCK_SHOWN;
    for (size_t i = 0; i < shown && report->stuck[i].cycle; i++) {
        if (report->stuck[i].cycle != number)
            json_array_append_new(cycles, cycle = json_array());
        number = report->stuck[i].cycle;
        json_array_append_new(cycle, stuck_json(&report->stuck[i]));
    }
    return cycles;
}

static json_t *others_json(const struct gr_deadlocks *report)
{
    json_t *others = json_array();
    size_t shown = report->count < STUCK_SHOWN ? report->count : STUCK_SHOWN;
    for (size_t i = 0; i < shown; i++)
        if (!report->stuck[i].cycle)
            json_array_append_new(others, stuck_json(&report->stuck[i]));
    return others;
}

json_t *api_deadlocks_json(void)
{
    struct gr_deadlocks report;
    if (gr_deadlocks(&report))
        return NULL;
    json_t *value = json_object();
    json_object_set_new(value, "deadlock", json_boolean(report.cycles > 0 || report.all_wait));
    json_object_set_new(value, "all_wait", json_boolean(report.all_wait));
    json_object_set_new(value, "because",
                        report.all_wait ? json_null()
                                        : json_string(gr_progress_name(report.because)));
    json_object_set_new(value, "because_goroutine",
                        report.because_id ? api_json_uint(report.because_id) : json_null());
    json_object_set_new(value, "live", api_json_uint(report.live));
    json_object_set_new(value, "cycles", cycles_json(&report));
    json_object_set_new(value, "waiting", others_json(&report));
    json_object_set_new(value, "truncated", json_boolean(report.count > STUCK_SHOWN));
    gr_deadlocks_free(&report);
    return value;
}

void api_handle_deadlocks(struct api_call *call)
{
    api_reply_json(call, 200, api_deadlocks_json());
}

/* ---- Text ------------------------------------------------------------------------------------ */

static void stuck_line(struct api_buf *out, const json_t *stuck)
{
    const json_t *needs = json_object_get(stuck, "needs");
    api_buf_printf(out, "  goroutine %" JSON_INTEGER_FORMAT,
                   json_integer_value(json_object_get(stuck, "goroutine")));
    if (json_string_length(json_object_get(stuck, "name"))) {
        api_buf_str(out, " (");
        api_buf_plain(out, json_string_value(json_object_get(stuck, "name")), 0);
        api_buf_str(out, ")");
    }
    if (json_is_object(json_object_get(stuck, "waits_for"))) {
        api_buf_str(out, " waits for ");
        api_wait_object_text(out, json_object_get(stuck, "waits_for"));
    }
    if (!needs)
        api_buf_printf(out, ": %s", json_string_value(json_object_get(stuck, "missing")));
    api_buf_str(out, "\n");
}

void api_text_deadlocks(struct api_buf *out, const json_t *value)
{
    size_t i, k;
    json_t *cycle, *stuck;
    json_array_foreach(json_object_get(value, "cycles"), i, cycle)
    {
        api_buf_printf(out, "deadlock: %zu goroutines wait for each other in a circle\n",
                       json_array_size(cycle));
        json_array_foreach(cycle, k, stuck) stuck_line(out, stuck);
    }
    if (json_is_true(json_object_get(value, "all_wait"))) {
        api_buf_str(out, "every goroutine waits for another");
        api_buf_str(out, json_array_size(json_object_get(value, "waiting")) ? ":\n" : "\n");
        json_array_foreach(json_object_get(value, "waiting"), k, stuck) stuck_line(out, stuck);
    } else if (json_array_size(json_object_get(value, "cycles")) == 0) {
        api_buf_printf(out, "no deadlock: %s",
                       json_string_value(json_object_get(value, "because")));
        if (json_is_integer(json_object_get(value, "because_goroutine")))
            api_buf_printf(out, " (goroutine %" JSON_INTEGER_FORMAT ")",
                           json_integer_value(json_object_get(value, "because_goroutine")));
        api_buf_str(out, "\n");
    }
}
