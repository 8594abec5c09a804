/*
 * goroutines.c: list, get (and wait), spawn, cancel, log.
 *
 * Listing walks live and kept goroutines as one ascending sequence. The live ids are asked for
 * first: one that ends in between is then in both answers and met once, never in neither.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "selector.h"

/* ---- List ------------------------------------------------------------------------------------ */

#define BATCH_FIRST 512
#define BATCH_MAX   65536
#define LOOK_AT     64 /* goroutines that don't match, between two looks at the clock */

struct goroutine_walk {
    struct api_walk walk;
    unsigned states; /* bit i: enum gr_state i is wanted */
    char module[GR_NAME_MAX + 1], entry[GR_NAME_MAX + 1];
    uint64_t root;
    bool has_module, has_entry, has_suspended, suspended;
    struct api_selector selector;
    uint64_t seen; /* looked at, though it may not have matched */
    uint64_t *ids; /* `batch` of each of three: merged, live, dead */
    size_t batch, count, at;
};

static bool matches(const struct goroutine_walk *w, const struct gr_info *info)
{
    return (w->states >> info->state & 1) && (!w->root || info->root == w->root) &&
           (!w->has_module || strcmp(info->module, w->module) == 0) &&
           (!w->has_entry || strcmp(info->entry, w->entry) == 0) &&
           (!w->has_suspended || info->suspended == w->suspended) &&
           api_selector_match(&w->selector, info);
}

/* Two ascending sequences into one without doubles, at most max. */
static size_t merge(uint64_t *out, size_t max, const uint64_t *a, size_t a_count, const uint64_t *b,
                    size_t b_count)
{
    size_t i = 0, k = 0, count = 0;
    while (count < max && (i < a_count || k < b_count)) {
        uint64_t id = k == b_count || (i < a_count && a[i] <= b[k]) ? a[i] : b[k];
        i += i < a_count && a[i] == id;
        k += k < b_count && b[k] == id;
        out[count++] = id;
    }
    return count;
}

/* The next batch of ids above after. Each list is complete up to `batch` ids, so the merge is, too.
 */
static bool refill(struct goroutine_walk *w, uint64_t after)
{
    size_t live = 0, dead = 0;
    if (w->batch < BATCH_MAX) {
        size_t batch = w->batch ? w->batch * 4 : BATCH_FIRST;
        batch = batch > BATCH_MAX ? BATCH_MAX : batch;
        uint64_t *ids = realloc(w->ids, 3 * batch * sizeof *ids);
        if (!ids && !w->ids)
            return false;
        w->batch = ids ? batch : w->batch;
        w->ids = ids ? ids : w->ids;
    }
    uint64_t *live_ids = w->ids + w->batch, *dead_ids = live_ids + w->batch;
    if (w->states & ~(1u << GR_DEAD))
        live = gr_list(GR_LIST_LIVE, after, live_ids, w->batch);
    if (w->states & 1u << GR_DEAD)
        dead = gr_list(GR_LIST_DEAD, after, dead_ids, w->batch);
    w->count = merge(w->ids, w->batch, live_ids, live, dead_ids, dead);
    w->at = 0;
    return w->count > 0;
}

static uint64_t goroutine_next(struct api_walk *walk, json_t **item)
{
    struct goroutine_walk *w = (struct goroutine_walk *)walk;
    struct gr_info info;
    walk->paused = false;
    if (w->seen < walk->after)
        w->seen = walk->after;
    /* Ends: every turn goes up, and the runtime has finitely many. */
    for (unsigned i = 1;; i++) {
        if (w->at == w->count && !refill(w, w->seen))
            return 0;
        uint64_t id = w->ids[w->at++];
        if (id > w->seen && gr_info(id, &info) == 0 && matches(w, &info)) {
            *item = api_goroutine_json(walk->api, &info, walk->as_text);
            return walk->after = w->seen = id;
        }
        w->seen = id > w->seen ? id : w->seen;
        if (i % LOOK_AT == 0 && api_slice_over(walk->call)) {
            walk->paused = true;
            return 0;
        }
    }
}

static void goroutine_walk_free(struct api_walk *walk)
{
    struct goroutine_walk *w = (struct goroutine_walk *)walk;
    free(w->ids);
    free(w);
}

/* One name of state=; the bits of the states that are shown under it. */
static unsigned state_bits(const char *name, size_t size)
{
    unsigned bits = 0;
    if (size == 4 && strncmp(name, "live", size) == 0)
        return ~(1u << GR_DEAD);
    for (unsigned s = GR_RUNNABLE; s < GR_STATES; s++) {
        const char *shown = gr_state_name((enum gr_state)s);
        if (strlen(shown) == size && strncmp(shown, name, size) == 0)
            bits |= 1u << s;
    }
    return bits;
}

static bool read_states(struct api_call *call, struct goroutine_walk *w)
{
    const char *rest = api_param(call, "state"), *text;
    size_t size;
    w->states = rest ? 0 : ~0u;
    while (api_item_next(&rest, &text, &size)) {
        unsigned bits = state_bits(text, size);
        if (!bits) {
            api_problem(call, 400, API_CODE_BAD_REQUEST,
                        "\"%.*s\" is no state; there are runnable, running, syscall, waiting, "
                        "preempted, dead, and live for all but dead",
                        (int)(size > 40 ? 40 : size), text);
            return false;
        }
        w->states |= bits;
    }
    return true;
}

static bool copy_name(const struct api_call *call, const char *param, char *out)
{
    const char *text = api_param(call, param);
    if (!text)
        return false;
    /* A longer name than any goroutine's matches nothing: keep it unequal to all. */
    strncpy(out, strlen(text) > GR_NAME_MAX ? "/" : text, GR_NAME_MAX);
    return true;
}

static bool read_filters(struct api_call *call, struct goroutine_walk *w)
{
    char err[256];
    const char *selector = api_param(call, "selector");
    w->has_module = copy_name(call, "module", w->module);
    w->has_entry = copy_name(call, "entry", w->entry);
    w->root = api_param_uint(call, "root", 0);
    w->has_suspended = api_param(call, "suspended") != NULL;
    w->suspended = api_param_bool(call, "suspended", false);
    if (!read_states(call, w))
        return false;
    if (selector && api_selector_parse(&w->selector, selector, err, sizeof err)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "parameter selector: %s", err);
        return false;
    }
    return true;
}

void api_handle_goroutines(struct api_call *call)
{
    struct goroutine_walk *w = calloc(1, sizeof *w);
    if (!w) {
        api_problem_no_memory(call);
        return;
    }
    w->walk.next = goroutine_next;
    w->walk.destroy = goroutine_walk_free;
    if (api_walk_begin(call, &w->walk) && read_filters(call, w))
        api_list_reply(call, &w->walk);
    else
        goroutine_walk_free(&w->walk);
}

/* ---- One ------------------------------------------------------------------------------------- */

struct waiting {
    struct api_watch watch;
    struct api_timer timer;
    struct api_call *call;
};

/* Pool. */
static void show(struct api_call *call)
{
    struct gr_info info;
    int err = gr_info(call->id, &info);
    if (err) {
        api_problem_goroutine(call, err, call->id);
        return;
    }
    json_t *value = api_goroutine_json(call->api, &info, false);
    if (!api_why_add(call->api, &info, value)) {
        json_decref(value);
        value = NULL;
    }
    api_reply_json(call, 200, value);
}

/*
 * So many slots of goroutines the loop looks through for who waits for the same, some 10 us. For the same channel fewer, the least that
 * there are: all of them may be in a select, which costs two system calls (0.8 ms where each has two cases, 1.1 ms with the
 * most). For those of a select, none.
 */
#define SLOTS_ON_LOOP         1024
#define CHANNEL_SLOTS_ON_LOOP 256

/* Whether who else waits for the same is found in no time. */
static bool parties_are_few(const struct gr_info *info)
{
    if (!info->wait_reason[0])
        return true;
    if (strcmp(info->wait_reason, "select") == 0)
        return false;
    return gr_wait_slots() <=
           (strncmp(info->wait_reason, "chan", 4) == 0 ? CHANNEL_SLOTS_ON_LOOP : SLOTS_ON_LOOP);
}

bool api_goroutine_at_once(struct api_call *call, bool why)
{
    struct gr_info info;
    struct gr_frame frame = {0};
    struct api_buf *out = &call->reply.body;
    char *result = NULL;
    int err = gr_info(call->id, &info);
    if (err || call->format != API_FORMAT_JSON ||
        (info.pc && !api_name_known(call->api, info.pc, &frame)) ||
        (why && !parties_are_few(&info)))
        return false;
    if (info.state == GR_DEAD && gr_info_result(info.id, &result))
        result = NULL; /* it is forgotten since */
    api_goroutine_write(out, call->api, &info, &frame, result);
    free(result);
    if (why)
        api_why_write(out, call->api, &info);
    api_buf_str(out, "}\n");
    call->reply.status = 200;
    call->reply.content_type = API_TYPE_JSON;
    if (out->failed)
        api_problem_no_memory(call);
    return true;
}

static void waiting_free(struct api_call *call)
{
    free(call->state);
}

/* It ended, the time is up or the client went: whichever comes first answers, on the pool. */
static void waited(struct waiting *waiting)
{
    struct api_call *call = waiting->call;
    api_watch_stop(call->api, &waiting->watch);
    api_timer_clear(call->api, &waiting->timer);
    call->abandon = NULL;
    api_call_pool(call, show);
}

static void wait_ended(struct api_watch *watch)
{
    waited((struct waiting *)((char *)watch - offsetof(struct waiting, watch)));
}

static void wait_timed_out(struct api_timer *timer)
{
    waited((struct waiting *)((char *)timer - offsetof(struct waiting, timer)));
}

static void wait_abandoned(struct api_call *call)
{
    waited(call->state);
}

void api_handle_goroutine(struct api_call *call)
{
    uint64_t wait_ms = api_param_uint(call, "wait_ms", 0);
    struct gr_info info;
    struct waiting *waiting = NULL;
    if (wait_ms && !call->api->draining)
        waiting = calloc(1, sizeof *waiting);
    if (!waiting) {
        if (api_goroutine_at_once(call, true))
            api_call_done(call);
        else
            api_call_pool(call, show);
        return;
    }
    waiting->call = call;
    waiting->watch.ended = wait_ended;
    waiting->timer.fire = wait_timed_out;
    call->state = waiting;
    call->cleanup = waiting_free;
    call->abandon = wait_abandoned;
    api_watch_start(call->api, &waiting->watch, call->id);
    /* After the watch began: an end before it is seen here, one after it is told (events.h I1). */
    bool ended = gr_info(call->id, &info) || info.state == GR_DEAD;
    if (ended || api_timer_set(call->api, &waiting->timer, gr_now_ns() + wait_ms * 1000000))
        waited(waiting);
}

void api_handle_cancel(struct api_call *call)
{
    int err = gr_cancel(call->id);
    if (err) {
        api_problem_goroutine(call, err, call->id);
        return;
    }
    show(call);
    if (call->reply.status == 200)
        call->reply.status = 202;
}

/* ---- Spawn ----------------------------------------------------------------------------------- */

#define SPAWN_LOOK 16 /* between two looks at the clock */

/* key, value, …, NULL into list; a problem and false if one is wrong. */
static bool read_labels(struct api_call *call, const char **list)
{
    json_t *labels = json_object_get(call->body, "labels"), *value;
    const char *key;
    size_t at = 0;
    if (json_object_size(labels) > GR_LABELS_MAX) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "a goroutine has at most %d labels",
                    GR_LABELS_MAX);
        return false;
    }
    json_object_foreach(labels, key, value)
    {
        if (!api_label_key_valid(key, strlen(key)) || !json_is_string(value) ||
            json_string_length(value) > GR_LABEL_VALUE_MAX ||
            strlen(json_string_value(value)) != json_string_length(value)) {
            api_problem(
                call, 400, API_CODE_BAD_REQUEST,
                "label \"%.80s\" must have a key of [A-Za-z0-9_.-]{1,63} and a string of at "
                "most %d bytes, without \\u0000, as value",
                key, GR_LABEL_VALUE_MAX);
            return false;
        }
        list[at++] = key;
        list[at++] = json_string_value(value);
    }
    list[at] = NULL;
    return true;
}

/* Whether nothing can be spawned in the module. */
static bool has_no_entries(const char *module)
{
    struct gr_module_info *info = calloc(1, sizeof *info);
    bool none = info && gr_module_info(module, info) == 0 && info->entry_count == 0;
    free(info);
    return none;
}

static void spawn_problem(struct api_call *call, int err, json_t *ids)
{
    const char *module = api_body_string(call, "module"), *entry = api_body_string(call, "entry");
    json_t *members = json_pack("{s:o}", "ids", ids);
    if (err == -ENOENT)
        api_problem_with(call, 404, API_CODE_MODULE_NOT_LOADED, members,
                         "no module \"%s\" is loaded; GET /v1/modules lists them", module);
    else if (err == -ESRCH && has_no_entries(module))
        api_problem_with(
            call, 404, API_CODE_ENTRY_NOT_FOUND, members,
            "module \"%s\" has no entry at all: its source must name functions by GR_ENTRY",
            module);
    else if (err == -ESRCH)
        api_problem_with(call, 404, API_CODE_ENTRY_NOT_FOUND, members,
                         "module \"%s\" has no entry \"%s\"; GET /v1/modules/%s lists them", module,
                         entry, module);
    else if (err == -EAGAIN)
        api_problem_with(call, 429, API_CODE_LIMIT_REACHED, members,
                         "the daemon runs as many goroutines as --max-goroutines allows; the "
                         "member ids names those that were started");
    else if (err == -ECANCELED)
        api_problem_with(call, 503, API_CODE_DRAINING, members, "the daemon is going down");
    else if (err == -ENOMEM)
        api_problem_with(
            call, 503, API_CODE_OUT_OF_RESOURCES, members,
            "no memory for another goroutine, or no mappings for its stack: on a kernel "
            "before 6.13 raise vm.max_map_count, or start with --unguarded-stacks; the "
            "member ids names those that were started");
    else
        api_problem_with(call, err == -E2BIG ? 413 : 400,
                         err == -E2BIG ? API_CODE_TOO_LARGE : API_CODE_BAD_REQUEST, members,
                         "the runtime refused: %s", strerror(-err));
}

/* What is to be started, and what was. */
struct spawning {
    const char *labels[2 * GR_LABELS_MAX + 1];
    char *args;
    json_t *ids;
    uint64_t left;
};

static void spawning_free(struct api_call *call)
{
    struct spawning *s = call->state;
    json_decref(s->ids);
    free(s->args);
    free(s);
}

static bool read_args(struct api_call *call, struct spawning *s)
{
    json_t *value = json_object_get(call->body, "args");
    s->args = call->args.size ? strdup(call->args.data)
              : value         ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY)
                              : strdup("null");
    if (call->args.failed || !s->args)
        api_problem_no_memory(call);
    else if (strlen(s->args) > GR_ARGS_BYTES_MAX)
        api_problem(call, 413, API_CODE_TOO_LARGE, "args is over %d bytes of JSON text",
                    GR_ARGS_BYTES_MAX);
    else
        return true;
    return false;
}

/* Its place in the list comes first, so that whoever is started is named: nobody is where there is no memory for that. */
static int64_t spawn_one(struct spawning *s, const char *module, const char *entry)
{
    json_t *place = json_integer(0);
    if (json_array_append_new(s->ids, place))
        return -ENOMEM;
    int64_t id = gr_spawn(module, entry, s->args, s->labels);
    if (id < 0)
        json_array_remove(s->ids, json_array_size(s->ids) - 1);
    else
        json_integer_set(place, id);
    return id;
}

/* Pool. In slices, if they are many. */
static void spawn(struct api_call *call)
{
    struct spawning *s = call->state;
    const char *module = api_body_string(call, "module"), *entry = api_body_string(call, "entry");
    int64_t id = 0;
    while (s->left > 0) {
        id = spawn_one(s, module, entry);
        if (id < 0)
            break;
        if (--s->left % SPAWN_LOOK == 0 && s->left > 0 && api_slice_over(call)) {
            call->again = true;
            return;
        }
    }
    json_t *ids = s->ids;
    s->ids = NULL;
    call->partly_done = json_array_size(ids) > 0; /* even if there is no memory to say so */
    if (id < 0) {
        spawn_problem(call, (int)id, ids);
        return;
    }
    if (json_array_size(ids) == 1)
        api_buf_printf(&call->reply.headers, "Location: /v1/goroutines/%" PRId64 "\r\n", id);
    api_reply_json(call, 201, json_pack("{s:o}", "ids", ids));
}

void api_handle_spawn(struct api_call *call)
{
    struct spawning *s = calloc(1, sizeof *s);
    if (!s) {
        api_problem_no_memory(call);
        return;
    }
    s->ids = json_array();
    s->left = api_body_uint(call, "count", 1);
    call->state = s;
    call->cleanup = spawning_free;
    call->work = spawn; /* the next slices begin here */
    bool sound = read_labels(call, s->labels) && read_args(call, s);
    /* A body may have half a million values, which the loop must not free one by one. */
    if (sound)
        json_object_del(call->body, "args");
    else
        json_object_clear(call->body);
    if (sound)
        spawn(call);
}

/* ---- Log ------------------------------------------------------------------------------------- */

#define LOG_BYTES 65536

static json_t *log_json(const struct api_call *call, uint64_t root, uint64_t from, uint64_t next,
                        uint64_t lost, const char *text, size_t size)
{
    json_t *lines = json_array();
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t line = end ? (size_t)(end - text) - at : size - at;
        json_array_append_new(lines, api_json_bytes(text + at, line));
        at += line + 1;
    }
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "goroutine", api_json_uint(call->id), "root",
                     api_json_uint(root), "from", api_json_uint(from), "next", api_json_uint(next),
                     "lost", api_json_uint(lost), "lines", lines);
}

void api_handle_log(struct api_call *call)
{
    struct gr_info info;
    int err = gr_info(call->id, &info);
    if (err) {
        api_problem_goroutine(call, err, call->id);
        return;
    }
    char *text = malloc(LOG_BYTES);
    uint64_t asked = api_param_uint(call, "from", 0), next = asked, lost = 0;
    ssize_t size = text ? gr_log_read(info.root, &next, text, LOG_BYTES, &lost) : -ENOMEM;
    if (size < 0)
        api_problem_goroutine(call, (int)size, info.root);
    else
        api_reply_json(
            call, 200,
            log_json(call, info.root, next - (uint64_t)size, next, lost, text, (size_t)size));
    free(text);
}
