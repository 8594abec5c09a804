/*
 * internal.h: what the files of api/ offer each other: the API's own state, replies, routes.
 *
 * A handler is called with everything checked that the route's row declares: scope, query
 * parameters, the body's fields with their types and ranges, the id. It ends by filling the reply
 * (api_reply_json, api_problem, …) and, if it runs on the loop, by api_call_done, at once or later.
 * A handler of a pool route runs on a pool thread and only fills the reply; it may touch nothing
 * that belongs to the loop.
 *
 * Rejected: handlers that return a status and a body: a suspend has nothing to return when it was
 * asked.
 */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include <pthread.h>

#include <grasp/inspect.h>
#include <grasp/runtime.h>
#include <grasp/waits.h>

#include "api.h"
#include "deadlock_watch.h"
#include "events.h"
#include "keys.h"
#include "saved.h"
#include "suspensions.h"
#include "timers.h"
#include "watch.h"

/* ---- Routes ---------------------------------------------------------------------------------- */

enum api_field_type {
    API_FIELD_UINT,
    API_FIELD_BOOL,
    API_FIELD_STRING, /* min and max are bytes */
    API_FIELD_OBJECT,
    API_FIELD_ANY,
    API_FIELD_IDS, /* an array of ids; min and max are their number */
};

/* A body field or a query parameter. */
struct api_field {
    const char *name;
    enum api_field_type type;
    uint64_t min, max;
    bool required;
};

enum api_route_flag {
    API_ROUTE_POOL = 1,    /* the handler runs on a pool thread */
    API_ROUTE_OPEN = 2,    /* no token, any Host */
    API_ROUTE_RELEASE = 4, /* a mutation that is served while draining */
    API_ROUTE_LIST = 8,    /* takes limit and cursor; NDJSON streams */
    API_ROUTE_PLAIN = 16,  /* not under /v1: no format, its own type, unknown parameters ignored */
    API_ROUTE_EVENTS = 32, /* Server-Sent Events, unless another format is asked for */
    API_ROUTE_SAVED = 64,  /* has the formats folded and core */
    API_ROUTE_RAW = 128,   /* a core, unless another format is asked for by name */
    API_ROUTE_HEAVY = 256, /* may look at all goroutines, and at their stacks: never brief */
    API_ROUTE_LOADS = 512, /* heavy, and one at a time */
};

typedef void api_handler(struct api_call *call);
typedef void api_text_fn(struct api_buf *out, const json_t *value);

struct api_route {
    const char *method, *path;
    api_handler *handler;
    unsigned scope, flags;
    const struct api_field *params; /* ends with a NULL name; may be NULL */
    const struct api_field *fields; /* likewise */
    api_text_fn *text;              /* NULL: key and value lines */
};

extern const struct api_route api_routes[];
extern const size_t api_route_count;
#define API_ROUTES_MAX 64

/* How many segments the path of each row has; the root's has none. */
void api_routes_measure(unsigned char *depths);
/* The route of the call, with call->id and call->name set; or a problem in the reply and false. */
bool api_route_find(struct api_call *call);

/* names.c: where goroutines were seen; a place for each is chosen by its address. */
#define API_NAMES_KNOWN 1024
struct api_names {
    pthread_mutex_t lock; /* guards known; held for a few instructions */
    struct api_name {
        uint64_t version; /* 0: none */
        struct gr_frame frame;
    } known[API_NAMES_KNOWN];
};

/* ---- The API's state ------------------------------------------------------------------------- */

#define API_STATUSES_MAX 32

struct api_copies;

struct api {
    struct api_host host;
    struct api_config config;
    char instance[33];
    uint64_t started_realtime_ns;
    bool draining; /* loop */
    unsigned char route_depths[API_ROUTES_MAX]; /* segments of each row's path: most are passed over by it */
    struct api_timers timers;
    uint64_t alarm_ns;
    /* turns.h. The first two divide the pool; who has a turn at one of the others has one of the long ones' now and then. */
    struct api_gate brief, heavy, cuts, loads;
    struct api_chunk *chunks, *chunks_last;
    struct api_task chunk_task;
    bool chunk_due;
    struct api_suspensions suspensions;
    struct api_watches watches;
    struct api_copies *copies;
    struct api_events events;
    struct api_deadlock_watch deadlocks;
    struct api_saved_table saved;
    struct api_keys keys;
    struct api_names names;
    _Atomic(size_t) cut_bytes;  /* cut.c: of blocks that there are. Relaxed: a number by itself */
    pthread_mutex_t notes_lock; /* guards notes and module_names */
    struct api_module_note {
        char *name, *path, *error;
    } * notes;
    size_t note_count;
    char **module_names; /* modules.c: the n-th is that of number n + 1; guarded by notes_lock, only grows */
    size_t module_name_count;
    /* Requests by route and status, counted on the loop, read by the metrics job: relaxed counters.
     */
    _Atomic(uint64_t) served[API_ROUTES_MAX + 1][API_STATUSES_MAX];
    _Atomic(uint64_t) leases_expired;
};

/* Starts or moves a timer and tells the host; as api_timer_start. */
int api_timer_set(struct api *api, struct api_timer *timer, uint64_t at_ns);
void api_timer_clear(struct api *api, struct api_timer *timer);

/* Reserved for every answer, so that one about missing memory can be given. Most bodies fit: they are not moved while they grow. */
#define API_RESERVED_BODY_BYTES    1024
#define API_RESERVED_HEADERS_BYTES 128

/* ---- Replies --------------------------------------------------------------------------------- */

/* Place of a status among those that the API gives, and back (0: there is none at this place). */
size_t api_status_index(int status);
int api_status_at(size_t index);
/* Renders value in the call's format and gives up the caller's reference. NULL value: out of
 * memory. */
void api_reply_json(struct api_call *call, int status, json_t *value);
/* A problem; fmt is the sentence that says what to fix. */
void api_problem(struct api_call *call, int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same with more members, whose reference is given up. */
void api_problem_with(struct api_call *call, int status, const char *code, json_t *members,
                      const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void api_problem_no_memory(struct api_call *call);
/* What the runtime says of goroutine `id`: -ESRCH, -EOWNERDEAD, -EOVERFLOW, -ENOMEM, or a fault. */
void api_problem_goroutine(struct api_call *call, int err, uint64_t id);
/* 504 with what stood in the way. Pool thread: naming the pc takes the inspector's lock. */
void api_problem_timeout(struct api_call *call, const struct gr_hold *hold);
void api_reply_text(struct api_call *call, int status, const char *type, const char *text);
/* A piece of a stream that cannot be made: the client shall see that the answer was cut. */
void api_reply_cut(struct api_call *call);
/* Whether nobody will see a body: what takes seconds to make is not made then. */
bool api_is_head(const struct api_call *call);
/* The content type of a format. */
const char *api_format_type(enum api_format format);
/* Appends one value in a format. */
void api_render(struct api_buf *out, const json_t *value, enum api_format format,
                api_text_fn *text);
/* Loop: the reply is complete. */
void api_call_done(struct api_call *call);
/*
 * Loop: runs `work` on the pool, then replies. Where it would take longer than a slice it returns with call->again set,
 * and is called once more later on; api_slice_over says when. Long from the first slice on if the route is heavy.
 */
void api_call_pool(struct api_call *call, void (*work)(struct api_call *call));
/* The same in the lane that is named; then calls `then` instead of replying. */
void api_call_work(struct api_call *call, enum api_lane lane, void (*work)(struct api_call *call),
                   void (*then)(struct api_call *call));
/* Pool: whether `work` has had its time. */
bool api_slice_over(const struct api_call *call);
/* Loop. Calls `begin` when the call has a place at the gate, now or later; or answers it. */
void api_call_admit(struct api_call *call, struct api_gate *gate,
                    void (*begin)(struct api_call *call));
/* Gives its place up, if it has one; an answer does so, too. */
void api_call_leave(struct api_call *call);

/* ---- Checked input --------------------------------------------------------------------------- */

/*
 * json_args.c: the body with a 0 for each number in its "args", whose text goes to `args`; NULL: it has none, or is no
 * JSON all the same, as `error` says then; args->failed: no memory.
 */
json_t *api_args_apart(const char *body, size_t size, size_t flags, struct api_buf *args,
                       json_error_t *error);
/* Parses and checks the body against the route; a problem and false if it is wrong. */
bool api_body_read(struct api_call *call);
/* Checks names, types and ranges of the query parameters; a problem and false if they are wrong. */
bool api_params_check(struct api_call *call);
/* Decides call->format from format= and Accept; a problem and false if none fits. */
bool api_format_choose(struct api_call *call);
uint64_t api_body_uint(const struct api_call *call, const char *name, uint64_t otherwise);
const char *api_body_string(const struct api_call *call, const char *name); /* NULL if absent */
const char *api_param(const struct api_call *call, const char *name);       /* NULL if absent */
uint64_t api_param_uint(const struct api_call *call, const char *name, uint64_t otherwise);
bool api_param_bool(const struct api_call *call, const char *name, bool otherwise);

/* ---- Lists ----------------------------------------------------------------------------------- */

/*
 * A walk over objects in ascending order of id. next: pool thread; the first one above `after` that
 * matches, which becomes `after`; its id, 0: there is none, and *item NULL: out of memory. One that looks at many that
 * don't match may say 0 with `paused` set when the call's slice is over: it goes on where it was.
 */
struct api_walk {
    struct api *api;
    const struct api_call *call;
    bool paused;
    uint64_t after, seq;
    bool as_text;       /* items are written as they are: they may be api_json_raw */
    uint64_t peeked_id; /* list.c: the item that showed that there is a next page */
    json_t *peeked;
    uint64_t (*next)(struct api_walk *walk, json_t **item);
    void (*destroy)(struct api_walk *walk);
};
/* Takes `after` and `seq` from the call's cursor; a problem and false if it is none of ours. */
bool api_walk_begin(struct api_call *call, struct api_walk *walk);
/* Answers with one page or, as NDJSON, begins a stream. Pool thread. Owns the walk from here on. */
void api_list_reply(struct api_call *call, struct api_walk *walk);

/* ---- Security -------------------------------------------------------------------------------- */

bool api_auth_host(struct api_call *call);
bool api_auth_token(struct api_call *call);
bool api_auth_origin(struct api_call *call);
/* audit.c: hands the host a line about a call that is answered; nothing for one that reads. */
void api_audit(struct api_call *call);

/* ---- The document ---------------------------------------------------------------------------- */

/* api/openapi.json, embedded by the build. */
extern const char api_openapi[], api_openapi_end[];

/* ---- JSON out -------------------------------------------------------------------------------- */

json_t *api_json_hex(uint64_t value);        /* "0x…" */
json_t *api_json_address(uint64_t value);    /* the same, null for 0 */
json_t *api_json_time(uint64_t realtime_ns); /* RFC 3339 UTC, null for 0 */
/* Null for NULL; bytes that are no UTF-8 become U+FFFD. */
json_t *api_json_string(const char *text);
json_t *api_json_bytes(const char *text, size_t size);
json_t *api_json_uint(uint64_t value);
/* A text that is known to be JSON, and is written as it stands; NULL from the second: it is no such value. */
json_t *api_json_raw(const char *text);
const char *api_json_raw_text(const json_t *value);
void api_json_write(struct api_buf *out, const json_t *value, bool pretty);
/* Strings of any bytes (NULL: null), times, and what is JSON already, as text. */
void api_put_raw(struct api_buf *out, const char *text); /* without the blanks between its tokens */
void api_put_text(struct api_buf *out, const char *text);
void api_put_hex(struct api_buf *out, uint64_t value); /* "0x…" */
void api_put_time(struct api_buf *out, uint64_t realtime_ns);
#define API_PUT(out, literal) api_buf_add(out, literal, sizeof(literal) - 1)
/* A member: `head` is what comes before the value, comma and name. Numbers end at INT64_MAX; an empty text is null. */
static inline void api_member_uint(struct api_buf *out, const char *head, uint64_t value)
{
    api_buf_str(out, head);
    api_buf_uint(out, value > INT64_MAX ? INT64_MAX : value);
}

static inline void api_member_text(struct api_buf *out, const char *head, const char *text)
{
    api_buf_str(out, head);
    api_put_text(out, text && text[0] ? text : NULL);
}

static inline void api_member_bool(struct api_buf *out, const char *head, bool value)
{
    api_buf_str(out, head);
    api_buf_str(out, value ? "true" : "false");
}
#define API_TIME_BYTES sizeof "2026-11-25T18:55:28.123456Z"
void api_time_format(char out[API_TIME_BYTES], uint64_t realtime_ns);
uint64_t api_realtime_ns(void);

json_t *api_labels_json(const struct gr_info *info);
/* A goroutine object, or, as_text, the same as api_json_raw; pool thread. NULL: out of memory. */
json_t *api_goroutine_json(struct api *api, const struct gr_info *info, bool as_text);
/*
 * The same as text, without the brace that closes it. `frame` names info->pc; `result` is the result of one that has
 * ended, as it left it, or NULL.
 */
void api_goroutine_write(struct api_buf *out, struct api *api, const struct gr_info *info,
                         const struct gr_frame *frame, const char *result);
/*
 * Loop: answers with the call's goroutine (`why`: with the members of api_why_add) without a way through the pool, which
 * costs more than everything else together. Only where nothing is long: its place has a name that is known, few could
 * wait for the same as it, and the form is the usual one. False: it is for the pool.
 */
bool api_goroutine_at_once(struct api_call *call, bool why);
/* Names info->pc: on a pool thread, or, on the loop, only if that takes no time; false otherwise. */
void api_name(struct api *api, uint64_t pc, struct gr_frame *frame);
bool api_name_known(struct api *api, uint64_t pc, struct gr_frame *frame);
/* By id. -ESRCH, -EOWNERDEAD, -ENOMEM. */
int api_goroutine_get(struct api *api, uint64_t id, json_t **out);
json_t *api_runtime_json(struct api *api);
json_t *api_limits_json(const struct gr_stats *stats);
/* why.c: adds to one goroutine's object why it does not run; false: no memory. Pool thread. */
bool api_why_add(struct api *api, const struct gr_info *info, json_t *value);
/* The same as text, each member with a comma before it. */
void api_why_write(struct api_buf *out, struct api *api, const struct gr_info *info);
json_t *api_wait_object_json(const struct gr_wait_object *object);
void api_wait_object_text(struct api_buf *out, const json_t *object);
/* roots.c: the parameters of GET /v1/goroutines/ID/roots; a problem and false if they are wrong. */
bool api_roots_check(struct api_call *call);
/* The answer from a copy. Pool thread. */
void api_roots_reply(struct api_call *call, const struct gr_copy *copy);
/* deadlocks.c: GET /v1/deadlocks as a value; its member `deadlock` says whether there is a finding. Pool thread. */
json_t *api_deadlocks_json(void);

/* ---- Text for people ------------------------------------------------------------------------- */

api_text_fn api_text_goroutines, api_text_stack, api_text_snapshot, api_text_suspensions,
    api_text_modules, api_text_log, api_text_goroutine, api_text_deadlocks;
api_text_fn api_text_saved;
void api_text_lines(struct api_buf *out, const json_t *value);

/* ---- Handlers -------------------------------------------------------------------------------- */

api_handler api_handle_dashboard;
/* Whether a file of the dashboard is at the path; then no token is asked for. */
bool api_dashboard_has(const struct api_target *target);
api_handler api_handle_healthz, api_handle_readyz, api_handle_runtime, api_handle_runtime_patch,
    api_handle_openapi, api_handle_metrics, api_handle_modules, api_handle_module, api_handle_module_load, api_handle_module_unload,
    api_handle_goroutines, api_handle_spawn, api_handle_goroutine, api_handle_log,
    api_handle_cancel, api_handle_suspend, api_handle_resume, api_handle_snapshot, api_handle_stack,
    api_handle_suspensions, api_handle_suspension, api_handle_suspension_patch,
    api_handle_suspension_delete, api_handle_deadlocks;
api_handler api_handle_pprof_index, api_handle_pprof_goroutine, api_handle_pprof_profile,
    api_handle_core, api_handle_debug_core, api_handle_debug_trace;
api_handler api_handle_suspend_group, api_handle_events;
api_handler api_handle_gdb, api_handle_roots;
api_text_fn api_text_roots;
api_handler api_handle_saved_list, api_handle_saved_take, api_handle_saved_show,
    api_handle_saved_delete;

#endif
