/*
 * timers.c: see timers.h for the essay and the invariants.
 */
#include "timers.h"

#include <errno.h>
#include <stdlib.h>

static void place(struct api_timers *timers, struct api_timer *timer, size_t at)
{
    timers->heap[at] = timer;
    timer->index = at + 1; /* I1 */
}

static void sift_up(struct api_timers *timers, struct api_timer *timer, size_t at)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (timers->heap[parent]->at_ns <= timer->at_ns)
            break;
        place(timers, timers->heap[parent], at);
        at = parent;
    }
    place(timers, timer, at);
}

static void sift_down(struct api_timers *timers, struct api_timer *timer, size_t at)
{
    for (size_t child = 2 * at + 1; child < timers->count; child = 2 * at + 1) {
        if (child + 1 < timers->count &&
            timers->heap[child + 1]->at_ns < timers->heap[child]->at_ns)
            child++;
        if (timers->heap[child]->at_ns >= timer->at_ns)
            break;
        place(timers, timers->heap[child], at);
        at = child;
    }
    place(timers, timer, at);
}

void api_timers_fini(struct api_timers *timers)
{
    free(timers->heap);
    *timers = (struct api_timers){0};
}

static int grow(struct api_timers *timers)
{
    if (timers->count < timers->capacity)
        return 0;
    size_t capacity = timers->capacity ? timers->capacity * 2 : 64;
    struct api_timer **heap = realloc(timers->heap, capacity * sizeof *heap);
    if (!heap)
        return -ENOMEM;
    timers->heap = heap;
    timers->capacity = capacity;
    return 0;
}

int api_timer_start(struct api_timers *timers, struct api_timer *timer, uint64_t at_ns)
{
    if (timer->index == 0) {
        int err = grow(timers);
        if (err)
            return err;
        timer->at_ns = at_ns;
        timers->count++;
        sift_up(timers, timer, timers->count - 1);
        return 0;
    }
    uint64_t before = timer->at_ns;
    timer->at_ns = at_ns;
    if (at_ns < before)
        sift_up(timers, timer, timer->index - 1);
    else
        sift_down(timers, timer, timer->index - 1);
    return 0;
}

void api_timer_stop(struct api_timers *timers, struct api_timer *timer)
{
    if (timer->index == 0)
        return;
    size_t at = timer->index - 1;
    struct api_timer *last = timers->heap[--timers->count];
    timer->index = 0;
    if (last == timer)
        return;
    /* The last one fills the hole, and belongs either above or below it. */
    if (last->at_ns < timer->at_ns)
        sift_up(timers, last, at);
    else
        sift_down(timers, last, at);
}

void api_timers_run(struct api_timers *timers, uint64_t now_ns)
{
    /* Bounded: a call-back that starts its timer again does so in the future. */
    while (timers->count && timers->heap[0]->at_ns <= now_ns) {
        struct api_timer *timer = timers->heap[0];
        api_timer_stop(timers, timer);
        timer->fire(timer);
    }
}

uint64_t api_timers_next(const struct api_timers *timers)
{
    return timers->count ? timers->heap[0]->at_ns : UINT64_MAX;
}
