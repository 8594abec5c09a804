/*
 * trace_json.c: see trace_json.h.
 *
 * A goroutine is in one state at a time: running (a slice on its processor's track), or one of the states of its own
 * track. Each record ends the state it was in and begins another one. A wake-up is an arrow ("flow") from the waker's slice to
 * the next slice of the woken; it is written when both are known, since viewers drop one that begins or ends in no slice. For
 * the same reason a hold that was there before the trace begins with it, and one that stays ends with it.
 */
#include "trace_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/runtime.h>

enum { PID_PROCESSORS = 1, PID_GOROUTINES, PID_HOLDS };

enum state { STATE_NONE, STATE_RUNNING, STATE_RUNNABLE, STATE_WAITING, STATE_HELD, STATE_SYSCALL };

struct api_trace_goroutine {
    uint64_t id; /* 0: a free slot */
    enum state state;
    unsigned detail; /* of waiting */
    uint64_t since_ns;
    uint64_t woken_ns; /* by a slice of processor woken_p; 0: not, or shown */
    int woken_p;
    char name[48];
};

struct api_trace_hold {
    uint64_t id; /* 0: a free slot */
    uint64_t goroutine, closed_ns;
    bool open;
};

/* ---- Goroutines ------------------------------------------------------------------------------ */

static struct api_trace_goroutine *slot_of(const struct api_trace_json *json, uint64_t id)
{
    size_t i = (id * 0x9e3779b97f4a7c15u >> 32) & (json->slots - 1);
    /* Ends: half of the slots are free. */
    while (json->goroutine[i].id && json->goroutine[i].id != id)
        i = (i + 1) & (json->slots - 1);
    return &json->goroutine[i];
}

static bool make_room(struct api_trace_json *json)
{
    struct api_trace_goroutine *old = json->goroutine;
    size_t old_slots = json->slots;
    if (json->goroutine_count * 2 < json->slots)
        return true;
    size_t slots = old_slots ? old_slots * 2 : 256;
    struct api_trace_goroutine *grown = calloc(slots, sizeof *grown);
    if (!grown)
        return false;
    json->goroutine = grown;
    json->slots = slots;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].id)
            *slot_of(json, old[i].id) = old[i];
    free(old);
    return true;
}

/* What separates the next event from the one before it. */
static void next_event(struct api_trace_json *json, struct api_buf *out)
{
    api_buf_str(out, json->comma ? ",\n" : "\n");
    json->comma = true;
}

/* "g17 module/entry", without what JSON would have to escape. */
static void name_goroutine(struct api_trace_goroutine *g)
{
    struct gr_info info;
    if (gr_info(g->id, &info) == 0 && *info.module)
        snprintf(g->name, sizeof g->name, "g%" PRIu64 " %.14s/%.14s", g->id, info.module,
                 info.entry);
    else
        snprintf(g->name, sizeof g->name, "g%" PRIu64, g->id);
    for (char *at = g->name; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f || *at == '"' || *at == '\\')
            *at = '_';
}

/* Makes a slot for one that is met for the first time, which may move all the others. NULL: no memory. */
static struct api_trace_goroutine *goroutine_of(struct api_trace_json *json, uint64_t id,
                                                struct api_buf *out)
{
    if (!make_room(json)) {
        json->failed = true;
        return NULL;
    }
    struct api_trace_goroutine *g = slot_of(json, id);
    if (g->id)
        return g;
    json->goroutine_count++;
    g->id = id;
    name_goroutine(g);
    next_event(json, out);
    api_buf_printf(out,
                   "{\"ph\":\"M\",\"pid\":%d,\"tid\":%" PRIu64
                   ",\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}",
                   PID_GOROUTINES, id, g->name);
    return g;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void put_time(struct api_buf *out, const char *key, uint64_t from_ns, uint64_t to_ns)
{
    uint64_t ns = to_ns > from_ns ? to_ns - from_ns : 0;
    api_buf_printf(out, "\"%s\":%" PRIu64 ".%03u", key, ns / 1000, (unsigned)(ns % 1000));
}

static void put_head(struct api_trace_json *json, struct api_buf *out, const char *phase, int pid,
                     uint64_t tid, uint64_t at_ns)
{
    next_event(json, out);
    api_buf_printf(out, "{\"ph\":\"%s\",\"pid\":%d,\"tid\":%" PRIu64 ",", phase, pid, tid);
    put_time(out, "ts", json->begin_ns, at_ns);
}

static void name_processor(struct api_trace_json *json, int p, struct api_buf *out)
{
    if (p < 0 || p >= GR_PROCS_MAX || json->processors[p / 64] >> (p % 64) & 1)
        return;
    json->processors[p / 64] |= (uint64_t)1 << (p % 64);
    next_event(json, out);
    api_buf_printf(out,
                   "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":{"
                   "\"name\":\"processor %d\"}}",
                   PID_PROCESSORS, p, p);
}

/* How a run ended, for its slice. */
static const char *ending(const struct gr_trace_record *r)
{
    static const char *const slice[] = {"slice over", "slice over (check)", "slice over (signal)"};
    static const char *const stop[] = {"held at a call", "held at a check", "held by signal"};
    switch (r ? r->kind : GR_TRACE_KINDS) {
    case GR_TRACE_BLOCK:
        return gr_trace_reason(r->detail);
    case GR_TRACE_YIELD:
        return "yield";
    case GR_TRACE_SLICE:
        return slice[r->detail < GR_SAFEPOINTS ? r->detail : 0];
    case GR_TRACE_STOP:
        return stop[r->detail < GR_SAFEPOINTS ? r->detail : 0];
    case GR_TRACE_SYSCALL:
        return "system call";
    case GR_TRACE_END:
        return "end";
    default:
        return "trace over";
    }
}

/* The run on a thread is over; r: by what, NULL: by the trace's end. */
static void end_run(struct api_trace_json *json, struct api_trace_run *run, uint64_t at_ns,
                    const struct gr_trace_record *r, struct api_buf *out)
{
    if (!run->id)
        return;
    if (run->p >= 0) {
        put_head(json, out, "X", PID_PROCESSORS, (uint64_t)run->p, run->since_ns);
        api_buf_str(out, ",");
        put_time(out, "dur", run->since_ns, at_ns);
        api_buf_printf(out,
                       ",\"cat\":\"run\",\"name\":\"%s\",\"args\":{\"goroutine\":%" PRIu64
                       ",\"ended by\":\"%s\"}}",
                       slot_of(json, run->id)->name, run->id, ending(r));
    }
    run->id = 0;
}

static void state_name(const struct api_trace_goroutine *g, char *name, size_t bytes)
{
    static const char *const names[] = {"",        "running", "runnable",
                                        "waiting", "held",    "system call"};
    if (g->state == STATE_WAITING)
        snprintf(name, bytes, "waiting: %s", gr_trace_reason(g->detail));
    else
        snprintf(name, bytes, "%s", names[g->state]);
}

/* g leaves the state it was in. */
static void change(struct api_trace_json *json, struct api_trace_goroutine *g, enum state state,
                   unsigned detail, uint64_t at_ns, struct api_buf *out)
{
    char name[64];
    if (g->state != STATE_NONE && g->state != STATE_RUNNING) {
        state_name(g, name, sizeof name);
        put_head(json, out, "X", PID_GOROUTINES, g->id, g->since_ns);
        api_buf_str(out, ",");
        put_time(out, "dur", g->since_ns, at_ns);
        api_buf_printf(out, ",\"cat\":\"state\",\"name\":\"%s\"}", name);
    }
    g->state = state;
    g->detail = detail;
    g->since_ns = at_ns;
}

/* From who woke g to its slice, which begins now on processor p. */
static void put_flow(struct api_trace_json *json, struct api_trace_goroutine *g, int p,
                     uint64_t at_ns, struct api_buf *out)
{
    uint64_t flow = ++json->flows;
    put_head(json, out, "s", PID_PROCESSORS, (uint64_t)g->woken_p, g->woken_ns);
    api_buf_printf(out, ",\"cat\":\"wake\",\"name\":\"wake\",\"id\":%" PRIu64 "}", flow);
    put_head(json, out, "f", PID_PROCESSORS, (uint64_t)p, at_ns);
    api_buf_printf(out, ",\"cat\":\"wake\",\"name\":\"wake\",\"id\":%" PRIu64 ",\"bp\":\"e\"}",
                   flow);
    g->woken_ns = 0;
}

static void put_instant(struct api_trace_json *json, uint64_t id, const char *name, uint64_t at_ns,
                        uint64_t parent, struct api_buf *out)
{
    put_head(json, out, "i", PID_GOROUTINES, id, at_ns);
    api_buf_printf(out, ",\"s\":\"t\",\"name\":\"%s\",\"args\":{\"parent\":%" PRIu64 "}}", name,
                   parent);
}

/* ---- Holds ----------------------------------------------------------------------------------- */

static struct api_trace_hold *hold_slot(const struct api_trace_json *json, uint64_t id)
{
    size_t i = (id * 0x9e3779b97f4a7c15u >> 32) & (json->hold_slots - 1);
    /* Ends: half of the slots are free. */
    while (json->hold[i].id && json->hold[i].id != id)
        i = (i + 1) & (json->hold_slots - 1);
    return &json->hold[i];
}

/* NULL: no memory. */
static struct api_trace_hold *hold_of(struct api_trace_json *json, uint64_t id)
{
    struct api_trace_hold *old = json->hold;
    size_t old_slots = json->hold_slots;
    if (json->hold_count * 2 >= old_slots) {
        size_t slots = old_slots ? old_slots * 2 : 64;
        struct api_trace_hold *grown = calloc(slots, sizeof *grown);
        if (!grown) {
            json->failed = true;
            return NULL;
        }
        json->hold = grown;
        json->hold_slots = slots;
        for (size_t i = 0; i < old_slots; i++)
            if (old[i].id)
                *hold_slot(json, old[i].id) = old[i];
        free(old);
    }
    struct api_trace_hold *hold = hold_slot(json, id);
    json->hold_count += hold->id == 0;
    hold->id = id;
    return hold;
}

static void put_hold(struct api_trace_json *json, const struct api_trace_hold *hold,
                     const char *phase, uint64_t at_ns, struct api_buf *out)
{
    put_head(json, out, phase, PID_HOLDS, hold->goroutine, at_ns);
    api_buf_printf(out, ",\"cat\":\"hold\",\"id\":\"0x%" PRIx64 "\",\"name\":\"hold of %s\"}",
                   hold->id, slot_of(json, hold->goroutine)->name);
}

/* A record of its other end may have been overwritten, or be older than the trace. */
static void change_hold(struct api_trace_json *json, const struct gr_trace_record *r, bool open,
                        struct api_buf *out)
{
    struct api_trace_hold *hold = hold_of(json, r->other);
    if (!hold)
        return;
    if (open && hold->open)
        put_hold(json, hold, "e", r->at_ns, out);
    hold->goroutine = r->id;
    if (open)
        put_hold(json, hold, "b", r->at_ns, out);
    else if (!hold->open)
        put_hold(json, hold, "b",
                 hold->closed_ns > json->begin_ns ? hold->closed_ns : json->begin_ns, out);
    if (!open)
        put_hold(json, hold, "e", r->at_ns, out);
    hold->closed_ns = r->at_ns;
    hold->open = open;
}

/* ---- Records --------------------------------------------------------------------------------- */

static struct api_trace_run *run_of(struct api_trace_json *json, int thread)
{
    size_t index = (size_t)(thread + 1);
    if (index >= json->run_count) {
        struct api_trace_run *run = reallocarray(json->run, index + 1, sizeof *run);
        if (!run) {
            json->failed = true;
            return NULL;
        }
        memset(run + json->run_count, 0, (index + 1 - json->run_count) * sizeof *run);
        json->run = run;
        json->run_count = index + 1;
    }
    return &json->run[index];
}

static void begin_run(struct api_trace_json *json, struct api_trace_run *run,
                      struct api_trace_goroutine *g, const struct gr_trace_record *r,
                      struct api_buf *out)
{
    if (run->id == r->id)
        return; /* it was let go on without having left */
    end_run(json, run, r->at_ns, NULL, out);
    change(json, g, STATE_RUNNING, 0, r->at_ns, out);
    *run = (struct api_trace_run){.id = r->id, .since_ns = r->at_ns, .p = r->p};
    name_processor(json, r->p, out);
    if (g->woken_ns && r->p >= 0)
        put_flow(json, g, r->p, r->at_ns, out);
    g->woken_ns = 0;
}

static void wake(struct api_trace_json *json, const struct api_trace_run *run,
                 struct api_trace_goroutine *g, const struct gr_trace_record *r,
                 struct api_buf *out)
{
    change(json, g, STATE_RUNNABLE, 0, r->at_ns, out);
    /* Only goroutines have slices that an arrow can begin at. */
    bool known = r->other && run->id == r->other && run->p >= 0 && run->p == r->p;
    g->woken_ns = known ? r->at_ns : 0;
    g->woken_p = r->p;
}

void api_trace_json_add(struct api_trace_json *json, const struct gr_trace_record *r,
                        struct api_buf *out)
{
    struct api_trace_run *run = run_of(json, r->thread);
    struct api_trace_goroutine *g = goroutine_of(json, r->id, out);
    if (!run || !g)
        return;
    json->last_ns = r->at_ns;
    /* How a goroutine leaves its thread is written by that thread. */
    if (run->id == r->id && r->kind >= GR_TRACE_BLOCK && r->kind <= GR_TRACE_END &&
        r->kind != GR_TRACE_SYSCALL_END)
        end_run(json, run, r->at_ns, r, out);
    switch (r->kind) {
    case GR_TRACE_RUN:
    case GR_TRACE_SYSCALL_END:
        begin_run(json, run, g, r, out);
        break;
    case GR_TRACE_BLOCK:
        change(json, g, STATE_WAITING, r->detail, r->at_ns, out);
        break;
    case GR_TRACE_YIELD:
    case GR_TRACE_SLICE:
        change(json, g, STATE_RUNNABLE, 0, r->at_ns, out);
        break;
    case GR_TRACE_STOP:
        change(json, g, STATE_HELD, 0, r->at_ns, out);
        break;
    case GR_TRACE_SYSCALL:
        change(json, g, STATE_SYSCALL, 0, r->at_ns, out);
        break;
    case GR_TRACE_END:
        change(json, g, STATE_NONE, 0, r->at_ns, out);
        put_instant(json, r->id, "end", r->at_ns, 0, out);
        break;
    case GR_TRACE_READY:
        wake(json, run, g, r, out);
        break;
    case GR_TRACE_BORN:
        change(json, g, STATE_RUNNABLE, 0, r->at_ns, out);
        put_instant(json, r->id, "born", r->at_ns, r->other, out);
        break;
    case GR_TRACE_HELD:
        change_hold(json, r, true, out);
        break;
    case GR_TRACE_RELEASED:
        change_hold(json, r, false, out);
        break;
    default:
        break;
    }
}

/* ---- The document ---------------------------------------------------------------------------- */

void api_trace_json_begin(struct api_trace_json *json, uint64_t begin_ns, uint64_t lost,
                          struct api_buf *out)
{
    static const char *const names[] = {
        [PID_PROCESSORS] = "processors", [PID_GOROUTINES] = "goroutines", [PID_HOLDS] = "holds"};
    json->begin_ns = json->last_ns = begin_ns;
    json->lost = lost;
    api_buf_str(out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    for (int pid = PID_PROCESSORS; pid <= PID_HOLDS; pid++) {
        next_event(json, out);
        api_buf_printf(out,
                       "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":"
                       "\"%s\"}}",
                       pid, names[pid]);
    }
}

void api_trace_json_end(struct api_trace_json *json, uint64_t end_ns, struct api_buf *out)
{
    if (end_ns > json->last_ns)
        json->last_ns = end_ns;
    for (size_t i = 0; i < json->run_count; i++)
        end_run(json, &json->run[i], json->last_ns, NULL, out);
    for (size_t i = 0; i < json->slots; i++)
        if (json->goroutine[i].id)
            change(json, &json->goroutine[i], STATE_NONE, 0, json->last_ns, out);
    for (size_t i = 0; i < json->hold_slots; i++)
        if (json->hold[i].open)
            put_hold(json, &json->hold[i], "e", json->last_ns, out);
    api_buf_printf(out, "\n],\"otherData\":{\"overwritten records\":%" PRIu64 "}}\n", json->lost);
    out->failed = out->failed || json->failed;
}

void api_trace_json_free(struct api_trace_json *json)
{
    free(json->run);
    free(json->goroutine);
    free(json->hold);
}
