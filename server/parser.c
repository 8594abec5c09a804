/*
 * parser.c: see parser.h for the essay and the invariants.
 */
#include "parser.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Of the request line: method, target, version. */
#define LINE_BYTES_MAX (API_URI_BYTES_MAX + 64)
/* With the framing of tiny chunks. */
#define BODY_WIRE_BYTES_MAX (8 * API_BODY_BYTES_MAX)

static int fail(struct srv_parser *p, int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int fail(struct srv_parser *p, int status, const char *code, const char *fmt, ...)
{
    va_list args;
    if (p->failed)
        return -1;
    va_start(args, fmt);
    vsnprintf(p->detail, sizeof p->detail, fmt, args);
    va_end(args);
    p->failed = true;
    p->status = status;
    p->code = code;
    return -1;
}

/* ---- The head, line by line ------------------------------------------------------------------ */

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || c == '-' || (c && strchr("!#$%&'*+.^_`|~", c));
}

/* METHOD SP target SP HTTP/1.x, and nothing else. */
static int check_request_line(struct srv_parser *p, const char *line, size_t size)
{
    const char *end = line + size;
    const char *target = memchr(line, ' ', size);
    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;
    if (!version || target == line || version == target + 1)
        return fail(p, 400, API_CODE_BAD_REQUEST, "the request line is not METHOD TARGET HTTP/1.1");
    if ((size_t)(version - target - 1) > API_URI_BYTES_MAX)
        return fail(p, 414, API_CODE_URI_TOO_LONG, "the target is over %d bytes",
                    API_URI_BYTES_MAX);
    for (const char *c = line; c < end; c++)
        if (((unsigned char)*c < 0x21 || (unsigned char)*c > 0x7e) && c != target && c != version)
            return fail(
                p, 400, API_CODE_BAD_REQUEST,
                "the request line has a control character, a second space or a byte over 127");
    if (end - version != 9 ||
        (memcmp(version + 1, "HTTP/1.1", 8) && memcmp(version + 1, "HTTP/1.0", 8)))
        return fail(p, 400, API_CODE_BAD_REQUEST, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    p->method_bytes = (size_t)(target - line);
    p->target_bytes = (size_t)(version - target - 1);
    p->headers_at = size + 2;
    return 0;
}

static int check_header_line(struct srv_parser *p, const char *line, size_t size)
{
    size_t name = 0;
    if (line[0] == ' ' || line[0] == '\t')
        return fail(p, 400, API_CODE_BAD_REQUEST, "a header line is folded; write it in one line");
    while (name < size && is_token(line[name]))
        name++;
    if (name == 0 || name == size || line[name] != ':')
        return fail(p, 400, API_CODE_BAD_REQUEST,
                    "a header line is not NAME: VALUE with no space before the colon");
    for (size_t i = name + 1; i < size; i++) {
        unsigned char c = (unsigned char)line[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return fail(p, 400, API_CODE_BAD_REQUEST, "a header's value has a control character");
    }
    if (p->header_count == API_HEADERS_MAX)
        return fail(p, 431, API_CODE_HEADERS_TOO_LARGE, "there are more than %d headers",
                    API_HEADERS_MAX);
    size_t value = name + 1, end = size;
    while (value < end && (line[value] == ' ' || line[value] == '\t'))
        value++;
    while (end > value && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    /* As offsets: the buffer may still move. */
    size_t at = (size_t)(line - p->head.data);
    p->places[p->header_count++] = (struct srv_header_place){at, at + name, at + value, at + end};
    return 0;
}

static int check_line(struct srv_parser *p, size_t begin, size_t end)
{
    const char *line = p->head.data + begin;
    if (end == begin || line[end - begin - 1] != '\r')
        return fail(p, 400, API_CODE_BAD_REQUEST, "a line ends in LF alone; lines end in CR LF");
    size_t size = end - begin - 1;
    if (begin == 0)
        return check_request_line(p, line, size);
    if (size == 0) {
        p->head_done = true;
        return 0;
    }
    return check_header_line(p, line, size);
}

/* What grew too long before its line even ended. */
static int check_size(struct srv_parser *p)
{
    if (p->line_at == 0 && p->head.size > LINE_BYTES_MAX)
        return fail(p, 414, API_CODE_URI_TOO_LONG, "the request line is over %d bytes",
                    LINE_BYTES_MAX);
    if (p->head.size > API_HEADER_BYTES_MAX + LINE_BYTES_MAX)
        return fail(p, 431, API_CODE_HEADERS_TOO_LARGE, "the headers are over %d bytes",
                    API_HEADER_BYTES_MAX);
    return 0;
}

/* One line's worth of bytes into head, checked when it is whole. Returns bytes consumed, or -1. */
static ssize_t feed_line(struct srv_parser *p, const char *bytes, size_t size)
{
    const char *end = memchr(bytes, '\n', size);
    size_t take = end ? (size_t)(end - bytes) + 1 : size;
    size_t room = API_HEADER_BYTES_MAX + LINE_BYTES_MAX + 1 - p->head.size;
    take = take < room ? take : room;
    api_buf_add(&p->head, bytes, take);
    if (p->head.failed)
        return fail(p, 503, API_CODE_OUT_OF_RESOURCES, "no memory for the request");
    if (check_size(p))
        return -1;
    if (bytes[take - 1] == '\n') {
        /* One empty line before a request is ignored, as HTTP asks; old clients send it after a
         * body. */
        if (p->head.size == 2 && p->head.data[0] == '\r' && !p->skipped) {
            p->skipped = true;
            api_buf_clear(&p->head);
            return (ssize_t)take;
        }
        if (check_line(p, p->line_at, p->head.size - 1))
            return -1;
        p->line_at = p->head.size;
    }
    return (ssize_t)take;
}

/* ---- What llhttp tells ----------------------------------------------------------------------- */

static int on_header_field(llhttp_t *http, const char *at, size_t size)
{
    struct srv_parser *p = http->data;
    if (p->shown)
        return fail(p, 400, API_CODE_BAD_REQUEST, "trailers are not accepted");
    return 0;
}

static int on_headers_complete(llhttp_t *http)
{
    struct srv_parser *p = http->data;
    http->upgrade = 0; /* nothing is upgraded here: the request is answered as it stands */
    p->http10 = http->http_minor == 0;
    if (http->content_length > API_BODY_BYTES_MAX)
        return fail(p, 413, API_CODE_TOO_LARGE, "the body is over %d bytes", API_BODY_BYTES_MAX);
    return 0;
}

static int on_chunk_header(llhttp_t *http)
{
    struct srv_parser *p = http->data;
    if (http->content_length > API_BODY_BYTES_MAX - p->body.size)
        return fail(p, 413, API_CODE_TOO_LARGE, "the body is over %d bytes", API_BODY_BYTES_MAX);
    return 0;
}

static int on_chunk_extension(llhttp_t *http, const char *at, size_t size)
{
    struct srv_parser *p = http->data;
    p->extension_bytes += size;
    if (p->extension_bytes > API_CHUNK_EXTENSION_BYTES_MAX)
        return fail(p, 413, API_CODE_TOO_LARGE, "chunk extensions are over %d bytes",
                    API_CHUNK_EXTENSION_BYTES_MAX);
    return 0;
}

static int on_body(llhttp_t *http, const char *at, size_t size)
{
    struct srv_parser *p = http->data;
    if (size > API_BODY_BYTES_MAX - p->body.size)
        return fail(p, 413, API_CODE_TOO_LARGE, "the body is over %d bytes", API_BODY_BYTES_MAX);
    api_buf_add(&p->body, at, size);
    if (p->body.failed)
        return fail(p, 503, API_CODE_OUT_OF_RESOURCES, "no memory for the request's body");
    return 0;
}

static int on_message_complete(llhttp_t *http)
{
    struct srv_parser *p = http->data;
    p->complete = true;
    p->wants_close = !llhttp_should_keep_alive(http);
    return HPE_PAUSED; /* I1 */
}

/* ---- A whole head ---------------------------------------------------------------------------- */

static size_t count_headers(const struct srv_parser *p, const char *name, const char **value)
{
    size_t count = 0;
    for (size_t i = 0; i < p->header_count; i++)
        if (api_header_is(&p->headers[i], name)) {
            *value = p->headers[i].value;
            count++;
        }
    return count;
}

/* "http://host/path": the host must be the Host header's, the rest is the target. */
static int reduce_absolute(struct srv_parser *p, const char *host)
{
    if (p->target_bytes < 7 || strncasecmp(p->target, "http://", 7))
        return 0;
    const char *authority = p->target + 7, *end = p->target + p->target_bytes;
    const char *path = authority;
    while (path < end && *path != '/' && *path != '?')
        path++;
    size_t size = (size_t)(path - authority);
    if (!host || strlen(host) != size || strncasecmp(host, authority, size))
        return fail(p, 400, API_CODE_BAD_REQUEST, "the target's host is not the Host header's");
    p->target = path < end ? path : "/";
    p->target_bytes = path < end ? (size_t)(end - path) : 1;
    return 0;
}

static int check_head(struct srv_parser *p)
{
    const char *host = NULL, *value = NULL;
    size_t hosts = count_headers(p, "host", &host);
    if (hosts > 1 || (hosts == 0 && !p->http10))
        return fail(p, 400, API_CODE_BAD_REQUEST, "a request has exactly one Host header");
    if (host && strpbrk(host, " \t,/@?#"))
        return fail(p, 400, API_CODE_BAD_REQUEST, "the Host header is not NAME or NAME:PORT");
    size_t codings = count_headers(p, "transfer-encoding", &value);
    if (codings && (codings > 1 || p->http10 || strcasecmp(value, "chunked")))
        return fail(p, 400, API_CODE_BAD_REQUEST,
                    "the only transfer coding is chunked, once, in HTTP/1.1");
    if (codings && count_headers(p, "content-length", &value))
        return fail(p, 400, API_CODE_BAD_REQUEST,
                    "Content-Length and Transfer-Encoding exclude each other");
    static const char *const once[] = {"authorization", "content-type", "content-encoding", "origin",
                                       "idempotency-key", API_HEADER_INSTANCE};
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++)
        if (count_headers(p, once[i], &value) > 1)
            return fail(p, 400, API_CODE_BAD_REQUEST, "the header %s may be given once", once[i]);
    if (count_headers(p, "expect", &value)) {
        if (strcasecmp(value, "100-continue"))
            return fail(p, 417, API_CODE_EXPECTATION_FAILED, "only 100-continue can be expected");
        p->expect_continue = !p->http10 && !p->complete;
    }
    return reduce_absolute(p, host);
}

/* Ends names and values with a 0 in place; only now, because llhttp had to see the bytes. */
static void name_headers(struct srv_parser *p)
{
    for (size_t i = 0; i < p->header_count; i++) {
        const struct srv_header_place *place = &p->places[i];
        p->head.data[place->name_end] = p->head.data[place->value_end] = 0;
        p->headers[i].name = p->head.data + place->name;
        /* An empty value may begin behind its own end, at the line's CR. */
        p->headers[i].value = place->value < place->value_end ? p->head.data + place->value : "";
    }
}

static int llhttp_failed(struct srv_parser *p)
{
    const char *reason = llhttp_get_error_reason(&p->http);
    return fail(p, 400, API_CODE_BAD_REQUEST, "this is not HTTP/1.1: %.80s",
                reason && *reason ? reason : "malformed request");
}

static int run_head(struct srv_parser *p)
{
    p->target = p->head.data + p->method_bytes + 1;
    /* With their line ends; the empty line is none of them. */
    if (p->head.size - p->headers_at > API_HEADER_BYTES_MAX + 2)
        return fail(p, 431, API_CODE_HEADERS_TOO_LARGE, "the headers are over %d bytes",
                    API_HEADER_BYTES_MAX);
    enum llhttp_errno err = llhttp_execute(&p->http, p->head.data, p->head.size);
    if (err != HPE_OK && err != HPE_PAUSED)
        return llhttp_failed(p);
    p->shown = true;
    name_headers(p);
    p->head.data[p->method_bytes] = 0;
    p->method = p->head.data;
    return check_head(p);
}

/* ---- Feeding --------------------------------------------------------------------------------- */

static int feed_head(struct srv_parser *p, const char *bytes, size_t size, size_t *used)
{
    while (*used < size && !p->head_done) { /* each turn consumes a byte at least */
        ssize_t took = feed_line(p, bytes + *used, size - *used);
        if (took < 0)
            return -1;
        *used += (size_t)took;
    }
    return p->head_done ? run_head(p) : 0;
}

static int feed_body(struct srv_parser *p, const char *bytes, size_t size, size_t *used)
{
    enum llhttp_errno err = llhttp_execute(&p->http, bytes, size);
    size_t took = err == HPE_OK ? size : (size_t)(llhttp_get_error_pos(&p->http) - bytes);
    if (err != HPE_OK && err != HPE_PAUSED)
        return llhttp_failed(p);
    *used += took;
    p->body_wire_bytes += took;
    if (p->body_wire_bytes > BODY_WIRE_BYTES_MAX)
        return fail(p, 413, API_CODE_TOO_LARGE,
                    "the body's chunks are too small for so many bytes");
    return 0;
}

enum srv_parse srv_parser_feed(struct srv_parser *p, const char *bytes, size_t size, size_t *used)
{
    *used = 0;
    if (p->failed)
        return SRV_PARSE_ERROR; /* I2 */
    bool in_head = !p->head_done;
    if (in_head && feed_head(p, bytes, size, used))
        return SRV_PARSE_ERROR;
    if (p->head_done && !p->complete && *used < size &&
        feed_body(p, bytes + *used, size - *used, used))
        return SRV_PARSE_ERROR;
    return p->complete ? SRV_PARSE_DONE : SRV_PARSE_MORE;
}

void srv_parser_init(struct srv_parser *p)
{
    llhttp_settings_init(&p->settings);
    p->settings.on_header_field = on_header_field;
    p->settings.on_headers_complete = on_headers_complete;
    p->settings.on_chunk_header = on_chunk_header;
    p->settings.on_chunk_extension_name = on_chunk_extension;
    p->settings.on_chunk_extension_value = on_chunk_extension;
    p->settings.on_body = on_body;
    p->settings.on_message_complete = on_message_complete;
    llhttp_init(&p->http, HTTP_REQUEST, &p->settings);
    p->http.data = p;
}

void srv_parser_fini(struct srv_parser *p)
{
    api_buf_free(&p->head);
    api_buf_free(&p->body);
}

bool srv_parser_busy(const struct srv_parser *p)
{
    return p->head.size > 0 && !p->complete;
}

void srv_parser_take(struct srv_parser *p, struct api_buf *head, struct api_buf *body)
{
    *head = p->head;
    *body = p->body;
    p->head = p->body = (struct api_buf){0};
    p->line_at = p->header_count = p->extension_bytes = p->body_wire_bytes = 0;
    p->head_done = p->complete = p->expect_continue = p->wants_close = p->http10 = p->shown =
        p->skipped = false;
    p->method = p->target = NULL;
    llhttp_init(&p->http, HTTP_REQUEST, &p->settings);
    p->http.data = p;
}
