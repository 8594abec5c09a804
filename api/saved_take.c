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
    struct api_call *call;
    struct api_suspension *suspension;
    struct api_job job;
    struct api_cut cut;
    json_t *failed;
    struct api_saved saved;
    int err;
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
    struct api_call *call = taking->call;
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
    for (size_t i = 0; i < taking->cut.count && !err; i++) {
        json_t *value = member_json(taking->cut.copy[i]);
        char *line = value ? json_dumps(value, JSON_COMPACT) : NULL;
        json_decref(value);
        if (!line)
            err = -ENOMEM;
        else
            api_buf_printf(&buf, "%s%s\n", line, i + 1 < taking->cut.count ? "," : "");
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
    struct gr_core *core =
        gr_core_open((const struct gr_copy *const *)taking->cut.copy, taking->cut.count, 0);
    char *block = malloc(BLOCK_BYTES);
    int err = core && block ? 0 : -ENOMEM;
    /* Ends: a core has a size. */
    for (size_t size = BLOCK_BYTES; !err && size == BLOCK_BYTES;) {
        size = gr_core_read(core, block, BLOCK_BYTES);
        taking->saved.core_bytes += size;
        err = taking->call->api->host.store_write(file, block, size);
    }
    free(block);
    gr_core_close(core);
    return err;
}

static int save(struct taking *taking)
{
    struct api *api = taking->call->api;
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
    if (taking->err == -E2BIG) {
        api_problem(call, 413, API_CODE_TOO_LARGE,
                    "the stacks are more than %zu MiB together; choose fewer goroutines",
                    API_CUT_BYTES_MAX >> 20);
        return;
    }
    taking->saved.id = taking->err ? 0 : api_saved_reserve(table);
    if (!taking->err && !taking->saved.id) {
        api_problem(call, 429, API_CODE_LIMIT_REACHED,
                    "%d snapshots are kept already; delete some first", API_SNAPSHOTS_MAX);
        return;
    }
    if (!taking->err)
        taking->err = save(taking);
    if (taking->err) {
        if (taking->saved.id)
            api_saved_give_up(table);
        api_saved_problem(call, taking->err);
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

/* Loop: everybody was let go. */
static void let_go(struct api_suspension *suspension)
{
    struct api_call *call = suspension->call;
    struct taking *taking = call->state;
    api_suspension_destroy(suspension);
    taking->suspension = NULL;
    api_call_pool(call, reply);
}

static struct taking *taking_of(struct api_job *job)
{
    return (struct taking *)((char *)job - offsetof(struct taking, job));
}

/* Pool, while all of them are held: the time between the first stop and the last, and the copies. */
static void take(struct api_job *job)
{
    struct taking *taking = taking_of(job);
    const struct api_suspension *s = taking->suspension;
    uint64_t first = UINT64_MAX, last = 0;
    for (const struct api_member *m = s->members; m; m = m->sibling) {
        first = m->hold.stopped_ns < first ? m->hold.stopped_ns : first;
        last = m->hold.stopped_ns > last ? m->hold.stopped_ns : last;
    }
    taking->saved.skew_ns = last > first ? last - first : 0;
    taking->saved.created_realtime_ns = api_realtime_ns();
    taking->err = api_cut_take(&taking->cut, s);
    taking->saved.count = taking->cut.count;
    taking->saved.failed = s->failed_count;
    taking->failed = api_failures_json(s->failed, s->failed_count);
}

static void taken(struct api_job *job)
{
    api_suspension_let_go(taking_of(job)->suspension, let_go);
}

static void clean_up(struct api_call *call)
{
    struct taking *taking = call->state;
    if (!taking)
        return;
    json_decref(taking->failed);
    api_cut_free(&taking->cut);
    free(taking);
}

/* ---- The set
 * --------------------------------------------------------------------------------------- */

/* Pool. */
static void reply_not_held(struct api_call *call)
{
    struct api_group *group = call->state;
    api_group_problem(call, group);
    api_suspension_destroy(group->suspension);
    api_group_free(group);
    call->state = NULL;
}

static void no_memory(struct api_suspension *suspension)
{
    struct api_call *call = suspension->call;
    api_suspension_destroy(suspension);
    api_problem_no_memory(call);
    api_call_done(call);
}

static void grouped(struct api_group *group, enum api_group_outcome outcome)
{
    struct api_call *call = group->call;
    struct api_suspension *suspension = group->suspension;
    if (outcome != API_GROUP_HELD) {
        api_call_pool(call, reply_not_held);
        return;
    }
    struct taking *taking = calloc(1, sizeof *taking);
    api_group_free(group);
    call->state = taking;
    if (!taking) {
        api_suspension_let_go(suspension, no_memory);
        return;
    }
    taking->call = call;
    taking->suspension = suspension;
    strcpy(taking->saved.principal, call->principal);
    taking->job.work = take;
    taking->job.done = taken;
    call->cleanup = clean_up;
    call->api->host.pool(call->api->host.ctx, &taking->job);
}

void api_handle_saved_take(struct api_call *call)
{
    const struct api_host *host = &call->api->host;
    if (!host->store_there(host->ctx)) {
        api_saved_problem(call, -ENOTDIR);
        api_call_done(call);
    } else if (!api_group_start(call, grouped)) {
        api_call_done(call);
    }
}
