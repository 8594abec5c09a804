/*
 * listener.c: the Unix socket and TCP ports.
 *
 * A Unix socket is bound, given its mode and group, and only then listened on: before listen()
 * nobody can connect, so that there is no moment in which it is open too wide, and the process's
 * umask is left alone. A socket file that nobody answers on is a left-over and is replaced; one
 * that answers is not ours. From the look at it to listen() the directory is locked: of two daemons
 * that start at one moment, one would else find the other's socket bound, not listened on, and take
 * it away. Rejected: a lock file beside the socket; it would stay, and be one more name to guard.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "connection.h"
#include "log.h"
#include "server.h"

#define BACKLOG    128
#define LOCK_TRIES 500 /* of 10 ms */
#define HOST_BYTES 256

static int failed(struct srv_server *server, int err, const char *what, const char *name)
{
    snprintf(server->error, sizeof server->error, "%s %s: %s", what, name, strerror(-err));
    return err;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct srv_listener *listener = stream->data;
    if (status < 0)
        srv_log(SRV_WARNING, "accept-failed", "listener=%s reason=\"%s\"", listener->name,
                uv_strerror(status));
    else
        srv_conn_accept(listener);
}

static int listen_on(struct srv_server *server, struct srv_listener *listener)
{
    int err = uv_listen(&listener->uv.stream, BACKLOG, on_connection);
    return err ? failed(server, err, "listening on", listener->name) : 0;
}

static struct srv_listener *add_listener(struct srv_server *server, bool is_tcp)
{
    struct srv_listener *listener = &server->listener[server->listener_count++];
    listener->server = server;
    listener->is_tcp = is_tcp;
    return listener;
}

/* ---- Unix ------------------------------------------------------------------------------------ */

/*
 * A descriptor to be closed that keeps others out of the path's directory, or -1. Anybody who can read a directory can keep it
 * locked, as /tmp: after five seconds, far longer than a start needs, it is done without.
 */
static int lock_directory(const char *path)
{
    char *copy = strdup(path);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(copy);
    for (unsigned i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB); i++) {
        if (errno != EINTR && (errno != EWOULDBLOCK || i == LOCK_TRIES)) {
            close(fd); /* or this file system locks no directories */
            fd = -1;
        } else {
            usleep(10000);
        }
    }
    return fd;
}

static void unlock_directory(int lock)
{
    if (lock >= 0)
        close(lock);
}

/* Removes a socket that nobody listens on. -EADDRINUSE: somebody does; -EEXIST: it is no socket. */
static int remove_stale(const char *path)
{
    struct stat st;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    strcpy(address.sun_path, path);
    /* A daemon that is stopped may have a full queue: it is there all the same. */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int err = connect(fd, (struct sockaddr *)&address, sizeof address) ? errno : 0;
    close(fd);
    if (err != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(path) ? -errno : 0;
}

static int find_group(struct srv_server *server)
{
    const char *name = server->config.unix_group;
    server->unix_gid = (gid_t)-1;
    if (!name)
        return 0;
    struct group *group = getgrnam(name);
    if (!group) {
        snprintf(server->error, sizeof server->error, "--unix-group: there is no group %.200s",
                 name);
        return -ENOENT;
    }
    server->unix_gid = group->gr_gid;
    return 0;
}

static int check_path(struct srv_server *server, const char *flag, const char *path)
{
    struct sockaddr_un address;
    if (strlen(path) >= sizeof address.sun_path)
        return failed(server, -ENAMETOOLONG, flag, path);
    /* libuv says of a directory that is not there that it may not be written. */
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) + 1 : 0;
    memcpy(address.sun_path, path, size);
    strcpy(address.sun_path + size, size ? "" : ".");
    return access(address.sun_path, W_OK | X_OK) ? failed(server, -errno, flag, path) : 0;
}

/* A bound socket of ours at `path`, not listened on yet. `flag` is what it is called in errors. */
static int bind_unix(struct srv_server *server, const char *flag, const char *path,
                     struct srv_listener **out)
{
    struct srv_listener *listener = add_listener(server, false);
    snprintf(listener->name, sizeof listener->name, "%.127s", path);
    uv_pipe_init(&server->loop, &listener->uv.pipe, 0);
    listener->uv.handle.data = listener;
    *out = listener;
    int err = check_path(server, flag, path);
    if (!err)
        err = remove_stale(path);
    if (!err)
        err = uv_pipe_bind(&listener->uv.pipe, path);
    return err ? failed(server, err, flag, path) : 0;
}

static int open_gdb(struct srv_server *server, const char *path)
{
    struct srv_listener *listener;
    int err = bind_unix(server, "--gdb-unix", path, &listener);
    if (err)
        return err;
    listener->is_gdb = true;
    if (chmod(path, 0600))
        return failed(server, -errno, "--gdb-unix", path);
    return listen_on(server, listener);
}

static int open_own(struct srv_server *server, const char *path)
{
    struct srv_listener *listener;
    int err = bind_unix(server, "--unix", path, &listener);
    if (err)
        return err;
    if (chmod(path, (mode_t)server->config.unix_mode) ||
        (server->config.unix_group && chown(path, (uid_t)-1, server->unix_gid)))
        return failed(server, -errno, "--unix-mode or --unix-group for", path);
    return listen_on(server, listener);
}

static int listen_unix(struct srv_server *server, const char *path,
                       int (*open_it)(struct srv_server *server, const char *path))
{
    int lock = lock_directory(path);
    int err = open_it(server, path);
    unlock_directory(lock);
    return err;
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* "HOST:PORT" or "[V6]:PORT"; *port points into it. */
static bool split(const char *text, char host[HOST_BYTES], const char **port)
{
    const char *colon = strrchr(text, ':');
    uint64_t number;
    if (!colon || (size_t)(colon - text) >= HOST_BYTES ||
        !api_parse_uint(colon + 1, 0, 65535, &number))
        return false;
    const char *begin = text;
    size_t size = (size_t)(colon - text);
    if (size >= 2 && text[0] == '[' && colon[-1] == ']') {
        begin++;
        size -= 2;
    }
    memcpy(host, begin, size);
    host[size] = 0;
    *port = colon + 1;
    return size > 0;
}

static void name_listener(struct srv_listener *listener)
{
    struct sockaddr_storage address;
    int size = sizeof address;
    char host[INET6_ADDRSTRLEN];
    uv_tcp_getsockname(&listener->uv.tcp, (struct sockaddr *)&address, &size);
    if (address.ss_family == AF_INET6) {
        uv_ip6_name((struct sockaddr_in6 *)&address, host, sizeof host);
        snprintf(listener->name, sizeof listener->name, "[%s]:%u", host,
                 ntohs(((struct sockaddr_in6 *)&address)->sin6_port));
    } else {
        uv_ip4_name((struct sockaddr_in *)&address, host, sizeof host);
        snprintf(listener->name, sizeof listener->name, "%s:%u", host,
                 ntohs(((struct sockaddr_in *)&address)->sin_port));
    }
}

static int check_remote(struct srv_server *server, const char *text,
                        const struct sockaddr_storage *address)
{
    if (is_loopback((const struct sockaddr *)address))
        return 0;
    if (!server->config.allow_remote || server->config.no_auth) {
        snprintf(server->error, sizeof server->error, "--listen %s is not a loopback address%s",
                 text,
                 server->config.no_auth ? ", and --no-auth is for loopback alone"
                                        : "; --allow-remote permits it, without TLS");
        return -EPERM;
    }
    srv_log(SRV_WARNING, "remote-listener",
            "listen=%s reason=\"anybody who reaches this port and has a token controls this "
            "process; nothing is encrypted\"",
            text);
    return 0;
}

/* What --listen says as an address that we may listen on. */
static int read_address(struct srv_server *server, const char *text, struct sockaddr_storage *address)
{
    char host[HOST_BYTES];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    if (!split(text, host, &port)) {
        snprintf(server->error, sizeof server->error,
                 "--listen %s: write HOST:PORT, as 127.0.0.1:7070 or [::1]:0", text);
        return -EINVAL;
    }
    int err = getaddrinfo(host, port, &hints, &found);
    if (err) {
        snprintf(server->error, sizeof server->error, "--listen %s: %s", text, gai_strerror(err));
        return -EINVAL;
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return check_remote(server, text, address);
}

static int listen_tcp(struct srv_server *server, const char *text)
{
    struct sockaddr_storage address;
    int err = read_address(server, text, &address);
    if (err)
        return err;
    struct srv_listener *listener = add_listener(server, true);
    uv_tcp_init(&server->loop, &listener->uv.tcp);
    listener->uv.handle.data = listener;
    snprintf(listener->name, sizeof listener->name, "%.79s", text);
    err = uv_tcp_bind(&listener->uv.tcp, (struct sockaddr *)&address, 0);
    if (err)
        return failed(server, err, "--listen", text);
    err = listen_on(server, listener);
    if (!err)
        name_listener(listener);
    return err;
}

/* ---- Handed over ----------------------------------------------------------------------------- */

static int inherited_family(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &size) ? -1 : address.ss_family;
}

bool srv_has_tcp(const struct srv_server *server)
{
    bool any = server->config.listen_count > 0;
    for (size_t i = 0; i < server->inherited_count; i++)
        any = any || inherited_family(server->inherited[i]) != AF_UNIX;
    return any;
}

static int open_unix(struct srv_server *server, int fd)
{
    struct srv_listener *listener = add_listener(server, false);
    struct sockaddr_un address = {0};
    socklen_t size = sizeof address;
    uv_pipe_init(&server->loop, &listener->uv.pipe, 0);
    listener->uv.handle.data = listener;
    getsockname(fd, (struct sockaddr *)&address, &size);
    /* One of the abstract name space begins with a 0, which is written as an @ everywhere. */
    bool is_abstract = size > offsetof(struct sockaddr_un, sun_path) && !address.sun_path[0];
    snprintf(listener->name, sizeof listener->name, "%s%.107s", is_abstract ? "@" : "",
             address.sun_path + is_abstract);
    int err = uv_pipe_open(&listener->uv.pipe, fd);
    return err ? failed(server, err, "the socket handed over", listener->name)
               : listen_on(server, listener);
}

static int open_tcp(struct srv_server *server, int fd)
{
    struct srv_listener *listener = add_listener(server, true);
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    uv_tcp_init(&server->loop, &listener->uv.tcp);
    listener->uv.handle.data = listener;
    int err = uv_tcp_open(&listener->uv.tcp, fd);
    if (err)
        return failed(server, err, "the socket handed over", "by the service manager");
    name_listener(listener);
    getsockname(fd, (struct sockaddr *)&address, &size);
    err = check_remote(server, listener->name, &address);
    return err ? err : listen_on(server, listener);
}

static int open_inherited(struct srv_server *server, int fd)
{
    int family = inherited_family(fd), listens = 0;
    socklen_t size = sizeof listens;
    if ((family == AF_UNIX || family == AF_INET || family == AF_INET6) &&
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens)
        return family == AF_UNIX ? open_unix(server, fd) : open_tcp(server, fd);
    snprintf(server->error, sizeof server->error,
             "descriptor %d that was handed over is no listening Unix or TCP socket", fd);
    return -EINVAL;
}

int srv_listen_check(struct srv_server *server)
{
    const struct srv_config *config = &server->config;
    struct sockaddr_storage address;
    int err = find_group(server);
    if (!err && config->unix_path)
        err = check_path(server, "--unix", config->unix_path);
    if (!err && config->gdb_unix)
        err = check_path(server, "--gdb-unix", config->gdb_unix);
    for (size_t i = 0; i < config->listen_count && !err; i++)
        err = read_address(server, config->listen[i], &address);
    return err;
}

int srv_listen_all(struct srv_server *server)
{
    int err = find_group(server);
    if (!err && server->config.unix_path)
        err = listen_unix(server, server->config.unix_path, open_own);
    for (size_t i = 0; i < server->inherited_count && !err; i++)
        err = open_inherited(server, server->inherited[i]);
    if (!err && server->config.gdb_unix)
        err = listen_unix(server, server->config.gdb_unix, open_gdb);
    for (size_t i = 0; i < server->config.listen_count && !err; i++)
        err = listen_tcp(server, server->config.listen[i]);
    if (!err && srv_has_tcp(server) && server->config.no_auth)
        srv_log(SRV_WARNING, "no-auth",
                "reason=\"every local user can control this process over TCP\"");
    return err;
}

void srv_listeners_close(struct srv_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        if (!uv_is_closing(&server->listener[i].uv.handle))
            uv_close(&server->listener[i].uv.handle, NULL);
}

void srv_describe(const struct srv_server *server, char *out, size_t out_bytes)
{
    const char *path = "-";
    for (size_t i = server->listener_count; i-- > 0;)
        if (!server->listener[i].is_tcp && !server->listener[i].is_gdb)
            path = server->listener[i].name;
    int at = snprintf(out, out_bytes, "unix=%s listen=", path);
    bool any = false;
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listener[i].is_tcp && (size_t)at < out_bytes) {
            at += snprintf(out + at, out_bytes - (size_t)at, "%s%s", any ? "," : "",
                           server->listener[i].name);
            any = true;
        }
    if (!any && (size_t)at < out_bytes)
        at += snprintf(out + at, out_bytes - (size_t)at, "-");
    if (server->config.gdb_unix && (size_t)at < out_bytes)
        snprintf(out + at, out_bytes - (size_t)at, " gdb=%s", server->config.gdb_unix);
}
