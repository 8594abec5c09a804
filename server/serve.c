/*
 * serve.c: gr_serve: the control plane inside somebody else's program.
 *
 * It takes nothing that belongs to the program: no signal handlers, no working directory, no umask,
 * no standard output. Once per process; there is no way to stop it, as there is none to stop the
 * runtime.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grasp/runtime.h>
#include <grasp/server.h>

#include "setup.h"

static int copy(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

/* As server.h has it; the grasp program looks for grasp-*.sock in both places. */
static char *default_unix(void)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    char *path = NULL;
    int size = dir && *dir
                   ? asprintf(&path, "%s/grasp-%d.sock", dir, (int)getpid())
                   : asprintf(&path, "/tmp/grasp-%u-%d.sock", (unsigned)geteuid(), (int)getpid());
    return size < 0 ? NULL : path;
}

static int configure(struct srv_config *config, const struct gr_serve_opts *opts)
{
    static const struct gr_serve_opts none;
    srv_config_init(config);
    opts = opts ? opts : &none;
    config->unix_path = opts->unix_path ? strdup(opts->unix_path) : default_unix();
    config->no_auth = opts->no_auth;
    config->listen_count = opts->listen ? 1 : 0;
    if (!config->unix_path || copy(&config->listen[0], opts->listen) ||
        copy(&config->modules_dir, opts->modules_dir) ||
        copy(&config->state_dir, opts->state_dir) || copy(&config->token_file, opts->token_file))
        return -ENOMEM;
    return 0;
}

/* The socket that a program leaves behind when it ends would be tried by whoever looks for a daemon. */
static char *left_behind;
static pid_t left_by;

static void remove_socket(void)
{
    /* A child made by fork has its own exit. */
    if (left_by == getpid())
        unlink(left_behind);
}

static void remove_at_exit(const struct srv_config *config)
{
    /* The working directory may be another one by then. */
    left_behind =
        config->unix_path[0] == '/' ? strdup(config->unix_path) : realpath(config->unix_path, NULL);
    left_by = getpid();
    if (left_behind && atexit(remove_socket))
        left_by = 0;
}

int gr_serve(const struct gr_serve_opts *opts, char *err, size_t err_bytes)
{
    static _Atomic(int) served;
    char ignored[1];
    if (!err) {
        err = ignored;
        err_bytes = 0;
    }
    /* Relaxed: it only decides who goes on. */
    if (atomic_exchange_explicit(&served, 1, memory_order_relaxed)) {
        snprintf(err, err_bytes, "the control plane of this process runs already");
        return -EALREADY;
    }
    struct srv_server *server = calloc(1, sizeof *server);
    int result = server ? configure(&server->config, opts) : -ENOMEM;
    if (result) {
        snprintf(err, err_bytes, "out of memory");
        goto fail;
    }
    server->signal_fd = -1;
    result = gr_start(NULL, err, err_bytes);
    if (result && result != -EALREADY)
        goto fail;
    result = srv_setup_tokens(server, err, err_bytes);
    if (!result)
        result = srv_start(server, err, err_bytes);
    if (!result) {
        remove_at_exit(&server->config);
        if (err_bytes)
            err[0] = 0;
        return 0; /* the server is the loop thread's from here on */
    }
fail:
    atomic_store_explicit(&served, 0, memory_order_relaxed);
    if (server)
        srv_config_fini(&server->config);
    free(server);
    return result;
}
