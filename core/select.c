/*
 * select.c: one goroutine waits on several channels.
 *
 * A select locks its channels in address order and, having found nothing ready, keeps all locks until the
 * goroutine is WAITING, so that no wake-up can fall in between. Each case has a chan_waiter in its channel's list; all
 * share one gri_waiter, for which the wakers race.
 *
 * The records lie on the waiter's stack, or, if that is private and may be folded, in a block apart from it, together with
 * the cases as others are shown them (waits.c) and slots for the elements; the waiter copies its element out when it runs.
 *
 * Rejected: unlocking the channels before the goroutine waits, and looking again after it. A case that became ready in
 * between would have to be found by a second round of all locks.
 *
 * Locks: channel locks in address order; under them g->meta_lock of a waiter is never taken.
 */
#include "chan.h"

#include <stdlib.h>

/* What others are shown of a select that waits: the object of its wait. */
struct shown {
    struct gr_select_case *cases;
    size_t count;
};

struct selection {
    struct shown all;
    struct gr_chan *order[GR_SELECT_CASES_MAX]; /* distinct channels by address */
    size_t channels;
};

static void sort_channels(struct selection *s)
{
    s->channels = 0;
    for (size_t i = 0; i < s->all.count; i++) {
        struct gr_chan *chan = s->all.cases[i].chan;
        size_t at = s->channels;

        if (!chan)
            continue;
        while (at > 0 && s->order[at - 1] > chan)
            at--;
        if (at > 0 && s->order[at - 1] == chan)
            continue;
        memmove(&s->order[at + 1], &s->order[at], (s->channels - at) * sizeof s->order[0]);
        s->order[at] = chan;
        s->channels++;
    }
}

static void lock_channels(struct selection *s)
{
    for (size_t i = 0; i < s->channels; i++)
        gri_lock(&s->order[i]->lock);
}

static void unlock_channels(struct selection *s)
{
    for (size_t i = s->channels; i-- > 0;)
        gri_unlock(&s->order[i]->lock);
}

static bool commit_unlock_channels(struct gr_g *g, void *arg)
{
    /* A copy: with the first unlock the goroutine, and the original on its stack, may go on. */
    struct selection s = *(struct selection *)arg;

    unlock_channels(&s);
    return true;
}

/* The index of a case that went on, starting the search at a random one; -EAGAIN: none can. */
static int select_ready(struct selection *s, struct gr_g *g, struct gr_g **wake)
{
    size_t start = (size_t)(arch_ticks() >> 4) % s->all.count;

    for (size_t n = 0; n < s->all.count; n++) {
        size_t i = (start + n) % s->all.count;
        struct gr_select_case *c = &s->all.cases[i];

        if (!c->chan)
            continue;
        c->result = gri_chan_try(c->chan, g, c->op, c->elem, wake);
        if (c->result != -EAGAIN)
            return (int)i;
    }
    return -EAGAIN;
}

/* What a select leaves where others find it while it waits. */
struct records {
    struct gri_waiter *waiter;
    struct chan_waiter *cw; /* one a case */
    struct shown *shown;
    uint8_t *slot; /* for the elements that lie on a private stack; NULL: they stay there */
};

/* Fills and links the records; all channels are locked. */
static void select_link(struct gr_g *g, const struct selection *s, const struct records *r)
{
    uint8_t *slot = r->slot;

    for (size_t i = 0; i < s->all.count; i++) {
        struct gr_select_case *c = &s->all.cases[i];
        struct chan_waiter *cw = &r->cw[i];

        *cw = (struct chan_waiter){
            .waiter = r->waiter, .chan = c->chan, .elem = c->elem, .index = (int)i};
        if (!c->chan)
            continue;
        if (slot && gri_on_stack_of(g, c->elem)) {
            cw->elem = slot;
            slot += c->chan->elem_bytes;
            if (c->op == GR_SELECT_SEND)
                gri_chan_copy_elem(c->chan, cw->elem, c->elem);
        }
        gri_chan_link(gri_chan_list(c->chan, c->op), cw);
    }
}

static void select_unlink(struct selection *s, struct chan_waiter *cw)
{
    lock_channels(s);
    for (size_t i = 0; i < s->all.count; i++) {
        if (cw[i].chan)
            gri_chan_unlink(gri_chan_list(cw[i].chan, s->all.cases[i].op), &cw[i]);
    }
    unlock_channels(s);
}

/* All channels are locked, none has something: waits. The case's index, -EAGAIN (time-out), -ECANCELED. */
static int select_in(struct gr_g *g, struct selection *s, int64_t timeout_ns,
                     const struct records *r)
{
    uint64_t deadline = timeout_ns < 0 ? 0 : gri_now_ns() + (uint64_t)timeout_ns;
    struct chan_waiter *chosen;
    struct gr_select_case *c;
    int result;

    /* careful: without channels there is no lock that the woken goroutine has to pass */
    *r->waiter = (struct gri_waiter){.careful = s->channels == 0};
    select_link(g, s, r);
    result = gri_wait(r->waiter, GRI_WAIT_SELECT, r->shown, deadline, commit_unlock_channels, s);
    select_unlink(s, r->cw);
    if (result == -ETIMEDOUT || result == -ECANCELED)
        return result == -ETIMEDOUT ? -EAGAIN : result;
    chosen = r->waiter->payload;
    c = &s->all.cases[chosen->index];
    c->result = result;
    if (result == 0 && c->op == GR_SELECT_RECV && chosen->elem != c->elem)
        gri_chan_copy_elem(c->chan, c->elem, chosen->elem);
    return chosen->index;
}

/* Noinline: a stack that is to be folded does not carry these. */
__attribute__((noinline)) static int select_on_stack(struct gr_g *g, struct selection *s,
                                                     int64_t timeout_ns)
{
    struct chan_waiter cw[GR_SELECT_CASES_MAX];
    struct gri_waiter waiter;
    struct records records = {&waiter, cw, &s->all, NULL};

    return select_in(g, s, timeout_ns, &records);
}

/* The same for a private stack, in one block. */
struct apart_select {
    struct shown shown;
    struct gr_select_case cases[];
};

static int select_apart(struct gr_g *g, struct selection *s, int64_t timeout_ns)
{
    size_t count = s->all.count, elems = 0;
    struct gri_waiter local, *waiter = GRI_WAIT_RECORD(g, struct gri_waiter, &local);
    struct apart_select *block;
    struct chan_waiter *cw;
    int result;

    for (size_t i = 0; i < count; i++) {
        if (s->all.cases[i].chan && gri_on_stack_of(g, s->all.cases[i].elem))
            elems += s->all.cases[i].chan->elem_bytes;
    }
    block = malloc(sizeof *block + count * (sizeof block->cases[0] + sizeof *cw) + elems + 1);
    if (!block) /* everything stays on the stack, which is then not folded */
        return select_on_stack(g, s, timeout_ns);
    cw = (struct chan_waiter *)&block->cases[count];
    block->shown = (struct shown){block->cases, count};
    if (count > 0)
        memcpy(block->cases, s->all.cases, count * sizeof block->cases[0]);
    result = select_in(g, s, timeout_ns,
                       &(struct records){waiter, cw, &block->shown, (uint8_t *)&cw[count]});
    free(block);
    return result;
}

static int select_wait(struct gr_g *g, struct selection *s, int64_t timeout_ns)
{
    return g->apart ? select_apart(g, s, timeout_ns) : select_on_stack(g, s, timeout_ns);
}

int gr_select(struct gr_select_case *cases, size_t count, int64_t timeout_ns)
{
    struct selection s = {.all = {cases, count}};
    struct gr_g *wake = NULL, *g = gri_self();
    int index;

    if (!g)
        return -EPERM;
    gri_give_way(g, GRI_CALLER);
    if (count > GR_SELECT_CASES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (cases[i].chan && cases[i].op != GR_SELECT_SEND && cases[i].op != GR_SELECT_RECV)
            return -EINVAL;
    }
    if (count == 0)
        return timeout_ns == 0  ? -EAGAIN
               : timeout_ns > 0 ? (gr_sleep_ns((uint64_t)timeout_ns) ? -ECANCELED : -EAGAIN)
                                : select_wait(g, &s, -1);
    sort_channels(&s);
    lock_channels(&s);
    index = select_ready(&s, g, &wake);
    if (index == -EAGAIN && timeout_ns != 0) {
        atomic_store_explicit(&g->pc_hint, GRI_CALLER, memory_order_relaxed);
        return select_wait(g, &s, timeout_ns);
    }
    unlock_channels(&s);
    if (wake)
        gri_ready(wake);
    return index;
}

/* ---- What waits.c is told (core.h) ---------------------------------------------------------------- */

size_t gri_select_peek(uint64_t address, struct gr_wait_object *objects, size_t max)
{
    struct gr_select_case cases[GR_SELECT_CASES_MAX];
    struct shown s;
    size_t found = 0, bytes;

    if (gri_memory_read(address, &s, sizeof s) != sizeof s || s.count > GR_SELECT_CASES_MAX)
        return 0;
    bytes = s.count * sizeof cases[0];
    if (gri_memory_read((uint64_t)(uintptr_t)s.cases, cases, bytes) != bytes)
        return 0;
    for (size_t i = 0; i < s.count && found < max; i++) {
        struct gr_wait_object *object = &objects[found];

        *object = (struct gr_wait_object){0};
        if (!cases[i].chan || !gri_chan_peek((uint64_t)(uintptr_t)cases[i].chan, object))
            continue;
        object->op = cases[i].op == GR_SELECT_SEND ? GR_WAIT_OP_SEND : GR_WAIT_OP_RECV;
        found++;
    }
    return found;
}
