/*
 * list.c: pages, cursors and NDJSON streams over walks in ascending order of id.
 *
 * Because ids only grow and a walk only goes up, an object that is there throughout is met exactly
 * once, whatever comes and goes meanwhile; the cursor needs no state in the daemon: it is where the
 * walk is, and the sequence number from before its first page. Rejected: offsets, which skip and
 * repeat.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ITEMS 256 /* of a stream: some 200 KiB of goroutines */

/* INSTANCE8-SEQ-AFTER: of another instance it means nothing, and says so. */
static void cursor_write(const struct api_walk *walk, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%.8s-%" PRIu64 "-%" PRIu64, walk->api->instance, walk->seq,
             walk->after);
}

static bool cursor_read(struct api_walk *walk, const char *text)
{
    char copy[80];
    if (strlen(text) >= sizeof copy || strncmp(text, walk->api->instance, 8) || text[8] != '-')
        return false;
    strcpy(copy, text + 9);
    char *dash = strchr(copy, '-');
    if (!dash)
        return false;
    *dash = 0;
    return api_parse_uint(copy, 0, UINT64_MAX, &walk->seq) &&
           api_parse_uint(dash + 1, 0, UINT64_MAX - 1, &walk->after);
}

bool api_walk_begin(struct api_call *call, struct api_walk *walk)
{
    const char *cursor = api_param(call, "cursor");
    walk->api = call->api;
    walk->as_text = call->format == API_FORMAT_JSON || call->format == API_FORMAT_NDJSON;
    walk->after = 0;
    walk->seq = api_event_seq(call->api);
    if (!cursor || cursor_read(walk, cursor))
        return true;
    api_problem(
        call, 400, API_CODE_BAD_CURSOR,
        "this cursor is not from a list of this instance of the daemon; begin again without "
        "one");
    return false;
}

/* The next page's target, with every parameter but the cursor as it came. */
static void add_link(struct api_call *call, const char *cursor)
{
    struct api_buf *out = &call->reply.headers;
    char value[3 * API_URI_BYTES_MAX + 1];
    api_buf_printf(out, "Link: <%s?cursor=%s", call->route->path, cursor);
    for (size_t i = 0; i < call->target.param_count; i++) {
        const struct api_param *param = &call->target.param[i];
        if (strcmp(param->name, "cursor") == 0)
            continue;
        api_percent_encode(value, sizeof value, param->value);
        api_buf_printf(out, "&%s=%s", param->name, value);
    }
    api_buf_str(out, ">; rel=\"next\"\r\n");
}

/* The next item: the one that was looked at before, or the walk's. */
static uint64_t take(struct api_walk *walk, json_t **item)
{
    uint64_t id = walk->peeked_id;
    if (!id)
        return walk->next(walk, item);
    *item = walk->peeked;
    walk->peeked = NULL;
    walk->peeked_id = 0;
    walk->after = id;
    return id;
}

/* Up to `limit` items; *more: another one exists, and `after` is what comes before it. NULL: out of
 * memory. */
static json_t *collect(struct api_walk *walk, size_t limit, bool *more)
{
    json_t *items = json_array();
    *more = false;
    while (items) {
        json_t *item = NULL;
        uint64_t before = walk->after;
        uint64_t id = take(walk, &item);
        if (id == 0)
            break;
        if (json_array_size(items) == limit) {
            walk->peeked = item;
            walk->peeked_id = id;
            walk->after = before;
            *more = true;
            break;
        }
        if (!item || json_array_append_new(items, item)) {
            json_decref(items);
            items = NULL;
        }
    }
    return items;
}

static void walk_end(struct api_walk *walk)
{
    json_decref(walk->peeked);
    walk->destroy(walk);
}

static void reply_page(struct api_call *call, struct api_walk *walk, size_t limit)
{
    bool more;
    char cursor[80];
    json_t *items = collect(walk, limit, &more);
    if (!items) {
        api_problem_no_memory(call);
        return;
    }
    cursor_write(walk, cursor, sizeof cursor);
    if (more)
        add_link(call, cursor);
    json_t *next = more ? json_string(cursor) : json_null();
    api_reply_json(
        call, 200,
        json_pack("{s:o,s:o,s:o}", "items", items, "next", next, "seq", api_json_uint(walk->seq)));
}

/* ---- NDJSON
 * -------------------------------------------------------------------------------------- */

struct stream {
    struct api_walk *walk;
    size_t limit; /* lines that may still come; SIZE_MAX: all */
};

static void stream_free(struct api_call *call)
{
    struct stream *stream = call->state;
    walk_end(stream->walk);
    free(stream);
}

static void end_line(struct api_call *call, struct api_walk *walk, bool more)
{
    char cursor[80];
    json_t *line = json_pack("{s:b,s:o}", "end", 1, "seq", api_json_uint(walk->seq));
    if (more) {
        cursor_write(walk, cursor, sizeof cursor);
        json_object_set_new(line, "next", json_string(cursor));
    }
    api_render(&call->reply.body, line, API_FORMAT_NDJSON, NULL);
    json_decref(line);
    call->reply.more = false;
}

/* Pool. A piece that runs out of memory ends the stream without its last line: it was cut. */
static void stream_piece(struct api_call *call)
{
    struct stream *stream = call->state;
    size_t want = stream->limit < PIECE_ITEMS ? stream->limit : PIECE_ITEMS;
    bool more;
    json_t *items = collect(stream->walk, want, &more);
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) api_render(&call->reply.body, item, API_FORMAT_NDJSON, NULL);
    if (stream->limit != SIZE_MAX)
        stream->limit -= json_array_size(items);
    call->reply.more = items && more && stream->limit > 0;
    if (items && !call->reply.more)
        end_line(call, stream->walk, more);
    json_decref(items);
}

static void stream_start(struct api_call *call, struct api_walk *walk)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        walk_end(walk);
        api_problem_no_memory(call);
        return;
    }
    stream->walk = walk;
    stream->limit = api_param(call, "limit") ? api_param_uint(call, "limit", 0) : SIZE_MAX;
    call->state = stream;
    call->cleanup = stream_free;
    call->piece = stream_piece;
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_NDJSON;
    call->reply.streaming = true;
    stream_piece(call);
}

void api_list_reply(struct api_call *call, struct api_walk *walk)
{
    if (call->format == API_FORMAT_NDJSON) {
        stream_start(call, walk);
        return;
    }
    reply_page(call, walk, api_param_uint(call, "limit", API_LIMIT_DEFAULT));
    walk_end(walk);
}
