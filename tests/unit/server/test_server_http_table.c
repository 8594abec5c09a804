/*
 * test_server_http_table.c: the whole server on a socket: hostile bytes, pipelining, order, limits.
 *
 * The server runs in this process with the real runtime. A connection's fate is seen from outside:
 * a kept one answers another request, a closed one ends. Nothing waits for a time to pass; a poll's
 * limit only makes a hang a failure.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <grasp/runtime.h>

#include "connection.h"
#include "hostile.h"
#include "internal.h"
#include "server.h"

#define HANG_MS 20000

static struct srv_server server;
static char directory[] = "/tmp/grasp-http-XXXXXX";

static int connect_to_server(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, server.config.unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends all; a server that closed meanwhile is no error here: its answer tells. */
static void send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void send_text(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

/* One byte, or -1 at the end; a hang fails the test. */
static int read_byte(int fd)
{
    unsigned char byte;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    if (poll(&poll_fd, 1, HANG_MS) != 1)
        fail_msg("the server neither answered nor closed");
    return read(fd, &byte, 1) == 1 ? byte : -1;
}

struct answer {
    int status; /* 0: the connection ended instead */
    char head[4096];
    char body[65536];
    size_t body_bytes;
};

static struct answer read_answer(int fd, bool head_only)
{
    static struct answer answer;
    size_t size = 0;
    memset(&answer, 0, sizeof answer);
    while (size + 1 < sizeof answer.head && !strstr(answer.head, "\r\n\r\n")) {
        int byte = read_byte(fd);
        if (byte < 0)
            return answer;
        answer.head[size++] = (char)byte;
    }
    assert_int_equal(sscanf(answer.head, "HTTP/1.1 %d ", &answer.status), 1);
    const char *length = strstr(answer.head, "Content-Length: ");
    answer.body_bytes = length && !head_only ? strtoul(length + 16, NULL, 10) : 0;
    assert_true(answer.body_bytes < sizeof answer.body);
    for (size_t i = 0; i < answer.body_bytes; i++)
        answer.body[i] = (char)read_byte(fd);
    return answer;
}

static void assert_kept(int fd, const char *name)
{
    send_text(fd, "GET /healthz HTTP/1.1\r\n" H "\r\n");
    int status = read_answer(fd, false).status;
    if (status != 200)
        fail_msg("%s: the connection should be kept, but answered %d", name, status);
}

static void assert_closed(int fd, const char *name)
{
    if (read_byte(fd) >= 0)
        fail_msg("%s: the connection should be closed, but goes on", name);
}

static void each_hostile_request_has_its_status_and_fate(void **state)
{
    for (size_t i = 0; i < HOSTILE_COUNT; i++) {
        const struct hostile *row = &hostile_table[i];
        size_t size;
        char *bytes = hostile_bytes(row, &size);
        int fd = connect_to_server();
        send_all(fd, bytes, size);
        int status = read_answer(fd, false).status;
        if (status != row->status)
            fail_msg("%s: answered %d instead of %d", row->name, status, row->status);
        if (row->fate == KEPT)
            assert_kept(fd, row->name);
        else
            assert_closed(fd, row->name);
        close(fd);
        free(bytes);
    }
    print_message("%zu rows\n", HOSTILE_COUNT);
}

static void errors_are_problems_with_a_code(void **state)
{
    int fd = connect_to_server();
    send_text(fd, "GET /v1/goroutines/9 HTTP/1.1\r\n" H "\r\n");
    struct answer answer = read_answer(fd, false);
    assert_int_equal(answer.status, 404);
    assert_non_null(strstr(answer.head, "Content-Type: application/problem+json\r\n"));
    assert_non_null(strstr(answer.head, "Grasp-Instance: "));
    assert_non_null(strstr(answer.body, "\"code\":\"not-found\""));
    close(fd);
}

static void pipelined_answers_come_in_order(void **state)
{
    /* The first is answered by a pool thread, the last by the loop itself, at once. */
    static const char *const targets[] = {"/v1/modules", "/v1/goroutines/77", "/v1/runtime",
                                          "/readyz"};
    static const char *const marks[] = {"\"items\"", "\"not-found\"", "\"procs\"", "ready"};
    char request[256];
    int fd = connect_to_server();
    for (int i = 0; i < 200; i++) {
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" H "\r\n", targets[i % 4]);
        send_text(fd, request);
    }
    for (int i = 0; i < 200; i++) {
        struct answer answer = read_answer(fd, false);
        if (!strstr(answer.body, marks[i % 4]))
            fail_msg("answer %d is not that of %s: %s", i, targets[i % 4], answer.body);
    }
    close(fd);
}

static void head_has_the_headers_of_get_and_no_body(void **state)
{
    int fd = connect_to_server();
    send_text(fd, "HEAD /v1/runtime HTTP/1.1\r\n" H "\r\n");
    struct answer answer = read_answer(fd, true);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "Content-Length: "));
    assert_kept(fd, "head");
    close(fd);
}

static void a_stream_ends_with_its_last_line(void **state)
{
    int fd = connect_to_server();
    char text[4096] = "";
    size_t size = 0;
    send_text(fd, "GET /v1/goroutines?format=ndjson HTTP/1.0\r\n" H "\r\n");
    for (int byte; (byte = read_byte(fd)) >= 0 && size + 1 < sizeof text;)
        text[size++] = (char)byte;
    assert_null(strstr(text, "chunked"));
    assert_non_null(strstr(text, "{\"end\":true,\"seq\":"));
    close(fd);
    fd = connect_to_server();
    send_text(fd, "GET /v1/goroutines?format=ndjson HTTP/1.1\r\n" H "\r\n");
    memset(text, 0, sizeof text);
    for (size = 0; size + 1 < sizeof text && !strstr(text, "\r\n0\r\n\r\n");)
        text[size++] = (char)read_byte(fd);
    assert_non_null(strstr(text, "Transfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(text, "{\"end\":true,\"seq\":"));
    assert_kept(fd, "stream");
    close(fd);
}

static void continue_is_sent_before_the_body(void **state)
{
    int fd = connect_to_server();
    char head[64] = "";
    send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    for (size_t i = 0; i < 25; i++)
        head[i] = (char)read_byte(fd);
    assert_string_equal(head, "HTTP/1.1 100 Continue\r\n\r\n");
    send_text(fd, "{}");
    assert_int_equal(read_answer(fd, false).status, 400);
    assert_kept(fd, "continue");
    /* What is too large is refused without asking for it. */
    send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n");
    assert_int_equal(read_answer(fd, false).status, 413);
    assert_closed(fd, "refused continue");
    close(fd);
}

/* As a socket that has room for so many bytes of a first try. */
static _Atomic(int) room = -1; /* -1: as it is */
int __real_uv_try_write(uv_stream_t *stream, const uv_buf_t *bufs, unsigned count);
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t *bufs, unsigned count);
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t *bufs, unsigned count)
{
    int limit = atomic_load(&room);
    uv_buf_t one = bufs[0];
    if (limit < 0)
        return __real_uv_try_write(stream, bufs, count);
    if (limit == 0)
        return UV_EAGAIN;
    one.len = one.len < (size_t)limit ? one.len : (size_t)limit;
    return __real_uv_try_write(stream, &one, 1);
}

static void a_continue_is_sent_whole_through_a_narrow_socket(void **state)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    for (int limit = 0; limit < (int)sizeof line; limit++) {
        int fd = connect_to_server();
        char head[64] = "";
        atomic_store(&room, limit);
        send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        for (size_t i = 0; i < sizeof line - 1; i++)
            head[i] = (char)read_byte(fd);
        assert_string_equal(head, line);
        send_text(fd, "{}");
        assert_int_equal(read_answer(fd, false).status, 400);
        assert_kept(fd, "continue");
        close(fd);
    }
    atomic_store(&room, -1);
}

static void a_half_closed_client_gets_its_answers(void **state)
{
    int fd = connect_to_server();
    send_text(fd, "GET /v1/runtime HTTP/1.1\r\n" H "\r\nGET /readyz HTTP/1.1\r\n" H "\r\n");
    shutdown(fd, SHUT_WR);
    assert_int_equal(read_answer(fd, false).status, 200);
    assert_int_equal(read_answer(fd, false).status, 200);
    assert_closed(fd, "half-closed");
    close(fd);
}

/* While there is no memory for connections; how often one was refused it. */
static _Atomic(bool) no_memory;
static _Atomic(unsigned) refused;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    if (!atomic_load(&no_memory) || count * size != sizeof(struct srv_conn))
        return __real_calloc(count, size);
    atomic_fetch_add(&refused, 1);
    return NULL;
}

/* The server has tried to take somebody, since it was so often. */
static void until_refused_more_than(unsigned before)
{
    for (unsigned i = 0; i < HANG_MS && atomic_load(&refused) == before; i++)
        poll(NULL, 0, 1);
    assert_true(atomic_load(&refused) > before);
}

static void newcomers_without_memory_are_served_when_there_is_some_again(void **state)
{
    int fds[3], there = connect_to_server(), other = connect_to_server();
    unsigned before = atomic_load(&refused);
    assert_kept(there, "one that is there before");
    assert_kept(other, "another one");
    atomic_store(&no_memory, true);
    for (size_t i = 0; i < 3; i++) {
        fds[i] = connect_to_server();
        send_text(fds[i], "GET /healthz HTTP/1.1\r\n" H "\r\n");
    }
    until_refused_more_than(before);
    before = atomic_load(&refused);
    close(other); /* it tries again then, or at the end of the second: in vain */
    until_refused_more_than(before);
    assert_kept(there, "one that is there still");
    atomic_store(&no_memory, false);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read_answer(fds[i], false).status, 200);
        close(fds[i]);
    }
    close(there);
}

static void the_longest_idle_connection_makes_room(void **state)
{
    int fds[SRV_CONNECTIONS_MAX + 1];
    for (size_t i = 0; i < SRV_CONNECTIONS_MAX; i++) {
        fds[i] = connect_to_server();
        assert_kept(fds[i], "one of 256");
    }
    fds[SRV_CONNECTIONS_MAX] = connect_to_server();
    assert_kept(fds[SRV_CONNECTIONS_MAX], "the one too many");
    assert_closed(fds[0], "the longest idle");
    assert_kept(fds[1], "the second");
    for (size_t i = 0; i <= SRV_CONNECTIONS_MAX; i++)
        close(fds[i]);
}

static void a_client_that_reads_nothing_does_not_grow_the_server(void **state)
{
    static const char request[] = "GET /v1/runtime HTTP/1.1\r\n" H "\r\n";
    int fd = connect_to_server(), other = connect_to_server();
    size_t sent = 0;
    /* Until the server takes no more: it must stop reading at some point. */
    for (;;) {
        ssize_t size = send(fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size <= 0) {
            struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
            if (poll(&poll_fd, 1, 500) == 0)
                break;
            continue;
        }
        sent += (size_t)size;
        assert_true(sent < 64 * 1024 * 1024);
    }
    print_message("taken before it stopped: %zu bytes\n", sent);
    assert_kept(other, "somebody else");
    close(fd);
    close(other);
}

static void a_request_that_never_ends_is_answered_and_closed(void **state)
{
    int fd = connect_to_server(), other = connect_to_server();
    send_text(fd, "GET /healthz HTTP/1.1\r\nHost:");
    assert_int_equal(read_answer(fd, false).status, 408); /* ten seconds later */
    assert_closed(fd, "slow headers");
    assert_kept(other, "one that is idle for no longer than that");
    close(fd);
    close(other);
}

static int start_server(void **state)
{
    char err[256] = "", path[128];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/s", directory);
    srv_config_init(&server.config);
    server.config.unix_path = strdup(path);
    server.signal_fd = -1;
    if (gr_start(NULL, err, sizeof err) || srv_start(&server, err, sizeof err)) {
        print_error("%s\n", err);
        return -1;
    }
    return 0;
}

static int remove_socket(void **state)
{
    unlink(server.config.unix_path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_hostile_request_has_its_status_and_fate),
        cmocka_unit_test(errors_are_problems_with_a_code),
        cmocka_unit_test(pipelined_answers_come_in_order),
        cmocka_unit_test(head_has_the_headers_of_get_and_no_body),
        cmocka_unit_test(a_stream_ends_with_its_last_line),
        cmocka_unit_test(continue_is_sent_before_the_body),
        cmocka_unit_test(a_continue_is_sent_whole_through_a_narrow_socket),
        cmocka_unit_test(a_half_closed_client_gets_its_answers),
        cmocka_unit_test(newcomers_without_memory_are_served_when_there_is_some_again),
        cmocka_unit_test(the_longest_idle_connection_makes_room),
        cmocka_unit_test(a_client_that_reads_nothing_does_not_grow_the_server),
        cmocka_unit_test(a_request_that_never_ends_is_answered_and_closed),
    };
    return cmocka_run_group_tests(tests, start_server, remove_socket);
}
