/*
 * stats.c: sums up the counters that threads and goroutines keep, and carries events to the host.
 */
#include "scheduler.h"

#include <string.h>

static _Atomic(gr_event_fn *) event_fn;
static _Atomic(void *) event_ctx;

void gr_on_event(gr_event_fn *fn, void *ctx)
{
    /* relaxed: before fn. It stays when there is none any more: who has loaded fn before that calls it with what is its own. */
    if (fn)
        atomic_store_explicit(&event_ctx, ctx, memory_order_relaxed);
    /* release; pairs with the acquire in gri_event: ctx before fn. */
    atomic_store_explicit(&event_fn, fn, memory_order_release);
}

_Atomic(uint32_t) gri_births_told;

void gr_tell_births(bool on)
{
    /* seq_cst, and a fence before whatever the caller looks at; pairs with bear: told, or seen by the look. */
    atomic_store_explicit(&gri_births_told, on, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
}

void gri_event(enum gr_event event, uint64_t id, uint64_t root, const char *text)
{
    gr_event_fn *fn = atomic_load_explicit(&event_fn, memory_order_acquire);
    struct gr_g *g = gri_self();

    if (!fn)
        return;
    /* The host has locks of its own: none of our functions that it calls may give way. */
    if (g)
        g->nopreempt++;
    /* relaxed: behind fn. */
    fn(atomic_load_explicit(&event_ctx, memory_order_relaxed), event, id, root, text);
    if (g)
        g->nopreempt--;
}

static void count_slot(void *arg, struct gr_g *g, uint64_t word)
{
    struct gr_stats *stats = arg;

    stats->by_state[gri_word_state(word)]++;
    if (gri_word_holds(word) > 0)
        stats->held++;
}

static uint64_t load(const _Atomic(uint64_t) *counter)
{
    /* relaxed: a statistic. */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void sum_threads(struct gr_stats *stats)
{
    /* acquire; pairs with thread_create: the entries are filled. */
    uint32_t count = atomic_load_explicit(&gri_sched.m_count, memory_order_acquire);

    stats->threads = count;
    for (uint32_t i = 0; i < count; i++) {
        struct gr_m *m = atomic_load_explicit(&gri_sched.m[i], memory_order_acquire);

        stats->preempts_sync += load(&m->preempts_sync);
        stats->preempts_async += load(&m->preempts_async);
    }
}

void gr_stats(struct gr_stats *stats)
{
    uint64_t suspends = 0;

    GRI_GIVE_WAY();
    memset(stats, 0, sizeof *stats);
    stats->procs = atomic_load_explicit(&gri_sched.procs, memory_order_relaxed);
    stats->async_preempt = !atomic_load_explicit(&gri_sched.async_off, memory_order_relaxed);
    stats->time_slice_us = atomic_load_explicit(&gri_sched.slice_us, memory_order_relaxed);
    stats->max_goroutines = gri_registry_max();
    gri_registry_each(count_slot, stats);
    stats->live = gri_registry_live();
    stats->spawned = gri_registry_last_id();
    stats->ended = gri_registry_ended();
    sum_threads(stats);
    for (unsigned k = 0; k < GR_SAFEPOINTS; k++) {
        uint64_t at_once = load(&gri_count_at_once[k]);

        stats->latency_sum_ns[k] = load(&gri_latency_sum[k]);
        for (unsigned i = 0; i < GR_LATENCY_BUCKETS; i++) {
            stats->latency[k][i] = load(&gri_latency[k][i]);
            stats->safepoints[k] += stats->latency[k][i];
        }
        stats->latency[k][0] += at_once;
        stats->safepoints[k] += at_once;
        suspends += at_once;
    }
    for (unsigned i = 0; i < GR_REFUSALS; i++)
        stats->refusals[i] = load(&gri_refused_total[i]);
    stats->signals_sent = load(&gri_count_signals);
    stats->signals_resent = load(&gri_count_resent);
    stats->suspends = load(&gri_count_suspends) + suspends;
    stats->suspend_timeouts = load(&gri_count_timeouts);
    stats->suspends_gone = load(&gri_count_gone);
    stats->resumes = load(&gri_count_resumes);
    gri_fold_stats(&stats->folded, &stats->folds);
    gri_stack_stats(&stats->stack_bytes_mapped, &stats->stacks_unguarded);
}
