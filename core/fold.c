/*
 * fold.c: gives back the stack memory of goroutines that wait long, and makes it whole again before they run.
 *
 * Two degrees. Of any goroutine the whole pages below SP less the red zone hold nothing: they go back, no more. One that
 * was born with stack_private promises that nobody touches its stack while it waits: its used bytes move to a block
 * from malloc, all pages go back, and it is put back at the same addresses by whoever runs it next. So no pointer changes.
 * An idle goroutine then costs its slot and the few hundred bytes that it really uses, instead of a page.
 *
 * The stack is worked on in state COPYSTACK, which only a WAITING one that nobody holds enters, and only a RUNNABLE one
 * that nobody holds (to be unfolded). It is no stopped state: a suspend that comes meanwhile is told when it is left. A wake
 * that comes meanwhile leaves COPYSTACK_WOKEN, and who folds queues the goroutine.
 *
 * Who else reads or writes a waiting stack: its wakers, through the records of the wait, which a private goroutine keeps
 * apart (struct gri_apart; what keeps them on the stack all the same clears wait_apart); the commit of its own park, which
 * may still run on its last thread (m->committing); holders, who keep COPYSTACK away and find the block (copy.c).
 *
 * Rejected: folding every goroutine. In C others may write to a waiting stack: gr_go(f, &local), a wait group on the stack.
 * Rejected: unfolding one that is held, to read it. A dump of a million idle goroutines would bring all their pages back.
 *
 * Invariants
 *   F1  g->folded changes in COPYSTACK only, by the one who made the state so. Not NULL: the bytes from ctx_sched to
 *       g->foreign are in the block, and no foreign call is under way.
 *   F2  A folded g is WAITING, RUNNABLE or PREEMPTED (or on its way there), never RUNNING.
 *
 * Model: tests/model/suspend.pml with FOLD.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sanitize.h"

/* A stack that is used deeper is not folded: that would save less than a page in three. */
#define FOLD_BYTES_MAX 8192
#define RED_ZONE_MAX   128 /* bytes below SP that may be in use, on any architecture */

static _Atomic(uint64_t) folded_now, folds_ever;

static size_t used_bytes(const struct gr_g *g)
{
    return (size_t)((const uint8_t *)g->foreign - (const uint8_t *)g->ctx_sched);
}

/* COPYSTACK, ours: may it be folded in this wait? */
static bool foldable(const struct gr_g *g)
{
    return g->apart && g->wait_apart && !gri_g_is_pinned(g) && used_bytes(g) <= FOLD_BYTES_MAX;
}

static bool move_to_block(struct gr_g *g)
{
    uint8_t *block = malloc(used_bytes(g));

    if (!block)
        return false;
    gri_copy_stack_words(block, g->ctx_sched, used_bytes(g));
    /* relaxed: released by the CAS out of COPYSTACK (F1). */
    atomic_store_explicit(&g->folded, block, memory_order_relaxed);
    atomic_fetch_add_explicit(&folded_now, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&folds_ever, 1, memory_order_relaxed);
    return true;
}

/* COPYSTACK, ours: to where it belongs. */
static void leave_copystack(struct gr_g *g)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_relaxed);
    enum gr_state next;

    do {
        GRI_ASSERT(gri_word_state(w) == GR_COPYSTACK || gri_word_state(w) == GR_COPYSTACK_WOKEN);
        next = gri_word_state(w) == GR_COPYSTACK ? GR_WAITING : GR_RUNNABLE;
        /* acq_rel; release: the block is seen by holders and by the next claim; acquire: what the waker left. */
    } while (!atomic_compare_exchange_weak_explicit(&g->word, &w, gri_word_with_state(w, next),
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (next == GR_RUNNABLE)
        gri_enqueue(g, true);
    if (gri_word_holds(w) > 0)
        gri_tell(g);
}

bool gri_fold_begin(struct gr_g *g, uint64_t word, struct iovec *range)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct gr_m *m;

    /* acq_rel; acquire: pairs with the CAS of its park, so that what it saved is seen. */
    if (!atomic_compare_exchange_strong_explicit(&g->word, &word,
                                                 gri_word_with_state(word, GR_COPYSTACK),
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    m = atomic_load_explicit(&g->m, memory_order_acquire);
    /*
     * acquire; pairs with the release in park_on_system_stack. That m set it before the CAS that we have read, so we see this
     * park's commit under way, or it is over, and what it did to the stack comes before what we do.
     */
    if (atomic_load_explicit(&m->committing, memory_order_acquire) == g) {
        leave_copystack(g);
        return false;
    }
    range->iov_base = g->stack.lo;
    if (foldable(g) && move_to_block(g))
        range->iov_len = (size_t)(g->stack.hi - g->stack.lo);
    else
        range->iov_len =
            (((uint64_t)g->ctx_sched - RED_ZONE_MAX) & ~(page - 1)) - (uint64_t)g->stack.lo;
    return true;
}

void gri_fold_end(struct gr_g *g)
{
    /* relaxed: released by the CAS. */
    atomic_store_explicit(&g->rested, true, memory_order_relaxed);
    leave_copystack(g);
}

/* From `from` to `to`, or, held, to PREEMPTED: then false. */
static bool enter_unheld(struct gr_g *g, enum gr_state from, enum gr_state to)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);
    bool held;

    do {
        GRI_ASSERT(gri_word_state(w) == from);
        held = gri_word_holds(w) > 0;
        /* acq_rel; as the CAS in claim. */
    } while (!atomic_compare_exchange_weak_explicit(
        &g->word, &w, gri_word_with_state(w, held ? GR_PREEMPTED : to), memory_order_acq_rel,
        memory_order_acquire));
    return !held;
}

bool gri_unfold(struct gr_g *g)
{
    uint8_t *block = atomic_load_explicit(&g->folded, memory_order_relaxed);

    if (!enter_unheld(g, GR_RUNNABLE, GR_COPYSTACK))
        return false;
    gri_copy_stack_words(g->ctx_sched, block, used_bytes(g));
    g->foreign->depth = 0; /* as it was: one with foreign calls is not folded */
    atomic_store_explicit(&g->folded, NULL, memory_order_relaxed);
    free(block);
    atomic_fetch_sub_explicit(&folded_now, 1, memory_order_relaxed);
    if (enter_unheld(g, GR_COPYSTACK, GR_RUNNING))
        return true;
    gri_tell(g); /* who asked while it was COPYSTACK was not told yet */
    return false;
}

void gri_fold_stats(uint64_t *folded, uint64_t *folds)
{
    /* relaxed: statistics. */
    *folded = atomic_load_explicit(&folded_now, memory_order_relaxed);
    *folds = atomic_load_explicit(&folds_ever, memory_order_relaxed);
}
