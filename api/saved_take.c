/*
 * saved_take.c: POST /v1/snapshots: hold a set, copy it, let it go, then unwind and write, in slices. See saved.h.
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
    /* The file, as far as it is written. */
    struct api_store_file *file;
    bool file_open;
    size_t next; /* member of the cut */
    struct api_buf buf;
    struct gr_core *core;
};

/* ---- Writing (pool, everybody was let go) ---------------------------------------------------- */

static int flush(struct taking *taking)
{
    struct api_buf *buf = &taking->buf;
    const struct api_host *host = &taking->cutting.call->api->host;
    int err = buf->failed ? -ENOMEM : host->store_write(taking->file, buf->data, buf->size);
    taking->saved.json_bytes += buf->size;
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

/* The JSON part begins with what describes the whole; then comes a goroutine a line. */
static int write_head(struct taking *taking)
{
    json_t *head = api_saved_json(&taking->saved);
    json_object_del(head, "bytes"); /* not known yet */
    json_object_set(head, "failed", taking->failed);
    char *text = head ? json_dumps(head, JSON_COMPACT) : NULL;
    json_decref(head);
    /* The object goes on: its closing brace comes last. */
    if (text)
        api_buf_add(&taking->buf, text, strlen(text) - 1);
    api_buf_str(&taking->buf, ",\"goroutines\":[\n");
    free(text);
    return text ? 0 : -ENOMEM;
}

static int write_member(struct taking *taking)
{
    const struct api_cut *cut = &taking->cutting.cut;
    json_t *value = member_json(cut->copy[taking->next++]);
    char *line = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (!line)
        return -ENOMEM;
    api_buf_printf(&taking->buf, "%s%s\n", line, taking->next < cut->count ? "," : "");
    free(line);
    return taking->buf.size < BLOCK_BYTES ? 0 : flush(taking);
}

/* Members, as long as the slice lasts. */
static int write_members(struct taking *taking)
{
    int err = 0;
    while (!err && taking->next < taking->cutting.cut.count) {
        err = write_member(taking);
        if (api_slice_over(taking->cutting.call))
            return err;
    }
    return err;
}

/* The end of the JSON, and the beginning of the core. */
static int write_tail(struct taking *taking)
{
    api_buf_str(&taking->buf, "]}\n");
    int err = flush(taking);
    taking->core = gr_core_open((const struct gr_copy *const *)taking->cutting.cut.copy,
                                taking->cutting.cut.count, 0);
    return err ? err : taking->core ? 0 : -ENOMEM;
}

/* One block; *last: there is none after it. A core has a size. */
static int write_core(struct taking *taking, bool *last)
{
    char *block = malloc(BLOCK_BYTES);
    size_t size = block ? gr_core_read(taking->core, block, BLOCK_BYTES) : 0;
    int err =
        block ? taking->cutting.call->api->host.store_write(taking->file, block, size) : -ENOMEM;
    taking->saved.core_bytes += size;
    *last = size < BLOCK_BYTES;
    free(block);
    return err;
}

/* The next part of the file; *last: it was the last. */
static int save_some(struct taking *taking, bool *last)
{
    struct api *api = taking->cutting.call->api;
    *last = false;
    if (!taking->file_open) {
        int err = api->host.store_create(api->host.ctx, &taking->file);
        taking->file_open = err == 0;
        return err ? err : write_head(taking);
    }
    if (taking->next < taking->cutting.cut.count)
        return write_members(taking);
    return taking->core ? write_core(taking, last) : write_tail(taking);
}

/* Puts the file into its place, or drops it. */
static int end_file(struct taking *taking, int err)
{
    struct api *api = taking->cutting.call->api;
    char name[API_SAVED_NAME_BYTES];
    if (!taking->file_open)
        return err;
    taking->file_open = false;
    api_saved_name(api, taking->saved.id, name);
    int close_err = api->host.store_close(taking->file, err ? NULL : name);
    return err ? err : close_err;
}

/* Pool. */
static void save(struct api_call *call)
{
    struct taking *taking = call->state;
    bool last;
    int err = save_some(taking, &last);
    if (!err && !last) {
        call->again = true;
        return;
    }
    err = end_file(taking, err);
    if (err) {
        api_saved_give_up(&call->api->saved);
        api_saved_problem(call, err);
        return;
    }
    api_saved_add(&call->api->saved, &taking->saved);
    call->partly_done = true; /* even if there is no memory to say so */
    api_buf_printf(&call->reply.headers, "Location: /v1/snapshots/%llu\r\n",
                   (unsigned long long)taking->saved.id);
    json_t *value = api_saved_json(&taking->saved);
    json_object_set(value, "failed", taking->failed);
    api_reply_json(call, 201, value);
}

/* Pool. */
static void reply(struct api_call *call)
{
    struct taking *taking = call->state;
    if (api_cut_problem(call, taking->cutting.err))
        return;
    taking->saved.id = api_saved_reserve(&call->api->saved);
    if (!taking->saved.id) {
        api_problem(call, 429, API_CODE_LIMIT_REACHED,
                    "%d snapshots are kept already; delete some first", API_SNAPSHOTS_MAX);
        return;
    }
    call->work = save; /* the next slices begin here */
    call->undoable = true;
    save(call);
}

/* ---- The cut --------------------------------------------------------------------------------- */

/* Pool, while all of them are held. */
static void held(struct api_cutting *cutting, const struct api_suspension *s)
{
    struct taking *taking = (struct taking *)cutting;
    uint64_t last_ns;
    taking->saved.skew_ns = api_suspension_skew(s, &last_ns);
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
    if (taking->file_open) { /* the daemon goes down */
        end_file(taking, -ECANCELED);
        api_saved_give_up(&call->api->saved);
    }
    json_decref(taking->failed);
    api_buf_free(&taking->buf);
    gr_core_close(taking->core);
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
