/*
 * show.c: values as people and programs read them.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "table.h"

bool cli_wants_json(const struct cli *cli)
{
    return cli->output == CLI_JSON || cli->output == CLI_NDJSON;
}

void cli_print_json(const struct cli *cli, const json_t *value)
{
    size_t flags = cli->output == CLI_NDJSON ? JSON_COMPACT : JSON_INDENT(2);
    json_dumpf(value, stdout, flags | JSON_ENCODE_ANY);
    putchar('\n');
}

void cli_add_json(const struct cli *cli, json_t *values, json_t *value)
{
    if (cli->output == CLI_NDJSON)
        cli_print_json(cli, value);
    else
        json_array_append(values, value);
    json_decref(value);
}

void cli_end_json(const struct cli *cli, json_t *values)
{
    size_t count = json_array_size(values);
    if (count)
        cli_print_json(cli, cli->arg_count == 1 && count == 1 ? json_array_get(values, 0) : values);
    json_decref(values);
}

void cli_print_plain(const char *text, size_t size)
{
    struct http_buf plain = {0};
    while (size) {
        const char *end = memchr(text, '\n', size);
        size_t part = end ? (size_t)(end - text) : size;
        plain.size = 0;
        /* A tab is as good as a space here, and tracebacks have them. */
        for (size_t at = 0; at < part;) {
            size_t run = 0;
            while (at + run < part && text[at + run] != '\t')
                run++;
            table_plain(&plain, text + at, run);
            at += run;
            if (at < part && at++ < part)
                http_buf_str(&plain, "\t");
        }
        http_buf_str(&plain, "\n");
        fwrite(plain.data, 1, plain.size, stdout);
        part += end != NULL;
        text += part;
        size -= part;
    }
    http_buf_free(&plain);
}

const char *cli_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

uint64_t cli_number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value < 0 ? 0 : (uint64_t)value;
}

bool cli_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

const char *cli_duration(char out[CLI_DURATION_BYTES], uint64_t ns)
{
    uint64_t seconds = ns / 1000000000;
    if (ns < 1000)
        snprintf(out, CLI_DURATION_BYTES, "%" PRIu64 "ns", ns);
    else if (ns < 1000000)
        snprintf(out, CLI_DURATION_BYTES, "%.1fus", (double)ns / 1e3);
    else if (seconds < 1)
        snprintf(out, CLI_DURATION_BYTES, "%.1fms", (double)ns / 1e6);
    else if (seconds < 60)
        snprintf(out, CLI_DURATION_BYTES, "%.1fs", (double)ns / 1e9);
    else if (seconds < 3600)
        snprintf(out, CLI_DURATION_BYTES, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
    else
        snprintf(out, CLI_DURATION_BYTES, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600,
                 seconds / 60 % 60);
    return out;
}

const char *cli_age(char out[CLI_DURATION_BYTES], const char *time_text)
{
    struct tm parts = {0};
    const char *end = strptime(time_text, "%Y-%m-%dT%H:%M:%S", &parts);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time_t then = end ? timegm(&parts) : now.tv_sec;
    uint64_t seconds = now.tv_sec > then ? (uint64_t)(now.tv_sec - then) : 0;
    if (seconds < 60)
        snprintf(out, CLI_DURATION_BYTES, "%" PRIu64 "s", seconds);
    else
        cli_duration(out, seconds * 1000000000);
    return end ? out : "";
}

void cli_labels(const json_t *goroutine, struct http_buf *out)
{
    const char *key;
    json_t *value;
    http_buf_add(out, "", 0);
    json_object_foreach(json_object_get(goroutine, "labels"), key, value)
        http_buf_printf(out, "%s%s=%s", out->size ? "," : "", key, json_string_value(value));
}

void cli_place(const json_t *goroutine, struct http_buf *out)
{
    const char *function = cli_string(goroutine, "function"), *file = cli_string(goroutine, "file");
    const char *slash = strrchr(file, '/');
    http_buf_str(out, *function ? function : cli_string(goroutine, "pc"));
    if (*file)
        http_buf_printf(out, " %s:%" PRIu64, slash ? slash + 1 : file,
                        cli_number(goroutine, "line"));
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno != EINTR)
            return false;
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

/* A new file takes the old one's place only when it is whole. */
static bool replace_file(const char *path, const char *bytes, size_t size)
{
    struct http_buf name = {0};
    http_buf_printf(&name, "%s.XXXXXX", path);
    int fd = mkstemp(name.data);
    bool good = fd >= 0 && write_all(fd, bytes, size) && rename(name.data, path) == 0;
    int err = errno;
    if (!good && fd >= 0)
        unlink(name.data);
    if (fd >= 0)
        close(fd);
    http_buf_free(&name);
    errno = err;
    return good;
}

bool cli_save(struct cli *cli, const char *path, const char *bytes, size_t size)
{
    struct stat status;
    bool good;
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO)) {
        cli_fail(cli, CLI_USAGE, "binary data is not written to a terminal; use -O FILE or a pipe");
        return false;
    }
    if (strcmp(path, "-") == 0) {
        fflush(stdout);
        good = write_all(STDOUT_FILENO, bytes, size);
    } else if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        /* A device or a pipe is written to, never replaced. */
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        good = fd >= 0 && write_all(fd, bytes, size);
        if (fd >= 0)
            close(fd);
    } else {
        good = replace_file(path, bytes, size);
    }
    if (!good)
        cli_fail(cli, CLI_LOCAL, "cannot write %s: %s", path, strerror(errno));
    return good;
}

/* ---- Lists ------------------------------------------------------------------------------------ */

struct rows {
    struct cli *cli;
    struct table *table; /* NULL: JSON */
    bool (*row)(void *ctx, json_t *value);
    json_t *items;
};

static bool add_row(void *ctx, json_t *value)
{
    struct rows *rows = ctx;
    if (rows->table)
        return rows->row(rows->table, value);
    if (rows->cli->output == CLI_NDJSON)
        cli_print_json(rows->cli, value);
    else
        json_array_append(rows->items, value);
    return true;
}

int cli_walk_table(struct cli *cli, const char *path, const struct table_column *columns,
                   size_t count, bool (*row)(void *ctx, json_t *value))
{
    struct rows rows = {.cli = cli, .row = row, .items = json_array()};
    struct http_buf out = {0};
    if (!cli_wants_json(cli))
        rows.table = table_create(columns, count);
    bool good = cli_walk(cli, path, add_row, &rows);
    if (good && rows.table) {
        table_write(rows.table, cli->output == CLI_WIDE ? 0 : cli->width, cli->color, cli->utf8,
                    &out);
        fwrite(out.data, 1, out.size, stdout);
    } else if (good && cli->output == CLI_JSON) {
        json_t *value = json_pack("{s:O}", "items", rows.items);
        cli_print_json(cli, value);
        json_decref(value);
    }
    table_destroy(rows.table);
    json_decref(rows.items);
    http_buf_free(&out);
    return good ? CLI_OK : cli->failure;
}
