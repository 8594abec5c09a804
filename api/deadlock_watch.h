/*
 * deadlock_watch.h: tells followers of the events when goroutines are suspected to wait for each other for ever.
 *
 * While somebody follows the events, the runtime is asked on the pool whether goroutines wait in a circle, or all of them
 * for each other (deadlocks.c); a finding becomes one event, and again one only after it was gone or changed. How often
 * depends on how long a look takes, so that a million waiting goroutines are not walked all the time. Rejected: looking
 * at every wait as it begins; that is on the fast path of every channel.
 *
 *   D1  Loop only, but for `report`, `signature` and `took_ns`, which are the job's from when it is given to the pool
 *       until it is done. The timer does not run meanwhile.
 */
#ifndef API_DEADLOCK_WATCH_H
#define API_DEADLOCK_WATCH_H

#include "api.h"
#include "timers.h"

#define API_DEADLOCK_LOOK_NS    UINT64_C(1000000000)
#define API_DEADLOCK_SHARE      50    /* the next look comes after so many times what one took */
#define API_DEADLOCK_TEXT_BYTES 65536 /* a longer report is told without its goroutines */

struct api_deadlock_watch {
    struct api_timer timer;
    struct api_work work;
    bool running;
    uint64_t told, signature; /* 0: no finding */
    uint64_t took_ns;
    json_t *report;
};

/* A stream was opened: looks from now on, until none is left. -ENOMEM. */
int api_deadlock_watch_start(struct api *api);

#endif
