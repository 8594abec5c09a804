/*
 * audit.c: one line of JSON for every mutation: who asked for what, and what came of it.
 *
 * Written when the answer is decided, whatever it is: a refused attempt is as telling as a success.
 * Only a caller who is not known is left out; a stranger could fill the disk. The request's body
 * and the answer are embedded as they are, if they are JSON and not long: they were parsed and
 * rendered already, and a line is complete or says how many bytes it left out. Rejected: a line
 * before the action (it could not say which ids), both (twice the lines, and a crash is told by the
 * missing end of the log anyhow).
 */
#include "internal.h"

#include <string.h>

#define EMBEDDED_BYTES_MAX 2048

/* As a JSON string; what is neither printable nor ASCII becomes \u00XX. */
static void add_string(struct api_buf *line, const char *text, size_t size)
{
    api_buf_str(line, "\"");
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            api_buf_printf(line, "\\u%04x", c);
        else
            api_buf_add(line, text + i, 1);
    }
    api_buf_str(line, "\"");
}

/* JSON text in one line: a line break can only be space between its tokens. */
static void add_json(struct api_buf *line, const char *name, const char *text, size_t size)
{
    while (size && strchr(" \t\r\n", text[size - 1]))
        size--;
    if (!size)
        return;
    if (size > EMBEDDED_BYTES_MAX) {
        api_buf_printf(line, ",\"%s_bytes\":%zu", name, size);
        return;
    }
    api_buf_printf(line, ",\"%s\":", name);
    size_t begin = line->size;
    api_buf_add(line, text, size);
    for (size_t i = begin; i < line->size; i++)
        if (line->data[i] == '\n' || line->data[i] == '\r')
            line->data[i] = ' ';
}

static bool answer_is_json(const struct api_call *call)
{
    const char *type = call->reply.content_type;
    return type && !call->reply.streaming &&
           (strcmp(type, API_TYPE_JSON) == 0 || strcmp(type, API_TYPE_PROBLEM) == 0);
}

/* A session that takes over the connection (101) is begun by GET, and holds goroutines. */
static bool is_reading(const struct api_call *call)
{
    const char *method = call->request.method;
    return (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) && call->reply.status != 101;
}

void api_audit(struct api_call *call)
{
    struct api *api = call->api;
    const struct api_request *request = &call->request;
    struct api_buf line = {0};
    char at[API_TIME_BYTES];
    if (!api->host.audit || !call->principal[0] || is_reading(call))
        return;
    api_time_format(at, api_realtime_ns());
    api_buf_printf(&line, "{\"at\":\"%s\",\"instance\":\"%s\",\"principal\":", at, api->instance);
    add_string(&line, call->principal, strlen(call->principal));
    api_buf_printf(&line, ",\"via\":\"%s\",\"method\":", request->peer.tcp ? "tcp" : "unix");
    add_string(&line, request->method, strlen(request->method));
    api_buf_str(&line, ",\"target\":");
    add_string(&line, request->target, request->target_bytes);
    api_buf_printf(&line, ",\"status\":%d", call->reply.status);
    if (call->body) /* it was JSON */
        add_json(&line, "request", request->body, request->body_bytes);
    if (answer_is_json(call))
        add_json(&line, "answer", call->reply.body.data, call->reply.body.size);
    api_buf_str(&line, "}");
    if (!line.failed)
        api->host.audit(api->host.ctx, line.data, line.size);
    api_buf_free(&line);
}
