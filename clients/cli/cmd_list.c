/*
 * cmd_list.c: looking at goroutines: ps, show, log, stack.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

/* ---- ps --------------------------------------------------------------------------------------- */

static const struct table_column ps_columns[] = {
    {"ID", true, 0, 0, false},      {"STATE", false, 0, 0, false}, {"HELD", false, 0, 7, false},
    {"ENTRY", false, 12, 6, false}, {"NAME", false, 6, 2, false},  {"LABELS", false, 8, 3, false},
    {"CPU", true, 0, 5, false},     {"AGE", true, 0, 1, true},     {"WAIT", false, 10, 4, false},
    {"PLACE", false, 16, 8, false},
};
#define PS_COLUMNS (sizeof ps_columns / sizeof ps_columns[0])

struct ps {
    struct cli *cli;
    json_t *items;
    struct table *table;
};

static enum table_color state_color(const json_t *g)
{
    const char *state = cli_string(g, "state");
    if (cli_true(g, "suspended"))
        return TABLE_YELLOW;
    if (strcmp(state, "running") == 0)
        return TABLE_GREEN;
    return strcmp(state, "dead") == 0 ? TABLE_DIM : TABLE_PLAIN;
}

static void held_cell(struct table *table, const json_t *g)
{
    uint64_t holds = cli_number(g, "holds");
    if (!holds)
        table_cell(table, TABLE_PLAIN, "");
    else
        table_cellf(table, TABLE_YELLOW, "%s%" PRIu64, cli_true(g, "suspended") ? "" : "asked ",
                    holds);
}

static void wait_cell(struct table *table, const json_t *g)
{
    char duration[CLI_DURATION_BYTES];
    const json_t *end = json_object_get(g, "exit");
    if (end)
        table_cellf(table, cli_number(end, "code") ? TABLE_RED : TABLE_DIM, "%s %lld",
                    cli_string(end, "reason"),
                    (long long)json_integer_value(json_object_get(end, "code")));
    else if (*cli_string(g, "wait_reason"))
        table_cellf(table, TABLE_PLAIN, "%s %s", cli_string(g, "wait_reason"),
                    cli_duration(duration, cli_number(g, "wait_ns")));
    else
        table_cell(table, TABLE_PLAIN, "");
}

static void ps_row(struct table *table, const json_t *g)
{
    char duration[CLI_DURATION_BYTES];
    struct http_buf labels = {0}, place = {0};
    const char *module = cli_string(g, "module"), *entry = cli_string(g, "entry");
    cli_labels(g, &labels);
    cli_place(g, &place);
    table_cellf(table, TABLE_BOLD, "%" PRIu64, cli_number(g, "id"));
    table_cell(table, state_color(g), cli_string(g, "state"));
    held_cell(table, g);
    if (*module || *entry)
        table_cellf(table, TABLE_PLAIN, "%s/%s", *module ? module : "-", *entry ? entry : "-");
    else
        table_cell(table, TABLE_PLAIN, "");
    table_cell(table, TABLE_PLAIN, cli_string(g, "name"));
    table_cell(table, TABLE_BLUE, labels.data);
    table_cell(table, TABLE_PLAIN, cli_duration(duration, cli_number(g, "cpu_ns")));
    table_cell(table, TABLE_PLAIN, cli_age(duration, cli_string(g, "created_at")));
    wait_cell(table, g);
    table_cell(table, TABLE_PLAIN, place.data);
    http_buf_free(&labels);
    http_buf_free(&place);
}

/* One element of the list. NDJSON is printed as it comes; everything else is kept. */
static bool ps_item(void *ctx, json_t *g)
{
    struct ps *ps = ctx;
    if (ps->cli->output == CLI_NDJSON && !ps->cli->options.sort)
        cli_print_json(ps->cli, g);
    else
        json_array_append(ps->items, g);
    return true;
}

static const char *sort_key;

static int compare(const void *a, const void *b)
{
    const json_t *x = json_object_get(*(json_t *const *)a, sort_key);
    const json_t *y = json_object_get(*(json_t *const *)b, sort_key);
    if (json_is_string(x) || json_is_string(y)) {
        const char *p = json_string_value(x), *q = json_string_value(y);
        return strcmp(p ? p : "", q ? q : "");
    }
    json_int_t p = json_integer_value(x), q = json_integer_value(y);
    bool rising = strcmp(sort_key, "id") == 0;
    return p == q ? 0 : (p < q) == rising ? -1 : 1;
}

/* Numbers fall, so that the most is on top; ids and names rise. False: explained. */
static bool sort_items(struct cli *cli, json_t **items)
{
    static const char *const names[][2] = {
        {"id", "id"},       {"cpu", "cpu_ns"},  {"total", "cpu_ns"}, {"wait", "wait_ns"},
        {"state", "state"}, {"holds", "holds"}, {"name", "name"}};
    size_t count = json_array_size(*items);
    sort_key = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i][0], cli->options.sort) == 0)
            sort_key = names[i][1];
    if (!sort_key) {
        cli_fail(cli, CLI_USAGE,
                 "--sort must be id, cpu, total, wait, state, holds or name, not \"%s\"",
                 cli->options.sort);
        return false;
    }
    json_t **list = calloc(count + 1, sizeof *list), *sorted = json_array();
    for (size_t i = 0; i < count; i++)
        list[i] = json_array_get(*items, i);
    qsort(list, count, sizeof *list, compare);
    for (size_t i = 0; i < count; i++)
        json_array_append(sorted, list[i]);
    free(list);
    json_decref(*items);
    *items = sorted;
    return true;
}

static void ps_print(struct ps *ps)
{
    struct cli *cli = ps->cli;
    struct http_buf out = {0};
    size_t i;
    json_t *g;
    if (cli->output == CLI_JSON) {
        json_t *value = json_pack("{s:O}", "items", ps->items);
        cli_print_json(cli, value);
        json_decref(value);
        return;
    }
    if (cli->output == CLI_NDJSON) {
        json_array_foreach(ps->items, i, g) cli_print_json(cli, g);
        return;
    }
    ps->table = table_create(ps_columns, PS_COLUMNS);
    json_array_foreach(ps->items, i, g) ps_row(ps->table, g);
    table_write(ps->table, cli->output == CLI_WIDE ? 0 : cli->width, cli->color, cli->utf8, &out);
    fwrite(out.data, 1, out.size, stdout);
    table_destroy(ps->table);
    http_buf_free(&out);
}

int cli_ps(struct cli *cli)
{
    struct ps ps = {.cli = cli, .items = json_array()};
    struct http_buf path = {0};
    http_buf_str(&path, "/v1/goroutines");
    /* The living, unless somebody asks: up to ten thousand dead ones are remembered. */
    if (!cli->options.state && !cli->options.all)
        http_buf_str(&path, "?state=live");
    cli_filters(cli, &path);
    bool good = cli_walk(cli, path.data, ps_item, &ps);
    if (good && cli->options.sort)
        good = sort_items(cli, &ps.items);
    if (good)
        ps_print(&ps);
    json_decref(ps.items);
    http_buf_free(&path);
    return good ? CLI_OK : cli->failure;
}

/* ---- show ------------------------------------------------------------------------------------- */

int cli_show(struct cli *cli)
{
    char path[64];
    uint64_t id = cli_id(cli, cli->args[0]);
    if (!id)
        return cli->failure;
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64, id);
    return cli_show_as(cli, path);
}

/* ---- log -------------------------------------------------------------------------------------- */

/* Prints what is new and moves *from behind it. False: explained. */
static bool log_more(struct cli *cli, uint64_t id, uint64_t *from)
{
    char path[96];
    size_t i;
    json_t *line;
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "/log?from=%" PRIu64, id, *from);
    json_t *log = cli_ask(cli, "GET", path, NULL);
    if (!log)
        return false;
    if (cli_number(log, "lost"))
        fprintf(stderr,
                "grasp: %" PRIu64 " bytes of the log were lost: only the last 64 KiB are kept\n",
                cli_number(log, "lost"));
    json_array_foreach(json_object_get(log, "lines"), i, line)
    {
        if (cli->output == CLI_NDJSON)
            cli_print_json(cli, line);
        else
            cli_print_plain(json_string_value(line), json_string_length(line));
    }
    fflush(stdout);
    *from = cli_number(log, "next");
    json_decref(log);
    return true;
}

json_t *cli_follow_log(struct cli *cli, uint64_t id, uint64_t *from)
{
    char path[64];
    /* The state is asked before the log: what a dead goroutine wrote is all there. */
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "?wait_ms=200", id);
    json_t *g = cli_ask(cli, "GET", path, NULL);
    if (g && log_more(cli, id, from))
        return g;
    json_decref(g);
    return NULL;
}

int cli_log(struct cli *cli)
{
    uint64_t from = 0, id = cli_id(cli, cli->args[0]);
    bool dead = !cli->options.follow;
    if (!id)
        return cli->failure;
    if (!log_more(cli, id, &from))
        return cli->failure;
    while (!dead) {
        json_t *g = cli_follow_log(cli, id, &from);
        if (!g)
            return cli->failure;
        dead = strcmp(cli_string(g, "state"), "dead") == 0;
        json_decref(g);
    }
    return CLI_OK;
}

/* ---- stack ------------------------------------------------------------------------------------ */

int cli_show_as(struct cli *cli, const char *path)
{
    struct http_answer answer;
    struct http_buf target = {0};
    http_buf_printf(&target, "%s%cformat=%s", path, strchr(path, '?') ? '&' : '?',
                    cli->output == CLI_JSON     ? "pretty"
                    : cli->output == CLI_NDJSON ? "json"
                                                : "text");
    http_answer_init(&answer);
    int result = cli_ask_raw(cli, "GET", target.data, NULL, 0, NULL, &answer);
    if (result)
        result = cli->failure;
    else if (answer.status != 200)
        result = cli_explain(cli, &answer);
    else
        cli_print_plain(answer.body.data, answer.body.size);
    http_answer_fini(&answer);
    http_buf_free(&target);
    return result;
}

static int stack_one(struct cli *cli, const char *text, json_t *values)
{
    char path[64];
    uint64_t id = cli_id(cli, text);
    if (!id)
        return cli->failure;
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "/stack", id);
    if (!values)
        return cli_show_as(cli, path);
    json_t *stack = cli_ask(cli, "GET", path, NULL);
    if (!stack)
        return cli->failure;
    cli_add_json(cli, values, stack);
    return CLI_OK;
}

int cli_stack(struct cli *cli)
{
    json_t *values = cli_wants_json(cli) ? json_array() : NULL;
    int result = CLI_OK;
    /* Each is tried: one that has ended meanwhile hides nobody else. */
    for (size_t i = 0; i < cli->arg_count; i++) {
        int one = stack_one(cli, cli->args[i], values);
        result = result ? result : one;
        if (i + 1 < cli->arg_count && !values && one == CLI_OK)
            putchar('\n');
    }
    cli_end_json(cli, values);
    return result;
}
