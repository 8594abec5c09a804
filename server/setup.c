/*
 * setup.c: see setup.h.
 */
#include "setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *srv_default_unix(const char *name)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    char *path = NULL;
    int size = dir && *dir ? asprintf(&path, "%s/%s.sock", dir, name)
                           : asprintf(&path, "/tmp/%s-%u.sock", name, (unsigned)geteuid());
    return size < 0 ? NULL : path;
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

int srv_setup_tokens(struct srv_server *server, char *err, size_t err_bytes)
{
    const struct srv_config *config = &server->config;
    char path[4096];
    if (config->token_file)
        return srv_tokens_load(&server->tokens, config->token_file, err, err_bytes);
    if (!config->listen_count || config->no_auth)
        return 0;
    if (!config->state_dir)
        return make_token(server, err, err_bytes);
    if (snprintf(path, sizeof path, "%s/token", config->state_dir) >= (int)sizeof path)
        return -ENAMETOOLONG;
    return srv_tokens_load(&server->tokens, path, err, err_bytes);
}
