/*
 * engine.c: the threads of a run; see load.h and engine.h.
 */
#include "engine.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS 20

uint64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- The schedule ----------------------------------------------------------------------------- */

static bool open_loop(const struct worker *worker)
{
    return worker->plan->ramp_count > 0;
}

/* Wakes when the next operation is due. */
static void arm(struct worker *worker)
{
    uint64_t at = worker->next_due_ns;
    struct itimerspec when = {.it_value = {(time_t)(at / 1000000000), (long)(at % 1000000000)}};
    if (at != UINT64_MAX)
        timerfd_settime(worker->due_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void advance(struct worker *worker)
{
    worker->next_due_ns =
        load_plan_next(worker->plan, worker->share, worker->start_ns, worker->next_due_ns);
}

/* Whether an operation may begin now; its due time. */
static bool next_due(struct worker *worker, uint64_t now, uint64_t *due_ns)
{
    if (worker->stopping || !worker->quota)
        return false;
    if (!open_loop(worker)) {
        *due_ns = now;
        return now < worker->end_ns;
    }
    if (worker->next_due_ns > now || worker->next_due_ns >= worker->end_ns)
        return false;
    *due_ns = worker->next_due_ns;
    advance(worker);
    return true;
}

/*
 * Begins what can begin. A connection that fails at once comes back by its close call-back, never
 * from within this loop, so that it ends with the list of free ones.
 */
static void pump(struct worker *worker)
{
    uint64_t now = load_now_ns(), due_ns;
    while (worker->free_list && next_due(worker, now, &due_ns)) {
        struct conn *conn = worker->free_list;
        worker->free_list = conn->next_free;
        worker->quota -= worker->quota != UINT64_MAX;
        conn->due_ns = due_ns;
        conn->op = load_pick_op(worker);
        load_conn_start(conn);
    }
    if (open_loop(worker) && worker->free_list && !worker->stopping)
        arm(worker);
}

static void put_free(struct conn *conn)
{
    conn->next_free = conn->worker->free_list;
    conn->worker->free_list = conn;
}

void load_worker_free(struct conn *conn)
{
    struct worker *worker = conn->worker;
    if (conn->state == CONN_CLOSED && conn->retry_ns > load_now_ns()) {
        conn->retire = true; /* the sweep brings it back */
        return;
    }
    put_free(conn);
    pump(worker);
}

static void on_due(uv_poll_t *poll, int status, int events)
{
    struct worker *worker = poll->data;
    uint64_t count;
    (void)status;
    (void)events;
    if (read(worker->due_fd, &count, sizeof count) > 0 || errno == EAGAIN)
        pump(worker);
}

/* What was due and never sent is counted, or a stall at the end would be nobody's (load.h I1). */
static void count_unsent(struct worker *worker)
{
    while (open_loop(worker) && worker->quota && worker->next_due_ns < worker->end_ns) {
        worker->stats->op[load_pick_op(worker)].not_sent++;
        worker->quota -= worker->quota != UINT64_MAX;
        advance(worker);
    }
}

/* ---- The sweep: time-outs, retries, the end --------------------------------------------------- */

static void close_walk(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void finish(struct worker *worker)
{
    for (unsigned i = 0; i < worker->conn_count; i++)
        load_conn_close(&worker->conns[i]);
    uv_walk(&worker->loop, close_walk, NULL);
}

static bool is_over(struct worker *worker, uint64_t now)
{
    /* Relaxed: only the flag itself is told. */
    bool stopped = atomic_load_explicit(worker->stop, memory_order_relaxed);
    if (stopped && now < worker->end_ns)
        worker->end_ns = now; /* what would have been due later is not missing */
    return now >= worker->end_ns || !worker->quota;
}

static void sweep_one(struct worker *worker, struct conn *conn, uint64_t now)
{
    bool asking = conn->state == CONN_BUSY || conn->state == CONN_CONNECTING;
    if (asking && !conn->subscriber && now >= conn->deadline_ns)
        load_conn_time_out(conn);
    if (conn->subscriber && conn->state == CONN_CLOSED && now >= conn->retry_ns &&
        !worker->stopping) {
        conn->retry_ns = now + 100000000;
        load_conn_start(conn);
    }
    if (conn->retire && now >= conn->retry_ns) {
        conn->retire = false;
        put_free(conn);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uint64_t now = load_now_ns();
    for (unsigned i = 0; i < worker->conn_count; i++)
        sweep_one(worker, &worker->conns[i], now);
    if (!worker->stopping && is_over(worker, now)) {
        count_unsent(worker);
        worker->stopping = true;
    }
    uint64_t behind = now > worker->next_due_ns ? now - worker->next_due_ns : 0;
    /* Relaxed: a figure for the progress line. */
    atomic_store_explicit(&worker->live->backlog,
                          open_loop(worker) && !worker->stopping ? behind : 0,
                          memory_order_relaxed);
    if (worker->stopping && worker->busy == 0)
        finish(worker);
    else
        pump(worker);
}

/* ---- Threads ---------------------------------------------------------------------------------- */

/* 0 or a negative errno; either way worker_close is to follow. */
static int worker_open(struct worker *worker)
{
    int result = uv_loop_init(&worker->loop);
    if (result)
        return result;
    worker->has_loop = true;
    uv_timer_init(&worker->loop, &worker->sweep);
    worker->sweep.data = worker;
    worker->due_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (worker->due_fd < 0)
        return -errno;
    worker->due_poll.data = worker;
    return uv_poll_init(&worker->loop, &worker->due_poll, worker->due_fd);
}

static void worker_close(struct worker *worker)
{
    if (worker->has_loop) {
        uv_walk(&worker->loop, close_walk, NULL);
        uv_run(&worker->loop, UV_RUN_DEFAULT);
        uv_loop_close(&worker->loop);
    }
    if (worker->due_fd >= 0)
        close(worker->due_fd);
    free(worker->stats);
    free(worker->conns);
}

static void *worker_main(void *ctx)
{
    struct worker *worker = ctx;
    uv_timer_start(&worker->sweep, on_sweep, 0, SWEEP_MS);
    uv_poll_start(&worker->due_poll, UV_READABLE, on_due);
    for (unsigned i = 0; i < worker->conn_count; i++) {
        struct conn *conn = &worker->conns[i];
        conn->worker = worker;
        conn->subscriber = i >= worker->connections;
        http_answer_init(&conn->answer);
        http_answer_count_only(&conn->answer);
        if (!conn->subscriber)
            put_free(conn);
    }
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < worker->conn_count; i++) {
        http_answer_fini(&worker->conns[i].answer);
        http_buf_free(&worker->conns[i].out);
    }
    return NULL;
}

static void merge_figures(struct load_figures *into, const struct load_figures *from)
{
    hist_merge(&into->latency, &from->latency);
    into->answered += from->answered;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    for (size_t i = 0; i < LOAD_STATUS_MAX; i++)
        into->status[i] += from->status[i];
    into->connect_failed += from->connect_failed;
    into->closed += from->closed;
    into->timed_out += from->timed_out;
    into->garbled += from->garbled;
    into->not_sent += from->not_sent;
}

uint64_t load_errors(const struct load_figures *figures)
{
    uint64_t sum = figures->connect_failed + figures->closed + figures->timed_out +
                   figures->garbled + figures->not_sent;
    for (size_t i = 0; i < LOAD_STATUS_MAX; i++)
        sum += figures->status[i];
    return sum;
}

void load_total(const struct load_plan *plan, const struct load_stats *stats,
                struct load_figures *total)
{
    for (size_t i = 0; i < plan->op_count; i++) {
        merge_figures(total, &stats->op[i]);
        merge_figures(total, &stats->then[i]);
    }
}

static void merge(const struct load_plan *plan, struct load_stats *into,
                  const struct load_stats *from)
{
    for (size_t i = 0; i < plan->op_count; i++) {
        merge_figures(&into->op[i], &from->op[i]);
        merge_figures(&into->then[i], &from->then[i]);
    }
    into->events += from->events;
    into->event_bytes += from->event_bytes;
    into->event_drops += from->event_drops;
}

static int resolve(const struct load_plan *plan, struct sockaddr_storage *address)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    if (plan->place.unix_path[0])
        return 0;
    if (getaddrinfo(plan->place.host, plan->place.port, &hints, &list))
        return -EHOSTUNREACH;
    memcpy(address, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

/* A part of n for one of `of`, so that the parts make n. */
static uint64_t part(uint64_t n, unsigned i, unsigned of)
{
    return n / of + (i < n % of);
}

static int prepare(struct worker *worker, const struct load_plan *plan, unsigned i)
{
    worker->plan = plan;
    worker->due_fd = -1;
    worker->connections = (unsigned)part(plan->connections, i, plan->threads);
    worker->subscribers = (unsigned)part(plan->subscribers, i, plan->threads);
    worker->conn_count = worker->connections + worker->subscribers;
    worker->conns = calloc(worker->conn_count, sizeof *worker->conns);
    worker->stats = calloc(1, sizeof *worker->stats);
    worker->share = 1.0 / plan->threads;
    worker->quota = plan->requests ? part(plan->requests, i, plan->threads) : UINT64_MAX;
    worker->random = (plan->seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    if (!worker->conns || !worker->stats)
        return -ENOMEM;
    int result = resolve(plan, &worker->address);
    return result ? result : worker_open(worker);
}

/* Threads begin one after the other within one period, so that they do not send in step. */
static void schedule(struct worker *worker, unsigned i, uint64_t start_ns)
{
    const struct load_plan *plan = worker->plan;
    worker->start_ns = start_ns;
    worker->end_ns = plan->seconds > 0 ? start_ns + (uint64_t)(plan->seconds * 1e9) : UINT64_MAX;
    worker->next_due_ns =
        plan->ramp_count ? load_plan_next(plan, 1.0 / (i + 1), start_ns, start_ns) : start_ns;
}

static void progress_line(const struct load_plan *plan, struct load_live *live, uint64_t start_ns,
                          uint64_t *before, uint64_t *before_ns, bool last)
{
    char worst[24], behind[24];
    uint64_t now = load_now_ns();
    /* Relaxed, all: figures that stand for themselves. */
    uint64_t answered = atomic_load_explicit(&live->answered, memory_order_relaxed);
    uint64_t failed = atomic_load_explicit(&live->failed, memory_order_relaxed);
    uint64_t worst_ns = atomic_exchange_explicit(&live->worst_ns, 0, memory_order_relaxed);
    uint64_t behind_ns = atomic_load_explicit(&live->backlog, memory_order_relaxed);
    double seconds = (double)(now - *before_ns) / 1e9;
    fprintf(stderr, "\r%6.1fs  %9.0f/s  %" PRIu64 " answered  %" PRIu64 " failed  worst %s",
            (double)(now - start_ns) / 1e9,
            seconds > 0 ? (double)(answered - *before) / seconds : 0, answered, failed,
            load_duration(worst, (double)worst_ns));
    if (plan->ramp_count)
        fprintf(stderr, "  behind %s", load_duration(behind, (double)behind_ns));
    fprintf(stderr, "\033[K%s", last ? "\n" : "");
    *before = answered;
    *before_ns = now;
}

static void watch(const struct load_plan *plan, struct load_live *live, pthread_t *threads,
                  unsigned count, bool progress, uint64_t start_ns)
{
    uint64_t before = 0, before_ns = start_ns;
    for (unsigned i = 0; i < count; i++) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        /* A second at a time, for the line; ends with the thread. */
        while (progress && pthread_timedjoin_np(threads[i], NULL, &until) == ETIMEDOUT) {
            progress_line(plan, live, start_ns, &before, &before_ns, false);
            until.tv_sec += 1;
        }
        if (!progress)
            pthread_join(threads[i], NULL);
    }
    if (progress)
        progress_line(plan, live, start_ns, &before, &before_ns, true);
}

int load_run(const struct load_plan *plan, struct load_stats *stats, struct load_live *live,
             _Atomic(bool) *stop, bool progress)
{
    struct worker *workers = calloc(plan->threads, sizeof *workers);
    pthread_t *threads = calloc(plan->threads, sizeof *threads);
    unsigned prepared = 0, started = 0;
    int result = workers && threads ? 0 : -ENOMEM;
    /* All before the first begins, whose connections could take the others' descriptors. */
    while (prepared < plan->threads && !result) {
        workers[prepared].live = live;
        workers[prepared].stop = stop;
        result = prepare(&workers[prepared], plan, prepared);
        prepared++;
    }
    /* What the preparation took is nobody's lateness. */
    uint64_t start_ns = load_now_ns();
    while (started < plan->threads && !result) {
        schedule(&workers[started], started, start_ns);
        result = -pthread_create(&threads[started], NULL, worker_main, &workers[started]);
        started += !result;
    }
    if (result)
        atomic_store_explicit(stop, true, memory_order_relaxed); /* only the flag itself is told */
    watch(plan, live, threads, started, progress && !result, start_ns);
    stats->seconds = (double)(load_now_ns() - start_ns) / 1e9;
    for (unsigned i = 0; i < prepared; i++) {
        if (workers[i].stats)
            merge(plan, stats, workers[i].stats);
        worker_close(&workers[i]);
    }
    free(workers);
    free(threads);
    return result;
}
