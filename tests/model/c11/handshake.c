/*
 * handshake.c: one goroutine becomes RUNNING and goes through a slow path; somebody takes hold of it meanwhile. In the end it has
 * stopped, or its guard is poisoned, so that the next check stops it: a hold is never lost. Whoever sees it stopped sees
 * the context that it saved, and it sees what was written before it became runnable. With NO_RESET it never comes to a slow
 * path: the relaxed store of the guard before it runs must not erase a poison either.
 */
#include "handshake.h"

#include <assert.h>
#include <pthread.h>

#define RUNNABLE  1u
#define RUNNING   2u
#define PREEMPTED 3u
#define STATE     3u
#define ONE_HOLD  4u
#define BOUND     1
#define POISON    2

static _Atomic(uint64_t) word, guard;
static int context, saved; /* plain: a checker reports a race if an order is missing */

static void *holder(void *arg)
{
    uint64_t seen = atomic_load_explicit(&word, memory_order_acquire);

    (void)arg;
    while (!gri_handshake_hold(&word, &seen, ONE_HOLD))
        ;
    if ((seen & STATE) == RUNNING)
        gri_handshake_poison(&guard, POISON);
    else if ((seen & STATE) == PREEMPTED)
        assert(saved == 1); /* it stands still: its context is complete */
    return NULL;
}

static void *maker(void *arg)
{
    (void)arg;
    context = 1;
    atomic_fetch_add_explicit(&word, RUNNABLE, memory_order_acq_rel);
    return NULL;
}

/* Makes it PREEMPTED, its context saved. */
static void park(void)
{
    uint64_t seen = atomic_load_explicit(&word, memory_order_relaxed);

    saved = 1;
    while (!gri_handshake_run(&word, &seen, (seen & ~(uint64_t)STATE) | PREEMPTED))
        ;
}

static void *runner(void *arg)
{
    /* relaxed, weaker than in core: what is run must be seen by the CAS alone. */
    uint64_t seen = atomic_load_explicit(&word, memory_order_relaxed);

    (void)arg;
    if ((seen & STATE) != RUNNABLE)
        return NULL;
    atomic_store_explicit(&guard, BOUND, memory_order_relaxed);
    do {
        if (seen >= ONE_HOLD) {
            park();
            return NULL;
        }
    } while (!gri_handshake_run(&word, &seen, (seen & ~(uint64_t)STATE) | RUNNING));
    assert(context == 1);
#ifndef NO_RESET
    if (gri_handshake_reset(&guard, BOUND, &word) >= ONE_HOLD)
        park();
#endif
    return NULL;
}

int main(void)
{
    pthread_t a, b, c, d;
    uint64_t w;

    pthread_create(&a, NULL, maker, NULL);
    pthread_create(&b, NULL, runner, NULL);
    pthread_create(&c, NULL, holder, NULL);
    pthread_create(&d, NULL, holder, NULL);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    pthread_join(c, NULL);
    pthread_join(d, NULL);
    w = atomic_load_explicit(&word, memory_order_relaxed);
    assert(w >= ONE_HOLD);
    assert((w & STATE) != RUNNING ||
           atomic_load_explicit(&guard, memory_order_relaxed) == POISON);
    return 0;
}
