/*
 * gdb_conn.c: connections that speak gdb's protocol: after an upgrade, or on gdb's own socket.
 *
 * gdb's own socket has no HTTP, but the same rules: the connection is given a request as if gdb had
 * sent it, and the API decides and holds; a problem becomes a session that tells it to gdb. What
 * gdb sends before the holds are there waits in the backlog.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <grasp/runtime.h>

#include "connection.h"
#include "gdb.h"
#include "gdb_holds.h"
#include "log.h"

#define KEEPALIVE_SECONDS 30 /* a peer that is gone must not hold goroutines for hours */

const char srv_conn_gdb_request[] = "GET /v1/gdb HTTP/1.1\r\nHost: gdb\r\nConnection: Upgrade\r\n"
                                    "Upgrade: " API_UPGRADE_GDB "\r\n\r\n";

/* ---- Out ------------------------------------------------------------------------------------- */

struct send {
    uv_write_t write;
    struct srv_conn *conn;
    struct api_buf bytes;
};

/* uv_close of the connection ends its writes first, so that `conn` is there still. */
static void on_sent(uv_write_t *write, int status)
{
    struct send *send = write->data;
    struct srv_conn *conn = send->conn;
    api_buf_free(&send->bytes);
    free(send);
    if (conn->closing)
        return;
    if (status < 0)
        srv_conn_close(conn);
    else
        srv_conn_pump(conn);
}

/* Takes the bytes over. A peer that does not read is cut off. */
static void send_bytes(struct srv_conn *conn, struct api_buf *bytes)
{
    struct send *send = calloc(1, sizeof *send);
    size_t unsent = uv_stream_get_write_queue_size(&conn->uv.stream);
    if (!send || bytes->failed || unsent + bytes->size > SRV_UNSENT_BYTES_MAX)
        goto fail;
    send->conn = conn;
    send->bytes = *bytes;
    send->write.data = send;
    uv_buf_t buf = uv_buf_init(send->bytes.data, (unsigned)send->bytes.size);
    if (uv_write(&send->write, &conn->uv.stream, &buf, 1, on_sent))
        goto fail;
    return;
fail:
    free(send);
    api_buf_free(bytes);
    srv_conn_close(conn);
}

/* ---- In -------------------------------------------------------------------------------------- */

void srv_conn_gdb_bytes(struct srv_conn *conn, const char *bytes, size_t size)
{
    struct api_buf out = {0};
    if (!conn->gdb) { /* its holds are being asked for */
        api_buf_add(&conn->backlog, bytes, size);
        if (conn->backlog.failed || conn->backlog.size > SRV_BACKLOG_BYTES_MAX)
            srv_conn_close(conn);
        return;
    }
    bool more = srv_gdb_feed(conn->gdb, bytes, size, &out);
    /* Detached: the goroutines go on at once, the connection when the answer is out. */
    if (!more)
        srv_conn_gdb_end(conn);
    if (out.size || out.failed)
        send_bytes(conn, &out);
    if (!more && !conn->closing)
        srv_conn_pump(conn);
}

/* ---- Begin and end --------------------------------------------------------------------------- */

static void attach(struct srv_conn *conn, struct srv_gdb *gdb)
{
    conn->gdb = gdb;
    conn->last_answer = true; /* nothing is parsed as HTTP any more */
    /* relaxed: a number to show, changed on the loop alone. */
    atomic_fetch_add_explicit(&conn->server->gdb_sessions, 1, memory_order_relaxed);
    if (conn->peer.tcp)
        uv_tcp_keepalive(&conn->uv.tcp, 1, KEEPALIVE_SECONDS);
    srv_log(SRV_INFO, "gdb-attached", "goroutines=%zu peer=%s uid=%d", srv_gdb_count(gdb),
            conn->peer.tcp ? "tcp" : "unix", (int)conn->peer.uid);
}

void srv_conn_gdb_begin(struct srv_conn *conn, struct api_gdb *held)
{
    struct srv_gdb *gdb = srv_gdb_create(held, NULL);
    if (gdb)
        attach(conn, gdb);
    else
        api_gdb_release(held); /* the 101 goes out, and the connection ends behind it */
    conn->last_answer = true;
}

/* The sentence of a problem. */
static void refuse(struct srv_conn *conn, const struct api_reply *reply)
{
    json_t *problem = json_loadb(reply->body.data, reply->body.size, 0, NULL);
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    struct srv_gdb *gdb = srv_gdb_create(NULL, detail ? detail : "the daemon refuses");
    json_decref(problem);
    if (gdb)
        attach(conn, gdb);
    else
        srv_conn_close(conn);
}

void srv_conn_gdb_answer(struct srv_conn *conn, struct api_reply *reply)
{
    struct api_buf early = conn->backlog;
    if (reply->upgrade)
        srv_conn_gdb_begin(conn, reply->upgrade);
    else
        refuse(conn, reply);
    reply->upgrade = NULL;
    if (!conn->gdb) {
        srv_conn_close(conn);
        return;
    }
    conn->backlog = (struct api_buf){0};
    if (early.size)
        srv_conn_gdb_bytes(conn, early.data, early.size);
    api_buf_free(&early);
}

void srv_conn_gdb_end(struct srv_conn *conn)
{
    if (!conn->gdb)
        return;
    srv_log(SRV_INFO, "gdb-detached", "goroutines=%zu", srv_gdb_count(conn->gdb));
    srv_gdb_destroy(conn->gdb);
    conn->gdb = NULL;
    atomic_fetch_sub_explicit(&conn->server->gdb_sessions, 1, memory_order_relaxed);
}

void srv_conn_gdb_end_all(struct srv_server *server)
{
    struct srv_conn *next;
    for (struct srv_conn *conn = server->conns; conn; conn = next) {
        next = conn->next;
        if (conn->gdb)
            srv_conn_close(conn);
    }
}
