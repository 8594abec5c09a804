/*
 * echo.c: a TCP server that sends back what it receives, written as for threads: plain calls, one
 * goroutine for each connection, no call-backs.
 *
 * The port that was bound is written to the goroutine's log ("echo: listening on HOST:PORT"). When
 * the server is asked to end, accept fails with ECANCELED; it then shuts its connections down, and
 * their goroutines end by reading the end of the stream.
 *
 *   {"host": "127.0.0.1", "port": 0}     both optional; port 0: any
 *
 * Locks: server.lock guards `connections` and `users`. A connection is in the list as long as its
 * descriptor is open, so that shutdown never meets a number that has been used again.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grasp/goroutine.h>

#include "args.h"

#define BACKLOG      128
#define BUFFER_BYTES 16384
#define RETRY_NS     20000000

struct connection;

struct server {
    gr_mutex lock;
    struct connection *connections;
    uint64_t users; /* the server's own goroutine and each connection */
};

struct connection {
    struct server *server;
    struct connection *next, **link;
    int fd;
};

/* A cancelled goroutine still has to clean up, and for it a lock that would block fails. */
static void lock(struct server *server)
{
    while (gr_mutex_lock(&server->lock) != 0)
        gr_yield();
}

/* With the lock held; gives it back. */
static void leave(struct server *server)
{
    bool last = --server->users == 0;
    gr_mutex_unlock(&server->lock);
    if (last)
        free(server);
}

static void drop(struct connection *connection)
{
    struct server *server = connection->server;
    lock(server);
    *connection->link = connection->next;
    if (connection->next)
        connection->next->link = connection->link;
    close(connection->fd);
    leave(server);
    free(connection);
}

/* Sends all bytes. False: the peer or we are gone. */
static bool send_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        bytes += n;
        count -= (size_t)n;
    }
    return true;
}

static void serve_connection(void *arg)
{
    struct connection *connection = arg;
    char buffer[BUFFER_BYTES];
    ssize_t n;
    while ((n = read(connection->fd, buffer, sizeof(buffer))) > 0)
        if (!send_all(connection->fd, buffer, (size_t)n))
            break;
    drop(connection);
}

/* A goroutine for the connection. The descriptor is closed if there can be none. */
static void start_connection(struct server *server, int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct connection *connection = malloc(sizeof(*connection));
    if (!connection) {
        close(fd);
        return;
    }
    lock(server);
    *connection = (struct connection){server, server->connections, &server->connections, fd};
    if (connection->next)
        connection->next->link = &connection->next;
    server->connections = connection;
    server->users++;
    gr_mutex_unlock(&server->lock);
    struct gr_go_opts go = {.fn = serve_connection, .arg = connection, .name = "connection"};
    if (gr_go_with(&go) > 0)
        return;
    gr_log("echo: no goroutine for a connection: memory or --max-goroutines");
    drop(connection);
}

/* Accepts until asked to end. Returns the errno that ended it. */
static int accept_all(struct server *server, int listener)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            start_connection(server, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The connection stays in the backlog until one of ours has ended. */
            if (gr_sleep_ns(RETRY_NS) != 0)
                return ECANCELED;
        } else if (errno != ECONNABORTED && errno != EINTR && errno != EAGAIN) {
            return errno;
        }
    }
}

static void log_address(int listener)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        gr_log("echo: listening on %s:%s", host, port);
}

/* A listening socket, or a negative errno after a line in the log. */
static int listen_on(const char *host, const char *port)
{
    struct addrinfo wish = {.ai_family = AF_UNSPEC,
                            .ai_socktype = SOCK_STREAM,
                            .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    int code = getaddrinfo(host, port, &wish, &found);
    if (code != 0) {
        gr_log("echo: %s:%s: %s", host, port, gai_strerror(code));
        return -EINVAL;
    }
    int error = 0;
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    int one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)
        error = errno;
    freeaddrinfo(found);
    if (error == 0)
        return fd;
    gr_log("echo: cannot listen on %s:%s: %s", host, port, strerror(error));
    if (fd >= 0)
        close(fd);
    return -error;
}

static int serve(const char *args)
{
    char host[256] = "127.0.0.1", port[16];
    uint64_t number = args_u64(args, "port", 0);
    if (number > 65535 ||
        (args_find(args, "host") && !args_string(args, "host", host, sizeof(host)))) {
        gr_log("echo: \"port\" must be 0 to 65535 and \"host\" a name or an address");
        return -EINVAL;
    }
    snprintf(port, sizeof(port), "%u", (unsigned)number);
    struct server *server = calloc(1, sizeof(*server));
    if (!server)
        return -ENOMEM;
    server->users = 1;
    int listener = listen_on(host, port);
    if (listener < 0) {
        free(server);
        return listener;
    }
    log_address(listener);
    int error = accept_all(server, listener);
    close(listener);
    lock(server);
    for (struct connection *c = server->connections; c; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    leave(server);
    if (error != ECANCELED)
        gr_log("echo: accept: %s", strerror(error));
    return error == ECANCELED ? 0 : -error;
}
GR_ENTRY("serve", serve, "A TCP echo server: {\"host\": NAME, \"port\": N}");
