/*
 * http_client.c: see http_client.h. Bytes, places, requests and answers; the blocking half is in
 * http_connection.c.
 */
#include "http_client.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire.h"

/* ---- Bytes ------------------------------------------------------------------------------------ */

static void reserve(struct http_buf *buf, size_t more)
{
    if (buf->size + more + 1 <= buf->capacity)
        return;
    size_t capacity = buf->capacity ? buf->capacity : 256;
    while (capacity < buf->size + more + 1)
        capacity *= 2;
    buf->data = realloc(buf->data, capacity);
    if (!buf->data) {
        fputs("out of memory\n", stderr);
        abort();
    }
    buf->capacity = capacity;
}

void http_buf_add(struct http_buf *buf, const void *bytes, size_t size)
{
    reserve(buf, size);
    memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
    buf->data[buf->size] = 0;
}

void http_buf_str(struct http_buf *buf, const char *text)
{
    http_buf_add(buf, text, strlen(text));
}

void http_buf_printf(struct http_buf *buf, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int size = vsnprintf(NULL, 0, format, list);
    va_end(list);
    reserve(buf, (size_t)size);
    va_start(list, format);
    vsnprintf(buf->data + buf->size, (size_t)size + 1, format, list);
    va_end(list);
    buf->size += (size_t)size;
}

void http_buf_free(struct http_buf *buf)
{
    free(buf->data);
    *buf = (struct http_buf){0};
}

void http_buf_quoted(struct http_buf *buf, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x80 && (isalnum(c) || strchr("-_.~", c)))
            http_buf_add(buf, text, 1);
        else
            http_buf_printf(buf, "%%%02X", c);
    }
}

/* ---- Where ------------------------------------------------------------------------------------ */

static int parse_unix(struct http_place *place, const char *path, char *err, size_t err_bytes)
{
    if (!*path || strlen(path) >= sizeof place->unix_path) {
        snprintf(err, err_bytes, "the path of a Unix socket has 1 to %zu bytes, not %zu",
                 sizeof place->unix_path - 1, strlen(path));
        return -EINVAL;
    }
    strcpy(place->unix_path, path);
    return 0;
}

/* HOST:PORT or [HOST]:PORT. The port may be left out if it has a default. */
static int parse_authority(struct http_place *place, const char *text, size_t size,
                           const char *default_port, char *err, size_t err_bytes)
{
    const char *host = text, *end = text + size, *port = NULL;
    size_t host_bytes = size;
    if (size && *text == '[') {
        const char *close = memchr(text, ']', size);
        host = text + 1;
        host_bytes = close ? (size_t)(close - host) : 0;
        port = close && close + 1 < end && close[1] == ':' ? close + 2 : NULL;
    } else if ((port = memchr(text, ':', size))) {
        host_bytes = (size_t)(port++ - text);
    }
    size_t port_bytes = port ? (size_t)(end - port) : 0;
    bool good = host_bytes > 0 && host_bytes < sizeof place->host &&
                (port ? port_bytes > 0 && port_bytes < sizeof place->port : default_port != NULL);
    for (size_t i = 0; good && i < port_bytes; i++)
        good = isdigit((unsigned char)port[i]);
    good = good && (!port || (atoi(port) > 0 && atoi(port) < 65536));
    if (!good) {
        snprintf(err, err_bytes, "\"%.*s\" is not HOST:PORT", (int)size, text);
        return -EINVAL;
    }
    place->unix_path[0] = 0;
    snprintf(place->host, sizeof place->host, "%.*s", (int)host_bytes, host);
    snprintf(place->port, sizeof place->port, "%.*s", port ? (int)port_bytes : 5,
             port ? port : default_port);
    return 0;
}

int http_place_parse(struct http_place *place, const char *text, char *err, size_t err_bytes)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(place, text + 5 + (strncmp(text + 5, "//", 2) == 0 ? 2 : 0), err,
                          err_bytes);
    if (*text == '/')
        return parse_unix(place, text, err, err_bytes);
    if (strncmp(text, "https:", 6) == 0) {
        snprintf(err, err_bytes,
                 "the daemon speaks no TLS: use ssh -L or a port-forward and an http URL");
        return -EINVAL;
    }
    bool url = strncmp(text, "http://", 7) == 0;
    const char *authority = text + (url ? 7 : 0);
    size_t size = strcspn(authority, "/#?");
    if (authority[size] && strcmp(authority + size, "/") && strncmp(authority + size, "/#", 2)) {
        snprintf(err, err_bytes,
                 "\"%s\": a URL here is http://HOST:PORT or unix:PATH, without a path behind it",
                 text);
        return -EINVAL;
    }
    return parse_authority(place, authority, size, url ? "80" : NULL, err, err_bytes);
}

void http_place_name(const struct http_place *place, char *out, size_t out_bytes)
{
    if (place->unix_path[0])
        snprintf(out, out_bytes, "unix:%s", place->unix_path);
    else
        snprintf(out, out_bytes, strchr(place->host, ':') ? "http://[%s]:%s" : "http://%s:%s",
                 place->host, place->port);
}

/* ---- Requests --------------------------------------------------------------------------------- */

void http_request_write(struct http_buf *out, const struct http_place *place,
                        const struct http_request *request)
{
    http_buf_printf(out, "%s %s HTTP/1.1\r\n", request->method, request->target);
    if (place->unix_path[0])
        http_buf_str(out, "Host: localhost\r\n");
    else
        http_buf_printf(out, strchr(place->host, ':') ? "Host: [%s]:%s\r\n" : "Host: %s:%s\r\n",
                        place->host, place->port);
    if (place->token[0])
        http_buf_printf(out, "Authorization: Bearer %s\r\n", place->token);
    if (request->headers)
        http_buf_str(out, request->headers);
    if (request->body)
        http_buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                        request->type ? request->type : API_TYPE_JSON, request->body_bytes);
    http_buf_str(out, "\r\n");
    if (request->body)
        http_buf_add(out, request->body, request->body_bytes);
}

/* ---- Answers ---------------------------------------------------------------------------------- */

static struct http_answer *of(llhttp_t *parser)
{
    return parser->data;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t size)
{
    struct http_answer *answer = of(parser);
    http_buf_add(&answer->head, at, size);
    for (size_t i = 0; i < size && answer->field_bytes < sizeof answer->field - 1; i++)
        answer->field[answer->field_bytes++] = at[i];
    answer->field[answer->field_bytes] = 0;
    return 0;
}

static int on_header_field_complete(llhttp_t *parser)
{
    http_buf_str(&of(parser)->head, ": ");
    return 0;
}

static void append(char *out, size_t out_bytes, const char *at, size_t size)
{
    size_t have = strlen(out);
    snprintf(out + have, out_bytes - have, "%.*s", (int)size, at);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size)
{
    struct http_answer *answer = of(parser);
    http_buf_add(&answer->head, at, size);
    if (strcasecmp(answer->field, "Content-Type") == 0)
        append(answer->content_type, sizeof answer->content_type, at, size);
    else if (strcasecmp(answer->field, API_HEADER_INSTANCE) == 0)
        append(answer->instance, sizeof answer->instance, at, size);
    return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct http_answer *answer = of(parser);
    http_buf_str(&answer->head, "\n");
    answer->field_bytes = 0;
    answer->field[0] = 0;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_answer *answer = of(parser);
    answer->status = parser->status_code;
    return answer->to_head ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct http_answer *answer = of(parser);
    answer->body_bytes += size;
    if (answer->sink && answer->status >= 200 && answer->status < 300) {
        if (!answer->sink(answer->ctx, at, size)) {
            answer->stopped = true;
            return HPE_PAUSED;
        }
    } else if (answer->body_max) {
        if (answer->body.size + size > answer->body_max) {
            answer->error = "the answer is larger than what is kept in memory";
            return HPE_USER;
        }
        http_buf_add(&answer->body, at, size);
    }
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct http_answer *answer = of(parser);
    if (answer->status < 200 && answer->status != 101) /* an interim answer: the real one follows */
        return 0;
    answer->complete = true;
    answer->keep_alive = llhttp_should_keep_alive(parser);
    return HPE_PAUSED;
}

void http_answer_init(struct http_answer *answer)
{
    *answer = (struct http_answer){.body_max = HTTP_BODY_BYTES_MAX};
    llhttp_settings_init(&answer->settings);
    answer->settings.on_header_field = on_header_field;
    answer->settings.on_header_field_complete = on_header_field_complete;
    answer->settings.on_header_value = on_header_value;
    answer->settings.on_header_value_complete = on_header_value_complete;
    answer->settings.on_headers_complete = on_headers_complete;
    answer->settings.on_body = on_body;
    answer->settings.on_message_complete = on_message_complete;
    http_answer_reset(answer);
}

void http_answer_count_only(struct http_answer *answer)
{
    answer->settings.on_header_field = NULL;
    answer->settings.on_header_field_complete = NULL;
    answer->settings.on_header_value = NULL;
    answer->settings.on_header_value_complete = NULL;
}

void http_answer_fini(struct http_answer *answer)
{
    http_buf_free(&answer->head);
    http_buf_free(&answer->body);
}

void http_answer_reset(struct http_answer *answer)
{
    llhttp_init(&answer->parser, HTTP_RESPONSE, &answer->settings);
    answer->parser.data = answer;
    answer->status = 0;
    answer->body_bytes = 0;
    answer->keep_alive = answer->stopped = answer->complete = false;
    answer->content_type[0] = answer->instance[0] = 0;
    answer->field_bytes = 0;
    answer->field[0] = 0;
    answer->error = NULL;
    answer->head.size = 0;
    answer->body.size = 0;
    if (answer->body_max)
        http_buf_add(&answer->body, "", 0);
}

enum http_progress http_answer_feed(struct http_answer *answer, const char *bytes, size_t size,
                                    size_t *used)
{
    enum llhttp_errno result = llhttp_execute(&answer->parser, bytes, size);
    *used = size;
    if (result == HPE_OK)
        return HTTP_MORE;
    *used = (size_t)(llhttp_get_error_pos(&answer->parser) - bytes);
    if ((result == HPE_PAUSED || result == HPE_PAUSED_UPGRADE) &&
        (answer->complete || answer->stopped))
        return HTTP_DONE;
    if (!answer->error)
        answer->error = llhttp_get_error_reason(&answer->parser);
    return HTTP_BROKEN;
}

enum http_progress http_answer_end(struct http_answer *answer)
{
    enum llhttp_errno result = llhttp_finish(&answer->parser);
    if (answer->complete && (result == HPE_OK || result == HPE_PAUSED)) {
        answer->keep_alive = false;
        return HTTP_DONE;
    }
    answer->error = answer->status ? "the connection ended within the answer"
                                   : "the connection ended before an answer";
    return HTTP_BROKEN;
}
