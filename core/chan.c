/*
 * chan.c: channels, as Go's: direct hand-over to whoever waits, a ring for the rest. select.c waits on several.
 *
 * Everybody who waits has a chan_waiter in the channel's list; those of one select share one gri_waiter,
 * for which all wakers race (park.c). Whoever takes a waiter off a list and wins it copies the element and
 * readies the goroutine; one that was won by someone else (another case, the timer, a canceller) is passed over.
 *
 * The records lie on the waiter's stack. Not so if that is private and may be folded: then records and elements are kept
 * apart from it (struct gri_apart), and the waiter copies its element out when it runs.
 *
 * Invariants
 *   C1  Waiters and ring are touched under the channel's lock only.
 *   C2  If somebody waits to receive, the ring is empty; if somebody waits to send, it is full.
 *   C3  Every channel is in the registry from its creation until its destruction, so that an address can be
 *       told to be a channel's, and is one for as long as its bucket is locked. The ids of its last users are
 *       kept for people: one store an operation.
 *
 * Locks: channel locks in address order; under them g->meta_lock of a waiter is never taken. Under a registry
 * bucket's lock one channel's lock is taken; never the other way round.
 */
#include "chan.h"

#include <stdlib.h>
#include <string.h>

#define ELEM_BYTES_MAX 65536

/* ---- The registry -------------------------------------------------------------------------------- */

/* A look at who waits for what finds a channel in a chain of some six where there are 100,000. */
#define BUCKET_BITS 14
#define BUCKETS     (1u << BUCKET_BITS)

static struct bucket {
    struct gri_lock lock;
    struct gr_chan *first;
} registry[BUCKETS];

static struct bucket *bucket_of(uint64_t address)
{
    uint64_t hash = address * UINT64_C(0x9e3779b97f4a7c15);

    return &registry[hash >> (64 - BUCKET_BITS)];
}

static void registry_add(struct gr_chan *chan)
{
    struct bucket *b = bucket_of((uint64_t)(uintptr_t)chan);

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
    struct bucket *b = bucket_of((uint64_t)(uintptr_t)chan);

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

    GRI_GIVE_WAY();
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
    GRI_GIVE_WAY();
    if (!chan)
        return;
    if (chan->senders.head || chan->receivers.head)
        GR_PANIC("a channel is destroyed while goroutines wait on it");
    registry_remove(chan);
    free(chan);
}

/* ---- Waiters ------------------------------------------------------------------------------------- */

void gri_chan_link(struct wait_list *list, struct chan_waiter *cw)
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

void gri_chan_unlink(struct wait_list *list, struct chan_waiter *cw)
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
        gri_chan_unlink(list, cw);
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
        gri_chan_copy_elem(chan, receiver->elem, elem);
        *wake = receiver->waiter->g;
        chan->last_sender = id_of(g);
        chan->last_receiver = id_of(*wake);
        return 0;
    }
    if (chan->count == chan->capacity)
        return -EAGAIN;
    chan->last_sender = id_of(g);
    gri_chan_copy_elem(chan, ring_slot(chan, chan->count), elem);
    chan->count++;
    return 0;
}

static int recv_locked(struct gr_chan *chan, struct gr_g *g, void *elem, struct gr_g **wake)
{
    struct chan_waiter *sender;

    *wake = NULL;
    if (chan->count > 0) {
        chan->last_receiver = id_of(g);
        gri_chan_copy_elem(chan, elem, ring_slot(chan, 0));
        chan->first = (chan->first + 1) % chan->capacity;
        chan->count--;
        sender = win_first(&chan->senders, 0);
        if (sender) { /* C2: there is room now */
            gri_chan_copy_elem(chan, ring_slot(chan, chan->count), sender->elem);
            chan->count++;
            *wake = sender->waiter->g;
            chan->last_sender = id_of(*wake);
        }
        return 0;
    }
    sender = win_first(&chan->senders, 0);
    if (sender) {
        gri_chan_copy_elem(chan, elem, sender->elem);
        *wake = sender->waiter->g;
        chan->last_sender = id_of(*wake);
        chan->last_receiver = id_of(g);
        return 0;
    }
    return chan->closed ? -EPIPE : -EAGAIN;
}

int gri_chan_try(struct gr_chan *chan, struct gr_g *g, enum gr_select_op op, void *elem,
                 struct gr_g **wake)
{
    return op == GR_SELECT_SEND ? send_locked(chan, g, elem, wake)
                                : recv_locked(chan, g, elem, wake);
}

static int try_once(struct gr_chan *chan, enum gr_select_op op, void *elem, uint64_t pc)
{
    struct gr_g *g = gri_self(), *wake;
    int result;

    gri_give_way(g, pc);
    gri_lock(&chan->lock);
    result = gri_chan_try(chan, g, op, elem, &wake);
    gri_unlock(&chan->lock);
    if (wake)
        gri_ready(wake);
    return result;
}

struct chan_wait {
    struct gri_waiter waiter;
    struct chan_waiter cw;
};

/*
 * Where the element of a wait lies while others may take or leave it: where it is, or, if that is a private stack, in a
 * slot that is not folded with it. NULL: there is no memory for one.
 */
static void *elem_slot(struct gr_g *g, void *elem, size_t bytes)
{
    if (!g->apart || !bytes || !gri_on_stack_of(g, elem))
        return elem;
    return bytes <= GRI_APART_ELEM ? g->apart->elem : malloc(bytes);
}

static void elem_slot_free(struct gr_g *g, void *slot, const void *elem)
{
    if (slot != elem && slot != g->apart->elem)
        free(slot);
}

/* The channel is locked and has nothing for us: waits in its list. */
static int wait_in(struct gr_chan *chan, enum gr_select_op op, void *elem, uint64_t pc,
                   struct gr_g *g)
{
    struct chan_wait local, *wait = GRI_WAIT_RECORD(g, struct chan_wait, &local);
    struct wait_list *list = gri_chan_list(chan, op);
    void *slot = elem ? elem_slot(g, elem, chan->elem_bytes) : NULL;
    int result;

    if (elem && !slot) { /* this once everything stays on the stack, which is then not folded */
        wait = &local;
        slot = elem;
    }
    if (slot != elem && op == GR_SELECT_SEND)
        memcpy(slot, elem, chan->elem_bytes);
    wait->waiter = (struct gri_waiter){0};
    wait->cw = (struct chan_waiter){.waiter = &wait->waiter, .chan = chan, .elem = slot};
    gri_chan_link(list, &wait->cw);
    atomic_store_explicit(&g->pc_hint, pc, memory_order_relaxed);
    result = gri_wait(&wait->waiter, op == GR_SELECT_SEND ? GRI_WAIT_CHAN_SEND : GRI_WAIT_CHAN_RECV,
                      chan, 0, gri_commit_unlock, &chan->lock);
    if (result == -ECANCELED) {
        gri_lock(&chan->lock);
        gri_chan_unlink(list, &wait->cw);
        gri_unlock(&chan->lock);
    }
    if (slot != elem && op == GR_SELECT_RECV && result == 0)
        memcpy(elem, slot, chan->elem_bytes);
    elem_slot_free(g, slot, elem);
    return result;
}

static int operate(struct gr_chan *chan, enum gr_select_op op, void *elem, uint64_t pc)
{
    struct gr_g *g = gri_self(), *wake;
    int result;

    if (!g)
        return -EPERM;
    gri_lock(&chan->lock);
    result = gri_chan_try(chan, g, op, elem, &wake);
    if (result == -EAGAIN) {
        result = wait_in(chan, op, elem, pc, g);
    } else {
        gri_unlock(&chan->lock);
        if (wake)
            gri_ready(wake);
    }
    gri_give_way(g, pc);
    return result;
}

int gr_chan_send(struct gr_chan *chan, const void *elem)
{
    return operate(chan, GR_SELECT_SEND, (void *)elem, GRI_CALLER);
}

int gr_chan_recv(struct gr_chan *chan, void *elem)
{
    return operate(chan, GR_SELECT_RECV, elem, GRI_CALLER);
}

int gr_chan_try_send(struct gr_chan *chan, const void *elem)
{
    return try_once(chan, GR_SELECT_SEND, (void *)elem, GRI_CALLER);
}

int gr_chan_try_recv(struct gr_chan *chan, void *elem)
{
    return try_once(chan, GR_SELECT_RECV, elem, GRI_CALLER);
}

/* Channel locked: everybody on a list is told -EPIPE, and added to *woken. */
static void win_all(struct wait_list *list, struct gri_g_list *woken)
{
    struct chan_waiter *cw;

    while ((cw = win_first(list, -EPIPE)))
        gri_g_list_add(woken, cw->waiter->g);
}

int gr_chan_close(struct gr_chan *chan)
{
    struct gri_g_list woken = {0};
    bool was_closed;

    GRI_GIVE_WAY();
    gri_lock(&chan->lock);
    was_closed = chan->closed;
    chan->closed = true;
    win_all(&chan->receivers, &woken);
    win_all(&chan->senders, &woken);
    gri_unlock(&chan->lock);
    /* Whoever sees that it is closed may destroy it: it is not touched any more. */
    gri_g_list_ready(&woken);
    return was_closed ? -EPIPE : 0;
}

size_t gr_chan_len(struct gr_chan *chan)
{
    size_t count;

    GRI_GIVE_WAY();
    gri_lock(&chan->lock);
    count = chan->count;
    gri_unlock(&chan->lock);
    return count;
}

/* ---- What waits.c is told (core.h) ---------------------------------------------------------------- */

static void show_chan(struct gr_chan *chan, struct gr_wait_object *object)
{
    gri_lock(&chan->lock);
    object->kind = GR_OBJECT_CHANNEL;
    object->address = (uint64_t)(uintptr_t)chan;
    object->closed = chan->closed;
    object->length = chan->count;
    object->capacity = chan->capacity;
    object->last_sender = chan->last_sender;
    object->last_receiver = chan->last_receiver;
    gri_unlock(&chan->lock);
}

bool gri_chan_peek(uint64_t address, struct gr_wait_object *object)
{
    struct bucket *b = bucket_of(address);
    struct gr_chan *chan;

    gri_lock(&b->lock);
    for (chan = b->first; chan && (uint64_t)(uintptr_t)chan != address; chan = chan->registry_next)
        ;
    if (chan)
        show_chan(chan, object);
    gri_unlock(&b->lock);
    return chan != NULL;
}
