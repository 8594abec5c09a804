/*
 * connection.h: one client: its bytes in, its answers out, in order.
 *
 * Requests are parsed as they come and started at once; each has an exchange, and the exchanges of
 * a connection form a queue. An answer is written when it is complete and everything before it was
 * written: pipelined requests run side by side and are answered in order. At most SRV_PIPELINE_MAX
 * are under way; what arrives meanwhile is kept, up to a limit, so that the end of the connection
 * is still noticed.
 *
 *   I1  An exchange is in the queue until its last piece was handed to uv_write; then the write
 *       owns it.
 *   I2  The call of an exchange is finished exactly once, when its last write ended or when it is
 *       known that none will come. An exchange whose connection is gone (conn NULL) waits only for
 *       the API's reply.
 *   I3  After the first answer that closes the connection nothing is parsed any more.
 */
#ifndef SRV_CONNECTION_H
#define SRV_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "api.h"
#include "parser.h"
#include "server.h"

#define SRV_PIPELINE_MAX      16
#define SRV_UNSENT_BYTES_MAX  (256 * 1024)
#define SRV_BACKLOG_BYTES_MAX (64 * 1024)
#define SRV_LINGER_SECONDS    2
#define SRV_LINGER_BYTES_MAX  (1024 * 1024)

struct srv_exchange {
    struct srv_conn *conn; /* NULL: it is gone */
    struct srv_exchange *next;
    struct api_buf head, body; /* the request's bytes */
    uv_write_t write;
    bool started; /* the API knows it */
    bool in_api;  /* it has not answered yet */
    bool ready;   /* a piece waits to be written */
    bool writing; /* uv_write has it */
    bool headers_sent;
    bool is_head, http10, keep_alive;
    struct api_call call; /* from its target on nothing is zeroed for a request */
    struct api_header headers[API_HEADERS_MAX];
    struct api_buf out; /* status line and headers, or a chunk's frame */
};

struct srv_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct srv_server *server;
    uint64_t number; /* of all, from 1; by it the API tells clients apart */
    struct srv_conn *next, **link;
    struct api_peer peer;
    struct srv_parser parser;
    struct srv_exchange *first, **last;
    size_t queued;
    struct api_buf backlog; /* bytes that came while the pipeline was full */
    struct srv_exchange *spare; /* the last one, with its buffer, for the next; or NULL */
    bool feeding, reading, eof, closing;
    bool last_answer;  /* I3 */
    bool said_close;   /* that answer was written */
    bool lingering;    /* all was said; reading on so that the client can read it */
    bool continue_due; /* 100 Continue when it is this request's turn */
    size_t lingered;
    uint64_t active_ns;  /* last byte in or answer out */
    uint64_t request_ns; /* first byte of the request that is being received */
    uint64_t linger_ns;
    size_t unsent;       /* as seen by the last sweep */
    uint64_t moved_ns;   /* when that last changed */
    struct srv_gdb *gdb; /* it speaks gdb's protocol and HTTP no more */
    struct api_credential gdb_credential; /* that let its session begin */
    bool gdb_only;       /* of gdb's own socket: it never speaks HTTP */
};

/* accept.c: from a listener with a pending connection. */
void srv_conn_accept(struct srv_listener *listener);
/* Where a newcomer waits for memory: perhaps there is some now. */
void srv_accept_again(struct srv_server *server);
/* Reads it from now on; one of gdb's own socket asks for its session. */
void srv_conn_begin(struct srv_conn *conn, bool gdb_only);
/* Whether nothing is received, answered or sent. */
bool srv_conn_idle(const struct srv_conn *conn);
void srv_conn_close(struct srv_conn *conn);
/* Ends what is over time; once a second. */
void srv_conn_sweep(struct srv_server *server);
/* The daemon ends: waiting calls are answered as they stand, every connection closes after its
 * answers. */
void srv_conn_end_all(struct srv_server *server);
/* Tokens were taken away: closes every connection where something that was asked with one goes on. */
void srv_conn_end_revoked(struct srv_server *server);
/* Writes and parses what can be. May close the connection. */
void srv_conn_pump(struct srv_conn *conn);
/* api_host.reply */
void srv_conn_reply(void *ctx, struct api_call *call);

/* gdb_conn.c: connections that speak gdb's protocol. */
/* Of gdb's own socket: asks the API for what is held, as GET /v1/gdb would. */
extern const char srv_conn_gdb_request[];
/* The first exchange's reply is 101: takes its holds over, before it is written. */
struct api_gdb;
void srv_conn_gdb_begin(struct srv_conn *conn, struct api_gdb *held);
/* The answer for one of gdb's own socket: a session, or one that tells the problem in `reply`. */
void srv_conn_gdb_answer(struct srv_conn *conn, struct api_reply *reply);
void srv_conn_gdb_bytes(struct srv_conn *conn, const char *bytes, size_t size);
void srv_conn_gdb_end(struct srv_conn *conn);
/* Closes all of them, and so releases what they hold. */
void srv_conn_gdb_end_all(struct srv_server *server);

/* exchange.c: an exchange's piece as bytes in x->out, and what it needs of the body. */
void srv_exchange_frame(struct srv_exchange *x, uv_buf_t bufs[3], unsigned *count);
/* Takes so many bytes off the front of the buffers; returns how many buffers are left. */
unsigned srv_exchange_skip(uv_buf_t *bufs, unsigned count, size_t bytes);
void srv_exchange_destroy(struct srv_exchange *x, bool delivered);
/* One that is nobody's any more, or NULL. */
void srv_exchange_free(struct srv_exchange *x);
/* From the parser's complete request, or from its error. NULL: out of memory. */
struct srv_exchange *srv_exchange_request(struct srv_conn *conn);
struct srv_exchange *srv_exchange_error(struct srv_conn *conn, int status, const char *code,
                                        const char *detail);

#endif
