/*
 * http_connection.c: the blocking half of http_client.h.
 *
 * Sockets are non-blocking and every wait is a ppoll with the signals of the caller's choice open,
 * so that a handler that calls http_interrupt before the wait is not missed: callers keep their
 * signals blocked outside of it.
 */
#include "http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

void http_interrupt(void)
{
    interrupted = 1;
}

void http_interrupt_clear(void)
{
    interrupted = 0;
}

static int fail(struct http_connection *connection, int err, const char *what)
{
    char name[300];
    http_place_name(connection->place, name, sizeof name);
    snprintf(connection->err, sizeof connection->err, "%s: %s%s%s", name, what, err ? ": " : "",
             err ? strerror(err) : "");
    http_connection_close(connection);
    return err ? -err : -EPROTO;
}

/* Waits until fd is ready; 0, -EINTR or -ETIMEDOUT. */
static int wait_ready(int fd, short events, uint64_t timeout_ms)
{
    struct pollfd pollfd = {.fd = fd, .events = events};
    struct timespec limit = {(time_t)(timeout_ms / 1000), (long)(timeout_ms % 1000) * 1000000};
    sigset_t open;
    sigemptyset(&open);
    if (interrupted)
        return -EINTR;
    int result = ppoll(&pollfd, 1, timeout_ms ? &limit : NULL, &open);
    if (interrupted)
        return -EINTR;
    if (result < 0 && errno != EINTR)
        return -errno;
    return result == 0 ? -ETIMEDOUT : 0;
}

void http_connection_init(struct http_connection *connection, const struct http_place *place)
{
    *connection = (struct http_connection){.place = place, .fd = -1};
}

void http_connection_close(struct http_connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    connection->used = false;
}

/* Connects one socket; 0 or a negative errno. */
static int connect_to(struct http_connection *connection, int family,
                      const struct sockaddr *address, socklen_t size)
{
    int err, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, address, size) == 0) {
        connection->fd = fd;
        return 0;
    }
    err = -errno;
    if (err == -EINPROGRESS)
        err = wait_ready(fd, POLLOUT, HTTP_CONNECT_MS);
    if (err == 0) {
        int result = 0;
        socklen_t result_bytes = sizeof result;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &result_bytes);
        err = -result;
    }
    if (err)
        close(fd);
    else
        connection->fd = fd;
    return err;
}

static int connect_tcp(struct http_connection *connection)
{
    const struct http_place *place = connection->place;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    int result = getaddrinfo(place->host, place->port, &hints, &list), err = -ECONNREFUSED;
    if (result) {
        snprintf(connection->err, sizeof connection->err, "%s: %s", place->host,
                 gai_strerror(result));
        return -EHOSTUNREACH;
    }
    for (struct addrinfo *one = list; one && connection->fd < 0; one = one->ai_next)
        err = connect_to(connection, one->ai_family, one->ai_addr, one->ai_addrlen);
    freeaddrinfo(list);
    return connection->fd >= 0 ? 0 : err == -EINTR ? err : fail(connection, -err, "cannot connect");
}

static int connect_any(struct http_connection *connection)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!connection->place->unix_path[0])
        return connect_tcp(connection);
    memcpy(address.sun_path, connection->place->unix_path, sizeof address.sun_path);
    int err = connect_to(connection, AF_UNIX, (struct sockaddr *)&address, sizeof address);
    return err && err != -EINTR ? fail(connection, -err, "cannot connect") : err;
}

/* An idle connection on which something can be read has been closed, or is out of step. */
static void drop_if_stale(struct http_connection *connection)
{
    struct pollfd pollfd = {.fd = connection->fd, .events = POLLIN};
    if (connection->fd >= 0 && poll(&pollfd, 1, 0) != 0)
        http_connection_close(connection);
}

static int send_all(struct http_connection *connection, const char *bytes, size_t size)
{
    while (size) {
        ssize_t sent = send(connection->fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        int err = sent < 0 ? wait_ready(connection->fd, POLLOUT, connection->timeout_ms) : 0;
        if (err)
            return err;
        bytes += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

/* Reads until the answer is done; 0, or a negative errno. -ECONNRESET before its first byte. */
static int receive(struct http_connection *connection, struct http_answer *answer)
{
    char bytes[65536];
    enum http_progress progress = HTTP_MORE;
    bool any = false;
    size_t used;
    while (progress == HTTP_MORE) {
        int err = wait_ready(connection->fd, POLLIN, connection->timeout_ms);
        if (err)
            return err;
        ssize_t got = recv(connection->fd, bytes, sizeof bytes, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0 && !any)
            return -ECONNRESET;
        any = true;
        progress =
            got > 0 ? http_answer_feed(answer, bytes, (size_t)got, &used) : http_answer_end(answer);
    }
    return progress == HTTP_DONE ? 0 : -EPROTO;
}

static int explain(struct http_connection *connection, const struct http_answer *answer, int err)
{
    char what[128];
    switch (err) {
    case -EINTR:
        http_connection_close(connection);
        return err;
    case -ETIMEDOUT:
        snprintf(what, sizeof what, "no answer within %llu ms",
                 (unsigned long long)connection->timeout_ms);
        fail(connection, 0, what);
        return err;
    case -EPROTO:
        return fail(connection, 0, answer->error ? answer->error : "not an answer of HTTP/1.1");
    case -ECONNRESET:
        fail(connection, 0, "the daemon closed the connection without an answer");
        return err;
    default:
        return fail(connection, -err, "the connection failed");
    }
}

static bool idempotent(const char *method)
{
    return strcmp(method, "POST") != 0;
}

int http_exchange(struct http_connection *connection, const struct http_request *request,
                  struct http_answer *answer)
{
    struct http_buf bytes = {0};
    int err = 0;
    http_request_write(&bytes, connection->place, request);
    answer->to_head = strcmp(request->method, "HEAD") == 0;
    /* Twice at most: the second time on a connection of its own. */
    for (int attempt = 0; attempt < 2; attempt++) {
        drop_if_stale(connection);
        bool fresh = connection->fd < 0;
        if (fresh && (err = connect_any(connection))) {
            http_buf_free(&bytes);
            return err;
        }
        http_answer_reset(answer);
        err = send_all(connection, bytes.data, bytes.size);
        if (!err)
            err = receive(connection, answer);
        if ((err != -ECONNRESET && err != -EPIPE) || fresh || !idempotent(request->method))
            break;
        http_connection_close(connection);
    }
    http_buf_free(&bytes);
    if (err)
        return explain(connection, answer, err);
    if (!answer->keep_alive || answer->stopped)
        http_connection_close(connection);
    return 0;
}
