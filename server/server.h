/*
 * server.h: the loop thread and what hangs on it.
 *
 * One thread runs one libuv loop: listeners, connections, the bridge, the API's timers. It never
 * waits for a goroutine, a disk or a lock that a stopped goroutine could own, so that it answers
 * within milliseconds whatever the workers do. All signals are blocked on it and on the pool
 * threads that it starts: SIGURG is for workers, and SIGPIPE must not end an embedding program.
 * Rejected: several loops; one core of the machine answers tens of thousands of requests a second,
 * and the state would need locks.
 *
 *   I1  Everything in these structs belongs to the loop thread, but for the fields of srv_start and
 *       srv_wait.
 */
#ifndef SRV_SERVER_H
#define SRV_SERVER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "api.h"
#include "audit.h"
#include "bridge.h"
#include "config.h"
#include "tokens.h"

#define SRV_CONNECTIONS_MAX  256
#define SRV_CONNECTIONS_UNIX 16 /* of these, kept free for the Unix socket */

struct srv_conn;

struct srv_listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct srv_server *server;
    bool is_tcp;
    bool is_gdb;
    bool deaf; /* its newcomer found no memory (accept.c) */
    char name[128]; /* the path, or HOST:PORT as bound */
};

struct srv_server {
    struct srv_config config;
    char *modules_path; /* the module directory as clients are told of it: absolute */
    struct srv_tokens tokens;
    struct api *api;
    uv_loop_t loop;
    struct srv_bridge bridge;
    struct srv_audit audit;
    uv_timer_t alarm, sweep, drain;
    uv_poll_t signals;
    int signal_fd; /* eventfd written by the signal handler; -1: signals are not ours */
    struct srv_listener listener[2 * SRV_LISTENERS_MAX + 2];
    size_t listener_count;
    int inherited[SRV_LISTENERS_MAX]; /* listening sockets that a service manager handed over */
    size_t inherited_count;
    struct srv_conn *conns; /* the list of all */
    size_t conn_count, tcp_count;
    uint64_t last_client;           /* the number of the newest connection */
    _Atomic(uint32_t) gdb_sessions; /* the loop's; read by GET /v1/runtime */
    gid_t unix_gid;                 /* whose members may come in; -1: nobody else */
    bool draining, stopping;
    bool descriptors_out; /* as the last sweep found it */
    struct {
        char text[256];
        size_t bytes;
        time_t made;
    } common; /* exchange.c: what every answer's head says */
    uint64_t drain_until_ns;
    /* The thread. */
    pthread_t thread;
    sem_t ready;
    int start_error;
    char error[512];
};

/* Starts the loop thread; returns once requests are answered. The server is zeroed but for config.
 */
int srv_start(struct srv_server *server, char *err, size_t err_bytes);
/* Waits until the drain is over. */
void srv_wait(struct srv_server *server);
/* The ready line's values: "unix=… listen=…". */
void srv_describe(const struct srv_server *server, char *out, size_t out_bytes);

/* drain.c */
int srv_drain_init(struct srv_server *server);

/* listener.c */
/* Whether anything will listen on TCP, so that tokens are needed. */
bool srv_has_tcp(const struct srv_server *server);
/* Whether there are such addresses and such a group; why not in server->error. */
int srv_listen_check(struct srv_server *server);
int srv_listen_all(struct srv_server *server);
void srv_listeners_close(struct srv_server *server);

/* Runs graspd; returns its exit status. */
int srv_main(int argc, char **argv);

#endif
