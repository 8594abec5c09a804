/*
 * cmd_modules.c: modules, load, unload; runtime; and api, for everything that has no command.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "table.h"

/* ---- Modules ---------------------------------------------------------------------------------- */

static const struct table_column module_columns[] = {
    {"MODULE", false, 0, 0, false},     {"LIVE", true, 0, 5, false},
    {"GOROUTINES", false, 0, 2, false}, {"ENTRY", false, 12, 0, false},
    {"WHAT", false, 16, 0, false},
};

/* A line an entry; a module without entries, or a bad one, has a line of its own. */
static bool module_row(void *ctx, json_t *module)
{
    struct table *table = ctx;
    json_t *entries = json_object_get(module, "entries"), *entry;
    bool loaded = cli_true(module, "loaded");
    size_t i = 0, count = json_array_size(entries);
    do {
        entry = json_array_get(entries, i);
        table_cell(table, TABLE_BOLD, cli_string(module, "name"));
        table_cellf(table, TABLE_PLAIN, "%" PRIu64, cli_number(module, "live"));
        table_cell(table, loaded ? TABLE_PLAIN : TABLE_RED,
                   loaded ? cli_string(module, "goroutines") : "not loaded");
        table_cell(table, TABLE_PLAIN, cli_string(entry, "name"));
        table_cell(table, TABLE_PLAIN,
                   loaded ? cli_string(entry, "doc") : cli_string(module, "error"));
    } while (++i < count);
    return true;
}

static void module_path(struct http_buf *path, const char *name)
{
    http_buf_str(path, "/v1/modules/");
    http_buf_quoted(path, name);
}

int cli_modules(struct cli *cli)
{
    struct http_buf path = {0};
    if (!cli->arg_count)
        return cli_walk_table(cli, "/v1/modules", module_columns,
                              sizeof module_columns / sizeof module_columns[0], module_row);
    module_path(&path, cli->args[0]);
    int result = cli_show_as(cli, path.data);
    http_buf_free(&path);
    return result;
}

int cli_load(struct cli *cli)
{
    json_t *body = json_pack("{s:s}", "name", cli->args[0]);
    if (!body)
        return cli_fail(cli, CLI_USAGE, "the name of a module is UTF-8");
    if (cli->options.replace)
        json_object_set_new(body, "replace", json_true());
    json_t *module = cli_ask(cli, "POST", "/v1/modules", body);
    if (!module)
        return cli->failure;
    if (cli_wants_json(cli))
        cli_print_json(cli, module);
    else
        printf("module %s is loaded, build %.16s\n", cli_string(module, "name"),
               cli_string(module, "build_id"));
    json_decref(module);
    return CLI_OK;
}

int cli_unload(struct cli *cli)
{
    struct http_buf path = {0};
    module_path(&path, cli->args[0]);
    json_t *answer = cli_ask(cli, "DELETE", path.data, NULL);
    http_buf_free(&path);
    if (!answer)
        return cli->failure;
    json_decref(answer);
    if (!cli_wants_json(cli))
        printf("module %s is unloaded\n", cli->args[0]);
    return CLI_OK;
}

/* ---- The runtime ------------------------------------------------------------------------------ */

int cli_runtime(struct cli *cli)
{
    const struct cli_options *o = &cli->options;
    json_t *body = json_object();
    if (o->procs != CLI_UNSET)
        json_object_set_new(body, "procs", json_integer((json_int_t)o->procs));
    if (o->time_slice_us != CLI_UNSET)
        json_object_set_new(body, "time_slice_us", json_integer((json_int_t)o->time_slice_us));
    if (o->async_preempt) {
        bool on = strcmp(o->async_preempt, "on") == 0;
        if (!on && strcmp(o->async_preempt, "off")) {
            json_decref(body);
            return cli_fail(cli, CLI_USAGE, "--async-preempt must be on or off");
        }
        json_object_set_new(body, "async_preempt", json_boolean(on));
    }
    if (!json_object_size(body)) {
        json_decref(body);
        return cli_show_as(cli, "/v1/runtime");
    }
    json_t *answer = cli_ask(cli, "PATCH", "/v1/runtime", body);
    if (!answer)
        return cli->failure;
    json_decref(answer);
    return cli_show_as(cli, "/v1/runtime");
}

/* ---- api -------------------------------------------------------------------------------------- */

/* The body: "-" is stdin, "@FILE" a file, else the argument itself. False: explained. */
static bool read_body(struct cli *cli, const char *argument, struct http_buf *body)
{
    char bytes[65536];
    size_t got;
    bool is_stdin = strcmp(argument, "-") == 0;
    if (!is_stdin && argument[0] != '@') {
        http_buf_str(body, argument);
        return true;
    }
    FILE *file = is_stdin ? stdin : fopen(argument + 1, "re");
    while (file && (got = fread(bytes, 1, sizeof bytes, file)) > 0)
        http_buf_add(body, bytes, got);
    bool good = file && !ferror(file);
    if (!good)
        cli_fail(cli, CLI_LOCAL, "cannot read %s: %s", is_stdin ? "stdin" : argument + 1,
                 strerror(errno));
    if (file && !is_stdin)
        fclose(file);
    return good;
}

static bool add_headers(struct cli *cli, struct http_buf *out)
{
    const struct cli_list *list = &cli->options.header;
    for (size_t i = 0; i < list->count; i++) {
        if (!strchr(list->items[i], ':') || strpbrk(list->items[i], "\r\n")) {
            cli_fail(cli, CLI_USAGE, "--header must be \"Name: value\" in one line, not \"%s\"",
                     list->items[i]);
            return false;
        }
        http_buf_printf(out, "%s\r\n", list->items[i]);
    }
    return true;
}

static bool to_stdout(void *ctx, const char *bytes, size_t size)
{
    (void)ctx;
    /* At once: this may be a stream of events. */
    return fwrite(bytes, 1, size, stdout) == size && fflush(stdout) == 0;
}

static bool check_api_args(struct cli *cli, char *method, size_t method_bytes)
{
    size_t size = strlen(cli->args[0]);
    for (size_t i = 0; i < size && size < method_bytes; i++) {
        char c = cli->args[0][i];
        method[i] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
        if (method[i] < 'A' || method[i] > 'Z')
            size = method_bytes;
    }
    if (size >= method_bytes)
        cli_fail(cli, CLI_USAGE, "\"%s\" is not a method such as GET or POST", cli->args[0]);
    else if (cli->args[1][0] != '/' || strpbrk(cli->args[1], " \t\r\n"))
        cli_fail(cli, CLI_USAGE,
                 "the path must begin with / and have no spaces, as in /v1/runtime");
    else
        return true;
    return false;
}

int cli_api(struct cli *cli)
{
    char method[16] = "";
    struct http_buf body = {0}, headers = {0};
    struct http_answer answer;
    int result = CLI_USAGE;
    http_answer_init(&answer);
    if (!check_api_args(cli, method, sizeof method) || !add_headers(cli, &headers) ||
        (cli->arg_count > 2 && !read_body(cli, cli->args[2], &body))) {
        result = cli->failure;
        goto out;
    }
    struct http_request request = {.method = method,
                                   .target = cli->args[1],
                                   .headers = headers.data,
                                   .body = cli->arg_count > 2 ? (body.data ? body.data : "") : NULL,
                                   .body_bytes = body.size};
    /* With headers asked for, the body has to wait for them. */
    answer.sink = cli->options.headers ? NULL : to_stdout;
    if (http_exchange(&cli->connection, &request, &answer)) {
        result = cli_fail(cli, CLI_UNREACHABLE, "%s", cli->connection.err);
        goto out;
    }
    if (cli->options.headers) {
        printf("HTTP/1.1 %d\n%s\n", answer.status, answer.head.data ? answer.head.data : "");
        fwrite(answer.body.data, 1, answer.body.size, stdout);
    }
    result = answer.status >= 200 && answer.status < 300 ? CLI_OK : cli_explain(cli, &answer);
out:
    http_answer_fini(&answer);
    http_buf_free(&body);
    http_buf_free(&headers);
    return result;
}
