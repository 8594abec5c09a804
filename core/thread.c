/*
 * thread.c: worker threads and the processors that they own: making, waking, parking, handing over.
 *
 * A thread that has no processor sleeps on its own futex word (m->sema); whoever wakes it has put a processor
 * into m->next_p first. A pinned goroutine's thread sleeps the same way, but is on no idle list: only
 * the one that dequeues its goroutine wakes it.
 *
 * Locks: sched.lock guards the idle lists. Nothing else is taken under it.
 */
#include "scheduler.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sanitize.h"

/* Below the control plane and the monitor, which must answer while goroutines spin. */
#define WORKER_NICE        5
#define WORKER_STACK_BYTES (256 * 1024)
#define THREAD_RETRY_NS    1000000 /* after no thread could be made */

/* ---- Processors ---------------------------------------------------------------------------------- */

void gri_processor_acquire(struct gr_m *m, struct gr_p *p)
{
    GRI_ASSERT(m->p == NULL);
    m->p = p;
    /* relaxed: the monitor's view. */
    atomic_store_explicit(&p->m, m, memory_order_relaxed);
    /* seq_cst, before the look at the monitor's flag; pairs with its fence: it sees RUNNING, or we wake it. */
    atomic_store_explicit(&p->status, GRI_P_RUNNING, memory_order_seq_cst);
    gri_monitor_work();
}

struct gr_p *gri_processor_release(struct gr_m *m)
{
    struct gr_p *p = m->p;

    GRI_ASSERT(p != NULL);
    m->p = NULL;
    atomic_store_explicit(&p->m, NULL, memory_order_relaxed);
    atomic_store_explicit(&p->status, GRI_P_IDLE, memory_order_release);
    return p;
}

void gri_processor_idle_put(struct gr_p *p)
{
    gri_lock(&gri_sched.lock);
    /* relaxed: procs changes under sched.lock. */
    if (p->index >= atomic_load_explicit(&gri_sched.procs, memory_order_relaxed)) {
        atomic_store_explicit(&p->status, GRI_P_DEAD, memory_order_relaxed);
    } else {
        p->idle_next = gri_sched.idle_p;
        gri_sched.idle_p = p;
        /* relaxed: followed by a seq_cst fence where it matters (sched.c, go_idle). */
        atomic_fetch_add_explicit(&gri_sched.idle_p_count, 1, memory_order_relaxed);
    }
    gri_unlock(&gri_sched.lock);
}

static struct gr_p *idle_get_locked(void)
{
    struct gr_p *p;

    while ((p = gri_sched.idle_p)) {
        gri_sched.idle_p = p->idle_next;
        atomic_fetch_sub_explicit(&gri_sched.idle_p_count, 1, memory_order_relaxed);
        if (p->index < atomic_load_explicit(&gri_sched.procs, memory_order_relaxed))
            return p;
        atomic_store_explicit(&p->status, GRI_P_DEAD, memory_order_relaxed);
    }
    return NULL;
}

struct gr_p *gri_processor_idle_get(void)
{
    struct gr_p *p;

    gri_lock(&gri_sched.lock);
    p = idle_get_locked();
    gri_unlock(&gri_sched.lock);
    return p;
}

void gri_processor_hand_off(struct gr_p *p)
{
    if (gri_work_anywhere()) {
        gri_thread_start(p, false);
        return;
    }
    gri_processor_idle_put(p);
    /* seq_cst; as in go_idle: an enqueuer sees the idle p, or we see its work. */
    atomic_thread_fence(memory_order_seq_cst);
    if (gri_work_anywhere())
        gri_wake_one();
}

/* ---- Threads ------------------------------------------------------------------------------------- */

static void wake(struct gr_m *m)
{
    /* release; pairs with the acquire in sleep_on_sema: next_p and spinning are seen. */
    atomic_store_explicit(&m->sema, 1, memory_order_release);
    gri_futex_wake(&m->sema, 1);
}

static void sleep_on_sema(struct gr_m *m)
{
    /* acquire; pairs with wake. */
    while (atomic_load_explicit(&m->sema, memory_order_acquire) == 0)
        gri_futex_wait(&m->sema, 0, -1);
    /* relaxed: nobody wakes us again before we are back on a list. */
    atomic_store_explicit(&m->sema, 0, memory_order_relaxed);
    gri_processor_acquire(m, m->next_p);
    m->next_p = NULL;
    m->ticks = arch_ticks(); /* what comes next is not charged for the sleep */
}

static void *worker_main(void *arg)
{
    struct gr_m *m = arg;
    struct arch_tls *tls = arch_tls_self();

    m->tid = (pid_t)syscall(SYS_gettid);
    pthread_getcpuclockid(pthread_self(), &m->cpu_clock);
    m->guard = (_Atomic(uint64_t) *)arch_guard_slot();
    tls->thread = m;
    tls->errno_thread = &errno;
    if (!gri_sched.nice_off)
        setpriority(PRIO_PROCESS, (id_t)m->tid, gri_sched.base_nice + WORKER_NICE);
    prctl(PR_SET_NAME, "grasp-worker");
    gri_thread_signals_init(m);
#if defined(__SANITIZE_ADDRESS__)
    pthread_attr_t attr;
    void *lo;

    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &lo, &m->asan_stack_bytes);
        m->asan_stack_lo = lo;
        pthread_attr_destroy(&attr);
    }
#endif
    m->tsan_fiber = GRI_TSAN_CURRENT();
    /* release; pairs with whoever looks at another thread's fields (profile.c). */
    atomic_store_explicit(&m->ready, 1, memory_order_release);
    sleep_on_sema(m);
    gri_schedule(m);
}

/* A fresh m with a number, or one whose thread could not be made before; NULL: no memory, or GRI_THREADS_MAX. */
static struct gr_m *new_m(void)
{
    struct gr_m *m;

    gri_lock(&gri_sched.lock);
    m = gri_sched.spare_m;
    if (m)
        gri_sched.spare_m = m->idle_next;
    gri_unlock(&gri_sched.lock);
    if (m)
        return m;
    m = aligned_alloc(GRI_CACHE_LINE, sizeof *m);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    gri_lock(&gri_sched.lock);
    /* relaxed: changes under sched.lock; release below publishes the entry. */
    m->index = atomic_load_explicit(&gri_sched.m_count, memory_order_relaxed);
    if (m->index < GRI_THREADS_MAX) {
        m->steal_seed = m->index * 2654435761u;
        atomic_store_explicit(&gri_sched.m[m->index], m, memory_order_release);
        atomic_store_explicit(&gri_sched.m_count, m->index + 1, memory_order_release);
    }
    gri_unlock(&gri_sched.lock);
    if (m->index < GRI_THREADS_MAX)
        return m;
    free(m);
    return NULL;
}

/* A new m whose thread sleeps on its sema; NULL if there can be none. */
static struct gr_m *thread_create(void)
{
    struct gr_m *m = new_m();
    pthread_attr_t attr;
    sigset_t all, old;
    int error;

    if (!m)
        return NULL;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
#endif
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = gri_thread_signals_prepare(m);
    if (!error)
        error = pthread_create(&m->thread, &attr, worker_main, m);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (!error)
        return m;
    /* Kept for the next try: tries without end must not use up the numbers. */
    gri_lock(&gri_sched.lock);
    m->idle_next = gri_sched.spare_m;
    gri_sched.spare_m = m;
    gri_unlock(&gri_sched.lock);
    return NULL;
}

/* The searcher's role was claimed in vain. Whoever relied on it meanwhile must not be forgotten. */
static void stop_claiming(bool spinning)
{
    if (!spinning)
        return;
    atomic_fetch_sub_explicit(&gri_sched.spinning, 1, memory_order_seq_cst);
    /* The monitor looks at the global queue until it is empty; local ones have owners that run. */
    gri_monitor_poke(THREAD_RETRY_NS);
}

/* No thread could be had for p: its queue goes to the global one, and the monitor tries again. */
static void start_failed(struct gr_p *p, bool spinning)
{
    struct gr_g *g;

    while ((g = gri_runq_pop(p)))
        gri_global_push(g, p->inherit); /* as in retire_processor */
    gri_processor_idle_put(p);
    if (spinning)
        stop_claiming(true);
    else
        gri_monitor_poke(THREAD_RETRY_NS);
}

void gri_thread_start(struct gr_p *p, bool spinning)
{
    struct gr_m *m;

    gri_lock(&gri_sched.lock);
    if (!p)
        p = idle_get_locked();
    m = p ? gri_sched.idle_m : NULL;
    if (m)
        gri_sched.idle_m = m->idle_next;
    gri_unlock(&gri_sched.lock);
    if (!p) {
        stop_claiming(spinning);
        return;
    }
    if (!m)
        m = thread_create();
    if (!m) {
        start_failed(p, spinning);
        return;
    }
    m->spinning = spinning;
    m->next_p = p;
    wake(m);
}

void gri_wake_one(void)
{
    int32_t none = 0;

    /*
     * seq_cst; after the caller's seq_cst exchange or fence, so that what was just queued, or the idle p, is
     * seen by one of us: pairs with the fence in go_idle.
     */
    if (atomic_load_explicit(&gri_sched.idle_p_count, memory_order_seq_cst) == 0 ||
        atomic_load_explicit(&gri_sched.spinning, memory_order_seq_cst) != 0)
        return;
    /* seq_cst; pairs with the decrement in go_idle: only one waker at a time. */
    if (!atomic_compare_exchange_strong_explicit(&gri_sched.spinning, &none, 1,
                                                 memory_order_seq_cst, memory_order_relaxed))
        return;
    gri_thread_start(NULL, true);
}

bool gri_wake_in_vain(void)
{
    /* relaxed, all: decides when, not whether, somebody comes. The clock is read only where a wake is at stake. */
    return atomic_load_explicit(&gri_sched.idle_p_count, memory_order_relaxed) > 0 &&
           atomic_load_explicit(&gri_sched.spinning, memory_order_relaxed) == 0 &&
           arch_ticks() < atomic_load_explicit(&gri_sched.wake_again, memory_order_relaxed);
}

void gri_thread_park(struct gr_m *m)
{
    GRI_ASSERT(m->p == NULL);
    gri_lock(&gri_sched.lock);
    m->idle_next = gri_sched.idle_m;
    gri_sched.idle_m = m;
    gri_unlock(&gri_sched.lock);
    sleep_on_sema(m);
}

void gri_thread_park_locked(struct gr_m *m)
{
    if (m->p)
        gri_processor_hand_off(gri_processor_release(m));
    sleep_on_sema(m);
}

void gri_thread_hand_to_locked(struct gr_m *m, struct gr_g *g)
{
    struct gr_m *owner = g->pin_m;

    owner->next_p = gri_processor_release(m);
    wake(owner);
    gri_thread_park(m);
}

/* procs_lock held: the next processor, DEAD. -ENOMEM. */
static int processor_add(void)
{
    uint32_t index = gri_processors_made();
    struct gr_p *p = aligned_alloc(GRI_CACHE_LINE, sizeof *p);

    if (!p)
        return -ENOMEM;
    memset(p, 0, sizeof *p);
    p->index = index;
    atomic_store_explicit(&p->status, GRI_P_DEAD, memory_order_relaxed);
    atomic_store_explicit(&gri_sched.p[index], p, memory_order_relaxed);
    /* release; pairs with gri_processors_made. */
    atomic_store_explicit(&gri_sched.p_made, index + 1, memory_order_release);
    return 0;
}

int gri_threads_init(unsigned procs, char *err, size_t err_bytes)
{
    int error = gr_set_procs(procs);

    if (error)
        snprintf(err, err_bytes, "no memory for %u processors", procs);
    return error;
}

/* procs_lock held, all `procs` are made: those that come (back) into use go on the idle list. */
static void set_procs(unsigned procs)
{
    unsigned old;

    gri_lock(&gri_sched.lock);
    old = atomic_load_explicit(&gri_sched.procs, memory_order_relaxed);
    /* seq_cst; pairs with push_foreign_next. Other readers that must not be late hold the lock. */
    atomic_store_explicit(&gri_sched.procs, procs, memory_order_seq_cst);
    for (unsigned i = old; i < procs; i++) {
        uint32_t dead = GRI_P_DEAD;
        struct gr_p *p = gri_processor(i);

        /* One that was to be retired but still runs simply stays. */
        if (!atomic_compare_exchange_strong_explicit(&p->status, &dead, GRI_P_IDLE,
                                                     memory_order_acq_rel, memory_order_relaxed))
            continue;
        p->idle_next = gri_sched.idle_p;
        gri_sched.idle_p = p;
        atomic_fetch_add_explicit(&gri_sched.idle_p_count, 1, memory_order_relaxed);
    }
    gri_unlock(&gri_sched.lock);
}

int gr_set_procs(unsigned procs)
{
    static struct gri_lock procs_lock; /* one change at a time */
    int error = 0;

    if (procs < 1 || procs > GR_PROCS_MAX)
        return -EINVAL;
    gri_lock(&procs_lock);
    while (!error && gri_processors_made() < procs)
        error = processor_add();
    if (!error)
        set_procs(procs);
    gri_unlock(&procs_lock);
    if (!error) {
        gri_wake_one();
        gri_monitor_poke(0);
    }
    return error;
}
