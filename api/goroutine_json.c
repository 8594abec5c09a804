/*
 * goroutine_json.c: one goroutine as an object.
 *
 * Pool threads only: naming the pc takes the inspector's lock, and a list has thousands of them.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#define SUSPENSION_IDS_MAX 1024 /* shown of one goroutine */

json_t *api_labels_json(const struct gr_info *info)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < info->label_count; i++)
        json_object_set_new(labels, info->label[i].key, api_json_string(info->label[i].value));
    return labels;
}

static json_t *suspensions_json(struct api *api, uint64_t id)
{
    uint64_t ids[SUSPENSION_IDS_MAX];
    size_t count = api_suspension_ids(api, id, ids, SUSPENSION_IDS_MAX);
    json_t *value = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(value, api_json_uint(ids[i]));
    return value;
}

/* Null where there is none: a goroutine that the program itself started has no entry. */
static json_t *name_json(const char *name)
{
    return api_json_string(name[0] ? name : NULL);
}

static json_t *index_json(int index)
{
    return index < 0 ? json_null() : json_integer(index);
}

static void add_place(json_t *value, const struct gr_info *info)
{
    struct gr_frame frame = {0};
    if (info->pc)
        gr_symbolise(info->pc, true, &frame);
    json_object_set_new(value, "m", index_json(info->m));
    json_object_set_new(value, "p", index_json(info->p));
    json_object_set_new(value, "pc", api_json_address(info->pc));
    json_object_set_new(value, "function", api_json_string(frame.function));
    json_object_set_new(value, "file", api_json_string(frame.file));
    json_object_set_new(value, "line", frame.line ? json_integer(frame.line) : json_null());
}

static void add_exit(json_t *value, const struct gr_info *info)
{
    char *text = NULL;
    json_t *result = NULL;
    /* gr_result let only JSON in; what jansson can't hold (a number beyond 64 bits) stays as it is. */
    if (gr_info_result(info->id, &text) == 0 && text &&
        !(result = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)))
        result = api_json_raw(text);
    free(text);
    json_object_set_new(value, "ended_at", api_json_time(info->ended_realtime_ns));
    json_object_set_new(value, "exit",
                        json_pack("{s:s,s:i,s:o}", "reason",
                                  info->exit_reason == GR_EXIT_CANCELLED ? "cancelled" : "returned",
                                  "code", info->exit_code, "result",
                                  result ? result : json_null()));
}

json_t *api_goroutine_json(struct api *api, const struct gr_info *info)
{
    json_t *value = json_object();
    json_object_set_new(value, "id", api_json_uint(info->id));
    json_object_set_new(value, "state", json_string(gr_state_name(info->state)));
    json_object_set_new(value, "suspended", json_boolean(info->suspended));
    json_object_set_new(value, "holds", json_integer(info->holds));
    json_object_set_new(value, "suspensions", suspensions_json(api, info->id));
    json_object_set_new(value, "folded", json_boolean(info->folded));
    json_object_set_new(value, "module", name_json(info->module));
    json_object_set_new(value, "entry", name_json(info->entry));
    json_object_set_new(value, "name", name_json(info->name));
    json_object_set_new(value, "root", api_json_uint(info->root));
    json_object_set_new(value, "parent", info->parent ? api_json_uint(info->parent) : json_null());
    json_object_set_new(value, "labels", api_labels_json(info));
    json_object_set_new(value, "created_at", api_json_time(info->created_realtime_ns));
    json_object_set_new(value, "wait_reason",
                        api_json_string(info->wait_reason[0] ? info->wait_reason : NULL));
    json_object_set_new(value, "wait_ns", api_json_uint(info->wait_ns));
    json_object_set_new(value, "cpu_ns", api_json_uint(info->cpu_ns));
    add_place(value, info);
    json_object_set_new(value, "cancelled", json_boolean(info->cancelled));
    json_object_set_new(value, "wired", json_boolean(info->wired));
    json_object_set_new(value, "pinned", json_boolean(info->pinned));
    json_object_set_new(value, "preempts",
                        json_pack("{s:o,s:o}", "sync", api_json_uint(info->preempts_sync), "async",
                                  api_json_uint(info->preempts_async)));
    if (info->state == GR_DEAD)
        add_exit(value, info);
    return value;
}

int api_goroutine_get(struct api *api, uint64_t id, json_t **out)
{
    struct gr_info info;
    int err = gr_info(id, &info);
    if (err)
        return err;
    *out = api_goroutine_json(api, &info);
    return *out ? 0 : -ENOMEM;
}
