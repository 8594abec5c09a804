/*
 * saved_show.c: GET /v1/snapshots/ID in the form that is asked for. See saved.h.
 *
 * JSON and core are parts of the file as they are, sent in pieces. Text and folded stacks are made from one line, that
 * is one goroutine, at a time; only a form that needs the whole JSON as a value (pretty, ndjson) takes it into memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "flame.h"
#include "saved.h"
#include "tally.h"

#define PIECE_BYTES ((size_t)256 * 1024)
#define WHOLE_BYTES ((uint64_t)256 * 1024 * 1024) /* read as one value at most */

struct reading {
    char name[API_SAVED_NAME_BYTES];
    uint64_t at, end; /* what is still to be read of the file */
    struct api_buf rest;
    size_t rest_at; /* of rest: where the next line begins */
    struct api_tally tally; /* of folded stacks */
    struct api_buf scratch;
};

static ssize_t read_some(struct api_call *call, struct reading *r, char *to, size_t bytes)
{
    const struct api_host *host = &call->api->host;
    if (bytes > r->end - r->at)
        bytes = (size_t)(r->end - r->at);
    ssize_t size = bytes ? host->store_read(host->ctx, r->name, r->at, to, bytes) : 0;
    if (size > 0)
        r->at += (uint64_t)size;
    return size == 0 && bytes ? -EIO : size; /* shorter than it was written */
}

static void reading_free(struct api_call *call)
{
    struct reading *r = call->state;
    api_buf_free(&r->rest);
    api_tally_free(&r->tally);
    api_buf_free(&r->scratch);
    free(r);
}

/* ---- As it is -------------------------------------------------------------------------------- */

static void raw_piece(struct api_call *call)
{
    struct reading *r = call->state;
    bool first = !call->reply.more; /* then there is still time for a problem */
    char *block = malloc(PIECE_BYTES);
    ssize_t size = block ? read_some(call, r, block, PIECE_BYTES) : -ENOMEM;
    if (size > 0)
        api_buf_add(&call->reply.body, block, (size_t)size);
    free(block);
    call->reply.more = size > 0 && r->at < r->end && !call->reply.body.failed;
    if (size < 0 && first)
        api_saved_problem(call, (int)size);
    else if (size < 0)
        api_reply_cut(call);
}

static void start(struct api_call *call, const char *type, void (*piece)(struct api_call *call))
{
    call->piece = piece;
    call->reply.status = 200;
    call->reply.content_type = type;
    call->reply.streaming = true;
    piece(call);
    if (call->reply.status != 200)
        call->reply.streaming = false;
}

/* ---- Line by line ---------------------------------------------------------------------------- */

/* The next goroutine; NULL and *err 0 at the end. */
static json_t *next_member(struct api_call *call, struct reading *r, int *err)
{
    *err = 0;
    /* Ends: each turn reads on in the file, or takes a line of what was read. */
    for (;;) {
        char *line = r->rest.data + r->rest_at;
        char *end =
            r->rest.size > r->rest_at ? memchr(line, '\n', r->rest.size - r->rest_at) : NULL;
        if (end) {
            size_t size = (size_t)(end - line);
            r->rest_at += size + 1;
            if (size && line[size - 1] == ',')
                size--;
            json_t *value = json_loadb(line, size, 0, NULL);
            if (value)
                return value;
            continue; /* the head, which goes on in the next line, or the end */
        }
        if (r->at == r->end)
            return NULL;
        struct api_buf more = {0};
        char *block = malloc(PIECE_BYTES);
        ssize_t size = block ? read_some(call, r, block, PIECE_BYTES) : -ENOMEM;
        if (r->rest.size > r->rest_at)
            api_buf_add(&more, r->rest.data + r->rest_at, r->rest.size - r->rest_at);
        if (size > 0)
            api_buf_add(&more, block, (size_t)size);
        free(block);
        api_buf_free(&r->rest);
        r->rest = more;
        r->rest_at = 0;
        if (size < 0 || more.failed) {
            *err = size < 0 ? (int)size : -ENOMEM;
            return NULL;
        }
    }
}

static void text_piece(struct api_call *call)
{
    struct reading *r = call->state;
    json_t *member;
    bool first = !call->reply.more;
    int err = 0;
    while (call->reply.body.size < PIECE_BYTES && (member = next_member(call, r, &err))) {
        api_text_snapshot(&call->reply.body, member);
        api_buf_str(&call->reply.body, "\n");
        json_decref(member);
    }
    call->reply.more = !err && call->reply.body.size >= PIECE_BYTES && !call->reply.body.failed;
    if (err && first)
        api_saved_problem(call, err); /* whatever was made of it: nothing was sent */
    else if (err)
        api_reply_cut(call);
}

/* root;…;leaf of one goroutine. */
static void fold(struct api_tally *tally, struct api_buf *scratch, const json_t *member)
{
    json_t *frames = json_object_get(member, "frames");
    api_buf_clear(scratch);
    for (size_t i = json_array_size(frames); i > 0; i--) {
        json_t *frame = json_array_get(frames, i - 1);
        const char *name = json_string_value(json_object_get(frame, "function"));
        if (!name)
            name = json_string_value(json_object_get(frame, "pc"));
        if (scratch->size)
            api_buf_str(scratch, ";");
        api_buf_str(scratch, name ? name : "?");
    }
    if (scratch->size)
        api_tally_add(tally, scratch->data, scratch->size, 1, 0);
}

/* Pool. In slices. */
static void reply_folded(struct api_call *call)
{
    struct reading *r = call->state;
    json_t *member;
    int err;
    while ((member = next_member(call, r, &err))) {
        fold(&r->tally, &r->scratch, member);
        json_decref(member);
        if (api_slice_over(call)) {
            call->again = true;
            return;
        }
    }
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_TEXT;
    api_folded_write(&r->tally, &call->reply.body);
    if (err || r->tally.failed || call->reply.body.failed)
        api_saved_problem(call, err ? err : -ENOMEM);
}

/* ---- As one value ---------------------------------------------------------------------------- */

static void reply_value(struct api_call *call)
{
    struct reading *r = call->state;
    size_t bytes = (size_t)r->end, got = 0;
    if (r->end > WHOLE_BYTES) {
        api_problem(call, 406, API_CODE_NOT_ACCEPTABLE,
                    "the snapshot is too large for this format; ask for json or text");
        return;
    }
    char *text = malloc(bytes + 1);
    ssize_t size = text ? 1 : -ENOMEM;
    while (size > 0 && got < bytes) {
        size = read_some(call, r, text + got, bytes - got);
        got += size > 0 ? (size_t)size : 0;
    }
    if (size < 0)
        api_saved_problem(call, (int)size);
    else
        api_reply_json(call, 200, json_loadb(text, got, 0, NULL));
    free(text);
}

void api_handle_saved_show(struct api_call *call)
{
    struct api_saved saved;
    if (!api_saved_find(&call->api->saved, call->id, &saved)) {
        api_problem(call, 404, API_CODE_NOT_FOUND, "there is no saved snapshot %" PRIu64, call->id);
        return;
    }
    struct reading *r = calloc(1, sizeof *r);
    if (!r) {
        api_problem_no_memory(call);
        return;
    }
    api_saved_name(call->api, call->id, r->name);
    r->end = saved.json_bytes;
    call->state = r;
    call->cleanup = reading_free;
    switch (call->format) {
    case API_FORMAT_CORE:
        r->at = saved.json_bytes;
        r->end = saved.json_bytes + saved.core_bytes;
        start(call, api_format_type(call->format), raw_piece);
        break;
    case API_FORMAT_JSON:
        start(call, API_TYPE_JSON, raw_piece);
        break;
    case API_FORMAT_TEXT:
        start(call, API_TYPE_TEXT, text_piece);
        break;
    case API_FORMAT_FOLDED:
        call->work = reply_folded; /* the next slices begin here */
        reply_folded(call);
        break;
    default:
        reply_value(call);
    }
}
