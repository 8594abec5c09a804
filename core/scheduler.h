/*
 * scheduler.h: threads (m), processors (p), and what the scheduler's files offer each other.
 *
 * A thread runs a goroutine only while it owns a processor. Each p has a queue of its own; there is one global
 * queue, a list of idle processors and a list of parked threads. The wake-up rule is Go's: whoever makes a
 * goroutine runnable wakes one thread if a processor is idle and no thread is searching ("spinning") already;
 * a thread that stops searching looks once more at every queue before it sleeps. The store of the goroutine
 * and the load of the counters on one side, the store of the counters and the look at the queues on the
 * other are separated by seq_cst fences, so that one of the two sees the other (tests/model/litmus.pml, B).
 *
 * Rejected: a parked thread per processor (simpler, but then a syscall that ends on a thread without a
 * processor has no one to hand it over to).
 *
 * Invariants
 *   S1  p->m is the m that owns p, or NULL while it is idle; m->p likewise.
 *   S2  The local queue is pushed and popped by its owner only; anyone may steal.
 *   S3  A thread never exits; m structs are never freed. (core.h)
 *   S4  sched.lock is a leaf: nothing is locked while it is held.
 */
#ifndef GRASP_SCHEDULER_H
#define GRASP_SCHEDULER_H

#include "core.h"
#include "handshake.h"
#include "ring.h"

#include <pthread.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#define GRI_RETRY_GAP_NS  20000   /* between signals to one thread, while a request is fresh */
#define GRI_RETRY_SLOW_NS 1000000 /* and afterwards */

#define GRI_THREADS_MAX 100000

#define GRI_SLICE_OWED 65536u

enum gri_p_status { GRI_P_IDLE, GRI_P_RUNNING, GRI_P_SYSCALL, GRI_P_DEAD };

struct gr_p {
    /* Anyone, by CAS: RUNNING <-> SYSCALL by its m, SYSCALL -> IDLE by whoever retakes it. */
    _Alignas(GRI_CACHE_LINE) _Atomic(uint32_t) status;
    _Atomic(struct gr_m *) m;
    uint32_t index;
    struct gr_p *idle_next; /* sched.lock */

    /* The queue. */
    _Alignas(GRI_CACHE_LINE) _Atomic(struct gr_g *) next; /* runs before it: freshly born or woken */
    struct gri_ring ring;

    /* The owner's; read relaxed by the monitor. */
    _Alignas(GRI_CACHE_LINE) _Atomic(uint64_t) tick; /* goroutines run so far */
    _Atomic(uint64_t) run_since;                     /* arch_ticks when the present slice began */
    _Atomic(uint64_t) next_since;                    /* arch_ticks when `next` was filled */
    _Atomic(uint64_t) syscall_tick;                  /* system calls so far */
    bool inherit;                                    /* the g popped last came from `next` */
    bool woken_had; /* its last turn with the global queue was the woken ones' */
    uint32_t owed;  /* slices that the global queue is due, in parts of GRI_SLICE_OWED */
    struct gr_g *free_list;
    uint32_t free_count;
    bool free_warm; /* the first of them ended here, and nobody was born since */

    /* The monitor's. */
    uint64_t seen_syscall_tick, seen_syscall_ns;
    uint64_t asked_tick, asked_ns; /* the run that was asked to end, and since when */
};

struct gri_profile_ring;
struct gri_trace_ring;

typedef void gri_mcall_fn(struct gr_m *m, struct gr_g *g, void *arg);

struct gr_m {
    /* Anyone. */
    _Alignas(GRI_CACHE_LINE) _Atomic(uint64_t) *guard; /* the thread's guard slot; set once */
    _Atomic(uint32_t)
        signal_pending; /* set by the sender, cleared by the handler or a failed send */
    _Atomic(uint32_t) slice_request; /* set by the monitor, cleared by the owner */
    _Atomic(uint32_t) sema;          /* park: 1 = go on */
    _Atomic(struct gr_g *) curg;     /* written by the owner */
    _Atomic(struct gr_g *)
        committing; /* the g whose commit runs here: its stack is being read (fold.c) */

    /* The owner's. */
    _Alignas(GRI_CACHE_LINE) struct gr_p *p;
    void *signal_stack; /* made before the thread; kept with an m whose thread could not be made */
    struct gr_p *old_p;  /* of the system call it is in */
    struct gr_p *next_p; /* left by whoever woke it */
    void *g0_sp;
    gri_mcall_fn *mcall_fn;
    void *mcall_arg;
    struct gr_g *locked_g; /* pinned or wired: the only one that may run here */
    uint64_t ticks;        /* arch_ticks at the last switch */
    bool spinning, go_on;
    uint32_t steal_seed;
    uint32_t index;
    pid_t tid;
    clockid_t cpu_clock;
    struct gr_m *idle_next; /* sched.lock */
    pthread_t thread;
    _Atomic(uint32_t) ready; /* what worker_main fills is there: tid, cpu_clock, guard */
    _Atomic(struct gri_profile_ring *)
        profile;                            /* profile.c; made by whoever profiles, never freed */
    _Atomic(struct gri_trace_ring *) trace; /* trace.c; likewise */
    const void *asan_stack_lo;
    size_t asan_stack_bytes;
    void *asan_fake_stack, *tsan_fiber;

    /* The owner's; read relaxed by anyone. */
    _Atomic(uint64_t) preempts_sync, preempts_async;

    /* Senders', exchanged relaxed: the thread's CPU clock at the last repeated signal. */
    uint64_t cpu_at_refusal;
    _Atomic(uint64_t) signalled_ns; /* monotonic, of the last signal; relaxed: paces repetitions */
};

/* First in, first out, by queue_next. */
struct gri_global_list {
    struct gr_g *head, *tail;
};

/* Shared by all of core; one instance. */
struct gri_sched {
    struct gri_lock lock;
    /* sched.lock */
    struct gri_global_list queue, woken; /* queue_length counts both */
    struct gr_p *idle_p;
    struct gr_m *idle_m;
    struct gr_m *spare_m; /* their threads could not be made */
    unsigned threads;
    /* Written under sched.lock, read anywhere. */
    _Alignas(GRI_CACHE_LINE) _Atomic(uint32_t) queue_length;
    _Atomic(uint32_t) idle_p_count;
    _Atomic(uint32_t) procs;
    _Atomic(uint32_t) m_count;
    /* Anyone. */
    _Alignas(GRI_CACHE_LINE) _Atomic(int32_t) spinning;
    _Atomic(uint64_t)
        wake_again; /* arch_ticks until which waking for one goroutine is not worth it */
    _Atomic(uint32_t) async_off;
    _Atomic(uint32_t) slice_us;
    _Atomic(uint64_t) slice_ticks; /* the same */
    _Atomic(uint32_t) started;
    bool nice_off;
    int base_nice; /* of the process at gr_start; threads inherit their maker's, which may be a worker */
    double ticks_per_ns;
    _Atomic(uint32_t) p_made;
    _Atomic(struct gr_p *) p[GR_PROCS_MAX]; /* below p_made; never taken back */
    _Atomic(struct gr_m *) m[GRI_THREADS_MAX];
};
extern struct gri_sched gri_sched;

static inline uint32_t gri_processors_made(void)
{
    /* acquire; pairs with processor_add: the entries below it are filled. */
    return atomic_load_explicit(&gri_sched.p_made, memory_order_acquire);
}
static inline struct gr_p *gri_processor(uint32_t index)
{
    /* relaxed: published by p_made. */
    return atomic_load_explicit(&gri_sched.p[index], memory_order_relaxed);
}

/* The m of this thread, or NULL. Never cached across a switch. */
static inline struct gr_m *gri_m(void)
{
    return arch_tls_self()->thread;
}
uint64_t gri_ticks_to_ns(uint64_t ticks);
uint64_t gri_ns_to_ticks(uint64_t ns);

/* ---- sched.c ------------------------------------------------------------------------------------- */

/* From a goroutine: saves it and runs fn(m, g, arg) on the system stack. Returns when g is run again. */
void gri_mcall(gri_mcall_fn *fn, void *arg);
/* The body of every thread; never returns. */
_Noreturn void gri_schedule(struct gr_m *m);
/* From fn of gri_mcall: the goroutine, still or again RUNNING, goes on here when fn has returned. */
void gri_go_on(struct gr_m *m);
/* From a goroutine: its end. */
_Noreturn void gri_exit_goroutine(void);
/* g, RUNNING, whose stack is settled, gets its first frame. */
void gri_goroutine_begin(struct gr_g *g);
/* What such a frame looks like, for who looks at one that has not run. */
extern void *gri_first_frame;
void gri_goroutine_init(void);
uint64_t gri_guard_bound(const struct gri_stack *stack);

/* ---- runq.c -------------------------------------------------------------------------------------- */

/*
 * Makes a RUNNABLE g, newborn or again there, visible to the scheduler and wakes a thread if need be: it runs soon. From any
 * thread. woken: it has waited; where it cannot run soon it is not put behind those who had their slice.
 */
void gri_enqueue(struct gr_g *g, bool woken);
/* The same to the global queue's end. */
void gri_enqueue_global(struct gr_g *g, bool woken);
struct gr_g *gri_runq_pop(struct gr_p *p);
/* Moves all that waits for p to the global queue. From any thread. */
void gri_runq_rescue(struct gr_p *p);
void gri_runq_push(struct gr_p *p, struct gr_g *g);
struct gr_g *gri_runq_steal(struct gr_p *thief, struct gr_p *victim, bool take_next);
bool gri_runq_empty(const struct gr_p *p);
/* Takes a fair share from the global queue, `most` at the most; the rest of it goes to p's queue. */
struct gr_g *gri_global_pop(struct gr_p *p, uint32_t most);
/* As gri_enqueue_global, but nobody is woken. */
void gri_global_push(struct gr_g *g, bool woken);

/* ---- thread.c ------------------------------------------------------------------------------------ */

/* Wakes or makes a thread for p (NULL: an idle one). */
void gri_thread_start(struct gr_p *p, bool spinning);
void gri_wake_one(void);
/*
 * Whether a thread that was woken just now found nothing to do: then one goroutine that its processor will
 * probably run at once (two that hand something to and fro) is no reason to wake it again; the monitor sees to it.
 */
bool gri_wake_in_vain(void);
/* The calling m has no p: sleeps until it is given one. */
void gri_thread_park(struct gr_m *m);
/* m's p goes to whoever can use it. */
void gri_processor_hand_off(struct gr_p *p);
void gri_processor_acquire(struct gr_m *m, struct gr_p *p);
struct gr_p *gri_processor_release(struct gr_m *m);
/* Gives a retired processor's free slots to the global list (registry.c). */
void gri_processor_drain(struct gr_p *p);
/* Whether any queue has something. After a seq_cst fence it misses nothing that was queued before. */
bool gri_work_anywhere(void);
struct gr_p *gri_processor_idle_get(void);
void gri_processor_idle_put(struct gr_p *p);
/* m must run its locked g next: gives up its p, sleeps until the g is handed to it with a p. */
void gri_thread_park_locked(struct gr_m *m);
/* g, dequeued by m, belongs to another thread: that one gets m's p. */
void gri_thread_hand_to_locked(struct gr_m *m, struct gr_g *g);
int gri_threads_init(unsigned procs, char *err, size_t err_bytes);

/* In registry.c; exported for debuggers, which find it by its name. */
extern const struct arch_debug_pair gr_debug_layout[];

/* ---- registry.c, stack.c --------------------------------------------------------------------------- */

/* A slot in state IDLE with a stack; NULL and *error: -ENOMEM or -EAGAIN. */
struct gr_g *gri_g_alloc(size_t stack_bytes, int *error);
/*
 * The stack that the last goroutine left on p is in the caches, that of one that has not run is not. The first gives a free
 * slot of p's whose stack is warm, or NULL; by the second g, RUNNING, exchanges its stack for that one.
 */
struct gr_g *gri_warm_slot(const struct gr_p *p);
void gri_take_warm_stack(struct gr_g *g, struct gr_g *warm);
/* On a system stack, after the word says DEAD. */
void gri_g_free(struct gr_m *m, struct gr_g *g);
/* The same for one that was never born. */
void gri_g_abandon(struct gr_g *g);
/* How many were born and have not ended. Counted, because a walk can miss one that is born in a slot which it has passed. */
uint64_t gri_registry_live(void);
/* How many ended. */
uint64_t gri_registry_ended(void);
/* Gives it the next id, by which it is not found yet. */
uint64_t gri_registry_name(struct gr_g *g);
/* From IDLE to RUNNABLE, and found by its id from this moment on. */
void gri_registry_publish(struct gr_g *g);
/* From RUNNING to DEAD, and found no more, but for its id in *ended, from this moment on. Returns the word before. */
uint64_t gri_registry_remove(struct gr_g *g, _Atomic(uint64_t) *ended);
/* The live goroutine with this id and its word then; NULL: none. */
struct gr_g *gri_registry_find(uint64_t id, uint64_t *word);
/* Calls fn for every slot that is not DEAD or IDLE; stops nobody. */
typedef void gri_slot_fn(void *arg, struct gr_g *g, uint64_t word);
size_t gri_registry_slots(void); /* that gri_registry_each looks at */
void gri_registry_each(gri_slot_fn *fn, void *arg);
uint64_t gri_registry_last_id(void);
/* Why an id was not found. -EOWNERDEAD: it has ended, or was given and is not published yet; -ESRCH: it was never given. */
int gri_registry_missing(uint64_t id);
void gri_registry_init(uint64_t max_goroutines);
uint64_t gri_registry_max(void);

/* Slots with stacks that nobody needed since the last call, off the free list: up to max of them in out; *more: others may follow. */
size_t gri_registry_take_surplus(struct gr_g **out, size_t max, bool *more);
/* Back, for use after all others: their pages are given back. */
void gri_registry_give_cold(struct gr_g **list, size_t count);

/* Decides how stacks are guarded on this kernel. Before the first is made. */
void gri_stack_init(enum gr_stack_guard guard);
/* usable_bytes 0: the default. 0 or -ENOMEM. */
int gri_stack_alloc(struct gri_stack *stack, size_t usable_bytes);
void gri_stack_free(struct gri_stack *stack);
size_t gri_stack_default_bytes(void);
void gri_stack_stats(uint64_t *mapped_bytes, uint64_t *unguarded);

/* ---- suspend.c, preempt.c, monitor.c ------------------------------------------------------------------ */

/* System stack, after a CAS out of running whose old word had holds: tells the waiters. Idempotent. */
void gri_tell(struct gr_g *g);
/* gr_suspend's and gr_suspend_self's parts; stamped: the times are noted even if it stood still. The last returns still running: the caller must park by gri_preempt_park. */
int gri_hold_by_thread(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns, bool stamped);
int gri_hold_by_goroutine(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns);
int gri_hold_self(struct gr_hold *hold);
/* System stack, of gri_mcall: the goroutine becomes PREEMPTED if it is held, RUNNABLE if its slice is over; else it goes on. */
void gri_preempt_park(struct gr_m *m, struct gr_g *g, void *arg);
/* Makes whoever runs on m reach a safe-point: by its next check, or by a signal. `g` for its counters. */
void gri_poison(struct gr_m *m);
bool gri_send_signal(struct gr_m *m, struct gr_g *g); /* true: sent, or one is on its way */
/*
 * Monitor only: once more, but not within gap_ns of the one before. A refused thread has to get somewhere in between: without
 * a gap the monitor, which has the better nice value, could interrupt it for ever at the same instruction.
 */
void gri_send_signal_again(struct gr_m *m, struct gr_g *g, uint64_t gap_ns);
/* Interrupts a system call of m, whatever the off switch says. */
void gri_signal_thread(struct gr_m *m);
int gri_preempt_init(void);
/* By its creator, who can do without it: a thread that has begun cannot. 0 or errno. */
int gri_thread_signals_prepare(struct gr_m *m);
void gri_thread_signals_init(struct gr_m *m);
/* The monitor's part for one g with waiters: expired ones are withdrawn, the others asked for again. True: still pending; *fresh: one of them is young. */
bool gri_pending_visit(struct gr_g *g, uint64_t now_ns, bool *fresh);
void gri_pending_put(struct gr_g *g);

int gri_monitor_start(char *err, size_t err_bytes);
/* There is work again: the monitor, if it sleeps long, looks sooner. */
extern _Atomic(uint32_t) gri_monitor_calm;
void gri_poller_wake(void);
static inline void gri_monitor_work(void)
{
    /* seq_cst, after a seq_cst store or fence; pairs with monitor_main: it looks after our work, or we see that it is calm. */
    if (atomic_load_explicit(&gri_monitor_calm, memory_order_seq_cst) &&
        atomic_exchange_explicit(&gri_monitor_calm, 0, memory_order_seq_cst))
        gri_poller_wake();
}
/* It must look again within delay_ns. */
void gri_monitor_poke(uint64_t delay_ns);

/* ---- fold.c, scavenge.c --------------------------------------------------------------------------------- */

/* The word was `word`, WAITING and unheld: g becomes COPYSTACK, and *range is what can be given back. False: not now. */
bool gri_fold_begin(struct gr_g *g, uint64_t word, struct iovec *range);
/* Its pages are gone: WAITING again, or RUNNABLE if it was woken meanwhile. */
void gri_fold_end(struct gr_g *g);
/* System stack; g is RUNNABLE, dequeued and folded, guard and g->m are set: RUNNING with its stack as it was, or, held, PREEMPTED and false. */
bool gri_unfold(struct gr_g *g);
void gri_fold_stats(uint64_t *folded, uint64_t *folds);

int gri_scavenger_start(uint32_t fold_after_ms, char *err, size_t err_bytes);
/* Something ran: some wait may become a long one. Called by the monitor. */
extern _Atomic(uint32_t) gri_scavenger_dormant;
void gri_scavenger_wake(void);

/* ---- timer.c, poller.c --------------------------------------------------------------------------------- */

void gri_timer_add(struct gri_waiter *w);
void gri_timer_remove(struct gri_waiter *w);
/* Fires what is due; returns the next deadline, 0 if none. Monitor only. */
uint64_t gri_timers_fire(uint64_t now_ns);
int gri_poller_init(void);
/* Readies whoever can go on; timeout_ns as gri_futex_wait. Returns how many. */
int gri_poller_poll(int64_t timeout_ns);
bool gri_poller_has_waiters(void);

/* ---- labels.c, log.c, dead.c --------------------------------------------------------------------------- */

struct gri_labels *gri_labels_ref(struct gri_labels *labels);
void gri_labels_unref(struct gri_labels *labels);
/* base plus pairs (key, value, …, NULL). 0, -EINVAL, -ENOSPC, -ENOMEM. */
int gri_labels_make(struct gri_labels **out, struct gri_labels *base, const char *const *pairs);
int gri_labels_without(struct gri_labels **out, struct gri_labels *base, const char *key);
void gri_labels_copy(const struct gri_labels *labels, struct gr_info *info);
struct gri_log *gri_log_create(void);
struct gri_log *gri_log_ref(struct gri_log *log);
void gri_log_unref(struct gri_log *log);
void gri_log_write(struct gri_log *log, const char *line, size_t bytes);
/* As gr_log_read, of one log. */
ssize_t gri_log_copy(struct gri_log *log, uint64_t *from, char *buf, size_t bytes, uint64_t *lost);

/* Records of gr_suspend: type-stable, told apart by their serial. */
struct gri_hold_slot {
    struct gr_hold hold;
    _Atomic(uint64_t) serial_now;
    uint64_t serial;
    struct gri_hold_slot *next;
};
struct gri_hold_slot *gri_hold_slot_take(void);
void gri_hold_slot_give(struct gri_hold_slot *slot);
int gri_hold_slot_end(void *slot, uint64_t serial);

extern _Atomic(uint32_t) gri_draining;

/*
 * System stack. Ends g, which is RUNNING: remembers what is to be shown of it, takes over its labels, result and log, and makes
 * it DEAD. Returns the word before.
 */
uint64_t gri_dead_keep(struct gr_g *g);
void gri_dead_init(void);
bool gri_dead_info(uint64_t id, struct gr_info *info);
/* 0, -ENOMEM, or -ENOENT: not kept. */
int gri_dead_result(uint64_t id, char **json);
/* A reference, or NULL. */
struct gri_log *gri_dead_log(uint64_t id);
typedef void gri_id_fn(void *arg, uint64_t id);
void gri_dead_each(gri_id_fn *fn, void *arg);
bool gri_json_valid(const char *text, size_t bytes);
const char *gri_wait_name(enum gri_wait reason);
void gri_event(enum gr_event event, uint64_t id, uint64_t root, const char *text);
extern _Atomic(uint32_t) gri_births_told;

/* ---- waits.c --------------------------------------------------------------------------------------------- */

/* A wait as it was seen; it is the same wait as long as gri_wait_same says so. */
struct gri_wait_view {
    struct gr_g *g;
    uint64_t word, id, address, since_ticks, deadline_ns;
    enum gr_state state;  /* WAITING also while its stack is being folded */
    enum gri_wait reason; /* NONE: it does not wait */
    bool cancelled;
};
void gri_wait_look(struct gr_g *g, uint64_t word, struct gri_wait_view *view);
bool gri_wait_same(const struct gri_wait_view *view);
/* What it waits for: at most max, returns how many. True only if gri_wait_same afterwards. */
size_t gri_wait_objects(const struct gri_wait_view *view, struct gr_wait_object *objects,
                        size_t max);
/* Why a g in this state, WAITING or SYSCALL, waits. */
enum gri_wait gri_wait_reason(const struct gr_g *g, enum gr_state state);

/* ---- crash.c ---------------------------------------------------------------------------------------- */

void gri_crash_init(const char *dir);
_Noreturn void gri_stack_overflow(struct gr_g *g, uint64_t sp, uint64_t pc);

/* Counters that suspend.c keeps; stats.c adds the threads' own. */
extern _Atomic(uint64_t)
    gri_count_at_once[GR_SAFEPOINTS]; /* stood still when asked; not in the others */
extern _Atomic(uint64_t) gri_count_suspends, gri_count_timeouts, gri_count_gone, gri_count_resumes;
extern _Atomic(uint64_t) gri_count_signals, gri_count_resent;
extern _Atomic(uint64_t) gri_latency[GR_SAFEPOINTS][GR_LATENCY_BUCKETS];
extern _Atomic(uint64_t) gri_latency_sum[GR_SAFEPOINTS];
extern _Atomic(uint64_t) gri_refused_total[GR_REFUSALS];

#endif
