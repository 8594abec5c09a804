/*
 * cmd_watch.c: `grasp watch`: the event stream, a line an event.
 *
 * The stream is Server-Sent Events: lines "id:", "event:" and "data:", an empty line ends an event. A
 * stream that breaks is asked for again from behind the last event that was seen, so that a
 * restarted network loses nothing; a daemon that restarted says "reset", which is printed.
 */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "table.h"

#define RETRY_MS_FIRST 200
#define RETRY_MS_MAX   5000

struct watch {
    struct cli *cli;
    struct http_buf line, data, event, id;
    uint64_t seen;
    bool any; /* something came on this connection */
};

static enum table_color type_color(const char *type)
{
    if (strcmp(type, "suspended") == 0 || strcmp(type, "lease-expired") == 0)
        return TABLE_YELLOW;
    if (strcmp(type, "resumed") == 0)
        return TABLE_GREEN;
    return strstr(type, "deadlock") || strcmp(type, "reset") == 0 ? TABLE_RED : TABLE_BOLD;
}

/* " key=value" for each member that the line does not show anyway. */
static void add_members(struct http_buf *out, const json_t *event)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)event, key, value)
    {
        if (strcmp(key, "seq") == 0 || strcmp(key, "at") == 0 || strcmp(key, "type") == 0 ||
            json_is_null(value))
            continue;
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        http_buf_printf(out, " %s=%s", key, text ? text : "");
        free(text);
    }
}

static void print_event(struct watch *watch, const json_t *event)
{
    struct cli *cli = watch->cli;
    struct http_buf out = {0}, plain = {0};
    const char *type = *cli_string(event, "type") ? cli_string(event, "type")
                       : watch->event.size        ? watch->event.data
                                                  : "message";
    const char *at = cli_string(event, "at");
    /* 2026-01-02T03:04:05.678901Z: the time of day is enough. */
    const char *time_of_day = strlen(at) > 11 ? at + 11 : at;
    http_buf_printf(&out, "%.12s  ", time_of_day);
    if (cli->color)
        http_buf_str(&out, table_color_code(type_color(type)));
    table_plain(&out, type, strlen(type));
    http_buf_str(&out, cli->color ? "\033[0m" : "");
    add_members(&plain, event);
    table_plain(&out, plain.data ? plain.data : "", plain.size);
    puts(out.data);
    http_buf_free(&out);
    http_buf_free(&plain);
}

/* An empty line ended it. False: enough were seen. */
static bool event_done(struct watch *watch)
{
    json_t *event;
    if (!watch->data.size && !watch->event.size)
        return true;
    event = json_loadb(watch->data.data, watch->data.size, 0, NULL);
    if (!event)
        event = json_object();
    if (watch->event.size && !json_object_get(event, "type"))
        json_object_set_new(event, "type", json_string(watch->event.data));
    if (cli_wants_json(watch->cli))
        cli_print_json(watch->cli, event);
    else
        print_event(watch, event);
    fflush(stdout);
    json_decref(event);
    watch->data.size = watch->event.size = 0;
    watch->seen++;
    return watch->cli->options.count == CLI_UNSET || watch->seen < watch->cli->options.count;
}

static bool line_done(struct watch *watch)
{
    const char *line = watch->line.data ? watch->line.data : "";
    size_t size = watch->line.size;
    if (size && line[size - 1] == '\r')
        size--;
    watch->line.size = 0;
    if (!size)
        return event_done(watch);
    const char *colon = memchr(line, ':', size);
    size_t name = colon ? (size_t)(colon - line) : size;
    size_t at = name + (colon != NULL);
    at += at < size && line[at] == ' ';
    if (name == 4 && memcmp(line, "data", 4) == 0) {
        http_buf_add(&watch->data, line + at, size - at);
    } else if (name == 5 && memcmp(line, "event", 5) == 0) {
        watch->event.size = 0;
        http_buf_add(&watch->event, line + at, size - at);
    } else if (name == 2 && memcmp(line, "id", 2) == 0) {
        watch->id.size = 0;
        http_buf_add(&watch->id, line + at, size - at);
    }
    return true;
}

static bool take_bytes(void *ctx, const char *bytes, size_t size)
{
    struct watch *watch = ctx;
    watch->any = true;
    while (size) {
        const char *end = memchr(bytes, '\n', size);
        size_t part = end ? (size_t)(end - bytes) : size;
        http_buf_add(&watch->line, bytes, part);
        if (end && !line_done(watch))
            return false;
        part += end != NULL;
        bytes += part;
        size -= part;
    }
    return true;
}

static void watch_path(const struct cli *cli, struct http_buf *path)
{
    http_buf_str(path, "/v1/events");
    if (cli->options.types) {
        http_buf_str(path, "?types=");
        http_buf_quoted(path, cli->options.types);
    }
    if (cli->options.selector) {
        http_buf_printf(path, "%cselector=", strchr(path->data, '?') ? '&' : '?');
        http_buf_quoted(path, cli->options.selector);
    }
}

/*
 * One connection. 0: enough was seen; -EAGAIN: it broke; CLI_*: it is over. A daemon that is busy, or down, is waited for
 * unless it is the `first`.
 */
static int watch_once(struct watch *watch, const char *path, bool first)
{
    struct http_buf headers = {0};
    struct http_answer answer;
    struct cli *cli = watch->cli;
    http_buf_str(&headers, "Accept: text/event-stream\r\n");
    if (watch->id.size)
        http_buf_printf(&headers, "Last-Event-ID: %s\r\n", watch->id.data);
    struct http_request request = {.method = "GET", .target = path, .headers = headers.data};
    http_answer_init(&answer);
    answer.sink = take_bytes;
    answer.ctx = watch;
    watch->any = false;
    watch->line.size = watch->data.size = watch->event.size = 0;
    int err = http_exchange(&cli->connection, &request, &answer);
    int result = -EAGAIN;
    if (err == -EINTR)
        result = 130;
    else if (!err && answer.stopped)
        result = CLI_OK;
    else if (!err && answer.status / 100 != 2 && (first || answer.status != 503))
        result = cli_explain(cli, &answer);
    else if (err && first && !watch->any)
        result = cli_fail(cli, CLI_UNREACHABLE, "%s", cli->connection.err);
    http_answer_fini(&answer);
    http_buf_free(&headers);
    return result;
}

int cli_watch(struct cli *cli)
{
    struct watch watch = {.cli = cli};
    struct http_buf path = {0};
    unsigned pause_ms = RETRY_MS_FIRST;
    bool first = true;
    int result;
    watch_path(cli, &path);
    /* Ends when enough was seen, when the daemon refuses, or by a signal. */
    while ((result = watch_once(&watch, path.data, first)) == -EAGAIN) {
        first = false;
        if (watch.any)
            pause_ms = RETRY_MS_FIRST;
        fprintf(stderr, "grasp: the stream broke; trying again in %u ms\n", pause_ms);
        nanosleep(&(struct timespec){pause_ms / 1000, (long)(pause_ms % 1000) * 1000000}, NULL);
        pause_ms = pause_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : pause_ms * 2;
    }
    http_buf_free(&path);
    http_buf_free(&watch.line);
    http_buf_free(&watch.data);
    http_buf_free(&watch.event);
    http_buf_free(&watch.id);
    return result;
}
