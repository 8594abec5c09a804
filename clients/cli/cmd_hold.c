/*
 * cmd_hold.c: taking hold and letting go: suspend, resume, holds, renew, cancel.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "wire.h"

/* ---- suspend ---------------------------------------------------------------------------------- */

static void print_failures(const json_t *suspension)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(suspension, "failed"), i, one)
    {
        char *text = json_dumps(one, JSON_COMPACT | JSON_ENCODE_ANY);
        fprintf(stderr, "grasp:   not held: %s\n", text);
        free(text);
    }
}

static void print_suspension(struct cli *cli, const json_t *s)
{
    char duration[CLI_DURATION_BYTES], lease[CLI_DURATION_BYTES];
    cli_duration(lease, cli_number(s, "lease_ms") * 1000000);
    if (cli_wants_json(cli)) {
        cli_print_json(cli, s);
    } else if (json_object_get(s, "goroutine")) {
        printf("goroutine %" PRIu64 " held by suspension %" PRIu64
               " for %s (%s safe-point, stopped in %s)\n",
               cli_number(s, "goroutine"), cli_number(s, "id"), lease, cli_string(s, "safepoint"),
               cli_duration(duration, cli_number(s, "latency_ns")));
    } else {
        printf("%" PRIu64 " goroutines held by suspension %" PRIu64
               " for %s (first to last stop: %s)\n",
               cli_number(s, "count"), cli_number(s, "id"), lease,
               cli_duration(duration, cli_number(s, "skew_ns")));
        print_failures(s);
    }
}

json_t *cli_take_hold(struct cli *cli)
{
    char path[64];
    if (cli_names_one(cli)) {
        uint64_t id = cli_id(cli, cli->args[0]);
        json_t *body = id ? json_object() : NULL;
        if (!body)
            return NULL;
        cli_add_hold_options(cli, body);
        snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "/suspend", id);
        return cli_ask(cli, "POST", path, body);
    }
    json_t *body = cli_selection(cli);
    if (!body)
        return NULL;
    cli_add_hold_options(cli, body);
    if (cli->options.require_all)
        json_object_set_new(body, "require", json_string("all"));
    return cli_ask(cli, "POST", "/v1/suspensions", body);
}

int cli_suspend(struct cli *cli)
{
    json_t *suspension = cli_take_hold(cli);
    if (!suspension)
        return cli->failure;
    print_suspension(cli, suspension);
    json_decref(suspension);
    return CLI_OK;
}

/* ---- resume ----------------------------------------------------------------------------------- */

static int release(struct cli *cli, uint64_t suspension)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/suspensions/%" PRIu64, suspension);
    json_t *answer = cli_ask(cli, "DELETE", path, NULL);
    if (!answer)
        return cli->failure;
    json_decref(answer);
    if (!cli_wants_json(cli))
        printf("suspension %" PRIu64 " released\n", suspension);
    return CLI_OK;
}

static int resume_one(struct cli *cli, const char *text, json_t *values)
{
    char path[64];
    uint64_t id = cli_id(cli, text);
    if (!id)
        return cli->failure;
    json_t *body = json_object();
    if (cli->options.suspension != CLI_UNSET)
        json_object_set_new(body, "suspension", json_integer((json_int_t)cli->options.suspension));
    if (cli->options.all)
        json_object_set_new(body, "all", json_true());
    snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64 "/resume", id);
    json_t *g = cli_ask(cli, "POST", path, body);
    if (!g)
        return cli->failure;
    uint64_t holds = cli_number(g, "holds");
    if (values) {
        cli_add_json(cli, values, g);
        return CLI_OK;
    }
    if (holds == 1)
        printf("goroutine %" PRIu64 " is still held once\n", id);
    else if (holds)
        printf("goroutine %" PRIu64 " is still held %" PRIu64 " times\n", id, holds);
    else
        printf("goroutine %" PRIu64 " runs again\n", id);
    json_decref(g);
    return CLI_OK;
}

int cli_resume(struct cli *cli)
{
    int result = CLI_OK;
    if (!cli->arg_count && cli->options.suspension != CLI_UNSET)
        return release(cli, cli->options.suspension);
    if (!cli->arg_count)
        return cli_fail(
            cli, CLI_USAGE,
            "what is to run again? Give goroutine ids, or --suspension ID; `grasp holds` "
            "lists what is held");
    json_t *values = cli_wants_json(cli) ? json_array() : NULL;
    /* Each of them is tried: a release must not depend on its neighbours. */
    for (size_t i = 0; i < cli->arg_count; i++) {
        int one = resume_one(cli, cli->args[i], values);
        result = result ? result : one;
    }
    cli_end_json(cli, values);
    return result;
}

/* ---- holds, renew ----------------------------------------------------------------------------- */

static const struct table_column holds_columns[] = {
    {"ID", true, 0, 0, false},         {"HELD", true, 0, 0, false},
    {"PRINCIPAL", false, 8, 3, false}, {"OWNER", false, 8, 4, false},
    {"LEFT", true, 0, 0, false},       {"LEASE", true, 0, 1, false},
    {"AGE", true, 0, 2, false},        {"REASON", false, 8, 5, false},
};

static bool holds_row(void *ctx, json_t *s)
{
    char duration[CLI_DURATION_BYTES];
    struct table *table = ctx;
    table_cellf(table, TABLE_BOLD, "%" PRIu64, cli_number(s, "id"));
    table_cellf(table, TABLE_PLAIN, "%" PRIu64, cli_number(s, "count"));
    table_cell(table, TABLE_PLAIN, cli_string(s, "principal"));
    table_cell(table, TABLE_PLAIN, cli_string(s, "owner"));
    table_cell(table, TABLE_YELLOW,
               cli_duration(duration, cli_number(s, "remaining_ms") * 1000000));
    table_cell(table, TABLE_PLAIN, cli_duration(duration, cli_number(s, "lease_ms") * 1000000));
    table_cell(table, TABLE_PLAIN, cli_age(duration, cli_string(s, "created_at")));
    table_cell(table, TABLE_PLAIN, cli_string(s, "reason"));
    return true;
}

int cli_holds(struct cli *cli)
{
    char path[64];
    if (!cli->arg_count)
        return cli_walk_table(cli, "/v1/suspensions", holds_columns,
                              sizeof holds_columns / sizeof holds_columns[0], holds_row);
    uint64_t id = cli_id(cli, cli->args[0]);
    if (!id)
        return cli->failure;
    snprintf(path, sizeof path, "/v1/suspensions/%" PRIu64, id);
    return cli_show_as(cli, path);
}

int cli_renew(struct cli *cli)
{
    char path[64], lease[CLI_DURATION_BYTES];
    uint64_t id = cli_id(cli, cli->args[0]);
    uint64_t lease_ms =
        cli->options.lease_ms == CLI_UNSET ? API_LEASE_MS_DEFAULT : cli->options.lease_ms;
    if (!id)
        return cli->failure;
    snprintf(path, sizeof path, "/v1/suspensions/%" PRIu64, id);
    json_t *s = cli_ask(cli, "PATCH", path, json_pack("{s:I}", "lease_ms", (json_int_t)lease_ms));
    if (!s)
        return cli->failure;
    if (cli_wants_json(cli))
        cli_print_json(cli, s);
    else
        printf("suspension %" PRIu64 " has %s from now\n", id,
               cli_duration(lease, lease_ms * 1000000));
    json_decref(s);
    return CLI_OK;
}

/* ---- cancel ----------------------------------------------------------------------------------- */

int cli_cancel(struct cli *cli)
{
    char path[64];
    int result = CLI_OK;
    json_t *values = cli_wants_json(cli) ? json_array() : NULL;
    for (size_t i = 0; i < cli->arg_count; i++) {
        uint64_t id = cli_id(cli, cli->args[i]);
        snprintf(path, sizeof path, "/v1/goroutines/%" PRIu64, id);
        json_t *g = id ? cli_ask(cli, "DELETE", path, NULL) : NULL;
        if (!g) {
            result = result ? result : cli->failure;
        } else if (values) {
            cli_add_json(cli, values, g);
        } else {
            printf("goroutine %" PRIu64 " was asked to end\n", id);
            json_decref(g);
        }
    }
    cli_end_json(cli, values);
    return result;
}
