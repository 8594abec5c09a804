/*
 * timer.c: the deadlines of waiting goroutines: one binary heap under one lock, fired by the monitor.
 *
 * Rejected: a heap per processor that its owner serves between goroutines. A processor whose goroutine spins
 * serves nobody, and then the monitor has to do it anyway; the monitor runs at a better nice value than the
 * workers, so one heap is both simpler and earlier. A sleep costs one lock and one eventfd write at most.
 *
 * Lock: heap_lock; under it only gri_waiter_win. Goroutines are readied after it is released.
 */
#include "scheduler.h"

#include <stdlib.h>

static struct gri_lock heap_lock;
static struct gri_waiter **heap; /* heap[0] unused */
static size_t heap_count, heap_capacity;

static void place(size_t index, struct gri_waiter *w)
{
    heap[index] = w;
    w->heap_index = index;
}

static void sift_up(size_t index, struct gri_waiter *w)
{
    while (index > 1 && heap[index / 2]->deadline_ns > w->deadline_ns) {
        place(index, heap[index / 2]);
        index /= 2;
    }
    place(index, w);
}

static void sift_down(size_t index, struct gri_waiter *w)
{
    for (;;) {
        size_t child = 2 * index;

        if (child > heap_count)
            break;
        if (child < heap_count && heap[child + 1]->deadline_ns < heap[child]->deadline_ns)
            child++;
        if (heap[child]->deadline_ns >= w->deadline_ns)
            break;
        place(index, heap[child]);
        index = child;
    }
    place(index, w);
}

/* heap_lock held. */
static void remove_locked(struct gri_waiter *w)
{
    size_t index = w->heap_index;
    struct gri_waiter *last = heap[heap_count--];

    w->heap_index = 0;
    if (last == w)
        return;
    if (index > 1 && heap[index / 2]->deadline_ns > last->deadline_ns)
        sift_up(index, last);
    else
        sift_down(index, last);
}

void gri_timer_add(struct gri_waiter *w)
{
    uint64_t now = gri_now_ns();
    bool first;

    gri_lock(&heap_lock);
    if (heap_count + 1 >= heap_capacity) {
        size_t capacity = heap_capacity ? 2 * heap_capacity : 1024;
        struct gri_waiter **bigger = realloc(heap, capacity * sizeof *heap);

        if (!bigger)
            GR_PANIC("no memory for %zu timers", capacity);
        heap = bigger;
        heap_capacity = capacity;
    }
    sift_up(++heap_count, w);
    first = w->heap_index == 1;
    if (first)
        gri_monitor_poke(w->deadline_ns > now ? w->deadline_ns - now : 0);
    gri_unlock(&heap_lock);
}

void gri_timer_remove(struct gri_waiter *w)
{
    gri_lock(&heap_lock);
    if (w->heap_index)
        remove_locked(w);
    gri_unlock(&heap_lock);
}

uint64_t gri_timers_fire(uint64_t now_ns)
{
    enum { BATCH = 64 };
    struct gr_g *due[BATCH];
    uint64_t next;
    size_t count;

    do {
        count = 0;
        gri_lock(&heap_lock);
        while (count < BATCH && heap_count > 0 && heap[1]->deadline_ns <= now_ns) {
            struct gri_waiter *w = heap[1];
            struct gr_g *g = w->g;

            remove_locked(w);
            if (gri_waiter_win(w, -ETIMEDOUT))
                due[count++] = g;
        }
        next = heap_count > 0 ? heap[1]->deadline_ns : 0;
        gri_unlock(&heap_lock);
        for (size_t i = 0; i < count; i++)
            gri_ready(due[i]);
    } while (count == BATCH);
    return next;
}
