/*
 * timers.h: leases and waits, on the monotonic clock.
 *
 * A binary heap of timers that live in their owners' structs. The host is told the earliest time
 * alone and calls api_timers_run then: that keeps the API free of any event loop, and a wall clock
 * that jumps cannot end a lease. Loop thread only, no lock. Rejected: one event-loop timer a lease,
 * which would make the API know the loop.
 *
 *   I1  timer->index is its place in the heap + 1, and 0 if and only if it is not in the heap.
 *   I2  Slots are reserved when a timer is added for the first time, so moving and stopping never
 *       fails.
 */
#ifndef API_TIMERS_H
#define API_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct api_timer {
    uint64_t at_ns;
    size_t index;
    void (*fire)(struct api_timer *timer);
};
struct api_timers {
    struct api_timer **heap;
    size_t count, capacity;
};

void api_timers_fini(struct api_timers *timers);
/* Starts it or moves it. -ENOMEM only if it was not running. */
int api_timer_start(struct api_timers *timers, struct api_timer *timer, uint64_t at_ns);
/* Nothing happens if it does not run. */
void api_timer_stop(struct api_timers *timers, struct api_timer *timer);
/* Fires what is due; each is stopped before its call-back, which may start it again. */
void api_timers_run(struct api_timers *timers, uint64_t now_ns);
/* UINT64_MAX: none. */
uint64_t api_timers_next(const struct api_timers *timers);

#endif
