/*
 * drain.c: SIGTERM and SIGINT: the daemon goes down in order, or at once if asked twice. SIGHUP:
 * it reads its tokens again and opens the audit log anew.
 *
 * The handlers write to an eventfd and nothing else; they run on the signal stack, because the
 * kernel may deliver it on a worker that executes a goroutine. The second signal ends the process
 * in the handler itself: it must work even when the loop does not.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <grasp/runtime.h>

#include "connection.h"
#include "log.h"
#include "server.h"
#include "setup.h"
#include "systemd.h"

#define LOOK_MS         20 /* how often the drain looks whether all have ended */
#define CANCEL_EVERY    50 /* looks between two requests to end: children may be born meanwhile */
#define GOODBYE_MS      300 /* for the last answers */
#define LEFTOVERS_NAMED 20

static int handler_fd = -1;
/* Set by handlers, which write to the eventfd behind it; read by the loop when it has read that. */
static _Atomic(int) signals_seen, hangup;

static void on_signal(int number)
{
    int saved = errno;
    uint64_t one = 1;
    /* Relaxed: a count by itself. */
    if (atomic_fetch_add_explicit(&signals_seen, 1, memory_order_relaxed) > 0)
        _exit(128 + number);
    ssize_t written = write(handler_fd, &one, sizeof one);
    (void)written; /* the counter cannot be full */
    errno = saved;
}

static void on_hangup(int number)
{
    int saved = errno;
    uint64_t one = 1;
    /* release; pairs with the exchange in on_signals. */
    atomic_store_explicit(&hangup, 1, memory_order_release);
    ssize_t written = write(handler_fd, &one, sizeof one);
    (void)written;
    errno = saved;
}

static void on_broken_pipe(int number)
{
    (void)number;
}

/*
 * What a goroutine writes to a socket or pipe that nobody reads any more is its own affair: it sees EPIPE, as under
 * Go. Taken rather than ignored, because programs that modules start would inherit that. An embedding program decides for itself.
 */
static int survive_broken_pipes(void)
{
    struct sigaction action = {.sa_handler = on_broken_pipe, .sa_flags = SA_ONSTACK | SA_RESTART};
    struct sigaction before;
    sigfillset(&action.sa_mask);
    if (sigaction(SIGPIPE, NULL, &before) || before.sa_handler != SIG_DFL)
        return 0;
    return sigaction(SIGPIPE, &action, NULL);
}

static void name_leftovers(void)
{
    uint64_t ids[LEFTOVERS_NAMED];
    char text[LEFTOVERS_NAMED * 21 + 1] = "";
    size_t count = gr_list(GR_LIST_LIVE, 0, ids, LEFTOVERS_NAMED), at = 0;
    struct gr_stats stats;
    gr_stats(&stats);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%" PRIu64, i ? "," : "", ids[i]);
    srv_log(SRV_WARNING, "drain-leftovers", "live=%" PRIu64 " ids=%s", stats.live, text);
}

static void stop_loop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void finish(struct srv_server *server)
{
    server->stopping = true;
    uv_timer_stop(&server->drain);
    srv_listeners_close(server);
    srv_conn_end_all(server);
    uv_timer_start(&server->drain, stop_loop, GOODBYE_MS, 0);
}

static void look(uv_timer_t *timer)
{
    static unsigned looks;
    struct srv_server *server = timer->data;
    struct gr_stats stats;
    gr_stats(&stats);
    if (stats.live == 0) {
        srv_log(SRV_INFO, "drained", "ended=%" PRIu64, stats.ended);
        finish(server);
    } else if (gr_now_ns() >= server->drain_until_ns) {
        name_leftovers();
        finish(server);
    } else if (++looks % CANCEL_EVERY == 0) {
        gr_cancel_all();
    }
}

static void begin(struct srv_server *server)
{
    uv_poll_stop(&server->signals);
    server->draining = true;
    server->drain_until_ns = gr_now_ns() + server->config.drain_seconds * UINT64_C(1000000000);
    srv_log(SRV_INFO, "draining", "seconds=%" PRIu64, server->config.drain_seconds);
    srv_systemd_stopping();
    api_drain(server->api);
    srv_conn_gdb_end_all(server);
    uv_timer_start(&server->drain, look, 0, LOOK_MS);
}

static void on_signals(uv_poll_t *poll, int status, int events)
{
    struct srv_server *server = poll->data;
    uint64_t count;
    ssize_t size = read(server->signal_fd, &count, sizeof count);
    (void)size; /* it says only that something came */
    /* acquire; pairs with the store in on_hangup. */
    if (atomic_exchange_explicit(&hangup, 0, memory_order_acquire))
        srv_reload(server);
    if (atomic_load_explicit(&signals_seen, memory_order_relaxed))
        begin(server);
}

int srv_drain_init(struct srv_server *server)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    server->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->signal_fd < 0)
        return -errno;
    handler_fd = server->signal_fd;
    sigfillset(&action.sa_mask);
    uv_timer_init(&server->loop, &server->drain);
    server->drain.data = server;
    int err = uv_poll_init(&server->loop, &server->signals, server->signal_fd);
    if (err)
        return err;
    server->signals.data = server;
    if (sigaction(SIGTERM, &action, NULL) || sigaction(SIGINT, &action, NULL))
        return -errno;
    action.sa_handler = on_hangup;
    if (sigaction(SIGHUP, &action, NULL) || survive_broken_pipes())
        return -errno;
    return uv_poll_start(&server->signals, UV_READABLE, on_signals);
}
