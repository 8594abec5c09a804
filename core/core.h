/*
 * core.h: the three structures of the runtime, and what core's files offer each other.
 *
 * A goroutine (g) is a slot: the struct is type-stable, it is never given back, so that a late teller, a
 * stale hold or a walker of the registry may always read its word. The same holds for threads (m): once a
 * thread has been an m it never exits, it waits to be used again. That is why poisoning a wrong m's
 * guard is harmless, and why no reference count exists. Rejected: reference counts on g and m (two more
 * contended words on every suspend), epochs (a stopped goroutine would hold one open).
 *
 * Fields are grouped by who writes them.
 *
 * Invariants
 *   I1  A g is RUNNING on at most one m; only from a word whose holds are 0 may it become RUNNING.
 *   I2  A g's saved context is complete before its word says that it is stopped.
 *   I3  A g is on at most one queue, and only RUNNABLE ones are.
 *   I4  No lock is held across arch_switch, but for an object's lock that commit releases on the system
 *       stack of the same thread (park.c).
 *   I5  A pinned or wired g runs on g->pin_m only, and while pin_m has such a g no other runs there.
 *
 * The protocol on the word: suspend.c and tests/model/suspend.pml.
 */
#ifndef GRASP_CORE_H
#define GRASP_CORE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <grasp/runtime.h>
#include <grasp/waits.h>

#include "arch.h"

struct gr_m;
struct gr_p;
struct gri_module;
struct gri_labels;
struct gri_log;

#define GRI_CACHE_LINE 64

/* ---- Small things -------------------------------------------------------------------------------- */

/* A broken invariant: prints the sentence and aborts. Always on. */
#define GR_PANIC(...) gri_panic(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void gri_panic(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define GRI_ASSERT(cond)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            GR_PANIC("%s", #cond);                                                                 \
    } while (0)

/* As much of `text` as has room, and its end. In the time of a few instructions: under a lock snprintf is long. */
static inline void gri_text_copy(char *to, size_t bytes, const char *text)
{
    size_t size = strnlen(text, bytes - 1);

    memcpy(to, text, size);
    to[size] = 0;
}

/*
 * A lock for a few dozen instructions. The holder is never preempted by us (runtime code is no safe-point) but
 * may be by the kernel, so a waiter spins for a moment and then sleeps. 0 free, 1 held, 2 held and waited for.
 */
struct gri_lock {
    _Atomic(uint32_t) word;
};
void gri_lock_slow(struct gri_lock *lock);
void gri_unlock_slow(struct gri_lock *lock);
static inline void gri_lock(struct gri_lock *lock)
{
    uint32_t expected = 0;
    /* acquire; pairs with the release in gri_unlock: what the last holder wrote is seen. */
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        gri_lock_slow(lock);
}
static inline void gri_unlock(struct gri_lock *lock)
{
    /* release; pairs with the acquire in gri_lock. 2: somebody sleeps on the word. */
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        gri_unlock_slow(lock);
}

/* gr_now_ns, for the runtime itself: it does not give way. */
uint64_t gri_now_ns(void);

/* Futex on a private word. timeout_ns < 0: none. Returns 0, -ETIMEDOUT, -EAGAIN or -EINTR. */
int gri_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t timeout_ns);
void gri_futex_wake(_Atomic(uint32_t) *word, int count);
/* Copies from an address that may not be mapped: how many bytes there were, from the first on. */
size_t gri_memory_read(uint64_t address, void *to, size_t bytes);

/* ---- The word ------------------------------------------------------------------------------------ */

/* state:4 | holds:12 | generation:48 */
#define GRI_STATE_BITS 4
#define GRI_HOLD_BITS  12
#define GRI_HOLD_ONE   ((uint64_t)1 << GRI_STATE_BITS)
_Static_assert(GR_STATES <= 1 << GRI_STATE_BITS, "a state fits its field");
_Static_assert(GR_HOLDS_MAX < 1 << GRI_HOLD_BITS, "the hold count fits its field");

static inline enum gr_state gri_word_state(uint64_t w)
{
    return (enum gr_state)(w & ((1u << GRI_STATE_BITS) - 1));
}
static inline unsigned gri_word_holds(uint64_t w)
{
    return (unsigned)(w >> GRI_STATE_BITS) & ((1u << GRI_HOLD_BITS) - 1);
}
static inline uint64_t gri_word_generation(uint64_t w)
{
    return w >> (GRI_STATE_BITS + GRI_HOLD_BITS);
}
static inline uint64_t gri_word_make(enum gr_state state, unsigned holds, uint64_t generation)
{
    return (uint64_t)state | (uint64_t)holds << GRI_STATE_BITS |
           generation << (GRI_STATE_BITS + GRI_HOLD_BITS);
}
static inline uint64_t gri_word_with_state(uint64_t w, enum gr_state state)
{
    return (w & ~(uint64_t)((1u << GRI_STATE_BITS) - 1)) | (uint64_t)state;
}
static inline bool gri_state_stopped(enum gr_state s)
{
    return s == GR_RUNNABLE || s == GR_SYSCALL || s == GR_WAITING || s == GR_PREEMPTED;
}

/* Waits, whatever is being done with its stack meanwhile. */
static inline bool gri_state_waits(enum gr_state s)
{
    return s == GR_WAITING || s == GR_COPYSTACK || s == GR_COPYSTACK_WOKEN;
}

/* ---- Goroutine ----------------------------------------------------------------------------------- */

/* What a blocked goroutine waits for; the slug is gri_wait_name(reason). */
enum gri_wait {
    GRI_WAIT_NONE,
    GRI_WAIT_CHAN_SEND,
    GRI_WAIT_CHAN_RECV,
    GRI_WAIT_SELECT,
    GRI_WAIT_MUTEX,
    GRI_WAIT_COND,
    GRI_WAIT_GROUP,
    GRI_WAIT_SLEEP,
    GRI_WAIT_POLL,
    GRI_WAIT_SUSPEND,
    GRI_WAIT_SYSCALL,
    GRI_WAIT_THREAD_MUTEX, /* in a system call, for a lock of libc's */
    GRI_WAIT_THREAD_RWLOCK,
    GRI_WAITS
};

/* How it left its thread last: by a call of the runtime, at a check, by a signal. */
enum gri_stop { GRI_STOP_CALL, GRI_STOP_CHECK, GRI_STOP_ASYNC };

struct gri_stack {
    uint8_t *lo, *hi; /* usable: [lo, hi) */
    bool unguarded;
    bool large; /* a mapping of its own, not from a slab */
    size_t map_bytes;
};

/*
 * A birth, a run and an end touch the first six lines only, and clear the rest if `marked` says so: of many thousand short
 * lives the memory traffic is most of the cost.
 */
struct gr_g {
    /* Any thread, by CAS. */
    _Alignas(GRI_CACHE_LINE) _Atomic(uint64_t) word;
    _Atomic(struct gr_m *) m; /* last m that executed it: written by it before its CAS to running */
    struct gri_lock wait_lock; /* guards `waiters`; never taken by a word transition */
    _Atomic(uint32_t) cancel;  /* 1: asked to end. Set before `waiting` is looked at (park.c) */
    struct gr_hold *waiters;
    struct gr_g *pending_next;            /* guarded by the monitor's pending lock */
    _Atomic(struct gri_waiter *) waiting; /* what it waits on, while it does */
    bool pending_listed;     /* under wait_lock: on the monitor's list (suspend.c) */
    _Atomic(bool) signalled; /* its last stop while running needed a signal; written by its owner */
    /* In this wait its stack was given back as far as it goes: set while COPYSTACK, cleared when it runs (fold.c). */
    _Atomic(bool) rested;
    /* Something of what its next life finds cleared was written: set after it was, relaxed, by whoever wrote it. */
    _Atomic(bool) marked;
    struct gri_lock meta_lock;

    /* Its owner: the m that runs it, or whoever dequeued it. */
    _Alignas(
        GRI_CACHE_LINE) void *ctx_sched; /* SP saved by arch_switch; NULL: it has not run yet */
    struct gr_g *queue_next; /* run queue or free list: owned by the queue it is on */
    struct gri_stack stack;
    uint64_t guard_bound;         /* SP at or below it: overflow */
    struct arch_foreign *foreign; /* at the high end of its stack; NULL: it has not run yet */
    uint32_t nopreempt;           /* depth; read by the handler on its own thread */
    uint32_t pinned;              /* explicit pins; foreign.depth counts besides. gri_g_is_pinned */
    struct gr_m *pin_m;           /* the thread it must run on while pinned or wired */
    enum gri_stop stop_kind;
    int err; /* its errno while arch_tls.errno_owned */
    void (*fn)(void *);
    void *arg;
    struct gri_apart *apart; /* storage for records of its waits if its stack is private */
    bool wait_apart;         /* nothing on its stack is known to others during this wait */
    bool wired;      /* written at birth, under meta_lock; its owner reads it without */
    bool is_root;
    int exit_code;

    /* Written by the owner, read by anyone relaxed: shown to people, decides nothing. */
    _Atomic(uint64_t) id, root, parent;
    _Atomic(uint64_t) created_realtime_ns, run_since_ticks, cpu_ticks;
    _Atomic(uint64_t) preempts_sync, preempts_async;
    _Atomic(uint64_t) pc_hint;     /* an instruction, or a byte of one (GRI_CALLER) */
    _Atomic(uint32_t) wait_reason; /* enum gri_wait */
    _Atomic(int32_t) last_m, last_p;
    _Atomic(bool) shown_pinned; /* as of its last switch */

    /* Guarded by meta_lock: read by gr_info and gr_cancel. */
    struct gri_module *module;
    struct gri_labels *labels; /* reference counted, immutable */
    struct gri_log *log;       /* reference counted; the root's */
    char *args;
    char *result;
    const struct gr_entry *entry;
    const struct gr_entry *root_entry;

    /* The registry's (registry.c). */
    _Atomic(struct gr_g *) id_next;
    uint32_t slot;

    char name[GR_NAME_MAX + 1]; /* guarded by meta_lock */

    /* As above, of waits: shown. wait_deadline_ns 0: none. */
    _Atomic(uint64_t) wait_since_ticks, wait_address, wait_deadline_ns;
    _Atomic(uint8_t *)
        folded; /* the block that its used stack bytes are in; changes while COPYSTACK only */

    /* Its owner's, again. */
    struct arch_frame *stop_frame; /* of the entry check or async stop it is in, on its stack */
    void *stop_vectors;
    struct arch_context ctx_syscall; /* as of syscall entry: what holders of one in a call read */
    void *asan_fake_stack, *tsan_fiber;

    /* Cleared at birth if marked. Of gr_mutexes; 0: free. Also by an unlocker that hands its lock to this one, which waits and was won. */
    _Atomic(uint64_t) lock_held[GR_LOCKS_SHOWN];
    /* Counted by the signal handler and the slow path, relaxed: reported when a suspend times out. */
    _Atomic(uint64_t) refused[GR_REFUSALS];
    _Atomic(uint64_t) signals, refused_pc;
};
#define GRI_G_HOT_LINES 6
_Static_assert(offsetof(struct gr_g, slot) < GRI_G_HOT_LINES * GRI_CACHE_LINE,
               "what every run needs");
/* Asks the caches for those lines. */
static inline void gri_fetch_slot(const struct gr_g *g)
{
    for (size_t i = 0; i < GRI_G_HOT_LINES; i++)
        __builtin_prefetch((const char *)g + i * GRI_CACHE_LINE, 1);
}
/* And for where it goes on. Its SP is read though another may run it: nothing follows from it. */
#if defined(__SANITIZE_THREAD__)
#define gri_fetch_stack(g) ((void)(g))
#else
static inline void gri_fetch_stack(const struct gr_g *g)
{
    const char *sp = __atomic_load_n(&g->ctx_sched, __ATOMIC_RELAXED);

    if (sp) {
        __builtin_prefetch(sp, 1);
        __builtin_prefetch(sp + GRI_CACHE_LINE, 1);
    }
}
#endif

/* See `marked`. */
static inline void gri_g_mark(struct gr_g *g)
{
    if (!atomic_load_explicit(&g->marked, memory_order_relaxed))
        atomic_store_explicit(&g->marked, true, memory_order_relaxed);
}

/* The goroutine that runs on this thread; NULL on system stacks and foreign threads. */
struct gr_g *gri_self(void);
uint64_t gri_id(void); /* its id; 0: none */

static inline bool gri_g_is_pinned(const struct gr_g *g)
{
    return g->wired || g->pinned > 0 || (g->foreign && g->foreign->depth > 0);
}

/* From the goroutine itself. While pinned it is stopped and parked with its thread. They nest. */
void gri_pin(struct gr_g *g);
void gri_unpin(struct gr_g *g);

/*
 * Where this function is called from, to be shown: in the call, since where it returns to may be of the next line, or of the next
 * function.
 */
#define GRI_CALLER ((uint64_t)__builtin_return_address(0) - 1)

/* ---- Blocking: for channels, locks, wrappers ------------------------------------------------------- */

/*
 * gri_park: the caller waits until somebody calls gri_ready for it. Runs commit(g, arg) on the system stack after the
 * goroutine is WAITING; if it returns false the goroutine goes on at once. The wake may come before commit ends.
 * Returns nothing: why it was woken is the waker's to leave somewhere.
 */
typedef bool gri_commit_fn(struct gr_g *g, void *arg);
void gri_park(enum gri_wait reason, const void *object, gri_commit_fn *commit, void *arg);
/* Unlocks a gri_lock as commit: gri_park(reason, obj, gri_commit_unlock, &lock). */
bool gri_commit_unlock(struct gr_g *g, void *lock);
/* WAITING -> RUNNABLE and queued. Exactly one call for each park. From any thread, no lock of the g held. */
void gri_ready(struct gr_g *g);

/*
 * Goroutines that were won under an object's lock, to be readied in that order when it is released: until then they wait, and
 * queue_next is nobody's else.
 */
struct gri_g_list {
    struct gr_g *head, *tail;
};
static inline void gri_g_list_add(struct gri_g_list *list, struct gr_g *g)
{
    g->queue_next = NULL;
    if (list->tail)
        list->tail->queue_next = g;
    else
        list->head = g;
    list->tail = g;
}
static inline void gri_g_list_ready(const struct gri_g_list *list)
{
    struct gr_g *g = list->head;

    while (g) {
        struct gr_g *next = g->queue_next;

        gri_ready(g);
        g = next;
    }
}

/*
 * A cancellable, timed wait: the waiter publishes a gri_waiter, wakers race for it with gri_waiter_win.
 * cancel: gr_cancel wins it with -ECANCELED, the timer with -ETIMEDOUT.
 */
struct gri_waiter {
    struct gr_g *g;
    _Atomic(uint32_t) state; /* 0 waiting, 1 won */
    int result;              /* the winner's, read after waking */
    void *payload;           /* the winner may leave or take something here before it readies g */
    uint64_t deadline_ns;    /* monotonic; 0: none */
    size_t heap_index;       /* in the timer heap, counted from 1; 0: not in it */
    /*
     * False only if commit releases a lock that the woken goroutine takes before it returns: then nothing of
     * the waiter is gone while commit runs. True: gri_wait itself waits for commit to end.
     */
    bool careful;
};
/* True for exactly one caller; it then sets result and calls gri_ready(w->g). */
bool gri_waiter_win(struct gri_waiter *w, int result);

/*
 * What others touch of a goroutine while it waits must not lie on a stack that may be folded. A goroutine with a private
 * stack has this instead, for one wait at a time; all others keep their records on the stack.
 */
#define GRI_APART_RECORD 112
#define GRI_APART_ELEM   32
struct gri_apart {
    _Alignas(8) uint8_t record[GRI_APART_RECORD];
    uint8_t elem[GRI_APART_ELEM];
};
/* Where the record of g's next wait goes: `local`, on its stack, or apart from it. `type` is what is kept there. */
#define GRI_WAIT_RECORD(g, type, local)                                                            \
    ((type *)((g)->apart ? (void *)(g)->apart->record : (void *)(local)));                         \
    _Static_assert(sizeof(type) <= GRI_APART_RECORD, "the record of a wait fits")
/*
 * What does not wait gives way here, in each function that a goroutine may call: they have no checks, and code whose loop asks
 * the time or bears others would be met outside of them by luck only. What the runtime calls itself must not: it may hold a
 * lock. The caller must be ready to go on upon another thread. pc: GRI_CALLER.
 */
void gri_give_way_slow(struct gr_g *g, uint64_t pc);
static inline void gri_give_way(struct gr_g *g, uint64_t pc)
{
    /* relaxed: a poison that is missed is met by the next call. */
    if (g && atomic_load_explicit((_Atomic(uint64_t) *)arch_guard_slot(), memory_order_relaxed) >
                 g->guard_bound)
        gri_give_way_slow(g, pc);
}
#define GRI_GIVE_WAY() gri_give_way(gri_self(), GRI_CALLER)
static inline bool gri_on_stack_of(const struct gr_g *g, const void *at)
{
    return (const uint8_t *)at >= g->stack.lo && (const uint8_t *)at < g->stack.hi;
}

/*
 * Waits on `w`, until won. commit as for gri_park. deadline_ns: monotonic, 0 none. Registers w for
 * cancellation and the timer, and unregisters before it returns w->result. The caller must take w off its
 * own lists if the result is -ETIMEDOUT or -ECANCELED.
 */
int gri_wait(struct gri_waiter *w, enum gri_wait reason, const void *object, uint64_t deadline_ns,
             gri_commit_fn *commit, void *arg);

/* gr_sleep_ns and gr_yield of a goroutine whose place is noted already (gri_wrap_enter). */
int gri_sleep(uint64_t ns);
void gri_yield(void);

/* Every channel there is, and its size: fn must neither block nor use channels. */
typedef void gri_object_fn(void *arg, uint64_t address, size_t bytes);
void gri_chan_each(gri_object_fn *fn, void *arg);
/* For waits.c: the channel at `address`. False: none is there. */
bool gri_chan_peek(uint64_t address, struct gr_wait_object *object);
/*
 * For waits.c: what the memory at `address` says of an object that a goroutine waits for. The caller looks
 * afterwards whether it still waits: if so, the memory was such an object. False: it can't be read.
 */
bool gri_sync_peek(uint64_t address, struct gr_wait_object *object);
/* The channels of a select (wait_address): copies up to max, returns how many. */
size_t gri_select_peek(uint64_t address, struct gr_wait_object *objects, size_t max);
/* Before a system call of g that waits for a lock of libc's (THREAD_MUTEX or THREAD_RWLOCK), and after it (NONE). */
void gri_waits_for_thread_lock(struct gr_g *g, enum gri_wait reason, const void *lock, bool timed);

/* Parks until fd is ready; deadline_ns as above. 0, -ETIMEDOUT, -ECANCELED, -EPERM: not pollable (a regular file). */
int gri_poll_wait(int fd, int poll_events, uint64_t deadline_ns);
/* The fd is about to be closed: waiters wake with -EBADF. */
void gri_poll_forget(int fd);

/*
 * Around code that may block in the kernel. The context is captured in the caller's frame, which must not
 * return before gri_syscall_exit: so these are a macro and a function. g == NULL: nothing.
 */
#define GRI_SYSCALL_ENTER(g)                                                                       \
    do {                                                                                           \
        if (g) {                                                                                   \
            arch_capture(&(g)->ctx_syscall);                                                       \
            gri_syscall_enter(g);                                                                  \
        }                                                                                          \
    } while (0)
void gri_syscall_enter(struct gr_g *g);
void gri_syscall_exit(struct gr_g *g);

/* A child process made by fork in a goroutine wants to schedule: says so and ends it. */
_Noreturn void gri_scheduled_in_child(void);

/* errno of the running goroutine to libc's slot and back; import wrappers call the first on entry. */
void gri_errno_to_libc(void);

/* ---- Modules, as the rest of core sees them --------------------------------------------------------- */

/* Where `pc` lies, for the handler: async-signal-safe, no lock. GR_REFUSALS: it is a safe-point. */
enum gr_refusal gri_text_check(uint64_t pc);
/* The module of a code address, or NULL. Async-signal-safe. */
struct gri_module *gri_module_of(uint64_t pc);
/* The module whose constructors the calling thread runs; NULL. */
struct gri_module *gri_module_constructing(void);
const char *gri_module_name(const struct gri_module *module);
/* Each loaded module: its segments from lo to hi, and the text among them. fn must neither block nor load modules. */
typedef void gri_span_fn(void *arg, const char *name, uint64_t lo, uint64_t hi, uint64_t text_lo,
                         uint64_t text_hi);
void gri_module_each_span(gri_span_fn *fn, void *arg);
void gri_module_live_add(struct gri_module *module, int delta);
bool gri_module_wired(const struct gri_module *module);
/* A descriptor of the caller's for the file of the module that is mapped at `base`; -1. */
int gri_module_file(uint64_t base);
/* An entry of a loaded module: 0, -ENOENT (module), -ESRCH (entry). Takes a reference: gri_module_live_add(-1) gives it back. */
int gri_module_entry(const char *module, const char *entry, struct gri_module **out,
                     const struct gr_entry **out_entry);
/* The module "main" of a program built by grasp-cc; does nothing if the program is not one. Called by gr_start. */
int gri_module_load_main(char *err, size_t err_bytes);

#endif
