/*
 * server.c: see server.h: the loop thread, and the host's side of the API.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <grasp/runtime.h>

#include "connection.h"
#include "log.h"
#include "module_dir.h"
#include "store.h"
#include "version.h"

#define SWEEP_MS 1000

/* ---- The host's side of the API -------------------------------------------------------------- */

static void host_post(void *ctx, struct api_task *task)
{
    struct srv_server *server = ctx;
    srv_bridge_post(&server->bridge, task);
}

static void pool_work(uv_work_t *work)
{
    struct api_job *job = work->data;
    job->work(job);
}

static void pool_done(uv_work_t *work, int status)
{
    struct api_job *job = work->data;
    job->done(job); /* which may be its end */
}

static void host_pool(void *ctx, struct api_job *job)
{
    struct srv_server *server = ctx;
    uv_work_t *work = (uv_work_t *)job->host;
    _Static_assert(sizeof *work <= API_JOB_HOST_BYTES, "the job has room for our record");
    work->data = job;
    /* It only fails for a NULL function. */
    (void)uv_queue_work(&server->loop, work, pool_work, pool_done);
}

static void on_alarm(uv_timer_t *timer)
{
    struct srv_server *server = timer->data;
    api_tick(server->api);
}

static void host_alarm(void *ctx, uint64_t at_ns)
{
    struct srv_server *server = ctx;
    if (at_ns == UINT64_MAX) {
        uv_timer_stop(&server->alarm);
        return;
    }
    uint64_t now = gr_now_ns();
    uint64_t in_ms = at_ns > now ? (at_ns - now + 999999) / 1000000 : 0;
    uv_update_time(&server->loop); /* the delay counts from the loop's idea of now */
    uv_timer_start(&server->alarm, on_alarm, in_ms, 0);
}

static int host_load_module(void *ctx, const char *name, bool replace, char *err, size_t err_bytes)
{
    struct srv_server *server = ctx;
    if (!server->config.modules_dir)
        return -EPERM;
    return srv_module_load(server->config.modules_dir, name, replace, err, err_bytes);
}

static void host_audit(void *ctx, const char *line, size_t size)
{
    struct srv_server *server = ctx;
    srv_audit_line(&server->audit, line, size);
}

static const char *state_dir(void *ctx)
{
    return ((struct srv_server *)ctx)->config.state_dir;
}

static bool host_store_there(void *ctx)
{
    return state_dir(ctx) != NULL;
}

static int host_store_create(void *ctx, struct api_store_file **file)
{
    return srv_store_create(state_dir(ctx), file);
}

static ssize_t host_store_read(void *ctx, const char *name, uint64_t offset, void *to, size_t bytes)
{
    return srv_store_read(state_dir(ctx), name, offset, to, bytes);
}

static int host_store_remove(void *ctx, const char *name)
{
    return srv_store_remove(state_dir(ctx), name);
}

static int create_api(struct srv_server *server)
{
    struct api_host host = {.ctx = server,
                            .post = host_post,
                            .pool = host_pool,
                            .alarm = host_alarm,
                            .reply = srv_conn_reply,
                            .load_module = host_load_module,
                            .audit = host_audit,
                            .store_there = host_store_there,
                            .store_create = host_store_create,
                            .store_write = srv_store_write,
                            .store_close = srv_store_close,
                            .store_read = host_store_read,
                            .store_remove = host_store_remove};
    if (server->config.modules_dir)
        server->modules_path = realpath(server->config.modules_dir, NULL);
    struct api_config config = {.tokens = server->tokens.items,
                                .token_count = server->tokens.count,
                                .no_auth = server->config.no_auth,
                                .allow_hosts = (const char *const *)server->config.allow_host,
                                .allow_host_count = server->config.allow_host_count,
                                .version = SRV_VERSION,
                                .gdb_unix = server->config.gdb_unix,
                                .gdb_sessions = &server->gdb_sessions,
                                .modules_dir = server->modules_path};
    server->api = api_create(&host, &config);
    if (server->api)
        return 0;
    snprintf(server->error, sizeof server->error, "out of memory");
    return -ENOMEM;
}

/* ---- The thread ------------------------------------------------------------------------------ */

/*
 * Out of descriptors, libuv accepts newcomers on one that it keeps in reserve and closes them, so
 * that they do not wait and nothing spins; but it tells nobody. So it is tried once a second
 * whether one could be had, and said when that changes.
 */
static void watch_descriptors(struct srv_server *server)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    bool out = fd < 0 && (errno == EMFILE || errno == ENFILE);
    if (fd >= 0)
        close(fd);
    if (out && !server->descriptors_out)
        srv_log(SRV_ERROR, "descriptors-exhausted",
                "connections=%zu reason=\"new connections are closed until some are free; raise "
                "LimitNOFILE or ulimit -n\"",
                server->conn_count);
    else if (!out && server->descriptors_out)
        srv_log(SRV_INFO, "descriptors-free", "connections=%zu", server->conn_count);
    server->descriptors_out = out;
}

static void on_sweep(uv_timer_t *timer)
{
    struct srv_server *server = timer->data;
    srv_conn_sweep(server);
    srv_accept_again(server);
    watch_descriptors(server);
}

static int start_timers(struct srv_server *server)
{
    uv_timer_init(&server->loop, &server->alarm);
    uv_timer_init(&server->loop, &server->sweep);
    server->alarm.data = server->sweep.data = server;
    return uv_timer_start(&server->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

static int load_modules(struct srv_server *server)
{
    const char *dir = server->config.modules_dir;
    char why[256] = "";
    int err = dir ? srv_module_load_all(server->api, dir, why, sizeof why) : 0;
    if (err)
        snprintf(server->error, sizeof server->error, "--modules %s: %s", dir, why);
    return err;
}

/* Everything up to the first request; nobody is served yet, so that it may take its time. */
static int prepare(struct srv_server *server)
{
    int err = uv_loop_init(&server->loop);
    if (!err)
        err = srv_bridge_init(&server->bridge, &server->loop);
    if (!err)
        err = start_timers(server);
    if (err)
        snprintf(server->error, sizeof server->error, "the event loop: %s", uv_strerror(err));
    if (!err && (err = srv_audit_init(&server->audit, &server->loop, server->config.state_dir)))
        snprintf(server->error, sizeof server->error,
                 "the audit log in --state %s cannot be opened, or others can read it: %s",
                 server->config.state_dir, strerror(-err));
    if (!err && server->config.state_dir)
        srv_store_clean(server->config.state_dir);
    if (!err)
        err = create_api(server);
    if (!err)
        err = load_modules(server);
    if (!err)
        err = srv_listen_all(server);
    if (!err && server->signal_fd == 0 && (err = srv_drain_init(server)))
        snprintf(server->error, sizeof server->error, "signals: %s", strerror(-err));
    return err;
}

static void *loop_thread(void *arg)
{
    struct srv_server *server = arg;
    prctl(PR_SET_NAME, "grasp-control");
    /* The default slack would make every timer up to 50 µs late. */
    prctl(PR_SET_TIMERSLACK, 1UL);
    server->start_error = prepare(server);
    bool run = server->start_error == 0;
    sem_post(&server->ready);
    if (!run) {
        srv_listeners_close(server); /* and their files with them, at the loop's next turn */
        uv_run(&server->loop, UV_RUN_NOWAIT);
        return NULL;
    }
    uv_run(&server->loop, UV_RUN_DEFAULT);
    /* The pool may still write. */
    if (server->config.state_dir)
        srv_store_end(server->config.state_dir);
    srv_audit_flush(&server->audit);
    return NULL;
}

/* All signals but those that a fault of the thread's own raises. */
static void block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

int srv_start(struct srv_server *server, char *err, size_t err_bytes)
{
    sigset_t before;
    sem_init(&server->ready, 0, 0);
    /* The loop thread inherits the mask, and the pool's threads from it. */
    block_signals(&before);
    int result = -pthread_create(&server->thread, NULL, loop_thread, server);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result) {
        snprintf(err, err_bytes, "the control thread: %s", strerror(-result));
        return result;
    }
    while (sem_wait(&server->ready) && errno == EINTR)
        ;
    if (server->start_error) {
        snprintf(err, err_bytes, "%s", server->error);
        pthread_join(server->thread, NULL);
    }
    return server->start_error;
}

void srv_wait(struct srv_server *server)
{
    pthread_join(server->thread, NULL);
}
