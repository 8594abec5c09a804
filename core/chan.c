/*
 * chan.c: channels and select, as Go's: direct hand-over to whoever waits, a ring for the rest.
 *
 * Everybody who waits has a chan_waiter in the channel's list; those of one select share one gri_waiter,
 * for which all wakers race (park.c). Whoever takes a waiter off a list and wins it copies the element and
 * readies the goroutine; one that was won by someone else (another case, the timer, a canceller) is passed over.
 *
 * A select locks its channels in address order and, having found nothing ready, keeps all locks until the
 * goroutine is WAITING, so that no wake-up can fall in between.
 *
 * Invariants
 *   C1  Waiters and ring are touched under the channel's lock only.
 *   C2  If somebody waits to receive, the ring is empty; if somebody waits to send, it is full.
 *   C3  Every channel is in the registry from its creation until its destruction, so that an address can be
 *       told to be a channel's. The ids of its last users are kept for people: one store an operation.
 *
 * Locks: channel locks in address order; under them g->meta_lock of a waiter is never taken. A registry
 * bucket's lock: nothing is taken under it.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

#define ELEM_BYTES_MAX 65536

struct chan_waiter {
    struct gri_waiter *waiter;
    struct gr_chan *chan;
    void *elem;
    struct chan_waiter *next, *prev;
    bool linked;
    int index; /* of the select case */
};

struct wait_list {
    struct chan_waiter *head, *tail;
};

struct gr_chan {
    struct gri_lock lock;
    bool closed;
    size_t elem_bytes, capacity, count, first;
    uint64_t last_sender, last_receiver; /* goroutine ids; 0: nobody yet, or no goroutine */
    struct wait_list senders, receivers;
    struct gr_chan *registry_next, **registry_link; /* the bucket's lock */
    uint8_t ring[];
};

/* ---- The registry -------------------------------------------------------------------------------- */

#define BUCKETS 256u

static struct bucket {
    struct gri_lock lock;
    struct gr_chan *first;
} registry[BUCKETS];

static struct bucket *bucket_of(const struct gr_chan *chan)
{
    uint64_t hash = (uint64_t)(uintptr_t)chan * UINT64_C(0x9e3779b97f4a7c15);

    return &registry[hash >> 56];
}

static void registry_add(struct gr_chan *chan)
{
    struct bucket *b = bucket_of(chan);

    gri_lock(&b->lock);
    chan->registry_next = b->first;
    chan->registry_link = &b->first;
    if (b->first)
        b->first->registry_link = &chan->registry_next;
    b->first = chan;
    gri_unlock(&b->lock);
}

static void registry_remove(struct gr_chan *chan)
{
    struct bucket *b = bucket_of(chan);

    gri_lock(&b->lock);
    *chan->registry_link = chan->registry_next;
    if (chan->registry_next)
        chan->registry_next->registry_link = chan->registry_link;
    gri_unlock(&b->lock);
}

void gri_chan_each(gri_object_fn *fn, void *arg)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        gri_lock(&registry[i].lock);
        for (struct gr_chan *chan = registry[i].first; chan; chan = chan->registry_next)
            fn(arg, (uint64_t)(uintptr_t)chan, sizeof *chan + chan->capacity * chan->elem_bytes);
        gri_unlock(&registry[i].lock);
    }
}

/* ---- Life ---------------------------------------------------------------------------------------- */

struct gr_chan *gr_chan_create(size_t elem_bytes, size_t capacity)
{
    struct gr_chan *chan;
    size_t bytes;

    if (elem_bytes > ELEM_BYTES_MAX || __builtin_mul_overflow(elem_bytes, capacity, &bytes) ||
        __builtin_add_overflow(bytes, sizeof *chan, &bytes))
        return NULL;
    chan = malloc(bytes);
    if (!chan)
        return NULL;
    memset(chan, 0, sizeof *chan);
    chan->elem_bytes = elem_bytes;
    chan->capacity = capacity;
    registry_add(chan);
    return chan;
}

void gr_chan_destroy(struct gr_chan *chan)
{
    if (!chan)
        return;
    if (chan->senders.head || chan->receivers.head)
        GR_PANIC("a channel is destroyed while goroutines wait on it");
    registry_remove(chan);
    free(chan);
}

/* ---- Waiters ------------------------------------------------------------------------------------- */

static void link_waiter(struct wait_list *list, struct chan_waiter *cw)
{
    cw->next = NULL;
    cw->prev = list->tail;
    if (list->tail)
        list->tail->next = cw;
    else
        list->head = cw;
    list->tail = cw;
    cw->linked = true;
}

static void unlink_waiter(struct wait_list *list, struct chan_waiter *cw)
{
    if (!cw->linked)
        return;
    if (cw->prev)
        cw->prev->next = cw->next;
    else
        list->head = cw->next;
    if (cw->next)
        cw->next->prev = cw->prev;
    else
        list->tail = cw->prev;
    cw->linked = false;
}

/* The first waiter that can still be won; it is off the list and ours. */
static struct chan_waiter *win_first(struct wait_list *list, int result)
{
    struct chan_waiter *cw;

    while ((cw = list->head)) {
        unlink_waiter(list, cw);
        if (gri_waiter_win(cw->waiter, result)) {
            cw->waiter->payload = cw;
            return cw;
        }
    }
    return NULL;
}

/* ---- The four operations, channel locked ----------------------------------------------------------- */

static uint8_t *ring_slot(struct gr_chan *chan, size_t index)
{
    return chan->ring + (chan->first + index) % chan->capacity * chan->elem_bytes;
}

static void copy_elem(const struct gr_chan *chan, void *to, const void *from)
{
    if (to && chan->elem_bytes)
        memcpy(to, from, chan->elem_bytes);
}

static uint64_t id_of(const struct gr_g *g)
{
    /* relaxed: it is the caller's own, or a waiter's that was won. */
    return g ? atomic_load_explicit(&g->id, memory_order_relaxed) : 0;
}

/* Whether g's send can go on: 0 or -EPIPE, and *wake is to be readied; -EAGAIN: it has to wait. */
static int send_locked(struct gr_chan *chan, struct gr_g *g, const void *elem, struct gr_g **wake)
{
    struct chan_waiter *receiver;

    *wake = NULL;
    if (chan->closed)
        return -EPIPE;
    receiver = win_first(&chan->receivers, 0);
    if (receiver) {
        copy_elem(chan, receiver->elem, elem);
        *wake = receiver->waiter->g;
        chan->last_sender = id_of(g);
        chan->last_receiver = id_of(*wake);
        return 0;
    }
    if (chan->count == chan->capacity)
        return -EAGAIN;
    chan->last_sender = id_of(g);
    copy_elem(chan, ring_slot(chan, chan->count), elem);
    chan->count++;
    return 0;
}

static int recv_locked(struct gr_chan *chan, struct gr_g *g, void *elem, struct gr_g **wake)
{
    struct chan_waiter *sender;

    *wake = NULL;
    if (chan->count > 0) {
        chan->last_receiver = id_of(g);
        copy_elem(chan, elem, ring_slot(chan, 0));
        chan->first = (chan->first + 1) % chan->capacity;
        chan->count--;
        sender = win_first(&chan->senders, 0);
        if (sender) { /* C2: there is room now */
            copy_elem(chan, ring_slot(chan, chan->count), sender->elem);
            chan->count++;
            *wake = sender->waiter->g;
            chan->last_sender = id_of(*wake);
        }
        return 0;
    }
    sender = win_first(&chan->senders, 0);
    if (sender) {
        copy_elem(chan, elem, sender->elem);
        *wake = sender->waiter->g;
        chan->last_sender = id_of(*wake);
        chan->last_receiver = id_of(g);
        return 0;
    }
    return chan->closed ? -EPIPE : -EAGAIN;
}

static int try_locked(struct gr_chan *chan, struct gr_g *g, enum gr_select_op op, void *elem,
                      struct gr_g **wake)
{
    return op == GR_SELECT_SEND ? send_locked(chan, g, elem, wake)
                                : recv_locked(chan, g, elem, wake);
}

static struct wait_list *list_of(struct gr_chan *chan, enum gr_select_op op)
{
    return op == GR_SELECT_SEND ? &chan->senders : &chan->receivers;
}

static int try_once(struct gr_chan *chan, enum gr_select_op op, void *elem)
{
    struct gr_g *g = gri_self(), *wake;
    int result;

    gri_lock(&chan->lock);
    result = try_locked(chan, g, op, elem, &wake);
    gri_unlock(&chan->lock);
    if (wake)
        gri_ready(wake);
    return result;
}

static int operate(struct gr_chan *chan, enum gr_select_op op, void *elem, uint64_t pc)
{
    struct gri_waiter waiter = {0};
    struct chan_waiter cw = {.waiter = &waiter, .chan = chan, .elem = elem};
    struct gr_g *g = gri_self(), *wake;
    int result;

    if (!g)
        return -EPERM;
    gri_lock(&chan->lock);
    result = try_locked(chan, g, op, elem, &wake);
    if (result != -EAGAIN) {
        gri_unlock(&chan->lock);
        if (wake)
            gri_ready(wake);
        return result;
    }
    link_waiter(list_of(chan, op), &cw);
    atomic_store_explicit(&g->pc_hint, pc, memory_order_relaxed);
    result = gri_wait(&waiter, op == GR_SELECT_SEND ? GRI_WAIT_CHAN_SEND : GRI_WAIT_CHAN_RECV, chan,
                      0, gri_commit_unlock, &chan->lock);
    if (result == -ECANCELED) {
        gri_lock(&chan->lock);
        unlink_waiter(list_of(chan, op), &cw);
        gri_unlock(&chan->lock);
    }
    return result;
}

#define CALLER ((uint64_t)__builtin_return_address(0))

int gr_chan_send(struct gr_chan *chan, const void *elem)
{
    return operate(chan, GR_SELECT_SEND, (void *)elem, CALLER);
}

int gr_chan_recv(struct gr_chan *chan, void *elem)
{
    return operate(chan, GR_SELECT_RECV, elem, CALLER);
}

int gr_chan_try_send(struct gr_chan *chan, const void *elem)
{
    return try_once(chan, GR_SELECT_SEND, (void *)elem);
}

int gr_chan_try_recv(struct gr_chan *chan, void *elem)
{
    return try_once(chan, GR_SELECT_RECV, elem);
}

/* Readies everybody on a list with -EPIPE. */
static void wake_all(struct gr_chan *chan, struct wait_list *list)
{
    for (;;) {
        struct chan_waiter *cw;
        struct gr_g *g;

        gri_lock(&chan->lock);
        cw = win_first(list, -EPIPE);
        g = cw ? cw->waiter->g : NULL;
        gri_unlock(&chan->lock);
        if (!g)
            return;
        gri_ready(g);
    }
}

int gr_chan_close(struct gr_chan *chan)
{
    bool was_closed;

    gri_lock(&chan->lock);
    was_closed = chan->closed;
    chan->closed = true;
    gri_unlock(&chan->lock);
    if (was_closed)
        return -EPIPE;
    wake_all(chan, &chan->receivers);
    wake_all(chan, &chan->senders);
    return 0;
}

size_t gr_chan_len(struct gr_chan *chan)
{
    size_t count;

    gri_lock(&chan->lock);
    count = chan->count;
    gri_unlock(&chan->lock);
    return count;
}

/* ---- Select -------------------------------------------------------------------------------------- */

struct selection {
    struct gr_select_case *cases;
    size_t count;
    struct gr_chan *order[GR_SELECT_CASES_MAX]; /* distinct channels by address */
    size_t channels;
};

static void sort_channels(struct selection *s)
{
    s->channels = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct gr_chan *chan = s->cases[i].chan;
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
    size_t start = (size_t)(arch_ticks() >> 4) % s->count;

    for (size_t n = 0; n < s->count; n++) {
        size_t i = (start + n) % s->count;
        struct gr_select_case *c = &s->cases[i];

        if (!c->chan)
            continue;
        c->result = try_locked(c->chan, g, c->op, c->elem, wake);
        if (c->result != -EAGAIN)
            return (int)i;
    }
    return -EAGAIN;
}

static int select_wait(struct selection *s, int64_t timeout_ns)
{
    struct chan_waiter cw[GR_SELECT_CASES_MAX];
    struct gri_waiter waiter = {0};
    uint64_t deadline = timeout_ns < 0 ? 0 : gr_now_ns() + (uint64_t)timeout_ns;
    struct chan_waiter *chosen;
    int result;

    waiter.careful = s->channels == 0; /* there is no lock that the woken goroutine has to pass */
    for (size_t i = 0; i < s->count; i++) {
        struct gr_select_case *c = &s->cases[i];

        cw[i] = (struct chan_waiter){
            .waiter = &waiter, .chan = c->chan, .elem = c->elem, .index = (int)i};
        if (c->chan)
            link_waiter(list_of(c->chan, c->op), &cw[i]);
    }
    result = gri_wait(&waiter, GRI_WAIT_SELECT, s, deadline, commit_unlock_channels, s);
    lock_channels(s);
    for (size_t i = 0; i < s->count; i++) {
        if (cw[i].chan)
            unlink_waiter(list_of(cw[i].chan, s->cases[i].op), &cw[i]);
    }
    unlock_channels(s);
    if (result == -ETIMEDOUT)
        return -EAGAIN;
    if (result == -ECANCELED)
        return result;
    chosen = waiter.payload;
    s->cases[chosen->index].result = result;
    return chosen->index;
}

int gr_select(struct gr_select_case *cases, size_t count, int64_t timeout_ns)
{
    struct selection s = {.cases = cases, .count = count};
    struct gr_g *wake = NULL, *g = gri_self();
    int index;

    if (!g)
        return -EPERM;
    if (count > GR_SELECT_CASES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (cases[i].chan && cases[i].op != GR_SELECT_SEND && cases[i].op != GR_SELECT_RECV)
            return -EINVAL;
    }
    if (count == 0)
        return timeout_ns == 0  ? -EAGAIN
               : timeout_ns > 0 ? (gr_sleep_ns((uint64_t)timeout_ns) ? -ECANCELED : -EAGAIN)
                                : select_wait(&s, -1);
    sort_channels(&s);
    lock_channels(&s);
    index = select_ready(&s, g, &wake);
    if (index == -EAGAIN && timeout_ns != 0) {
        atomic_store_explicit(&g->pc_hint, CALLER, memory_order_relaxed);
        return select_wait(&s, timeout_ns);
    }
    unlock_channels(&s);
    if (wake)
        gri_ready(wake);
    return index;
}

/* ---- What waits.c is told (core.h) ---------------------------------------------------------------- */

bool gri_chan_peek(uint64_t address, struct gr_wait_object *object)
{
    struct gr_chan chan;

    if (gri_memory_read(address, &chan, sizeof chan) != sizeof chan)
        return false;
    object->kind = GR_OBJECT_CHANNEL;
    object->address = address;
    object->closed = chan.closed;
    object->length = chan.count;
    object->capacity = chan.capacity;
    object->last_sender = chan.last_sender;
    object->last_receiver = chan.last_receiver;
    return true;
}

size_t gri_select_peek(uint64_t address, struct gr_wait_object *objects, size_t max)
{
    struct gr_select_case cases[GR_SELECT_CASES_MAX];
    struct selection s;
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
