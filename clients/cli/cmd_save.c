/*
 * cmd_save.c: what is kept in files: snapshots, cores, profiles, traces.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "table.h"

/* ---- One goroutine's snapshot, or a group's --------------------------------------------------- */

static int snapshot_one(struct cli *cli)
{
    struct http_buf path = {0};
    uint64_t id = cli_id(cli, cli->args[0]);
    if (!id)
        return cli->failure;
    if (cli->options.bytes != CLI_UNSET && !cli_wants_json(cli))
        return cli_fail(cli, CLI_USAGE,
                        "--bytes needs -o json or ndjson: tables do not show the stack's bytes");
    http_buf_printf(&path, "/v1/goroutines/%" PRIu64 "/snapshot", id);
    if (cli->options.bytes != CLI_UNSET)
        http_buf_printf(&path, "?bytes=%" PRIu64, cli->options.bytes);
    if (cli->options.vectors)
        http_buf_printf(&path, "%cvectors=1", strchr(path.data, '?') ? '&' : '?');
    int result = cli_show_as(cli, path.data);
    http_buf_free(&path);
    return result;
}

int cli_snapshot(struct cli *cli)
{
    char duration[CLI_DURATION_BYTES];
    const struct cli_options *o = &cli->options;
    if (cli_names_one(cli))
        return snapshot_one(cli);
    if (o->bytes != CLI_UNSET || o->vectors)
        return cli_fail(
            cli, CLI_USAGE,
            "--bytes and --vectors are for one ID; `grasp snapshots ID --kind core` has the "
            "stacks and registers of a saved set");
    json_t *body = cli_selection(cli);
    if (!body)
        return cli->failure;
    cli_add_hold_options(cli, body);
    if (cli->options.require_all)
        json_object_set_new(body, "require", json_string("all"));
    json_t *saved = cli_ask(cli, "POST", "/v1/snapshots", body);
    if (!saved)
        return cli->failure;
    if (cli_wants_json(cli))
        cli_print_json(cli, saved);
    else
        printf("snapshot %" PRIu64 " of %" PRIu64 " goroutines is saved (first to last stop: %s); "
               "see: grasp snapshots %" PRIu64 "\n",
               cli_number(saved, "id"), cli_number(saved, "count"),
               cli_duration(duration, cli_number(saved, "skew_ns")), cli_number(saved, "id"));
    json_decref(saved);
    return CLI_OK;
}

static const struct table_column snapshots_columns[] = {
    {"ID", true, 0, 0, false},     {"COUNT", true, 0, 4, false},
    {"BYTES", true, 0, 3, false},  {"CREATED", false, 0, 0, false},
    {"FAILED", true, 0, 2, false}, {"PRINCIPAL", false, 8, 1, false},
};

static bool snapshots_row(void *ctx, json_t *s)
{
    struct table *table = ctx;
    table_cellf(table, TABLE_BOLD, "%" PRIu64, cli_number(s, "id"));
    table_cellf(table, TABLE_PLAIN, "%" PRIu64, cli_number(s, "count"));
    table_cellf(table, TABLE_PLAIN, "%" PRIu64, cli_number(s, "bytes"));
    table_cell(table, TABLE_PLAIN, cli_string(s, "created_at"));
    table_cellf(table, TABLE_PLAIN, "%" PRIu64, cli_number(s, "failed_count"));
    table_cell(table, TABLE_PLAIN, cli_string(s, "principal"));
    return true;
}

/* GET path as it is, into -O FILE or the default name. */
static int fetch(struct cli *cli, const char *path, const char *name, const char *hint)
{
    struct http_answer answer;
    const char *file = cli->options.file ? cli->options.file : name;
    http_answer_init(&answer);
    int result = cli_ask_raw(cli, "GET", path, NULL, 0, NULL, &answer);
    if (result)
        result = cli->failure;
    else if (answer.status != 200)
        result = cli_explain(cli, &answer);
    else if (!cli_save(cli, file, answer.body.data, answer.body.size))
        result = cli->failure;
    else if (strcmp(file, "-"))
        fprintf(stderr, "%s: %zu bytes%s%s\n", file, answer.body.size, hint ? "; for: " : "",
                hint ? hint : "");
    http_answer_fini(&answer);
    return result;
}

int cli_snapshots(struct cli *cli)
{
    struct http_buf path = {0};
    int result;
    const char *kind = cli->options.kind;
    if (kind && strcmp(kind, "folded") && strcmp(kind, "core"))
        return cli_fail(cli, CLI_USAGE,
                        "--kind of a saved snapshot must be folded or core, not \"%s\"", kind);
    if (!cli->arg_count && (kind || cli->options.delete))
        return cli_fail(cli, CLI_USAGE, "which one? `grasp snapshots` lists them");
    if (!cli->arg_count)
        return cli_walk_table(cli, "/v1/snapshots", snapshots_columns,
                              sizeof snapshots_columns / sizeof snapshots_columns[0],
                              snapshots_row);
    uint64_t id = cli_id(cli, cli->args[0]);
    if (!id)
        return cli->failure;
    http_buf_printf(&path, "/v1/snapshots/%" PRIu64, id);
    if (cli->options.delete) {
        json_t *answer = cli_ask(cli, "DELETE", path.data, NULL);
        result = answer ? CLI_OK : cli->failure;
        json_decref(answer);
    } else if (kind) {
        http_buf_printf(&path, "?format=%s", kind);
        result = fetch(cli, path.data, "-", NULL);
    } else {
        result = cli_show_as(cli, path.data);
    }
    http_buf_free(&path);
    return result;
}

/* ---- core, profile, trace --------------------------------------------------------------------- */

int cli_core(struct cli *cli)
{
    char path[64], name[40];
    uint64_t id = cli_id(cli, cli->args[0]);
    if (!id)
        return cli->failure;
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "/core", id);
    snprintf(name, sizeof name, "core.%" PRIu64, id);
    return fetch(cli, path, name, "gdb PROGRAM-OF-THE-DAEMON FILE");
}

int cli_profile(struct cli *cli)
{
    char path[96];
    const char *kind = cli->options.kind ? cli->options.kind : "cpu";
    uint64_t seconds = cli->options.seconds == CLI_UNSET ? 5 : cli->options.seconds;
    bool cpu = strcmp(kind, "cpu") == 0;
    if (!cpu && strcmp(kind, "goroutine"))
        return cli_fail(cli, CLI_USAGE, "--kind must be cpu or goroutine, not \"%s\"", kind);
    if (cpu && cli->options.text)
        return cli_fail(cli, CLI_USAGE,
                        "a CPU profile has no text form; use go tool pprof -top FILE");
    if (cli->options.text)
        return cli_show_as(cli, "/debug/pprof/goroutine?debug=2");
    if (cpu)
        snprintf(path, sizeof path, "/debug/pprof/profile?seconds=%" PRIu64, seconds);
    else
        snprintf(path, sizeof path, "/debug/pprof/goroutine?debug=0");
    if (cpu)
        fprintf(stderr, "profiling for %" PRIu64 " s ...\n", seconds);
    return fetch(cli, path, cpu ? "cpu.pb.gz" : "goroutine.pb.gz", "go tool pprof FILE");
}

int cli_trace(struct cli *cli)
{
    char path[64];
    uint64_t seconds = cli->options.seconds == CLI_UNSET ? 2 : cli->options.seconds;
    snprintf(path, sizeof path, "/debug/trace?seconds=%" PRIu64, seconds);
    fprintf(stderr, "tracing for %" PRIu64 " s ...\n", seconds);
    return fetch(cli, path, "trace.json", "https://ui.perfetto.dev (Open trace file)");
}
