/*
 * list.c: pages, cursors and NDJSON streams over walks in ascending order of id.
 *
 * Because ids only grow and a walk only goes up, an object that is there throughout is met exactly
 * once, whatever comes and goes meanwhile; the cursor needs no state in the daemon: it is where the
 * walk is, and the sequence number from before its first page. Rejected: offsets, which skip and
 * repeat.
 *
 * A page is collected in slices, too (turns.h): a filter that nothing matches looks at everybody.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ITEMS 256 /* of a stream: some 200 KiB of goroutines */
#define LOOK_ITEMS  16  /* between two looks at the clock */

/* INSTANCE8-ROUTE-SEQ-AFTER: in another instance, or another list, it means nothing, and says so. */
static int cursor_begin(const struct api_walk *walk, char *out, size_t out_bytes)
{
    return snprintf(out, out_bytes, "%.8s-%td-", walk->api->instance,
                    walk->call->route - api_routes);
}

static void cursor_write(const struct api_walk *walk, char *out, size_t out_bytes)
{
    int begin = cursor_begin(walk, out, out_bytes);
    snprintf(out + begin, out_bytes - (size_t)begin, "%" PRIu64 "-%" PRIu64, walk->seq,
             walk->after);
}

static bool cursor_read(struct api_walk *walk, const char *text)
{
    char copy[80], mine[16];
    size_t begin = (size_t)cursor_begin(walk, mine, sizeof mine);
    if (strlen(text) >= sizeof copy || strncmp(text, mine, begin))
        return false;
    strcpy(copy, text + begin);
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
    walk->call = call;
    walk->as_text = call->format == API_FORMAT_JSON || call->format == API_FORMAT_NDJSON;
    walk->after = 0;
    walk->seq = api_event_seq(call->api);
    if (!cursor || cursor_read(walk, cursor))
        return true;
    api_problem(
        call, 400, API_CODE_BAD_CURSOR,
        "this cursor is not from this list, or not of this instance of the daemon; begin again "
        "without one");
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

/* What has been collected so far, and how that ended. */
struct page {
    struct api_walk *walk;
    size_t limit;
    json_t *items; /* NULL: out of memory */
    bool more;     /* another one exists, and walk->after is what comes before it */
};

/* Up to `limit` items; true: that is all of them, false: the slice is over before. */
static bool collect(struct page *page)
{
    struct api_walk *walk = page->walk;
    /* Ends: each turn goes up, to `limit` items at most. */
    while (page->items) {
        json_t *item = NULL;
        uint64_t before = walk->after, id = take(walk, &item);
        if (id == 0 && walk->paused)
            return false;
        if (id == 0)
            break;
        if (json_array_size(page->items) == page->limit) {
            walk->peeked = item;
            walk->peeked_id = id;
            walk->after = before;
            page->more = true;
            break;
        }
        if (!item || json_array_append_new(page->items, item)) {
            json_decref(page->items);
            page->items = NULL;
        } else {
            size_t count = json_array_size(page->items);
            if (count % LOOK_ITEMS == 0 && count < page->limit && api_slice_over(walk->call))
                return false;
        }
    }
    return true;
}

static void page_free(struct api_call *call)
{
    struct page *page = call->state;
    json_decref(page->items);
    json_decref(page->walk->peeked);
    page->walk->destroy(page->walk);
    free(page);
}

/* Pool. */
static void reply_page(struct api_call *call)
{
    struct page *page = call->state;
    char cursor[80];
    if (!collect(page)) {
        call->again = true;
        return;
    }
    if (!page->items) {
        api_problem_no_memory(call);
        return;
    }
    cursor_write(page->walk, cursor, sizeof cursor);
    if (page->more)
        add_link(call, cursor);
    json_t *next = page->more ? json_string(cursor) : json_null();
    json_t *items = page->items;
    page->items = NULL;
    api_reply_json(call, 200,
                   json_pack("{s:o,s:o,s:o}", "items", items, "next", next, "seq",
                             api_json_uint(page->walk->seq)));
}

/* ---- NDJSON ---------------------------------------------------------------------------------- */

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

/*
 * Pool. A piece has up to PIECE_ITEMS lines, or what a slice finds; but one without any would be the end, so that then the
 * next slice looks on. One that runs out of memory ends the stream without its last line, and breaks the connection.
 */
static void stream_piece(struct api_call *call)
{
    struct page *page = call->state;
    size_t left = page->limit, i;
    json_t *item;
    page->limit = left < PIECE_ITEMS ? left : PIECE_ITEMS;
    page->more = false;
    bool whole = collect(page);
    if (!page->items) {
        api_reply_cut(call);
        return;
    }
    size_t count = json_array_size(page->items);
    page->limit = left;
    if (!whole && count == 0) {
        call->again = true;
        return;
    }
    json_array_foreach(page->items, i, item)
        api_render(&call->reply.body, item, API_FORMAT_NDJSON, NULL);
    if (left != SIZE_MAX)
        page->limit -= count;
    call->reply.more = (!whole || page->more) && page->limit > 0;
    if (!call->reply.more)
        end_line(call, page->walk, page->more || !whole);
    json_array_clear(page->items);
}

void api_list_reply(struct api_call *call, struct api_walk *walk)
{
    bool stream = call->format == API_FORMAT_NDJSON;
    struct page *page = calloc(1, sizeof *page);
    if (!page) {
        walk->destroy(walk);
        api_problem_no_memory(call);
        return;
    }
    page->walk = walk;
    page->items = json_array();
    page->limit = api_param_uint(call, "limit", stream ? SIZE_MAX : API_LIMIT_DEFAULT);
    call->state = page;
    call->cleanup = page_free;
    call->work = stream ? stream_piece : reply_page; /* if there is more than a slice of it */
    if (stream) {
        call->piece = stream_piece;
        call->reply.status = 200;
        call->reply.content_type = API_TYPE_NDJSON;
        call->reply.streaming = true;
    }
    call->work(call);
}
