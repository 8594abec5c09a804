/*
 * suspensions.h: the table of who holds what, and leases.
 *
 * A suspension is one or more holds on goroutines, with an owner, a principal and a lease. It is
 * made by the handler that asks for the stop and enters the table only once every member is
 * stopped; from then on the table owns it, until it is released by a client, by its lease or by the
 * drain. Releasing allocates nothing, so that it works when memory is gone: what ended is
 * remembered in a ring made at the start. Rejected: a lease on the goroutine, which two holders
 * would have to share.
 *
 *   I1  `items` is sorted by id; ids come from `next_id` and are never reused.
 *   I2  The table is changed on the loop only, under `lock`; so the loop reads it without, and pool
 *       threads read it under the lock, for a bounded copy. Rank: innermost, nothing is called
 * under it. I3  A suspension in the table holds each of its members; its timer runs.
 */
#ifndef API_SUSPENSIONS_H
#define API_SUSPENSIONS_H

#include <pthread.h>
#include <stdatomic.h>

#include <grasp/runtime.h>

#include "api.h"
#include "timers.h"

#define API_SUSPENSION_BUCKETS     4096
#define API_SUSPENSIONS_REMEMBERED 16384

struct api_suspension;

struct api_member {
    struct gr_hold hold;
    struct api_suspension *suspension;
    struct api_member *next; /* of the same goroutine, newest first */
};

struct api_suspension {
    uint64_t id;
    struct api *api;
    char owner[API_NOTE_BYTES_MAX + 1], reason[API_NOTE_BYTES_MAX + 1];
    bool has_owner, has_reason;
    char principal[API_PRINCIPAL_BYTES];
    uint64_t created_realtime_ns, lease_ms, expires_ns, skew_ns, latency_ns;
    struct api_timer timer;
    struct api_task task;  /* back to the loop from the runtime's call-back */
    struct api_call *call; /* that waits for the stop; NULL afterwards */
    size_t count;
    struct api_member member[];
};

enum api_suspension_end { API_SUSPENSION_UNKNOWN, API_SUSPENSION_RELEASED, API_SUSPENSION_EXPIRED };

struct api_suspensions {
    pthread_mutex_t lock;
    struct api_suspension **items;
    size_t count, capacity;
    uint64_t next_id;
    struct api_member *bucket[API_SUSPENSION_BUCKETS]; /* by goroutine */
    struct api_remembered {
        uint64_t id;
        enum api_suspension_end how;
    } * ended;
    size_t ended_next;
    struct api_call *pending; /* suspends that wait for their stop: for the drain */
};

int api_suspensions_init(struct api *api);
void api_suspensions_fini(struct api *api);

/* With room for `count` members, notes from the call's body. NULL: out of memory. */
struct api_suspension *api_suspension_create(struct api_call *call, size_t count);
void api_suspension_destroy(struct api_suspension *suspension);
/* All members are stopped: gives it its id, starts the lease at the last stop. -ENOMEM: nothing
 * happened. */
int api_suspension_enter(struct api_suspension *suspension);
/* Releases the holds and forgets it, but for how it ended. */
void api_suspension_release(struct api_suspension *suspension, enum api_suspension_end how);
void api_suspensions_release_all(struct api *api);
void api_suspension_lease(struct api_suspension *suspension, uint64_t from_ns, uint64_t lease_ms);

/* Loop. NULL: not in the table; then *how says why. */
struct api_suspension *api_suspension_find(struct api *api, uint64_t id,
                                           enum api_suspension_end *how);
/* Loop: the newest claim on a goroutine, and from there along ->next with the same hold.id. */
struct api_member *api_member_first(struct api *api, uint64_t goroutine);
struct api_member *api_member_next(struct api_member *member);

/* Any thread. Ids of the suspensions of a goroutine, ascending; at most max; returns how many. */
size_t api_suspension_ids(struct api *api, uint64_t goroutine, uint64_t *ids, size_t max);
size_t api_suspension_total(struct api *api);
/* Loop. With `full`: held, failed, and for single ones goroutine, safepoint, state, latency_ns. */
json_t *api_suspension_json(const struct api_suspension *suspension, bool full);
/* Any thread: the list form of the first one above `after`; its id, 0 if there is none; NULL out:
 * no memory. */
uint64_t api_suspension_next(struct api *api, uint64_t after, json_t **out);

#endif
