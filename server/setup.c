/*
 * setup.c: see setup.h.
 */
#include "setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connection.h"
#include "log.h"
#include "module_dir.h"
#include "systemd.h"

char *srv_default_unix(const char *name)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    char *path = NULL;
    int size = dir && *dir ? asprintf(&path, "%s/%s.sock", dir, name)
                           : asprintf(&path, "/tmp/%s-%u.sock", name, (unsigned)geteuid());
    return size < 0 ? NULL : path;
}

int srv_setup_gdb(struct srv_server *server)
{
    char *path = server->config.gdb_unix, *whole;
    char *here = path && *path != '/' ? getcwd(NULL, 0) : NULL;
    if (!here)
        return 0;
    int size = asprintf(&whole, "%s/%s", here, path);
    free(here);
    if (size < 0)
        return -ENOMEM;
    free(path);
    server->config.gdb_unix = whole;
    return 0;
}

/* By plain stderr and not by the log: a log is kept, a token should not be. */
static int make_token(struct srv_server *server, char *err, size_t err_bytes)
{
    char hex[2 * API_TOKEN_BYTES + 1];
    int result = srv_tokens_make(&server->tokens, hex, err, err_bytes);
    if (!result)
        fprintf(stderr, "grasp: token for TCP: %s\n", hex);
    return result;
}

/* The token file's path in path; empty: there is none. */
static int token_path(const struct srv_server *server, char *path, size_t path_bytes)
{
    const struct srv_config *config = &server->config;
    int size = 0;
    path[0] = 0;
    if (config->token_file)
        size = snprintf(path, path_bytes, "%s", config->token_file);
    else if (srv_has_tcp(server) && !config->no_auth && config->state_dir)
        size = snprintf(path, path_bytes, "%s/token", config->state_dir);
    return size < (int)path_bytes ? 0 : -ENAMETOOLONG;
}

int srv_setup_tokens(struct srv_server *server, char *err, size_t err_bytes)
{
    char path[4096];
    if (token_path(server, path, sizeof path)) {
        snprintf(err, err_bytes, "the token file's path is too long");
        return -ENAMETOOLONG;
    }
    if (path[0]) {
        int result = srv_tokens_load(&server->tokens, path, err, err_bytes);
        return result == -ENOENT ? srv_tokens_make_file(&server->tokens, path, err, err_bytes) : result;
    }
    return srv_has_tcp(server) && !server->config.no_auth ? make_token(server, err, err_bytes) : 0;
}

static int check_tokens(const struct srv_server *server, char *err, size_t err_bytes)
{
    struct srv_tokens tokens = {0};
    char path[4096];
    int result = token_path(server, path, sizeof path);
    if (result)
        snprintf(err, err_bytes, "the token file's path is too long");
    else if (path[0])
        result = srv_tokens_load(&tokens, path, err, err_bytes);
    srv_tokens_free(&tokens);
    if (result != -ENOENT)
        return result;
    /* A start makes it, and the state directory, but no other. */
    char *name = strrchr(path, '/');
    if (!server->config.token_file || !name || name == path)
        return 0;
    *name = 0;
    if (access(path, W_OK | X_OK) == 0)
        return 0;
    result = -errno;
    snprintf(err, err_bytes, "--token-file: it cannot be made in %s: %s", path, strerror(-result));
    return result;
}

/* A start makes the last directory of the path, but no other. */
static int check_state(const char *state, char *err, size_t err_bytes)
{
    char path[4096];
    struct stat found;
    bool is_file = state && stat(state, &found) == 0 && !S_ISDIR(found.st_mode);
    if (!state || (!is_file && access(state, W_OK | X_OK) == 0))
        return 0;
    int result = is_file ? -ENOTDIR : -errno;
    if (result == -ENOENT && snprintf(path, sizeof path, "%s", state) < (int)sizeof path) {
        size_t size = strlen(path);
        while (size > 1 && path[size - 1] == '/')
            path[--size] = 0;
        char *name = strrchr(path, '/');
        if (name)
            name[name == path] = 0;
        if (access(name ? path : ".", W_OK | X_OK) == 0)
            return 0;
        result = -errno;
    }
    snprintf(err, err_bytes, "--state %s: %s", state, strerror(-result));
    return result;
}

int srv_setup_check(struct srv_server *server, char *err, size_t err_bytes)
{
    const char *dir = server->config.modules_dir;
    char why[256] = "";
    int result = check_tokens(server, err, err_bytes);
    if (!result && dir && (result = srv_module_dir_check(dir, why, sizeof why)))
        snprintf(err, err_bytes, "--modules %s: %s", dir, why);
    if (!result && (result = srv_listen_check(server)))
        snprintf(err, err_bytes, "%s", server->error);
    if (!result)
        result = check_state(server->config.state_dir, err, err_bytes);
    return result;
}

static void reload_tokens(struct srv_server *server)
{
    struct srv_tokens fresh = {0};
    char path[4096], err[512] = "";
    if (token_path(server, path, sizeof path) || !path[0])
        return;
    if (srv_tokens_load(&fresh, path, err, sizeof err)) {
        srv_tokens_free(&fresh);
        srv_log(SRV_ERROR, "tokens-not-reloaded", "reason=\"%s; the old ones stay valid\"", err);
        return;
    }
    api_tokens_set(server->api, fresh.items, fresh.count);
    srv_tokens_free(&server->tokens);
    server->tokens = fresh;
    srv_conn_end_revoked(server);
    srv_log(SRV_INFO, "tokens-reloaded", "count=%zu", fresh.count);
}

void srv_reload(struct srv_server *server)
{
    srv_systemd_reloading();
    reload_tokens(server);
    srv_audit_reopen(&server->audit);
    srv_systemd_ready();
}
