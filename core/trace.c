/*
 * trace.c: rings of records of what the scheduler does; see <grasp/trace.h>.
 *
 * A worker's ring has one writer, the worker, which nothing of ours interrupts while it writes: this is runtime code,
 * and so no safe-point. The shared ring has many writers, who take places by an atomic addition; a record's time is
 * stored last and is 0 while it is written. Readers come when the trace is off. Somebody may still be writing one
 * record then, in the place behind the last one, where the oldest lies, which is therefore left out.
 *
 * Rings are mapped at their largest size and never unmapped: a writer may be late. What a trace used of them goes back
 * to the system when it is freed.
 *
 * A worker that came into being during the trace has no ring and uses the shared one. Rejected: one ring for all, whose
 * counter every switch of every thread would contend for.
 *
 * Invariants
 *   T1  A ring that a writer has seen stays mapped; only its size in use (mask) changes, between traces.
 *   T2  Records are relaxed atomic words, so that a torn one is wrong and not undefined.
 *
 * Lock: trace.lock serialises start, stop, each and free; nothing else is locked under it.
 */
#include "trace_rings.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scheduler.h"

struct record {
    _Atomic(uint64_t) ticks, id, other;
    _Atomic(uint64_t) what; /* kind | detail << 8 | (p + 1) << 32 | (thread + 1) << 48 */
};

struct gri_trace_ring {
    _Alignas(GRI_CACHE_LINE) _Atomic(uint64_t) next; /* records so far */
    _Atomic(uint64_t) mask;
    _Alignas(GRI_CACHE_LINE) struct record record[GR_TRACE_RECORDS_MAX];
};

static struct {
    pthread_mutex_t lock;
    bool running;
    uint64_t start_ticks, start_ns;
    _Atomic(struct gri_trace_ring *) shared;
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

_Atomic(uint32_t) gri_trace_on;

/* ---- Writing ------------------------------------------------------------------------------------- */

static void fill(struct record *r, uint64_t id, uint64_t other, uint64_t what)
{
    /* T2. The time is 0 meanwhile, so that a reader of the shared ring does not take half a record. */
    atomic_store_explicit(&r->ticks, 0, memory_order_relaxed);
    atomic_store_explicit(&r->id, id, memory_order_relaxed);
    atomic_store_explicit(&r->other, other, memory_order_relaxed);
    atomic_store_explicit(&r->what, what, memory_order_relaxed);
    /* release; pairs with the acquire in hand_out. */
    atomic_store_explicit(&r->ticks, arch_ticks(), memory_order_release);
}

/* Noinline, so that no caller keeps the thread's address over a switch. */
__attribute__((noinline)) void gri_trace_write(enum gr_trace_kind kind, uint64_t id,
                                               unsigned detail, uint64_t other)
{
    struct gr_m *m = gri_m();
    struct gr_p *p = m ? (m->p ? m->p : m->old_p) : NULL;
    uint64_t what = (uint64_t)kind | (uint64_t)(detail & 0xff) << 8 |
                    (p ? (uint64_t)(p->index + 1) << 32 : 0) |
                    (m ? (uint64_t)(uint16_t)(m->index + 1) << 48 : 0);
    /* acquire; pairs with ring_of: the ring is made. */
    struct gri_trace_ring *ring = m ? atomic_load_explicit(&m->trace, memory_order_acquire) : NULL;
    struct gr_g *self = m ? atomic_load_explicit(&m->curg, memory_order_relaxed) : NULL;
    uint64_t at, mask;

    if (kind == GR_TRACE_READY && self) /* who wakes */
        other = atomic_load_explicit(&self->id, memory_order_relaxed);
    if (ring) {
        /* relaxed: this thread alone writes it. release; pairs with hand_out_ring: the record is there. */
        at = atomic_load_explicit(&ring->next, memory_order_relaxed);
        mask = atomic_load_explicit(&ring->mask, memory_order_relaxed);
        fill(&ring->record[at & mask], id, other, what);
        atomic_store_explicit(&ring->next, at + 1, memory_order_release);
        return;
    }
    ring = atomic_load_explicit(&trace.shared, memory_order_acquire);
    if (!ring)
        return;
    at = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed);
    mask = atomic_load_explicit(&ring->mask, memory_order_relaxed);
    fill(&ring->record[at & mask], id, other, what);
}

/* ---- Rings --------------------------------------------------------------------------------------- */

/* The ring behind `place`, made if need be, empty, for so many records. False: no memory. */
static bool ring_prepare(_Atomic(struct gri_trace_ring *) *place, size_t records)
{
    struct gri_trace_ring *ring = atomic_load_explicit(place, memory_order_relaxed);

    if (!ring) {
        ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (ring == MAP_FAILED)
            return false;
    }
    /* relaxed: a late writer of the trace before spoils one record (T2). */
    atomic_store_explicit(&ring->next, 0, memory_order_relaxed);
    atomic_store_explicit(&ring->mask, records - 1, memory_order_relaxed);
    /* release; pairs with gri_trace_write. */
    atomic_store_explicit(place, ring, memory_order_release);
    return true;
}

static struct gr_m *thread_at(uint32_t index)
{
    /* acquire; pairs with thread_create. */
    return atomic_load_explicit(&gri_sched.m[index], memory_order_acquire);
}

static uint32_t thread_count(void)
{
    uint32_t count = atomic_load_explicit(&gri_sched.m_count, memory_order_acquire);

    return count < GR_TRACE_THREADS_MAX ? count : GR_TRACE_THREADS_MAX;
}

static int rings_prepare(size_t records)
{
    if (!ring_prepare(&trace.shared, records))
        return -ENOMEM;
    for (uint32_t i = 0; i < thread_count(); i++) {
        struct gr_m *m = thread_at(i);

        if (m && !ring_prepare(&m->trace, records))
            return -ENOMEM;
    }
    return 0;
}

typedef void ring_fn(struct gri_trace_ring *ring, void *arg);

static void rings_each(ring_fn *fn, void *arg)
{
    struct gri_trace_ring *ring = atomic_load_explicit(&trace.shared, memory_order_relaxed);

    if (ring)
        fn(ring, arg);
    for (uint32_t i = 0; i < thread_count(); i++) {
        struct gr_m *m = thread_at(i);

        ring = m ? atomic_load_explicit(&m->trace, memory_order_relaxed) : NULL;
        if (ring)
            fn(ring, arg);
    }
}

/* ---- A trace ------------------------------------------------------------------------------------- */

int gr_trace_start(size_t records)
{
    size_t size = GR_TRACE_RECORDS_MIN;
    int error = 0;

    if (records < GR_TRACE_RECORDS_MIN || records > GR_TRACE_RECORDS_MAX)
        return -EINVAL;
    while (size < records)
        size *= 2;
    pthread_mutex_lock(&trace.lock);
    error = trace.running ? -EBUSY : rings_prepare(size);
    if (!error) {
        trace.running = true;
        trace.start_ns = gri_now_ns();
        trace.start_ticks = arch_ticks();
        atomic_store_explicit(&gri_trace_on, 1, memory_order_release);
    }
    pthread_mutex_unlock(&trace.lock);
    return error;
}

void gr_trace_stop(void)
{
    pthread_mutex_lock(&trace.lock);
    atomic_store_explicit(&gri_trace_on, 0, memory_order_release);
    trace.running = false;
    pthread_mutex_unlock(&trace.lock);
}

struct each {
    gr_trace_fn *fn;
    void *arg;
    uint64_t lost;
};

static void hand_out(const struct record *r, struct each *each)
{
    /* acquire; pairs with fill. */
    uint64_t ticks = atomic_load_explicit(&r->ticks, memory_order_acquire);
    uint64_t what = atomic_load_explicit(&r->what, memory_order_relaxed);
    struct gr_trace_record record = {
        .id = atomic_load_explicit(&r->id, memory_order_relaxed),
        .other = atomic_load_explicit(&r->other, memory_order_relaxed),
        .kind = (enum gr_trace_kind)(what & 0xff),
        .detail = (unsigned)(what >> 8 & 0xff),
        .thread = (int)(what >> 48) - 1,
        .p = (int)(what >> 32 & 0xffff) - 1,
    };

    if (ticks < trace.start_ticks || record.kind >= GR_TRACE_KINDS)
        return; /* not written, or left behind by a trace before */
    record.at_ns = trace.start_ns + gri_ticks_to_ns(ticks - trace.start_ticks);
    each->fn(each->arg, &record);
}

static void hand_out_ring(struct gri_trace_ring *ring, void *arg)
{
    struct each *each = arg;
    /* acquire; pairs with gri_trace_write. */
    uint64_t next = atomic_load_explicit(&ring->next, memory_order_acquire);
    uint64_t mask = atomic_load_explicit(&ring->mask, memory_order_relaxed);
    uint64_t first =
        next > mask ? next - mask : 0; /* one less than there are places: the essay says why */

    each->lost += first;
    for (uint64_t at = first; at < next; at++)
        hand_out(&ring->record[at & mask], each);
}

uint64_t gr_trace_each(gr_trace_fn *fn, void *arg)
{
    struct each each = {fn, arg, 0};

    pthread_mutex_lock(&trace.lock);
    if (!trace.running)
        rings_each(hand_out_ring, &each);
    pthread_mutex_unlock(&trace.lock);
    return each.lost;
}

static void give_back(struct gri_trace_ring *ring, void *arg)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t lo = ((uintptr_t)ring->record + page - 1) & ~(page - 1);

    atomic_store_explicit(&ring->next, 0, memory_order_relaxed);
    madvise((void *)lo, ((uintptr_t)(ring + 1) & ~(page - 1)) - lo, MADV_DONTNEED);
}

void gr_trace_free(void)
{
    pthread_mutex_lock(&trace.lock);
    if (!trace.running)
        rings_each(give_back, NULL);
    pthread_mutex_unlock(&trace.lock);
}

const char *gr_trace_reason(unsigned detail)
{
    return detail < GRI_WAITS ? gri_wait_name((enum gri_wait)detail) : "";
}
