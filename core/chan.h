/*
 * chan.h: what chan.c and select.c share: the channel, and the records of those who wait on it.
 *
 * Not in core.h, because nobody else looks into a channel. Rules and locks: chan.c.
 */
#ifndef GRASP_CHAN_H
#define GRASP_CHAN_H

#include "scheduler.h"

#include <string.h>

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

/* The channel's lock held, all of these. */
void gri_chan_link(struct wait_list *list, struct chan_waiter *cw);
void gri_chan_unlink(struct wait_list *list, struct chan_waiter *cw);
/* Whether g's operation can go on: its result, and *wake is to be readied if not NULL; -EAGAIN: it has to wait. */
int gri_chan_try(struct gr_chan *chan, struct gr_g *g, enum gr_select_op op, void *elem,
                 struct gr_g **wake);

static inline struct wait_list *gri_chan_list(struct gr_chan *chan, enum gr_select_op op)
{
    return op == GR_SELECT_SEND ? &chan->senders : &chan->receivers;
}

static inline void gri_chan_copy_elem(const struct gr_chan *chan, void *to, const void *from)
{
    if (to && chan->elem_bytes)
        memcpy(to, from, chan->elem_bytes);
}

#endif
