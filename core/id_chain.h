/*
 * id_chain.h: a bucket of goroutines by their ids: the lock's owner adds and removes, anyone looks without the lock.
 *
 * Slots are never freed, so any chain can be walked; one that changes meanwhile leads elsewhere at worst. What is found
 * without the lock is true: the word that is given is of the life that has this id (docs/memory-order.md, section 10). What is
 * missed means nothing, and is looked for again under the lock.
 *
 * It is a header of its own so that tests/model/c11 can check this very code against the memory model of C11. Before it,
 * struct gr_g with the members word, id and id_next, gri_word_state and the states are defined.
 */
#ifndef GRASP_CORE_ID_CHAIN_H
#define GRASP_CORE_ID_CHAIN_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define GRI_CHAIN_HOPS 16u /* of a chain that is walked without its lock */

/* acquire; pairs with the releases in push and remove: a slot's fields before the slot. */
static inline struct gr_g *gri_chain_next(const _Atomic(struct gr_g *) *link)
{
    return atomic_load_explicit(link, memory_order_acquire);
}

/* The slot's new life gets its id: while it is IDLE, before it is pushed. */
static inline void gri_chain_name(struct gr_g *g, uint64_t id)
{
    /* release; pairs with gri_chain_find: who sees this id sees the word of this life or of a later one. */
    atomic_store_explicit(&g->id, id, memory_order_release);
}

/* Lock held. */
static inline void gri_chain_push(_Atomic(struct gr_g *) *first, struct gr_g *g)
{
    /*
     * relaxed load: written under the lock only. release; pairs with gri_chain_next: who has come to g in its life before
     * goes on from here to a slot that it knows of by nothing else.
     */
    atomic_store_explicit(&g->id_next, atomic_load_explicit(first, memory_order_relaxed),
                          memory_order_release);
    /* release; pairs with gri_chain_next. */
    atomic_store_explicit(first, g, memory_order_release);
}

/* Lock held. */
static inline void gri_chain_remove(_Atomic(struct gr_g *) *first, struct gr_g *g)
{
    struct gr_g *next;

    for (_Atomic(struct gr_g *) *at = first; (next = gri_chain_next(at)); at = &next->id_next) {
        if (next == g) {
            /* release; pairs with gri_chain_next: the slot behind was pushed before. */
            atomic_store_explicit(at, gri_chain_next(&g->id_next), memory_order_release);
            break;
        }
    }
}

/* Without the lock: the goroutine with this id, and its word; or NULL, which means nothing. */
static inline struct gr_g *gri_chain_find(const _Atomic(struct gr_g *) *first, uint64_t id,
                                          uint64_t *word)
{
    struct gr_g *g = gri_chain_next(first);

    for (unsigned hops = 0; g && hops < GRI_CHAIN_HOPS; hops++, g = gri_chain_next(&g->id_next)) {
        /* acquire; pairs with gri_chain_name. */
        if (atomic_load_explicit(&g->id, memory_order_acquire) != id)
            continue;
        /* acquire; if it is a later life's word, that life's id is seen below. */
        *word = atomic_load_explicit(&g->word, memory_order_acquire);
        return gri_word_state(*word) != GR_DEAD && gri_word_state(*word) != GR_IDLE &&
                       atomic_load_explicit(&g->id, memory_order_relaxed) == id
                   ? g
                   : NULL;
    }
    return NULL;
}

/* Lock held: the goroutine with this id, and its word; NULL: it is not there. */
static inline struct gr_g *gri_chain_find_locked(const _Atomic(struct gr_g *) *first, uint64_t id,
                                                 uint64_t *word)
{
    struct gr_g *g;

    for (g = gri_chain_next(first); g; g = gri_chain_next(&g->id_next)) {
        if (atomic_load_explicit(&g->id, memory_order_relaxed) == id) {
            /*
             * acquire; pairs with whoever changed it last, so that what belongs to that state is seen. Its birth and its end
             * are ordered by the lock: while it is here the word is this life's, and says that it lives.
             */
            *word = atomic_load_explicit(&g->word, memory_order_acquire);
            break;
        }
    }
    return g;
}

#endif
