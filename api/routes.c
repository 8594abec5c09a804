/*
 * routes.c: the table of everything that can be asked, one row a call.
 *
 * A row is the whole truth about a call but for what its handler does: method, path, scope, where
 * it runs, and every name it takes with type and range. Checks read the rows, and so does whoever
 * documents them; a new call is a new row and a function. The table is searched from top to bottom:
 * a few dozen short string compares cost less than a hash of the path would.
 */
#include "internal.h"

#include <string.h>

#include <grasp/profile.h>
#include <grasp/trace.h>

#define UINT(name, min, max)                                                                       \
    {                                                                                              \
        name, API_FIELD_UINT, min, max, false                                                      \
    }
#define BOOL(name)                                                                                 \
    {                                                                                              \
        name, API_FIELD_BOOL, 0, 0, false                                                          \
    }
#define STRING(name, max)                                                                          \
    {                                                                                              \
        name, API_FIELD_STRING, 0, max, false                                                      \
    }
#define REQUIRED(name, max)                                                                        \
    {                                                                                              \
        name, API_FIELD_STRING, 1, max, true                                                       \
    }
#define END                                                                                        \
    {                                                                                              \
        0                                                                                          \
    }

static const struct api_field runtime_patch_fields[] = {
    UINT("procs", 1, GR_PROCS_MAX), BOOL("async_preempt"),
    UINT("time_slice_us", GR_TIME_SLICE_US_MIN, GR_TIME_SLICE_US_MAX), END};
static const struct api_field module_fields[] = {REQUIRED("name", GR_NAME_MAX), BOOL("replace"),
                                                 END};
static const struct api_field goroutines_params[] = {STRING("state", 0),
                                                     STRING("module", 0),
                                                     STRING("entry", 0),
                                                     UINT("root", 1, API_ID_MAX),
                                                     STRING("selector", 0),
                                                     BOOL("suspended"),
                                                     END};
static const struct api_field spawn_fields[] = {
    REQUIRED("module", GR_NAME_MAX),       REQUIRED("entry", GR_NAME_MAX),
    {"args", API_FIELD_ANY, 0, 0, false},  {"labels", API_FIELD_OBJECT, 0, 0, false},
    UINT("count", 1, API_SPAWN_COUNT_MAX), END};
static const struct api_field wait_params[] = {UINT("wait_ms", 0, API_WAIT_MS_MAX), END};
static const struct api_field log_params[] = {UINT("from", 0, API_ID_MAX), END};
static const struct api_field suspend_fields[] = {
    UINT("lease_ms", API_LEASE_MS_MIN, API_LEASE_MS_MAX), UINT("timeout_ms", 0, API_TIMEOUT_MS_MAX),
    STRING("owner", API_NOTE_BYTES_MAX), STRING("reason", API_NOTE_BYTES_MAX), END};
/* What names a set of goroutines; api_selection_read sees to it that it is one. */
#define SELECTION                                                                                  \
    {"ids", API_FIELD_IDS, 1, API_IDS_MAX, false}, STRING("selector", API_URI_BYTES_MAX),          \
        STRING("module", GR_NAME_MAX), UINT("root", 1, API_ID_MAX), BOOL("all"),                   \
        {"except", API_FIELD_IDS, 0, API_IDS_MAX, false}, STRING("require", API_NOTE_BYTES_MAX),   \
        UINT("timeout_ms", 0, API_TIMEOUT_MS_MAX)
static const struct api_field suspend_group_fields[] = {
    SELECTION, UINT("lease_ms", API_LEASE_MS_MIN, API_LEASE_MS_MAX),
    STRING("owner", API_NOTE_BYTES_MAX), STRING("reason", API_NOTE_BYTES_MAX), END};
static const struct api_field save_fields[] = {SELECTION, END};
static const struct api_field resume_fields[] = {UINT("suspension", 1, API_ID_MAX), BOOL("all"),
                                                 END};
static const struct api_field snapshot_params[] = {UINT("bytes", 0, API_SNAPSHOT_BYTES_MAX),
                                                   BOOL("vectors"), END};
static const struct api_field pprof_goroutine_params[] = {STRING("debug", 0),
                                                          STRING("format", 0),
                                                          STRING("selector", 0),
                                                          STRING("module", 0),
                                                          STRING("entry", 0),
                                                          UINT("root", 1, API_ID_MAX),
                                                          END};
static const struct api_field events_params[] = {STRING("types", 0), STRING("selector", 0), END};
static const struct api_field roots_params[] = {STRING("kind", 0), UINT("limit", 1, API_ROOTS_MAX),
                                                END};
static const struct api_field gdb_params[] = {STRING("ids", 0), STRING("selector", 0),
                                              UINT("timeout_ms", 0, API_TIMEOUT_MS_MAX), END};
static const struct api_field pprof_profile_params[] = {
    UINT("seconds", 0, 3600),    UINT("hz", 1, GR_PROFILE_HZ_MAX),
    STRING("format", 0),         STRING("selector", 0),
    STRING("module", 0),         STRING("entry", 0),
    UINT("root", 1, API_ID_MAX), END};
static const struct api_field trace_params[] = {
    UINT("seconds", 0, 3600), UINT("records", GR_TRACE_RECORDS_MIN, GR_TRACE_RECORDS_MAX), END};
static const struct api_field core_params[] = {BOOL("data"), END};
static const struct api_field debug_core_params[] = {BOOL("all"),
                                                     BOOL("data"),
                                                     STRING("selector", 0),
                                                     STRING("module", 0),
                                                     UINT("root", 1, API_ID_MAX),
                                                     UINT("timeout_ms", 0, API_TIMEOUT_MS_MAX),
                                                     END};
static const struct api_field lease_fields[] = {
    {"lease_ms", API_FIELD_UINT, API_LEASE_MS_MIN, API_LEASE_MS_MAX, true}, END};

#define READ    API_SCOPE_READ
#define CONTROL API_SCOPE_CONTROL
#define LOAD    API_SCOPE_LOAD
#define POOL    API_ROUTE_POOL
#define LIST    (API_ROUTE_POOL | API_ROUTE_LIST)
#define RELEASE API_ROUTE_RELEASE
#define PLAIN   API_ROUTE_PLAIN
#define RAW     API_ROUTE_RAW
#define HEAVY   API_ROUTE_HEAVY
#define LOADS   API_ROUTE_LOADS
#define OPEN    (API_ROUTE_PLAIN | API_ROUTE_OPEN)

const struct api_route api_routes[] = {
    {"GET", "/healthz", api_handle_healthz, 0, OPEN, NULL, NULL, NULL},
    {"GET", "/readyz", api_handle_readyz, 0, OPEN, NULL, NULL, NULL},
    {"GET", "/", api_handle_dashboard, 0, PLAIN, NULL, NULL, NULL},
    {"GET", "/app.js", api_handle_dashboard, 0, PLAIN, NULL, NULL, NULL},
    {"GET", "/style.css", api_handle_dashboard, 0, PLAIN, NULL, NULL, NULL},
    {"GET", "/metrics", api_handle_metrics, READ, PLAIN | POOL, NULL, NULL, NULL},
    {"GET", "/openapi.json", api_handle_openapi, READ, PLAIN, NULL, NULL, NULL},
    {"GET", "/debug/pprof/", api_handle_pprof_index, READ, PLAIN | POOL, NULL, NULL, NULL},
    {"GET", "/debug/pprof/goroutine", api_handle_pprof_goroutine, READ, PLAIN | POOL | HEAVY,
     pprof_goroutine_params, NULL, NULL},
    {"GET", "/debug/trace", api_handle_debug_trace, READ, PLAIN | HEAVY, trace_params, NULL, NULL},
    {"GET", "/debug/core", api_handle_debug_core, READ, PLAIN | HEAVY, debug_core_params, NULL,
     NULL},
    {"GET", "/debug/pprof/profile", api_handle_pprof_profile, READ, PLAIN, pprof_profile_params,
     NULL, NULL},
    {"GET", "/v1/runtime", api_handle_runtime, READ, POOL, NULL, NULL, NULL},
    {"PATCH", "/v1/runtime", api_handle_runtime_patch, CONTROL, POOL, NULL, runtime_patch_fields,
     NULL},
    {"GET", "/v1/modules", api_handle_modules, READ, LIST, NULL, NULL, api_text_modules},
    {"POST", "/v1/modules", api_handle_module_load, LOAD, POOL | LOADS, NULL, module_fields,
     api_text_modules},
    {"GET", "/v1/modules/{name}", api_handle_module, READ, POOL, NULL, NULL, api_text_modules},
    {"DELETE", "/v1/modules/{name}", api_handle_module_unload, LOAD, POOL | LOADS, NULL, NULL,
     NULL},
    {"GET", "/v1/goroutines", api_handle_goroutines, READ, LIST, goroutines_params, NULL,
     api_text_goroutines},
    {"POST", "/v1/goroutines", api_handle_spawn, CONTROL, POOL, NULL, spawn_fields, NULL},
    {"GET", "/v1/goroutines/{id}", api_handle_goroutine, READ, 0, wait_params, NULL,
     api_text_goroutine},
    {"DELETE", "/v1/goroutines/{id}", api_handle_cancel, CONTROL, POOL, NULL, NULL, NULL},
    {"GET", "/v1/goroutines/{id}/log", api_handle_log, READ, POOL, log_params, NULL, api_text_log},
    {"POST", "/v1/goroutines/{id}/suspend", api_handle_suspend, CONTROL, 0, NULL, suspend_fields,
     NULL},
    {"POST", "/v1/goroutines/{id}/resume", api_handle_resume, CONTROL, RELEASE, NULL, resume_fields,
     NULL},
    {"GET", "/v1/goroutines/{id}/snapshot", api_handle_snapshot, READ, 0, snapshot_params, NULL,
     api_text_snapshot},
    {"GET", "/v1/goroutines/{id}/stack", api_handle_stack, READ, 0, NULL, NULL, api_text_stack},
    {"GET", "/v1/goroutines/{id}/core", api_handle_core, READ, RAW | HEAVY, core_params, NULL,
     api_text_snapshot},
    {"GET", "/v1/gdb", api_handle_gdb, READ | CONTROL | LOAD, 0, gdb_params, NULL, NULL},
    {"GET", "/v1/goroutines/{id}/roots", api_handle_roots, READ, HEAVY, roots_params, NULL,
     api_text_roots},
    {"GET", "/v1/deadlocks", api_handle_deadlocks, READ, POOL | HEAVY, NULL, NULL,
     api_text_deadlocks},
    {"GET", "/v1/snapshots", api_handle_saved_list, READ, LIST, NULL, NULL, api_text_saved},
    {"POST", "/v1/snapshots", api_handle_saved_take, CONTROL, HEAVY, NULL, save_fields,
     api_text_saved},
    {"GET", "/v1/snapshots/{id}", api_handle_saved_show, READ, POOL | HEAVY | API_ROUTE_SAVED, NULL,
     NULL, NULL},
    {"DELETE", "/v1/snapshots/{id}", api_handle_saved_delete, CONTROL, POOL, NULL, NULL, NULL},
    {"GET", "/v1/suspensions", api_handle_suspensions, READ, LIST, NULL, NULL,
     api_text_suspensions},
    {"POST", "/v1/suspensions", api_handle_suspend_group, CONTROL, 0, NULL, suspend_group_fields,
     NULL},
    {"GET", "/v1/suspensions/{id}", api_handle_suspension, READ, 0, NULL, NULL, NULL},
    {"PATCH", "/v1/suspensions/{id}", api_handle_suspension_patch, CONTROL, 0, NULL, lease_fields,
     NULL},
    {"DELETE", "/v1/suspensions/{id}", api_handle_suspension_delete, CONTROL, RELEASE, NULL, NULL,
     NULL},
    {"GET", "/v1/events", api_handle_events, READ, API_ROUTE_EVENTS, events_params, NULL, NULL},
};
const size_t api_route_count = sizeof api_routes / sizeof api_routes[0];
_Static_assert(sizeof api_routes / sizeof api_routes[0] <= API_ROUTES_MAX, "a counter a route");

void api_routes_measure(unsigned char *depths)
{
    for (size_t i = 0; i < api_route_count; i++) {
        const char *path = api_routes[i].path;
        size_t slashes = 0;
        for (const char *c = path; *c; c++)
            slashes += *c == '/';
        depths[i] = strcmp(path, "/") == 0 ? 0 : (unsigned char)slashes;
    }
}

/* Whether the call's path fits a template; then *id and *name are its segments in braces. */
static bool fits(const struct api_target *target, const char *path, const char **id,
                 const char **name)
{
    size_t i = 0;
    if (strcmp(path, "/") == 0)
        return target->root;
    for (; *path; i++) {
        path++; /* the '/' */
        size_t size = (size_t)(strchrnul(path, '/') - path);
        if (i >= target->segment_count)
            return false;
        if (path[0] == '{')
            *(path[1] == 'i' ? id : name) = target->segment[i];
        else if (strncmp(path, target->segment[i], size) || target->segment[i][size])
            return false;
        path += size;
    }
    return i == target->segment_count;
}

static void add_allow(struct api_buf *allow, const char *method)
{
    if (allow->size)
        api_buf_str(allow, ", ");
    api_buf_str(allow, method);
    if (strcmp(method, "GET") == 0)
        api_buf_str(allow, ", HEAD");
}

static bool refuse(struct api_call *call, struct api_buf *allow)
{
    if (allow->size) {
        api_buf_printf(&call->reply.headers, "Allow: %.*s\r\n", (int)allow->size, allow->data);
        api_problem(call, 405, API_CODE_METHOD_NOT_ALLOWED, "%s is not possible here; %.*s is",
                    call->request.method, (int)allow->size, allow->data);
    } else {
        api_problem(call, 404, API_CODE_NOT_FOUND, "there is nothing at this path");
    }
    api_buf_free(allow);
    return false;
}

bool api_route_find(struct api_call *call)
{
    const char *method = call->request.method;
    struct api_buf allow = {0};
    const char *id = NULL;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < api_route_count && !call->route; i++) {
        if (call->api->route_depths[i] != call->target.segment_count ||
            !fits(&call->target, api_routes[i].path, &id, &call->name))
            continue;
        if (strcmp(api_routes[i].method, method) == 0)
            call->route = &api_routes[i];
        else
            add_allow(&allow, api_routes[i].method);
    }
    if (!call->route)
        return refuse(call, &allow);
    api_buf_free(&allow);
    if (id && !api_parse_uint(id, 1, API_ID_MAX, &call->id)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "\"%.60s\" is not an id; ids are integers from 1 to 9007199254740991", id);
        return false;
    }
    return true;
}
