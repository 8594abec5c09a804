/*
 * waits.h: why a goroutine does not run: what it waits for, who would have to act, and whether
 * everybody waits for everybody.
 *
 * All of it is read while the goroutines go on. A description is taken, and then the wait is looked
 * at again: only if it is still the same wait is the description given out, so that what is shown
 * was true at one moment. Nobody is stopped or held for it. Rejected: holding the goroutine for the
 * look; a mutex passes over held waiters, and looking must not change who gets a lock.
 *
 * Any thread that is not a goroutine; none of these blocks for longer than a walk over all
 * goroutines takes.
 */
#ifndef GRASP_WAITS_H
#define GRASP_WAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grasp/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- One goroutine --------------------------------------------------------------------------------- */

enum gr_object_kind {
    GR_OBJECT_NONE,
    GR_OBJECT_CHANNEL,
    GR_OBJECT_MUTEX,         /* gr_mutex */
    GR_OBJECT_COND,          /* gr_cond */
    GR_OBJECT_WAITGROUP,     /* gr_waitgroup */
    GR_OBJECT_THREAD_MUTEX,  /* pthread_mutex_t, mtx_t */
    GR_OBJECT_THREAD_RWLOCK, /* pthread_rwlock_t */
    GR_OBJECT_FD,            /* `address` is the descriptor */
    GR_OBJECT_GOROUTINE,     /* gr_suspend's target; `address` is its id */
    GR_OBJECT_KINDS
};
const char *gr_object_kind_name(enum gr_object_kind kind); /* "channel", "mutex", … */

enum gr_wait_op { GR_WAIT_OP_NONE, GR_WAIT_OP_SEND, GR_WAIT_OP_RECV };

/* Something that a goroutine waits for. What is not known is 0. */
struct gr_wait_object {
    enum gr_object_kind kind;
    enum gr_wait_op op; /* channels */
    uint64_t address;
    uint64_t owner;       /* goroutine that holds the lock */
    int32_t owner_thread; /* thread locks: the thread that holds it */
    bool closed;          /* channels, as the rest */
    uint64_t length, capacity;
    uint64_t last_sender, last_receiver; /* goroutines; 0: none yet, or a thread */
    int64_t count;                       /* wait groups */
};

/* The locks of its own (gr_mutex) that are shown of one goroutine. */
#define GR_LOCKS_SHOWN 4

struct gr_wait_info {
    uint64_t id;
    bool timed;          /* it goes on by itself when a time has passed */
    size_t object_count; /* several only in a select; 0: it does not wait, or for time alone */
    struct gr_wait_object object[GR_SELECT_CASES_MAX];
    size_t lock_count;
    uint64_t lock[GR_LOCKS_SHOWN]; /* addresses of gr_mutexes that it holds; it may hold more */
};
/* Errors as gr_info; a dead goroutine waits for nothing. */
int gr_wait_info(uint64_t id, struct gr_wait_info *info);

/* One of those who wait for an object. */
struct gr_wait_party {
    uint64_t id;
    enum gr_wait_op op;
};
/* Who waits for the object now: copies at most max, returns how many there are. It looks at gr_wait_slots() goroutines. */
size_t gr_wait_parties(enum gr_object_kind kind, uint64_t address, struct gr_wait_party *out,
                       size_t max);
size_t gr_wait_slots(void);

/* ---- Who points where ------------------------------------------------------------------------------ */

/* What a word in a goroutine's registers or stack points at. */
enum gr_root_kind {
    GR_ROOT_CHANNEL,
    GR_ROOT_MUTEX, /* of gr_mutexes, conditions and wait groups those that somebody waits for, or, as shown, holds */
    GR_ROOT_COND,
    GR_ROOT_WAITGROUP,
    GR_ROOT_GOROUTINE,   /* the runtime's own record of it */
    GR_ROOT_RESULT,      /* what a goroutine has set by gr_result */
    GR_ROOT_STACK,       /* its own */
    GR_ROOT_OTHER_STACK, /* of another goroutine */
    GR_ROOT_DATA,        /* a module's data, constants included */
    GR_ROOT_KINDS
};
const char *gr_root_kind_name(enum gr_root_kind kind); /* "channel", "mutex", … */

struct gr_root {
    enum gr_root_kind kind;
    int reg;                      /* index of the register, or -1 */
    uint64_t at;                  /* else the address of the stack word */
    uint64_t value;               /* the word */
    uint64_t object;              /* where what it points at begins; value - object bytes into it */
    uint64_t goroutine;           /* GOROUTINE, RESULT, OTHER_STACK: whose */
    char module[GR_NAME_MAX + 1]; /* DATA */
};

/*
 * The words of a copy (registers, then the stack from SP up) that point at something of the runtime's, into a stack or
 * into a module's data. Conservative: a number may look like an address; what is dead but not yet overwritten counts.
 * Objects are those of now, not of when the copy was made. Copies at most max; returns how many there are, or -ENOMEM.
 */
ssize_t gr_roots(const struct gr_copy *copy, struct gr_root *roots, size_t max);

/* ---- All of them ----------------------------------------------------------------------------------- */

/* Why it is not so that everybody waits for everybody. */
enum gr_progress {
    GR_PROGRESS_NONE,      /* it is so */
    GR_PROGRESS_EMPTY,     /* there are no goroutines */
    GR_PROGRESS_RUNS,      /* one runs, or is about to */
    GR_PROGRESS_SUSPENDED, /* one is held: whoever holds it can let it go on */
    GR_PROGRESS_CANCELLED, /* one was asked to end, and will wake */
    GR_PROGRESS_TIMER,     /* one goes on when a time has passed */
    GR_PROGRESS_FD,        /* one waits for a descriptor */
    GR_PROGRESS_SYSCALL,   /* one is in the kernel */
    GR_PROGRESS_THREAD,    /* one waits for a lock of a thread that is no goroutine's */
    GR_PROGRESSES
};
const char *gr_progress_name(enum gr_progress progress); /* "runs", "suspended", … */

/* A goroutine that can't go on unless another acts. */
struct gr_stuck {
    uint64_t id;
    uint64_t waits_for; /* the goroutine that would have to act; 0: nobody is known */
    uint64_t cycle;     /* the number of its cycle, from 1; 0: it is in none */
    size_t more;        /* objects of its select besides this one */
    struct gr_wait_object object;
};

struct gr_deadlocks {
    bool all_wait; /* every goroutine waits for something that only another goroutine could do */
    enum gr_progress because; /* if not: why, */
    uint64_t because_id;      /* and one of whom it is true */
    uint64_t live;
    uint64_t cycles; /* each goroutine waits for a lock that the next one holds */
    /* Cycle after cycle, each in the order of waiting; then, if all_wait, the others by id. malloc'ed. */
    struct gr_stuck *stuck;
    size_t count;
};

/*
 * A cycle in the report is a deadlock for certain, whatever the rest of the process does: nobody in it
 * was held or cancelled. all_wait is a suspicion: a thread that is no goroutine may still send or close.
 * 0, or -ENOMEM.
 */
int gr_deadlocks(struct gr_deadlocks *report);
void gr_deadlocks_free(struct gr_deadlocks *report);

#ifdef __cplusplus
}
#endif
#endif
