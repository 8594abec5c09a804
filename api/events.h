/*
 * events.h: what happened, in order, for whoever wants to follow it.
 *
 * Every event gets the next number of one sequence and a record of fixed size in a ring; text that
 * belongs to it goes to a ring of bytes. There are three rings: log lines, and births and ends of
 * goroutines, may come by the million, and must not push out what is rare (suspensions, leases,
 * modules). Births are recorded only while somebody follows them, and for some time after,
 * so that whoever reconnects finds them. A stream (event_stream.c) has a place in each ring that it follows and
 * reads on when it can; the rings know no readers, so that a slow one costs nobody anything: the
 * ring runs over it, and it learns how many it lost.
 *
 * Rejected: a queue for each stream (a slow one would need a bound and a policy, and each event would
 * cost a turn for each stream); lock-free rings (a writer that the kernel stops in the middle makes a
 * hole that needs a protocol of its own; the lock is held for some hundred nanoseconds, on threads
 * that cannot be stopped by us meanwhile).
 *
 *   I1  Under `lock` the number is taken and the record written: records lie in the order of their
 *       numbers, and all numbers up to `seq` have been written.
 *   I2  What a list shows was changed before its event was numbered. A list whose `seq` is read before
 *       the first look therefore misses nothing that has no later number.
 *   I3  Births and ends are recorded without a gap from `births_from` on. It is raised after the
 *       runtime was told to tell births, and a birth is visible before the runtime looks whether to
 *       tell it: a list with a later number sees what was not recorded.
 *   I4  A record's text is whole as long as the record is in its ring: running over the text ends the
 *       record's life.
 *
 * Lock: `lock`, a leaf; taken on any thread and on system stacks of the runtime's.
 */
#ifndef API_EVENTS_H
#define API_EVENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "api.h"
#include "timers.h"

#define API_EVENTS_KEPT      16384
#define API_BIRTHS_KEPT      65536         /* births and ends */
#define API_LINES_KEPT       16384         /* log lines */
#define API_EVENT_BYTES_MAX  65536         /* of text of one event */
#define API_EVENT_TEXT_BYTES (1024 * 1024) /* of all log lines, and as much of other text */

enum api_event_type {
    API_EVENT_SUSPENDED,
    API_EVENT_RESUMED,
    API_EVENT_LEASE_EXPIRED,
    API_EVENT_MODULE,
    API_EVENT_DEADLOCK,
    API_EVENT_LOG,
    API_EVENT_CREATED,
    API_EVENT_ENDED,
    API_EVENT_TYPES
};
#define API_EVENT_BIRTHS (1u << API_EVENT_CREATED | 1u << API_EVENT_ENDED)
/* What a stream gets that names no types. */
#define API_EVENT_DEFAULT (~API_EVENT_BIRTHS & ((1u << API_EVENT_TYPES) - 1))

struct api_event {
    uint64_t seq, realtime_ns;
    uint64_t goroutine, root, suspension; /* 0: none */
    uint64_t count;                       /* goroutines held, or still held */
    uint64_t text_at;                     /* in the stream of all text */
    uint32_t text_bytes;
    enum api_event_type type;
};

struct api_event_ring {
    struct api_event *records;
    uint64_t capacity, first, next; /* places, counted from the beginning of time */
    uint64_t evicted;               /* the number of the last record that was run over */
    char *text;                     /* API_EVENT_TEXT_BYTES; NULL: its events have none */
    uint64_t text_written;
};

enum api_ring { API_RING_QUIET, API_RING_LINES, API_RING_BIRTHS, API_RINGS };

struct api_stream;

struct api_events {
    pthread_mutex_t lock; /* guards the next two */
    struct api_event_ring ring[API_RINGS];
    uint64_t births_from;  /* I3; UINT64_MAX: they are not recorded */
    _Atomic(uint64_t) seq; /* written under the lock, read anywhere */
    /* Streams that wait for a record, by ring; written by the loop, read by any thread. */
    _Atomic(uint32_t) waiting[API_RINGS];
    _Atomic(uint32_t) recording; /* births; written by the loop */
    _Atomic(uint32_t) posted;
    struct api_task task;
    /* The loop's. */
    struct api_timer linger; /* until births are not recorded any more */
    size_t stream_count, birth_streams;
    struct api_stream *waiters;
};

/* Loop: the task. event_stream.c */
void api_streams_wake(struct api_task *task);

int api_events_init(struct api *api);
void api_events_fini(struct api *api);
const char *api_event_name(enum api_event_type type);

/* Any thread. Numbers and records an event; `text` may be NULL, and is left out if it is
 * over API_EVENT_BYTES_MAX. Allocates nothing. */
void api_event_add(struct api *api, const struct api_event *event, const char *text, size_t bytes);
/* The last number. Any thread. */
uint64_t api_event_seq(struct api *api);

struct api_suspension;
struct api_member;
void api_event_suspended(const struct api_suspension *suspension);
/* All of it went, or (member) one that left. */
void api_event_released(const struct api_suspension *suspension, const struct api_member *member);
/* `what`: "loaded", "replaced", "unloaded". */
void api_event_module(struct api *api, const char *name, const char *what);

/* ---- For streams (event_stream.c) ------------------------------------------------------------ */

/* Bit i: some of these types are in ring i. */
unsigned api_event_rings(unsigned types);

/* Loop. Births are recorded from now on; -ENOMEM. Each call needs one of the other. */
int api_births_follow(struct api *api);
void api_births_unfollow(struct api *api);

/* Where a reader is: the next place of each ring. */
struct api_event_place {
    uint64_t at[API_RINGS];
};
/* The place behind number `seq`. False: what came after it is not all there any more. */
bool api_event_place_find(struct api *api, uint64_t seq, unsigned rings,
                          struct api_event_place *place);
/* The end: what comes next. Returns the last number. */
uint64_t api_event_place_end(struct api *api, struct api_event_place *place);
/*
 * Copies the next records in order, up to max, with their text up to text_room into text (text_at is
 * then an offset in it), and moves the place. *lost: some were run over before they could be
 * read; then nothing is copied.
 */
size_t api_event_read(struct api *api, struct api_event_place *place, unsigned rings,
                      struct api_event *out, size_t max, char *text, size_t text_room, bool *lost);
/* Whether there is something behind the place. Any thread. */
bool api_event_ready(struct api *api, const struct api_event_place *place, unsigned rings);

#endif
