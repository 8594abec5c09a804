/*
 * http_bench.c: what a client waits for, over one keep-alive connection on loopback.
 *
 *   http-bench PORT get PATH PEER METRIC SAMPLES   one GET after another
 *   http-bench PORT hold GOROUTINE SAMPLES         suspend, snapshot, resume of one that runs
 *   http-bench PORT pairs GOROUTINE SAMPLES        suspend, resume, again and again
 *   http-bench PORT beside GOROUTINE METRIC        short calls in turn, until stdin ends
 *   http-bench PORT post PATH BODY                 one request; prints the answer's body
 *
 * A sample is from before the request is written to after the last byte of the answer. For `hold`
 * the goroutine gets a random pause of up to half a millisecond between two samples, or it would be
 * found not yet running. Rejected: wrk, which has no requests that depend on each other's answers.
 */
#include "sample.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/socket.h>

#define MOST         200000
#define ANSWER_BYTES (1 << 20)
#define PAUSE_NS     500000

static double samples[4][MOST];
static char answer[ANSWER_BYTES];
static int server;

static _Noreturn void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void fail(const char *fmt, ...)
{
    va_list args;

    fputs("http-bench: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;

    server = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address) != 0)
        fail("port %d: %s", port, strerror(errno));
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Reads one whole answer; returns its body, which ends with a 0. */
static const char *read_answer(void)
{
    size_t have = 0, need = 0;
    char *body = NULL;

    while (!body || have < need) {
        ssize_t got = read(server, answer + have, sizeof answer - 1 - have);

        if (got <= 0)
            fail("the connection ended after %zu bytes of an answer", have);
        have += (size_t)got;
        answer[have] = 0;
        if (!body && (body = strstr(answer, "\r\n\r\n"))) {
            const char *length = strcasestr(answer, "\r\nContent-Length:");

            body += 4;
            if (!length || length > body)
                fail("an answer without Content-Length: %s", answer);
            need = (size_t)(body - answer) + strtoul(length + 17, NULL, 10);
            if (need >= sizeof answer)
                fail("an answer of %zu bytes is too long", need);
        }
    }
    return body;
}

/* Sends a request made ready before the clock was read; the answer's status has to be 2xx. */
static const char *ask(const char *request, size_t bytes)
{
    const char *body;

    if (write(server, request, bytes) != (ssize_t)bytes)
        fail("write: %s", strerror(errno));
    body = read_answer();
    if (strncmp(answer, "HTTP/1.1 2", 10) != 0)
        fail("%.*s answered by: %s", (int)strcspn(request, "\r"), request, answer);
    return body;
}

static double timed(const char *request, const char **body)
{
    size_t bytes = strlen(request);
    int64_t start = now_ns();

    *body = ask(request, bytes);
    return (double)(now_ns() - start);
}

static void get(const char *path, const char *peer, const char *metric, int n)
{
    char request[512];
    const char *body;

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    for (int i = 0; i < n / 10; i++)
        timed(request, &body);
    for (int i = 0; i < n; i++)
        samples[0][i] = timed(request, &body);
    emit(peer, metric, "ns", samples[0], n);
}

static void make_post(char *request, size_t size, const char *path, const char *body)
{
    snprintf(request, size,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             path, strlen(body), body);
}

static double number_in(const char *json, const char *key)
{
    const char *at = strstr(json, key);

    if (!at || !(at = strchr(at + strlen(key), ':')))
        fail("no %s in: %s", key, json);
    return strtod(at + 1, NULL);
}

static void hold(const char *id, int n)
{
    static const char *const names[] = {"http_suspend", "http_snapshot", "http_resume",
                                        "http_suspend_snapshot_resume"};
    static double told[MOST];
    char suspend[512], snapshot[512], resume[512], path[128];
    unsigned seed = 1;
    const char *body;

    snprintf(path, sizeof path, "/v1/goroutines/%s/suspend", id);
    make_post(suspend, sizeof suspend, path, "{}");
    snprintf(path, sizeof path, "/v1/goroutines/%s/resume", id);
    make_post(resume, sizeof resume, path, "{}");
    snprintf(snapshot, sizeof snapshot,
             "GET /v1/goroutines/%s/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n", id);
    for (int i = 0; i < n; i++) {
        spin_ns(20000 + rand_r(&seed) % PAUSE_NS);
        samples[0][i] = timed(suspend, &body);
        told[i] = number_in(body, "\"latency_ns\"");
        samples[1][i] = timed(snapshot, &body);
        if (!strstr(body, "\"frames\""))
            fail("a snapshot without frames: %s", body);
        samples[2][i] = timed(resume, &body);
        samples[3][i] = samples[0][i] + samples[1][i] + samples[2][i];
    }
    for (int k = 0; k < 4; k++)
        emit("grasp", names[k], "ns", samples[k], n);
    emit("grasp", "http_suspend_latency_told", "ns", told, n);
}

/* Pairs without a pause between them, in batches: one that was let go may not have run again. */
static void pairs(const char *id, int n)
{
    static double rate[MOST / 100];
    char suspend[512], resume[512], path[128];
    const char *body;

    snprintf(path, sizeof path, "/v1/goroutines/%s/suspend", id);
    make_post(suspend, sizeof suspend, path, "{\"timeout_ms\":60000}");
    snprintf(path, sizeof path, "/v1/goroutines/%s/resume", id);
    make_post(resume, sizeof resume, path, "{}");
    for (int i = 0; i < n / 100; i++) {
        int64_t begin = now_ns();

        for (int k = 0; k < 100; k++) {
            timed(suspend, &body);
            timed(resume, &body);
        }
        rate[i] = 100 * 1e9 / (double)(now_ns() - begin);
    }
    emit("grasp", "http_pairs_rate", "pairs/s", rate, n / 100);
}

/* What another client asks for while a crowd is served: each kind of short call, on the loop and on the pool. */
static void beside(const char *id, const char *metric)
{
    static const char *const names[] = {"healthz", "runtime", "goroutine", "spawn", "suspend"};
    enum { KINDS = sizeof names / sizeof names[0] };
    static double sample[KINDS][MOST];
    struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
    char request[KINDS][512], resume[512], path[128], name[128];
    const char *body;
    int n = 0;

    strcpy(request[0], "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    strcpy(request[1], "GET /v1/runtime HTTP/1.1\r\nHost: localhost\r\n\r\n");
    snprintf(request[2], sizeof request[2],
             "GET /v1/goroutines/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", id);
    make_post(request[3], sizeof request[3], "/v1/goroutines",
              "{\"module\":\"pipeline\",\"entry\":\"sieve\",\"args\":{\"primes\":1}}");
    snprintf(path, sizeof path, "/v1/goroutines/%s/suspend", id);
    make_post(request[4], sizeof request[4], path, "{\"timeout_ms\":60000}");
    snprintf(path, sizeof path, "/v1/goroutines/%s/resume", id);
    make_post(resume, sizeof resume, path, "{}");
    for (; poll(&end, 1, 0) == 0 && n < MOST; n++) {
        for (int k = 0; k < KINDS; k++)
            sample[k][n] = timed(request[k], &body);
        sample[KINDS - 1][n] += timed(resume, &body);
    }
    for (int k = 0; k < KINDS && n > 0; k++) {
        snprintf(name, sizeof name, "%s_%s", metric, names[k]);
        emit("grasp", name, "ns", sample[k], n);
    }
}

static int count_of(const char *text)
{
    int full = atoi(text);

    if (full < 1 || full > MOST)
        fail("samples: 1 to %d", MOST);
    return scaled(full, 10);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: http-bench PORT get PATH PEER METRIC SAMPLES | hold ID SAMPLES | "
              "pairs ID SAMPLES | beside ID METRIC | post PATH BODY\n",
              stderr);
        return 2;
    }
    connect_to(atoi(argv[1]));
    if (strcmp(argv[2], "get") == 0 && argc == 7) {
        get(argv[3], argv[4], argv[5], count_of(argv[6]));
    } else if (strcmp(argv[2], "hold") == 0 && argc == 5) {
        hold(argv[3], count_of(argv[4]));
    } else if (strcmp(argv[2], "pairs") == 0 && argc == 5) {
        int n = count_of(argv[4]);
        pairs(argv[3], n < 100 ? 100 : n);
    } else if (strcmp(argv[2], "beside") == 0 && argc == 5) {
        beside(argv[3], argv[4]);
    } else if (strcmp(argv[2], "post") == 0 && argc == 5) {
        char request[1024];

        make_post(request, sizeof request, argv[3], argv[4]);
        puts(ask(request, strlen(request)));
    } else {
        fail("what is \"%s\" with %d arguments?", argv[2], argc - 3);
    }
    return 0;
}
