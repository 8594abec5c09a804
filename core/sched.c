/*
 * sched.c: the loop that every worker thread is in, and the two ways between it and a goroutine.
 *
 * Into a goroutine: execute() takes a dequeued g, makes it RUNNING if nobody holds it, and switches to its
 * stack. Out of it: gri_mcall() saves the goroutine and runs a function on the thread's system stack, which
 * decides what became of the goroutine (waiting, preempted, dead, runnable, or on it goes). So a goroutine's
 * word never says "stopped" before its registers are in memory (core.h, I2), and everything that changes
 * words runs on a stack that nobody can hold.
 *
 * Rejected: switching from goroutine to goroutine directly. It saves one switch of about 8 ns and means
 * that "after the goroutine is saved" has no place to run code in.
 *
 * Invariants
 *   L1  The guard slot is 0 or poison while the system stack runs; it is set to the goroutine's bound before
 *       the CAS to RUNNING, never after (mutant M_RESET_LATE in tests/model).
 *   L2  curg is NULL while the system stack runs, except that a g in a system call stays curg.
 *   L3  errno belongs to the goroutine from the moment it is resumed (errno.c).
 */
#include "scheduler.h"

#include <string.h>

#include "sanitize.h"
#include "trace_rings.h"

struct gri_sched gri_sched;

uint64_t gri_ticks_to_ns(uint64_t ticks)
{
    return (uint64_t)((double)ticks / gri_sched.ticks_per_ns);
}

uint64_t gri_ns_to_ticks(uint64_t ns)
{
    return (uint64_t)((double)ns * gri_sched.ticks_per_ns);
}

/* Noinline, so that no caller keeps a thread's address over a switch. */
__attribute__((noinline)) struct gr_g *gri_self(void)
{
    struct gr_m *m = gri_m();

    /* relaxed: only this thread writes it. */
    return m ? atomic_load_explicit(&m->curg, memory_order_relaxed) : NULL;
}

/* ---- Out of a goroutine -------------------------------------------------------------------------- */

/* libc's errno of this thread becomes the goroutine's, unless it has it already. */
static void errno_take(struct gr_g *g)
{
    struct arch_tls *tls = arch_tls_self();

    if (!tls->errno_owned)
        g->err = *tls->errno_thread;
}

static void pin_update(struct gr_m *m, struct gr_g *g)
{
    bool pinned = gri_g_is_pinned(g);

    m->locked_g = pinned ? g : NULL;
    g->pin_m = pinned ? m : NULL;
    /* relaxed: shown to people. */
    atomic_store_explicit(&g->shown_pinned, pinned, memory_order_relaxed);
}

__attribute__((noinline)) void gri_mcall(gri_mcall_fn *fn, void *arg)
{
    struct gr_m *m = gri_m();
    struct gr_g *g = gri_self();

    if (!g)
        gri_scheduled_in_child(); /* only a child made by fork comes here on a goroutine's stack without one */
    errno_take(g);
    pin_update(m, g);
    m->mcall_fn = fn;
    m->mcall_arg = arg;
    GRI_ASAN_LEAVE(&g->asan_fake_stack, m->asan_stack_lo, m->asan_stack_bytes);
    GRI_TSAN_SWITCH(m->tsan_fiber);
    arch_switch(&g->ctx_sched, m->g0_sp);
    GRI_ASAN_ARRIVE(g->asan_fake_stack, NULL, NULL);
}

static void exit_on_system_stack(struct gr_m *m, struct gr_g *g, void *arg)
{
    uint64_t id = atomic_load_explicit(&g->id, memory_order_relaxed);
    uint64_t root = atomic_load_explicit(&g->root, memory_order_relaxed);
    uint64_t w;

    m->locked_g = NULL;
    g->pin_m = NULL;
    gri_trace(GR_TRACE_END, g, 0, 0);
    w = gri_dead_keep(g);
    if (gri_word_holds(w) > 0)
        gri_tell(g);
    /* Only now: whoever asks because of the event finds it among the ended. */
    gri_event(GR_EVENT_ENDED, id, root, NULL);
    GRI_TSAN_DESTROY(g->tsan_fiber);
    gri_g_free(m, g);
}

void gri_exit_goroutine(void)
{
    gri_mcall(exit_on_system_stack, NULL);
    GR_PANIC("a dead goroutine was resumed");
}

/* ---- Into a goroutine ---------------------------------------------------------------------------- */

/* g is RUNNING and ours, the guard is set. Returns when it has called gri_mcall. */
static void resume(struct gr_m *m, struct gr_g *g)
{
    struct arch_tls *tls = arch_tls_self();
    uint64_t now;

    tls->errno_goroutine = &g->err;
    tls->errno_owned = 1;
    tls->foreign = g->foreign;
    /* relaxed: read by the monitor for people and heuristics, and by this thread's own handler. */
    atomic_store_explicit(&g->last_m, (int32_t)m->index, memory_order_relaxed);
    atomic_store_explicit(&g->last_p, (int32_t)m->p->index, memory_order_relaxed);
    atomic_store_explicit(&g->run_since_ticks, m->ticks, memory_order_relaxed);
    /* release; pairs with the monitor's acquire in end_slice: the slot was filled before it gets at its counters. */
    atomic_store_explicit(&m->curg, g, memory_order_release);
    gri_trace(GR_TRACE_RUN, g, 0, 0);
    GRI_ASAN_LEAVE(&m->asan_fake_stack, g->stack.lo, (size_t)(g->stack.hi - g->stack.lo));
    GRI_TSAN_SWITCH(g->tsan_fiber);
    arch_switch(&m->g0_sp, g->ctx_sched);
    GRI_ASAN_ARRIVE(m->asan_fake_stack, NULL, NULL);
    tls->foreign = NULL;
    atomic_store_explicit(&m->curg, NULL, memory_order_relaxed);
    /* relaxed: on this stack nothing checks it; a poison that comes now is for a g that has left. */
    atomic_store_explicit(m->guard, 0, memory_order_relaxed);
    now = arch_ticks();
    /* Before it is counted, so that who looks meanwhile counts it once at most. */
    atomic_store_explicit(&g->run_since_ticks, now, memory_order_relaxed);
    /* release; pairs with info_of_live's acquire. */
    atomic_store_explicit(
        &g->cpu_ticks, atomic_load_explicit(&g->cpu_ticks, memory_order_relaxed) + now - m->ticks,
        memory_order_release);
    m->ticks = now;
}

/* RUNNABLE to RUNNING, or, held, to PREEMPTED: then false. */
static bool enter_running(struct gr_g *g)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);

    for (;;) {
        bool held = gri_word_holds(w) > 0;

        GRI_ASSERT(gri_word_state(w) == GR_RUNNABLE);
        if (gri_handshake_run(&g->word, &w,
                              gri_word_with_state(w, held ? GR_PREEMPTED : GR_RUNNING)))
            return !held;
    }
}

/* A warm stack for g, which has not run; NULL: it keeps its own. */
static struct gr_g *warm_slot_for(const struct gr_m *m, const struct gr_g *g)
{
    return g->stack.large ? NULL : gri_warm_slot(m->p);
}

/* Makes the dequeued g RUNNING: false if somebody holds it, and it is PREEMPTED now. */
static bool claim(struct gr_m *m, struct gr_g *g)
{
    bool rested, running, first = !g->ctx_sched;
    struct gr_g *warm = first ? warm_slot_for(m, g) : NULL;

    /* relaxed: only a hint for the monitor's next look. */
    atomic_store_explicit(&m->slice_request, 0, memory_order_relaxed);
    /*
     * relaxed, both: a suspender poisons after it has read RUNNING, which the CAS below releases, so its poison
     * comes after this store, and it reads this m or a later one (L1).
     */
    atomic_store_explicit(m->guard, warm ? gri_guard_bound(&warm->stack) : g->guard_bound,
                          memory_order_relaxed);
    atomic_store_explicit(&g->m, m, memory_order_relaxed);
    /* relaxed: shown. Before it is RUNNING: until resume stores it anew it is a run of this life that lasts. */
    atomic_store_explicit(&g->run_since_ticks, m->ticks, memory_order_relaxed);
    /* relaxed, both: g is ours, and whoever gave us g had read the CAS that made it runnable. */
    rested = atomic_load_explicit(&g->rested, memory_order_relaxed);
    if (rested && atomic_load_explicit(&g->folded, memory_order_relaxed))
        running = gri_unfold(g);
    else
        running = enter_running(g);
    if (running && rested)
        atomic_store_explicit(&g->rested, false, memory_order_relaxed);
    /* Only now: who holds one that has not run looks at its stack; who holds it from now on waits until it stops. */
    if (running && warm)
        gri_take_warm_stack(g, warm);
    if (running && first)
        gri_goroutine_begin(g);
    return running;
}

void gri_go_on(struct gr_m *m)
{
    m->go_on = true;
}

/* g is RUNNING: may it stay so? Sets the guard anew. */
static bool may_go_on(struct gr_m *m, struct gr_g *g)
{
    return gri_word_holds(gri_handshake_reset(m->guard, g->guard_bound, &g->word)) == 0 ||
           g->nopreempt > 0;
}

/* Runs g, which is RUNNING and ours, until it has left this thread. Must not touch g after that. */
static void run(struct gr_m *m, struct gr_g *g)
{
    do {
        resume(m, g);
        m->go_on = false;
        m->mcall_fn(m, g, m->mcall_arg);
        while (m->go_on && !may_go_on(m, g)) {
            m->go_on = false;
            gri_preempt_park(m, g, NULL);
        }
    } while (m->go_on);
}

/*
 * So often the global queue goes first in any case. Slices are counted, not runs: two that wake each other make 61 runs in a
 * few microseconds, and whoever had its slice would be back before the ring had one.
 */
#define GLOBAL_EVERY 61

/*
 * A slice of p begins: the part of it that the global queue is due is the part which those in it are of all that wait for p.
 * Goroutines that give way come back into the ring, which then never gets empty: with one slice in 61 (as Go has it, where they
 * go to the global queue) hundreds of them would leave nothing to thousands that found no place in the ring.
 */
static void count_slice(struct gr_p *p)
{
    /* relaxed, all: how often, not whether. */
    uint64_t there = atomic_load_explicit(&gri_sched.queue_length, memory_order_relaxed);
    uint32_t due = GRI_SLICE_OWED / GLOBAL_EVERY + 1;

    if (there > 0) {
        uint64_t here = atomic_load_explicit(&p->ring.tail, memory_order_relaxed) -
                        atomic_load_explicit(&p->ring.head, memory_order_relaxed);
        uint64_t all = there + here * atomic_load_explicit(&gri_sched.procs, memory_order_relaxed);
        uint32_t share = (uint32_t)(there * GRI_SLICE_OWED / all);

        due = share > due ? share : due;
    }
    p->owed += due;
}

static void execute(struct gr_m *m, struct gr_g *g)
{
    struct gr_p *p;

    if (g->pin_m && g->pin_m != m) {
        gri_thread_hand_to_locked(m, g);
        return;
    }
    if (!claim(m, g)) {
        atomic_store_explicit(m->guard, 0, memory_order_relaxed);
        return;
    }
    p = m->p;
    /* relaxed: only the owner writes; the monitor compares. */
    atomic_store_explicit(&p->tick, atomic_load_explicit(&p->tick, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (!p->inherit) { /* what comes from the next slot goes on in the slice of its predecessor */
        count_slice(p);
        atomic_store_explicit(&p->run_since, m->ticks, memory_order_relaxed);
    }
    run(m, g);
}

/* ---- Finding work -------------------------------------------------------------------------------- */

#define GLOBAL_BATCH (GRI_RUNQ_SLOTS / 2) /* taken at once by a processor with nothing else */
#define SEARCH_NS    20000                /* how long a thread searches before it sleeps */
#define STEAL_NEXT_NS 5000   /* one woken by a running one waits so long for its own processor */
#define IN_VAIN_NS 100000 /* after a search in vain a single goroutine wakes nobody for so long */

static struct gr_g *steal_once(struct gr_m *m)
{
    /* All that ever were: a retired one may have been given something in its last moment. */
    uint32_t procs = gri_processors_made();
    uint64_t now = arch_ticks(), patience = gri_ns_to_ticks(STEAL_NEXT_NS);

    m->steal_seed = m->steal_seed * 1664525u + 1013904223u;
    for (uint32_t i = 0; i < procs; i++) {
        struct gr_p *victim = gri_processor((m->steal_seed + i) % procs);
        struct gr_g *g;
        uint64_t since;

        if (victim == m->p)
            continue;
        since = atomic_load_explicit(&victim->next_since, memory_order_relaxed);
        g = gri_runq_steal(m->p, victim, now > since && now - since > patience);
        if (g)
            return g;
    }
    return NULL;
}

/* Looks around for SEARCH_NS, as one of at most half as many threads as are busy. */
static struct gr_g *search(struct gr_m *m)
{
    uint64_t give_up = arch_ticks() + gri_ns_to_ticks(SEARCH_NS);
    struct gr_g *g;

    if (!m->spinning) {
        uint32_t procs = atomic_load_explicit(&gri_sched.procs, memory_order_relaxed);
        uint32_t idle = atomic_load_explicit(&gri_sched.idle_p_count, memory_order_relaxed);

        if (2 * atomic_load_explicit(&gri_sched.spinning, memory_order_relaxed) >=
            (int32_t)(procs - idle))
            return NULL;
        m->spinning = true;
        /* seq_cst; pairs with the load in gri_wake_one: it need not wake another. */
        atomic_fetch_add_explicit(&gri_sched.spinning, 1, memory_order_seq_cst);
    }
    do {
        /* A thread without a processor may have put something into our next slot. */
        g = gri_runq_pop(m->p);
        if (!g)
            g = steal_once(m);
        if (!g)
            g = gri_global_pop(m->p, GLOBAL_BATCH);
        if (!g && gri_poller_has_waiters() && gri_poller_poll(0) > 0)
            g = gri_runq_pop(m->p);
        if (!g)
            arch_pause();
    } while (!g && arch_ticks() < give_up);
    return g;
}

bool gri_work_anywhere(void)
{
    uint32_t procs = gri_processors_made();

    if (atomic_load_explicit(&gri_sched.queue_length, memory_order_relaxed) > 0)
        return true;
    for (uint32_t i = 0; i < procs; i++) {
        if (!gri_runq_empty(gri_processor(i)))
            return true;
    }
    return false;
}

/* m found nothing: gives up its p, looks once more, sleeps. Returns with a p. */
static void go_idle(struct gr_m *m)
{
    struct gr_p *p = gri_processor_release(m);

    gri_processor_idle_put(p);
    if (m->spinning) {
        m->spinning = false;
        /* relaxed: see gri_wake_in_vain. */
        atomic_store_explicit(&gri_sched.wake_again, arch_ticks() + gri_ns_to_ticks(IN_VAIN_NS),
                              memory_order_relaxed);
        atomic_fetch_sub_explicit(&gri_sched.spinning, 1, memory_order_seq_cst);
    }
    /* seq_cst; pairs with the looks in gri_wake_one: the enqueuer sees an idle p, or we see its work. */
    atomic_thread_fence(memory_order_seq_cst);
    if (gri_work_anywhere()) {
        p = gri_processor_idle_get();
        if (p) {
            gri_processor_acquire(m, p);
            m->spinning = true;
            atomic_fetch_add_explicit(&gri_sched.spinning, 1, memory_order_seq_cst);
            return;
        }
    }
    gri_thread_park(m);
}

/* A processor beyond `procs` is given up: its queue goes to the global one. */
static bool retire_processor(struct gr_m *m)
{
    struct gr_p *p = m->p;
    struct gr_g *g;

    if (p->index < atomic_load_explicit(&gri_sched.procs, memory_order_relaxed))
        return false;
    while ((g = gri_runq_pop(p)))
        gri_enqueue_global(g, p->inherit); /* who was in the next slot was about to run */
    gri_processor_drain(p);
    gri_processor_release(m);
    gri_processor_idle_put(p);
    p = gri_processor_idle_get();
    if (p) {
        gri_processor_acquire(m, p);
        return true;
    }
    if (m->spinning) {
        m->spinning = false;
        /* seq_cst, before the look below; pairs with gri_wake_one: whoever relied on us has queued before. */
        atomic_fetch_sub_explicit(&gri_sched.spinning, 1, memory_order_seq_cst);
    }
    /* What we queued may have met our own spinning: somebody else has to look. */
    if (atomic_load_explicit(&gri_sched.queue_length, memory_order_seq_cst) > 0)
        gri_wake_one();
    gri_thread_park(m);
    return true;
}

/* Found something while searching: somebody else should search on if there may be more. */
static void stop_searching(struct gr_m *m)
{
    if (!m->spinning)
        return;
    m->spinning = false;
    /* seq_cst; pairs with gri_wake_one: who relied on us meanwhile is answered by whoever we wake. */
    if (atomic_fetch_sub_explicit(&gri_sched.spinning, 1, memory_order_seq_cst) == 1)
        gri_wake_one();
}

/*
 * Two that wake each other through the next slot go on in one slice. Its end is seen here as well, since a poison or a signal
 * that meets one of their short runs is forgotten at the next; whoever is next then goes behind those who wait.
 */
static void end_shared_slice(struct gr_m *m, struct gr_p *p)
{
    struct gr_g *g;

    /* relaxed, all: who is overlooked is seen at the next switch. run_since is ours. */
    if (!atomic_load_explicit(&p->next, memory_order_relaxed) ||
        m->ticks - atomic_load_explicit(&p->run_since, memory_order_relaxed) <
            atomic_load_explicit(&gri_sched.slice_ticks, memory_order_relaxed))
        return;
    if (atomic_load_explicit(&p->ring.head, memory_order_relaxed) ==
            atomic_load_explicit(&p->ring.tail, memory_order_relaxed) &&
        atomic_load_explicit(&gri_sched.queue_length, memory_order_relaxed) == 0)
        return;
    /* acq_rel; as in gri_runq_pop. Nobody is woken: there is not more to run than before. */
    g = atomic_exchange_explicit(&p->next, NULL, memory_order_acq_rel);
    if (!g)
        return;
    gri_global_push(g, false);
}

static struct gr_g *find_runnable(struct gr_m *m)
{
    struct gr_g *g;

    for (;;) {
        struct gr_p *p = m->p;

        if (retire_processor(m))
            continue;
        end_shared_slice(m, p);
        /* relaxed: whoever is in the next slot goes on in a slice that is not over; its end is seen above. */
        if (p->owed >= GRI_SLICE_OWED && !atomic_load_explicit(&p->next, memory_order_relaxed)) {
            p->owed %= GRI_SLICE_OWED;
            /* One: more would find the ring full, and who was there would go behind everybody. */
            if ((g = gri_global_pop(p, 1))) {
                p->inherit = false;
                break;
            }
        }
        if ((g = gri_runq_pop(p)) || (g = gri_global_pop(p, GLOBAL_BATCH)))
            break;
        if ((g = search(m))) {
            p->inherit = false;
            m->ticks = arch_ticks();
            break;
        }
        go_idle(m);
        m->ticks = arch_ticks();
    }
    stop_searching(m);
    return g;
}

_Noreturn void gri_schedule(struct gr_m *m)
{
    for (;;) {
        struct gr_g *g;

        if (m->locked_g) {
            gri_thread_park_locked(m);
            g = m->locked_g;
        } else {
            if (!m->p) /* it came back from a system call and found no processor */
                gri_thread_park(m);
            g = find_runnable(m);
        }
        execute(m, g);
    }
}
