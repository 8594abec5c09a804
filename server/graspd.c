/*
 * graspd.c: the daemon's life: flags, runtime, loop, end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grasp/runtime.h>

#include "log.h"
#include "setup.h"
#include "systemd.h"
#include "version.h"

#define EXIT_USAGE 2

static int usage_error(const char *err)
{
    fprintf(stderr, "graspd: %s\n", err);
    return EXIT_USAGE;
}

static int make_state(const char *dir, char *err, size_t err_bytes)
{
    struct stat found;
    int result = 0;
    if (dir && mkdir(dir, 0700))
        result = errno != EEXIST                                     ? -errno
                 : stat(dir, &found) == 0 && !S_ISDIR(found.st_mode) ? -ENOTDIR
                                                                     : 0;
    if (result)
        snprintf(err, err_bytes, "--state %s: %s", dir, strerror(-result));
    return result;
}

static int start(struct srv_server *server, char *err, size_t err_bytes)
{
    struct gr_options options;
    int result = make_state(server->config.state_dir, err, err_bytes);
    if (result)
        return result;
    srv_config_runtime(&server->config, &options);
    result = srv_setup_gdb(server);
    if (result)
        snprintf(err, err_bytes, "out of memory");
    if (!result)
        result = srv_setup_tokens(server, err, err_bytes);
    if (!result)
        result = gr_start(&options, err, err_bytes);
    return result ? result : srv_start(server, err, err_bytes);
}

/* The first line on stdout, and in one write: supervisors and scripts wait for it. */
static void tell_ready(const struct srv_server *server)
{
    char places[1024], line[1100];
    srv_describe(server, places, sizeof places);
    int size = snprintf(line, sizeof line, "graspd ready %s\n", places);
    ssize_t written = write(STDOUT_FILENO, line, (size_t)size);
    (void)written; /* nobody may be listening, and the daemon runs all the same */
    srv_systemd_ready();
    srv_log(SRV_INFO, "ready", "version=%s pid=%d instance=%s %s", SRV_VERSION, (int)getpid(),
            api_instance(server->api), places);
}

/* What a service manager listens on for us; then our own default socket is not wanted. */
static int take_sockets(struct srv_server *server, char *err, size_t err_bytes)
{
    int count = srv_systemd_sockets(server->inherited, SRV_LISTENERS_MAX);
    if (count == -ENOSYS)
        snprintf(err, err_bytes, "started with sockets (LISTEN_FDS), but built without libsystemd");
    else if (count < 0)
        snprintf(err, err_bytes, "the sockets handed over (LISTEN_FDS): %s", strerror(-count));
    server->inherited_count = count > 0 ? (size_t)count : 0;
    return count < 0 ? count : 0;
}

static int show_config(const struct srv_config *config)
{
    char *text = config->print_config ? srv_config_print(config) : strdup("the configuration is right");
    if (!text)
        return usage_error("out of memory");
    puts(text);
    free(text);
    return 0;
}

int srv_main(int argc, char **argv)
{
    static struct srv_server server; /* threads use it until the process is gone */
    char err[512] = "";
    srv_config_init(&server.config);
    if (srv_config_parse(&server.config, argc, argv, err, sizeof err))
        return usage_error(err);
    if (server.config.help || server.config.version) {
        fputs(server.config.help ? srv_usage : "graspd " SRV_VERSION SRV_SYSTEMD_MARK "\n", stdout);
        return 0;
    }
    if (server.config.check_config && srv_setup_check(&server, err, sizeof err))
        return usage_error(err);
    if (server.config.check_config || server.config.print_config)
        return show_config(&server.config);
    umask(077);
    if (take_sockets(&server, err, sizeof err))
        return usage_error(err);
    if (!server.inherited_count && !server.config.unix_path)
        server.config.unix_path = srv_default_unix("graspd");
    if (!server.inherited_count && !server.config.unix_path)
        return usage_error("out of memory");
    if (start(&server, err, sizeof err)) {
        fprintf(stderr, "graspd: %s\n", err);
        return 1;
    }
    tell_ready(&server);
    srv_wait(&server);
    struct gr_stats stats;
    gr_stats(&stats);
    srv_log(SRV_INFO, "exit", "live=%llu", (unsigned long long)stats.live);
    /* A goroutine that did not end may hold stdout's lock: then its buffer is lost, and we are not
     * stuck. */
    if (ftrylockfile(stdout) == 0)
        fflush_unlocked(stdout);
    /* Not exit(): destructors of modules would run beside goroutines that are left over. */
    _exit(0);
}
