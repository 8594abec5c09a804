/*
 * suspensions.h: the table of who holds what, and leases.
 *
 * A suspension is one or more holds on goroutines, with an owner, a principal and a lease. It is
 * made by the handler that asks for the stop and enters the table only once every member is
 * stopped; from then on the table owns it, until it is released by a client, by its lease or by the
 * drain. Releasing allocates nothing, so that it works when memory is gone: what ended is
 * remembered in a ring made at the start, and a large group is let go in chunks by a task that is
 * part of it, so that the loop serves others in between. Rejected: a lease on the goroutine, which
 * two holders would have to share.
 *
 *   I1  `items` is sorted by id; ids come from `next_id` and are never reused.
 *   I2  The table is changed on the loop only, under `lock`; so the loop reads it without, and pool
 *       threads read it under the lock, for a bounded copy. Rank: innermost, nothing is called
 *       under it.
 *   I3  A suspension in the table holds `count` > 0 members, those whose `link` is set; its timer
 *       runs. One that is being let go is not in `items` any more, though some members still are in
 *       their buckets: `leaving` says so, and nobody finds them.
 */
#ifndef API_SUSPENSIONS_H
#define API_SUSPENSIONS_H

#include <pthread.h>

#include <grasp/runtime.h>

#include "api.h"
#include "timers.h"

#define API_SUSPENSION_BUCKETS     4096
#define API_SUSPENSIONS_REMEMBERED 16384

struct api_suspension;

struct api_member {
    struct gr_hold hold;
    struct api_suspension *suspension;
    struct api_member *sibling;      /* of the same suspension, in the order of asking */
    struct api_member *next, **link; /* of the same bucket, newest first; link NULL: not held */
    int error;                       /* group.c: why it is not held; 0: it is */
};

/* Members of one allocation. */
struct api_block {
    struct api_block *next;
    size_t count;
    struct api_member member[];
};

/* One that was asked for and is not held. */
struct api_failure {
    uint64_t id;
    int error;
    uint64_t pc, attempts, refused[GR_REFUSALS]; /* of -ETIMEDOUT */
};

struct api_suspension {
    uint64_t id;
    struct api *api;
    char owner[API_NOTE_BYTES_MAX + 1], reason[API_NOTE_BYTES_MAX + 1];
    bool has_owner, has_reason;
    bool group;   /* shown without the fields of a single one, whatever it holds */
    bool leaving; /* I3 */
    char principal[API_PRINCIPAL_BYTES];
    uint64_t created_realtime_ns, lease_ms, expires_ns, skew_ns, latency_ns;
    size_t count;           /* members that are held */
    struct api_timer timer; /* from here on the loop's own */
    struct api_task task;   /* back to the loop from the runtime's call-back */
    struct api_chunk chunk; /* the next of those that are let go */
    struct api_call *call;  /* that waits for the stop, or for the end of the release */
    struct api_member *members, **members_last;
    struct api_block *blocks; /* besides the one that was allocated with it */
    struct api_failure *failed;
    size_t failed_count;
    /* While it is being let go. */
    struct api_member *next_to_go;
    void (*gone)(struct api_suspension *suspension);
    int how; /* enum api_suspension_end */
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
    bool closing;                /* nothing is posted any more */
    struct api_pending *pending; /* calls that wait for a stop, or for their turn: for the drain */
    struct api_pending *pending_next; /* where the drain goes on, while it is under way */
};

int api_suspensions_init(struct api *api);
void api_suspensions_fini(struct api *api);

/* With room for `count` members, notes from the call's body. NULL: out of memory. */
struct api_suspension *api_suspension_create(struct api_call *call, size_t count);
/* Makes `count` more members and appends them; the first of them, NULL: out of memory. Any thread
 * that owns the suspension. */
struct api_member *api_suspension_extend(struct api_suspension *suspension, size_t count);
/* Holds nothing any more. NULL does nothing. */
void api_suspension_destroy(struct api_suspension *suspension);
/* All members are stopped: gives it its id, starts the lease at the last stop. -ENOMEM: nothing
 * happened. */
int api_suspension_enter(struct api_suspension *suspension);
/* Nanoseconds from the first stop of its members to the last, and when that was. */
uint64_t api_suspension_skew(const struct api_suspension *suspension, uint64_t *last_ns);
/* Ends the holds of all members that are stopped, some at once and the others in later turns of the
 * loop, then calls gone, which owns it again. Allocates nothing. */
void api_suspension_let_go(struct api_suspension *suspension,
                           void (*gone)(struct api_suspension *suspension));
/* Forgets it, but for how it ended, and lets its members go; `call`, if any, is answered with 204
 * after the last. */
void api_suspension_release(struct api_suspension *suspension, enum api_suspension_end how,
                            struct api_call *call);
/* One member leaves; the suspension ends with its last one. */
void api_member_release(struct api_member *member);
void api_suspensions_release_all(struct api *api);
/* Loop. Releases what the call's answer tells of: nobody has learned that it holds, so it must not. */
void api_suspension_give_back(struct api_call *call);
void api_suspension_lease(struct api_suspension *suspension, uint64_t from_ns, uint64_t lease_ms);

/* Loop. NULL: not in the table; then *how says why, for which all that are remembered are looked through. how may be NULL. */
struct api_suspension *api_suspension_find(struct api *api, uint64_t id,
                                           enum api_suspension_end *how);
/* The table's lock, or loop: the newest claim on a goroutine, and the one before a claim. */
struct api_member *api_member_first(struct api *api, uint64_t goroutine);
struct api_member *api_member_next(struct api_member *member);

/* Any thread. Ids of the suspensions of a goroutine, ascending; at most max; returns how many. */
size_t api_suspension_ids(struct api *api, uint64_t goroutine, uint64_t *ids, size_t max);
size_t api_suspension_total(struct api *api);
void api_pending_add(struct api *api, struct api_pending *pending, struct api_call *call);
void api_pending_remove(struct api_pending *pending);
/* Loop. The call's answer: the suspension with held, failed, and for single ones goroutine,
 * safepoint, state, latency_ns. Answers at once or by way of the pool. */
void api_suspension_reply(struct api_call *call, int status, const struct api_suspension *s);
/* Pool: naming where one stood takes the inspector's lock. */
json_t *api_suspension_brief(const struct api_suspension *s);
json_t *api_refused_json(const uint64_t *refused);
json_t *api_failures_json(const struct api_failure *failed, size_t count);
/* Any thread: the list form of the first one above `after`; its id, 0 if there is none; NULL out:
 * no memory. */
uint64_t api_suspension_next(struct api *api, uint64_t after, json_t **out);

#endif
