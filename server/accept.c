/*
 * accept.c: newcomers: who they are, and whether there is room for them.
 *
 * When all places are taken the connection that has been idle for longest makes room; if none is idle, the one whose request
 * has been on its way for longest: else a few hundred clients that begin a request and never end it would keep everybody
 * out until their time is over. Whoever is waiting for an answer stays. See connection.h.
 *
 * libuv tells of one newcomer and listens no more until that one is accepted. If there is no memory for its record the listener is
 * deaf, and tries again when a connection has been freed, and once a second.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grasp/runtime.h>

#include "connection.h"
#include "log.h"

static bool in_group(int fd, gid_t own, gid_t wanted)
{
    gid_t groups[256];
    socklen_t size = sizeof groups;
    if (own == wanted)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
        return false;
    for (size_t i = 0; i < size / sizeof groups[0]; i++)
        if (groups[i] == wanted)
            return true;
    return false;
}

static void identify(struct srv_conn *conn)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    uv_os_fd_t fd;
    conn->peer.refused = true;
    conn->peer.uid = (uint32_t)-1;
    if (uv_fileno(&conn->uv.handle, &fd) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return;
    gid_t group = conn->server->unix_gid;
    conn->peer.uid = peer.uid;
    conn->peer.refused = peer.uid != geteuid() && peer.uid != 0 &&
                         (group == (gid_t)-1 || !in_group(fd, peer.gid, group));
}

/* Whether it is at the client's turn: nothing is owed to it. */
static bool is_owed_nothing(const struct srv_conn *conn)
{
    return !conn->gdb && !conn->gdb_only && !conn->first &&
           uv_stream_get_write_queue_size(&conn->uv.stream) == 0;
}

/* The one that has been idle for longest, else the one that has been asking for longest; NULL: all wait for answers. */
static struct srv_conn *longest_useless(struct srv_server *server, bool tcp_only)
{
    struct srv_conn *idle = NULL, *asking = NULL;
    for (struct srv_conn *conn = server->conns; conn; conn = conn->next) {
        if (tcp_only && !conn->peer.tcp)
            continue;
        if (srv_conn_idle(conn)) {
            if (!idle || conn->active_ns < idle->active_ns)
                idle = conn;
        } else if (is_owed_nothing(conn) && (!asking || conn->request_ns < asking->request_ns)) {
            asking = conn;
        }
    }
    return idle ? idle : asking;
}

/* Room for one more; false: everybody is busy. */
static bool make_room(struct srv_server *server, bool tcp)
{
    bool tcp_full = tcp && server->tcp_count >= SRV_CONNECTIONS_MAX - SRV_CONNECTIONS_UNIX;
    if (!tcp_full && server->conn_count < SRV_CONNECTIONS_MAX)
        return true;
    struct srv_conn *useless = longest_useless(server, tcp_full);
    if (useless)
        srv_conn_close(useless);
    return useless != NULL;
}

static struct srv_conn *create(struct srv_listener *listener)
{
    struct srv_conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    struct srv_server *server = listener->server;
    int err = listener->is_tcp ? uv_tcp_init(&server->loop, &conn->uv.tcp)
                               : uv_pipe_init(&server->loop, &conn->uv.pipe, 0);
    if (err) {
        free(conn);
        return NULL;
    }
    conn->uv.handle.data = conn;
    conn->server = server;
    conn->number = ++server->last_client;
    conn->peer.tcp = listener->is_tcp;
    conn->last = &conn->first;
    conn->active_ns = conn->moved_ns = gr_now_ns();
    srv_parser_init(&conn->parser);
    conn->next = server->conns;
    conn->link = &server->conns;
    if (conn->next)
        conn->next->link = &conn->next;
    server->conns = conn;
    server->conn_count++;
    server->tcp_count += conn->peer.tcp;
    return conn;
}

void srv_accept_again(struct srv_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listener[i].deaf && !uv_is_closing(&server->listener[i].uv.handle))
            srv_conn_accept(&server->listener[i]);
}

void srv_conn_accept(struct srv_listener *listener)
{
    bool room = make_room(listener->server, listener->is_tcp);
    struct srv_conn *conn = create(listener);
    if (!conn && !listener->deaf)
        srv_log(SRV_ERROR, "accept-failed", "listener=%s reason=\"out of memory\"", listener->name);
    listener->deaf = !conn;
    if (!conn)
        return;
    if (uv_accept(&listener->uv.stream, &conn->uv.stream) || !room) {
        srv_conn_close(conn);
        return;
    }
    if (listener->is_tcp)
        uv_tcp_nodelay(&conn->uv.tcp, 1);
    else
        identify(conn);
    srv_conn_begin(conn, listener->is_gdb);
}
