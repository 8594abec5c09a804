/*
 * goroutine_json.c: one goroutine as an object.
 *
 * It is written as text, because it is what is asked for most, alone and a hundred thousand at a time; where somebody
 * has to work with the members (text for people, pretty JSON) the text is read again. There is one description of the
 * object for both.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SUSPENSION_IDS_MAX 1024 /* shown of one goroutine */

json_t *api_labels_json(const struct gr_info *info)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < info->label_count; i++)
        json_object_set_new(labels, info->label[i].key, api_json_string(info->label[i].value));
    return labels;
}

/* ---- Members: `head` is what comes before the value, comma and name -------------------------- */

/* -1: none. */
static void put_index(struct api_buf *out, const char *head, int index)
{
    if (index >= 0) {
        api_member_uint(out, head, (uint64_t)index);
        return;
    }
    api_buf_str(out, head);
    API_PUT(out, "null");
}

static void put_time(struct api_buf *out, const char *head, uint64_t realtime_ns)
{
    api_buf_str(out, head);
    api_put_time(out, realtime_ns);
}

static void put_suspensions(struct api_buf *out, struct api *api, const struct gr_info *info)
{
    uint64_t ids[SUSPENSION_IDS_MAX];
    size_t count =
        info->state == GR_DEAD ? 0 : api_suspension_ids(api, info->id, ids, SUSPENSION_IDS_MAX);
    API_PUT(out, ",\"suspensions\":[");
    for (size_t i = 0; i < count; i++)
        api_member_uint(out, i ? "," : "", ids[i]);
    API_PUT(out, "]");
}

static void put_labels(struct api_buf *out, const struct gr_info *info)
{
    API_PUT(out, ",\"labels\":{");
    for (size_t i = 0; i < info->label_count; i++) {
        if (i)
            API_PUT(out, ",");
        api_put_text(out, info->label[i].key);
        API_PUT(out, ":");
        api_put_text(out, info->label[i].value);
    }
    API_PUT(out, "}");
}

static void put_place(struct api_buf *out, const struct gr_info *info, const struct gr_frame *frame)
{
    put_index(out, ",\"m\":", info->m);
    put_index(out, ",\"p\":", info->p);
    API_PUT(out, ",\"pc\":");
    if (info->pc)
        api_put_hex(out, info->pc);
    else
        API_PUT(out, "null");
    api_member_text(out, ",\"function\":", frame->function);
    api_member_text(out, ",\"file\":", frame->file);
    put_index(out, ",\"line\":", frame->line ? frame->line : -1);
}

static void put_exit(struct api_buf *out, const struct gr_info *info, const char *result)
{
    put_time(out, ",\"ended_at\":", info->ended_realtime_ns);
    api_buf_printf(out, ",\"exit\":{\"reason\":\"%s\",\"code\":%d,\"result\":",
                   info->exit_reason == GR_EXIT_CANCELLED ? "cancelled" : "returned",
                   info->exit_code);
    api_put_raw(out, result ? result : "null");
    API_PUT(out, "}");
}

void api_goroutine_write(struct api_buf *out, struct api *api, const struct gr_info *info,
                         const struct gr_frame *frame, const char *result)
{
    api_member_uint(out, "{\"id\":", info->id);
    api_member_text(out, ",\"state\":", gr_state_name(info->state));
    api_member_bool(out, ",\"suspended\":", info->suspended);
    api_member_uint(out, ",\"holds\":", info->holds);
    put_suspensions(out, api, info);
    api_member_bool(out, ",\"folded\":", info->folded);
    api_member_text(out, ",\"module\":", info->module);
    api_member_text(out, ",\"entry\":", info->entry);
    api_member_text(out, ",\"name\":", info->name);
    api_member_uint(out, ",\"root\":", info->root);
    if (info->parent)
        api_member_uint(out, ",\"parent\":", info->parent);
    else
        API_PUT(out, ",\"parent\":null");
    put_labels(out, info);
    put_time(out, ",\"created_at\":", info->created_realtime_ns);
    api_member_text(out, ",\"wait_reason\":", info->wait_reason);
    api_member_uint(out, ",\"wait_ns\":", info->wait_ns);
    api_member_uint(out, ",\"cpu_ns\":", info->cpu_ns);
    put_place(out, info, frame);
    api_member_bool(out, ",\"cancelled\":", info->cancelled);
    api_member_bool(out, ",\"wired\":", info->wired);
    api_member_bool(out, ",\"pinned\":", info->pinned);
    api_member_uint(out, ",\"preempts\":{\"sync\":", info->preempts_sync);
    api_member_uint(out, ",\"async\":", info->preempts_async);
    API_PUT(out, "}");
    if (info->state == GR_DEAD)
        put_exit(out, info, result);
}

/* ---- As a value (pool) ----------------------------------------------------------------------- */

/* What jansson can't hold (a number beyond 64 bits) stays text. */
static json_t *result_json(const char *text)
{
    json_t *result = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return result ? result : api_json_raw(text);
}

json_t *api_goroutine_json(struct api *api, const struct gr_info *info, bool as_text)
{
    struct api_buf text = {0};
    struct gr_frame frame = {0};
    char *result = NULL;
    json_t *value = NULL;
    if (info->pc)
        api_name(api, info->pc, &frame);
    if (info->state == GR_DEAD && gr_info_result(info->id, &result))
        result = NULL;
    api_goroutine_write(&text, api, info, &frame, as_text ? result : NULL);
    API_PUT(&text, "}");
    if (as_text) {
        api_buf_add(&text, "", 1);
        value = text.failed ? NULL : api_json_raw(text.data);
    } else if (!text.failed) {
        value = json_loadb(text.data, text.size, 0, NULL);
        if (value && result)
            json_object_set_new(json_object_get(value, "exit"), "result", result_json(result));
    }
    api_buf_free(&text);
    free(result);
    return value;
}

int api_goroutine_get(struct api *api, uint64_t id, json_t **out)
{
    struct gr_info info;
    int err = gr_info(id, &info);
    if (err)
        return err;
    *out = api_goroutine_json(api, &info, false);
    return *out ? 0 : -ENOMEM;
}
