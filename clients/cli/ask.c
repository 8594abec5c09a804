/*
 * ask.c: calls to the daemon, and what went wrong with them in its own words.
 */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "place.h"
#include "table.h"

/* A line for the user: "grasp: " and plain text. */
static void say(struct cli *cli, const char *plain)
{
    if (cli->messages) {
        cli->messages->size = 0;
        http_buf_str(cli->messages, plain);
        return;
    }
    fflush(stdout);
    fprintf(stderr, "grasp: %s%s", plain, strchr(plain, '\n') ? "" : "\n");
}

int cli_fail(struct cli *cli, int code, const char *format, ...)
{
    char text[2048];
    struct http_buf plain = {0};
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    table_plain(&plain, text, strlen(text));
    say(cli, plain.data);
    http_buf_free(&plain);
    cli->failure = code;
    return code;
}

bool cli_connect(struct cli *cli)
{
    char err[1024], note[512];
    struct place_flags flags = {cli->options.socket, cli->options.url, cli->options.token_file};
    int result = place_find(&cli->place, &flags, note, sizeof note, err, sizeof err);
    if (result) {
        cli_fail(cli, result == -ENOENT ? CLI_UNREACHABLE : CLI_USAGE, "%s", err);
        return false;
    }
    if (*note)
        fprintf(stderr, "grasp: %s\n", note);
    http_connection_init(&cli->connection, &cli->place);
    return true;
}

/* ---- What went wrong -------------------------------------------------------------------------- */

static int exit_code(int status)
{
    switch (status) {
    case 404:
    case 410:
        return CLI_NOT_FOUND;
    case 409:
    case 412:
        return CLI_CONFLICT;
    case 408:
    case 504:
        return CLI_TIMEOUT;
    case 401:
    case 403:
    case 421:
        return CLI_FORBIDDEN;
    case 429:
    case 503:
    case 507:
        return CLI_BUSY;
    default:
        return CLI_REFUSED;
    }
}

/* " refused {…}": what a problem has besides the members that all have. */
static void add_members(struct http_buf *out, const json_t *problem)
{
    static const char usual[] = " type title status detail code instance ";
    const char *key;
    json_t *value;
    char word[64];
    json_object_foreach((json_t *)problem, key, value)
    {
        snprintf(word, sizeof word, " %.60s ", key);
        bool empty = json_is_null(value) || (json_is_array(value) && !json_array_size(value)) ||
                     (json_is_object(value) && !json_object_size(value));
        if (strstr(usual, word) || empty)
            continue;
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        http_buf_printf(out, "\ngrasp:   %s: %.600s", key, text ? text : "");
        free(text);
    }
}

int cli_explain(struct cli *cli, const struct http_answer *answer)
{
    json_t *problem = json_loadb(answer->body.data, answer->body.size, 0, NULL);
    const char *detail = cli_string(problem, "detail"), *code = cli_string(problem, "code");
    struct http_buf text = {0};
    if (*detail)
        http_buf_printf(&text, "%s (%s)", detail, *code ? code : "no code");
    else
        http_buf_printf(&text, "the daemon answered %d without saying why", answer->status);
    if (answer->status == 401 && !cli->place.token[0])
        http_buf_str(&text,
                     "\ngrasp:   give a token: GRASP_TOKEN, --token-file, or the URL with #token=");
    if (!cli->messages)
        add_members(&text, problem);
    struct http_buf plain = {0};
    for (char *line = text.data, *end; line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        table_plain(&plain, line, end ? (size_t)(end - line) : strlen(line));
        http_buf_str(&plain, "\n");
    }
    say(cli, plain.data);
    http_buf_free(&plain);
    http_buf_free(&text);
    json_decref(problem);
    cli->failure = exit_code(answer->status);
    return cli->failure;
}

/* ---- Asking ----------------------------------------------------------------------------------- */

int cli_ask_raw(struct cli *cli, const char *method, const char *target, const char *body,
                size_t body_bytes, const char *type, struct http_answer *answer)
{
    struct http_request request = {
        .method = method, .target = target, .type = type, .body = body, .body_bytes = body_bytes};
    int err = http_exchange(&cli->connection, &request, answer);
    if (err && err != -EINTR)
        cli_fail(cli, err == -ETIMEDOUT ? CLI_TIMEOUT : CLI_UNREACHABLE, "%s", cli->connection.err);
    if (err == -EINTR)
        cli->failure = 130;
    return err;
}

json_t *cli_ask(struct cli *cli, const char *method, const char *target, json_t *body)
{
    struct http_answer answer;
    json_error_t error;
    json_t *value = NULL;
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(body);
    http_answer_init(&answer);
    int err = cli_ask_raw(cli, method, target, text, text ? strlen(text) : 0, NULL, &answer);
    free(text);
    if (!err && (answer.status < 200 || answer.status > 299)) {
        cli_explain(cli, &answer);
    } else if (!err) {
        value = answer.body.size
                    ? json_loadb(answer.body.data, answer.body.size, JSON_DECODE_ANY, &error)
                    : json_null();
        if (!value)
            cli_fail(cli, CLI_UNREACHABLE, "the answer to %s %s is not JSON: %s", method, target,
                     error.text);
    }
    http_answer_fini(&answer);
    return value;
}

bool cli_stream(struct cli *cli, const char *target, const char *headers,
                bool (*sink)(void *ctx, const char *bytes, size_t size), void *ctx)
{
    struct http_answer answer;
    struct http_request request = {.method = "GET", .target = target, .headers = headers};
    http_answer_init(&answer);
    answer.sink = sink;
    answer.ctx = ctx;
    int err = http_exchange(&cli->connection, &request, &answer);
    bool good = !err && answer.status >= 200 && answer.status < 300;
    if (err == -EINTR)
        cli->failure = 130;
    else if (err)
        cli_fail(cli, err == -ETIMEDOUT ? CLI_TIMEOUT : CLI_UNREACHABLE, "%s", cli->connection.err);
    else if (!good)
        cli_explain(cli, &answer);
    http_answer_fini(&answer);
    return good;
}

/* ---- Lists ------------------------------------------------------------------------------------ */

struct walk {
    bool (*item)(void *ctx, json_t *value);
    void *ctx;
    struct http_buf line;
    bool ended, stopped, broken;
};

static void take_line(struct walk *walk)
{
    json_t *value = json_loadb(walk->line.data, walk->line.size, 0, NULL);
    walk->line.size = 0;
    if (!json_is_object(value))
        walk->broken = true;
    else if (json_is_true(json_object_get(value, "end")))
        walk->ended = true;
    else
        walk->stopped = !walk->item(walk->ctx, value);
    json_decref(value);
}

static bool take_bytes(void *ctx, const char *bytes, size_t size)
{
    struct walk *walk = ctx;
    while (size && !walk->stopped && !walk->broken) {
        const char *end = memchr(bytes, '\n', size);
        size_t part = end ? (size_t)(end - bytes) : size;
        http_buf_add(&walk->line, bytes, part);
        if (end)
            take_line(walk);
        part += end != NULL;
        bytes += part;
        size -= part;
    }
    return !walk->stopped && !walk->broken;
}

bool cli_walk(struct cli *cli, const char *path, bool (*item)(void *ctx, json_t *value), void *ctx)
{
    struct walk walk = {.item = item, .ctx = ctx};
    struct http_buf target = {0};
    http_buf_printf(&target, "%s%cformat=ndjson", path, strchr(path, '?') ? '&' : '?');
    bool good = cli_stream(cli, target.data, NULL, take_bytes, &walk);
    if (good && !walk.ended && !walk.stopped) {
        cli_fail(cli, CLI_UNREACHABLE, "the list was cut off before its end; ask again");
        good = false;
    }
    http_buf_free(&target);
    http_buf_free(&walk.line);
    return good;
}
