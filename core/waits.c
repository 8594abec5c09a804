/*
 * waits.c: what a goroutine waits for, who holds it, who else waits; see grasp/waits.h.
 *
 * A goroutine writes what it waits for into its slot before its word says WAITING, and the object it waits for
 * must live until the wait is over. So a reader looks at the slot, reads the object's memory (by the kernel,
 * since the wait may end and the memory go at any moment), and looks at the slot again: the same life, the same
 * state and the same beginning of the wait mean that the wait lasted all the while and that the memory was the
 * object. That is a seqlock without a counter: the beginning is the thread's clock at that very switch.
 *
 * Rejected: a registry of mutexes and conditions. They are plain memory of the program, of which the runtime
 * hears only when somebody uses them, and a goroutine that waits is all that one has to ask.
 *
 * Invariants
 *   N1  What is given out was true at one moment between the two looks.
 *   N2  A goroutine that owns the gr_mutex it waits for does not wait any more: the lock was handed to it, and it
 *       is about to be readied.
 *   N3  Nothing here writes to a goroutine, or holds it.
 *
 * Locks: none of its own; those of the registry's buckets, shortly.
 */
#include "scheduler.h"

#include <pthread.h>
#include <string.h>

static uint64_t load(const _Atomic(uint64_t) *field)
{
    /* relaxed: ordered by the looks at the word before and after (N1). */
    return atomic_load_explicit(field, memory_order_relaxed);
}

const char *gr_object_kind_name(enum gr_object_kind kind)
{
    static const char *const names[GR_OBJECT_KINDS] = {
        [GR_OBJECT_NONE] = "",
        [GR_OBJECT_CHANNEL] = "channel",
        [GR_OBJECT_MUTEX] = "mutex",
        [GR_OBJECT_COND] = "condition",
        [GR_OBJECT_WAITGROUP] = "wait group",
        [GR_OBJECT_THREAD_MUTEX] = "pthread mutex",
        [GR_OBJECT_THREAD_RWLOCK] = "pthread rwlock",
        [GR_OBJECT_FD] = "fd",
        [GR_OBJECT_GOROUTINE] = "goroutine",
    };

    return (unsigned)kind < GR_OBJECT_KINDS ? names[kind] : "";
}

/* ---- Looking ------------------------------------------------------------------------------------- */

enum gri_wait gri_wait_reason(const struct gr_g *g, enum gr_state state)
{
    enum gri_wait reason = atomic_load_explicit(&g->wait_reason, memory_order_relaxed);

    if (state != GR_SYSCALL)
        return reason;
    /* Only these are set for a system call, and taken back after it; others are of an earlier wait. */
    return reason == GRI_WAIT_THREAD_MUTEX || reason == GRI_WAIT_THREAD_RWLOCK ? reason
                                                                               : GRI_WAIT_SYSCALL;
}

void gri_waits_for_thread_lock(struct gr_g *g, enum gri_wait reason, const void *lock, bool timed)
{
    /* relaxed: published by the CAS to SYSCALL. */
    atomic_store_explicit(&g->wait_address, (uint64_t)(uintptr_t)lock, memory_order_relaxed);
    atomic_store_explicit(&g->wait_deadline_ns, timed ? UINT64_MAX : 0, memory_order_relaxed);
    atomic_store_explicit(&g->wait_reason, reason, memory_order_relaxed);
}

/*
 * The state as far as waiting goes. One whose stack is being folded waits; one whose stack is being unfolded does not: its
 * wait was over before. `rested` tells them apart (core.h); seen too early, the wait is missed by this look.
 */
static enum gr_state wait_state(const struct gr_g *g, uint64_t word)
{
    enum gr_state state = gri_word_state(word);

    return state == GR_COPYSTACK && !atomic_load_explicit(&g->rested, memory_order_relaxed)
               ? GR_WAITING
               : state;
}

void gri_wait_look(struct gr_g *g, uint64_t word, struct gri_wait_view *view)
{
    enum gr_state state = wait_state(g, word);
    bool waits = state == GR_WAITING || state == GR_SYSCALL;

    *view = (struct gri_wait_view){
        .g = g,
        .word = word,
        .state = state,
        .id = load(&g->id),
        .address = waits ? load(&g->wait_address) : 0,
        .since_ticks = load(&g->wait_since_ticks),
        .deadline_ns = load(&g->wait_deadline_ns),
        .reason = waits ? gri_wait_reason(g, state) : GRI_WAIT_NONE,
        .cancelled = atomic_load_explicit(&g->cancel, memory_order_relaxed),
    };
}

/* What was read of one that does not wait is its own. */
static bool same_life(const struct gri_wait_view *view)
{
    /* acquire; as in gri_wait_same. */
    atomic_thread_fence(memory_order_acquire);
    return gri_word_generation(atomic_load_explicit(&view->g->word, memory_order_acquire)) ==
           gri_word_generation(view->word);
}

bool gri_wait_same(const struct gri_wait_view *view)
{
    uint64_t now;

    /* acquire; what was read before stays before the second look (N1). */
    atomic_thread_fence(memory_order_acquire);
    now = atomic_load_explicit(&view->g->word, memory_order_acquire);
    return gri_word_generation(now) == gri_word_generation(view->word) &&
           wait_state(view->g, now) == view->state &&
           load(&view->g->wait_since_ticks) == view->since_ticks;
}

/* ---- The owners of libc's locks -------------------------------------------------------------------- */

struct thread_search {
    int32_t tid;
    uint64_t id;
};

/* Whoever holds a lock of libc's is pinned: it runs on its thread, or is stopped together with it. */
static void match_thread(void *arg, struct gr_g *g, uint64_t word)
{
    struct thread_search *search = arg;
    enum gr_state state = gri_word_state(word);
    /* relaxed; seen with the word, whose CAS to RUNNING came after the store. */
    struct gr_m *m = atomic_load_explicit(&g->m, memory_order_relaxed);

    if (m && m->tid == search->tid &&
        (state == GR_RUNNING || state == GR_SYSCALL ||
         atomic_load_explicit(&g->shown_pinned, memory_order_relaxed)))
        search->id = load(&g->id);
}

/* The goroutine that is on a thread; 0: none. */
static uint64_t goroutine_of_thread(int32_t tid)
{
    struct thread_search search = {.tid = tid};

    gri_registry_each(match_thread, &search);
    return search.id;
}

static bool peek_thread_lock(uint64_t address, struct gr_wait_object *object)
{
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;

    if (object->kind == GR_OBJECT_THREAD_MUTEX) {
        if (gri_memory_read(address, &mutex, sizeof mutex) != sizeof mutex)
            return false;
        object->owner_thread = mutex.__data.__owner;
    } else {
        if (gri_memory_read(address, &rwlock, sizeof rwlock) != sizeof rwlock)
            return false;
        object->owner_thread = rwlock.__data.__cur_writer;
    }
    if (object->owner_thread > 0)
        object->owner = goroutine_of_thread(object->owner_thread);
    return true;
}

/* ---- Objects ------------------------------------------------------------------------------------- */

static enum gr_object_kind kind_of(enum gri_wait reason)
{
    static const enum gr_object_kind kinds[GRI_WAITS] = {
        [GRI_WAIT_CHAN_SEND] = GR_OBJECT_CHANNEL,
        [GRI_WAIT_CHAN_RECV] = GR_OBJECT_CHANNEL,
        [GRI_WAIT_SELECT] = GR_OBJECT_CHANNEL,
        [GRI_WAIT_MUTEX] = GR_OBJECT_MUTEX,
        [GRI_WAIT_COND] = GR_OBJECT_COND,
        [GRI_WAIT_GROUP] = GR_OBJECT_WAITGROUP,
        [GRI_WAIT_POLL] = GR_OBJECT_FD,
        [GRI_WAIT_SUSPEND] = GR_OBJECT_GOROUTINE,
        [GRI_WAIT_THREAD_MUTEX] = GR_OBJECT_THREAD_MUTEX,
        [GRI_WAIT_THREAD_RWLOCK] = GR_OBJECT_THREAD_RWLOCK,
    };

    return kinds[reason];
}

size_t gri_wait_objects(const struct gri_wait_view *view, struct gr_wait_object *objects,
                        size_t max)
{
    struct gr_wait_object *object = objects;
    enum gr_object_kind kind = kind_of(view->reason);

    if (kind == GR_OBJECT_NONE || max == 0)
        return 0;
    if (view->reason == GRI_WAIT_SELECT)
        return gri_select_peek(view->address, objects, max);
    *object = (struct gr_wait_object){.kind = kind, .address = view->address};
    switch (kind) {
    case GR_OBJECT_CHANNEL:
        object->op = view->reason == GRI_WAIT_CHAN_SEND ? GR_WAIT_OP_SEND : GR_WAIT_OP_RECV;
        return gri_chan_peek(view->address, object);
    case GR_OBJECT_THREAD_MUTEX:
    case GR_OBJECT_THREAD_RWLOCK:
        return peek_thread_lock(view->address, object);
    case GR_OBJECT_GOROUTINE:
        object->owner = view->address;
        return 1;
    default:
        return gri_sync_peek(view->address, object);
    }
}

static size_t copy_locks(const struct gr_g *g, uint64_t *locks)
{
    size_t count = 0;

    for (unsigned i = 0; i < GR_LOCKS_SHOWN; i++) {
        uint64_t held = load(&g->lock_held[i]);

        if (held)
            locks[count++] = held;
    }
    return count;
}

/* A wait that ends while it is looked at is looked at as what came after; bounded, since a busy one waits for nothing long. */
#define LOOKS_MAX 100

int gr_wait_info(uint64_t id, struct gr_wait_info *info)
{
    struct gr_info dead;
    uint64_t word;

    for (unsigned i = 0; i < LOOKS_MAX; i++) {
        struct gr_g *g = gri_registry_find(id, &word);
        struct gri_wait_view view;

        if (!g)
            break;
        gri_wait_look(g, word, &view);
        memset(info, 0, sizeof *info);
        info->id = id;
        info->object_count = gri_wait_objects(&view, info->object, GR_SELECT_CASES_MAX);
        info->timed =
            view.reason != GRI_WAIT_NONE && view.deadline_ns > 0 && view.reason != GRI_WAIT_SYSCALL;
        info->lock_count = copy_locks(g, info->lock);
        if (info->object[0].kind == GR_OBJECT_MUTEX && info->object[0].owner == id)
            continue; /* N2 */
        if (view.id == id &&
            (view.reason == GRI_WAIT_NONE ? same_life(&view) : gri_wait_same(&view)))
            return 0;
    }
    *info = (struct gr_wait_info){.id = id};
    return gr_info(id, &dead);
}

/* ---- Parties ------------------------------------------------------------------------------------- */

struct party_search {
    enum gr_object_kind kind;
    uint64_t address;
    struct gr_wait_party *out;
    size_t max, count;
};

static void add_party(struct party_search *search, const struct gri_wait_view *view,
                      enum gr_wait_op op)
{
    if (search->count < search->max)
        search->out[search->count] = (struct gr_wait_party){view->id, op};
    search->count++;
}

static void match_party(void *arg, struct gr_g *g, uint64_t word)
{
    struct party_search *search = arg;
    struct gr_wait_object objects[GR_SELECT_CASES_MAX];
    struct gri_wait_view view;
    size_t count;

    gri_wait_look(g, word, &view);
    if (kind_of(view.reason) != search->kind ||
        (view.reason != GRI_WAIT_SELECT && view.address != search->address))
        return;
    if (view.reason != GRI_WAIT_SELECT) {
        if (gri_wait_same(&view))
            add_party(search, &view,
                      view.reason == GRI_WAIT_CHAN_SEND   ? GR_WAIT_OP_SEND
                      : view.reason == GRI_WAIT_CHAN_RECV ? GR_WAIT_OP_RECV
                                                          : GR_WAIT_OP_NONE);
        return;
    }
    count = gri_wait_objects(&view, objects, GR_SELECT_CASES_MAX);
    if (!gri_wait_same(&view))
        return;
    for (size_t i = 0; i < count; i++) {
        if (objects[i].address == search->address)
            add_party(search, &view, objects[i].op);
    }
}

size_t gr_wait_slots(void)
{
    return gri_registry_slots();
}

size_t gr_wait_parties(enum gr_object_kind kind, uint64_t address, struct gr_wait_party *out,
                       size_t max)
{
    struct party_search search = {.kind = kind, .address = address, .out = out, .max = max};

    if (kind != GR_OBJECT_NONE)
        gri_registry_each(match_party, &search);
    return search.count;
}
