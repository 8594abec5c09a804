/*
 * runq.c: run queues: one ring and one "next" slot a processor, and two global lists.
 *
 * The ring is in ring.h. A full ring sends half of itself to the global list. What was just born or woken goes to `next`
 * and runs before the ring, within the slice of whoever it replaces; the one it pushes out goes to the ring's end.
 *
 * Rejected: one locked queue. At two processors it costs 40 ns a yield, at sixteen it is the bottleneck.
 *
 * Invariants
 *   Q1, Q2  of the ring: ring.h.
 *   Q3  sched.lock guards the global lists; their length together is also readable without.
 */
#include "scheduler.h"

static void push_to(struct gri_global_list *list, struct gr_g *head, struct gr_g *tail,
                    uint32_t count)
{
    gri_lock(&gri_sched.lock);
    if (list->tail)
        list->tail->queue_next = head;
    else
        list->head = head;
    list->tail = tail;
    /* relaxed: written under the lock; readers without it follow a fence or look again. */
    atomic_fetch_add_explicit(&gri_sched.queue_length, count, memory_order_relaxed);
    gri_unlock(&gri_sched.lock);
}

/* Half of a full ring and g go to the global list. */
static void ring_spill(struct gr_p *p, struct gr_g *g)
{
    struct gr_g *head = NULL, *tail = NULL, *one;
    uint32_t count = 0;

    while (count < GRI_RUNQ_SLOTS / 2 && (one = gri_ring_pop(&p->ring))) {
        one->queue_next = NULL;
        if (tail)
            tail->queue_next = one;
        else
            head = one;
        tail = one;
        count++;
    }
    g->queue_next = NULL;
    if (tail)
        tail->queue_next = g;
    else
        head = g;
    push_to(&gri_sched.queue, head, g, count + 1);
}

void gri_runq_push(struct gr_p *p, struct gr_g *g)
{
    if (!gri_ring_push(&p->ring, g))
        ring_spill(p, g);
}

/* True: it is all that waits for p. */
static bool push_next(struct gr_p *p, struct gr_g *g, uint64_t ticks)
{
    struct gr_g *old;

    /* relaxed: a heuristic of thieves and monitor. When the runner began is near enough and costs no clock read. */
    atomic_store_explicit(&p->next_since, ticks, memory_order_relaxed);
    /*
     * seq_cst; pairs with the exchange of owner or thief (exactly one takes it, and sees its fields), and, as
     * the store before the loads in gri_wake_one and gri_monitor_work, with the looks of go_idle and monitor.
     */
    old = atomic_exchange_explicit(&p->next, g, memory_order_seq_cst);
    if (old)
        gri_runq_push(p, old);
    /* relaxed: a thief may have emptied it. */
    return !old && atomic_load_explicit(&p->ring.head, memory_order_relaxed) ==
                       atomic_load_explicit(&p->ring.tail, memory_order_relaxed);
}

/*
 * By the owner, who has just popped: asks the caches for what the next two will need, while the one that was popped runs. Of
 * thousands of goroutines neither slot nor stack is in any.
 */
static void fetch_ahead(struct gri_ring *ring)
{
    /* relaxed, all: whoever was taken meanwhile is fetched in vain. A slot is never given back, so it may be read. */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&ring->tail, memory_order_relaxed) - head;

    if (count < 2 || count > GRI_RUNQ_SLOTS)
        return;
    gri_fetch_stack(atomic_load_explicit(&ring->slot[head % GRI_RUNQ_SLOTS], memory_order_relaxed));
    gri_fetch_slot(
        atomic_load_explicit(&ring->slot[(head + 1) % GRI_RUNQ_SLOTS], memory_order_relaxed));
}

struct gr_g *gri_runq_pop(struct gr_p *p)
{
    struct gr_g *g = NULL;

    /* relaxed look first: an exchange on an empty slot would cost on every round. */
    if (atomic_load_explicit(&p->next, memory_order_relaxed))
        /* acq_rel, as all who take; pairs with push_next and push_foreign_next: g's fields are seen. */
        g = atomic_exchange_explicit(&p->next, NULL, memory_order_acq_rel);
    p->inherit = g != NULL;
    if (g)
        return g;
    g = gri_ring_pop(&p->ring);
    if (g)
        fetch_ahead(&p->ring);
    return g;
}

bool gri_runq_empty(const struct gr_p *p)
{
    /* seq_cst next; pairs with push_next. The ring relaxed: only the owner pushes, and finds what a look here misses. */
    return atomic_load_explicit(&p->ring.head, memory_order_relaxed) ==
               atomic_load_explicit(&p->ring.tail, memory_order_relaxed) &&
           !atomic_load_explicit(&p->next, memory_order_seq_cst);
}

struct gr_g *gri_runq_steal(struct gr_p *thief, struct gr_p *victim, bool take_next)
{
    struct gr_g *batch[GRI_RUNQ_SLOTS / 2];
    uint32_t count = gri_ring_take(&victim->ring, batch, GRI_RUNQ_SLOTS / 2);

    for (uint32_t i = 1; i < count; i++)
        gri_runq_push(thief, batch[i]);
    if (count > 0)
        return batch[0];
    /* acq_rel; as in gri_runq_pop. */
    return take_next ? atomic_exchange_explicit(&victim->next, NULL, memory_order_acq_rel) : NULL;
}

/* ---- The global lists ---------------------------------------------------------------------------- */

/*
 * There are two lists. Who woke up and found every next slot taken would, behind thousands that only compute, wait for
 * seconds: a slice of each. Such goroutines are in a list of their own, and the two have turns: one of each in two, so that
 * neither starves the other whatever its length. A newborn is not among them, since thousands may be born at once.
 * Rejected: a place at the queue's head, where the last to come would go first.
 */
void gri_global_push(struct gr_g *g, bool woken)
{
    g->queue_next = NULL;
    push_to(woken ? &gri_sched.woken : &gri_sched.queue, g, g, 1);
}

/* For the next two takes, as fetch_ahead: this one's slot was fetched when it was the second. */
static void fetch_first(const struct gr_g *head)
{
    gri_fetch_stack(head);
    if (head->queue_next)
        gri_fetch_slot(head->queue_next);
}

/* sched.lock held. */
static struct gr_g *take_first(struct gri_global_list *list)
{
    struct gr_g *g = list->head;

    list->head = g->queue_next;
    if (!list->head)
        list->tail = NULL;
    else
        fetch_first(list->head);
    g->queue_next = NULL;
    return g;
}

/* sched.lock held: a processor's share, up to `most`; all but the first in *rest. Returns how many. */
static uint32_t take_share(struct gri_global_list *list, uint32_t most, struct gr_g **first,
                           struct gr_g **rest)
{
    /* relaxed: written under the lock. */
    uint32_t length = atomic_load_explicit(&gri_sched.queue_length, memory_order_relaxed);
    uint32_t share = length / atomic_load_explicit(&gri_sched.procs, memory_order_relaxed) + 1;
    struct gr_g **end = rest;
    uint32_t taken = 1;

    *first = take_first(list);
    for (; taken < share && taken < most && list->head; taken++) {
        *end = take_first(list);
        end = &(*end)->queue_next;
    }
    return taken;
}

struct gr_g *gri_global_pop(struct gr_p *p, uint32_t most)
{
    struct gr_g *first = NULL, *rest = NULL;
    uint32_t taken = 0;

    /* relaxed: zero now may be stale by the next round, which looks again. */
    if (atomic_load_explicit(&gri_sched.queue_length, memory_order_relaxed) == 0)
        return NULL;
    gri_lock(&gri_sched.lock);
    p->woken_had = gri_sched.woken.head && (!p->woken_had || !gri_sched.queue.head);
    if (p->woken_had) /* one, if others compute: in p's ring it would be behind those */
        taken = take_share(&gri_sched.woken, gri_sched.queue.head ? 1 : most, &first, &rest);
    else if (gri_sched.queue.head)
        taken = take_share(&gri_sched.queue, most, &first, &rest);
    atomic_fetch_sub_explicit(&gri_sched.queue_length, taken, memory_order_relaxed);
    gri_unlock(&gri_sched.lock);
    while (rest) {
        struct gr_g *g = rest;

        rest = g->queue_next;
        gri_runq_push(p, g);
    }
    return first;
}

void gri_runq_rescue(struct gr_p *p)
{
    /* acq_rel; as in gri_runq_pop. */
    struct gr_g *g = atomic_exchange_explicit(&p->next, NULL, memory_order_acq_rel);
    uint32_t count = g != NULL;

    if (g) /* it was about to run */
        gri_enqueue_global(g, true);
    /* Bounded: the owner may push meanwhile. */
    while (count++ < GRI_RUNQ_SLOTS && gri_ring_take(&p->ring, &g, 1) == 1)
        gri_enqueue_global(g, false);
}

/* ---- Enqueueing ---------------------------------------------------------------------------------- */

/* p was given something while it was being retired: back to where everybody looks. */
static void take_back_next(struct gr_p *p)
{
    /* acq_rel; as in gri_runq_pop. */
    struct gr_g *g = atomic_exchange_explicit(&p->next, NULL, memory_order_acq_rel);

    if (g) /* else somebody has it already */
        gri_enqueue_global(g, true);
}

/* From a thread without a processor, all of them busy: into an empty next slot, where the monitor will see it. */
static bool push_foreign_next(struct gr_g *g)
{
    uint32_t procs = atomic_load_explicit(&gri_sched.procs, memory_order_relaxed);

    if (atomic_load_explicit(&gri_sched.idle_p_count, memory_order_relaxed) > 0)
        return false;
    for (uint32_t i = 0; i < procs; i++) {
        struct gr_p *p = gri_processor(i);
        struct gr_g *none = NULL;

        if (atomic_load_explicit(&p->status, memory_order_relaxed) != GRI_P_RUNNING ||
            atomic_load_explicit(&p->next, memory_order_relaxed))
            continue;
        atomic_store_explicit(&p->next_since, arch_ticks(), memory_order_relaxed);
        /* seq_cst; as in push_next. */
        if (!atomic_compare_exchange_strong_explicit(&p->next, &none, g, memory_order_seq_cst,
                                                     memory_order_relaxed))
            continue;
        /* seq_cst; pairs with set_procs: whoever retires p saw our g, or we see that p goes. */
        if (p->index >= atomic_load_explicit(&gri_sched.procs, memory_order_seq_cst))
            take_back_next(p);
        return true;
    }
    return false;
}

void gri_enqueue_global(struct gr_g *g, bool woken)
{
    gri_global_push(g, woken);
    /* seq_cst; pairs with the fence in go_idle: it sees the global queue's length, or we see an idle p. */
    atomic_thread_fence(memory_order_seq_cst);
    gri_wake_one();
    gri_monitor_work();
}

void gri_enqueue(struct gr_g *g, bool woken)
{
    struct gr_m *m = gri_m();

    if (!m || !m->p) {
        if (!push_foreign_next(g)) {
            gri_enqueue_global(g, woken);
            return;
        }
    } else if (push_next(m->p, g, m->ticks) && gri_wake_in_vain()) {
        gri_monitor_work();
        return;
    }
    gri_wake_one();
    gri_monitor_work();
}
