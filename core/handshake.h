/*
 * handshake.h: a goroutine's word against its thread's guard: whoever holds a running goroutine poisons the guard; whoever
 * runs it resets the guard and looks at the word. Two locations race, so four accesses are sequentially consistent
 * (docs/memory-order.md, section 2): either the goroutine sees the hold, or the poison outlives the reset.
 *
 *     holder   H1  word: holds + 1        H2  guard = poison
 *     runner   R1  guard = bound          R2  look at the word
 *
 * It is a header of its own so that tests/model/c11 can check this very code against the memory model of C11.
 */
#ifndef GRASP_CORE_HANDSHAKE_H
#define GRASP_CORE_HANDSHAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* H1, one try: `one` more hold than in *seen, which is what is there if it fails. */
static inline bool gri_handshake_hold(_Atomic(uint64_t) *word, uint64_t *seen, uint64_t one)
{
    /* seq_cst; pairs with R1 and R2. relaxed if it fails: then only the next try is decided by what is there. */
    return atomic_compare_exchange_weak_explicit(word, seen, *seen + one, memory_order_seq_cst,
                                                 memory_order_relaxed);
}

/* H2, after H1 on a word that said RUNNING. */
static inline void gri_handshake_poison(_Atomic(uint64_t) *guard, uint64_t poison)
{
    /* seq_cst, so that it does not pass H1; pairs with R1 and R2. */
    atomic_store_explicit(guard, poison, memory_order_seq_cst);
}

/* R1 and R2, by the thread whose guard it is: the word as it is after the reset. */
static inline uint64_t gri_handshake_reset(_Atomic(uint64_t) *guard, uint64_t bound,
                                           _Atomic(uint64_t) *word)
{
    /* seq_cst store, then seq_cst load; pairs with H1 and H2: one of us sees the other. */
    atomic_store_explicit(guard, bound, memory_order_seq_cst);
    return atomic_load_explicit(word, memory_order_seq_cst);
}

/*
 * Becomes the runner, one try: *seen, which is what is there if it fails, becomes `next`. The guard is set before that,
 * relaxed: a holder poisons only after it has read what this releases, so its poison comes later.
 */
static inline bool gri_handshake_run(_Atomic(uint64_t) *word, uint64_t *seen, uint64_t next)
{
    /* acq_rel; acquire: the CAS that made it runnable, its context is seen; release: holders that read RUNNING. */
    return atomic_compare_exchange_weak_explicit(word, seen, next, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

#endif
