/*
 * saved.c: see saved.h: the table, and its list, delete and descriptions.
 */
#include "saved.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void api_saved_init(struct api_saved_table *table)
{
    pthread_mutex_init(&table->lock, NULL);
    table->next_id = 1;
}

void api_saved_fini(struct api_saved_table *table)
{
    pthread_mutex_destroy(&table->lock);
}

uint64_t api_saved_reserve(struct api_saved_table *table)
{
    uint64_t id = 0;
    pthread_mutex_lock(&table->lock);
    /* Whoever has a place will find room for its entry. */
    if (table->reserved < API_SNAPSHOTS_MAX) {
        table->reserved++;
        id = table->next_id++;
    }
    pthread_mutex_unlock(&table->lock);
    return id;
}

static size_t place_of(const struct api_saved_table *table, uint64_t id)
{
    size_t lo = 0, hi = table->count;
    while (lo < hi) {
        size_t middle = (lo + hi) / 2;
        if (table->items[middle].id < id)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

void api_saved_add(struct api_saved_table *table, const struct api_saved *saved)
{
    pthread_mutex_lock(&table->lock);
    size_t at = place_of(table, saved->id);
    memmove(&table->items[at + 1], &table->items[at], (table->count - at) * sizeof *table->items);
    table->items[at] = *saved;
    table->count++;
    pthread_mutex_unlock(&table->lock);
}

void api_saved_give_up(struct api_saved_table *table)
{
    pthread_mutex_lock(&table->lock);
    table->reserved--;
    pthread_mutex_unlock(&table->lock);
}

static bool copy_at(const struct api_saved_table *table, size_t at, struct api_saved *out)
{
    if (at == table->count)
        return false;
    *out = table->items[at];
    return true;
}

bool api_saved_next(struct api_saved_table *table, uint64_t after, struct api_saved *out)
{
    pthread_mutex_lock(&table->lock);
    bool found = copy_at(table, place_of(table, after + 1), out);
    pthread_mutex_unlock(&table->lock);
    return found;
}

bool api_saved_find(struct api_saved_table *table, uint64_t id, struct api_saved *out)
{
    return id && api_saved_next(table, id - 1, out) && out->id == id;
}

bool api_saved_remove(struct api_saved_table *table, uint64_t id)
{
    pthread_mutex_lock(&table->lock);
    size_t at = place_of(table, id);
    bool found = at < table->count && table->items[at].id == id;
    if (found) {
        table->count--;
        table->reserved--;
        memmove(&table->items[at], &table->items[at + 1],
                (table->count - at) * sizeof *table->items);
    }
    pthread_mutex_unlock(&table->lock);
    return found;
}

/* ---- Descriptions ---------------------------------------------------------------------------- */

void api_saved_name(const struct api *api, uint64_t id, char out[API_SAVED_NAME_BYTES])
{
    snprintf(out, API_SAVED_NAME_BYTES, "snapshot-%.8s-%" PRIu64, api->instance, id);
}

json_t *api_saved_json(const struct api_saved *saved)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "id", api_json_uint(saved->id), "created_at",
                     api_json_time(saved->created_realtime_ns), "principal",
                     api_json_string(saved->principal), "count", api_json_uint(saved->count),
                     "failed_count", api_json_uint(saved->failed), "skew_ns",
                     api_json_uint(saved->skew_ns), "bytes",
                     api_json_uint(saved->json_bytes + saved->core_bytes));
}

void api_saved_problem(struct api_call *call, int err)
{
    if (err == -ENOSPC || err == -EDQUOT || err == -EFBIG)
        api_problem(call, 507, API_CODE_DISK_FULL,
                    "the disk of the state directory is full; nothing was saved, and no goroutine "
                    "is held");
    else if (err == -ENOTDIR)
        api_problem(call, 503, API_CODE_OUT_OF_RESOURCES,
                    "this daemon has no state directory to save into; start it with --state DIR");
    else if (err == -ENOENT)
        api_problem(call, 404, API_CODE_NOT_FOUND,
                    "the file of snapshot %" PRIu64 " is not in the state directory any more",
                    call->id);
    else if (err == -ENOMEM)
        api_problem_no_memory(call);
    else
        api_problem(call, 503, API_CODE_OUT_OF_RESOURCES, "the state directory: %s",
                    strerror(-err));
}

static void not_found(struct api_call *call)
{
    api_problem(call, 404, API_CODE_NOT_FOUND, "there is no saved snapshot %" PRIu64, call->id);
}

/* ---- List and delete (pool) ------------------------------------------------------------------ */

static uint64_t saved_next(struct api_walk *walk, json_t **item)
{
    struct api_saved saved;
    if (!api_saved_next(&walk->api->saved, walk->after, &saved))
        return 0;
    *item = api_saved_json(&saved);
    walk->after = saved.id;
    return saved.id;
}

static void saved_walk_free(struct api_walk *walk)
{
    free(walk);
}

void api_handle_saved_list(struct api_call *call)
{
    struct api_walk *walk = calloc(1, sizeof *walk);
    if (!walk) {
        api_problem_no_memory(call);
        return;
    }
    walk->next = saved_next;
    walk->destroy = saved_walk_free;
    if (api_walk_begin(call, walk))
        api_list_reply(call, walk);
    else
        saved_walk_free(walk);
}

void api_handle_saved_delete(struct api_call *call)
{
    const struct api_host *host = &call->api->host;
    char name[API_SAVED_NAME_BYTES];
    struct api_saved saved;
    if (!api_saved_find(&call->api->saved, call->id, &saved)) {
        not_found(call);
        return;
    }
    api_saved_name(call->api, call->id, name);
    int err = host->store_remove(host->ctx, name);
    if (err && err != -ENOENT) {
        api_saved_problem(call, err);
        return;
    }
    api_saved_remove(&call->api->saved, call->id);
    call->reply.status = 204;
}

/* ---- Text for people ------------------------------------------------------------------------- */

void api_text_saved(struct api_buf *out, const json_t *value)
{
    json_t *items = json_object_get(value, "items"), *item;
    size_t i;
    if (!items) {
        api_text_lines(out, value);
        return;
    }
    api_buf_printf(out, "%-6s %-28s %10s %12s %10s  %s\n", "ID", "CREATED", "GOROUTINES", "SKEW_US",
                   "KIB", "PRINCIPAL");
    json_array_foreach(items, i, item)
    {
        const char *created = json_string_value(json_object_get(item, "created_at"));
        const char *principal = json_string_value(json_object_get(item, "principal"));
        api_buf_printf(out, "%-6lld %-28s %10lld %12lld %10lld  %s\n",
                       (long long)json_integer_value(json_object_get(item, "id")),
                       created ? created : "-",
                       (long long)json_integer_value(json_object_get(item, "count")),
                       (long long)json_integer_value(json_object_get(item, "skew_ns")) / 1000,
                       (long long)json_integer_value(json_object_get(item, "bytes")) / 1024,
                       principal ? principal : "-");
    }
}
