/*
 * ring.h: the ring of a processor's run queue: one producer, many consumers.
 *
 * It is Go's (runtime/proc.go, runqput, runqget, runqgrab): the owner publishes with a release store of tail, consumers
 * take with a CAS of head. It is a header of its own so that tests/model/c11 can check this very code against the memory
 * model of C11, where x86 hides most faults.
 *
 * Invariants
 *   Q1  Slots in [head, tail) are full; only the owner moves tail, any consumer moves head, by CAS.
 *   Q2  A thief copies slots before its CAS on head; if the CAS fails the copies are void.
 */
#ifndef GRASP_CORE_RING_H
#define GRASP_CORE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef GRI_RUNQ_SLOTS
#define GRI_RUNQ_SLOTS 256u
#endif

struct gr_g;

/* tail and slots are written by the owner, head by the owner and by thieves. */
struct gri_ring {
    _Atomic(uint32_t) head;
    _Atomic(uint32_t) tail;
    _Atomic(struct gr_g *) slot[GRI_RUNQ_SLOTS];
};

/* By the owner. False: it is full. */
static inline bool gri_ring_push(struct gri_ring *ring, struct gr_g *g)
{
    /*
     * relaxed, and yet it pairs with the consumers' release CAS, so that a slot we overwrite has been read: the store
     * hangs on this load by the branch. No machine does a store before it knows that it is to be done, and no compiler may
     * invent one; RC11 and IMM say the same.
     */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    /* relaxed: only we write it. */
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    if (tail - head >= GRI_RUNQ_SLOTS)
        return false;
    /* relaxed; published by the release below. */
    atomic_store_explicit(&ring->slot[tail % GRI_RUNQ_SLOTS], g, memory_order_relaxed);
    /* release; pairs with the acquire in gri_ring_take: slot before index. */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

/* By the owner. NULL: it is empty. */
static inline struct gr_g *gri_ring_pop(struct gri_ring *ring)
{
    /* relaxed: the slots are our own stores, and the CAS below decides between us and thieves. */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    for (;;) {
        struct gr_g *g;

        /* relaxed: only we write it. */
        if (head == atomic_load_explicit(&ring->tail, memory_order_relaxed))
            return NULL;
        g = atomic_load_explicit(&ring->slot[head % GRI_RUNQ_SLOTS], memory_order_relaxed);
        /* relaxed: what we have read is not overwritten before we push ourselves. */
        if (atomic_compare_exchange_weak_explicit(&ring->head, &head, head + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return g;
    }
}

/* By anyone: takes half of what there is, rounded up, at most `max`, into `batch`. Returns how many. */
static inline uint32_t gri_ring_take(struct gri_ring *ring, struct gr_g **batch, uint32_t max)
{
    /* relaxed: an old head makes the CAS fail, and one newer than tail is noticed below. */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    for (;;) {
        /* acquire; pairs with gri_ring_push: slots below tail, and what they point to, are written. */
        uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
        uint32_t count = tail - head - (tail - head) / 2;

        if (tail - head > GRI_RUNQ_SLOTS) { /* head moved between the two loads */
            head = atomic_load_explicit(&ring->head, memory_order_relaxed);
            continue;
        }
        if (count > max)
            count = max;
        if (count == 0)
            return 0;
        /* relaxed: ordered by the acquire of tail before and the release of head behind. */
        for (uint32_t i = 0; i < count; i++)
            batch[i] = atomic_load_explicit(&ring->slot[(head + i) % GRI_RUNQ_SLOTS],
                                            memory_order_relaxed);
        /* release; pairs with the load of head in gri_ring_push: the slots have been read. */
        if (atomic_compare_exchange_weak_explicit(&ring->head, &head, head + count,
                                                  memory_order_release, memory_order_relaxed))
            return count;
    }
}

#endif
