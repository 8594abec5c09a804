/*
 * reply.c: answers: values in the format that was asked for, and problems (RFC 9457).
 *
 * A problem is always application/problem+json, whatever the format: programs look for its `code`,
 * and a person can read it as it is. Rendering happens where the handler runs, on the pool for big
 * answers.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct status {
    int status;
    const char *text;
} statuses[] = {
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {507, "Insufficient Storage"},
};
#define STATUSES (sizeof statuses / sizeof statuses[0])
_Static_assert(STATUSES <= API_STATUSES_MAX, "a counter a status");

const char *api_status_text(int status)
{
    for (size_t i = 0; i < STATUSES; i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "Unknown";
}

size_t api_status_index(int status)
{
    size_t i = 0;
    while (i + 1 < STATUSES && statuses[i].status != status)
        i++;
    return i;
}

int api_status_at(size_t index)
{
    return index < STATUSES ? statuses[index].status : 0;
}

void api_render(struct api_buf *out, const json_t *value, enum api_format format, api_text_fn *text)
{
    switch (format) {
    case API_FORMAT_JSON:
    case API_FORMAT_NDJSON:
        api_json_write(out, value, false);
        break;
    case API_FORMAT_PRETTY:
        api_json_write(out, value, true);
        break;
    case API_FORMAT_TEXT:
        (text ? text : api_text_lines)(out, value);
        return; /* text ends its own lines */
    case API_FORMAT_SSE:
    case API_FORMAT_FOLDED:
    case API_FORMAT_CORE:
        return; /* made by their routes */
    }
    api_buf_str(out, "\n");
}

const char *api_format_type(enum api_format format)
{
    switch (format) {
    case API_FORMAT_TEXT:
    case API_FORMAT_FOLDED:
        return API_TYPE_TEXT;
    case API_FORMAT_NDJSON:
        return API_TYPE_NDJSON;
    case API_FORMAT_SSE:
        return API_TYPE_EVENTS;
    case API_FORMAT_CORE:
        return "application/x-core";
    default:
        return API_TYPE_JSON;
    }
}

void api_reply_json(struct api_call *call, int status, json_t *value)
{
    if (!value) {
        api_problem_no_memory(call);
        return;
    }
    call->reply.status = status;
    call->reply.content_type = api_format_type(call->format);
    api_render(&call->reply.body, value, call->format, call->route->text);
    json_decref(value);
    if (call->reply.body.failed)
        api_problem_no_memory(call);
}

void api_reply_text(struct api_call *call, int status, const char *type, const char *text)
{
    call->reply.status = status;
    call->reply.content_type = type;
    api_buf_str(&call->reply.body, text);
}

void api_reply_cut(struct api_call *call)
{
    api_buf_free(&call->reply.body);
    call->reply.body.failed = true;
    call->reply.more = false;
}

/* ---- Problems -------------------------------------------------------------------------------- */

static json_t *problem_json(int status, const char *code, const char *detail)
{
    return json_pack("{s:s,s:s,s:i,s:o,s:s}", "type", "about:blank", "title",
                     api_status_text(status), "status", status, "detail", api_json_string(detail),
                     "code", code);
}

void api_problem_write(struct api_buf *buf, int status, const char *code, const char *detail)
{
    json_t *value = problem_json(status, code, detail);
    api_render(buf, value, API_FORMAT_JSON, NULL);
    json_decref(value);
}

/* Where there is no memory for any other; it fits into what api_call_start reserved. */
static const char no_memory_problem[] =
    "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"the daemon has "
    "no memory left for this answer; try again later\",\"code\":\"" API_CODE_OUT_OF_RESOURCES
    "\"}\n";
_Static_assert(sizeof no_memory_problem <= API_RESERVED_BODY_BYTES, "the last answer has room");

bool api_is_head(const struct api_call *call)
{
    return strcmp(call->request.method, "HEAD") == 0;
}

static void reply_problem(struct api_call *call, int status, const char *code, json_t *members,
                          const char *detail)
{
    json_t *value = problem_json(status, code, detail);
    if (members)
        json_object_update(value, members);
    json_decref(members);
    call->reply.status = status;
    call->reply.content_type = API_TYPE_PROBLEM;
    call->reply.streaming = call->reply.more = false;
    api_buf_clear(&call->reply.body);
    api_render(&call->reply.body, value, API_FORMAT_JSON, NULL);
    json_decref(value);
    if (!value || call->reply.body.failed) {
        call->reply.status = status = 503;
        api_buf_clear(&call->reply.body);
        api_buf_str(&call->reply.body, no_memory_problem);
    }
    if (status == 503)
        api_buf_str(&call->reply.headers, "Retry-After: 1\r\n");
}

void api_problem(struct api_call *call, int status, const char *code, const char *fmt, ...)
{
    char detail[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    reply_problem(call, status, code, NULL, detail);
}

void api_problem_with(struct api_call *call, int status, const char *code, json_t *members,
                      const char *fmt, ...)
{
    char detail[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    reply_problem(call, status, code, members, detail);
}

void api_problem_no_memory(struct api_call *call)
{
    api_problem(call, 503, API_CODE_OUT_OF_RESOURCES,
                "the daemon has no memory left for this answer; try again later");
}

void api_problem_goroutine(struct api_call *call, int err, uint64_t id)
{
    if (err == -EOWNERDEAD)
        api_problem(call, 410, API_CODE_GOROUTINE_DEAD, "goroutine %" PRIu64 " has ended", id);
    else if (err == -ESRCH)
        api_problem(call, 404, API_CODE_NOT_FOUND, "there is no goroutine %" PRIu64, id);
    else if (err == -EOVERFLOW)
        api_problem(call, 409, API_CODE_TOO_MANY_HOLDS,
                    "goroutine %" PRIu64 " is held %d times already; release some", id,
                    GR_HOLDS_MAX);
    else if (err == -ENOMEM)
        api_problem_no_memory(call);
    else
        api_problem(call, 500, API_CODE_INTERNAL, "the runtime answered: %s", strerror(-err));
}

/* ---- Content negotiation --------------------------------------------------------------------- */

static const struct {
    const char *name, *type;
    enum api_format format;
    unsigned flags; /* only of routes that have one of them; 0: of all */
} formats[] = {
    {"sse", "text/event-stream", API_FORMAT_SSE, API_ROUTE_EVENTS},
    {"json", "application/json", API_FORMAT_JSON, 0},
    {"pretty", "application/json", API_FORMAT_PRETTY, 0},
    {"ndjson", "application/x-ndjson", API_FORMAT_NDJSON, 0},
    {"text", "text/plain", API_FORMAT_TEXT, 0},
    {"folded", "text/plain", API_FORMAT_FOLDED, API_ROUTE_SAVED},
    {"core", "application/x-core", API_FORMAT_CORE, API_ROUTE_SAVED | API_ROUTE_RAW},
};
#define FORMATS (sizeof formats / sizeof formats[0])

/* "q=0.85" of a range's parameters in thousandths; 1000 if there is none. */
static int quality_of(const char *params, size_t size)
{
    size_t i = 0;
    /* Ends: each turn goes to the next ';'. */
    for (;;) {
        while (i < size && params[i] != ';')
            i++;
        i += strspn(params + i, "; \t");
        if (i + 2 >= size)
            return 1000;
        if ((params[i] | 0x20) == 'q' && params[i + 1] == '=')
            break;
    }
    int quality = params[i + 2] == '1' ? 1000 : 0, scale = 100;
    for (size_t k = i + 4; k < size && quality < 1000 && scale; k++, scale /= 10)
        quality += params[k] >= '0' && params[k] <= '9' ? (params[k] - '0') * scale : 0;
    return quality;
}

/* How well one media range of Accept fits a type: its quality in thousandths; -1: it does not speak
 * of it. */
static int range_quality(const char *range, size_t size, const char *type, int *specific)
{
    size_t name = 0;
    while (name < size && !strchr("; \t", range[name]))
        name++;
    size_t major = strcspn(type, "/") + 1;
    if (name == strlen(type) && strncasecmp(range, type, name) == 0)
        *specific = 2;
    else if (name > 1 && name == major + 1 && strncasecmp(range, type, name - 1) == 0 &&
             range[major] == '*')
        *specific = 1;
    else if (name == 3 && strncmp(range, "*/*", 3) == 0)
        *specific = 0;
    else
        return -1;
    return quality_of(range + name, size - name);
}

/* The quality that Accept gives to a type: the most specific range counts. */
static int accept_quality(const char *accept, const char *type)
{
    int quality = 0, best = -1;
    while (*accept) {
        accept += strspn(accept, ", \t");
        size_t size = strcspn(accept, ",");
        int specific = 0, q = range_quality(accept, size, type, &specific);
        if (q >= 0 && specific > best) {
            best = specific;
            quality = q;
        }
        accept += size;
    }
    return quality;
}

static bool has_format(const struct api_route *route, size_t i)
{
    return !formats[i].flags || route->flags & formats[i].flags;
}

bool api_format_choose(struct api_call *call)
{
    call->format = call->route->flags & API_ROUTE_EVENTS ? API_FORMAT_SSE : API_FORMAT_JSON;
    const char *name = api_param(call, "format");
    if (call->route->flags & API_ROUTE_RAW)
        call->format = API_FORMAT_CORE;
    if (call->route->flags & API_ROUTE_PLAIN || (call->route->flags & API_ROUTE_RAW && !name))
        return true; /* whoever accepts JSON alone as well gets the file that it asked for */
    if (name) {
        for (size_t i = 0; i < FORMATS; i++)
            if (strcmp(formats[i].name, name) == 0 && has_format(call->route, i)) {
                call->format = formats[i].format;
                return true;
            }
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "parameter format must be one of json, pretty, ndjson, text%s",
                    call->route->flags & API_ROUTE_SAVED    ? ", folded, core"
                    : call->route->flags & API_ROUTE_RAW    ? ", core"
                    : call->route->flags & API_ROUTE_EVENTS ? ", sse"
                                                            : "");
        return false;
    }
    const char *accept = api_request_header(&call->request, "accept");
    if (!accept)
        return true;
    int best = 0;
    for (size_t i = 0; i < FORMATS; i++) {
        int quality = has_format(call->route, i) ? accept_quality(accept, formats[i].type) : 0;
        if (quality > best) {
            best = quality;
            call->format = formats[i].format;
        }
    }
    if (best)
        return true;
    api_problem(call, 406, API_CODE_NOT_ACCEPTABLE,
                "here the answer is %sapplication/json, application/x-ndjson or text/plain",
                call->route->flags & API_ROUTE_EVENTS ? "text/event-stream, " : "");
    return false;
}
