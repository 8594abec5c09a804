/*
 * connection.c: see connection.h for the essay and the invariants.
 */
#include "connection.h"

#include <stdlib.h>
#include <string.h>

#include <grasp/runtime.h>

/* ---- Closing --------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct srv_conn *conn = handle->data;
    struct srv_server *server = conn->server;
    srv_parser_fini(&conn->parser);
    api_buf_free(&conn->backlog);
    srv_exchange_free(conn->spare);
    free(conn);
    srv_accept_again(server);
}

/* The queue's exchanges are left to whoever still has them; the rest ends here (I2). */
static void drop_queue(struct srv_conn *conn)
{
    struct srv_exchange *x, *next, *ours = NULL;
    /* May reply at once, to this one and to others that wait for it: they are in the queue still, so that nothing is destroyed. */
    for (x = conn->first; x; x = x->next) {
        if (x->in_api)
            api_call_abandon(&x->call);
    }
    for (x = conn->first; x; x = next) {
        next = x->next;
        x->conn = NULL;
        x->call.unheard = true;
        if (x->in_api || x->writing)
            continue;
        x->next = ours;
        ours = x;
    }
    conn->first = NULL;
    conn->last = &conn->first;
    conn->queued = 0;
    for (; ours; ours = next) {
        next = ours->next;
        srv_exchange_destroy(ours, false);
    }
}

/* To HTTP/1.0 a stream ends with its connection: only a reset tells that one was cut, which a Unix socket can't have. */
static bool has_to_reset(const struct srv_conn *conn)
{
    const struct srv_exchange *x = conn->first;
    return conn->peer.tcp && x && x->http10 && x->headers_sent;
}

void srv_conn_close(struct srv_conn *conn)
{
    if (conn->closing)
        return;
    conn->closing = true;
    bool reset = has_to_reset(conn);
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    conn->server->conn_count--;
    conn->server->tcp_count -= conn->peer.tcp;
    drop_queue(conn);
    srv_conn_gdb_end(conn);
    if (!reset || uv_tcp_close_reset(&conn->uv.tcp, on_closed))
        uv_close(&conn->uv.handle, on_closed);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct srv_conn *conn = request->data;
    free(request);
    if (status < 0 || conn->eof)
        srv_conn_close(conn);
}

/*
 * All is said. Closing at once, with bytes of the client unread, would reset the connection and
 * could destroy the answer on its way: so the client is told the end, and read on for a moment.
 */
static void linger(struct srv_conn *conn)
{
    uv_shutdown_t *request = malloc(sizeof *request);
    conn->lingering = true;
    conn->linger_ns = gr_now_ns();
    if (!request) {
        srv_conn_close(conn);
        return;
    }
    request->data = conn;
    if (uv_shutdown(request, &conn->uv.stream, on_shutdown)) {
        free(request);
        srv_conn_close(conn);
    }
}

/* ---- Out ------------------------------------------------------------------------------------- */

static void queue_pop(struct srv_conn *conn)
{
    struct srv_exchange *x = conn->first;
    conn->first = x->next;
    if (!conn->first)
        conn->last = &conn->first;
    x->next = NULL;
    conn->queued--;
}

/* A piece is out, or failed. False: x is at the API again, for its next piece. */
static bool piece_written(struct srv_exchange *x, int status)
{
    struct srv_conn *conn = x->conn;
    bool wanted = x->call.reply.more && conn && !conn->closing;
    x->writing = false;
    if (wanted && status == 0) {
        x->ready = false;
        x->in_api = true;
        api_call_pull(&x->call);
        return false;
    }
    if (!wanted) /* else it is a failed piece of a stream, which is still queued */
        srv_exchange_destroy(x, status == 0 && !x->call.reply.more);
    return true;
}

static void on_written(uv_write_t *request, int status)
{
    struct srv_exchange *x = request->data;
    struct srv_conn *conn = x->conn;
    if (!piece_written(x, status) || !conn || conn->closing)
        return;
    conn->active_ns = gr_now_ns();
    if (status < 0)
        srv_conn_close(conn);
    else
        srv_conn_pump(conn);
}

/*
 * What the socket takes at once costs no turn of the loop: uv_write tells of its end in the next one, and
 * until then epoll is told that writing is of interest, and then that it is not. Returns bytes written.
 * Not while there are requests to be parsed: they are the next turn's, which the end of a write brings.
 */
static size_t write_at_once(struct srv_conn *conn, const uv_buf_t *bufs, unsigned count)
{
    int written = conn->backlog.size ? 0 : uv_try_write(&conn->uv.stream, bufs, count);
    return written > 0 ? (size_t)written : 0;
}

/* Writes the piece of the first exchange; false if that ended the connection. */
static bool write_first(struct srv_conn *conn)
{
    struct srv_exchange *x = conn->first;
    uv_buf_t bufs[3];
    unsigned count;
    if (x->call.reply.streaming && x->http10)
        x->keep_alive = false; /* its end is the connection's */
    if (conn->last_answer && !x->next)
        x->keep_alive = false;
    srv_exchange_frame(x, bufs, &count);
    bool cut = x->call.reply.streaming && x->call.reply.body.failed;
    if (x->out.failed || cut) {
        srv_conn_close(conn);
        return false;
    }
    x->writing = true;
    x->ready = false;
    bool last = !x->call.reply.more;
    if (last && !x->keep_alive)
        conn->last_answer = conn->said_close = true;
    if (last)
        queue_pop(conn);
    /* Taken before the write: from then on x is the write's. */
    struct api_gdb *upgrade = x->call.reply.upgrade;
    x->call.reply.upgrade = NULL;
    if (upgrade) {
        conn->gdb_credential = x->call.credential;
        srv_conn_gdb_begin(conn, upgrade);
    }
    count = srv_exchange_skip(bufs, count, write_at_once(conn, bufs, count));
    if (count == 0) {
        piece_written(x, 0);
        return true;
    }
    if (uv_write(&x->write, &conn->uv.stream, bufs, count, on_written)) {
        x->writing = false;
        if (last)
            srv_exchange_destroy(x, false);
        srv_conn_close(conn);
        return false;
    }
    return true;
}

static void on_continue_written(uv_write_t *request, int status)
{
    struct srv_conn *conn = request->handle->data;
    free(request);
    if (status < 0)
        srv_conn_close(conn); /* nothing, if it is closed already */
    else
        srv_conn_pump(conn);
}

/* In front of every answer: uv_try_write takes nothing while something waits to be written. */
static void send_continue(struct srv_conn *conn)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buf = uv_buf_init((char *)line, sizeof line - 1);
    conn->continue_due = false;
    int written = uv_try_write(&conn->uv.stream, &buf, 1);
    if (written == (int)buf.len)
        return;
    if (written > 0) {
        buf.base += written;
        buf.len -= (size_t)written;
    }
    uv_write_t *request = malloc(sizeof *request);
    if (request && uv_write(request, &conn->uv.stream, &buf, 1, on_continue_written) == 0)
        return;
    free(request);
    srv_conn_close(conn);
}

/* Writes what can be written. False: the connection ended. */
static bool flush(struct srv_conn *conn)
{
    while (conn->first && conn->first->ready && !conn->first->writing) {
        if (conn->gdb_only) {
            struct srv_exchange *x = conn->first;
            queue_pop(conn);
            srv_conn_gdb_answer(conn, &x->call.reply);
            srv_exchange_destroy(x, true);
            return !conn->closing;
        }
        if (!write_first(conn))
            return false;
        if (conn->said_close || conn->gdb)
            drop_queue(conn); /* requests that came behind one whose answer ends the connection */
    }
    if (conn->continue_due && !conn->first)
        send_continue(conn);
    return !conn->closing;
}

void srv_conn_reply(void *ctx, struct api_call *call)
{
    struct srv_exchange *x = call->host_ctx;
    struct srv_conn *conn = x->conn;
    x->in_api = false;
    if (!conn) {
        srv_exchange_destroy(x, false);
        return;
    }
    x->ready = true;
    conn->active_ns = gr_now_ns();
    srv_conn_pump(conn);
}

/* ---- In -------------------------------------------------------------------------------------- */

static void enqueue(struct srv_conn *conn, struct srv_exchange *x)
{
    *conn->last = x;
    conn->last = &x->next;
    conn->queued++;
}

static void start(struct srv_conn *conn)
{
    struct srv_exchange *x = srv_exchange_request(conn);
    conn->continue_due = false;
    if (!x) {
        srv_conn_close(conn);
        return;
    }
    if (!x->keep_alive)
        conn->last_answer = true;
    enqueue(conn, x);
    x->started = x->in_api = true;
    api_call_start(&x->call);
    if (conn->eof && x->in_api)
        api_call_abandon(&x->call); /* of a backlog: nobody waits for it any more */
}

static void refuse(struct srv_conn *conn, int status, const char *code, const char *detail)
{
    struct srv_exchange *x = srv_exchange_error(conn, status, code, detail);
    conn->last_answer = true;
    conn->parser.failed = true;
    if (x)
        enqueue(conn, x);
    else
        srv_conn_close(conn);
}

static bool may_parse(const struct srv_conn *conn)
{
    return !conn->closing && !conn->last_answer && conn->queued < SRV_PIPELINE_MAX &&
           uv_stream_get_write_queue_size(&conn->uv.stream) < SRV_UNSENT_BYTES_MAX;
}

/* Parses as long as there are bytes and room; returns bytes consumed. */
static size_t parse(struct srv_conn *conn, const char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size && may_parse(conn)) { /* each turn consumes a byte or ends the parsing */
        struct srv_parser *parser = &conn->parser;
        size_t used;
        if (!srv_parser_busy(parser))
            conn->request_ns = conn->active_ns;
        enum srv_parse result = srv_parser_feed(parser, bytes + at, size - at, &used);
        at += used;
        if (result == SRV_PARSE_DONE) {
            start(conn);
        } else if (result == SRV_PARSE_ERROR) {
            refuse(conn, parser->status, parser->code, parser->detail);
        } else if (parser->expect_continue) {
            parser->expect_continue = false;
            conn->continue_due = parser->body.size == 0;
        }
    }
    return at;
}

/* Takes the backlog as far as there is room. */
static void parse_backlog(struct srv_conn *conn)
{
    if (!conn->backlog.size || !may_parse(conn))
        return;
    struct api_buf taken = conn->backlog;
    conn->backlog = (struct api_buf){0};
    size_t used = parse(conn, taken.data, taken.size);
    if (!conn->closing && !conn->last_answer)
        api_buf_add(&conn->backlog, taken.data + used, taken.size - used);
    api_buf_free(&taken);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    /* One for all: what is read is consumed before the next read, always on the loop. */
    static char shared[65536];
    *buf = uv_buf_init(shared, sizeof shared);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

/* Reads while there is room for what comes. */
static void set_reading(struct srv_conn *conn)
{
    bool want = !conn->closing && !conn->eof && conn->backlog.size < SRV_BACKLOG_BYTES_MAX;
    if (want == conn->reading)
        return;
    conn->reading = want;
    if (!want)
        uv_read_stop(&conn->uv.stream);
    else if (uv_read_start(&conn->uv.stream, on_alloc, on_read))
        srv_conn_close(conn);
}

/* Whether nothing is left to say to a client of whom nothing more will be parsed. */
static bool is_over(const struct srv_conn *conn)
{
    bool no_more = conn->last_answer || (conn->eof && !conn->backlog.size);
    /* A session that begins behind the client's end could be told nothing, and would not see it go. */
    bool session = conn->gdb && !conn->eof;
    return no_more && !session && !conn->first &&
           uv_stream_get_write_queue_size(&conn->uv.stream) == 0;
}

/* Everything that can go on does: answers out, backlog in. One at a time for a connection. */
void srv_conn_pump(struct srv_conn *conn)
{
    if (conn->feeding || conn->closing)
        return;
    conn->feeding = true;
    bool alive = flush(conn);
    if (alive) {
        parse_backlog(conn);
        if (!conn->closing)
            flush(conn);
    }
    conn->feeding = false;
    if (conn->closing)
        return;
    set_reading(conn);
    if (is_over(conn) && !conn->lingering) {
        if (conn->eof)
            srv_conn_close(conn);
        else
            linger(conn);
    }
}

/*
 * The client ended its side. It may still read (a half-closed pipe), so answers that are due are
 * sent; what only waits, waits no longer, and a suspend that was not answered holds nothing.
 */
static void on_eof(struct srv_conn *conn)
{
    conn->eof = true;
    if (conn->lingering || conn->gdb || conn->gdb_only) {
        srv_conn_close(conn);
        return;
    }
    conn->feeding = true; /* replies must not change the queue while it is walked */
    for (struct srv_exchange *x = conn->first; x; x = x->next)
        if (x->in_api)
            api_call_abandon(&x->call);
    conn->feeding = false;
    if (srv_parser_busy(&conn->parser))
        conn->last_answer = true;
    srv_conn_pump(conn);
}

static void on_bytes(struct srv_conn *conn, const char *bytes, size_t size)
{
    conn->active_ns = gr_now_ns();
    if (conn->gdb || conn->gdb_only) {
        srv_conn_gdb_bytes(conn, bytes, size);
        return;
    }
    if (conn->lingering || conn->last_answer) {
        conn->lingered += size;
        if (conn->lingered > SRV_LINGER_BYTES_MAX)
            srv_conn_close(conn);
        return;
    }
    conn->feeding = true;
    size_t used = conn->backlog.size ? 0 : parse(conn, bytes, size);
    conn->feeding = false;
    if (!conn->closing && !conn->last_answer) {
        api_buf_add(&conn->backlog, bytes + used, size - used);
        if (conn->backlog.failed) {
            srv_conn_close(conn);
            return;
        }
    }
    srv_conn_pump(conn);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct srv_conn *conn = stream->data;
    if (size > 0)
        on_bytes(conn, buf->base, (size_t)size);
    else if (size == UV_EOF)
        on_eof(conn);
    else if (size < 0)
        srv_conn_close(conn);
}

/* ---- Time ------------------------------------------------------------------------------------ */

bool srv_conn_idle(const struct srv_conn *conn)
{
    return !conn->gdb && !conn->first && !srv_parser_busy(&conn->parser) &&
           uv_stream_get_write_queue_size(&conn->uv.stream) == 0;
}

static bool older(uint64_t now_ns, uint64_t then_ns, uint64_t seconds)
{
    return now_ns > then_ns && now_ns - then_ns > seconds * UINT64_C(1000000000);
}

static void sweep_one(struct srv_conn *conn, uint64_t now)
{
    const struct srv_config *limits = &conn->server->config;
    size_t unsent = uv_stream_get_write_queue_size(&conn->uv.stream);
    if (unsent != conn->unsent || unsent == 0) {
        conn->unsent = unsent;
        conn->moved_ns = now;
    }
    if (conn->lingering ? older(now, conn->linger_ns, SRV_LINGER_SECONDS)
                        : older(now, conn->moved_ns, limits->stall_seconds)) {
        srv_conn_close(conn);
    } else if (!conn->lingering && srv_conn_idle(conn) &&
               older(now, conn->active_ns, limits->idle_seconds)) {
        srv_conn_close(conn);
    } else if (srv_parser_busy(&conn->parser) && !conn->last_answer && may_parse(conn) &&
               (older(now, conn->request_ns, limits->request_seconds) ||
                (!conn->parser.head_done && older(now, conn->request_ns, limits->head_seconds)))) {
        refuse(conn, 408, API_CODE_REQUEST_TIMEOUT, "the request did not arrive in time");
        if (!conn->closing)
            srv_conn_pump(conn);
    }
}

void srv_conn_sweep(struct srv_server *server)
{
    uint64_t now = gr_now_ns();
    struct srv_conn *next;
    for (struct srv_conn *conn = server->conns; conn; conn = next) {
        next = conn->next;
        sweep_one(conn, now);
    }
}

void srv_conn_end_all(struct srv_server *server)
{
    struct srv_conn *next;
    for (struct srv_conn *conn = server->conns; conn; conn = next) {
        next = conn->next;
        conn->last_answer = true;
        conn->feeding = true;
        for (struct srv_exchange *x = conn->first; x; x = x->next)
            if (x->in_api)
                api_call_abandon(&x->call);
        conn->feeding = false;
        if (srv_conn_idle(conn) || conn->gdb)
            srv_conn_close(conn);
        else
            srv_conn_pump(conn);
    }
}

/* Streams, long waits, profiles and sessions of gdb go on for as long as their client likes. */
static bool is_revoked(const struct srv_conn *conn)
{
    const struct api *api = conn->server->api;
    bool counts = !conn->gdb || api_credential_counts(api, &conn->gdb_credential);
    for (const struct srv_exchange *x = conn->first; x; x = x->next)
        counts = counts && api_credential_counts(api, &x->call.credential);
    return !counts;
}

void srv_conn_end_revoked(struct srv_server *server)
{
    struct srv_conn *next;
    for (struct srv_conn *conn = server->conns; conn; conn = next) {
        next = conn->next;
        if (is_revoked(conn))
            srv_conn_close(conn);
    }
}

/* ---- The beginning --------------------------------------------------------------------------- */

void srv_conn_begin(struct srv_conn *conn, bool gdb_only)
{
    set_reading(conn);
    if (!gdb_only || conn->closing)
        return;
    conn->gdb_only = true;
    parse(conn, srv_conn_gdb_request, strlen(srv_conn_gdb_request));
}
