/*
 * watch.h: waiting for a goroutine's end.
 *
 * The runtime calls back at every birth, end and log line, on whatever thread it happens. Ends may
 * come millions of times a second, so the call-back does almost nothing about them: it looks whether
 * anybody waits for an id that falls into the same of 64 buckets. Only then is the one task of the
 * API posted to the loop, which asks the runtime about the watched ids of that bucket.
 *
 *   I1  A watch is counted in its bucket before the goroutine's state is read. The end is published
 *       by the runtime before the call-back reads the count. Between the two there is a sequentially
 *       consistent access or fence on both sides, so that one of them sees the other: no end is missed.
 *   I2  `posted` is 1 from the post until the loop has taken `ended`: the task is never queued twice.
 */
#ifndef API_WATCH_H
#define API_WATCH_H

#include <stdatomic.h>
#include <stdint.h>

#include "api.h"
#include "timers.h"

#define API_WATCH_BUCKETS 64

/* Somebody waits for the end of a goroutine. In the waiter's storage; loop only. */
struct api_watch {
    uint64_t id;
    struct api_watch *next, **link;
    void (*ended)(struct api_watch *watch); /* told once, the watch is stopped by then */
};

struct api_watches {
    struct api_task task;
    struct api_timer again;  /* an end was told before the runtime shows it */
    _Atomic(uint64_t) ended; /* a bit a bucket; set by any thread, taken by the loop */
    _Atomic(uint32_t) posted;
    _Atomic(uint32_t) count[API_WATCH_BUCKETS];  /* written by the loop, read by any thread */
    struct api_watch *bucket[API_WATCH_BUCKETS]; /* loop */
};

void api_watches_init(struct api *api);
/* A goroutine has ended. Any thread or system stack. */
void api_watch_end(struct api *api, uint64_t id);
/* The caller must look at the goroutine's state afterwards (I1). */
void api_watch_start(struct api *api, struct api_watch *watch, uint64_t id);
/* Nothing happens if it is stopped. */
void api_watch_stop(struct api *api, struct api_watch *watch);

#endif
