/*
 * monitor.c: the one thread that never runs goroutines and that nobody can keep from running.
 *
 * It sleeps in the poller and does four things when it wakes: fires timers, asks again for pending suspends
 * (20 to 60 µs apart with jitter, 1 ms after ten milliseconds of refusals), takes processors away from
 * goroutines that sit in a system call, and ends slices. A slice ends after time_slice_us, or as soon as
 * something freshly born or woken has waited FRESH_WAIT_NS and the runner has had FRESH_SHARE_NS.
 *
 * When no processor is busy and nothing pends it sleeps without a time-out.
 *
 * Rejected: a timer signal per thread for slices. It disturbs every goroutine; the poison disturbs only one
 * that has to go anyway.
 *
 * Lock: pending_lock guards the list of goroutines with waiters; under it nothing else is taken.
 */
#include "scheduler.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#define TICK_BUSY_NS   250000  /* somebody runs and somebody waits */
#define TICK_CALM_NS   5000000 /* somebody runs, nobody waits */
#define QUIET_LOOKS    20      /* so many looks without waiters before it calms down */
#define STUBBORN_NS    2000000 /* one that was asked so long ago will not stop soon */
#define FRESH_WAIT_NS  100000
#define FRESH_SHARE_NS 100000
#define SYSCALL_GRACE_NS 200000 /* a processor may sit in a system call so long while others wait */
#define WATCH_NS        2000 /* as for suspends (suspend.c) */
#define RETRY_JITTER_NS 40000

static struct gri_lock pending_lock;
static struct gr_g *pending_head;
static _Atomic(uint32_t) pending_count;
static _Atomic(uint64_t) sleeping_until; /* monotonic; UINT64_MAX: awake, or till poked */
_Atomic(uint32_t) gri_monitor_calm;

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

/* ---- Pending suspends ---------------------------------------------------------------------------- */

void gri_pending_put(struct gr_g *g)
{
    gri_lock(&pending_lock);
    g->pending_next = pending_head;
    pending_head = g;
    /* relaxed: the monitor is poked after this. */
    atomic_fetch_add_explicit(&pending_count, 1, memory_order_relaxed);
    gri_unlock(&pending_lock);
}

/* Visits every goroutine that has waiters. True: some are left; *fresh: young ones among them. */
static bool visit_pending(uint64_t now_ns, bool *fresh)
{
    struct gr_g *list, *keep = NULL, *last = NULL;
    uint32_t gone = 0;

    if (atomic_load_explicit(&pending_count, memory_order_relaxed) == 0)
        return false;
    gri_lock(&pending_lock);
    list = pending_head;
    pending_head = NULL;
    gri_unlock(&pending_lock);
    while (list) {
        struct gr_g *g = list;

        list = g->pending_next;
        if (!gri_pending_visit(g, now_ns, fresh)) {
            gone++;
            continue;
        }
        g->pending_next = keep;
        keep = g;
        if (!last)
            last = g;
    }
    gri_lock(&pending_lock);
    if (keep) {
        last->pending_next = pending_head;
        pending_head = keep;
    }
    gri_unlock(&pending_lock);
    return atomic_fetch_sub_explicit(&pending_count, gone, memory_order_relaxed) != gone;
}

/* ---- Slices and retakes -------------------------------------------------------------------------- */

/* Whether m's goroutine gave way to the poison within the time that code with calls needs for it. */
static bool gave_way(const struct gr_m *m)
{
    uint64_t until = arch_ticks() + gri_ns_to_ticks(WATCH_NS);

    do {
        /* relaxed: a late answer costs a signal in vain. */
        if (!atomic_load_explicit(&m->slice_request, memory_order_relaxed))
            return true;
        arch_pause();
    } while (arch_ticks() < until);
    return false;
}

/*
 * The goroutine on m has to go: cooperatively if it can. Code that calls functions meets the poison long before a signal
 * would arrive, and a signal would most likely find it inside the very check, in vain. asked_for_ns: how long ago it was
 * asked first.
 */
static void end_slice(struct gr_m *m, uint64_t asked_for_ns)
{
    /* acquire; pairs with resume's store: a slot that was made just now is filled. */
    struct gr_g *g = atomic_load_explicit(&m->curg, memory_order_acquire);
    bool again;

    if (!g)
        return;
    /* relaxed: the guard's seq_cst store follows; the slow path loads the guard's word first. */
    again = atomic_exchange_explicit(&m->slice_request, 1, memory_order_relaxed);
    gri_poison(m);
    /* A g is a slot: a stale one only gets its counters touched. */
    if (again)
        gri_send_signal_again(m, g,
                              asked_for_ns < STUBBORN_NS ? GRI_RETRY_GAP_NS : GRI_RETRY_SLOW_NS);
    else if (!gave_way(m))
        gri_send_signal(m, g);
}

/*
 * What m runs has to go. If it was asked before and does not (a no-preempt section, a long call of libc, asynchronous
 * preemption switched off), those who wait behind it go where the other processors find them.
 */
static void ask_to_go(struct gr_p *p, struct gr_m *m, uint64_t now_ns)
{
    uint64_t tick = atomic_load_explicit(&p->tick, memory_order_relaxed);

    if (p->asked_ns == 0 || p->asked_tick != tick) {
        p->asked_tick = tick;
        p->asked_ns = now_ns;
    } else if (now_ns - p->asked_ns > STUBBORN_NS) {
        gri_runq_rescue(p);
    }
    end_slice(m, now_ns - p->asked_ns);
}

/* A running processor: when to look again because somebody waits for it; 0: nobody does. */
static uint64_t watch_running(struct gr_p *p, uint64_t now_ns, uint64_t now_ticks, bool others_wait)
{
    struct gr_m *m = atomic_load_explicit(&p->m, memory_order_relaxed);
    uint64_t since = atomic_load_explicit(&p->run_since, memory_order_relaxed);
    uint64_t fresh = atomic_load_explicit(&p->next_since, memory_order_relaxed);
    uint64_t ran = now_ticks > since ? gri_ticks_to_ns(now_ticks - since) : 0;
    bool next = atomic_load_explicit(&p->next, memory_order_relaxed) != NULL;
    bool waits = others_wait || !gri_runq_empty(p);

    if (!m)
        return waits ? TICK_BUSY_NS : 0;
    if (p->index >= atomic_load_explicit(&gri_sched.procs, memory_order_relaxed) ||
        (waits &&
         ran > (uint64_t)atomic_load_explicit(&gri_sched.slice_us, memory_order_relaxed) * 1000) ||
        (next && ran > FRESH_SHARE_NS && now_ticks > fresh &&
         gri_ticks_to_ns(now_ticks - fresh) > FRESH_WAIT_NS)) {
        ask_to_go(p, m, now_ns);
        return now_ns - p->asked_ns < STUBBORN_NS ? 2 * GRI_RETRY_GAP_NS : TICK_BUSY_NS;
    }
    return next ? FRESH_WAIT_NS : waits ? TICK_BUSY_NS : 0;
}

/* A processor in a system call: taken away if it has been there for long and could be used. */
static void retake(struct gr_p *p, uint64_t now_ns, bool others_wait)
{
    uint64_t tick = atomic_load_explicit(&p->syscall_tick, memory_order_relaxed);
    uint32_t status = GRI_P_SYSCALL;

    if (tick != p->seen_syscall_tick) {
        p->seen_syscall_tick = tick;
        p->seen_syscall_ns = now_ns;
        return;
    }
    if (gri_runq_empty(p) && !others_wait && now_ns - p->seen_syscall_ns < 10 * SYSCALL_GRACE_NS)
        return;
    if (now_ns - p->seen_syscall_ns < SYSCALL_GRACE_NS)
        return;
    /* acq_rel; pairs with the returning thread's CAS in syscall.c: one of us has it. */
    if (!atomic_compare_exchange_strong_explicit(&p->status, &status, GRI_P_IDLE,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return;
    atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
    gri_processor_hand_off(p);
}

/* Looks at every processor; returns how long it may be before the next look, 0: no need. */
static uint64_t watch_processors(uint64_t now_ns)
{
    static unsigned quiet;
    uint64_t now_ticks = arch_ticks();
    bool others_wait = atomic_load_explicit(&gri_sched.queue_length, memory_order_relaxed) > 0;
    uint64_t look = 0;
    bool busy = false;

    /* All that ever were, since a retired one may still run. */
    for (uint32_t i = 0, made = gri_processors_made(); i < made; i++) {
        struct gr_p *p = gri_processor(i);
        uint32_t status = atomic_load_explicit(&p->status, memory_order_acquire);

        if (status == GRI_P_RUNNING) {
            busy = true;
            look = earlier(look, watch_running(p, now_ns, now_ticks, others_wait));
        } else if (status == GRI_P_SYSCALL) {
            busy = true;
            retake(p, now_ns, others_wait);
            look = earlier(look, TICK_BUSY_NS);
        } else if (!gri_runq_empty(p)) {
            /* Put there while its owner gave it up because there are fewer processors now (push_foreign_next). */
            gri_runq_rescue(p);
        }
    }
    if (others_wait) { /* never asleep for long while the global queue is not empty */
        gri_wake_one();
        look = earlier(look, TICK_BUSY_NS);
    }
    quiet = look || !busy ? 0 : quiet + 1;
    return look ? look : !busy ? 0 : quiet < QUIET_LOOKS ? TICK_BUSY_NS : TICK_CALM_NS;
}

/* ---- The loop ------------------------------------------------------------------------------------ */

/* One round: what to do now, and when to wake (monotonic; 0: when poked). */
static uint64_t round_of_work(uint32_t *seed)
{
    uint64_t now = gri_now_ns(), wake = gri_timers_fire(now), tick;
    bool fresh = false;

    if (atomic_load_explicit(&gri_scavenger_dormant, memory_order_relaxed))
        gri_scavenger_wake();
    if (visit_pending(now, &fresh)) {
        *seed = *seed * 1664525u + 1013904223u;
        wake = earlier(wake, now + (fresh ? GRI_RETRY_GAP_NS + (*seed >> 8) % RETRY_JITTER_NS
                                          : GRI_RETRY_SLOW_NS));
    }
    tick = watch_processors(now);
    if (tick && tick < TICK_CALM_NS)
        atomic_store_explicit(&gri_monitor_calm, 0, memory_order_relaxed); /* we look soon anyway */
    return tick ? earlier(wake, now + tick) : wake;
}

static void *monitor_main(void *arg)
{
    uint32_t seed = 1;

    prctl(PR_SET_NAME, "grasp-monitor");
    prctl(PR_SET_TIMERSLACK, 1);
    for (;;) {
        uint64_t wake, now;

        /* seq_cst; pairs with gri_monitor_poke: it sees that we sleep, or we see what it poked for. */
        atomic_store_explicit(&sleeping_until, UINT64_MAX, memory_order_seq_cst);
        /* seq_cst; pairs with gri_monitor_work: set before we look. */
        atomic_store_explicit(&gri_monitor_calm, 1, memory_order_seq_cst);
        /* seq_cst; the stores before all looks of this round. */
        atomic_thread_fence(memory_order_seq_cst);
        wake = round_of_work(&seed);
        if (wake)
            atomic_store_explicit(&sleeping_until, wake, memory_order_seq_cst);
        now = gri_now_ns();
        gri_poller_poll(!wake ? -1 : wake > now ? (int64_t)(wake - now) : 0);
    }
    return NULL;
}

void gri_monitor_poke(uint64_t delay_ns)
{
    /* seq_cst; pairs with monitor_main. A poke for later than it wakes anyway costs nothing. */
    if (atomic_load_explicit(&sleeping_until, memory_order_seq_cst) > gri_now_ns() + delay_ns)
        gri_poller_wake();
}

int gri_monitor_start(char *err, size_t err_bytes)
{
    pthread_t thread;
    sigset_t all, old;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&thread, NULL, monitor_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) {
        snprintf(err, err_bytes, "no thread for the monitor: error %d", error);
        return -error;
    }
    pthread_detach(thread);
    return 0;
}
