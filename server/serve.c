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

static int configure(struct srv_config *config, const struct gr_serve_opts *opts)
{
    static const struct gr_serve_opts none;
    char name[32];
    srv_config_init(config);
    opts = opts ? opts : &none;
    snprintf(name, sizeof name, "grasp-%d", (int)getpid());
    config->unix_path = opts->unix_path ? strdup(opts->unix_path) : srv_default_unix(name);
    config->no_auth = opts->no_auth;
    config->listen_count = opts->listen ? 1 : 0;
    if (!config->unix_path || copy(&config->listen[0], opts->listen) ||
        copy(&config->modules_dir, opts->modules_dir) ||
        copy(&config->state_dir, opts->state_dir) || copy(&config->token_file, opts->token_file))
        return -ENOMEM;
    return 0;
}

int gr_serve(const struct gr_serve_opts *opts, char *err, size_t err_bytes)
{
    static _Atomic(int) served;
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
    if (!result)
        return 0; /* the server is the loop thread's from here on */
fail:
    atomic_store_explicit(&served, 0, memory_order_relaxed);
    if (server)
        srv_config_fini(&server->config);
    free(server);
    return result;
}
