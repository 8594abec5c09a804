/*
 * sync.c: mutex, condition and wait group for goroutines: a word and a queue of waiters.
 *
 * A mutex is handed to the first waiter that nobody has suspended; a suspended owner-to-be would keep
 * everyone else waiting. If all waiters are suspended the mutex is left free and all of them are readied to
 * try again, each when it is resumed: so none is forgotten while the lock is free.
 *
 * Rejected: barging (a free-for-all at unlock, as in most futex locks). It is faster under contention, and
 * the order of waiters is then nobody's promise.
 *
 * Locks: the queue's own; under it gri_waiter_win only.
 */
#include "scheduler.h"

struct sync_waiter {
    struct gri_waiter waiter;
    struct sync_waiter *next, *prev;
    bool linked;
};

#define RETRY 1 /* woken to try again, the lock is not handed over */

static struct gri_lock *queue_lock(struct gr_wait_queue *queue)
{
    return (struct gri_lock *)&queue->lock;
}

static void queue_push(struct gr_wait_queue *queue, struct sync_waiter *w)
{
    struct sync_waiter *tail = queue->tail;

    w->next = NULL;
    w->prev = tail;
    if (tail)
        tail->next = w;
    else
        queue->head = w;
    queue->tail = w;
    w->linked = true;
}

static void queue_remove(struct gr_wait_queue *queue, struct sync_waiter *w)
{
    if (!w->linked)
        return;
    if (w->prev)
        w->prev->next = w->next;
    else
        queue->head = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        queue->tail = w->prev;
    w->linked = false;
}

/* Waits in a queue whose lock is held; it is released once the caller waits. */
static int queue_wait(struct gr_wait_queue *queue, enum gri_wait reason, const void *object,
                      int64_t timeout_ns, uint64_t pc)
{
    struct gr_g *g = gri_self();
    struct sync_waiter local, *w = GRI_WAIT_RECORD(g, struct sync_waiter, &local);
    uint64_t deadline = timeout_ns < 0 ? 0 : gri_now_ns() + (uint64_t)timeout_ns;
    int result;

    w->waiter = (struct gri_waiter){0};
    queue_push(queue, w);
    atomic_store_explicit(&g->pc_hint, pc, memory_order_relaxed);
    result = gri_wait(&w->waiter, reason, object, deadline, gri_commit_unlock, queue_lock(queue));
    if (result == -ECANCELED || result == -ETIMEDOUT) {
        gri_lock(queue_lock(queue));
        queue_remove(queue, w);
        gri_unlock(queue_lock(queue));
    }
    return result;
}

static bool is_held(const struct gr_g *g)
{
    /* acquire; pairs with suspend's CAS. A hold that comes a moment later finds the lock handed over. */
    return gri_word_holds(atomic_load_explicit(&g->word, memory_order_acquire)) > 0;
}

/* Queue locked: the first waiter that can be won, unheld ones only if asked; it is off the queue. */
static struct gr_g *queue_win(struct gr_wait_queue *queue, int result, bool unheld_only)
{
    struct sync_waiter *w = queue->head;

    while (w) {
        struct sync_waiter *next = w->next;
        struct gr_g *g = w->waiter.g;

        if (!unheld_only || !is_held(g)) {
            queue_remove(queue, w);
            if (gri_waiter_win(&w->waiter, result))
                return g;
        }
        w = next;
    }
    return NULL;
}

/* ---- Who holds what, for people -------------------------------------------------------------------- */

/* Under the mutex's lock, by the new owner or by whoever hands it over: the mutex is g's. */
static void own(gr_mutex *mutex, struct gr_g *g)
{
    mutex->held = 1;
    mutex->owner = atomic_load_explicit(&g->id, memory_order_relaxed);
    /* relaxed, here and below: shown to people. */
    for (unsigned i = 0; i < GR_LOCKS_SHOWN; i++) {
        if (atomic_load_explicit(&g->lock_held[i], memory_order_relaxed) == 0) {
            atomic_store_explicit(&g->lock_held[i], (uint64_t)mutex, memory_order_relaxed);
            gri_g_mark(g);
            return;
        }
    }
}

/* The same by its owner g, who gives it up. */
static void disown(const gr_mutex *mutex, struct gr_g *g)
{
    for (unsigned i = 0; i < GR_LOCKS_SHOWN; i++) {
        if (atomic_load_explicit(&g->lock_held[i], memory_order_relaxed) == (uint64_t)mutex) {
            atomic_store_explicit(&g->lock_held[i], 0, memory_order_relaxed);
            return;
        }
    }
}

bool gri_sync_peek(uint64_t address, struct gr_wait_object *object)
{
    gr_mutex mutex;
    gr_waitgroup group;

    if (object->kind == GR_OBJECT_MUTEX) {
        if (gri_memory_read(address, &mutex, sizeof mutex) != sizeof mutex)
            return false;
        object->owner = mutex.held ? mutex.owner : 0;
    } else if (object->kind == GR_OBJECT_WAITGROUP) {
        if (gri_memory_read(address, &group, sizeof group) != sizeof group)
            return false;
        object->count = group.count;
    }
    return true;
}

/* ---- Mutex --------------------------------------------------------------------------------------- */

int gr_mutex_try_lock(gr_mutex *mutex)
{
    struct gr_g *g = gri_self();
    int result = -EBUSY;

    if (!g)
        return -EPERM;
    gri_give_way(g, GRI_CALLER);
    gri_lock(queue_lock(&mutex->waiters));
    if (!mutex->held) {
        own(mutex, g);
        result = 0;
    }
    gri_unlock(queue_lock(&mutex->waiters));
    return result;
}

static int mutex_lock(gr_mutex *mutex, struct gr_g *g, uint64_t pc)
{
    uint64_t id = atomic_load_explicit(&g->id, memory_order_relaxed);
    int result;

    do {
        gri_lock(queue_lock(&mutex->waiters));
        if (!mutex->held) {
            own(mutex, g);
            gri_unlock(queue_lock(&mutex->waiters));
            return 0;
        }
        if (mutex->owner == id) {
            gri_unlock(queue_lock(&mutex->waiters));
            return -EDEADLK;
        }
        result = queue_wait(&mutex->waiters, GRI_WAIT_MUTEX, mutex, -1, pc);
    } while (result == RETRY);
    return result;
}

int gr_mutex_lock(gr_mutex *mutex)
{
    struct gr_g *g = gri_self();

    gri_give_way(g, GRI_CALLER);
    return g ? mutex_lock(mutex, g, GRI_CALLER) : -EPERM;
}

static int mutex_unlock(gr_mutex *mutex, struct gr_g *self)
{
    struct gr_g *g;
    uint64_t id = self ? atomic_load_explicit(&self->id, memory_order_relaxed) : 0;

    gri_lock(queue_lock(&mutex->waiters));
    if (!mutex->held || mutex->owner != id) {
        gri_unlock(queue_lock(&mutex->waiters));
        return -EPERM;
    }
    if (self)
        disown(mutex, self);
    g = queue_win(&mutex->waiters, 0, true);
    if (g) {
        own(mutex, g);
        gri_unlock(queue_lock(&mutex->waiters));
        gri_ready(g);
        return 0;
    }
    mutex->held = 0;
    mutex->owner = 0;
    while ((g = queue_win(&mutex->waiters, RETRY, false)))
        gri_ready(g); /* runnable, and held: takes no lock of ours */
    gri_unlock(queue_lock(&mutex->waiters));
    return 0;
}

int gr_mutex_unlock(gr_mutex *mutex)
{
    struct gr_g *self = gri_self();
    int result = mutex_unlock(mutex, self);

    gri_give_way(self, GRI_CALLER);
    return result;
}

/* Until locked, whatever was asked of the caller meanwhile: a condition's promise. */
static void lock_regardless(gr_mutex *mutex)
{
    while (mutex_lock(mutex, gri_self(), 0) == -ECANCELED)
        gr_yield();
}

/* ---- Condition ----------------------------------------------------------------------------------- */

static int cond_wait(gr_cond *cond, gr_mutex *mutex, int64_t timeout_ns, uint64_t pc)
{
    int result;

    GRI_GIVE_WAY();
    if (!gri_self() || mutex->owner != gri_id())
        return -EPERM;
    gri_lock(queue_lock(&cond->waiters));
    /* Under the queue's lock: a signal that comes after the unlock finds us in the queue. */
    (void)mutex_unlock(mutex, gri_self());
    result = queue_wait(&cond->waiters, GRI_WAIT_COND, cond, timeout_ns, pc);
    lock_regardless(mutex);
    gri_give_way(gri_self(), pc);
    return result;
}

int gr_cond_wait(gr_cond *cond, gr_mutex *mutex)
{
    return cond_wait(cond, mutex, -1, GRI_CALLER);
}

int gr_cond_timed_wait(gr_cond *cond, gr_mutex *mutex, int64_t timeout_ns)
{
    return cond_wait(cond, mutex, timeout_ns, GRI_CALLER);
}

void gr_cond_signal(gr_cond *cond)
{
    struct gr_g *g;

    GRI_GIVE_WAY();
    gri_lock(queue_lock(&cond->waiters));
    g = queue_win(&cond->waiters, 0, false);
    gri_unlock(queue_lock(&cond->waiters));
    if (g)
        gri_ready(g);
}

/* Those who wait now: one that is woken and waits again is not woken by the same call. */
void gr_cond_broadcast(gr_cond *cond)
{
    struct gri_g_list woken = {0};
    struct gr_g *g;

    GRI_GIVE_WAY();
    gri_lock(queue_lock(&cond->waiters));
    while ((g = queue_win(&cond->waiters, 0, false)))
        gri_g_list_add(&woken, g);
    gri_unlock(queue_lock(&cond->waiters));
    gri_g_list_ready(&woken);
}

/* ---- Wait group ---------------------------------------------------------------------------------- */

static int add(gr_waitgroup *group, int64_t n)
{
    _Atomic(int64_t) *count = (_Atomic(int64_t) *)&group->count;
    struct gri_g_list woken = {0};
    struct gr_g *g;
    int64_t before = atomic_load_explicit(count, memory_order_relaxed), sum;

    /*
     * Short of 0 and of what is not allowed, nobody is woken and no lock is needed. The step to 0 is taken under
     * it: a waiter that sees 0 there has the group to itself, and may free it.
     */
    while (!__builtin_add_overflow(before, n, &sum) && sum > 0) {
        /* acq_rel; pairs with the other members' steps: what they did before is seen by whoever gets to 0. */
        if (atomic_compare_exchange_weak_explicit(count, &before, sum, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return 0;
    }
    gri_lock(queue_lock(&group->waiters));
    before = atomic_load_explicit(count, memory_order_relaxed);
    do {
        if (__builtin_add_overflow(before, n, &sum) || sum < 0) {
            gri_unlock(queue_lock(&group->waiters));
            return -EINVAL;
        }
        /* acq_rel as above. */
    } while (!atomic_compare_exchange_weak_explicit(count, &before, sum, memory_order_acq_rel,
                                                    memory_order_relaxed));
    /* The group may live on a waiter's stack: nobody is readied before we are done with it. */
    while (sum == 0 && (g = queue_win(&group->waiters, 0, false)))
        gri_g_list_add(&woken, g);
    gri_unlock(queue_lock(&group->waiters));
    gri_g_list_ready(&woken);
    return 0;
}

int gr_waitgroup_add(gr_waitgroup *group, int64_t n)
{
    int result = add(group, n);

    GRI_GIVE_WAY();
    return result;
}

int gr_waitgroup_done(gr_waitgroup *group)
{
    int result = add(group, -1);

    GRI_GIVE_WAY();
    return result;
}

int gr_waitgroup_wait(gr_waitgroup *group)
{
    if (!gri_self())
        return -EPERM;
    GRI_GIVE_WAY();
    gri_lock(queue_lock(&group->waiters));
    /* acquire; pairs with the step to 0. */
    if (atomic_load_explicit((_Atomic(int64_t) *)&group->count, memory_order_acquire) == 0) {
        gri_unlock(queue_lock(&group->waiters));
        return 0;
    }
    return queue_wait(&group->waiters, GRI_WAIT_GROUP, group, -1, GRI_CALLER);
}
