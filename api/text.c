/*
 * text.c: answers for people: tables and tracebacks from the same values that programs get as JSON.
 *
 * Text made from the JSON value cannot say something else than JSON does, and handlers need not
 * know of it. Whatever came from a workload (names, labels, notes) is stripped of control
 * characters, so that a terminal shows it and does not obey it.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 10
#define CELL_MAX    60

/* ---- Tables ---------------------------------------------------------------------------------- */

/* Rows of cells, kept until the widths are known. */
struct table {
    size_t columns, width[COLUMNS_MAX];
    struct api_buf cells; /* each with its 0 */
};

static void cell(struct table *table, size_t column, const char *text)
{
    struct api_buf plain = {0};
    api_buf_plain(&plain, text && *text ? text : "-", CELL_MAX);
    if (plain.size > table->width[column])
        table->width[column] = plain.size;
    api_buf_add(&table->cells, plain.data, plain.size);
    api_buf_add(&table->cells, "", 1);
    api_buf_free(&plain);
}

static void header(struct table *table, const char *const *names)
{
    for (; names[table->columns]; table->columns++)
        cell(table, table->columns, names[table->columns]);
}

static void table_end(struct api_buf *out, struct table *table)
{
    const char *at = table->cells.data, *end = at + table->cells.size;
    for (size_t column = 0; at < end; at += strlen(at) + 1) {
        bool last = column + 1 == table->columns;
        api_buf_printf(out, "%-*s%s", last ? 0 : (int)table->width[column], at, last ? "\n" : "  ");
        column = last ? 0 : column + 1;
    }
    api_buf_free(&table->cells);
}

static const char *string_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static uint64_t number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static const char *number_text(char *out, size_t out_bytes, uint64_t number)
{
    snprintf(out, out_bytes, "%" PRIu64, number);
    return out;
}

static const char *duration_text(char *out, size_t out_bytes, uint64_t ns)
{
    if (ns >= 1000000000)
        snprintf(out, out_bytes, "%.1fs", (double)ns / 1e9);
    else if (ns >= 1000000)
        snprintf(out, out_bytes, "%.1fms", (double)ns / 1e6);
    else
        snprintf(out, out_bytes, "%.1fus", (double)ns / 1e3);
    return out;
}

/* Behind a table: that there is more. */
static void next_line(struct api_buf *out, const json_t *list)
{
    const char *next = string_of(list, "next");
    if (next)
        api_buf_printf(out, "(more: cursor=%s)\n", next);
}

/* The last part of a path. */
static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

static void goroutine_row(struct table *table, const json_t *g)
{
    char number[32], text[512];
    const char *file = base_name(string_of(g, "file"));
    const char *wait = string_of(g, "wait_reason"), *function = string_of(g, "function");
    const char *module = string_of(g, "module"), *entry = string_of(g, "entry");
    bool suspended = json_is_true(json_object_get(g, "suspended"));
    cell(table, 0, number_text(number, sizeof number, number_of(g, "id")));
    cell(table, 1, string_of(g, "state"));
    snprintf(text, sizeof text, "%s%" PRIu64, suspended ? "held by " : "", number_of(g, "holds"));
    cell(table, 2, number_of(g, "holds") ? text : "");
    snprintf(text, sizeof text, "%s/%s", module ? module : "-", entry ? entry : "-");
    cell(table, 3, module || entry ? text : "");
    cell(table, 4, string_of(g, "name"));
    cell(table, 5, duration_text(text, sizeof text, number_of(g, "cpu_ns")));
    snprintf(text, sizeof text, "%s %s", wait ? wait : "",
             wait ? duration_text(number, sizeof number, number_of(g, "wait_ns")) : "");
    cell(table, 6, wait ? text : "");
    snprintf(text, sizeof text, "%s %s:%" PRIu64, function ? function : "", file ? file : "?",
             number_of(g, "line"));
    cell(table, 7, function ? text : "");
}

void api_text_goroutines(struct api_buf *out, const json_t *value)
{
    static const char *const names[] = {"ID",  "STATE", "HOLDS", "ENTRY", "NAME",
                                        "CPU", "WAIT",  "PLACE", NULL};
    struct table table = {0};
    size_t i;
    json_t *item;
    header(&table, names);
    json_array_foreach(json_object_get(value, "items"), i, item) goroutine_row(&table, item);
    table_end(out, &table);
    next_line(out, value);
}

void api_text_suspensions(struct api_buf *out, const json_t *value)
{
    static const char *const names[] = {"ID",      "COUNT",  "PRINCIPAL", "OWNER",
                                        "EXPIRES", "REASON", NULL};
    struct table table = {0};
    char text[64];
    size_t i;
    json_t *item;
    header(&table, names);
    json_array_foreach(json_object_get(value, "items"), i, item)
    {
        cell(&table, 0, number_text(text, sizeof text, number_of(item, "id")));
        cell(&table, 1, number_text(text, sizeof text, number_of(item, "count")));
        cell(&table, 2, string_of(item, "principal"));
        cell(&table, 3, string_of(item, "owner"));
        cell(&table, 4,
             duration_text(text, sizeof text, number_of(item, "remaining_ms") * 1000000));
        cell(&table, 5, string_of(item, "reason"));
    }
    table_end(out, &table);
    next_line(out, value);
}

static void module_entries(struct api_buf *out, const json_t *module)
{
    size_t i;
    json_t *entry;
    if (json_array_size(json_object_get(module, "entries")) == 0)
        api_buf_str(out, "  no entries: nothing can be spawned in it\n");
    json_array_foreach(json_object_get(module, "entries"), i, entry)
    {
        api_buf_str(out, "  ");
        api_buf_plain(out, string_of(module, "name"), 0);
        api_buf_str(out, "/");
        api_buf_plain(out, string_of(entry, "name"), 0);
        api_buf_str(out, "  ");
        api_buf_plain(out, string_of(entry, "doc"), 0);
        api_buf_str(out, "\n");
    }
}

static void module_lines(struct api_buf *out, const json_t *module)
{
    api_buf_plain(out, string_of(module, "name"), 0);
    if (json_is_true(json_object_get(module, "loaded"))) {
        api_buf_printf(out, "  %" PRIu64 " live, goroutines %s\n", number_of(module, "live"),
                       string_of(module, "goroutines"));
        module_entries(out, module);
        return;
    }
    api_buf_str(out, "  not loaded: ");
    api_buf_plain(out, string_of(module, "error"), 0);
    api_buf_str(out, "\n");
}

/* A list of modules, or one. */
void api_text_modules(struct api_buf *out, const json_t *value)
{
    const json_t *items = json_object_get(value, "items");
    size_t i;
    json_t *item;
    if (!items)
        module_lines(out, value);
    json_array_foreach(items, i, item) module_lines(out, item);
    next_line(out, value);
}

void api_text_log(struct api_buf *out, const json_t *value)
{
    size_t i;
    json_t *line;
    if (number_of(value, "lost"))
        api_buf_printf(out, "(%" PRIu64 " bytes lost)\n", number_of(value, "lost"));
    json_array_foreach(json_object_get(value, "lines"), i, line)
    {
        api_buf_plain(out, json_string_value(line), 0);
        api_buf_str(out, "\n");
    }
}

/* ---- Tracebacks ------------------------------------------------------------------------------ */

static void frame_lines(struct api_buf *out, const json_t *frame)
{
    const char *function = string_of(frame, "function"), *file = string_of(frame, "file");
    const char *module = string_of(frame, "module");
    api_buf_plain(out, function ? function : string_of(frame, "pc"), 0);
    api_buf_str(out, json_is_true(json_object_get(frame, "inlined")) ? "(inlined)\n\t" : "()\n\t");
    if (file) {
        api_buf_plain(out, file, 0);
        api_buf_printf(out, ":%" PRIu64, number_of(frame, "line"));
    } else {
        api_buf_plain(out, module ? module : "?", 0);
    }
    if (function)
        api_buf_printf(out, " +0x%" PRIx64, number_of(frame, "offset"));
    api_buf_str(out, "\n");
}

void api_text_stack(struct api_buf *out, const json_t *value)
{
    char latency[32];
    size_t i;
    json_t *frame;
    uint64_t latency_ns = number_of(value, "latency_ns");
    api_buf_printf(out, "goroutine %" PRIu64 " [%s, %s%s]:\n", number_of(value, "goroutine"),
                   string_of(value, "safepoint"), latency_ns ? "stopped in " : "stood still",
                   latency_ns ? duration_text(latency, sizeof latency, latency_ns) : "");
    json_array_foreach(json_object_get(value, "frames"), i, frame) frame_lines(out, frame);
    if (json_is_true(json_object_get(value, "frames_truncated")))
        api_buf_str(out, "...\n");
}

void api_text_snapshot(struct api_buf *out, const json_t *value)
{
    const char *name;
    json_t *item, *stack = json_object_get(value, "stack");
    unsigned column = 0;
    api_text_stack(out, value);
    api_buf_str(out, "\n");
    json_object_foreach(json_object_get(value, "registers"), name, item) api_buf_printf(
        out, "%-7s %-18s%s", name, json_string_value(item), ++column % 4 ? "  " : "\n");
    api_buf_str(out, column % 4 ? "\n" : "");
    json_object_foreach(json_object_get(value, "vectors"), name, item)
        api_buf_printf(out, "%-7s %s\n", name, json_string_value(item));
    api_buf_printf(out, "stack   %s..%s sp %s, %" PRIu64 " bytes copied%s\n",
                   string_of(stack, "lo"), string_of(stack, "hi"), string_of(stack, "sp"),
                   number_of(stack, "copied_bytes"),
                   json_is_true(json_object_get(stack, "truncated")) ? ", cut" : "");
}

/* ---- Anything else --------------------------------------------------------------------------- */

static void leaf(struct api_buf *out, const char *path, const json_t *value)
{
    struct api_buf text = {0};
    if (json_is_string(value) && !api_json_raw_text(value))
        api_buf_str(&text, json_string_value(value));
    else
        api_json_write(&text, value, false);
    api_buf_add(&text, "", 1);
    api_buf_printf(out, "%-24s ", path);
    api_buf_plain(out, text.failed ? "" : text.data, 0);
    api_buf_str(out, "\n");
    api_buf_free(&text);
}

/* "a.b value", a line a leaf. Depth: two levels of objects, deeper ones as JSON. */
static void object_lines(struct api_buf *out, const char *prefix, const json_t *value, int depth)
{
    const char *key;
    json_t *item;
    char path[256];
    json_object_foreach((json_t *)value, key, item)
    {
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_is_object(item) && json_object_size(item) && depth > 0)
            object_lines(out, path, item, depth - 1);
        else
            leaf(out, path, item);
    }
}

void api_text_lines(struct api_buf *out, const json_t *value)
{
    if (json_is_object(value))
        object_lines(out, "", value, 2);
    else
        leaf(out, "", value);
}
