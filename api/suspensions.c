/*
 * suspensions.c: see suspensions.h for the essay and the invariants.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct api_member **bucket_of(struct api *api, uint64_t goroutine)
{
    return &api->suspensions.bucket[goroutine % API_SUSPENSION_BUCKETS];
}

int api_suspensions_init(struct api *api)
{
    struct api_suspensions *table = &api->suspensions;
    table->ended = calloc(API_SUSPENSIONS_REMEMBERED, sizeof *table->ended);
    if (!table->ended)
        return -ENOMEM;
    table->next_id = 1;
    pthread_mutex_init(&table->lock, NULL);
    return 0;
}

void api_suspensions_fini(struct api *api)
{
    struct api_suspensions *table = &api->suspensions;
    api_suspensions_release_all(api);
    pthread_mutex_destroy(&table->lock);
    free(table->items);
    free(table->ended);
}

/* ---- One suspension
 * ------------------------------------------------------------------------------ */

static void expire(struct api_timer *timer)
{
    struct api_suspension *suspension =
        (struct api_suspension *)((char *)timer - offsetof(struct api_suspension, timer));
    /* Relaxed: a number to show. */
    atomic_fetch_add_explicit(&suspension->api->leases_expired, 1, memory_order_relaxed);
    api_suspension_release(suspension, API_SUSPENSION_EXPIRED);
}

static bool copy_note(const struct api_call *call, const char *name, char *out)
{
    const char *text = api_body_string(call, name);
    if (text)
        strcpy(out, text); /* the route's field table bounds it by API_NOTE_BYTES_MAX */
    return text != NULL;
}

struct api_suspension *api_suspension_create(struct api_call *call, size_t count)
{
    struct api_suspension *s = calloc(1, sizeof *s + count * sizeof s->member[0]);
    if (!s)
        return NULL;
    s->api = call->api;
    s->call = call;
    s->timer.fire = expire;
    s->lease_ms = api_body_uint(call, "lease_ms", API_LEASE_MS_DEFAULT);
    s->has_owner = copy_note(call, "owner", s->owner);
    s->has_reason = copy_note(call, "reason", s->reason);
    memcpy(s->principal, call->principal, sizeof s->principal);
    s->count = count;
    for (size_t i = 0; i < count; i++)
        s->member[i].suspension = s;
    return s;
}

void api_suspension_destroy(struct api_suspension *suspension)
{
    free(suspension);
}

void api_suspension_lease(struct api_suspension *suspension, uint64_t from_ns, uint64_t lease_ms)
{
    suspension->lease_ms = lease_ms;
    suspension->expires_ns = from_ns + lease_ms * 1000000;
    /* Cannot fail for one that runs, and entering has started it. */
    (void)api_timer_set(suspension->api, &suspension->timer, suspension->expires_ns);
}

/* ---- The table
 * ----------------------------------------------------------------------------------- */

static size_t position_of(const struct api_suspensions *table, uint64_t id)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int grow(struct api_suspensions *table)
{
    if (table->count < table->capacity)
        return 0;
    size_t capacity = table->capacity ? table->capacity * 2 : 64;
    pthread_mutex_lock(&table->lock);
    struct api_suspension **items = realloc(table->items, capacity * sizeof *items);
    if (items) {
        table->items = items;
        table->capacity = capacity;
    }
    pthread_mutex_unlock(&table->lock);
    return items ? 0 : -ENOMEM;
}

int api_suspension_enter(struct api_suspension *s)
{
    struct api_suspensions *table = &s->api->suspensions;
    uint64_t first = UINT64_MAX, last = 0;
    for (size_t i = 0; i < s->count; i++) {
        uint64_t stopped = s->member[i].hold.stopped_ns;
        first = stopped < first ? stopped : first;
        last = stopped > last ? stopped : last;
    }
    uint64_t expires_ns = last + s->lease_ms * 1000000;
    if (grow(table) || api_timer_set(s->api, &s->timer, expires_ns))
        return -ENOMEM;
    s->skew_ns = last - first;
    s->expires_ns = expires_ns;
    s->created_realtime_ns = api_realtime_ns();
    pthread_mutex_lock(&table->lock);
    s->id = table->next_id++;
    table->items[table->count++] = s; /* I1: the newest id is the largest */
    for (size_t i = 0; i < s->count; i++) {
        struct api_member **head = bucket_of(s->api, s->member[i].hold.id);
        s->member[i].next = *head;
        *head = &s->member[i];
    }
    pthread_mutex_unlock(&table->lock);
    api_event(s->api);
    return 0;
}

static void unlink_member(struct api *api, struct api_member *member)
{
    struct api_member **at = bucket_of(api, member->hold.id);
    while (*at != member)
        at = &(*at)->next;
    *at = member->next;
}

void api_suspension_release(struct api_suspension *s, enum api_suspension_end how)
{
    struct api *api = s->api;
    struct api_suspensions *table = &api->suspensions;
    api_timer_clear(api, &s->timer);
    pthread_mutex_lock(&table->lock);
    size_t at = position_of(table, s->id);
    table->count--;
    memmove(&table->items[at], &table->items[at + 1], (table->count - at) * sizeof table->items[0]);
    for (size_t i = 0; i < s->count; i++)
        unlink_member(api, &s->member[i]);
    pthread_mutex_unlock(&table->lock);
    table->ended[table->ended_next] = (struct api_remembered){s->id, how};
    table->ended_next = (table->ended_next + 1) % API_SUSPENSIONS_REMEMBERED;
    for (size_t i = 0; i < s->count; i++)
        gr_hold_end(&s->member[i].hold);
    api_event(api);
    api_suspension_destroy(s);
}

void api_suspensions_release_all(struct api *api)
{
    while (api->suspensions.count) /* each turn takes one away */
        api_suspension_release(api->suspensions.items[api->suspensions.count - 1],
                               API_SUSPENSION_RELEASED);
}

struct api_suspension *api_suspension_find(struct api *api, uint64_t id,
                                           enum api_suspension_end *how)
{
    struct api_suspensions *table = &api->suspensions;
    size_t at = position_of(table, id);
    if (at < table->count && table->items[at]->id == id)
        return table->items[at];
    *how = API_SUSPENSION_UNKNOWN;
    for (size_t i = 0; i < API_SUSPENSIONS_REMEMBERED; i++)
        if (table->ended[i].id == id)
            *how = table->ended[i].how;
    return NULL;
}

static struct api_member *same_goroutine(struct api_member *member, uint64_t goroutine)
{
    while (member && member->hold.id != goroutine)
        member = member->next;
    return member;
}

struct api_member *api_member_first(struct api *api, uint64_t goroutine)
{
    return same_goroutine(*bucket_of(api, goroutine), goroutine);
}

struct api_member *api_member_next(struct api_member *member)
{
    return same_goroutine(member->next, member->hold.id);
}

/* ---- For other threads
 * --------------------------------------------------------------------------- */

size_t api_suspension_ids(struct api *api, uint64_t goroutine, uint64_t *ids, size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&api->suspensions.lock);
    for (struct api_member *m = api_member_first(api, goroutine); m && count < max;
         m = api_member_next(m))
        ids[count++] = m->suspension->id;
    pthread_mutex_unlock(&api->suspensions.lock);
    for (size_t i = 0; i < count / 2; i++) { /* the chain has the newest first */
        uint64_t id = ids[i];
        ids[i] = ids[count - 1 - i];
        ids[count - 1 - i] = id;
    }
    return count;
}

size_t api_suspension_total(struct api *api)
{
    pthread_mutex_lock(&api->suspensions.lock);
    size_t total = api->suspensions.count;
    pthread_mutex_unlock(&api->suspensions.lock);
    return total;
}

uint64_t api_suspension_next(struct api *api, uint64_t after, json_t **out)
{
    struct api_suspensions *table = &api->suspensions;
    struct api_suspension copy; /* without its members: the list form does not show them */
    pthread_mutex_lock(&table->lock);
    size_t at = position_of(table, after + 1);
    bool found = at < table->count;
    if (found)
        memcpy(&copy, table->items[at], sizeof copy);
    pthread_mutex_unlock(&table->lock);
    if (!found)
        return 0;
    *out = api_suspension_json(&copy, false);
    return copy.id;
}

/* ---- JSON
 * ---------------------------------------------------------------------------------------- */

static void add_members(json_t *value, const struct api_suspension *s)
{
    json_t *held = json_array();
    for (size_t i = 0; i < s->count; i++)
        json_array_append_new(held, api_json_uint(s->member[i].hold.id));
    json_object_set_new(value, "held", held);
    json_object_set_new(value, "failed", json_array());
    if (s->count != 1)
        return;
    const struct gr_hold *hold = &s->member[0].hold;
    json_object_set_new(value, "goroutine", api_json_uint(hold->id));
    json_object_set_new(value, "safepoint", json_string(gr_safepoint_name(hold->safepoint)));
    json_object_set_new(value, "state", json_string(gr_state_name(hold->stopped_in)));
    json_object_set_new(value, "latency_ns", api_json_uint(s->latency_ns));
}

json_t *api_suspension_json(const struct api_suspension *s, bool full)
{
    uint64_t now = gr_now_ns();
    uint64_t left_ns = s->expires_ns > now ? s->expires_ns - now : 0;
    json_t *value = json_object();
    json_object_set_new(value, "id", api_json_uint(s->id));
    json_object_set_new(value, "owner", api_json_string(s->has_owner ? s->owner : NULL));
    json_object_set_new(value, "principal", json_string(s->principal));
    json_object_set_new(value, "reason", api_json_string(s->has_reason ? s->reason : NULL));
    json_object_set_new(value, "count", api_json_uint(s->count));
    json_object_set_new(value, "skew_ns", api_json_uint(s->skew_ns));
    json_object_set_new(value, "created_at", api_json_time(s->created_realtime_ns));
    json_object_set_new(value, "lease_ms", api_json_uint(s->lease_ms));
    json_object_set_new(value, "expires_at", api_json_time(api_realtime_ns() + left_ns));
    json_object_set_new(value, "remaining_ms", api_json_uint((left_ns + 999999) / 1000000));
    if (full)
        add_members(value, s);
    return value;
}
