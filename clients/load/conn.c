/*
 * conn.c: one connection of the load: connects, sends a request, reads its answer, counts both.
 */
#include "engine.h"

#include <string.h>

#define RETRY_NS 100000000 /* after a failed connect: a dead daemon must not be spun on */

struct load_figures *load_conn_figures(struct conn *conn)
{
    struct load_stats *stats = conn->worker->stats;
    return conn->step ? &stats->then[conn->op] : &stats->op[conn->op];
}

static void count_failure(struct conn *conn, uint64_t *class)
{
    (*class)++;
    /* Relaxed: a figure for the progress line. */
    atomic_fetch_add_explicit(&conn->worker->live->failed, 1, memory_order_relaxed);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    conn->state = CONN_CLOSED;
    conn->writing = false;
    if (!conn->subscriber)
        load_worker_free(conn);
}

void load_conn_close(struct conn *conn)
{
    if (conn->state == CONN_CLOSED || conn->state == CONN_CLOSING)
        return;
    if (conn->state == CONN_BUSY || conn->state == CONN_CONNECTING)
        conn->worker->busy -= !conn->subscriber;
    conn->state = CONN_CLOSING;
    uv_close(&conn->io.handle, on_closed);
}

void load_conn_time_out(struct conn *conn)
{
    if (conn->subscriber)
        return;
    count_failure(conn, &load_conn_figures(conn)->timed_out);
    load_conn_close(conn);
}

/* ---- Answers ---------------------------------------------------------------------------------- */

/* Events: a line that begins with "data:" is one. */
static bool count_events(void *ctx, const char *bytes, size_t size)
{
    struct conn *conn = ctx;
    struct load_stats *stats = conn->worker->stats;
    stats->event_bytes += size;
    for (size_t i = 0; i < size; i++) {
        stats->events += conn->line_start && bytes[i] == 'd';
        conn->line_start = bytes[i] == '\n';
    }
    return true;
}

static void send_request(struct conn *conn);

static void answered(struct conn *conn)
{
    struct load_figures *figures = load_conn_figures(conn);
    struct load_live *live = conn->worker->live;
    const struct http_answer *answer = &conn->answer;
    uint64_t now = load_now_ns(), latency = now > conn->due_ns ? now - conn->due_ns : 0;
    bool good = answer->status >= 200 && answer->status < 300;
    figures->answered++;
    hist_add(&figures->latency, latency);
    /* Relaxed, all three: figures for the progress line. */
    atomic_fetch_add_explicit(&live->answered, 1, memory_order_relaxed);
    if (latency > atomic_load_explicit(&live->worst_ns, memory_order_relaxed))
        atomic_store_explicit(&live->worst_ns, latency, memory_order_relaxed);
    if (!good)
        count_failure(conn,
                      &figures->status[answer->status < LOAD_STATUS_MAX ? answer->status : 0]);
    bool keep = answer->keep_alive && !conn->writing;
    if (good && keep && load_op_then(conn)) {
        conn->due_ns = now;
        send_request(conn);
        return;
    }
    if (!keep) {
        load_conn_close(conn);
        return;
    }
    conn->worker->busy--;
    conn->state = CONN_IDLE;
    load_worker_free(conn);
}

static void broke(struct conn *conn, bool garbled)
{
    struct load_figures *figures = load_conn_figures(conn);
    if (conn->subscriber)
        conn->worker->stats->event_drops += !conn->worker->stopping;
    else if (conn->state == CONN_BUSY)
        count_failure(conn, garbled ? &figures->garbled : &figures->closed);
    load_conn_close(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *conn = handle->data;
    (void)suggested;
    *buf = uv_buf_init(conn->worker->buffer, sizeof conn->worker->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    size_t used;
    if (size == 0 || conn->state == CONN_CLOSING)
        return;
    if (size < 0 || conn->state != CONN_BUSY) { /* it ended, or bytes came unasked (I1) */
        broke(conn, size > 0);
        return;
    }
    if (!conn->subscriber)
        load_conn_figures(conn)->bytes_in += (uint64_t)size;
    enum http_progress progress = http_answer_feed(&conn->answer, buf->base, (size_t)size, &used);
    if (progress == HTTP_BROKEN || (progress == HTTP_DONE && used < (size_t)size))
        broke(conn, true);
    else if (progress == HTTP_DONE && conn->subscriber)
        broke(conn, false); /* an event stream does not end */
    else if (progress == HTTP_DONE)
        answered(conn);
}

/* ---- Requests --------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->data;
    conn->writing = false;
    if (status < 0 && conn->state != CONN_CLOSING)
        broke(conn, false);
}

static void send_request(struct conn *conn)
{
    uv_buf_t buf = uv_buf_init(conn->out.data, (unsigned)conn->out.size);
    http_answer_reset(&conn->answer);
    conn->deadline_ns = load_now_ns() + conn->worker->plan->timeout_ms * 1000000;
    if (!conn->subscriber)
        load_conn_figures(conn)->bytes_out += conn->out.size;
    int sent = uv_try_write(&conn->io.stream, &buf, 1);
    if (sent == (int)conn->out.size)
        return;
    if (sent < 0 && sent != UV_EAGAIN) {
        broke(conn, false);
        return;
    }
    buf.base += sent > 0 ? sent : 0;
    buf.len -= sent > 0 ? (size_t)sent : 0;
    conn->write.data = conn;
    conn->writing = uv_write(&conn->write, &conn->io.stream, &buf, 1, on_written) == 0;
    if (!conn->writing)
        broke(conn, false);
}

static void connect_failed(struct conn *conn)
{
    if (!conn->subscriber)
        count_failure(conn, &load_conn_figures(conn)->connect_failed);
    conn->retry_ns = load_now_ns() + RETRY_NS;
    load_conn_close(conn);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct conn *conn = connect->data;
    if (conn->state == CONN_CLOSING)
        return;
    if (status < 0 || uv_read_start(&conn->io.stream, on_alloc, on_read)) {
        connect_failed(conn);
        return;
    }
    conn->state = CONN_BUSY;
    send_request(conn);
}

static void open_connection(struct conn *conn)
{
    struct worker *worker = conn->worker;
    const struct load_plan *plan = worker->plan;
    int result = 0;
    conn->state = CONN_CONNECTING;
    conn->connect.data = conn;
    conn->deadline_ns = load_now_ns() + plan->timeout_ms * 1000000;
    if (plan->place.unix_path[0]) {
        uv_pipe_init(&worker->loop, &conn->io.pipe, 0);
        conn->io.handle.data = conn;
        uv_pipe_connect(&conn->connect, &conn->io.pipe, plan->place.unix_path, on_connect);
        return;
    }
    uv_tcp_init(&worker->loop, &conn->io.tcp);
    conn->io.handle.data = conn;
    uv_tcp_nodelay(&conn->io.tcp, 1);
    result = uv_tcp_connect(&conn->connect, &conn->io.tcp, (struct sockaddr *)&worker->address,
                            on_connect);
    if (result)
        connect_failed(conn);
}

static void subscribe(struct conn *conn)
{
    struct http_request request = {
        .method = "GET", .target = "/v1/events", .headers = "Accept: text/event-stream\r\n"};
    conn->out.size = 0;
    http_request_write(&conn->out, &conn->worker->plan->place, &request);
    conn->answer.sink = count_events;
    conn->answer.ctx = conn;
    conn->answer.body_max = 0;
    conn->line_start = true;
}

void load_conn_start(struct conn *conn)
{
    if (conn->subscriber)
        subscribe(conn);
    else
        load_op_request(conn);
    conn->worker->busy += !conn->subscriber;
    if (conn->state == CONN_CLOSED) {
        open_connection(conn);
        return;
    }
    conn->state = CONN_BUSY;
    send_request(conn);
}
