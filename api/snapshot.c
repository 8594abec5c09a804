/*
 * snapshot.c: a look at one goroutine: hold, copy, let go, and only then unwind and format.
 *
 * The goroutine stands still for the copy alone: the runtime's call-back copies and releases on the
 * spot, on whatever thread saw the stop, before anything else happens. The loop hears of it
 * afterwards and hands the copy to a pool thread. A goroutine that others hold is copied at once on
 * the loop.
 *
 *   I1  From gr_hold_start until `outcome` is set only the call-back touches the copy.
 *   I2  A snapshot leaves no hold behind: on every way out the hold was ended, withdrawn or never
 *       given.
 */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define TIMEOUT_NS (UINT64_C(1000000) * API_TIMEOUT_MS_DEFAULT)

struct snapshot {
    struct gr_hold hold;
    struct api_task task;
    struct api_call *call;
    struct gr_copy *copy;
    int outcome; /* of copy_and_release; written before the post, read after it */
    uint64_t latency_ns, held_ns;
    bool frames_only;
    void (*reply)(struct api_call *call); /* on the pool, with the copy */
};

static void snapshot_free(struct api_call *call)
{
    struct snapshot *snapshot = call->state;
    api_copy_give(call->api->copies, snapshot->copy);
    free(snapshot);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *frame_json(const struct gr_frame *frame)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "pc", api_json_hex(frame->pc), "function",
                     api_json_string(frame->function), "offset", api_json_uint(frame->offset),
                     "file", api_json_string(frame->file), "line",
                     frame->line ? json_integer(frame->line) : json_null(), "module",
                     api_json_string(frame->module), "inlined", frame->inlined);
}

static json_t *frames_json(const struct gr_copy *copy, bool *truncated)
{
    struct gr_frame *frames = malloc(GR_FRAMES_MAX * sizeof *frames);
    ssize_t count = frames ? gr_unwind(copy, frames, GR_FRAMES_MAX, truncated) : -ENOMEM;
    json_t *list = count < 0 ? NULL : json_array();
    for (ssize_t i = 0; i < count; i++)
        json_array_append_new(list, frame_json(&frames[i]));
    free(frames);
    return list;
}

static json_t *registers_json(const struct gr_copy *copy)
{
    json_t *registers = json_object();
    for (unsigned i = 0; i < gr_register_count() && i < GR_COPY_REGS; i++)
        if (copy->reg_present >> i & 1)
            json_object_set_new(registers, gr_register_name(i), api_json_hex(copy->reg[i]));
    return registers;
}

static void add_vector(void *arg, const char *name, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = bytes;
    char text[2 * 256 + 1]; /* no vector register is wider than an SVE one */
    if (size > 256)
        return;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[at[i] >> 4];
        text[2 * i + 1] = digits[at[i] & 15];
    }
    json_object_set_new(arg, name, json_stringn(text, 2 * size));
}

static json_t *base64_json(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((size + 2) / 3 * 4 + 1), *out = text;
    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i += 3) {
        unsigned left = size - i < 3 ? (unsigned)(size - i) : 3;
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0u);
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    json_t *value = json_stringn(text, (size_t)(out - text));
    free(text);
    return value;
}

static json_t *stack_json(const struct gr_copy *copy, uint64_t bytes)
{
    json_t *stack =
        json_pack("{s:o,s:o,s:o,s:o,s:b}", "lo", api_json_hex(copy->stack_lo), "hi",
                  api_json_hex(copy->stack_hi), "sp", api_json_hex(copy->sp), "copied_bytes",
                  api_json_uint(copy->copied_bytes), "truncated", copy->truncated);
    if (bytes == 0)
        return stack;
    bytes = bytes < copy->copied_bytes ? bytes : copy->copied_bytes;
    json_object_set_new(stack, "base64_lo", api_json_hex(copy->copied_lo));
    json_object_set_new(stack, "base64", base64_json(copy->stack, bytes));
    return stack;
}

json_t *api_copy_json(const struct gr_copy *copy)
{
    bool truncated = false;
    json_t *frames = frames_json(copy, &truncated);
    if (!frames)
        return NULL;
    return json_pack("{s:o,s:s,s:o,s:o,s:o,s:b}", "goroutine", api_json_uint(copy->id), "safepoint",
                     gr_safepoint_name(copy->safepoint), "registers", registers_json(copy), "stack",
                     stack_json(copy, 0), "frames", frames, "frames_truncated", truncated);
}

/* Pool. */
static void reply_snapshot(struct api_call *call)
{
    struct snapshot *snapshot = call->state;
    const struct gr_copy *copy = snapshot->copy;
    bool truncated = false;
    json_t *frames = frames_json(copy, &truncated);
    if (!frames) {
        api_problem_no_memory(call);
        return;
    }
    json_t *value = json_object();
    json_object_set_new(value, "goroutine", api_json_uint(call->id));
    json_object_set_new(value, "safepoint", json_string(gr_safepoint_name(copy->safepoint)));
    json_object_set_new(value, "latency_ns", api_json_uint(snapshot->latency_ns));
    json_object_set_new(value, "held_ns", api_json_uint(snapshot->held_ns));
    if (!snapshot->frames_only) {
        json_object_set_new(value, "registers", registers_json(copy));
        if (api_param_bool(call, "vectors", false)) {
            json_t *vectors = json_object();
            gr_copy_vectors_each(copy, add_vector, vectors);
            json_object_set_new(value, "vectors", vectors);
        }
        json_object_set_new(value, "stack", stack_json(copy, api_param_uint(call, "bytes", 0)));
    }
    json_object_set_new(value, "frames", frames);
    json_object_set_new(value, "frames_truncated", json_boolean(truncated));
    api_reply_json(call, 200, value);
    api_copy_give(call->api->copies, snapshot->copy);
    snapshot->copy = NULL;
}

/* Pool. */
static void reply_roots(struct api_call *call)
{
    struct snapshot *snapshot = call->state;
    api_roots_reply(call, snapshot->copy);
    api_copy_give(call->api->copies, snapshot->copy);
    snapshot->copy = NULL;
}

/* Pool. */
static void reply_timeout(struct api_call *call)
{
    struct snapshot *snapshot = call->state;
    api_problem_timeout(call, &snapshot->hold);
}

/* ---- Holding --------------------------------------------------------------------------------- */

/* Any thread, also a system stack: nothing here blocks or allocates. */
static void copy_and_release(struct snapshot *snapshot)
{
    struct gr_hold *hold = &snapshot->hold;
    /* acquire; pairs with the teller's release: the hold's fields are complete. */
    switch (atomic_load_explicit(&hold->state, memory_order_acquire)) {
    case GR_HOLD_STOPPED:
        snapshot->outcome = gr_copy_held(hold, snapshot->copy);
        snapshot->held_ns = gr_now_ns() - hold->stopped_ns;
        gr_hold_end(hold);
        break;
    case GR_HOLD_GONE:
        snapshot->outcome = -EOWNERDEAD;
        break;
    default:
        snapshot->outcome = -ETIMEDOUT;
        break;
    }
}

static void on_hold(struct gr_hold *hold)
{
    struct snapshot *snapshot = hold->ctx;
    const struct api_host *host = &snapshot->call->api->host;
    copy_and_release(snapshot);
    host->post(host->ctx, &snapshot->task);
}

static void answer(struct api_call *call, int outcome)
{
    call->abandon = NULL;
    if (outcome == 0) {
        api_call_pool(call, ((struct snapshot *)call->state)->reply);
    } else if (outcome == -ETIMEDOUT) {
        api_call_pool(call, reply_timeout);
    } else {
        api_problem_goroutine(call, outcome, call->id);
        api_call_done(call);
    }
}

static void told(struct api_task *task)
{
    struct snapshot *snapshot = (struct snapshot *)((char *)task - offsetof(struct snapshot, task));
    const struct gr_hold *hold = &snapshot->hold;
    if (hold->stopped_ns > snapshot->call->request.parsed_ns)
        snapshot->latency_ns = hold->stopped_ns - snapshot->call->request.parsed_ns;
    answer(snapshot->call, snapshot->outcome);
}

static void snapshot_abandoned(struct api_call *call)
{
    struct snapshot *snapshot = call->state;
    if (gr_hold_cancel(&snapshot->hold))
        answer(call, -ETIMEDOUT);
}

static void take(struct api_call *call, bool frames_only, void (*reply)(struct api_call *call))
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    struct gr_copy *copy = snapshot ? api_copy_take(call->api->copies) : NULL;
    if (!copy) {
        free(snapshot);
        api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    snapshot->call = call;
    snapshot->copy = copy;
    snapshot->frames_only = frames_only;
    snapshot->reply = reply;
    snapshot->task.run = told;
    call->state = snapshot;
    call->cleanup = snapshot_free;
    int result = gr_hold_start(&snapshot->hold, call->id, TIMEOUT_NS, on_hold, snapshot);
    if (result == GR_HOLD_PENDING) {
        call->abandon = snapshot_abandoned;
        return;
    }
    if (result == GR_HOLD_STOPPED) {
        copy_and_release(snapshot);
        result = snapshot->outcome;
        /* 0 if it stood still when asked; else it stopped by itself within the short watch. */
        if (snapshot->hold.stopped_ns > snapshot->hold.asked_ns)
            snapshot->latency_ns = snapshot->hold.stopped_ns - call->request.parsed_ns;
    }
    answer(call, result);
}

void api_handle_snapshot(struct api_call *call)
{
    take(call, false, reply_snapshot);
}

void api_handle_stack(struct api_call *call)
{
    take(call, true, reply_snapshot);
}

void api_handle_roots(struct api_call *call)
{
    if (api_roots_check(call))
        take(call, true, reply_roots);
    else
        api_call_done(call);
}
