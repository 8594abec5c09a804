/*
 * bench_inspect.c: stacks unwound and named, dumps of very many goroutines over HTTP, and what a trace costs.
 *
 * The dump mirrors the Go peer's (peers/go/inspect.go): goroutines that wait eight calls deep on one channel, a victim that
 * reads the clock without pause on one of two processors, and GET /debug/pprof/goroutine?debug=2 and =1; `time` is from the
 * request to the last byte, `victim_gap` the longest time that the victim did not run meanwhile. The
 * client is a child process, made before the runtime starts threads.
 */
#include "bench.h"

#include <errno.h>
#include <grasp/inspect.h>
#include <grasp/server.h>
#include <grasp/trace.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define DEPTH 8

static struct gr_chan *never;
static atomic_uint parked;
static _Atomic(int64_t) gap, last_step;
static atomic_uint stop;

__attribute__((noinline)) static int park_deep(int depth)
{
    int value = 0;

    if (depth > 0) {
        value = park_deep(depth - 1) + 1;
    } else {
        atomic_fetch_add(&parked, 1);
        gr_chan_recv(never, &value);
    }
    return value;
}

static void parker(void *arg)
{
    (void)arg;
    park_deep(DEPTH);
}

static void victim(void *arg)
{
    int64_t last = now_ns();

    (void)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        int64_t now = now_ns();

        if (now - last > atomic_load_explicit(&gap, memory_order_relaxed))
            atomic_store_explicit(&gap, now - last, memory_order_relaxed);
        last = now;
        atomic_store_explicit(&last_step, now, memory_order_relaxed);
    }
}

/* The longest gap since the last call, one that is still open included. */
static int64_t take_gap(void)
{
    for (int i = 0; i < 2; i++) {
        int64_t step = atomic_load(&last_step);

        while (atomic_load(&last_step) == step)
            usleep(100);
    }
    return atomic_exchange(&gap, 0);
}

static uint64_t park_until(unsigned wanted)
{
    uint64_t id = 0;

    for (unsigned i = atomic_load(&parked); i < wanted; i++)
        id = bench_go(parker, NULL);
    while (atomic_load(&parked) < wanted)
        usleep(1000);
    usleep(100000);
    return id;
}

/* ---- Unwinding ----------------------------------------------------------------------------------- */

static void unwind_rate(uint64_t id)
{
    static double ns[200];
    static struct gr_frame frames[64];
    static struct gr_hold hold;
    struct gr_copy copy = {.stack_capacity = gr_copy_stack_bytes_max()};
    int n = scaled(200, 5);
    bool truncated;

    copy.stack = malloc(copy.stack_capacity);
    if (!copy.stack || gr_hold_wait(&hold, id, 10000000000u) != 0 ||
        gr_copy_held(&hold, &copy) != 0)
        bench_fail("a parked goroutine could not be copied");
    gr_hold_end(&hold);
    for (int i = 0; i < n; i++) {
        ssize_t count = 0;
        int64_t began = now_ns();

        for (int k = 0; k < 1000; k++)
            count += gr_unwind(&copy, frames, 64, &truncated);
        ns[i] = (double)(now_ns() - began) / (double)count;
        if (count < 1000 * DEPTH || truncated)
            bench_fail("a stack of %d calls has %zd frames", DEPTH, count / 1000);
    }
    bench_emit("unwind_warm_frame", "ns", ns, n);
    free(copy.stack);
}

/* ---- Dumps --------------------------------------------------------------------------------------- */

struct answer {
    int64_t ns, bytes;
};

/* GET over the Unix socket, to the end of the connection. */
static struct answer get(const char *path, const char *target)
{
    static char block[1 << 16];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct answer answer = {.ns = now_ns()};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ssize_t n = snprintf(block, sizeof block,
                         "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        write(fd, block, (size_t)n) != n)
        return (struct answer){-1, -1};
    while ((n = read(fd, block, sizeof block)) > 0)
        answer.bytes += n;
    close(fd);
    answer.ns = now_ns() - answer.ns;
    return answer;
}

/* The child: reads targets, a line each, and answers with what it measured. */
static void client(int in, int out, const char *path)
{
    char target[256];

    while (read(in, target, sizeof target) == (ssize_t)sizeof target) {
        struct answer answer = get(path, target);

        if (write(out, &answer, sizeof answer) != (ssize_t)sizeof answer)
            break;
    }
    _exit(0);
}

static int to_client[2], from_client[2];
static char socket_path[64];

static struct answer ask(const char *target)
{
    char line[256] = "";
    struct answer answer;

    snprintf(line, sizeof line, "%s", target);
    if (write(to_client[1], line, sizeof line) != (ssize_t)sizeof line ||
        read(from_client[0], &answer, sizeof answer) != (ssize_t)sizeof answer || answer.ns < 0)
        bench_fail("no answer to %s", target);
    return answer;
}

static void dump(unsigned count, int debug)
{
    double us[32], bytes[32], gaps[32], before = rss_bytes(), grown[1];
    char target[64], name[64];
    int n = count >= 100000 ? scaled(5, 1) : scaled(30, 2);

    snprintf(target, sizeof target, "/debug/pprof/goroutine?debug=%d", debug);
    for (int i = 0; i < n; i++) {
        usleep(20000);
        take_gap();
        struct answer answer = ask(target);

        gaps[i] = (double)take_gap() / 1000;
        us[i] = (double)answer.ns / 1000;
        bytes[i] = (double)answer.bytes;
    }
    grown[0] = rss_bytes() - before;
    snprintf(name, sizeof name, "pprof_debug%d_%uk_time", debug, count / 1000);
    bench_emit(name, "us", us, n);
    snprintf(name, sizeof name, "pprof_debug%d_%uk_bytes", debug, count / 1000);
    bench_emit(name, "B", bytes, n);
    snprintf(name, sizeof name, "pprof_debug%d_%uk_victim_gap", debug, count / 1000);
    bench_emit(name, "us", gaps, n);
    snprintf(name, sizeof name, "pprof_debug%d_%uk_rss_growth", debug, count / 1000);
    bench_emit(name, "B", grown, 1);
}

/* ---- Traces -------------------------------------------------------------------------------------- */

static void yield_often(void *arg)
{
    unsigned long rounds = *(unsigned long *)arg;

    while (rounds-- > 0)
        gr_yield();
}

static double yield_ns(unsigned long rounds)
{
    int64_t began = now_ns();

    bench_run(yield_often, &rounds);
    return (double)(now_ns() - began) / (double)rounds;
}

/* Paired: off and on in turn, so that a slow moment hits both. */
static void trace_cost(void)
{
    static double off[100], on[100];
    int n = scaled(100, 5);

    for (int i = 0; i < n; i++) {
        off[i] = yield_ns(20000);
        if (gr_trace_start(GR_TRACE_RECORDS_MIN) != 0)
            bench_fail("no trace could be started");
        on[i] = yield_ns(20000);
        gr_trace_stop();
    }
    bench_emit("yield_trace_off", "ns", off, n);
    bench_emit("yield_trace_on", "ns", on, n);
}

/* ---- All of it ----------------------------------------------------------------------------------- */

void bench_inspect_begin(void)
{
    pid_t child;

    snprintf(socket_path, sizeof socket_path, "/tmp/grasp-bench-%d.sock", (int)getpid());
    if (pipe(to_client) != 0 || pipe(from_client) != 0 || (child = fork()) < 0)
        bench_fail("no client process: errno %d", errno);
    if (child == 0) {
        close(to_client[1]);
        client(to_client[0], from_client[1], socket_path);
    }
}

void bench_inspect(void)
{
    const unsigned counts[] = {1000, 10000, 100000};
    const struct gr_serve_opts opts = {.unix_path = socket_path};
    char error[256];
    uint64_t id = 0;

    never = gr_chan_create(sizeof(int), 0);
    if (!never || gr_serve(&opts, error, sizeof error) != 0)
        bench_fail("no control plane: %s", error);
    trace_cost();
    for (int i = 0; i < 3; i++) {
        /* A check needs the names only; every other mode all of them, since the names say how many. */
        uint64_t newest = park_until(scaled(100, 1) == 1 ? counts[i] / 100 : counts[i]);

        if (i == 0) {
            id = newest;
            unwind_rate(id);
            bench_go(victim, NULL);
        }
        dump(counts[i], 2);
        dump(counts[i], 1);
    }
    atomic_store(&stop, 1);
    close(to_client[1]);
    while (wait(NULL) < 0 && errno == EINTR)
        ;
    unlink(socket_path);
}
