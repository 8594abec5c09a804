/*
 * selection.c: which goroutines a set has: reading it from a body, and matching.
 */
#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "internal.h"

/* ---- Ids ------------------------------------------------------------------------------------- */

bool api_ids_add(struct api_ids *ids, uint64_t id)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity ? 2 * ids->capacity : 64;
        uint64_t *grown = realloc(ids->ids, capacity * sizeof *grown);
        if (!grown)
            return false;
        ids->ids = grown;
        ids->capacity = capacity;
    }
    ids->ids[ids->count++] = id;
    return true;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void api_ids_sort(struct api_ids *ids)
{
    size_t kept = 0;
    if (ids->count == 0)
        return;
    qsort(ids->ids, ids->count, sizeof *ids->ids, by_value);
    for (size_t i = 0; i < ids->count; i++)
        if (i == 0 || ids->ids[i] != ids->ids[kept - 1])
            ids->ids[kept++] = ids->ids[i];
    ids->count = kept;
}

bool api_ids_have(const struct api_ids *ids, uint64_t id)
{
    return ids->count && bsearch(&id, ids->ids, ids->count, sizeof id, by_value);
}

/* ---- From a body ----------------------------------------------------------------------------- */

static bool read_ids(struct api_call *call, const char *field, struct api_ids *ids)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(call->body, field), i, item)
    {
        if (!api_ids_add(ids, (uint64_t)json_integer_value(item))) {
            api_problem_no_memory(call);
            return false;
        }
    }
    api_ids_sort(ids);
    return true;
}

static bool read_selector(struct api_call *call, struct api_selection *selection)
{
    char err[256];
    const char *text = api_body_string(call, "selector");
    if (api_selector_parse(&selection->selector, text, err, sizeof err)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "field selector: %s", err);
        return false;
    }
    if (selection->selector.count)
        return true;
    api_problem(call, 400, API_CODE_BAD_REQUEST,
                "field selector is empty; to take all goroutines send {\"all\":true}");
    return false;
}

static bool read_one(struct api_call *call, struct api_selection *selection)
{
    const char *text;
    switch (selection->kind) {
    case API_SELECT_IDS:
        return read_ids(call, "ids", &selection->ids);
    case API_SELECT_SELECTOR:
        return read_selector(call, selection);
    case API_SELECT_MODULE:
        text = api_body_string(call, "module");
        strcpy(selection->module, text); /* the route's field table bounds it by GR_NAME_MAX */
        return true;
    case API_SELECT_ROOT:
        selection->root = api_body_uint(call, "root", 0);
        return true;
    case API_SELECT_ALL:
        if (json_is_true(json_object_get(call->body, "all")))
            return true;
        api_problem(call, 400, API_CODE_BAD_REQUEST, "field all must be true, or left out");
        return false;
    }
    return false;
}

bool api_selection_read(struct api_call *call, struct api_selection *selection)
{
    static const char *const names[] = {"ids", "selector", "module", "root", "all"};
    unsigned found = 0;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (json_object_get(call->body, names[i])) {
            selection->kind = (enum api_selection_kind)i;
            found++;
        }
    if (found != 1) {
        api_problem(call, 400, API_CODE_BAD_REQUEST,
                    "name exactly one of ids, selector, module, root and all");
        return false;
    }
    if (read_one(call, selection) && read_ids(call, "except", &selection->except))
        return true;
    api_selection_free(selection);
    return false;
}

void api_selection_free(struct api_selection *selection)
{
    free(selection->ids.ids);
    free(selection->except.ids);
    selection->ids = selection->except = (struct api_ids){0};
}

bool api_selection_match(const struct api_selection *selection, const struct gr_info *info)
{
    switch (selection->kind) {
    case API_SELECT_IDS:
        return false;
    case API_SELECT_SELECTOR:
        return api_selector_match(&selection->selector, info);
    case API_SELECT_MODULE:
        return strcmp(selection->module, info->module) == 0;
    case API_SELECT_ROOT:
        return selection->root == info->root;
    case API_SELECT_ALL:
        return true;
    }
    return false;
}
