/*
 * waiting.h: a goroutine that waits against those who wake it: the object's waker, the timer, the canceller.
 *
 * The waiter becomes WAITING, shows its record, and looks at the cancel flag; the canceller sets the flag and looks for
 * the record. Two locations race, so these four accesses are sequentially consistent: one finds the other. Who then holds
 * the record is decided by two words: the record's own state says which waker won, and g->waiting says whether a canceller
 * is at work on it, which gri_wait waits for before it lets the record go (docs/memory-order.md, section 7).
 *
 *     waiter     W1  waiting = record     W2  look at cancel
 *     canceller  C1  cancel = 1           C2  look at waiting
 *
 * It is a header of its own so that tests/model/c11 can check this very code against the memory model of C11.
 */
#ifndef GRASP_CORE_WAITING_H
#define GRASP_CORE_WAITING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gri_waiter;

/* Becomes WAITING, one try: *seen, which is what is there if it fails, becomes `next`. */
static inline bool gri_waiting_park(_Atomic(uint64_t) *word, uint64_t *seen, uint64_t next)
{
    /*
     * release; pairs with readers of a stopped g and with gri_waiting_ready: its context is saved. Not acquire: of holders
     * the parker learns under wait_lock.
     */
    return atomic_compare_exchange_weak_explicit(word, seen, next, memory_order_release,
                                                 memory_order_relaxed);
}

/* WAITING no more, one try, by whoever won the record. */
static inline bool gri_waiting_ready(_Atomic(uint64_t) *word, uint64_t *seen, uint64_t next)
{
    /*
     * acq_rel; release pairs with claim: what the waker wrote is seen by the woken. acquire pairs with the end of a fold, of
     * which the scheduler must know before it claims g.
     */
    return atomic_compare_exchange_weak_explicit(word, seen, next, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

/* W1 and W2, when it is WAITING. True: it is asked to end. */
static inline bool gri_waiting_show(_Atomic(struct gri_waiter *) *waiting, struct gri_waiter *w,
                                    _Atomic(uint32_t) *cancel)
{
    /* seq_cst store, then seq_cst load; pairs with C1 and C2: it finds the waiter, or we see the flag. */
    atomic_store_explicit(waiting, w, memory_order_seq_cst);
    return atomic_load_explicit(cancel, memory_order_seq_cst) != 0;
}

/* C1 and C2: the record that it waits on, or NULL. */
static inline struct gri_waiter *gri_waiting_cancel(_Atomic(uint32_t) *cancel,
                                                    _Atomic(struct gri_waiter *) *waiting)
{
    /* seq_cst store, then seq_cst load; pairs with W1 and W2. */
    atomic_store_explicit(cancel, 1, memory_order_seq_cst);
    return atomic_load_explicit(waiting, memory_order_seq_cst);
}

/* By the canceller, `to` being an address that is no record's, or by the waiter itself, to NULL. True for one of them. */
static inline bool gri_waiting_take(_Atomic(struct gri_waiter *) *waiting, struct gri_waiter *w,
                                    struct gri_waiter *to)
{
    /*
     * acquire; pairs with W1, maybe of a later wait than C2 saw, whose record lies at the same address. relaxed if it fails:
     * the record is the other's.
     */
    return atomic_compare_exchange_strong_explicit(waiting, &w, to, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* By the woken: true if nobody has taken the record. Else whoever did is waited for, by meta_lock. */
static inline bool gri_waiting_withdraw(_Atomic(struct gri_waiter *) *waiting, struct gri_waiter *w)
{
    /* relaxed: of this and gri_waiting_take one gets the record; what a taker did to it is seen by meta_lock. */
    return atomic_exchange_explicit(waiting, NULL, memory_order_relaxed) == w;
}

/* By a waker. True for exactly one. */
static inline bool gri_waiting_win(_Atomic(uint32_t) *state)
{
    uint32_t waiting = 0;

    /*
     * relaxed: one word decides. The record was found through a lock, or W1, and what the winner writes to it is seen by
     * gri_waiting_ready; the losers read nothing.
     */
    return atomic_compare_exchange_strong_explicit(state, &waiting, 1, memory_order_relaxed,
                                                   memory_order_relaxed);
}

#endif
