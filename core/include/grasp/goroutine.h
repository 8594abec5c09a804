/*
 * goroutine.h: what code that runs in a goroutine may call.
 *
 * This is the header of workload modules and of programs built with grasp-cc. Plain C and POSIX go on
 * working beside it: grasp-cc and the module loader see to it that read, malloc, printf, errno,
 * pthread_mutex_lock and their like are right in a goroutine that can be stopped and can change threads.
 *
 * All functions return 0 or a negative errno unless they say otherwise. "From a goroutine": the function may
 * park the caller, or is about it; called from another thread it returns -EPERM unless it says otherwise. "From
 * any thread" includes goroutines. None is for signal handlers. A call is a safe-point of the goroutine that
 * makes it, outside no-preempt sections. -ECANCELED: the caller was asked to end (docs/caveats.md, "Cancellation").
 */
#ifndef GRASP_GOROUTINE_H
#define GRASP_GOROUTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GR_ABI_VERSION 1

#define GR_RESULT_BYTES_MAX 65536 /* gr_result: JSON text without the final 0 */
#define GR_LABELS_MAX 16          /* labels of one goroutine */
#define GR_LABEL_KEY_MAX 63       /* characters of [A-Za-z0-9_.-] */
#define GR_LABEL_VALUE_MAX 255    /* bytes */
#define GR_LOG_LINE_MAX 4096      /* bytes of one gr_log line with its final 0; longer ones are cut */
#define GR_NAME_MAX 63            /* bytes of a goroutine's, entry's or module's name */
#define GR_ARGS_BYTES_MAX 65536   /* JSON text handed to an entry */

/* ---- Entries ------------------------------------------------------------------------------------- */

struct gr_entry {
    const char *name;
    int (*fn)(const char *args_json);
    const char *doc;
};

/*
 * Makes fn spawnable by name. args_json is JSON text, "null" if the caller gave none; valid until fn returns.
 * With a semicolon behind it or without: one more than is needed is pedantry's only complaint, so that is off from here on.
 */
#define GR_ENTRY(name_, fn_, doc_)                                                                 \
    static const struct gr_entry gr_entry_##fn_                                                    \
        __attribute__((used, section("gr_entries"), aligned(8))) = {name_, fn_, doc_};             \
    _Pragma("GCC diagnostic ignored \"-Wpedantic\"")

/*
 * GR_NOPREEMPT: the goroutine is never stopped inside this function's own instructions. It does not cover
 * what the function calls: use gr_nopreempt_begin and _end for that.
 */
#ifdef __clang__ /* clones nothing, and warns of the word */
#define GR_NOPREEMPT                                                                               \
    __attribute__((noinline, section("gr_nopreempt"), patchable_function_entry(0, 0)))
#else
#define GR_NOPREEMPT                                                                               \
    __attribute__((noinline, noclone, section("gr_nopreempt"), patchable_function_entry(0, 0)))
#endif

/* ---- Goroutines ---------------------------------------------------------------------------------- */

struct gr_go_opts {
    void (*fn)(void *);
    void *arg;
    const char *name;         /* NULL: none, and lists show where it is; copied, GR_NAME_MAX bytes */
    const char *const *labels; /* key, value, key, value, …, NULL; added to the inherited ones; may be NULL */
    size_t stack_bytes;       /* 0: the default, 192 KiB usable; rounded up to pages; 64 KiB … 1 GiB */
    bool stack_private;       /* nobody else touches this stack while the goroutine waits */
};

/* Starts fn(arg). From any thread. The new goroutine's id, or 0 if none could be made (memory, --max-goroutines). */
uint64_t gr_go(void (*fn)(void *), void *arg);
/* The same with options. The id (> 0), -EINVAL, -ENOMEM or -EAGAIN (--max-goroutines reached). */
int64_t gr_go_with(const struct gr_go_opts *opts);

/* The caller's id; 0 outside goroutines. From any thread. */
uint64_t gr_id(void);
/* Lets other goroutines run. From a goroutine; elsewhere it is sched_yield. */
void gr_yield(void);
/* Waits at least ns nanoseconds. -ECANCELED once cancellation was asked. Outside goroutines it blocks the thread. */
int gr_sleep_ns(uint64_t ns);
/* Whether the caller was asked to end. False outside goroutines. */
bool gr_cancelled(void);
/*
 * What GET /v1/goroutines/ID shows after the end; the last one counts. Copied. From a goroutine. -EINVAL: not JSON;
 * -E2BIG: over GR_RESULT_BYTES_MAX; -ENOMEM.
 */
int gr_result(const char *json);
/*
 * Sets (value NULL: removes) a label of the caller; children born later inherit it. From a goroutine. -EINVAL: bad key or
 * value; -ENOSPC: too many; -ENOMEM.
 */
int gr_label(const char *key, const char *value);
/* Writes a line to the log of the caller's root. From any thread; what is no goroutine's is told as an event and kept nowhere. */
int gr_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Between these the caller is not stopped. They nest; the depth belongs to the goroutine. No-ops elsewhere. */
void gr_nopreempt_begin(void);
void gr_nopreempt_end(void);

/* ---- Channels ------------------------------------------------------------------------------------ */

/*
 * As Go's: any number of senders and receivers, first come first served; capacity 0 hands over directly.
 * send, recv and select from a goroutine, all others from any thread.
 */
struct gr_chan;

/* NULL: no memory, or elem_bytes over 64 KiB. elem_bytes may be 0 (a signal without data). */
struct gr_chan *gr_chan_create(size_t elem_bytes, size_t capacity);
/* The channel must have no waiters (GR_PANIC otherwise). destroy(NULL) does nothing. */
void gr_chan_destroy(struct gr_chan *chan);
/* Copies *elem. -EPIPE: closed (also for senders that already wait); -ECANCELED. */
int gr_chan_send(struct gr_chan *chan, const void *elem);
/* -EPIPE: closed and empty; -ECANCELED. elem may be NULL: the value is dropped. */
int gr_chan_recv(struct gr_chan *chan, void *elem);
/* As send and recv, but -EAGAIN instead of waiting. */
int gr_chan_try_send(struct gr_chan *chan, const void *elem);
int gr_chan_try_recv(struct gr_chan *chan, void *elem);
/* Wakes all waiters. Closing twice: -EPIPE. */
int gr_chan_close(struct gr_chan *chan);
/* Elements in the buffer now. */
size_t gr_chan_len(struct gr_chan *chan);

enum gr_select_op { GR_SELECT_SEND = 1, GR_SELECT_RECV = 2 };
struct gr_select_case {
    struct gr_chan *chan; /* NULL: this case is never ready */
    enum gr_select_op op;
    void *elem; /* send: read; recv: written */
    int result; /* of the chosen case: 0 or -EPIPE */
};
#define GR_SELECT_CASES_MAX 64

/*
 * Waits until one case can go on, does it, and returns its index; several ready: one at random.
 * timeout_ns < 0: none, 0: do not wait. -EAGAIN: timed out; -ECANCELED; -EINVAL: too many cases, or an unknown op.
 */
int gr_select(struct gr_select_case *cases, size_t count, int64_t timeout_ns);

/* ---- Locks --------------------------------------------------------------------------------------- */

/*
 * Storage of the caller's; all 0 is the initial value. Waiters are served in order; a mutex passes over suspended ones.
 * Mutexes and waits are for goroutines; signal, broadcast, add and done come from any thread.
 */
struct gr_wait_queue {
    uint32_t lock;
    uint32_t reserved;
    void *head, *tail;
};
typedef struct gr_mutex {
    uint32_t held;
    uint32_t reserved;
    uint64_t owner; /* goroutine id */
    struct gr_wait_queue waiters;
} gr_mutex;
typedef struct gr_cond {
    struct gr_wait_queue waiters;
} gr_cond;
typedef struct gr_waitgroup {
    int64_t count;
    struct gr_wait_queue waiters;
} gr_waitgroup;
#define GR_MUTEX_INIT {0}
#define GR_COND_INIT {{0}}
#define GR_WAITGROUP_INIT {0}

/* -ECANCELED: not locked. -EDEADLK: the caller holds it. */
int gr_mutex_lock(gr_mutex *mutex);
int gr_mutex_try_lock(gr_mutex *mutex); /* -EBUSY */
int gr_mutex_unlock(gr_mutex *mutex);   /* -EPERM: the caller does not hold it */
/*
 * The mutex is locked again in every case, also on -ECANCELED and -ETIMEDOUT. timeout_ns < 0: none. -EPERM: the caller
 * does not hold it; nothing was waited for.
 */
int gr_cond_wait(gr_cond *cond, gr_mutex *mutex);
int gr_cond_timed_wait(gr_cond *cond, gr_mutex *mutex, int64_t timeout_ns);
void gr_cond_signal(gr_cond *cond);
void gr_cond_broadcast(gr_cond *cond);
/* -EINVAL: the count would go below 0 or over INT64_MAX (it stays). */
int gr_waitgroup_add(gr_waitgroup *group, int64_t n);
int gr_waitgroup_done(gr_waitgroup *group); /* add(-1) */
/* Until the count is 0. -ECANCELED. */
int gr_waitgroup_wait(gr_waitgroup *group);

/* ---- Files --------------------------------------------------------------------------------------- */

/*
 * From a goroutine: waits until fd is ready for events (POLLIN, POLLOUT), or has an error that a read would tell.
 * timeout_ns < 0: none, 0: do not wait. -ETIMEDOUT, -ECANCELED, -EBADF.
 */
int gr_poll_fd(int fd, int events, int64_t timeout_ns);

/* ---- Taking hold of others ------------------------------------------------------------------------ */

/* One hold. Plain data: may be copied, released once. */
typedef struct gr_suspension {
    void *record;
    uint64_t serial;
} gr_suspension;

/*
 * Stops goroutine `id` at a safe-point and keeps it stopped until gr_resume. From a goroutine it parks the
 * caller; from a thread it blocks it. timeout_ns 0: only if it is stopped already.
 * -ESRCH: no such goroutine, or it ended first; -ETIMEDOUT (withdrawn); -EOVERFLOW: too many holds;
 * -EDEADLK: the caller itself; -ENOMEM; -ECANCELED: the caller was asked to end. *out is 0 then: nothing is held.
 * Panics if the caller is in a no-preempt section.
 */
int gr_suspend(uint64_t id, uint64_t timeout_ns, gr_suspension *out);
/*
 * -EINVAL: released already, or all 0, as a gr_suspend that failed leaves it; nothing changes then. Any other value has to be
 * one that gr_suspend gave. From anywhere; never blocks.
 */
int gr_resume(gr_suspension suspension);
/* From a goroutine: stops it until another resumes it by releasing the hold, which is stored in *out first. -EOVERFLOW, -ENOMEM. */
int gr_suspend_self(gr_suspension *out);

#ifdef __cplusplus
}
#endif
#endif
