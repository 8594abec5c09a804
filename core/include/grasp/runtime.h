/*
 * runtime.h: the runtime as its host sees it: start it, list and describe goroutines, hold them, copy
 * what they look like. The daemon's HTTP API is written against this header and inspect.h alone.
 *
 * A hold (struct gr_hold) is a record in the caller's storage that is both the waiter for a stop and,
 * once told, the claim that keeps the goroutine stopped. The caller is told by call-back, so that an event
 * loop never waits. Rejected: a blocking call plus a thread pool; 10,000 pending suspends would need as
 * many threads.
 *
 * Unless a function says otherwise it may be called from any thread that is not a goroutine, does not
 * block for longer than a look at all goroutines takes, and returns 0 or a negative errno.
 */
#ifndef GRASP_RUNTIME_H
#define GRASP_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <grasp/goroutine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Life ---------------------------------------------------------------------------------------- */

enum gr_stack_guard {
    GR_GUARD_AUTO,     /* guard regions where the kernel has them, else mprotect */
    GR_GUARD_MPROTECT, /* as on kernels before 6.13: about 32,000 goroutines */
    GR_GUARD_NONE,     /* the software check alone (--unguarded-stacks) */
    GR_GUARD_COMMIT,   /* a stack is made accessible when it is first used, as under vm.overcommit_memory=2 */
};

#define GR_PROCS_MAX 1024
#define GR_GOROUTINES_MAX    16777216 /* that live at once */
#define GR_TIME_SLICE_US_MIN 100
#define GR_TIME_SLICE_US_MAX 10000000
#define GR_HOLDS_MAX 4095 /* claims on one goroutine at a time */

#define GR_FOLD_NEVER UINT32_MAX /* fold_after_ms: nothing is given back */

struct gr_options {
    unsigned procs;          /* 0: min(affinity, ceil(cgroup quota)) */
    bool async_preempt_off;  /* no signals: cooperative stops only */
    bool nice_off;           /* workers keep the process's nice value instead of +5 */
    uint32_t time_slice_us;  /* 0: 10,000 */
    uint64_t max_goroutines; /* 0: 10,000,000; GR_GOROUTINES_MAX at most */
    enum gr_stack_guard stack_guard;
    uint32_t fold_after_ms;  /* a wait so long counts as long: unused stack memory goes back then. 0: 1,000 */
    const char *crash_dir; /* where crash reports go besides stderr; NULL: stderr alone; copied */
};

/* Starts threads and installs the handlers. options NULL: defaults. Once per process: -EALREADY. err gets a sentence. */
int gr_start(const struct gr_options *options, char *err, size_t err_bytes);

/* Asks every goroutine to end, and each that is born from now on. Returns at once. */
void gr_cancel_all(void);

/* ---- What the runtime tells of itself -------------------------------------------------------------- */

enum gr_state {
    GR_IDLE,
    GR_RUNNABLE,
    GR_RUNNING,
    GR_SYSCALL,
    GR_WAITING,
    GR_COPYSTACK,
    GR_COPYSTACK_WOKEN,
    GR_PREEMPTED,
    GR_DEAD,
    GR_STATES
};
const char *gr_state_name(enum gr_state state); /* copystack counts as "waiting" */

enum gr_safepoint { GR_SAFEPOINT_BLOCKED, GR_SAFEPOINT_SYNC, GR_SAFEPOINT_ASYNC, GR_SAFEPOINTS };
const char *gr_safepoint_name(enum gr_safepoint kind);

/* Why a request to stop was not followed at once. Slugs: gr_refusal_name. */
enum gr_refusal {
    GR_REFUSED_NOT_RUNNING,  /* the thread runs no goroutine, or another one */
    GR_REFUSED_NOPREEMPT,    /* inside gr_nopreempt_begin … _end or a no-preempt import */
    GR_REFUSED_STACK,        /* SP outside the goroutine's stack, or no room for the frame */
    GR_REFUSED_RUNTIME,      /* PC in the runtime */
    GR_REFUSED_LIBC,         /* PC in libc or another library that is not a module */
    GR_REFUSED_UNSAFE_POINT, /* GR_NOPREEMPT function, entry check, or code without unwind data */
    GR_REFUSED_OFF,          /* asynchronous preemption is switched off */
    GR_REFUSED_BLOCKED,      /* the thread used no CPU since the last try: no signal sent */
    GR_REFUSALS
};
const char *gr_refusal_name(enum gr_refusal reason);

#define GR_LATENCY_BUCKETS 32 /* bucket i counts latencies in [2^i, 2^(i+1)) ns */

struct gr_stats {
    unsigned procs, threads;
    bool async_preempt;
    uint32_t time_slice_us;
    uint64_t max_goroutines;
    uint64_t by_state[GR_STATES];
    uint64_t live, spawned, ended;
    uint64_t held;                        /* goroutines with at least one hold */
    uint64_t safepoints[GR_SAFEPOINTS];   /* suspends told, by kind */
    uint64_t preempts_sync, preempts_async; /* stops of running code for any reason */
    uint64_t refusals[GR_REFUSALS];
    uint64_t signals_sent, signals_resent;
    uint64_t suspends, suspend_timeouts, suspends_gone, resumes;
    uint64_t stack_bytes_mapped, stacks_unguarded;
    uint64_t folded, folds; /* stacks folded now, and so far */
    uint64_t latency[GR_SAFEPOINTS][GR_LATENCY_BUCKETS];
    uint64_t latency_sum_ns[GR_SAFEPOINTS];
};
void gr_stats(struct gr_stats *stats);

/* Applied live. -EINVAL outside 1…GR_PROCS_MAX, or outside the slice's limits. */
int gr_set_procs(unsigned procs);
int gr_set_async_preempt(bool on);
int gr_set_time_slice_us(uint32_t us);

/* Monotonic nanoseconds, the clock of every *_ns field that is a point in time. */
uint64_t gr_now_ns(void);

/* ---- Goroutines ---------------------------------------------------------------------------------- */

/*
 * Spawns a module's entry as a root. labels as in gr_go_opts. The id (> 0), or -ENOENT: module not loaded;
 * -ESRCH: no such entry; -E2BIG: args; -EAGAIN: max_goroutines; -ENOMEM; -EINVAL: labels; -ECANCELED: draining.
 */
int64_t gr_spawn(const char *module, const char *entry, const char *args_json, const char *const *labels);

enum gr_exit_reason { GR_EXIT_RETURNED, GR_EXIT_CANCELLED };

/* A goroutine, alive or among those kept after their end. Strings live in this struct. */
struct gr_info {
    uint64_t id, root, parent; /* parent 0: spawned from outside */
    enum gr_state state;
    bool suspended;   /* holds > 0 and stopped */
    unsigned holds;
    bool cancelled, wired, pinned, folded;
    char name[GR_NAME_MAX + 1]; /* an entry's, or as gr_go_opts said; "": none */
    char module[GR_NAME_MAX + 1];
    char entry[GR_NAME_MAX + 1]; /* of the root's entry; "" if started by gr_go from outside */
    char wait_reason[32];        /* "" unless waiting: "chan receive", "sleep", "poll", … */
    uint64_t wait_address;       /* the object waited for, 0 if none */
    uint64_t wait_ns;            /* how long it has been waiting */
    uint64_t cpu_ns;             /* on a processor, its current run included; of system calls those that kept it */
    uint64_t created_realtime_ns, ended_realtime_ns;
    int m, p; /* thread and processor it runs on, or last ran on; -1: none */
    uint64_t pc; /* where it was when it last stopped, 0 if not known */
    uint64_t preempts_sync, preempts_async;
    size_t label_count;
    struct {
        char key[GR_LABEL_KEY_MAX + 1];
        char value[GR_LABEL_VALUE_MAX + 1];
    } label[GR_LABELS_MAX];
    enum gr_exit_reason exit_reason; /* the rest only if state is GR_DEAD */
    int exit_code;
};

/* -ESRCH: never existed; -EOWNERDEAD: it ended and is no longer kept. */
int gr_info(uint64_t id, struct gr_info *info);
/* The result of a dead goroutine, malloc'ed in *json, or NULL if it set none. Errors as gr_info. */
int gr_info_result(uint64_t id, char **json);

enum gr_list_what { GR_LIST_LIVE = 1, GR_LIST_DEAD = 2 };
/* Ids above `after` in ascending order, at most max of them; returns how many. Never stops anybody. */
size_t gr_list(enum gr_list_what what, uint64_t after, uint64_t *ids, size_t max);
/* Ids live now, in one malloc'ed ascending array; NULL and 0 if out of memory. */
uint64_t *gr_list_all(size_t *count);

/* Asks it to end: its blocking calls fail with ECANCELED. -ESRCH, -EOWNERDEAD. */
int gr_cancel(uint64_t id);

/*
 * What root `id` and its children wrote: up to `bytes` bytes from offset *from of all that was ever written, which moves behind
 * them. Returns how many; *lost says how many before them are not kept any more. Errors as gr_info.
 */
ssize_t gr_log_read(uint64_t root, uint64_t *from, char *buf, size_t bytes, uint64_t *lost);

/*
 * Called on births (of roots, and of all while gr_tell_births), ends and log lines; from any thread or system stack; must not
 * block. Whose goroutine bears or logs calls it in a no-preempt section. One per process.
 */
enum gr_event { GR_EVENT_CREATED, GR_EVENT_ENDED, GR_EVENT_LOG };
typedef void gr_event_fn(void *ctx, enum gr_event event, uint64_t id, uint64_t root, const char *text);
void gr_on_event(gr_event_fn *fn, void *ctx);
/* Whether births of children are told, too. One that is not told is visible to whoever lists after this returned. */
void gr_tell_births(bool on);

/* ---- Holding ------------------------------------------------------------------------------------- */

enum gr_hold_state {
    GR_HOLD_FREE,
    GR_HOLD_PENDING,   /* asked, not stopped yet */
    GR_HOLD_STOPPED,   /* the goroutine stands still until gr_hold_end */
    GR_HOLD_GONE,      /* it ended first */
    GR_HOLD_WITHDRAWN, /* the deadline passed, or gr_hold_cancel */
    GR_HOLD_RELEASED,
};

/* C++ has no _Atomic: there it is a plain word of the same layout, to be read through std::atomic_ref or __atomic_load_n. */
#ifdef __cplusplus
#define GR_ATOMIC_U32 uint32_t
#else
#define GR_ATOMIC_U32 _Atomic(uint32_t)
#endif

struct gr_hold;
/*
 * Told once, from a system stack of any thread, under the goroutine's list lock: must not block, nor call
 * gr_hold_start, _cancel or _wait. gr_copy_held and gr_hold_end are fine; typically it wakes an event loop.
 */
typedef void gr_hold_fn(struct gr_hold *hold);

/* Storage of the caller's, zeroed before first use; must stay valid until told and ended. Fields below are read-only. */
struct gr_hold {
    uint64_t id;               /* goroutine */
    GR_ATOMIC_U32 state;       /* enum gr_hold_state; release by the teller, acquire by readers */
    enum gr_safepoint safepoint; /* valid once stopped */
    enum gr_state stopped_in;  /* the goroutine's state when told */
    uint64_t asked_ns, stopped_ns; /* monotonic */
    void *ctx;                 /* the caller's */
    /* When withdrawn: what stood in the way. */
    uint64_t refused[GR_REFUSALS];
    uint64_t attempts; /* signals */
    uint64_t pc;       /* where it was last seen, 0 if not known */
    /* The runtime's. */
    gr_hold_fn *done;
    void *g;
    uint64_t generation, deadline_ns;
    struct gr_hold *next, *prev;
    struct gr_hold *pend_next, *pend_prev;
    uint32_t pending_listed, waiter_kind;
    uint32_t futex, reserved;
    void *waiter;
};

/*
 * Asks for goroutine `id` to be stopped. GR_HOLD_STOPPED: it stands still already, no call-back follows.
 * GR_HOLD_PENDING: `done` will be called once, with state STOPPED, GONE or WITHDRAWN (deadline).
 * Negative: -ESRCH, -EOWNERDEAD (ended), -EOVERFLOW (GR_HOLDS_MAX), -ETIMEDOUT (timeout_ns 0 and not stopped).
 * Waits at most about 2 µs, for a cooperative stop.
 */
int gr_hold_start(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns, gr_hold_fn *done, void *ctx);
/* Withdraws a pending request: true if it was withdrawn and `done` will not be called. Not from `done`. */
bool gr_hold_cancel(struct gr_hold *hold);
/* Releases. -EINVAL unless stopped and not released before. From anywhere, the call-back included. */
int gr_hold_end(struct gr_hold *hold);
/* Blocks the calling thread until stopped: 0, or as gr_suspend. Not from an event loop. */
int gr_hold_wait(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns);

/* ---- Copying a held goroutine ---------------------------------------------------------------------- */

#define GR_COPY_REGS 40

/* A goroutine's registers and stack at the moment of a hold, in one malloc'ed block of the caller's. */
struct gr_copy {
    uint64_t id;
    enum gr_safepoint safepoint;
    uint64_t reg[GR_COPY_REGS]; /* by arch index; see gr_register_name */
    uint64_t reg_present;       /* bit i: reg[i] was saved */
    uint64_t pc, sp;
    bool in_call;                /* pc is where a call will return to; else the next instruction */
    uint64_t stack_lo, stack_hi; /* of the whole stack */
    uint64_t copied_lo;          /* lowest address copied; the copy runs up to it plus copied_bytes */
    size_t copied_bytes;
    bool truncated;
    size_t vector_bytes; /* 0: not saved at this safe-point */
    uint8_t *stack;      /* capacity is the caller's */
    size_t stack_capacity;
    uint8_t *vectors;
    size_t vector_capacity;
};

/* How much a copy of stack and vectors may need at most for a default goroutine. */
size_t gr_copy_stack_bytes_max(void);
size_t gr_copy_vector_bytes_max(void);
/* Copies while `hold` is STOPPED. Allocates nothing; from anywhere, the call-back included. -EINVAL unless stopped. */
int gr_copy_held(const struct gr_hold *hold, struct gr_copy *copy);

/* The registers of gr_copy, by the names that debuggers use; NULL beyond the last. */
unsigned gr_register_count(void);
const char *gr_register_name(unsigned index);
typedef void gr_vector_fn(void *arg, const char *name, const void *bytes, size_t size);
/* Each vector and floating-point register of a copy, its bytes in memory's order; none if they were not saved. */
void gr_copy_vectors_each(const struct gr_copy *copy, gr_vector_fn *fn, void *arg);
const char *gr_arch_name(void);

/* ---- For gdb --------------------------------------------------------------------------------------- */

/* The registers that gr_gdb_registers fills, as a target description in XML. Its length, as snprintf. */
size_t gr_gdb_description(char *out, size_t bytes);
#define GR_GDB_BYTES_MAX 8192
/* Registers of a copy in that order; valid[i] is 1 where byte i was saved. At most GR_GDB_BYTES_MAX; returns how many. */
size_t gr_gdb_registers(const struct gr_copy *copy, uint8_t *bytes, uint8_t *valid);
/* Reads memory of this process, from `address` as far as it is mapped: how many bytes. From anywhere. */
size_t gr_memory_read(uint64_t address, void *to, size_t bytes);
/*
 * `bytes` were read at `address`: where they are of the held goroutine's stack, they become what the program would
 * see: return addresses that the runtime has replaced (of foreign calls), a stack that is folded. Nothing else changes.
 */
void gr_held_patch(const struct gr_hold *hold, uint64_t address, void *bytes, size_t size);

/* ---- Modules ------------------------------------------------------------------------------------- */

struct gr_module_info {
    char name[GR_NAME_MAX + 1];
    char path[4096];
    char build_id[64];   /* hex, "" if none */
    char error[512];     /* why it is not loaded; "" if it is */
    bool loaded, wired;  /* wired: its goroutines are threads of their own */
    char wired_because[128];
    char kept_by[64];    /* an import for which its code stays mapped when it is unloaded; "": none */
    uint64_t text_lo, text_hi;
    uint64_t entry_checks;
    uint64_t live; /* goroutines whose root entry is of this module */
    size_t entry_count;
};
struct gr_entry_info {
    char name[GR_NAME_MAX + 1];
    char doc[256];
};

/*
 * Loads the module file at `path` under `name`. 0: loaded; 1: the same build id is loaded already;
 * -EBUSY: another build of that name is loaded; -ENOENT: no such file; -ENOEXEC: refused (err says why; also a build
 * that is loaded under another name); -ENOMEM.
 * May block on the disk: not from an event loop.
 */
int gr_module_load(const char *name, const char *path, char *err, size_t err_bytes);
/*
 * The same, but another build of that name is replaced: new goroutines are made of the new one, the old one is unmapped
 * when its last goroutine has ended. -EPERM: the name is "main", the program itself.
 */
int gr_module_replace(const char *name, const char *path, char *err, size_t err_bytes);
/*
 * Unloads a module that has no goroutines, or forgets a refused one. -ENOENT; -EBUSY: goroutines of it, or of builds that
 * it replaced, live; -EPERM: the program itself; -ENOMEM. Runs the module's destructors: not from an event loop.
 */
int gr_module_unload(const char *name, char *err, size_t err_bytes);
/* Builds of `name` that were replaced and have goroutines left; copies up to max, returns how many there are. */
size_t gr_module_leaving(const char *name, struct gr_module_info *infos, size_t max);
/* Modules in order of loading, refused ones included; copies up to max, returns how many there are. */
size_t gr_module_list(struct gr_module_info *infos, size_t max);
int gr_module_info(const char *name, struct gr_module_info *info); /* -ENOENT */
/* Copies up to max entries of a module; returns how many it has, or -ENOENT. */
ssize_t gr_module_entries(const char *name, struct gr_entry_info *entries, size_t max);

#ifdef __cplusplus
}
#endif
#endif
