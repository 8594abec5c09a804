/*
 * exchange.c: a request and its answer: from parsed bytes to an api_call, from a reply to bytes.
 *
 * See connection.h for the life of an exchange.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grasp/runtime.h>

#include "connection.h"

#define HEAD_BYTES   1024 /* what nearly every answer's status line and headers need */
#define TOGETHER_MAX 3072 /* a body so small follows its head in one buffer */

#if defined(__SANITIZE_ADDRESS__)
#define KEEP_SPARE false /* so that whoever uses one that is over is seen */
#else
#define KEEP_SPARE true
#endif

static struct srv_exchange *create(struct srv_conn *conn)
{
    struct srv_exchange *x = conn->spare;
    conn->spare = NULL;
    if (!x) {
        x = malloc(sizeof *x);
        if (!x)
            return NULL;
        x->out = (struct api_buf){0};
    }
    memset(x, 0, offsetof(struct srv_exchange, call.target));
    api_buf_clear(&x->out);
    if (!api_buf_reserve(&x->out, HEAD_BYTES + TOGETHER_MAX)) {
        free(x);
        return NULL;
    }
    x->conn = conn;
    x->write.data = x;
    x->call.api = conn->server->api;
    x->call.host_ctx = x;
    x->call.client = conn->number;
    return x;
}

struct srv_exchange *srv_exchange_request(struct srv_conn *conn)
{
    struct srv_parser *parser = &conn->parser;
    struct srv_exchange *x = create(conn);
    if (!x)
        return NULL;
    memcpy(x->headers, parser->headers, parser->header_count * sizeof x->headers[0]);
    x->call.request = (struct api_request){
        .method = parser->method,
        .target = parser->target,
        .target_bytes = parser->target_bytes,
        .headers = x->headers,
        .header_count = parser->header_count,
        .peer = conn->peer,
        .parsed_ns = gr_now_ns(),
    };
    x->is_head = strcmp(parser->method, "HEAD") == 0;
    x->http10 = parser->http10;
    x->keep_alive = !parser->wants_close;
    srv_parser_take(parser, &x->head, &x->body);
    x->call.request.body = x->body.data;
    x->call.request.body_bytes = x->body.size;
    return x;
}

struct srv_exchange *srv_exchange_error(struct srv_conn *conn, int status, const char *code,
                                        const char *detail)
{
    struct srv_exchange *x = create(conn);
    if (!x)
        return NULL;
    x->call.reply.status = status;
    x->call.reply.content_type = API_TYPE_PROBLEM;
    api_problem_write(&x->call.reply.body, status, code, detail);
    x->ready = true;
    return x;
}

void srv_exchange_free(struct srv_exchange *x)
{
    if (x)
        api_buf_free(&x->out);
    free(x);
}

void srv_exchange_destroy(struct srv_exchange *x, bool delivered)
{
    if (x->started) {
        api_call_finish(&x->call, delivered);
    } else {
        api_buf_free(&x->call.reply.headers);
        api_buf_free(&x->call.reply.body);
    }
    api_buf_free(&x->head);
    api_buf_free(&x->body);
    if (KEEP_SPARE && x->conn && !x->conn->spare && x->out.capacity == HEAD_BYTES + TOGETHER_MAX)
        x->conn->spare = x;
    else
        srv_exchange_free(x);
}

/* ---- Bytes out ------------------------------------------------------------------------------- */

/* What every answer says. Made once a second, for the date, which is written by hand: a module may have set a locale. */
static void add_common(struct api_buf *out, struct srv_server *server)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    if (now != server->common.made) {
        struct tm utc;
        gmtime_r(&now, &utc);
        server->common.bytes = (size_t)snprintf(
            server->common.text, sizeof server->common.text,
            "\r\n" API_HEADER_INSTANCE
            ": %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
            api_instance(server->api), &days[3 * utc.tm_wday], utc.tm_mday, &months[3 * utc.tm_mon],
            (utc.tm_year + 1900) % 10000, utc.tm_hour, utc.tm_min, utc.tm_sec);
        server->common.made = now;
    }
    api_buf_add(out, server->common.text, server->common.bytes);
}

/* Piece by piece and without printf: half of what a short answer costs is its head. */
static void add_status(struct srv_exchange *x)
{
    const struct api_reply *reply = &x->call.reply;
    struct api_buf *out = &x->out;
    api_buf_str(out, "HTTP/1.1 ");
    api_buf_uint(out, (uint64_t)reply->status);
    api_buf_str(out, " ");
    api_buf_str(out, api_status_text(reply->status));
    add_common(out, x->conn->server);
    if (reply->content_type) {
        api_buf_str(out, "Content-Type: ");
        api_buf_str(out, reply->content_type);
        api_buf_str(out, "\r\n");
    }
    api_buf_add(out, reply->headers.data, reply->headers.size);
    if (reply->status == 101) {
        api_buf_str(out, "Connection: Upgrade\r\n\r\n");
        return;
    }
    if (reply->streaming && !x->http10) {
        api_buf_str(out, "Transfer-Encoding: chunked\r\n");
    } else if (!reply->streaming && reply->status != 204) {
        api_buf_str(out, "Content-Length: ");
        api_buf_uint(out, reply->body.size);
        api_buf_str(out, "\r\n");
    }
    if (!x->keep_alive) {
        api_buf_str(out, "Connection: close\r\n\r\n");
        return;
    }
    api_buf_str(out, x->http10 ? "Connection: keep-alive\r\nKeep-Alive: timeout="
                               : "Keep-Alive: timeout=");
    api_buf_uint(out, x->conn->server->config.idle_seconds);
    api_buf_str(out, "\r\n\r\n");
}

void srv_exchange_frame(struct srv_exchange *x, uv_buf_t bufs[3], unsigned *count)
{
    struct api_reply *reply = &x->call.reply;
    bool chunked = reply->streaming && !x->http10 && !x->is_head;
    bool apart = chunked || x->is_head || reply->body.size > TOGETHER_MAX;
    api_buf_clear(&x->out);
    if (!x->headers_sent)
        add_status(x);
    x->headers_sent = true;
    if (x->is_head)
        reply->more = false; /* the headers are all that was asked for */
    if (chunked && reply->body.size)
        api_buf_printf(&x->out, "%zx\r\n", reply->body.size);
    if (!apart)
        api_buf_add(&x->out, reply->body.data, reply->body.size);
    bufs[0] = uv_buf_init(x->out.data, (unsigned)x->out.size);
    *count = 1;
    if (apart && !x->is_head && reply->body.size)
        bufs[(*count)++] = uv_buf_init(reply->body.data, (unsigned)reply->body.size);
    if (chunked) {
        const char *tail = !reply->body.size ? "0\r\n\r\n" : reply->more ? "\r\n" : "\r\n0\r\n\r\n";
        bufs[(*count)++] = uv_buf_init((char *)tail, (unsigned)strlen(tail));
    }
}

unsigned srv_exchange_skip(uv_buf_t *bufs, unsigned count, size_t bytes)
{
    unsigned from = 0;
    while (from < count && bytes >= bufs[from].len)
        bytes -= bufs[from++].len;
    if (from < count && bytes) {
        bufs[from].base += bytes;
        bufs[from].len -= bytes;
    }
    memmove(bufs, bufs + from, (count - from) * sizeof *bufs);
    return count - from;
}
