/*
 * cmd_gdb.c: `grasp gdb`: a debugger whose threads are goroutines.
 *
 * gdb's "target remote | COMMAND" talks to a command's stdin and stdout; the command is this program
 * again, with --relay: it asks the daemon to turn its HTTP connection into one of gdb's protocol (101)
 * and carries bytes. So neither gdb nor a user needs to know a socket or a token. The daemon lets go
 * of the goroutines when the connection ends, however it ends.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The relay -------------------------------------------------------------------------------- */

static bool copy(int from, int to)
{
    char bytes[65536];
    ssize_t size = read(from, bytes, sizeof bytes);
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    for (ssize_t done = 0; done < size;) {
        struct pollfd ready = {.fd = to, .events = POLLOUT};
        ssize_t written = write(to, bytes + done, (size_t)(size - done));
        if (written < 0 && errno == EAGAIN)
            poll(&ready, 1, -1);
        else if (written < 0 && errno != EINTR)
            return false;
        done += written > 0 ? written : 0;
    }
    return size > 0;
}

/* Both ways until either side ends. */
static void carry(int fd)
{
    struct pollfd sides[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    bool open = true;
    while (open) {
        if (poll(sides, 2, -1) < 0 && errno != EINTR)
            return;
        if (sides[0].revents)
            open = copy(STDIN_FILENO, fd);
        if (open && sides[1].revents)
            open = copy(fd, STDOUT_FILENO);
    }
}

/* /v1/gdb?ids=7,9 or ?selector=. False: explained. */
static bool gdb_path(struct cli *cli, struct http_buf *path)
{
    const struct cli_options *o = &cli->options;
    http_buf_str(path, "/v1/gdb");
    if (cli->arg_count && o->selector) {
        cli_fail(cli, CLI_USAGE, "ids and -l are different ways to choose: use one");
        return false;
    }
    for (size_t i = 0; i < cli->arg_count; i++) {
        uint64_t id = cli_id(cli, cli->args[i]);
        if (!id)
            return false;
        http_buf_printf(path, "%s%" PRIu64, i ? "," : "?ids=", id);
    }
    if (o->selector) {
        http_buf_str(path, "?selector=");
        http_buf_quoted(path, o->selector);
    }
    if (o->timeout_ms != CLI_UNSET)
        http_buf_printf(path, "%ctimeout_ms=%" PRIu64, strchr(path->data, '?') ? '&' : '?',
                        o->timeout_ms);
    return true;
}

static int relay(struct cli *cli, const char *path)
{
    struct http_answer answer;
    struct http_request request = {.method = "GET",
                                   .target = path,
                                   .headers = "Connection: Upgrade\r\nUpgrade: gdb-remote\r\n"};
    int result = CLI_OK;
    http_answer_init(&answer);
    if (http_exchange(&cli->connection, &request, &answer))
        result = cli_fail(cli, CLI_UNREACHABLE, "%s", cli->connection.err);
    else if (answer.status != 101 || cli->connection.fd < 0)
        result = cli_explain(cli, &answer);
    else
        carry(cli->connection.fd);
    http_answer_fini(&answer);
    return result;
}

/* ---- gdb -------------------------------------------------------------------------------------- */

/* For the relay, which finds the daemon by the environment; and where it is itself. */
static void set_environment(const struct cli *cli, const char *self)
{
    char name[400];
    http_place_name(&cli->place, name, sizeof name);
    unsetenv("GRASP_URL");
    unsetenv("GRASP_SOCKET");
    if (cli->place.unix_path[0])
        setenv("GRASP_SOCKET", cli->place.unix_path, 1);
    else
        setenv("GRASP_URL", name, 1);
    if (cli->place.token[0])
        setenv("GRASP_TOKEN", cli->place.token, 1);
    setenv("GRASP_SELF", self, 1);
}

/* "target remote | …" for these goroutines. */
static void target(const struct cli *cli, struct http_buf *out)
{
    http_buf_str(out, "target remote | exec \"$GRASP_SELF\" gdb --relay");
    for (size_t i = 0; i < cli->arg_count; i++)
        http_buf_printf(out, " %s", cli->args[i]);
    if (cli->options.selector) { /* it comes to the shell by its name alone */
        setenv("GRASP_SELECTOR", cli->options.selector, 1);
        http_buf_str(out, " -l \"$GRASP_SELECTOR\"");
    }
    if (cli->options.timeout_ms != CLI_UNSET)
        http_buf_printf(out, " --timeout %" PRIu64 "ms", cli->options.timeout_ms);
}

/* The daemon's program file. False: explained. */
static bool find_program(struct cli *cli, char *out, size_t out_bytes)
{
    char link[64];
    json_t *runtime = cli_ask(cli, "GET", "/v1/runtime", NULL);
    if (!runtime)
        return false;
    snprintf(link, sizeof link, "/proc/%" PRIu64 "/exe", cli_number(runtime, "pid"));
    json_decref(runtime);
    ssize_t size = readlink(link, out, out_bytes - 1);
    if (size > 0) {
        out[size] = 0;
        return true;
    }
    cli_fail(
        cli, CLI_LOCAL,
        "the daemon's program file can't be found by %s: %s; gdb needs the daemon on this machine",
        link, strerror(errno));
    return false;
}

/* A goroutine that is not there is said here, with our exit code: gdb would only find its connection closed. */
static bool are_there(struct cli *cli)
{
    struct http_buf path = {0};
    bool good = true;
    for (size_t i = 0; i < cli->arg_count && good; i++) {
        path.size = 0;
        http_buf_printf(&path, "/v1/goroutines/%s", cli->args[i]);
        json_t *g = cli_ask(cli, "GET", path.data, NULL);
        good = g != NULL;
        if (good && strcmp(cli_string(g, "state"), "dead") == 0) {
            cli_fail(cli, CLI_NOT_FOUND, "goroutine %s has ended", cli->args[i]);
            good = false;
        }
        json_decref(g);
    }
    if (cli->options.selector) {
        http_buf_str(&path, "/v1/goroutines?state=live&limit=1&selector=");
        http_buf_quoted(&path, cli->options.selector);
        json_t *list = cli_ask(cli, "GET", path.data, NULL);
        good = list && json_array_size(json_object_get(list, "items"));
        if (list && !good)
            cli_fail(cli, CLI_NOT_FOUND, "no live goroutine matches \"%s\"", cli->options.selector);
        json_decref(list);
    }
    http_buf_free(&path);
    return good;
}

static int run_gdb(struct cli *cli)
{
    char program[PATH_MAX], self[PATH_MAX];
    struct http_buf remote = {0};
    size_t count = 0;
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (!are_there(cli) || !find_program(cli, program, sizeof program))
        return cli->failure;
    self[size > 0 ? size : 0] = 0;
    set_environment(cli, size > 0 ? self : "grasp");
    target(cli, &remote);
    char **words = calloc(cli->rest_count + 10, sizeof *words);
    if (!words)
        abort();
    words[count++] = cli->options.gdb ? cli->options.gdb : "gdb";
    words[count++] = "-q";
    words[count++] = "-ex";
    words[count++] = "set sysroot /";
    words[count++] = "-ex";
    words[count++] = remote.data;
    for (size_t i = 0; i < cli->rest_count; i++)
        words[count++] = cli->rest[i];
    words[count++] = program;
    fflush(stdout);
    execvp(words[0], words);
    int result = cli_fail(cli, CLI_LOCAL, "cannot run %s: %s", words[0], strerror(errno));
    free(words);
    http_buf_free(&remote);
    return result;
}

int cli_gdb(struct cli *cli)
{
    struct http_buf path = {0};
    int result;
    if (!cli->arg_count && !cli->options.selector && !cli->options.relay)
        result = cli_fail(cli, CLI_USAGE, "which goroutines? Give ids, or -l SELECTOR");
    else if (!gdb_path(cli, &path))
        result = cli->failure;
    else
        result = cli->options.relay ? relay(cli, path.data) : run_gdb(cli);
    http_buf_free(&path);
    return result;
}
