/*
 * events.c: see events.h for the essay and the invariants.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINGER_NS UINT64_C(60000000000) /* births stay recorded for so long after the last reader */

static struct api *api_of(struct api_events *events)
{
    return (struct api *)((char *)events - offsetof(struct api, events));
}

const char *api_event_name(enum api_event_type type)
{
    static const char *const names[API_EVENT_TYPES] = {
        "suspended",          "resumed", "lease-expired",     "module",
        "deadlock-suspected", "log",     "goroutine.created", "goroutine.ended"};
    return names[type];
}

static enum api_ring ring_of(enum api_event_type type)
{
    return API_EVENT_BIRTHS >> type & 1 ? API_RING_BIRTHS
           : type == API_EVENT_LOG      ? API_RING_LINES
                                        : API_RING_QUIET;
}

unsigned api_event_rings(unsigned types)
{
    unsigned rings = 0;
    for (unsigned type = 0; type < API_EVENT_TYPES; type++)
        if (types >> type & 1)
            rings |= 1u << ring_of((enum api_event_type)type);
    return rings;
}

/* ---- Writing (any thread) -------------------------------------------------------------------- */

/* lock held. Takes the oldest record away. */
static void evict(struct api_event_ring *ring)
{
    ring->evicted = ring->records[ring->first++ % ring->capacity].seq;
}

/* lock held. Bytes into the ring's text, whose oldest bytes go, and with them their records (I4). */
static void put_text(struct api_event_ring *ring, const char *text, size_t bytes)
{
    size_t place = ring->text_written % API_EVENT_TEXT_BYTES;
    size_t first = bytes < API_EVENT_TEXT_BYTES - place ? bytes : API_EVENT_TEXT_BYTES - place;
    memcpy(ring->text + place, text, first);
    memcpy(ring->text, text + first, bytes - first);
    ring->text_written += bytes;
    while (ring->records[ring->first % ring->capacity].text_at + API_EVENT_TEXT_BYTES <
           ring->text_written)
        evict(ring); /* ends at the newest, whose text is whole */
}

/* Streams that wait are woken, once for all that is written until they have looked. */
static void wake(struct api_events *events, enum api_ring ring)
{
    struct api_host *host = &api_of(events)->host;
    /* seq_cst, after the lock's release of the record; pairs with `wait` (event_stream.c): it sees the
     * record, or we see that it waits. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&events->waiting[ring], memory_order_relaxed) == 0)
        return;
    /* acq_rel; pairs with the store in api_streams_wake, which looks under the lock afterwards. */
    if (atomic_exchange_explicit(&events->posted, 1, memory_order_acq_rel) == 0)
        host->post(host->ctx, &events->task);
}

void api_event_add(struct api *api, const struct api_event *event, const char *text, size_t bytes)
{
    struct api_events *events = &api->events;
    enum api_ring index = ring_of(event->type);
    struct api_event_ring *ring = &events->ring[index];
    uint64_t now = api_realtime_ns();
    if (bytes > API_EVENT_BYTES_MAX)
        bytes = 0;
    pthread_mutex_lock(&events->lock);
    if (ring->records) {
        if (ring->next - ring->first == ring->capacity)
            evict(ring);
        struct api_event *record = &ring->records[ring->next++ % ring->capacity];
        *record = *event;
        record->realtime_ns = now;
        record->text_bytes = (uint32_t)bytes;
        record->text_at = ring->text_written; /* also without text: it ages with the others */
        if (bytes)
            put_text(ring, text, bytes);
        /* Relaxed: the lock orders writers. */
        record->seq = atomic_load_explicit(&events->seq, memory_order_relaxed) + 1;
        /* release; pairs with api_event_seq: what the event is about was changed before (I2). */
        atomic_store_explicit(&events->seq, record->seq, memory_order_release);
    }
    pthread_mutex_unlock(&events->lock);
    wake(events, index);
}

uint64_t api_event_seq(struct api *api)
{
    /* acquire; pairs with the store in api_event_add. */
    return atomic_load_explicit(&api->events.seq, memory_order_acquire);
}

/* From any thread or system stack of the runtime. */
static void on_event(void *ctx, enum gr_event event, uint64_t id, uint64_t root, const char *text)
{
    struct api *api = ctx;
    struct api_event record = {.goroutine = id, .root = root};
    if (event == GR_EVENT_LOG) {
        record.type = API_EVENT_LOG;
        api_event_add(api, &record, text, strlen(text));
        return;
    }
    /* seq_cst; pairs with the store in births_start (I3). */
    if (atomic_load_explicit(&api->events.recording, memory_order_seq_cst)) {
        record.type = event == GR_EVENT_CREATED ? API_EVENT_CREATED : API_EVENT_ENDED;
        api_event_add(api, &record, NULL, 0);
    }
    if (event == GR_EVENT_ENDED)
        api_watch_end(api, id);
}

void api_event_suspended(const struct api_suspension *s)
{
    struct api_event event = {.type = API_EVENT_SUSPENDED,
                              .suspension = s->id,
                              .count = s->count,
                              .goroutine = s->group ? 0 : s->members->hold.id};
    /* owner, principal, reason, each with its 0, and before it whether it was given at all. */
    char text[3 + 2 * (API_NOTE_BYTES_MAX + 1) + API_PRINCIPAL_BYTES];
    size_t at = 0;
    const char *parts[] = {s->owner, s->principal, s->reason};
    const bool given[] = {s->has_owner, true, s->has_reason};
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(parts[i]) + 1;
        text[at++] = given[i] ? '+' : '-';
        memcpy(text + at, parts[i], size);
        at += size;
    }
    api_event_add(s->api, &event, text, at);
}

void api_event_released(const struct api_suspension *s, const struct api_member *member)
{
    struct api_event event = {.type = API_EVENT_RESUMED, .suspension = s->id};
    if (member) {
        event.goroutine = member->hold.id;
        event.count = s->count;
    } else {
        event.goroutine = s->group || !s->members ? 0 : s->members->hold.id;
        if (s->how == API_SUSPENSION_EXPIRED)
            event.type = API_EVENT_LEASE_EXPIRED;
    }
    api_event_add(s->api, &event, NULL, 0);
}

void api_event_module(struct api *api, const char *name, const char *what)
{
    struct api_event event = {.type = API_EVENT_MODULE};
    char text[2 * (GR_NAME_MAX + 1)];
    size_t name_size = strnlen(name, GR_NAME_MAX), what_size = strnlen(what, GR_NAME_MAX);
    memcpy(text, name, name_size);
    text[name_size] = 0;
    memcpy(text + name_size + 1, what, what_size);
    text[name_size + 1 + what_size] = 0;
    api_event_add(api, &event, text, name_size + what_size + 2);
}

/* ---- Births (loop) --------------------------------------------------------------------------- */

static void births_stop(struct api_timer *timer)
{
    struct api_events *events =
        (struct api_events *)((char *)timer - offsetof(struct api_events, linger));
    gr_tell_births(false);
    atomic_store_explicit(&events->recording, 0, memory_order_relaxed);
    pthread_mutex_lock(&events->lock);
    events->births_from = UINT64_MAX;
    pthread_mutex_unlock(&events->lock);
}

static void births_start(struct api_events *events, struct api_event *records)
{
    pthread_mutex_lock(&events->lock);
    events->ring[API_RING_BIRTHS].records = records;
    events->ring[API_RING_BIRTHS].capacity = API_BIRTHS_KEPT;
    pthread_mutex_unlock(&events->lock);
    /* seq_cst; pairs with the load in on_event (I3). */
    atomic_store_explicit(&events->recording, 1, memory_order_seq_cst);
    gr_tell_births(true); /* and a fence behind both */
    pthread_mutex_lock(&events->lock);
    /* A number that nothing has: lists from before it may have missed something. */
    events->births_from = atomic_load_explicit(&events->seq, memory_order_relaxed) + 1;
    atomic_store_explicit(&events->seq, events->births_from, memory_order_release);
    pthread_mutex_unlock(&events->lock);
}

int api_births_follow(struct api *api)
{
    struct api_events *events = &api->events;
    struct api_event *records = events->ring[API_RING_BIRTHS].records;
    if (events->birth_streams++)
        return 0;
    api_timer_clear(api, &events->linger);
    /* Relaxed: the loop's own. */
    if (atomic_load_explicit(&events->recording, memory_order_relaxed))
        return 0;
    if (!records)
        records = calloc(API_BIRTHS_KEPT, sizeof *records);
    if (!records) {
        events->birth_streams--;
        return -ENOMEM;
    }
    births_start(events, records);
    return 0;
}

void api_births_unfollow(struct api *api)
{
    struct api_events *events = &api->events;
    if (--events->birth_streams)
        return;
    if (api_timer_set(api, &events->linger, gr_now_ns() + LINGER_NS))
        births_stop(&events->linger);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static const struct api_event *record_at(const struct api_event_ring *ring, uint64_t place)
{
    return &ring->records[place % ring->capacity];
}

/* lock held. The first place whose number is above seq. */
static uint64_t place_behind(const struct api_event_ring *ring, uint64_t seq)
{
    uint64_t low = ring->first, high = ring->next;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (record_at(ring, middle)->seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool api_event_place_find(struct api *api, uint64_t seq, unsigned rings,
                          struct api_event_place *place)
{
    struct api_events *events = &api->events;
    pthread_mutex_lock(&events->lock);
    bool found = seq <= atomic_load_explicit(&events->seq, memory_order_relaxed);
    if (rings >> API_RING_BIRTHS & 1)
        found = found && seq >= events->births_from;
    for (unsigned i = 0; i < API_RINGS; i++) {
        bool followed = rings >> i & 1;
        found = found && (!followed || seq >= events->ring[i].evicted);
        place->at[i] = followed ? place_behind(&events->ring[i], seq) : 0;
    }
    pthread_mutex_unlock(&events->lock);
    return found;
}

uint64_t api_event_place_end(struct api *api, struct api_event_place *place)
{
    struct api_events *events = &api->events;
    pthread_mutex_lock(&events->lock);
    for (unsigned i = 0; i < API_RINGS; i++)
        place->at[i] = events->ring[i].next;
    uint64_t seq = atomic_load_explicit(&events->seq, memory_order_relaxed);
    pthread_mutex_unlock(&events->lock);
    return seq;
}

/* lock held. Whether the rings ran over records that the reader had not read. */
static bool has_lost(const struct api_events *events, const struct api_event_place *place,
                     unsigned rings)
{
    bool lost = false;
    for (unsigned i = 0; i < API_RINGS; i++)
        lost = lost || (rings >> i & 1 && place->at[i] < events->ring[i].first);
    return lost;
}

/* lock held. The ring whose next record has the lowest number; API_RINGS: nothing is left. */
static unsigned next_ring(const struct api_events *events, const struct api_event_place *place,
                          unsigned rings)
{
    unsigned found = API_RINGS;
    uint64_t lowest = UINT64_MAX;
    for (unsigned i = 0; i < API_RINGS; i++) {
        const struct api_event_ring *ring = &events->ring[i];
        if (!(rings >> i & 1) || place->at[i] >= ring->next)
            continue;
        uint64_t seq = record_at(ring, place->at[i])->seq;
        if (seq < lowest) {
            lowest = seq;
            found = i;
        }
    }
    return found;
}

static void copy_text(const struct api_event_ring *ring, const struct api_event *record, char *out)
{
    size_t place = record->text_at % API_EVENT_TEXT_BYTES, bytes = record->text_bytes;
    size_t first = bytes < API_EVENT_TEXT_BYTES - place ? bytes : API_EVENT_TEXT_BYTES - place;
    if (!bytes)
        return;
    memcpy(out, ring->text + place, first);
    memcpy(out + first, ring->text, bytes - first);
}

size_t api_event_read(struct api *api, struct api_event_place *place, unsigned rings,
                      struct api_event *out, size_t max, char *text, size_t text_room, bool *lost)
{
    struct api_events *events = &api->events;
    size_t count = 0, used = 0;
    pthread_mutex_lock(&events->lock);
    *lost = has_lost(events, place, rings);
    while (count < max && !*lost) {
        unsigned i = next_ring(events, place, rings);
        if (i == API_RINGS)
            break;
        const struct api_event *record = record_at(&events->ring[i], place->at[i]);
        if (record->text_bytes > text_room - used)
            break;
        copy_text(&events->ring[i], record, text + used);
        out[count] = *record;
        out[count++].text_at = used;
        used += record->text_bytes;
        place->at[i]++;
    }
    pthread_mutex_unlock(&events->lock);
    return count;
}

bool api_event_ready(struct api *api, const struct api_event_place *place, unsigned rings)
{
    struct api_events *events = &api->events;
    pthread_mutex_lock(&events->lock);
    bool ready = next_ring(events, place, rings) != API_RINGS;
    pthread_mutex_unlock(&events->lock);
    return ready;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void free_rings(struct api_events *events)
{
    for (unsigned i = 0; i < API_RINGS; i++) {
        free(events->ring[i].records);
        free(events->ring[i].text);
    }
}

int api_events_init(struct api *api)
{
    static const uint64_t kept[] = {API_EVENTS_KEPT, API_LINES_KEPT};
    struct api_events *events = &api->events;
    for (unsigned i = 0; i < API_RING_BIRTHS; i++) { /* that of births is made when asked for */
        struct api_event_ring *ring = &events->ring[i];
        ring->capacity = kept[i];
        ring->records = calloc(ring->capacity, sizeof *ring->records);
        ring->text = malloc(API_EVENT_TEXT_BYTES);
        if (!ring->records || !ring->text) {
            free_rings(events);
            return -ENOMEM;
        }
    }
    pthread_mutex_init(&events->lock, NULL);
    events->births_from = UINT64_MAX;
    events->linger.fire = births_stop;
    events->task.run = api_streams_wake;
    gr_on_event(on_event, api);
    return 0;
}

void api_events_fini(struct api *api)
{
    struct api_events *events = &api->events;
    gr_on_event(NULL, NULL);
    gr_tell_births(false);
    free_rings(events);
    pthread_mutex_destroy(&events->lock);
}
