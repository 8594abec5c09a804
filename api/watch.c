/*
 * watch.c: see watch.h for the essay and the invariants.
 */
#include "internal.h"

#define AGAIN_NS 1000000 /* how soon to ask again about an end that the runtime does not show yet */

static unsigned bucket_of(uint64_t id)
{
    return (unsigned)(id % API_WATCH_BUCKETS);
}

void api_watch_end(struct api *api, uint64_t id)
{
    struct api_watches *watches = &api->watches;
    unsigned bucket = bucket_of(id);
    /* seq_cst; pairs with the add in api_watch_start (I1). */
    if (atomic_load_explicit(&watches->count[bucket], memory_order_seq_cst) == 0)
        return;
    /* release; pairs with the exchange of `ended` in take: the end is visible to whoever sees the bit. */
    atomic_fetch_or_explicit(&watches->ended, UINT64_C(1) << bucket, memory_order_release);
    /* release; pairs with the exchange of `posted` in take: we post, or the loop takes our bit (I2). */
    if (atomic_exchange_explicit(&watches->posted, 1, memory_order_release) == 0)
        api->host.post(api->host.ctx, &watches->task);
}

static bool has_ended(uint64_t id)
{
    struct gr_info info;
    int err = gr_info(id, &info);
    return err || info.state == GR_DEAD;
}

/* The first watch of a bucket whose goroutine ended, NULL if none has. */
static struct api_watch *find_ended(struct api *api, unsigned bucket)
{
    for (struct api_watch *watch = api->watches.bucket[bucket]; watch; watch = watch->next)
        if (has_ended(watch->id))
            return watch;
    return NULL;
}

/*
 * Tells the watches of one bucket; true if some is left that was perhaps meant. It starts anew
 * after each one, because what `ended` does may stop any other watch. Bounded: each turn takes one
 * off.
 */
static bool tell_bucket(struct api *api, unsigned bucket)
{
    for (struct api_watch *watch; (watch = find_ended(api, bucket));) {
        api_watch_stop(api, watch);
        watch->ended(watch);
    }
    return api->watches.bucket[bucket] != NULL;
}

static void tell(struct api *api, uint64_t buckets)
{
    uint64_t left = 0;
    for (unsigned bucket = 0; bucket < API_WATCH_BUCKETS; bucket++)
        if (buckets >> bucket & 1 && tell_bucket(api, bucket))
            left |= UINT64_C(1) << bucket;
    if (!left)
        return;
    /* The runtime may tell an end a moment before gr_info shows it: ask once more, a little later. Relaxed: our own bits. */
    atomic_fetch_or_explicit(&api->watches.ended, left, memory_order_relaxed);
    api_timer_set(api, &api->watches.again, gr_now_ns() + AGAIN_NS);
}

static void take(struct api_task *task)
{
    struct api_watches *watches =
        (struct api_watches *)((char *)task - offsetof(struct api_watches, task));
    struct api *api = (struct api *)((char *)watches - offsetof(struct api, watches));
    /*
     * acquire, and an exchange: it reads what the last poster that found 1 has written, or a later one, so that their bits are
     * seen. A poster that comes after it finds 0, and posts again (I2).
     */
    atomic_exchange_explicit(&watches->posted, 0, memory_order_acquire);
    /* acquire; pairs with the or in api_watch_end. */
    tell(api, atomic_exchange_explicit(&watches->ended, 0, memory_order_acquire));
}

static void ask_again(struct api_timer *timer)
{
    struct api_watches *watches =
        (struct api_watches *)((char *)timer - offsetof(struct api_watches, again));
    struct api *api = (struct api *)((char *)watches - offsetof(struct api, watches));
    /* acquire; pairs with the or in api_watch_end. */
    uint64_t buckets = atomic_exchange_explicit(&watches->ended, 0, memory_order_acquire);
    for (unsigned bucket = 0; bucket < API_WATCH_BUCKETS; bucket++)
        if (buckets >> bucket & 1)
            tell_bucket(api, bucket);
}

void api_watches_init(struct api *api)
{
    api->watches.task.run = take;
    api->watches.again.fire = ask_again;
}

void api_watch_start(struct api *api, struct api_watch *watch, uint64_t id)
{
    unsigned bucket = bucket_of(id);
    watch->id = id;
    watch->next = api->watches.bucket[bucket];
    watch->link = &api->watches.bucket[bucket];
    if (watch->next)
        watch->next->link = &watch->next;
    api->watches.bucket[bucket] = watch;
    /* seq_cst, and a fence before the caller's look; pairs with the load in api_watch_end (I1). */
    atomic_fetch_add_explicit(&api->watches.count[bucket], 1, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
}

void api_watch_stop(struct api *api, struct api_watch *watch)
{
    if (!watch->link)
        return;
    *watch->link = watch->next;
    if (watch->next)
        watch->next->link = watch->link;
    watch->link = NULL;
    /* Relaxed: a late reader posts a task that finds nothing, no more. */
    atomic_fetch_sub_explicit(&api->watches.count[bucket_of(watch->id)], 1, memory_order_relaxed);
}
