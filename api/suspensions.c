/*
 * suspensions.c: see suspensions.h for the essay and the invariants.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GO_CHUNK   512 /* members that are let go in one turn of the loop: well under a millisecond */
#define GO_AT_ONCE 64 /* so few that they need no turn of their own */

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
    table->closing = true;
    api_suspensions_release_all(api);
    pthread_mutex_destroy(&table->lock);
    free(table->items);
    free(table->ended);
}

/* ---- One suspension -------------------------------------------------------------------------- */

static void expire(struct api_timer *timer)
{
    struct api_suspension *suspension =
        (struct api_suspension *)((char *)timer - offsetof(struct api_suspension, timer));
    /* Relaxed: a number to show. */
    atomic_fetch_add_explicit(&suspension->api->leases_expired, 1, memory_order_relaxed);
    api_suspension_release(suspension, API_SUSPENSION_EXPIRED, NULL);
}

static bool copy_note(const struct api_call *call, const char *name, char *out)
{
    const char *text = api_body_string(call, name);
    if (text)
        strcpy(out, text); /* the route's field table bounds it by API_NOTE_BYTES_MAX */
    return text != NULL;
}

static void adopt(struct api_suspension *s, struct api_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        members[i].suspension = s;
        *s->members_last = &members[i];
        s->members_last = &members[i].sibling;
    }
}

struct api_suspension *api_suspension_create(struct api_call *call, size_t count)
{
    /* The members behind it, in the same allocation. */
    _Static_assert(sizeof(struct api_suspension) % _Alignof(struct api_member) == 0, "aligned");
    struct api_suspension *s = calloc(1, sizeof *s + count * sizeof(struct api_member));
    if (!s)
        return NULL;
    s->api = call->api;
    s->call = call;
    s->timer.fire = expire;
    s->lease_ms = api_body_uint(call, "lease_ms", API_LEASE_MS_DEFAULT);
    s->has_owner = copy_note(call, "owner", s->owner);
    s->has_reason = copy_note(call, "reason", s->reason);
    memcpy(s->principal, call->principal, sizeof s->principal);
    s->members_last = &s->members;
    adopt(s, (struct api_member *)(s + 1), count);
    s->count = count;
    return s;
}

struct api_member *api_suspension_extend(struct api_suspension *s, size_t count)
{
    struct api_block *block = calloc(1, sizeof *block + count * sizeof block->member[0]);
    if (!block)
        return NULL;
    block->count = count;
    block->next = s->blocks;
    s->blocks = block;
    adopt(s, block->member, count);
    s->count += count;
    return block->member;
}

void api_suspension_destroy(struct api_suspension *s)
{
    struct api_block *next;
    for (struct api_block *block = s ? s->blocks : NULL; block; block = next) {
        next = block->next;
        free(block);
    }
    if (s)
        free(s->failed);
    free(s);
}

void api_suspension_lease(struct api_suspension *suspension, uint64_t from_ns, uint64_t lease_ms)
{
    struct api_suspensions *table = &suspension->api->suspensions;
    pthread_mutex_lock(&table->lock); /* lists are written from the pool */
    suspension->lease_ms = lease_ms;
    suspension->expires_ns = from_ns + lease_ms * 1000000;
    pthread_mutex_unlock(&table->lock);
    /* Cannot fail for one that runs, and entering has started it. */
    (void)api_timer_set(suspension->api, &suspension->timer, suspension->expires_ns);
}

/* ---- The table ------------------------------------------------------------------------------- */

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

static void link_member(struct api *api, struct api_member *member)
{
    struct api_member **head = bucket_of(api, member->hold.id);
    member->next = *head;
    member->link = head;
    if (member->next)
        member->next->link = &member->next;
    *head = member;
}

/* Nothing happens to one that is not linked. */
static void unlink_member(struct api_member *member)
{
    if (!member->link)
        return;
    *member->link = member->next;
    if (member->next)
        member->next->link = member->link;
    member->link = NULL;
}

uint64_t api_suspension_skew(const struct api_suspension *s, uint64_t *last_ns)
{
    uint64_t first = UINT64_MAX, last = 0;
    for (const struct api_member *m = s->members; m; m = m->sibling) {
        uint64_t stopped = m->hold.stopped_ns;
        first = stopped < first ? stopped : first;
        last = stopped > last ? stopped : last;
    }
    *last_ns = last;
    return last > first ? last - first : 0;
}

int api_suspension_enter(struct api_suspension *s)
{
    struct api_suspensions *table = &s->api->suspensions;
    uint64_t last_ns, skew_ns = api_suspension_skew(s, &last_ns);
    uint64_t expires_ns = last_ns + s->lease_ms * 1000000;
    if (grow(table) || api_timer_set(s->api, &s->timer, expires_ns))
        return -ENOMEM;
    s->skew_ns = skew_ns;
    s->expires_ns = expires_ns;
    s->created_realtime_ns = api_realtime_ns();
    pthread_mutex_lock(&table->lock);
    s->id = table->next_id++;
    table->items[table->count++] = s; /* I1: the newest id is the largest */
    for (struct api_member *m = s->members; m; m = m->sibling)
        link_member(s->api, m);
    pthread_mutex_unlock(&table->lock);
    api_event_suspended(s);
    return 0;
}

/* ---- Letting go ------------------------------------------------------------------------------ */

/* The next chunk; true: that was the last. */
static bool go_on(struct api_suspension *s)
{
    struct api_suspensions *table = &s->api->suspensions;
    struct api_member *begin = s->next_to_go, *m = begin;
    size_t chunk = table->closing ? SIZE_MAX : GO_CHUNK;
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < chunk && m; i++, m = m->sibling)
        unlink_member(m);
    pthread_mutex_unlock(&table->lock);
    for (s->next_to_go = m; begin != m; begin = begin->sibling)
        gr_hold_end(&begin->hold); /* does nothing to one that left already */
    return !m;
}

static void run_chunk(struct api_chunk *chunk)
{
    struct api_suspension *s =
        (struct api_suspension *)((char *)chunk - offsetof(struct api_suspension, chunk));
    if (go_on(s))
        s->gone(s);
    else
        api_chunk_add(s->api, chunk);
}

void api_suspension_let_go(struct api_suspension *s, void (*gone)(struct api_suspension *s))
{
    s->next_to_go = s->members;
    s->gone = gone;
    s->chunk.run = run_chunk;
    if (s->count <= GO_AT_ONCE || s->api->suspensions.closing)
        run_chunk(&s->chunk);
    else
        api_chunk_add(s->api, &s->chunk);
}

static void released(struct api_suspension *s)
{
    struct api_call *call = s->call;
    api_event_released(s, NULL);
    api_suspension_destroy(s);
    if (!call)
        return;
    call->reply.status = 204;
    api_call_done(call);
}

void api_suspension_release(struct api_suspension *s, enum api_suspension_end how,
                            struct api_call *call)
{
    struct api_suspensions *table = &s->api->suspensions;
    api_timer_clear(s->api, &s->timer);
    pthread_mutex_lock(&table->lock);
    size_t at = position_of(table, s->id);
    table->count--;
    memmove(&table->items[at], &table->items[at + 1], (table->count - at) * sizeof table->items[0]);
    s->leaving = true; /* only one that was in the table has members that are found */
    pthread_mutex_unlock(&table->lock);
    table->ended[table->ended_next] = (struct api_remembered){s->id, how};
    table->ended_next = (table->ended_next + 1) % API_SUSPENSIONS_REMEMBERED;
    s->how = how;
    s->call = call;
    api_suspension_let_go(s, released);
}

void api_member_release(struct api_member *member)
{
    struct api_suspension *s = member->suspension;
    struct api_suspensions *table = &s->api->suspensions;
    if (s->count == 1) {
        api_suspension_release(s, API_SUSPENSION_RELEASED, NULL);
        return;
    }
    pthread_mutex_lock(&table->lock);
    unlink_member(member);
    s->count--;
    pthread_mutex_unlock(&table->lock);
    gr_hold_end(&member->hold);
    api_event_released(s, member);
}

void api_suspensions_release_all(struct api *api)
{
    while (api->suspensions.count) /* each turn takes one away */
        api_suspension_release(api->suspensions.items[api->suspensions.count - 1],
                               API_SUSPENSION_RELEASED, NULL);
}

/* ---- Calls that wait ------------------------------------------------------------------------- */

void api_pending_add(struct api *api, struct api_pending *pending, struct api_call *call)
{
    pending->call = call;
    pending->next = api->suspensions.pending;
    pending->link = &api->suspensions.pending;
    if (pending->next)
        pending->next->link = &pending->next;
    api->suspensions.pending = pending;
}

void api_pending_remove(struct api_pending *pending)
{
    if (!pending->link)
        return;
    struct api_suspensions *table = &pending->call->api->suspensions;
    if (table->pending_next == pending)
        table->pending_next = pending->next;
    *pending->link = pending->next;
    if (pending->next)
        pending->next->link = pending->link;
    pending->link = NULL;
}

/* ---- Finding --------------------------------------------------------------------------------- */

struct api_suspension *api_suspension_find(struct api *api, uint64_t id,
                                           enum api_suspension_end *how)
{
    struct api_suspensions *table = &api->suspensions;
    size_t at = position_of(table, id);
    if (at < table->count && table->items[at]->id == id)
        return table->items[at];
    if (!how)
        return NULL;
    *how = API_SUSPENSION_UNKNOWN;
    for (size_t i = 0; i < API_SUSPENSIONS_REMEMBERED; i++)
        if (table->ended[i].id == id)
            *how = table->ended[i].how;
    return NULL;
}

void api_suspension_give_back(struct api_call *call)
{
    struct api_suspension *suspension =
        call->claim ? api_suspension_find(call->api, call->claim, NULL) : NULL;
    if (suspension)
        api_suspension_release(suspension, API_SUSPENSION_RELEASED, NULL);
}

static struct api_member *same_goroutine(struct api_member *member, uint64_t goroutine)
{
    while (member && (member->hold.id != goroutine || member->suspension->leaving))
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

/* ---- For other threads ----------------------------------------------------------------------- */

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
    struct api_suspension copy; /* of what is shown; the loop changes the rest without the lock */
    pthread_mutex_lock(&table->lock);
    size_t at = position_of(table, after + 1);
    bool found = at < table->count;
    if (found)
        memcpy(&copy, table->items[at], offsetof(struct api_suspension, timer));
    pthread_mutex_unlock(&table->lock);
    if (!found)
        return 0;
    *out = api_suspension_brief(&copy);
    return copy.id;
}
