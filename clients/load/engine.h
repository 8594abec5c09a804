/*
 * engine.h: one thread of a run: its loop, its connections, its share of the schedule.
 *
 *   I1  A connection carries one request at a time: what comes unasked breaks it.
 *   I2  In an open loop the operations that are due and not sent are consecutive in the schedule, so
 *       one number (next_due_ns) stands for all of them; there is no queue.
 */
#ifndef LOAD_ENGINE_H
#define LOAD_ENGINE_H

#include <uv.h>

#include "load.h"

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY, CONN_CLOSING };

struct worker;

struct conn {
    struct worker *worker;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } io;
    uv_connect_t connect;
    uv_write_t write;
    enum conn_state state;
    bool writing, subscriber, line_start, retire;
    unsigned op, step;
    uint64_t due_ns, deadline_ns, retry_ns;
    uint64_t goroutine; /* that the operation works on */
    struct http_answer answer;
    struct http_buf out;
    struct conn *next_free;
};

struct worker {
    const struct load_plan *plan;
    struct load_live *live;
    _Atomic(bool) *stop;
    uv_loop_t loop;
    uv_timer_t sweep;
    uv_poll_t due_poll; /* of a timerfd: libuv's own timers know milliseconds only */
    int due_fd;
    bool has_loop;
    struct load_stats *stats;
    struct conn *conns;
    unsigned conn_count, connections, subscribers;
    struct conn *free_list; /* idle, or closed and allowed to connect */
    unsigned busy;
    double share; /* of the rate */
    uint64_t quota, start_ns, end_ns, next_due_ns;
    uint64_t random;
    bool stopping;
    struct sockaddr_storage address;
    char buffer[65536];
};

/* ---- ops.c ------------------------------------------------------------------------------------ */

uint64_t load_random(struct worker *worker);
unsigned load_pick_op(struct worker *worker);
/* Writes the request of conn's operation and step into conn->out and says what to keep of the answer. */
void load_op_request(struct conn *conn);
/* After a 2xx: whether a second request follows; it is then written. */
bool load_op_then(struct conn *conn);

/* ---- conn.c ----------------------------------------------------------------------------------- */

/* Carries out conn's operation (op, due_ns are set), connecting first if need be. */
void load_conn_start(struct conn *conn);
/* Ends what it does, counting it as a time-out. */
void load_conn_time_out(struct conn *conn);
void load_conn_close(struct conn *conn);
struct load_figures *load_conn_figures(struct conn *conn);

/* ---- engine.c --------------------------------------------------------------------------------- */

/* conn has nothing to do: the next operation, or the list of free ones. */
void load_worker_free(struct conn *conn);

#endif
