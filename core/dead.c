/*
 * dead.c: goroutines that ended: what is shown of them, for as long as they are kept.
 *
 * The last DEAD_ROOTS roots and the last DEAD_CHILDREN children are kept, in rings of their own, so that a
 * storm of children does not push out the results. Each place has its own lock and the ids lie apart, densely:
 * two processors whose goroutines end at the same time meet in one counter only, and a look-up reads ids.
 *
 * Rejected: one lock for all. With two processors spawning short goroutines most of their time went there.
 * Rejected: a record that counts while the goroutine can still be found by its id: gr_info would call it dead, and a hold, a
 * cancellation, the list of the living and its module's count would not, or each would have to ask for the record first.
 *
 * Invariants
 *   D1  id[i] is the id of what place i holds; it changes under the place's lock.
 *   D2  A goroutine is dead when its word says so, and at no other moment: then it leaves the registry and is found here.
 *       What was counted of it has been taken off before.
 *
 * Locks: the meta_lock of who ends, its place's, its bucket's (registry.c), in that order. Whoever looks meanwhile sees the
 * living, or waits and finds the ended.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEAD_ROOTS    10000
#define DEAD_CHILDREN 10000

/* Two lines, unless it had a name: of many thousand short lives each is a place that no cache has. */
struct dead {
    _Alignas(GRI_CACHE_LINE) struct gri_lock lock;
    int exit_code;
    uint64_t root, parent, created_realtime_ns, ended_realtime_ns, cpu_ticks;
    uint64_t preempts_sync, preempts_async;
    struct gri_labels *labels;
    struct gri_log *log;
    char *result;
    const struct gr_entry *root_entry;
    int m, p;
    bool cancelled, named;
    char module[GR_NAME_MAX + 1];
    char name[GR_NAME_MAX + 1]; /* if named */
};

static struct ring {
    _Alignas(GRI_CACHE_LINE) _Atomic(uint64_t) count;
    uint64_t capacity;
    _Atomic(uint64_t) *id;
    struct dead *place;
} roots, children;

static _Atomic(uint64_t) root_id[DEAD_ROOTS], child_id[DEAD_CHILDREN];
static struct dead root_place[DEAD_ROOTS], child_place[DEAD_CHILDREN];

void gri_dead_init(void)
{
    roots.capacity = DEAD_ROOTS;
    roots.id = root_id;
    roots.place = root_place;
    children.capacity = DEAD_CHILDREN;
    children.id = child_id;
    children.place = child_place;
}

static uint64_t load(const _Atomic(uint64_t) *field)
{
    /* relaxed: shown to people, or checked again under the place's lock. */
    return atomic_load_explicit(field, memory_order_relaxed);
}

/* Everything but the references, which are taken under g's lock, and the names. */
static void fill(struct dead *d, struct gr_g *g)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    d->root = load(&g->root);
    d->parent = load(&g->parent);
    d->created_realtime_ns = load(&g->created_realtime_ns);
    d->ended_realtime_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    d->cpu_ticks = load(&g->cpu_ticks);
    d->preempts_sync = load(&g->preempts_sync);
    d->preempts_async = load(&g->preempts_async);
    d->root_entry = g->root_entry;
    d->exit_code = g->exit_code;
    d->cancelled = atomic_load_explicit(&g->cancel, memory_order_relaxed);
    d->m = atomic_load_explicit(&g->last_m, memory_order_relaxed);
    d->p = atomic_load_explicit(&g->last_p, memory_order_relaxed);
    d->named = g->name[0] != 0;
    if (d->named)
        strcpy(d->name, g->name);
}

uint64_t gri_dead_keep(struct gr_g *g)
{
    struct ring *ring = g->is_root ? &roots : &children;
    /* relaxed: hands out places; what is in them is guarded by their locks. */
    uint64_t at = atomic_fetch_add_explicit(&ring->count, 1, memory_order_relaxed) % ring->capacity;
    struct dead *d = &ring->place[at];
    struct gri_module *module = g->module;
    struct gri_labels *old_labels;
    struct gri_log *old_log;
    char *old_result;
    uint64_t word;

    gri_lock(&g->meta_lock);
    gri_lock(&d->lock);
    old_labels = d->labels;
    old_log = d->log;
    old_result = d->result;
    fill(d, g);
    d->labels = g->labels;
    d->log = g->log;
    d->result = g->result;
    strcpy(d->module, module ? gri_module_name(module) : "");
    /* D2, and the last look at the module: without goroutines its record may be freed. */
    if (module)
        gri_module_live_add(module, -1);
    word = gri_registry_remove(g, &ring->id[at]);
    g->module = NULL;
    g->labels = NULL;
    g->log = NULL;
    g->result = NULL;
    gri_unlock(&d->lock);
    gri_unlock(&g->meta_lock);

    gri_labels_unref(old_labels);
    gri_log_unref(old_log);
    free(old_result);
    free(g->args);
    g->args = NULL;
    return word;
}

static struct dead *find_in(struct ring *ring, uint64_t id)
{
    uint64_t count = load(&ring->count);

    if (count > ring->capacity)
        count = ring->capacity;
    for (uint64_t i = 0; i < count; i++) {
        if (load(&ring->id[i]) != id)
            continue;
        gri_lock(&ring->place[i].lock);
        if (load(&ring->id[i]) == id)
            return &ring->place[i];
        gri_unlock(&ring->place[i].lock);
    }
    return NULL;
}

/* The record of id, locked; NULL: not kept. */
static struct dead *find(uint64_t id)
{
    struct dead *d = id ? find_in(&roots, id) : NULL;

    return d || !id ? d : find_in(&children, id);
}

bool gri_dead_info(uint64_t id, struct gr_info *info)
{
    struct dead *d = find(id);

    if (!d)
        return false;
    *info = (struct gr_info){
        .id = id,
        .root = d->root,
        .parent = d->parent,
        .state = GR_DEAD,
        .cancelled = d->cancelled,
        .cpu_ns = gri_ticks_to_ns(d->cpu_ticks),
        .created_realtime_ns = d->created_realtime_ns,
        .ended_realtime_ns = d->ended_realtime_ns,
        .m = d->m,
        .p = d->p,
        .preempts_sync = d->preempts_sync,
        .preempts_async = d->preempts_async,
        .exit_reason = d->cancelled ? GR_EXIT_CANCELLED : GR_EXIT_RETURNED,
        .exit_code = d->exit_code,
    };
    strcpy(info->name, d->named ? d->name : "");
    strcpy(info->module, d->module);
    gri_text_copy(info->entry, sizeof info->entry, d->root_entry ? d->root_entry->name : "");
    gri_labels_copy(d->labels, info);
    gri_unlock(&d->lock);
    return true;
}

int gri_dead_result(uint64_t id, char **json)
{
    struct dead *d = find(id);
    int error = 0;

    *json = NULL;
    if (!d)
        return -ENOENT;
    if (d->result) {
        *json = strdup(d->result);
        error = *json ? 0 : -ENOMEM;
    }
    gri_unlock(&d->lock);
    return error;
}

struct gri_log *gri_dead_log(uint64_t id)
{
    struct dead *d = find(id);
    struct gri_log *log;

    if (!d)
        return NULL;
    log = gri_log_ref(d->log);
    gri_unlock(&d->lock);
    return log;
}

void gri_dead_each(gri_id_fn *fn, void *arg)
{
    struct ring *rings[2] = {&roots, &children};

    for (unsigned r = 0; r < 2; r++) {
        for (uint64_t i = 0; i < rings[r]->capacity && i < load(&rings[r]->count); i++) {
            /* acquire; pairs with gri_registry_remove: whoever looks at the living afterwards does not find it. */
            uint64_t id = atomic_load_explicit(&rings[r]->id[i], memory_order_acquire);

            if (id)
                fn(arg, id);
        }
    }
}
