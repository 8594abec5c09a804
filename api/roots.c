/*
 * roots.c: GET /v1/goroutines/ID/roots: what a goroutine's registers and stack point at.
 *
 * From a copy, made as for a snapshot: the goroutine stands still for the copy alone. The runtime
 * tells the kind of each word (grasp/waits.h); registers get their names here, data its symbol's
 * neighbourhood by module and offset, never a guessed name.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_name(const char *name, const char *text, size_t size)
{
    return strlen(name) == size && strncmp(name, text, size) == 0;
}

/* Bits of the kinds in the parameter `kind`; all without it; 0 and a problem: one is unknown. */
static unsigned kinds_asked(struct api_call *call)
{
    const char *rest = api_param(call, "kind"), *text;
    size_t size;
    unsigned bits = rest ? 0 : ~0u;
    while (api_item_next(&rest, &text, &size)) {
        unsigned kind = 0;
        while (kind < GR_ROOT_KINDS && !is_name(gr_root_kind_name((enum gr_root_kind)kind), text, size))
            kind++;
        if (kind == GR_ROOT_KINDS) {
            api_problem(call, 400, API_CODE_BAD_REQUEST,
                        "\"%.*s\" is no kind; there are channel, mutex, condition, wait group, "
                        "goroutine, result, stack, other stack and data",
                        (int)(size > 40 ? 40 : size), text);
            return 0;
        }
        bits |= 1u << kind;
    }
    return bits;
}

bool api_roots_check(struct api_call *call)
{
    return kinds_asked(call) != 0;
}

static json_t *root_json(const struct gr_root *root)
{
    json_t *value = json_object();
    if (root->reg >= 0)
        json_object_set_new(value, "register",
                            api_json_string(gr_register_name((unsigned)root->reg)));
    else
        json_object_set_new(value, "at", api_json_hex(root->at));
    json_object_set_new(value, "value", api_json_hex(root->value));
    json_object_set_new(value, "kind", json_string(gr_root_kind_name(root->kind)));
    json_object_set_new(value, "object", api_json_hex(root->object));
    json_object_set_new(value, "offset", api_json_uint(root->value - root->object));
    if (root->goroutine && root->kind != GR_ROOT_STACK)
        json_object_set_new(value, "goroutine", api_json_uint(root->goroutine));
    if (root->kind == GR_ROOT_DATA)
        json_object_set_new(value, "module", api_json_string(root->module));
    return value;
}

void api_roots_reply(struct api_call *call, const struct gr_copy *copy)
{
    struct gr_root *roots = malloc(API_ROOTS_MAX * sizeof *roots);
    ssize_t total = roots ? gr_roots(copy, roots, API_ROOTS_MAX) : -ENOMEM;
    if (total < 0) {
        free(roots);
        api_problem_no_memory(call);
        return;
    }
    unsigned kinds = kinds_asked(call);
    uint64_t limit = api_param_uint(call, "limit", API_ROOTS_DEFAULT), matching = 0;
    json_t *items = json_array();
    for (ssize_t i = 0; i < total && i < API_ROOTS_MAX; i++)
        if (kinds >> roots[i].kind & 1 && matching++ < limit)
            json_array_append_new(items, root_json(&roots[i]));
    free(roots);
    json_t *value = json_object();
    json_object_set_new(value, "goroutine", api_json_uint(call->id));
    json_object_set_new(value, "safepoint", json_string(gr_safepoint_name(copy->safepoint)));
    json_object_set_new(value, "scanned_bytes", api_json_uint(copy->copied_bytes));
    json_object_set_new(value, "items", items);
    json_object_set_new(value, "total", api_json_uint(matching));
    json_object_set_new(value, "truncated",
                        json_boolean(copy->truncated || matching > limit || total > API_ROOTS_MAX));
    api_reply_json(call, 200, value);
}

/* ---- Text ------------------------------------------------------------------------------------ */

void api_text_roots(struct api_buf *out, const json_t *value)
{
    size_t i;
    json_t *item;
    api_buf_printf(out,
                   "goroutine %" JSON_INTEGER_FORMAT " points at %" JSON_INTEGER_FORMAT " things\n",
                   json_integer_value(json_object_get(value, "goroutine")),
                   json_integer_value(json_object_get(value, "total")));
    json_array_foreach(json_object_get(value, "items"), i, item)
    {
        const json_t *reg = json_object_get(item, "register");
        const json_t *goroutine = json_object_get(item, "goroutine");
        const json_t *module = json_object_get(item, "module");
        api_buf_printf(out, "%-18s %-18s %s %s",
                       json_string_value(reg ? reg : json_object_get(item, "at")),
                       json_string_value(json_object_get(item, "value")),
                       json_string_value(json_object_get(item, "kind")),
                       json_string_value(json_object_get(item, "object")));
        api_buf_printf(out, "+%" JSON_INTEGER_FORMAT,
                       json_integer_value(json_object_get(item, "offset")));
        if (goroutine)
            api_buf_printf(out, " of goroutine %" JSON_INTEGER_FORMAT,
                           json_integer_value(goroutine));
        if (module) {
            api_buf_str(out, " of ");
            api_buf_plain(out, json_string_value(module), 0);
        }
        api_buf_str(out, "\n");
    }
    if (json_is_true(json_object_get(value, "truncated")))
        api_buf_str(out, "...\n");
}
