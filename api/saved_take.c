/*
 * saved_take.c: POST /v1/snapshots: hold a set, copy it, let it go, then unwind and write. See saved.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/inspect.h>

#include "cut.h"
#include "group.h"
#include "internal.h"
#include "saved.h"
#include "snapshot.h"

#define BLOCK_BYTES (256 * 1024)

struct taking {
    struct api_cutting cutting;
    json_t *failed;
    struct api_saved saved;
};

/* ---- Writing (pool, everybody was let go)
 * --------------------------------------------------------- */

static int flush(struct api_call *call, struct api_store_file *file, struct api_buf *buf)
{
    int err = buf->failed ? -ENOMEM : call->api->host.store_write(file, buf->data, buf->size);
    api_buf_clear(buf);
    return err;
}

/* What the copy shows, and what is still known of the goroutine that it was made of. */
static json_t *member_json(const struct gr_copy *copy)
{
    struct gr_info info;
    json_t *value = api_copy_json(copy);
    if (value && gr_info(copy->id, &info) == 0) {
        json_object_set_new(value, "module", api_json_string(info.module));
        json_object_set_new(value, "entry", api_json_string(info.entry));
        json_object_set_new(value, "name", api_json_string(info.name));
        json_object_set_new(value, "root", api_json_uint(info.root));
        json_object_set_new(value, "labels", api_labels_json(&info));
    }
    return value;
}

/* The JSON part: first what describes the whole, then a goroutine a line. */
static int write_json(struct taking *taking, struct api_store_file *file)
{
    struct api_call *call = taking->cutting.call;
    struct api_buf buf = {0};
    json_t *head = api_saved_json(&taking->saved);
    int err = head ? 0 : -ENOMEM;
    json_object_del(head, "bytes"); /* not known yet */
    json_object_set(head, "failed", taking->failed);
    char *text = err ? NULL : json_dumps(head, JSON_COMPACT);
    json_decref(head);
    /* The object goes on: its closing brace comes last. */
    if (text)
        api_buf_add(&buf, text, strlen(text) - 1);
    free(text);
    api_buf_str(&buf, ",\"goroutines\":[\n");
    for (size_t i = 0; i < taking->cutting.cut.count && !err; i++) {
        json_t *value = member_json(taking->cutting.cut.copy[i]);
        char *line = value ? json_dumps(value, JSON_COMPACT) : NULL;
        json_decref(value);
        if (!line)
            err = -ENOMEM;
        else
            api_buf_printf(&buf, "%s%s\n", line, i + 1 < taking->cutting.cut.count ? "," : "");
        free(line);
        if (!err && buf.size >= BLOCK_BYTES) {
            taking->saved.json_bytes += buf.size;
            err = flush(call, file, &buf);
        }
    }
    api_buf_str(&buf, "]}\n");
    taking->saved.json_bytes += buf.size;
    if (!err)
        err = flush(call, file, &buf);
    api_buf_free(&buf);
    return err;
}

static int write_core(struct taking *taking, struct api_store_file *file)
{
    struct gr_core *core = gr_core_open((const struct gr_copy *const *)taking->cutting.cut.copy,
                                        taking->cutting.cut.count, 0);
    char *block = malloc(BLOCK_BYTES);
    int err = core && block ? 0 : -ENOMEM;
    /* Ends: a core has a size. */
    for (size_t size = BLOCK_BYTES; !err && size == BLOCK_BYTES;) {
        size = gr_core_read(core, block, BLOCK_BYTES);
        taking->saved.core_bytes += size;
        err = taking->cutting.call->api->host.store_write(file, block, size);
    }
    free(block);
    gr_core_close(core);
    return err;
}

static int save(struct taking *taking)
{
    struct api *api = taking->cutting.call->api;
    char name[API_SAVED_NAME_BYTES];
    struct api_store_file *file = NULL;
    int err = api->host.store_create(api->host.ctx, &file);
    if (err)
        return err;
    err = write_json(taking, file);
    if (!err)
        err = write_core(taking, file);
    api_saved_name(api, taking->saved.id, name);
    int close_err = api->host.store_close(file, err ? NULL : name);
    return err ? err : close_err;
}

/* Pool. */
static void reply(struct api_call *call)
{
    struct taking *taking = call->state;
    struct api_saved_table *table = &call->api->saved;
    int err;
    if (api_cut_problem(call, taking->cutting.err))
        return;
    taking->saved.id = api_saved_reserve(table);
    if (!taking->saved.id) {
        api_problem(call, 429, API_CODE_LIMIT_REACHED,
                    "%d snapshots are kept already; delete some first", API_SNAPSHOTS_MAX);
        return;
    }
    err = save(taking);
    if (err) {
        api_saved_give_up(table);
        api_saved_problem(call, err);
        return;
    }
    api_saved_add(table, &taking->saved);
    api_buf_printf(&call->reply.headers, "Location: /v1/snapshots/%llu\r\n",
                   (unsigned long long)taking->saved.id);
    json_t *value = api_saved_json(&taking->saved);
    json_object_set(value, "failed", taking->failed);
    api_reply_json(call, 201, value);
}

/* ---- The cut
 * --------------------------------------------------------------------------------------- */

/* Pool, while all of them are held: the time between the first stop and the last. */
static void held(struct api_cutting *cutting, const struct api_suspension *s)
{
    struct taking *taking = (struct taking *)cutting;
    uint64_t first = UINT64_MAX, last = 0;
    for (const struct api_member *m = s->members; m; m = m->sibling) {
        first = m->hold.stopped_ns < first ? m->hold.stopped_ns : first;
        last = m->hold.stopped_ns > last ? m->hold.stopped_ns : last;
    }
    taking->saved.skew_ns = last > first ? last - first : 0;
    taking->saved.created_realtime_ns = api_realtime_ns();
    taking->saved.count = cutting->cut.count;
    taking->saved.failed = s->failed_count;
    taking->failed = api_failures_json(s->failed, s->failed_count);
}

static void clean_up(struct api_call *call)
{
    struct taking *taking = call->state;
    if (!taking)
        return;
    json_decref(taking->failed);
    api_cut_free(&taking->cutting.cut);
    free(taking);
}

void api_handle_saved_take(struct api_call *call)
{
    const struct api_host *host = &call->api->host;
    struct taking *taking = NULL;
    if (!host->store_there(host->ctx))
        api_saved_problem(call, -ENOTDIR);
    else if (!(taking = calloc(1, sizeof *taking)))
        api_problem_no_memory(call);
    if (!taking) {
        api_call_done(call);
        return;
    }
    strcpy(taking->saved.principal, call->principal);
    taking->cutting.held = held;
    taking->cutting.reply = reply;
    call->cleanup = clean_up;
    api_cut_start(call, &taking->cutting);
}
