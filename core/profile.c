/*
 * profile.c: the CPU profile: timers, the signal handler, and a ring of records for each thread; see profile.h.
 *
 * The timers are made and deleted by whoever profiles, also for other threads: a thread's CPU clock has a name
 * (m->cpu_clock), and SIGEV_THREAD_ID sends the signal there. So the workers know nothing of profiling but a pointer
 * to their ring. A ring has one writer, the handler on its thread, which no other handler of ours interrupts
 * (their masks are full), and one reader, the drain.
 *
 * Invariants
 *   F1  The handler is async-signal-safe: no lock, no allocation, errno untouched.
 *   F2  A ring is never freed: a handler may be late. After a profile its pages go back to the system.
 *   F3  The writer owns slots [tail, head + GR_PROFILE_RECORDS), the reader [head, tail).
 *
 * Lock: profile.lock serialises start, drain and stop; nothing is locked under it but what gr_profile_fn takes.
 */
#include <grasp/profile.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scheduler.h"

struct record {
    struct arch_regs regs;
    uint64_t id, periods;
    uint64_t stack_lo, stack_hi, copied_lo;
    size_t copied_bytes;
    bool truncated;
    _Alignas(16) uint8_t stack[GR_PROFILE_STACK_BYTES];
};

struct gri_profile_ring {
    /* The handler's. */
    _Alignas(GRI_CACHE_LINE) _Atomic(uint32_t) tail;
    _Atomic(uint64_t) lost;
    /* The reader's. */
    _Alignas(GRI_CACHE_LINE) _Atomic(uint32_t) head;
    timer_t timer;
    bool armed;
    struct record record[GR_PROFILE_RECORDS];
};

static struct {
    pthread_mutex_t lock;
    bool running, handler_set;
    uint64_t period_ns;
    struct gr_profile_stats stats;
    _Atomic(uint32_t) on; /* for the handler */
} profile = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- On the thread ------------------------------------------------------------------------------- */

/* F1. A stack under a sanitizer is full of red zones, and memcpy looks at them. */
__attribute__((no_sanitize("address", "thread"))) static void
copy_words(volatile uint64_t *to, const uint64_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes / 8; i++)
        to[i] = from[i];
}

#define BELOW_SP 128 /* where a compiler may say that registers lie which an epilogue has popped already */

/* F1. The stack from a little below SP up, with the return addresses that foreign calls have replaced. */
static void record_stack(struct record *r, const struct gr_g *g)
{
    r->stack_lo = (uint64_t)g->stack.lo;
    r->stack_hi = (uint64_t)g->stack.hi;
    r->copied_lo = (r->regs.sp & ~(uint64_t)7) - BELOW_SP;
    if (r->copied_lo < r->stack_lo)
        r->copied_lo = r->stack_lo;
    r->copied_bytes = r->stack_hi - r->copied_lo;
    r->truncated = r->copied_bytes > sizeof r->stack;
    if (r->truncated)
        r->copied_bytes = sizeof r->stack;
    copy_words((uint64_t *)(void *)r->stack, (const uint64_t *)r->copied_lo, r->copied_bytes);
    if (g->foreign)
        arch_foreign_restore(g->foreign, r->regs.value, r->stack, r->copied_lo, r->copied_bytes);
}

/* F1. */
static void on_profile_signal(int number, siginfo_t *info, void *ucontext)
{
    struct gr_m *m = gri_m();
    struct gri_profile_ring *ring;
    struct record *r;
    struct gr_g *g;
    uint32_t tail;

    /* Only our timers' signals count, and late ones do not. relaxed: a late record is harmless (F2). */
    if (!m || info->si_code != SI_TIMER || !atomic_load_explicit(&profile.on, memory_order_relaxed))
        return;
    /* acquire; pairs with arm: the ring is made. */
    ring = atomic_load_explicit(&m->profile, memory_order_acquire);
    if (!ring)
        return;
    /* relaxed: only this thread writes it. acquire: the reader is done with the slot (F3). */
    tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) >= GR_PROFILE_RECORDS) {
        atomic_fetch_add_explicit(&ring->lost, 1, memory_order_relaxed);
        return;
    }
    r = &ring->record[tail % GR_PROFILE_RECORDS];
    arch_regs_from_signal(&r->regs, ucontext);
    r->periods = 1 + (uint64_t)(info->si_overrun > 0 ? info->si_overrun : 0);
    /* relaxed: written by this thread. */
    g = atomic_load_explicit(&m->curg, memory_order_relaxed);
    r->id = g ? atomic_load_explicit(&g->id, memory_order_relaxed) : 0;
    r->copied_bytes = 0;
    r->truncated = true;
    if (g && r->regs.sp >= (uint64_t)g->stack.lo && r->regs.sp < (uint64_t)g->stack.hi)
        record_stack(r, g);
    /* release; pairs with the acquire in drain_ring: the record is complete. */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

/* ---- Timers -------------------------------------------------------------------------------------- */

static struct gri_profile_ring *ring_of(struct gr_m *m)
{
    struct gri_profile_ring *ring = atomic_load_explicit(&m->profile, memory_order_relaxed);

    if (ring)
        return ring;
    ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ring == MAP_FAILED)
        return NULL;
    /* release; pairs with the handler's acquire. */
    atomic_store_explicit(&m->profile, ring, memory_order_release);
    return ring;
}

static bool timer_make(struct gr_m *m, timer_t *timer)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF};
    struct itimerspec every;

    event._sigev_un._tid = m->tid;
    if (timer_create(m->cpu_clock, &event, timer) != 0)
        return false;
    every.it_interval.tv_sec = (time_t)(profile.period_ns / 1000000000);
    every.it_interval.tv_nsec = (long)(profile.period_ns % 1000000000);
    every.it_value = every.it_interval;
    if (timer_settime(*timer, 0, &every, NULL) == 0)
        return true;
    timer_delete(*timer);
    return false;
}

static bool arm(struct gr_m *m)
{
    struct gri_profile_ring *ring;

    if (profile.stats.threads == GR_PROFILE_THREADS_MAX)
        return false;
    ring = ring_of(m);
    if (!ring)
        return false;
    /* What a late signal left behind after the profile before is nobody's. */
    atomic_store_explicit(&ring->head, atomic_load_explicit(&ring->tail, memory_order_acquire),
                          memory_order_release);
    ring->armed = timer_make(m, &ring->timer);
    return ring->armed;
}

static struct gr_m *thread_at(uint32_t index)
{
    /* acquire; pairs with thread_create. */
    return atomic_load_explicit(&gri_sched.m[index], memory_order_acquire);
}

typedef void ring_fn(struct gri_profile_ring *ring, void *arg);
static void rings_each(ring_fn *fn, void *arg)
{
    uint32_t count = atomic_load_explicit(&gri_sched.m_count, memory_order_acquire);

    for (uint32_t i = 0; i < count; i++) {
        struct gr_m *m = thread_at(i);
        struct gri_profile_ring *ring =
            m ? atomic_load_explicit(&m->profile, memory_order_relaxed) : NULL;

        if (ring)
            fn(ring, arg);
    }
}

/* Watches threads that are not watched yet. */
static void arm_new(void)
{
    uint32_t count = atomic_load_explicit(&gri_sched.m_count, memory_order_acquire);

    profile.stats.threads_missed = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct gr_m *m = thread_at(i);
        struct gri_profile_ring *ring;

        /* acquire; pairs with worker_main: tid and clock are set. One that is being born comes next time. */
        if (!m || !atomic_load_explicit(&m->ready, memory_order_acquire))
            continue;
        ring = atomic_load_explicit(&m->profile, memory_order_relaxed);
        if (ring && ring->armed)
            continue;
        if (arm(m))
            profile.stats.threads++;
        else
            profile.stats.threads_missed++;
    }
}

/* ---- The profile --------------------------------------------------------------------------------- */

static int handler_set(void)
{
    struct sigaction action = {.sa_sigaction = on_profile_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    if (profile.handler_set)
        return 0;
    sigfillset(&action.sa_mask);
    if (sigaction(SIGPROF, &action, NULL) != 0)
        return -errno;
    profile.handler_set = true;
    return 0;
}

static void forget_lost(struct gri_profile_ring *ring, void *arg)
{
    atomic_store_explicit(&ring->lost, 0, memory_order_relaxed);
}

int gr_profile_start(unsigned hz)
{
    int error = 0;

    if (hz < 1 || hz > GR_PROFILE_HZ_MAX)
        return -EINVAL;
    pthread_mutex_lock(&profile.lock);
    error = profile.running ? -EBUSY : handler_set();
    if (!error) {
        profile.running = true;
        profile.period_ns = 1000000000u / hz;
        memset(&profile.stats, 0, sizeof profile.stats);
        rings_each(forget_lost, NULL);
        /* relaxed: a handler that misses it misses one record. */
        atomic_store_explicit(&profile.on, 1, memory_order_relaxed);
        arm_new();
    }
    pthread_mutex_unlock(&profile.lock);
    return error;
}

static void hand_out(struct record *r, gr_profile_fn *fn, void *arg)
{
    struct gr_copy copy = {.id = r->id,
                           .safepoint = GR_SAFEPOINT_ASYNC,
                           .reg_present = r->regs.present,
                           .pc = r->regs.pc,
                           .sp = r->regs.sp,
                           .stack_lo = r->stack_lo,
                           .stack_hi = r->stack_hi,
                           .copied_lo = r->copied_lo,
                           .copied_bytes = r->copied_bytes,
                           .truncated = r->truncated,
                           .stack = r->stack,
                           .stack_capacity = sizeof r->stack};

    memcpy(copy.reg, r->regs.value, arch_reg_count * sizeof copy.reg[0]);
    fn(arg, &copy, r->periods);
}

struct drain {
    gr_profile_fn *fn;
    void *arg;
};

/* F2. The records' whole pages; a late handler writes into new ones. */
static void release_pages(struct gri_profile_ring *ring)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t lo = ((uintptr_t)ring->record + page - 1) & ~(page - 1);
    uintptr_t hi = (uintptr_t)(ring + 1) & ~(page - 1);

    madvise((void *)lo, hi - lo, MADV_DONTNEED);
}

static void drain_ring(struct gri_profile_ring *ring, void *arg)
{
    struct drain *drain = arg;
    /* relaxed: only the reader writes it. acquire; pairs with the handler's release. */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);

    for (; head != tail; head++) {
        hand_out(&ring->record[head % GR_PROFILE_RECORDS], drain->fn, drain->arg);
        profile.stats.records++;
        /* release; pairs with the handler's acquire: the slot is free (F3). */
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    }
    if (!profile.running)
        release_pages(ring);
}

void gr_profile_drain(gr_profile_fn *fn, void *arg)
{
    struct drain drain = {fn, arg};

    pthread_mutex_lock(&profile.lock);
    if (profile.running)
        arm_new();
    rings_each(drain_ring, &drain);
    pthread_mutex_unlock(&profile.lock);
}

static void disarm(struct gri_profile_ring *ring, void *arg)
{
    if (!ring->armed)
        return;
    timer_delete(ring->timer);
    ring->armed = false;
}

static void add_lost(struct gri_profile_ring *ring, void *arg)
{
    *(uint64_t *)arg += atomic_load_explicit(&ring->lost, memory_order_relaxed);
}

/* profile.lock held. */
static void fill_stats(struct gr_profile_stats *stats)
{
    if (profile.running) {
        profile.stats.lost = 0;
        rings_each(add_lost, &profile.stats.lost);
    }
    if (stats)
        *stats = profile.stats;
}

void gr_profile_stats(struct gr_profile_stats *stats)
{
    pthread_mutex_lock(&profile.lock);
    fill_stats(stats);
    pthread_mutex_unlock(&profile.lock);
}

void gr_profile_stop(struct gr_profile_stats *stats)
{
    pthread_mutex_lock(&profile.lock);
    atomic_store_explicit(&profile.on, 0, memory_order_relaxed);
    if (profile.running)
        rings_each(disarm, NULL);
    fill_stats(stats);
    profile.running = false;
    pthread_mutex_unlock(&profile.lock);
}
