/*
 * waiting.c: one goroutine waits on an object; a waker wakes it, and a canceller, and it goes on and gives its record back.
 * It is readied exactly once, though both try; nobody touches the record after it was given back; it sees what its
 * waker left. In the end it is not WAITING: a wake-up is never lost, nor a cancel (with NO_WAKER nobody else would wake it).
 * Without CAREFUL the object's lock is held from before it waits until the end of commit, and the woken takes it.
 * With FOLDER its stack is moved while it waits (fold.c): whoever gets it from a queue knows of that before it claims it.
 * With TWICE it waits again, with a record at the same address, which a canceller that saw the first may take.
 */
#include "waiting.h"

#include <assert.h>
#include <pthread.h>

#define RUNNABLE        1u
#define RUNNING         2u
#define WAITING         3u
#define COPYSTACK       4u
#define COPYSTACK_WOKEN 5u

struct gri_waiter {
    _Atomic(uint32_t) state;
    int result; /* plain, as all below: a checker reports a race if an order is missing */
    int given_back;
};

static _Atomic(uint64_t) word = RUNNING;
static _Atomic(uint32_t) cancel;
static _Atomic(struct gri_waiter *) waiting;
static struct gri_waiter record, taken;
static pthread_mutex_t meta_lock, object_lock;
static struct gri_waiter *on_object; /* object_lock */
static int context;
static atomic_int queued, rested;

static void enqueue(void)
{
    /* release, as a run queue's; pairs with the runner's acquire. */
    atomic_store_explicit(&queued, 1, memory_order_release);
}

static void ready(void)
{
    /* relaxed, weaker than in core, as is all that the CAS must give alone. */
    uint64_t seen = atomic_load_explicit(&word, memory_order_relaxed), next;

    do {
        assert(seen == WAITING || seen == COPYSTACK);
        next = seen == COPYSTACK ? COPYSTACK_WOKEN : RUNNABLE;
    } while (!gri_waiting_ready(&word, &seen, next));
    if (next == RUNNABLE)
        enqueue();
}

static bool win(struct gri_waiter *w, int result)
{
    if (!gri_waiting_win(&w->state))
        return false;
    assert(!w->given_back);
    w->result = result;
    return true;
}

static void *waiter(void *arg)
{
    uint64_t seen = RUNNING;
    bool won = false;

    (void)arg;
#ifndef CAREFUL
    pthread_mutex_lock(&object_lock);
    on_object = &record;
#endif
    context = 1;
    while (!gri_waiting_park(&word, &seen, WAITING))
        ;
#ifdef CAREFUL
    pthread_mutex_lock(&meta_lock);
#endif
    if (gri_waiting_show(&waiting, &record, &cancel) && gri_waiting_take(&waiting, &record, NULL))
        won = win(&record, -1);
#ifdef CAREFUL
    pthread_mutex_lock(&object_lock);
    on_object = &record;
#endif
    pthread_mutex_unlock(&object_lock);
#ifdef CAREFUL
    pthread_mutex_unlock(&meta_lock);
#endif
    if (won)
        ready();
    return NULL;
}

static void *waker(void *arg)
{
    bool won;

    (void)arg;
    pthread_mutex_lock(&object_lock);
    won = on_object && win(on_object, 1);
    on_object = NULL;
    pthread_mutex_unlock(&object_lock);
    if (won)
        ready();
    return NULL;
}

static void *canceller(void *arg)
{
    struct gri_waiter *w;
    bool won = false;

    (void)arg;
    pthread_mutex_lock(&meta_lock);
    w = gri_waiting_cancel(&cancel, &waiting);
    if (w && gri_waiting_take(&waiting, w, &taken)) {
        won = win(w, -1);
        atomic_store_explicit(&waiting, NULL, memory_order_release);
    }
    pthread_mutex_unlock(&meta_lock);
    if (won)
        ready();
    return NULL;
}

/* Holds it, as far as this goes: whoever reads WAITING sees the context that it saved. */
static void *holder(void *arg)
{
    (void)arg;
    if (atomic_load_explicit(&word, memory_order_acquire) == WAITING)
        assert(context == 1);
    return NULL;
}

/* Moves its stack, as the scavenger does. */
static void *folder(void *arg)
{
    uint64_t seen = WAITING, next;

    (void)arg;
    if (!atomic_compare_exchange_strong_explicit(&word, &seen, COPYSTACK, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return NULL;
    assert(context == 1);
    atomic_store_explicit(&rested, 1, memory_order_relaxed);
    seen = COPYSTACK;
    do {
        next = seen == COPYSTACK ? WAITING : RUNNABLE;
    } while (!atomic_compare_exchange_weak_explicit(&word, &seen, next, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (next == RUNNABLE)
        enqueue();
    return NULL;
}

/* The second wait, which only a canceller ends: its record is made anew where the first one was. */
static void wait_again(void)
{
    uint64_t seen = RUNNING;

    atomic_store_explicit(&record.state, 0, memory_order_relaxed);
    record.result = 0;
    record.given_back = 0;
    while (!gri_waiting_park(&word, &seen, WAITING))
        ;
    if (gri_waiting_show(&waiting, &record, &cancel) && gri_waiting_take(&waiting, &record, NULL) &&
        win(&record, -1))
        ready();
}

/* Claims it, as a scheduler does, if it is runnable by now, and returns from its wait. */
static void *runner(void *arg)
{
    /* relaxed, weaker than in core: what was left must be seen by the CAS alone. */
    uint64_t seen = atomic_load_explicit(&word, memory_order_relaxed);
    bool locked = false;
#ifdef FOLDER
    int moved;

    /* acquire; pairs with enqueue. relaxed, as in core: what was done before it was queued is seen. */
    if (atomic_load_explicit(&queued, memory_order_acquire) == 0)
        return NULL;
    moved = atomic_load_explicit(&rested, memory_order_relaxed);
    seen = RUNNABLE;
#endif

    (void)arg;
    if (seen != RUNNABLE || !atomic_compare_exchange_strong_explicit(
                                &word, &seen, RUNNING, memory_order_acq_rel, memory_order_relaxed))
        return NULL;
    assert(context == 1);
#ifdef FOLDER
    assert(atomic_load_explicit(&rested, memory_order_relaxed) == moved);
#endif
#ifdef CAREFUL
    locked = true;
#endif
    if (!gri_waiting_withdraw(&waiting, &record) || locked) {
        pthread_mutex_lock(&meta_lock);
        pthread_mutex_unlock(&meta_lock);
    }
    assert(record.result == 1 || record.result == -1);
    pthread_mutex_lock(&object_lock);
    if (on_object == &record)
        on_object = NULL;
    pthread_mutex_unlock(&object_lock);
    record.given_back = 1;
#ifdef TWICE
    wait_again();
#endif
    return NULL;
}

int main(void)
{
    pthread_t a, b, c, d, e, f;
    uint64_t w;

    pthread_mutex_init(&meta_lock, NULL);
    pthread_mutex_init(&object_lock, NULL);
    pthread_create(&a, NULL, waiter, NULL);
    pthread_create(&c, NULL, canceller, NULL);
    pthread_create(&d, NULL, runner, NULL);
#ifdef HOLDER
    pthread_create(&e, NULL, holder, NULL);
    pthread_join(e, NULL);
#endif
#ifdef FOLDER
    pthread_create(&f, NULL, folder, NULL);
    pthread_join(f, NULL);
#endif
#ifndef NO_WAKER
    pthread_create(&b, NULL, waker, NULL);
    pthread_join(b, NULL);
#endif
    pthread_join(a, NULL);
    pthread_join(c, NULL);
    pthread_join(d, NULL);
    w = atomic_load_explicit(&word, memory_order_relaxed);
    assert(w == RUNNABLE || w == RUNNING);
    assert(atomic_load_explicit(&record.state, memory_order_relaxed) == 1);
    return 0;
}
