/*
 * registry.c: goroutine slots, their ids, and how to find or walk them while they come and go.
 *
 * Slots are allocated in blocks and never freed; a dead one waits, with its stack, on its processor's free
 * list or the global one. Of those that nobody needed for a while all but WARM_SLOTS lose the pages of their stacks, so that
 * memory follows the number alive (scavenge.c). An id is the next of one sequence and is never used again; a hash with a lock per
 * bucket maps it to its slot. The walk looks at every slot's word and stops nobody.
 *
 * Rejected: an id made of slot and generation. It finds the slot without a hash, but such ids do not grow,
 * and paging through a list wants ids that do.
 *
 * Invariants
 *   R1  A g is in the hash, by its id, exactly while its word is neither DEAD nor IDLE: both change under the bucket's lock.
 *       A look-up first tries without that lock (id_chain.h): what it finds is true, what it misses is not.
 *   R2  Slots are only added, one behind the other, and published by a release store of their count.
 *
 * Locks: bucket lock, the last of any; block_lock (free list, blocks), under which none is taken.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "id_chain.h"

#define BLOCK_SLOTS    256u
#define BLOCKS_MAX     65536u
#define BUCKETS        65536u
#define LOCAL_FREE_MAX 128u
#define REFILL         32u
#define WARM_SLOTS     1024u /* free slots that keep the pages of their stacks */

_Static_assert(GR_GOROUTINES_MAX == BLOCKS_MAX * BLOCK_SLOTS, "as many as there are slots");

static struct gr_g *block[BLOCKS_MAX];
static uint32_t block_count;           /* block_lock */
static _Atomic(uint32_t) slots_made;

/*
 * For debuggers that have nothing but memory, and no debug information (tools/grasp-gdb.py): where the goroutines are, and
 * where in them what is shown. Read as pairs up to the one without a name; a name that is not there means an older or a
 * newer runtime. "state.NAME" and "wait.NAME" are numbers.
 */
#define G(field)                                                                                   \
    {                                                                                              \
        "g." #field, offsetof(struct gr_g, field)                                                  \
    }
const struct arch_debug_pair gr_debug_layout[] = {
    {"version", 1},
    {"blocks", (uint64_t)(uintptr_t)block},
    {"block_count", (uint64_t)(uintptr_t)&block_count},
    {"block_slots", BLOCK_SLOTS},
    {"arch", (uint64_t)(uintptr_t)arch_debug_layout},
    {"g.bytes", sizeof(struct gr_g)},
    G(word),
    G(id),
    G(root),
    G(parent),
    G(m),
    G(ctx_sched),
    G(ctx_syscall),
    {"g.stack.hi", offsetof(struct gr_g, stack.hi)},
    {"first_frame", (uint64_t)(uintptr_t)&gri_first_frame},
    G(stop_frame),
    G(stop_kind),
    G(foreign),
    G(folded),
    G(wait_reason),
    G(wait_address),
    G(name),
    {"m.tid", offsetof(struct gr_m, tid)},
    {"foreign.depth", offsetof(struct arch_foreign, depth)},
    {"foreign.call", offsetof(struct arch_foreign, call)},
    {"word.state_bits", GRI_STATE_BITS},
    {"word.hold_bits", GRI_HOLD_BITS},
    {"stop.call", GRI_STOP_CALL},
    {"stop.async", GRI_STOP_ASYNC},
    {"state.idle", GR_IDLE},
    {"state.runnable", GR_RUNNABLE},
    {"state.running", GR_RUNNING},
    {"state.syscall", GR_SYSCALL},
    {"state.waiting", GR_WAITING},
    {"state.copystack", GR_COPYSTACK},
    {"state.copystack-woken", GR_COPYSTACK_WOKEN},
    {"state.preempted", GR_PREEMPTED},
    {"state.dead", GR_DEAD},
    {"wait.chan send", GRI_WAIT_CHAN_SEND},
    {"wait.chan receive", GRI_WAIT_CHAN_RECV},
    {"wait.select", GRI_WAIT_SELECT},
    {"wait.mutex lock", GRI_WAIT_MUTEX},
    {"wait.condition wait", GRI_WAIT_COND},
    {"wait.wait group", GRI_WAIT_GROUP},
    {"wait.sleep", GRI_WAIT_SLEEP},
    {"wait.poll", GRI_WAIT_POLL},
    {"wait.suspend", GRI_WAIT_SUSPEND},
    {"wait.pthread mutex", GRI_WAIT_THREAD_MUTEX},
    {"wait.pthread rwlock", GRI_WAIT_THREAD_RWLOCK},
    {"", 0},
};
#undef G
static struct gri_lock block_lock;
static struct gr_g *free_list; /* block_lock; each with a stack of the usual size */
static struct gr_g
    *free_cold; /* block_lock; the same, their pages given back: used after all others */
static size_t free_count,
    free_low; /* block_lock; how many free_list has, and the fewest since the scavenger looked */
static struct gr_g *free_bare; /* block_lock; without a stack: they had a large one */

static struct bucket {
    struct gri_lock lock;
    _Atomic(struct gr_g *) first;
} bucket[BUCKETS];

/* On one line: two processors that bear and bury fetch it once for each. */
static struct {
    _Alignas(GRI_CACHE_LINE) _Atomic(uint64_t) last_id;
    _Atomic(uint64_t) live, ended;
} counts;
static uint64_t live_max;

void gri_registry_init(uint64_t max_goroutines)
{
    live_max = max_goroutines == 0                  ? 10000000
               : max_goroutines < GR_GOROUTINES_MAX ? max_goroutines
                                                    : GR_GOROUTINES_MAX;
}

uint64_t gri_registry_max(void)
{
    return live_max;
}

uint64_t gri_registry_last_id(void)
{
    /* acquire; pairs with gri_registry_name: whom the same thread bore before is seen alive. */
    return atomic_load_explicit(&counts.last_id, memory_order_acquire);
}

int gri_registry_missing(uint64_t id)
{
    return id >= 1 && id <= gri_registry_last_id() ? -EOWNERDEAD : -ESRCH;
}

/* ---- Slots --------------------------------------------------------------------------------------- */

/* block_lock held. A slot that never was used. */
static struct gr_g *new_slot(void)
{
    /* relaxed: written under the lock only. */
    uint32_t slot = atomic_load_explicit(&slots_made, memory_order_relaxed);
    struct gr_g *g;

    if (slot == block_count * BLOCK_SLOTS) {
        struct gr_g *fresh;

        if (block_count == BLOCKS_MAX)
            return NULL;
        fresh = aligned_alloc(GRI_CACHE_LINE, BLOCK_SLOTS * sizeof *fresh);
        if (!fresh)
            return NULL;
        memset(fresh, 0, BLOCK_SLOTS * sizeof *fresh);
        for (uint32_t i = 0; i < BLOCK_SLOTS; i++)
            atomic_init(&fresh[i].word, gri_word_make(GR_DEAD, 0, 1));
        block[block_count++] = fresh;
    }
    g = &block[slot / BLOCK_SLOTS][slot % BLOCK_SLOTS];
    g->slot = slot;
    /* release; pairs with the walk's acquire (R2). */
    atomic_store_explicit(&slots_made, slot + 1, memory_order_release);
    return g;
}

static struct gr_g *take_bare_slot(void)
{
    struct gr_g *g;

    gri_lock(&block_lock);
    g = free_bare;
    if (g)
        free_bare = g->queue_next;
    else
        g = new_slot();
    gri_unlock(&block_lock);
    return g;
}

/* block_lock held. One with a stack, a warm one if there is any; NULL: none. */
static struct gr_g *pop_free(void)
{
    struct gr_g *g = free_list;

    if (g) {
        free_list = g->queue_next;
        if (--free_count < free_low)
            free_low = free_count;
    } else if ((g = free_cold)) {
        free_cold = g->queue_next;
    }
    return g;
}

/* block_lock held. */
static void push_free(struct gr_g *g)
{
    g->queue_next = free_list;
    free_list = g;
    free_count++;
}

/* Some from the global list for p, which has none: one lock for REFILL births. */
static void refill(struct gr_p *p)
{
    struct gr_g *g;

    gri_lock(&block_lock);
    for (unsigned i = 0; i < REFILL && (g = pop_free()); i++) {
        g->queue_next = p->free_list;
        p->free_list = g;
        p->free_count++;
    }
    gri_unlock(&block_lock);
}

/* Half of what p has to the global list. */
static void spill(struct gr_p *p)
{
    gri_lock(&block_lock);
    for (unsigned i = 0; i < LOCAL_FREE_MAX / 2; i++) {
        struct gr_g *g = p->free_list;

        p->free_list = g->queue_next;
        p->free_count--;
        push_free(g);
    }
    gri_unlock(&block_lock);
}

static struct gr_g *take_slot(void)
{
    struct gr_m *m = gri_m();
    struct gr_p *p = m ? m->p : NULL;
    struct gr_g *g;

    if (p && !p->free_list)
        refill(p);
    if (p && p->free_list) {
        g = p->free_list;
        p->free_list = g->queue_next;
        p->free_count--;
        p->free_warm = false;
        return g;
    }
    gri_lock(&block_lock);
    g = pop_free();
    if (!g)
        g = new_slot();
    gri_unlock(&block_lock);
    return g;
}

static void give_slot(struct gr_p *p, struct gr_g *g)
{
    if (p && g->stack.hi) {
        if (p->free_count == LOCAL_FREE_MAX)
            spill(p);
        g->queue_next = p->free_list;
        p->free_list = g;
        p->free_count++;
        p->free_warm = true;
        return;
    }
    gri_lock(&block_lock);
    if (g->stack.hi) {
        push_free(g);
    } else {
        g->queue_next = free_bare;
        free_bare = g;
    }
    gri_unlock(&block_lock);
}

/*
 * Whoever walks over the slots may look at this one on account of its last life (roots.c): stacks come and go under
 * meta_lock. Who holds or runs a goroutine reads its stack without.
 */
static bool give_stack(struct gr_g *g, size_t stack_bytes)
{
    struct gri_stack stack = {0};

    if (gri_stack_alloc(&stack, stack_bytes) != 0)
        return false;
    /* Its first page comes now: neighbours' then lie side by side in memory, too, and not in the order of the first runs. */
    *(volatile uint8_t *)(stack.hi - sizeof(struct arch_foreign)) = 0;
    gri_lock(&g->meta_lock);
    g->stack = stack;
    gri_unlock(&g->meta_lock);
    return true;
}

static void take_stack(struct gr_g *g)
{
    struct gri_stack stack;

    gri_lock(&g->meta_lock);
    stack = g->stack;
    memset(&g->stack, 0, sizeof g->stack);
    gri_unlock(&g->meta_lock);
    gri_stack_free(&stack);
}

struct gr_g *gri_g_alloc(size_t stack_bytes, int *error)
{
    uint64_t w;
    struct gr_g *g;

    /* relaxed: a cap, exact because every birth adds first and takes back if it went over. */
    if (atomic_fetch_add_explicit(&counts.live, 1, memory_order_relaxed) >= live_max) {
        atomic_fetch_sub_explicit(&counts.live, 1, memory_order_relaxed);
        *error = -EAGAIN;
        return NULL;
    }
    if (stack_bytes == gri_stack_default_bytes())
        stack_bytes = 0;
    g = stack_bytes ? take_bare_slot() : take_slot();
    *error = -ENOMEM;
    if (!g || (!g->stack.hi && !give_stack(g, stack_bytes))) {
        if (g)
            give_slot(NULL, g);
        atomic_fetch_sub_explicit(&counts.live, 1, memory_order_relaxed);
        return NULL;
    }
    w = atomic_load_explicit(&g->word, memory_order_relaxed);
    GRI_ASSERT(gri_word_state(w) == GR_DEAD);
    GRI_ASSERT(gri_word_holds(w) == 0);
    GRI_ASSERT(g->waiters == NULL);
    /* acq_rel: birth is a read-modify-write too, so that release sequences on the word never end. */
    if (!atomic_compare_exchange_strong_explicit(&g->word, &w, gri_word_with_state(w, GR_IDLE),
                                                 memory_order_acq_rel, memory_order_relaxed))
        GR_PANIC("a free slot changed its word");
    return g;
}

struct gr_g *gri_warm_slot(const struct gr_p *p)
{
    return p->free_warm ? p->free_list : NULL;
}

/* Under each one's lock, for who walks over the slots (give_stack). Slots on free lists have stacks of the usual size. */
void gri_take_warm_stack(struct gr_g *g, struct gr_g *warm)
{
    struct gri_stack own = g->stack;

    gri_lock(&g->meta_lock);
    g->stack = warm->stack;
    gri_unlock(&g->meta_lock);
    gri_lock(&warm->meta_lock);
    warm->stack = own;
    gri_unlock(&warm->meta_lock);
    g->guard_bound = gri_guard_bound(&g->stack);
}

void gri_processor_drain(struct gr_p *p)
{
    p->free_warm = false;
    while (p->free_list) {
        struct gr_g *g = p->free_list;

        p->free_list = g->queue_next;
        p->free_count--;
        give_slot(NULL, g);
    }
}

/* What the slot's next life does not take over. */
static void strip(struct gr_g *g)
{
    free(g->apart);
    g->apart = NULL;
    if (g->stack.large)
        take_stack(g);
}

void gri_g_abandon(struct gr_g *g)
{
    strip(g);
    atomic_fetch_sub_explicit(&counts.live, 1, memory_order_relaxed);
    give_slot(NULL, g);
}

void gri_g_free(struct gr_m *m, struct gr_g *g)
{
    strip(g);
    give_slot(m->p, g);
}

size_t gri_registry_take_surplus(struct gr_g **out, size_t max, bool *more)
{
    size_t count = 0, surplus;

    gri_lock(&block_lock);
    surplus = free_low > WARM_SLOTS ? free_low - WARM_SLOTS : 0;
    for (; count < max && count < surplus; count++) {
        out[count] = free_list;
        free_list = free_list->queue_next;
        free_count--;
        free_low--;
    }
    if (count == surplus) /* else the rest is asked for next */
        free_low = free_count;
    *more = free_count > WARM_SLOTS;
    gri_unlock(&block_lock);
    return count;
}

void gri_registry_give_cold(struct gr_g **list, size_t count)
{
    gri_lock(&block_lock);
    for (size_t i = 0; i < count; i++) {
        list[i]->queue_next = free_cold;
        free_cold = list[i];
    }
    gri_unlock(&block_lock);
}

uint64_t gri_registry_live(void)
{
    /* acquire; pairs with gri_registry_remove: if all have ended, that is seen. Before last_id: who is not born yet has not ended. */
    uint64_t ended = atomic_load_explicit(&counts.ended, memory_order_acquire);

    return gri_registry_last_id() - ended;
}

uint64_t gri_registry_ended(void)
{
    return atomic_load_explicit(&counts.ended, memory_order_relaxed);
}

/* ---- Ids ----------------------------------------------------------------------------------------- */

uint64_t gri_registry_name(struct gr_g *g)
{
    /* release; pairs with gri_registry_last_id. */
    uint64_t id = atomic_fetch_add_explicit(&counts.last_id, 1, memory_order_release) + 1;

    gri_chain_name(g, id);
    return id;
}

void gri_registry_publish(struct gr_g *g)
{
    struct bucket *b = &bucket[atomic_load_explicit(&g->id, memory_order_relaxed) % BUCKETS];
    uint64_t w = atomic_load_explicit(&g->word, memory_order_relaxed);

    gri_lock(&b->lock);
    gri_chain_push(&b->first, g);
    GRI_ASSERT(gri_word_state(w) == GR_IDLE);
    /*
     * Release: all that was filled in is seen by whoever runs, holds or walks it. seq_cst, before the loads of bear. While
     * it was IDLE nobody could hold it, so the word is as it was read.
     */
    if (!atomic_compare_exchange_strong_explicit(&g->word, &w, gri_word_with_state(w, GR_RUNNABLE),
                                                 memory_order_seq_cst, memory_order_relaxed))
        GR_PANIC("an idle slot changed its word");
    gri_unlock(&b->lock);
}

uint64_t gri_registry_remove(struct gr_g *g, _Atomic(uint64_t) *ended)
{
    uint64_t id = atomic_load_explicit(&g->id, memory_order_relaxed), next;
    struct bucket *b = &bucket[id % BUCKETS];
    uint64_t w;

    /* Before it is DEAD, so that whoever has seen that finds room for another. relaxed: a cap. */
    atomic_fetch_sub_explicit(&counts.live, 1, memory_order_relaxed);
    gri_lock(&b->lock);
    gri_chain_remove(&b->first, g);
    w = atomic_load_explicit(&g->word, memory_order_relaxed);
    do {
        GRI_ASSERT(gri_word_state(w) == GR_RUNNING);
        next = gri_word_make(GR_DEAD, 0, gri_word_generation(w) + 1);
        /*
         * Pairs with suspend's CAS: a hold is in `w`, or finds the new generation. seq_cst, before whatever the
         * host loads in gri_event to learn whether anybody wants to hear of it.
         */
    } while (!atomic_compare_exchange_weak_explicit(&g->word, &w, next, memory_order_seq_cst,
                                                    memory_order_relaxed));
    /* release, both; pair with gri_registry_live and gri_dead_each. Who misses g under the bucket's lock sees them by that. */
    atomic_fetch_add_explicit(&counts.ended, 1, memory_order_release);
    atomic_store_explicit(ended, id, memory_order_release);
    gri_unlock(&b->lock);
    return w;
}

struct gr_g *gri_registry_find(uint64_t id, uint64_t *word)
{
    struct bucket *b = &bucket[id % BUCKETS];
    struct gr_g *g = gri_chain_find(&b->first, id, word);

    if (g)
        return g;
    gri_lock(&b->lock);
    g = gri_chain_find_locked(&b->first, id, word);
    gri_unlock(&b->lock);
    return g;
}

/* ---- Walking ------------------------------------------------------------------------------------- */

size_t gri_registry_slots(void)
{
    /* relaxed: a measure. */
    return atomic_load_explicit(&slots_made, memory_order_relaxed);
}

void gri_registry_each(gri_slot_fn *fn, void *arg)
{
    /* acquire; pairs with new_slot. */
    uint32_t slots = atomic_load_explicit(&slots_made, memory_order_acquire);

    for (uint32_t i = 0; i < slots; i++) {
        struct gr_g *g = &block[i / BLOCK_SLOTS][i % BLOCK_SLOTS];
        uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);

        if (gri_word_state(w) != GR_DEAD && gri_word_state(w) != GR_IDLE)
            fn(arg, g, w);
    }
}
