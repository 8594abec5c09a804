/*
 * suspend.c: holds: the claim that a goroutine must not run, and being told when it does not.
 *
 * One CAS adds a hold. If the goroutine was stopped, that is all. If it was running, the request goes out
 * (preempt.c) and the record waits on the goroutine's list until somebody who took it out of RUNNING
 * tells. The protocol is checked: tests/model/suspend.pml; its nine rules are in docs/life-of-a-suspend.md.
 * The list has a lock of its own, which word transitions never take; pusher and teller each read the word
 * again under it, and the mover's CAS precedes its lock: one sees the other.
 *
 * Rejected: Go's scan bit. It is a lock on the goroutine: whoever meets it spins, and only one can hold.
 *
 * Invariants
 *   H1  hold->state goes PENDING -> STOPPED | GONE | WITHDRAWN under the g's wait_lock, once; the claim on
 *       the word is the record's from the CAS that added it until the one CAS of the record to RELEASED
 *       (or its withdrawal, or the g's end).
 *   H2  A record is unlinked before its claim is released (rule 3).
 *   H3  A stale generation changes nothing (rule 1).
 *   H4  After a record's state is stored, a thread's record may be gone: nothing of it is touched but
 *       its futex by address. A call-back's record lives until the call-back.
 *
 * Locks: g->wait_lock, then pending_lock. Models: suspend.pml.
 */
#include "scheduler.h"
#include "trace_rings.h"

#include <string.h>

enum { WAITER_CALLBACK, WAITER_THREAD, WAITER_GOROUTINE };
enum { FUTEX_ASLEEP = 1, FUTEX_TOLD = 2 };

#define WATCH_NS       2000     /* one that calls functions stops within half a microsecond */
#define WATCH_SHORT_NS 300      /* one whose last stop needed a signal probably needs one again */
#define RETRY_NS       40000    /* the next try if no signal could be sent */
#define LOST_NS        5000000  /* if one was sent and nothing was heard of it */
#define FRESH_NS       10000000 /* a request is asked for quickly so long, then now and then */
#define THREAD_SPIN_NS 30000    /* a thread watches so long for a signalled stop before it sleeps */

_Atomic(uint64_t) gri_count_at_once[GR_SAFEPOINTS];
_Atomic(uint64_t) gri_count_suspends, gri_count_timeouts, gri_count_gone, gri_count_resumes;
_Atomic(uint64_t) gri_latency[GR_SAFEPOINTS][GR_LATENCY_BUCKETS];
_Atomic(uint64_t) gri_latency_sum[GR_SAFEPOINTS];

static void count(_Atomic(uint64_t) *counter)
{
    /* relaxed: a statistic. */
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- Release ------------------------------------------------------------------------------------- */

/* holds - 1; at 0 a PREEMPTED one becomes RUNNABLE in the same CAS and is queued by this winner. */
static void release(struct gr_g *g, uint64_t generation)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire), next;
    bool queue;

    do {
        if (gri_word_generation(w) != generation)
            return;
        GRI_ASSERT(gri_word_holds(w) > 0);
        next = w - GRI_HOLD_ONE;
        queue = gri_word_holds(next) == 0 && gri_word_state(w) == GR_PREEMPTED;
        if (queue)
            next = gri_word_with_state(next, GR_RUNNABLE);
        /* acq_rel; release pairs with claim: a holder's reads happen before the next run. */
    } while (!atomic_compare_exchange_weak_explicit(&g->word, &w, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    if (queue)
        gri_enqueue(g, false);
}

int gr_hold_end(struct gr_hold *hold)
{
    uint32_t stopped = GR_HOLD_STOPPED;
    struct gr_g *g = hold->g;
    uint64_t generation = hold->generation;

    /* acq_rel; pairs with itself: of lease, resume and disconnect one wins. */
    if (!atomic_compare_exchange_strong_explicit(&hold->state, &stopped, GR_HOLD_RELEASED,
                                                 memory_order_acq_rel, memory_order_acquire))
        return -EINVAL;
    count(&gri_count_resumes);
    gri_trace(GR_TRACE_RELEASED, g, 0, (uint64_t)(uintptr_t)hold);
    release(g, generation);
    return 0;
}

/* ---- Telling ------------------------------------------------------------------------------------- */

/* A held one goes from a call or a queue to PREEMPTED without moving: every holder is told the same. It writes no stop_kind. */
static enum gr_safepoint safepoint_of(const struct gr_g *g, enum gr_state state)
{
    if (state == GR_SYSCALL || g->stop_kind == GRI_STOP_CALL)
        return GR_SAFEPOINT_BLOCKED;
    return g->stop_kind == GRI_STOP_ASYNC ? GR_SAFEPOINT_ASYNC : GR_SAFEPOINT_SYNC;
}

/* Bucket 0 also holds those that took no time: the goroutine was stopped already. */
static void count_stop(const struct gr_hold *hold)
{
    uint64_t ns = hold->stopped_ns - hold->asked_ns;
    unsigned bucket = ns < 1 ? 0 : 63 - (unsigned)__builtin_clzll(ns);

    count(&gri_latency[hold->safepoint]
                      [bucket < GR_LATENCY_BUCKETS ? bucket : GR_LATENCY_BUCKETS - 1]);
    if (ns > 0)
        atomic_fetch_add_explicit(&gri_latency_sum[hold->safepoint], ns, memory_order_relaxed);
}

/* What the record says besides its state; the g is stopped and held by it. */
static void describe_stop(struct gr_hold *hold, struct gr_g *g, uint64_t w, uint64_t now_ns)
{
    hold->stopped_in = gri_word_state(w);
    hold->safepoint = safepoint_of(g, hold->stopped_in);
    hold->stopped_ns = now_ns;
    gri_trace(GR_TRACE_HELD, g, 0, (uint64_t)(uintptr_t)hold);
    count_stop(hold);
}

/* Stores the outcome and wakes whoever waits. wait_lock held; the wake takes no wait_lock and does not block. */
static void conclude(struct gr_hold *hold, enum gr_hold_state outcome)
{
    gr_hold_fn *done = hold->done;
    uint32_t kind = hold->waiter_kind;
    void *waiter = hold->waiter;
    _Atomic(uint32_t) *futex = (_Atomic(uint32_t) *)&hold->futex;

    if (outcome == GR_HOLD_GONE)
        count(&gri_count_gone);
    /* release; pairs with the waiter's acquire: safepoint and times are seen. */
    atomic_store_explicit(&hold->state, outcome, memory_order_release);
    if (kind == WAITER_CALLBACK) {
        done(hold);
    } else if (kind == WAITER_GOROUTINE) {
        /* Valid though a canceller may have won it: its owner takes our lock before it leaves. */
        if (gri_waiter_win(waiter, 0))
            gri_ready(((struct gri_waiter *)waiter)->g);
    } else if (atomic_exchange_explicit(futex, FUTEX_TOLD, memory_order_acq_rel) == FUTEX_ASLEEP) {
        /* The record may be gone by now (H4): a wake of an address that nobody waits on does nothing. */
        gri_futex_wake(futex, 1);
    }
}

void gri_tell(struct gr_g *g)
{
    struct gr_hold *list = NULL;
    uint64_t w;

    gri_lock(&g->wait_lock);
    /* acquire; pairs with the CAS of whoever moved it: what was saved is seen. */
    w = atomic_load_explicit(&g->word, memory_order_acquire);
    if (gri_state_stopped(gri_word_state(w)) || gri_word_state(w) == GR_DEAD ||
        gri_word_state(w) == GR_IDLE) {
        list = g->waiters;
        g->waiters = NULL;
    }
    while (list) {
        struct gr_hold *hold = list;

        list = hold->next;
        if (hold->generation != gri_word_generation(w)) {
            conclude(hold, GR_HOLD_GONE);
        } else {
            describe_stop(hold, g, w, gri_now_ns());
            conclude(hold, GR_HOLD_STOPPED);
        }
    }
    gri_unlock(&g->wait_lock);
}

/* ---- Asking -------------------------------------------------------------------------------------- */

/* Adds a claim: 0 and the word with it, or negative errno. */
static int add_hold(struct gr_g *g, uint64_t generation, uint64_t *word)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);

    do {
        if (gri_word_generation(w) != generation || gri_word_state(w) == GR_DEAD ||
            gri_word_state(w) == GR_IDLE)
            return -ESRCH;
        if (gri_word_holds(w) == GR_HOLDS_MAX)
            return -EOVERFLOW;
    } while (!gri_handshake_hold(&g->word, &w, GRI_HOLD_ONE));
    *word = w + GRI_HOLD_ONE;
    return 0;
}

/* The only push, if `push`. Returns the record's state afterwards; without a push it may be PENDING and on no list. */
static uint32_t settle(struct gr_g *g, struct gr_hold *hold, bool push)
{
    uint32_t state = GR_HOLD_PENDING;
    bool list_it = false;
    uint64_t w;

    gri_lock(&g->wait_lock);
    /* acquire; as in gri_tell. The releases of hold->state: as in conclude. */
    w = atomic_load_explicit(&g->word, memory_order_acquire);
    if (gri_word_generation(w) != hold->generation) {
        count(&gri_count_gone);
        state = GR_HOLD_GONE;
        atomic_store_explicit(&hold->state, state, memory_order_release);
    } else if (gri_state_stopped(gri_word_state(w))) {
        describe_stop(hold, g, w, gri_now_ns());
        state = GR_HOLD_STOPPED;
        atomic_store_explicit(&hold->state, state, memory_order_release);
    } else if (push) {
        hold->next = g->waiters;
        g->waiters = hold;
        if (!g->pending_listed)
            g->pending_listed = list_it = true;
    }
    if (list_it)
        gri_pending_put(g);
    gri_unlock(&g->wait_lock);
    return state;
}

static void hold_init(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns)
{
    void *ctx = hold->ctx;

    memset(hold, 0, sizeof *hold);
    hold->ctx = ctx;
    hold->id = id;
    hold->asked_ns = gri_now_ns();
    hold->deadline_ns =
        hold->asked_ns + timeout_ns < timeout_ns ? UINT64_MAX : hold->asked_ns + timeout_ns;
    atomic_store_explicit(&hold->state, GR_HOLD_PENDING, memory_order_relaxed);
}

static void remember_refusals(struct gr_hold *hold, struct gr_g *g, bool at_start)
{
    for (unsigned i = 0; i < GR_REFUSALS; i++) {
        uint64_t now = atomic_load_explicit(&g->refused[i], memory_order_relaxed);

        hold->refused[i] = at_start ? now : now - hold->refused[i];
    }
    if (at_start) {
        hold->attempts = atomic_load_explicit(&g->signals, memory_order_relaxed);
        return;
    }
    hold->attempts = atomic_load_explicit(&g->signals, memory_order_relaxed) - hold->attempts;
    hold->pc = atomic_load_explicit(&g->refused_pc, memory_order_relaxed);
}

static void request(struct gr_g *g)
{
    /* acquire; pairs with the store in claim. A stale m is poisoned in vain, which is harmless. */
    struct gr_m *m = atomic_load_explicit(&g->m, memory_order_acquire);

    if (m)
        gri_poison(m);
}

/*
 * Still running after the watch: the signal. If it is refused its handler wakes the monitor, which asks again;
 * for one that is lost, for the deadline, and where none could be sent, the monitor is told from here.
 */
static void insist(struct gr_g *g, uint64_t deadline_ns)
{
    struct gr_m *m = atomic_load_explicit(&g->m, memory_order_acquire);
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);
    uint64_t now, patience = RETRY_NS;

    if (m && gri_word_state(w) == GR_RUNNING && gri_word_holds(w) > 0 && gri_send_signal(m, g))
        patience = LOST_NS;
    now = gri_now_ns();
    if (deadline_ns < now + patience)
        patience = deadline_ns > now ? deadline_ns - now : 0;
    gri_monitor_poke(patience);
}

/* g stood still already, and the CAS has it. Only what is read of a record that stopped is set: more takes longer than the CAS. */
static void stopped_at_once(struct gr_hold *hold, struct gr_g *g, uint64_t id, uint64_t w,
                            bool stamped)
{
    hold->id = id;
    hold->g = g;
    hold->generation = gri_word_generation(w);
    hold->stopped_in = gri_word_state(w);
    hold->safepoint = safepoint_of(g, hold->stopped_in);
    hold->asked_ns = hold->stopped_ns = stamped ? gri_now_ns() : 0;
    gri_trace(GR_TRACE_HELD, g, 0, (uint64_t)(uintptr_t)hold);
    count(&gri_count_at_once[hold->safepoint]);
    /* release; as in conclude. */
    atomic_store_explicit(&hold->state, GR_HOLD_STOPPED, memory_order_release);
}

/*
 * GR_HOLD_STOPPED at once, 0 if the request went out, or negative errno. stamped: the times are wanted even if it stood
 * still already.
 */
static int begin(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns, bool stamped,
                 struct gr_g **out)
{
    uint64_t w, held_word;
    struct gr_g *g = gri_registry_find(id, &w);
    int error = g ? add_hold(g, gri_word_generation(w), &held_word) : -ESRCH;

    if (!error && gri_state_stopped(gri_word_state(held_word))) {
        stopped_at_once(hold, g, id, held_word, stamped);
        *out = g;
        return GR_HOLD_STOPPED;
    }
    hold_init(hold, id, timeout_ns);
    if (g)
        count(&gri_count_suspends);
    if (error)
        return error == -ESRCH ? gri_registry_missing(id) : error;
    *out = hold->g = g;
    hold->generation = gri_word_generation(held_word);
    if (timeout_ns == 0) {
        release(g, hold->generation);
        atomic_store_explicit(&hold->state, GR_HOLD_WITHDRAWN, memory_order_release);
        count(&gri_count_timeouts);
        return -ETIMEDOUT;
    }
    remember_refusals(hold, g, true);
    request(g);
    return 0;
}

/* Until `state` is no longer pending, at most ns. Bounded by the clock; the only waiting on an event loop. */
static uint32_t watch(struct gr_hold *hold, uint64_t ns)
{
    uint64_t give_up = arch_ticks() + gri_ns_to_ticks(ns);
    uint32_t state;

    /* acquire; pairs with conclude. */
    while ((state = atomic_load_explicit(&hold->state, memory_order_acquire)) == GR_HOLD_PENDING &&
           arch_ticks() < give_up)
        arch_pause();
    return state;
}

/* The same by looking at the word: before the record is on the list nobody tells it. */
static void watch_word(struct gr_g *g)
{
    /* relaxed: decides how long, nothing else. */
    uint64_t ns =
        atomic_load_explicit(&g->signalled, memory_order_relaxed) ? WATCH_SHORT_NS : WATCH_NS;
    uint64_t give_up = arch_ticks() + gri_ns_to_ticks(ns);
    enum gr_state state;

    do {
        state = gri_word_state(atomic_load_explicit(&g->word, memory_order_acquire));
        if (state != GR_RUNNING)
            return;
        arch_pause();
    } while (arch_ticks() < give_up);
}

int gr_hold_start(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns, gr_hold_fn *done,
                  void *ctx)
{
    struct gr_g *g = NULL;
    int result;
    uint32_t state;

    GRI_GIVE_WAY();
    hold->ctx = ctx;
    result = begin(hold, id, timeout_ns, true, &g);
    if (result != 0)
        return result;
    hold->ctx = ctx;
    hold->done = done;
    hold->waiter_kind = WAITER_CALLBACK;
    /* Watched before it is listed, so that no call-back comes for a stop that we report ourselves. */
    watch_word(g);
    state = settle(g, hold, true);
    if (state == GR_HOLD_STOPPED)
        return GR_HOLD_STOPPED;
    if (state == GR_HOLD_GONE)
        return -EOWNERDEAD;
    insist(g, hold->deadline_ns);
    return GR_HOLD_PENDING;
}

/* ---- Withdrawing --------------------------------------------------------------------------------- */

/* wait_lock held: takes hold off the list if it is there. */
static bool unlink_hold(struct gr_g *g, const struct gr_hold *hold)
{
    for (struct gr_hold **at = &g->waiters; *at; at = &(*at)->next) {
        if (*at == hold) {
            *at = (*at)->next;
            return true;
        }
    }
    return false;
}

bool gr_hold_cancel(struct gr_hold *hold)
{
    struct gr_g *g = hold->g;
    uint64_t generation = hold->generation;
    bool won;

    if (!g)
        return false;
    gri_lock(&g->wait_lock);
    won = unlink_hold(g, hold);
    if (won) {
        remember_refusals(hold, g, false);
        atomic_store_explicit(&hold->state, GR_HOLD_WITHDRAWN, memory_order_release);
    }
    gri_unlock(&g->wait_lock);
    if (won)
        release(g, generation);
    return won;
}

/* One expired record of g, taken off its list and refused; NULL: none. Its claim is the caller's to release. */
static struct gr_hold *take_expired(struct gr_g *g, uint64_t now_ns)
{
    for (struct gr_hold **at = &g->waiters; *at; at = &(*at)->next) {
        struct gr_hold *hold = *at;

        if (hold->deadline_ns > now_ns)
            continue;
        *at = hold->next;
        remember_refusals(hold, g, false);
        count(&gri_count_timeouts);
        return hold;
    }
    return NULL;
}

bool gri_pending_visit(struct gr_g *g, uint64_t now_ns, bool *fresh)
{
    struct gr_hold *hold;
    struct gr_m *m;
    uint64_t w;
    bool pending, young = false;

    gri_lock(&g->wait_lock);
    while ((hold = take_expired(g, now_ns))) {
        uint64_t generation = hold->generation;

        /* H2: unlinked first. The claim goes before the call-back, which may reuse the record. */
        release(g, generation);
        conclude(hold, GR_HOLD_WITHDRAWN);
    }
    pending = g->waiters != NULL;
    for (hold = g->waiters; hold; hold = hold->next)
        young |= hold->asked_ns + FRESH_NS > now_ns;
    *fresh |= young;
    if (!pending)
        g->pending_listed = false;
    gri_unlock(&g->wait_lock);
    w = atomic_load_explicit(&g->word, memory_order_acquire);
    m = atomic_load_explicit(&g->m, memory_order_acquire);
    if (pending && m && gri_word_state(w) == GR_RUNNING && gri_word_holds(w) > 0) {
        gri_poison(m);
        gri_send_signal_again(m, g, young ? GRI_RETRY_GAP_NS : GRI_RETRY_SLOW_NS);
    }
    return pending;
}

/* ---- Blocking a thread --------------------------------------------------------------------------- */

static int result_of(uint32_t state)
{
    return state == GR_HOLD_STOPPED ? 0 : state == GR_HOLD_GONE ? -ESRCH : -ETIMEDOUT;
}

int gri_hold_by_thread(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns, bool stamped)
{
    _Atomic(uint32_t) *futex = (_Atomic(uint32_t) *)&hold->futex;
    struct gr_g *g = NULL;
    int result = begin(hold, id, timeout_ns, stamped, &g);
    uint32_t state, zero = 0;

    if (result != 0)
        return result == GR_HOLD_STOPPED ? 0 : result == -EOWNERDEAD ? -ESRCH : result;
    hold->waiter_kind = WAITER_THREAD;
    watch_word(g);
    state = settle(g, hold, true);
    if (state != GR_HOLD_PENDING)
        return result_of(state);
    insist(g, hold->deadline_ns);
    state = watch(hold, THREAD_SPIN_NS);
    /* acq_rel; pairs with conclude's exchange: it sees that we sleep, or we see that we were told. */
    if (atomic_compare_exchange_strong_explicit(futex, &zero, FUTEX_ASLEEP, memory_order_acq_rel,
                                                memory_order_acquire)) {
        while (atomic_load_explicit(futex, memory_order_acquire) == FUTEX_ASLEEP)
            gri_futex_wait(futex, FUTEX_ASLEEP, -1);
    }
    state = atomic_load_explicit(&hold->state, memory_order_acquire);
    return result_of(state);
}

int gr_hold_wait(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns)
{
    return gri_hold_by_thread(hold, id, timeout_ns, true);
}

/* ---- Goroutine suspends goroutine ------------------------------------------------------------------ */

static struct gri_lock g2g_lock;

struct g2g {
    struct gr_hold *hold;
    struct gr_g *target;
    uint64_t deadline_ns; /* the record may be gone when it is wanted */
};

/* System stack, the caller is WAITING: from here on it may be readied. */
static bool g2g_commit(struct gr_g *g, void *arg)
{
    struct g2g ask = *(struct g2g *)arg;

    if (settle(ask.target, ask.hold, true) != GR_HOLD_PENDING)
        return false;
    insist(ask.target, ask.deadline_ns);
    return true;
}

/*
 * One lock around {own holds are 0; CAS on the target}: an edge starts only at an unheld g, so that no
 * cycle of holders can form. Whoever is held meanwhile stops here and goes on when resumed.
 */
static int g2g_begin(struct gr_g *self, struct gr_hold *hold, uint64_t id, uint64_t timeout_ns,
                     struct gr_g **target)
{
    for (;;) {
        int result;

        gri_lock(&g2g_lock);
        if (gri_word_holds(atomic_load_explicit(&self->word, memory_order_acquire)) == 0) {
            result = begin(hold, id, timeout_ns, false, target);
            gri_unlock(&g2g_lock);
            return result;
        }
        gri_unlock(&g2g_lock);
        gri_mcall(gri_preempt_park, NULL);
    }
}

int gri_hold_by_goroutine(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns)
{
    struct gri_waiter waiter = {.careful = true};
    struct gr_g *self = gri_self();
    struct g2g ask = {hold, NULL, 0};
    uint32_t state;
    int result;

    if (self->nopreempt > 0)
        GR_PANIC("gr_suspend inside a no-preempt section");
    if (id == atomic_load_explicit(&self->id, memory_order_relaxed))
        return -EDEADLK;
    /* acquire; pairs with gr_cancel. */
    if (atomic_load_explicit(&self->cancel, memory_order_acquire))
        return -ECANCELED;
    result = g2g_begin(self, hold, id, timeout_ns, &ask.target);
    if (result != 0)
        return result == GR_HOLD_STOPPED ? 0 : result == -EOWNERDEAD ? -ESRCH : result;
    /* As a thread does: parking and being woken costs more than a cooperative stop takes. */
    watch_word(ask.target);
    state = settle(ask.target, hold, false);
    if (state != GR_HOLD_PENDING)
        return result_of(state);
    ask.deadline_ns = hold->deadline_ns;
    hold->waiter_kind = WAITER_GOROUTINE;
    hold->waiter = &waiter;
    if (gri_wait(&waiter, GRI_WAIT_SUSPEND, (void *)(uintptr_t)id, 0, g2g_commit, &ask) ==
        -ECANCELED) {
        /* Under the list's lock: withdrawn, or told meanwhile, and then let go. */
        if (!gr_hold_cancel(hold))
            gr_hold_end(hold);
        return -ECANCELED;
    }
    return result_of(atomic_load_explicit(&hold->state, memory_order_acquire));
}

int gri_hold_self(struct gr_hold *hold)
{
    struct gr_g *g = gri_self();
    uint64_t id = atomic_load_explicit(&g->id, memory_order_relaxed), held_word;
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);
    int error;

    if (g->nopreempt > 0)
        GR_PANIC("gr_suspend_self inside a no-preempt section");
    hold_init(hold, id, 0);
    count(&gri_count_suspends);
    error = add_hold(g, gri_word_generation(w), &held_word);
    if (error)
        return error;
    hold->g = g;
    hold->generation = gri_word_generation(w);
    /* Told now: the caller itself is the one to know, and it stops before it does anything else. */
    hold->stopped_ns = hold->asked_ns;
    hold->stopped_in = GR_PREEMPTED;
    gri_trace(GR_TRACE_HELD, g, 0, (uint64_t)(uintptr_t)hold);
    atomic_store_explicit(&hold->state, GR_HOLD_STOPPED, memory_order_release);
    return 0;
}
