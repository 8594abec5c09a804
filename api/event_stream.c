/*
 * event_stream.c: GET /v1/events: Server-Sent Events.
 *
 * A stream is an answer without an end: each piece is made when the one before it was written and
 * there is something to tell, or after 15 seconds of silence. So a stream has at most one piece in
 * memory, and a reader that is slow simply asks later; when the rings have run over its place it is
 * told how many events it lost and is dropped. Events that a selector keeps out are no sign of life: silence counts from
 * the last piece that was sent, however much was read since.
 *
 *   I1  A stream is in exactly one of: at the host (its piece is being written), in `waiters`, in a
 *       job on the pool.
 *   I2  It is counted in `waiting` before it looks a last time whether there is something (events.c
 *       looks at the count after it has written): no event is slept through.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "selector.h"

#define SILENCE_NS   UINT64_C(15000000000)
#define PIECE_EVENTS 256
#define PIECE_TEXT   API_EVENT_BYTES_MAX /* of log lines and notes in one piece */

struct api_stream {
    struct api_call *call;
    unsigned types, rings;
    bool births, has_selector, waiting, counted, ended;
    uint64_t told_ns; /* when the client last heard something */
    struct api_selector selector;
    struct api_event_place place;
    struct api_timer silence;
    struct api_work work;
    struct api_stream *next, **link; /* of the waiters */
};

/* ---- One event ------------------------------------------------------------------------------- */

/* The next of the texts of an event: with its sign, NULL if it was not given. */
static json_t *next_note(const char **text)
{
    const char *note = *text;
    *text += strlen(note) + 1;
    return note[0] == '+' ? api_json_string(note + 1) : json_null();
}

static json_t *id_json(uint64_t id)
{
    return id ? api_json_uint(id) : json_null();
}

static void add_suspended(json_t *value, const struct api_event *event, const char *text)
{
    json_object_set_new(value, "count", api_json_uint(event->count));
    json_object_set_new(value, "owner", next_note(&text));
    json_object_set_new(value, "principal", next_note(&text));
    json_object_set_new(value, "reason", next_note(&text));
}

static json_t *event_json(const struct api_event *event, const char *text)
{
    json_t *value =
        json_pack("{s:o,s:o,s:s}", "seq", api_json_uint(event->seq), "at",
                  api_json_time(event->realtime_ns), "type", api_event_name(event->type));
    switch (event->type) {
    case API_EVENT_SUSPENDED:
    case API_EVENT_RESUMED:
    case API_EVENT_LEASE_EXPIRED:
        json_object_set_new(value, "suspension", api_json_uint(event->suspension));
        json_object_set_new(value, "goroutine", id_json(event->goroutine));
        if (event->type == API_EVENT_SUSPENDED)
            add_suspended(value, event, text);
        else
            json_object_set_new(value, "count", api_json_uint(event->count));
        break;
    case API_EVENT_MODULE:
        json_object_set_new(value, "module", api_json_string(text));
        json_object_set_new(value, "what", api_json_string(text + strlen(text) + 1));
        break;
    case API_EVENT_DEADLOCK: {
        json_t *report = json_loadb(text, event->text_bytes, 0, NULL);
        json_object_set_new(value, "report", report ? report : json_null());
        break;
    }
    case API_EVENT_LOG:
        json_object_set_new(value, "goroutine", id_json(event->goroutine));
        json_object_set_new(value, "root", id_json(event->root));
        json_object_set_new(value, "line", api_json_bytes(text, event->text_bytes));
        break;
    default:
        json_object_set_new(value, "goroutine", id_json(event->goroutine));
        json_object_set_new(value, "root", id_json(event->root));
        break;
    }
    return value;
}

/* For people: when and what, then the rest as it is. */
static void add_text(struct api_buf *out, const char *name, json_t *value)
{
    api_buf_printf(out, "%s %-18s ", json_string_value(json_object_get(value, "at")), name);
    json_object_del(value, "at");
    json_object_del(value, "type");
}

static void add_event(struct api_call *call, const char *name, uint64_t seq, json_t *value)
{
    struct api_buf *out = &call->reply.body;
    if (call->format == API_FORMAT_SSE)
        api_buf_printf(out, "event: %s\nid: %s-%" PRIu64 "\ndata: ", name, call->api->instance,
                       seq);
    else if (call->format == API_FORMAT_TEXT)
        add_text(out, name, value);
    api_render(out, value, API_FORMAT_JSON, NULL); /* one line, and its end */
    if (call->format == API_FORMAT_SSE)
        api_buf_str(out, "\n");
    json_decref(value);
}

/* What shows that the stream lives and says nothing. */
static void add_comment(struct api_call *call, const char *text)
{
    if (call->format == API_FORMAT_SSE)
        api_buf_printf(&call->reply.body, ": %s\n\n", text);
    else
        api_buf_str(&call->reply.body, "\n");
}

/* ---- A piece (pool) -------------------------------------------------------------------------- */

/* Events that are not about one goroutine pass every selector. */
static bool wanted(const struct api_stream *stream, const struct api_event *event)
{
    struct gr_info info;
    if (!(stream->types >> event->type & 1))
        return false;
    return !stream->has_selector || !event->goroutine ||
           (gr_info(event->goroutine, &info) == 0 && api_selector_match(&stream->selector, &info));
}

/* It is dropped, and its client goes on behind the newest or lists again: all up to there is lost to it. */
static void tell_lost(struct api_stream *stream)
{
    struct api_call *call = stream->call;
    struct api_event_place end;
    uint64_t seq = api_event_place_end(call->api, &end), lost = 0;
    for (unsigned i = 0; i < API_RINGS; i++)
        if (stream->rings >> i & 1)
            lost += end.at[i] - stream->place.at[i];
    add_event(call, "lost", seq,
              json_pack("{s:o,s:o,s:s,s:o}", "seq", api_json_uint(seq), "at",
                        api_json_time(api_realtime_ns()), "type", "lost", "lost",
                        api_json_uint(lost)));
    stream->ended = true;
}

static void fill(struct api_stream *stream, struct api_event *events, char *text)
{
    struct api_call *call = stream->call;
    bool lost;
    size_t count = api_event_read(call->api, &stream->place, stream->rings, events, PIECE_EVENTS,
                                  text, PIECE_TEXT, &lost);
    for (size_t i = 0; i < count; i++)
        if (wanted(stream, &events[i]))
            add_event(call, api_event_name(events[i].type), events[i].seq,
                      event_json(&events[i], text + events[i].text_at));
    if (lost)
        tell_lost(stream);
}

static void piece(struct api_work *work)
{
    struct api_stream *stream =
        (struct api_stream *)((char *)work - offsetof(struct api_stream, work));
    struct api_event *events = malloc(PIECE_EVENTS * sizeof *events);
    char *text = malloc(PIECE_TEXT);
    if (events && text)
        fill(stream, events, text);
    else
        api_reply_cut(stream->call);
    if (stream->call->reply.body.failed)
        stream->ended = true; /* no memory: without a word, as a broken connection */
    free(events);
    free(text);
}

/* ---- Waiting (loop) -------------------------------------------------------------------------- */

static void leave_waiters(struct api_stream *stream)
{
    struct api_events *events = &stream->call->api->events;
    if (!stream->waiting)
        return;
    stream->waiting = false;
    *stream->link = stream->next;
    if (stream->next)
        stream->next->link = stream->link;
    for (unsigned i = 0; i < API_RINGS; i++)
        if (stream->rings >> i & 1) /* relaxed: a late writer wakes us in vain */
            atomic_fetch_sub_explicit(&events->waiting[i], 1, memory_order_relaxed);
    api_timer_clear(stream->call->api, &stream->silence);
}

static void answer(struct api_stream *stream)
{
    struct api_call *call = stream->call;
    call->reply.more = !stream->ended && !call->abandoned;
    stream->told_ns = gr_now_ns();
    api_call_done(call);
}

static void wait_or_answer(struct api_work *work);

static void make_piece(struct api_stream *stream)
{
    stream->work.run = piece;
    stream->work.done = wait_or_answer;
    api_work_start(stream->call->api, &stream->work, API_LANE_BRIEF, stream->call->client);
}

static void abandoned(struct api_call *call)
{
    struct api_stream *stream = call->state;
    if (!stream->waiting)
        return; /* the pool's piece comes home, or it is at the host */
    leave_waiters(stream);
    answer(stream);
}

static void silent(struct api_timer *timer)
{
    struct api_stream *stream =
        (struct api_stream *)((char *)timer - offsetof(struct api_stream, silence));
    leave_waiters(stream);
    add_comment(stream->call, "still here");
    answer(stream);
}

/* I2 */
static void wait(struct api_stream *stream)
{
    struct api *api = stream->call->api;
    struct api_events *events = &api->events;
    if (api_timer_set(api, &stream->silence, stream->told_ns + SILENCE_NS)) {
        stream->ended = true;
        answer(stream);
        return;
    }
    stream->waiting = true;
    stream->next = events->waiters;
    stream->link = &events->waiters;
    if (stream->next)
        stream->next->link = &stream->next;
    events->waiters = stream;
    for (unsigned i = 0; i < API_RINGS; i++)
        if (stream->rings >> i & 1) /* seq_cst, then the look; pairs with the fence in wake. */
            atomic_fetch_add_explicit(&events->waiting[i], 1, memory_order_seq_cst);
    if (!api_event_ready(api, &stream->place, stream->rings))
        return;
    leave_waiters(stream);
    make_piece(stream);
}

static void wait_or_answer(struct api_work *work)
{
    struct api_stream *stream =
        (struct api_stream *)((char *)work - offsetof(struct api_stream, work));
    /* Here too: while more is there than can be read, no timer gets its turn. */
    if (!stream->call->reply.body.size && !stream->ended &&
        gr_now_ns() - stream->told_ns >= SILENCE_NS)
        add_comment(stream->call, "still here");
    if (stream->call->reply.body.size || stream->ended || stream->call->abandoned)
        answer(stream);
    else
        wait(stream);
}

void api_streams_wake(struct api_task *task)
{
    struct api_events *events =
        (struct api_events *)((char *)task - offsetof(struct api_events, task));
    struct api *api = (struct api *)((char *)events - offsetof(struct api, events));
    /* seq_cst, before the look; an event after the look posts again. */
    atomic_store_explicit(&events->posted, 0, memory_order_seq_cst);
    for (struct api_stream *stream = events->waiters, *next; stream; stream = next) {
        next = stream->next;
        if (!api_event_ready(api, &stream->place, stream->rings))
            continue;
        leave_waiters(stream);
        make_piece(stream);
    }
}

/* The host has written the piece before. */
static void pulled(struct api_call *call)
{
    struct api_stream *stream = call->state;
    api_buf_clear(&call->reply.body);
    call->abandon = abandoned;
    if (api_event_ready(call->api, &stream->place, stream->rings))
        make_piece(stream);
    else
        wait(stream);
}

static void clean_up(struct api_call *call)
{
    struct api_stream *stream = call->state;
    leave_waiters(stream);
    if (stream->counted)
        call->api->events.stream_count--;
    if (stream->counted && stream->births)
        api_births_unfollow(call->api);
    free(stream);
}

/* ---- The beginning --------------------------------------------------------------------------- */

static bool read_types(struct api_call *call, struct api_stream *stream)
{
    const char *rest = api_param(call, "types"), *text;
    size_t size;
    stream->types = rest ? 0 : API_EVENT_DEFAULT;
    while (api_item_next(&rest, &text, &size)) {
        unsigned type = 0;
        while (type < API_EVENT_TYPES &&
               (strlen(api_event_name((enum api_event_type)type)) != size ||
                strncmp(api_event_name((enum api_event_type)type), text, size)))
            type++;
        if (type == API_EVENT_TYPES) {
            api_problem(call, 400, API_CODE_BAD_REQUEST,
                        "\"%.*s\" is no type of event; there are suspended, resumed, "
                        "lease-expired, module, deadlock-suspected, log, goroutine.created and "
                        "goroutine.ended, joined by commas",
                        (int)(size > 40 ? 40 : size), text);
            return false;
        }
        stream->types |= 1u << type;
    }
    stream->births = (stream->types & API_EVENT_BIRTHS) != 0;
    stream->rings = api_event_rings(stream->types);
    return true;
}

static bool read_selector(struct api_call *call, struct api_stream *stream)
{
    char err[256];
    const char *text = api_param(call, "selector");
    stream->has_selector = text != NULL;
    if (!text || api_selector_parse(&stream->selector, text, err, sizeof err) == 0)
        return true;
    api_problem(call, 400, API_CODE_BAD_REQUEST, "parameter selector: %s", err);
    return false;
}

/* Counts it in; a problem and false if there are too many. */
static bool admit(struct api_call *call, struct api_stream *stream)
{
    struct api_events *events = &call->api->events;
    if (events->stream_count == API_EVENT_STREAMS_MAX) {
        api_problem(call, 429, API_CODE_LIMIT_REACHED,
                    "%d event streams are open already; end one of them", API_EVENT_STREAMS_MAX);
        return false;
    }
    if (api_deadlock_watch_start(call->api) || (stream->births && api_births_follow(call->api))) {
        api_problem_no_memory(call);
        return false;
    }
    events->stream_count++;
    stream->counted = true;
    return true;
}

/* Where the client left off: INSTANCE-SEQ. NULL if the stream can go on from there, or why not. */
static const char *go_on_from(struct api_call *call, struct api_stream *stream, const char *last)
{
    const char *instance = call->api->instance;
    size_t size = strlen(instance);
    uint64_t seq;
    if (strncmp(last, instance, size) || last[size] != '-' ||
        !api_parse_uint(last + size + 1, 0, UINT64_MAX, &seq))
        return "another-instance";
    return api_event_place_find(call->api, seq, stream->rings, &stream->place) ? NULL : "too-old";
}

static void begin(struct api_call *call, struct api_stream *stream)
{
    const char *last = api_request_header(&call->request, "last-event-id");
    const char *reset = last ? go_on_from(call, stream, last) : NULL;
    call->reply.status = 200;
    call->reply.content_type = api_format_type(call->format);
    call->reply.streaming = call->reply.more = true;
    add_comment(call, "events follow");
    if (last && !reset)
        return;
    uint64_t seq = api_event_place_end(call->api, &stream->place);
    if (reset)
        add_event(call, "reset", seq,
                  json_pack("{s:o,s:o,s:s,s:s}", "seq", api_json_uint(seq), "at",
                            api_json_time(api_realtime_ns()), "type", "reset", "reason", reset));
}

void api_handle_events(struct api_call *call)
{
    struct api_stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        api_problem_no_memory(call);
        api_call_done(call);
        return;
    }
    stream->call = call;
    stream->silence.fire = silent;
    stream->told_ns = gr_now_ns();
    call->state = stream;
    call->cleanup = clean_up;
    if (read_types(call, stream) && read_selector(call, stream) && admit(call, stream)) {
        call->pull = pulled;
        begin(call, stream);
    }
    api_call_done(call);
}
