/*
 * select.c: which goroutines are meant: ids, or one of -l, --module, --root, --all.
 */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

#include "wire.h"

uint64_t cli_id(struct cli *cli, const char *text)
{
    uint64_t id;
    if (cli_parse_uint(text, 1, API_ID_MAX, &id))
        return id;
    cli_fail(cli, CLI_USAGE,
             "\"%s\" is not an id; ids are positive integers, and `grasp ps` lists them", text);
    return 0;
}

/* "1,2,3" into a JSON array; NULL: explained. */
static json_t *id_list(struct cli *cli, const char *text)
{
    json_t *ids = json_array();
    char word[64];
    while (ids && *text) {
        size_t size = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)size, text);
        uint64_t id = cli_id(cli, word);
        if (!id) {
            json_decref(ids);
            return NULL;
        }
        json_array_append_new(ids, json_integer((json_int_t)id));
        text += size + (text[size] == ',');
    }
    return ids;
}

static json_t *ids_of_args(struct cli *cli)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < cli->arg_count; i++) {
        uint64_t id = cli_id(cli, cli->args[i]);
        if (!id) {
            json_decref(ids);
            return NULL;
        }
        json_array_append_new(ids, json_integer((json_int_t)id));
    }
    return ids;
}

bool cli_names_one(const struct cli *cli)
{
    const struct cli_options *o = &cli->options;
    return cli->arg_count == 1 && !o->require_all && !o->except && !o->selector && !o->module &&
           !o->all && o->root == CLI_UNSET;
}

json_t *cli_selection(struct cli *cli)
{
    const struct cli_options *o = &cli->options;
    unsigned ways =
        (cli->arg_count > 0) + !!o->selector + !!o->module + (o->root != CLI_UNSET) + o->all;
    json_t *body = json_object(), *except = NULL;
    if (ways != 1) {
        cli_fail(
            cli, CLI_USAGE,
            ways ? "ids, -l, --module, --root and --all are different ways to choose: use one"
                 : "which goroutines? Give ids, or -l SELECTOR, --module NAME, --root ID or --all");
        goto failed;
    }
    if (cli->arg_count) {
        json_t *ids = ids_of_args(cli);
        if (!ids)
            goto failed;
        json_object_set_new(body, "ids", ids);
    } else if (o->selector) {
        json_object_set_new(body, "selector", json_string(o->selector));
    } else if (o->module) {
        json_object_set_new(body, "module", json_string(o->module));
    } else if (o->all) {
        json_object_set_new(body, "all", json_true());
    } else {
        json_object_set_new(body, "root", json_integer((json_int_t)o->root));
    }
    if (o->except) {
        except = id_list(cli, o->except);
        if (!except)
            goto failed;
        json_object_set_new(body, "except", except);
    }
    return body;

failed:
    json_decref(body);
    return NULL;
}

void cli_add_hold_options(const struct cli *cli, json_t *body)
{
    const struct cli_options *o = &cli->options;
    if (o->lease_ms != CLI_UNSET)
        json_object_set_new(body, "lease_ms", json_integer((json_int_t)o->lease_ms));
    if (o->timeout_ms != CLI_UNSET)
        json_object_set_new(body, "timeout_ms", json_integer((json_int_t)o->timeout_ms));
    if (o->owner)
        json_object_set_new(body, "owner", json_string(o->owner));
    if (o->reason)
        json_object_set_new(body, "reason", json_string(o->reason));
}

static void add_filter(struct http_buf *path, const char *name, const char *value)
{
    if (!value)
        return;
    http_buf_printf(path, "%c%s=", strchr(path->data, '?') ? '&' : '?', name);
    http_buf_quoted(path, value);
}

void cli_filters(const struct cli *cli, struct http_buf *path)
{
    const struct cli_options *o = &cli->options;
    char root[32];
    snprintf(root, sizeof root, "%" PRIu64, o->root);
    add_filter(path, "state", o->state);
    add_filter(path, "module", o->module);
    add_filter(path, "entry", o->entry);
    add_filter(path, "selector", o->selector);
    add_filter(path, "root", o->root != CLI_UNSET ? root : NULL);
    add_filter(path, "suspended", o->suspended ? "true" : NULL);
}
