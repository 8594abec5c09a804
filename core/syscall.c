/*
 * syscall.c: a goroutine goes into the kernel and comes back.
 *
 * Entry costs one CAS on the word and one store on the processor: the goroutine counts as stopped from then
 * on, with its context as of entry (ctx_syscall). The processor stays reserved; the monitor retakes it if the
 * call takes long. On return the fast path gets it back and the word says RUNNING again by one CAS; held, or
 * without a processor, the goroutine saves itself a second time, into ctx_sched, because a holder may be
 * reading the first context (rule 4 of docs/life-of-a-suspend.md).
 *
 * In a no-preempt section nothing of this happens: the goroutine stays RUNNING and keeps its processor.
 */
#include "scheduler.h"
#include "trace_rings.h"

void gri_syscall_enter(struct gr_g *g)
{
    struct gr_m *m;
    struct gr_p *p;
    uint64_t w;

    if (g->nopreempt > 0)
        return;
    w = atomic_load_explicit(&g->word, memory_order_acquire);
    for (;;) {
        if (gri_word_holds(w) > 0) {
            /* Rule 8: a held goroutine parks before the call begins. */
            gri_mcall(gri_preempt_park, NULL);
            w = atomic_load_explicit(&g->word, memory_order_acquire);
            continue;
        }
        /* relaxed: shown to people. */
        atomic_store_explicit(&g->wait_since_ticks, arch_ticks(), memory_order_relaxed);
        gri_trace(GR_TRACE_SYSCALL, g, 0, 0);
        /*
         * seq_cst, before arch_cancellable_syscall's look at the cancel flag; pairs with cancel_g's store of it and look at
         * the word: one sees the other. Release also: ctx_syscall is seen by whoever reads SYSCALL.
         */
        if (atomic_compare_exchange_weak_explicit(&g->word, &w, gri_word_with_state(w, GR_SYSCALL),
                                                  memory_order_seq_cst, memory_order_acquire))
            break;
    }
    m = gri_m();
    p = m->p;
    m->old_p = p;
    m->p = NULL;
    atomic_store_explicit(&p->syscall_tick,
                          atomic_load_explicit(&p->syscall_tick, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    /* release; pairs with retake's CAS: whoever takes p sees its queue as we left it. */
    atomic_store_explicit(&p->status, GRI_P_SYSCALL, memory_order_release);
}

/* The processor of before, if it is still ours. */
static bool reacquire(struct gr_m *m)
{
    struct gr_p *p = m->old_p;
    uint32_t status = GRI_P_SYSCALL;

    m->old_p = NULL;
    /* acq_rel; pairs with retake. */
    if (!atomic_compare_exchange_strong_explicit(&p->status, &status, GRI_P_RUNNING,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    m->p = p;
    /* relaxed: the monitor's view. It may have been another's meanwhile: retaken, and in a call again. */
    atomic_store_explicit(&p->m, m, memory_order_relaxed);
    return true;
}

/* System stack, the second context is saved: held, or wants a processor, or runs on. */
static void exit_on_system_stack(struct gr_m *m, struct gr_g *g, void *arg)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);
    struct gr_p *p;

    if (!m->p && gri_word_holds(w) == 0 && (p = gri_processor_idle_get()))
        gri_processor_acquire(m, p);
    /* relaxed; before the releasing CAS to RUNNING, as in sched.c, L1. */
    atomic_store_explicit(m->guard, g->guard_bound, memory_order_relaxed);
    for (;;) {
        enum gr_state next = gri_word_holds(w) > 0 ? GR_PREEMPTED : m->p ? GR_RUNNING : GR_RUNNABLE;

        GRI_ASSERT(gri_word_state(w) == GR_SYSCALL);
        /* acq_rel; release: ctx_sched is seen. */
        if (!atomic_compare_exchange_weak_explicit(&g->word, &w, gri_word_with_state(w, next),
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        if (next == GR_RUNNING) {
            gri_go_on(m);
        } else if (next == GR_RUNNABLE) {
            gri_trace(GR_TRACE_READY, g, 0, 0);
            gri_enqueue_global(g, true);
        }
        break;
    }
}

void gri_syscall_exit(struct gr_g *g)
{
    struct gr_m *m;
    uint64_t w;

    if (!g || g->nopreempt > 0)
        return;
    m = gri_m();
    if (reacquire(m)) {
        /* relaxed; before the releasing CAS to RUNNING: a suspender poisons only after it has read RUNNING. */
        atomic_store_explicit(m->guard, g->guard_bound, memory_order_relaxed);
        w = atomic_load_explicit(&g->word, memory_order_acquire);
        while (gri_word_holds(w) == 0) {
            /* acq_rel; pairs with suspend's CAS. */
            if (atomic_compare_exchange_weak_explicit(&g->word, &w,
                                                      gri_word_with_state(w, GR_RUNNING),
                                                      memory_order_acq_rel, memory_order_acquire)) {
                gri_trace(GR_TRACE_SYSCALL_END, g, 0, 0);
                return;
            }
        }
    }
    if (!m->p) /* its processor was another's meanwhile: it was not on one */
        m->ticks += arch_ticks() - atomic_load_explicit(&g->wait_since_ticks, memory_order_relaxed);
    gri_mcall(exit_on_system_stack, NULL);
}
