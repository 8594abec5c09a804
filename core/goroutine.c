/*
 * goroutine.c: births and ends: gr_go, spawning a module's entry, results, labels, cancellation.
 *
 * A birth fills a slot that nobody else can see as alive (IDLE), gives it an id, makes it RUNNABLE and findable in one step, and
 * queues it. Children inherit the root, the labels and the log of whoever bears them.
 *
 * Nothing is written to its stack before its first run: until then it has one so that the run can't fail, but which is
 * settled by the run (sched.c).
 */
#include "scheduler.h"
#include "trace_rings.h"
#include "waiting.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sanitize.h"

#define STACK_BYTES_MIN ((size_t)64 * 1024)
#define STACK_BYTES_MAX ((size_t)1 << 30)
/* Entry checks leave so much for frames they don't know of, and for being caught. */
#define GUARD_BOUND_BYTES 16384

struct birth {
    void (*fn)(void *);
    void *arg;
    const char *name;
    const char *const *labels;
    size_t stack_bytes;
    bool stack_private;
    struct gri_module *module; /* with a reference, of a root */
    const struct gr_entry *entry;
    char *args; /* owned */
};

static uint64_t realtime_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The first frame of every goroutine, on its stack. */
static void goroutine_main(void *arg)
{
    struct gr_g *g = arg;

    GRI_ASAN_ARRIVE(NULL, NULL, NULL);
    if (g->entry)
        g->exit_code = g->entry->fn(g->args);
    else
        g->fn(g->arg);
    gri_exit_goroutine();
}

static void set_name(struct gr_g *g, const char *name)
{
    size_t n = name ? strnlen(name, GR_NAME_MAX) : 0;

    if (n)
        memcpy(g->name, name, n);
    g->name[n] = 0;
}

/* A late counter of a life before may still come: it marks the slot after that, and the next birth clears it. */
static void clear_marked(struct gr_g *g)
{
    atomic_store_explicit(&g->marked, false, memory_order_relaxed);
    for (unsigned i = 0; i < GR_REFUSALS; i++)
        atomic_store_explicit(&g->refused[i], 0, memory_order_relaxed);
    atomic_store_explicit(&g->signals, 0, memory_order_relaxed);
    atomic_store_explicit(&g->refused_pc, 0, memory_order_relaxed);
    for (unsigned i = 0; i < GR_LOCKS_SHOWN; i++)
        atomic_store_explicit(&g->lock_held[i], 0, memory_order_relaxed);
}

static void clear_counters(struct gr_g *g)
{
    if (atomic_load_explicit(&g->marked, memory_order_relaxed))
        clear_marked(g);
    atomic_store_explicit(&g->cpu_ticks, 0, memory_order_relaxed);
    atomic_store_explicit(&g->preempts_sync, 0, memory_order_relaxed);
    atomic_store_explicit(&g->preempts_async, 0, memory_order_relaxed);
    atomic_store_explicit(&g->pc_hint, 0, memory_order_relaxed);
    atomic_store_explicit(&g->wait_reason, GRI_WAIT_NONE, memory_order_relaxed);
    atomic_store_explicit(&g->shown_pinned, false, memory_order_relaxed);
    atomic_store_explicit(&g->signalled, false, memory_order_relaxed);
    atomic_store_explicit(&g->last_m, -1, memory_order_relaxed);
    atomic_store_explicit(&g->last_p, -1, memory_order_relaxed);
    atomic_store_explicit(&g->m, NULL, memory_order_relaxed);
}

void *gri_first_frame;

void gri_goroutine_init(void)
{
    static _Alignas(16) uint8_t stack[256];

    gri_first_frame = arch_stack_init(stack + sizeof stack, goroutine_main, NULL);
}

void gri_goroutine_begin(struct gr_g *g)
{
    uint8_t *top = g->stack.hi - sizeof *g->foreign;

    g->foreign = (struct arch_foreign *)top;
    g->foreign->depth = 0;
    g->ctx_sched = arch_stack_init(top, goroutine_main, g);
}

uint64_t gri_guard_bound(const struct gri_stack *stack)
{
    return (uint64_t)stack->lo + GUARD_BOUND_BYTES;
}

/* IDLE, ours: everything but what is inherited. */
static void fill(struct gr_g *g, const struct birth *birth)
{
    g->ctx_sched = NULL;
    g->foreign = NULL;
    g->guard_bound = gri_guard_bound(&g->stack);
    GRI_TSAN_CREATE(&g->tsan_fiber);
    clear_counters(g);
    g->fn = birth->fn;
    g->arg = birth->arg;
    g->stop_kind = GRI_STOP_CALL;
    g->nopreempt = g->pinned = 0;
    g->pin_m = NULL;
    g->err = 0;
    g->exit_code = 0;
    g->args = birth->args;
    g->entry = birth->entry;
    atomic_store_explicit(&g->created_realtime_ns, realtime_ns(), memory_order_relaxed);
}

/*
 * meta_lock of g and of its parent are not both taken: the parent is the caller, which alone changes its labels. That of g is,
 * though nobody can find the new life yet: whoever found the slot's life before may be looking (info.c), or about to store
 * its cancellation; it has done so, or sees the new generation.
 */
static int inherit(struct gr_g *g, struct gr_g *parent, const struct birth *birth)
{
    struct gri_labels *labels;
    bool root = birth->entry || !parent;
    int error = gri_labels_make(&labels, parent ? parent->labels : NULL, birth->labels);
    struct gri_module *module = birth->module ? birth->module : gri_module_constructing();
    struct gri_log *log;

    if (error)
        return error;
    /* Started by a program's own thread, it belongs to the module whose code it is: "main", mostly. */
    if (!module)
        module = parent ? parent->module : gri_module_of((uint64_t)(uintptr_t)birth->fn);
    log = root ? gri_log_create() : gri_log_ref(parent->log);
    if (module && !birth->module)
        gri_module_live_add(module, 1);
    gri_lock(&g->meta_lock);
    set_name(g, birth->name);
    g->labels = labels;
    g->module = module;
    g->wired = module && gri_module_wired(module);
    g->root_entry = birth->entry ? birth->entry : parent ? parent->root_entry : NULL;
    g->log = log;
    g->result = NULL;
    atomic_store_explicit(&g->cancel, 0, memory_order_relaxed);
    gri_unlock(&g->meta_lock);
    g->is_root = root;
    return 0;
}

static void set_family(struct gr_g *g, struct gr_g *parent, uint64_t id)
{
    bool root = g->is_root;

    atomic_store_explicit(&g->root,
                          root ? id : atomic_load_explicit(&parent->root, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&g->parent,
                          parent ? atomic_load_explicit(&parent->id, memory_order_relaxed) : 0,
                          memory_order_relaxed);
    /* What is asked of the parent later is asked of those that it has. */
    if (!root && atomic_load_explicit(&parent->cancel, memory_order_relaxed))
        atomic_store_explicit(&g->cancel, 1, memory_order_relaxed);
}

/* What a goroutine with a private stack has besides. */
static int make_apart(struct gr_g *g, const struct birth *birth)
{
    if (!birth->stack_private)
        return 0;
    g->apart = malloc(sizeof *g->apart);
    return g->apart ? 0 : -ENOMEM;
}

static int64_t bear(const struct birth *birth)
{
    struct gr_g *parent = birth->entry ? NULL : gri_self();
    int error = 0;
    struct gr_g *g = gri_g_alloc(birth->stack_bytes, &error);
    uint64_t id, w;

    if (!g)
        return error;
    fill(g, birth);
    error = make_apart(g, birth);
    if (!error)
        error = inherit(g, parent, birth);
    if (error) {
        w = atomic_load_explicit(&g->word, memory_order_relaxed);
        /* acq_rel; nobody has seen it, but every change of a word is a read-modify-write. */
        atomic_exchange_explicit(&g->word, gri_word_with_state(w, GR_DEAD), memory_order_acq_rel);
        gri_g_abandon(g);
        return error;
    }
    id = gri_registry_name(g);
    set_family(g, parent, id);
    gri_registry_publish(g);
    /* seq_cst; pairs with gr_cancel_all: we see that all are to end, or its walk comes by us. It is not queued yet. */
    if (atomic_load_explicit(&gri_draining, memory_order_seq_cst))
        atomic_store_explicit(&g->cancel, 1, memory_order_relaxed);
    /* seq_cst; pairs with gr_tell_births: we tell, or whoever lists after it sees us. */
    if (g->is_root || atomic_load_explicit(&gri_births_told, memory_order_seq_cst))
        gri_event(GR_EVENT_CREATED, id, atomic_load_explicit(&g->root, memory_order_relaxed), NULL);
    gri_trace(GR_TRACE_BORN, g, 0, atomic_load_explicit(&g->parent, memory_order_relaxed));
    gri_enqueue(g, false);
    return (int64_t)id;
}

/* ---- Public -------------------------------------------------------------------------------------- */

uint64_t gr_go(void (*fn)(void *), void *arg)
{
    struct birth birth = {.fn = fn, .arg = arg};
    int64_t id;

    GRI_GIVE_WAY();
    id = fn ? bear(&birth) : 0;
    return id > 0 ? (uint64_t)id : 0;
}

int64_t gr_go_with(const struct gr_go_opts *opts)
{
    struct birth birth;

    GRI_GIVE_WAY();
    if (!opts || !opts->fn ||
        (opts->stack_bytes &&
         (opts->stack_bytes < STACK_BYTES_MIN || opts->stack_bytes > STACK_BYTES_MAX)))
        return -EINVAL;
    birth = (struct birth){.fn = opts->fn,
                           .arg = opts->arg,
                           .name = opts->name,
                           .labels = opts->labels,
                           .stack_bytes = opts->stack_bytes,
                           .stack_private = opts->stack_private};
    return bear(&birth);
}

int64_t gr_spawn(const char *module, const char *entry, const char *args_json,
                 const char *const *labels)
{
    struct birth birth = {.labels = labels};
    int64_t id;
    int error;

    GRI_GIVE_WAY();
    if (atomic_load_explicit(&gri_draining, memory_order_acquire))
        return -ECANCELED;
    if (args_json && strlen(args_json) > GR_ARGS_BYTES_MAX)
        return -E2BIG;
    error = gri_module_entry(module, entry, &birth.module, &birth.entry);
    if (error)
        return error;
    birth.name = birth.entry->name;
    birth.args = strdup(args_json ? args_json : "null");
    id = birth.args ? bear(&birth) : -ENOMEM;
    if (id < 0) {
        free(birth.args);
        gri_module_live_add(birth.module, -1);
    }
    return id;
}

uint64_t gri_id(void)
{
    struct gr_g *g = gri_self();

    return g ? atomic_load_explicit(&g->id, memory_order_relaxed) : 0;
}

uint64_t gr_id(void)
{
    GRI_GIVE_WAY();
    return gri_id();
}

int gr_result(const char *json)
{
    struct gr_g *g = gri_self();
    size_t bytes = json ? strnlen(json, GR_RESULT_BYTES_MAX + 1) : 0;
    char *copy, *old;

    if (!g)
        return -EPERM;
    gri_give_way(g, GRI_CALLER);
    if (bytes > GR_RESULT_BYTES_MAX)
        return -E2BIG;
    if (!json || !gri_json_valid(json, bytes))
        return -EINVAL;
    copy = strdup(json);
    if (!copy)
        return -ENOMEM;
    gri_lock(&g->meta_lock);
    old = g->result;
    g->result = copy;
    gri_unlock(&g->meta_lock);
    free(old);
    return 0;
}

int gr_label(const char *key, const char *value)
{
    struct gr_g *g = gri_self();
    const char *pairs[3] = {key, value, NULL};
    struct gri_labels *labels, *old;
    int error;

    if (!g)
        return -EPERM;
    gri_give_way(g, GRI_CALLER);
    if (!key)
        return -EINVAL;
    error = value ? gri_labels_make(&labels, g->labels, pairs)
                  : gri_labels_without(&labels, g->labels, key);
    if (error)
        return error;
    gri_lock(&g->meta_lock);
    old = g->labels;
    g->labels = labels;
    gri_unlock(&g->meta_lock);
    gri_labels_unref(old);
    return 0;
}

int gr_log(const char *fmt, ...)
{
    struct gr_g *g = gri_self();
    char line[GR_LOG_LINE_MAX];
    va_list args;
    int n;

    gri_give_way(g, GRI_CALLER);
    va_start(args, fmt);
    n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0)
        return -EINVAL;
    if ((size_t)n >= sizeof line)
        n = sizeof line - 1;
    if (g && g->log)
        gri_log_write(g->log, line, (size_t)n);
    gri_event(GR_EVENT_LOG, g ? atomic_load_explicit(&g->id, memory_order_relaxed) : 0,
              g ? atomic_load_explicit(&g->root, memory_order_relaxed) : 0, line);
    return 0;
}

/* ---- Cancellation -------------------------------------------------------------------------------- */

_Atomic(uint32_t) gri_draining;

/* meta_lock held: sets the flag, takes the waiter that g waits on, if any, and wins it. While it is ours gri_wait does not return. */
static bool cancel_wait(struct gr_g *g)
{
    static struct gri_waiter taken; /* an address that is no waiter's */
    struct gri_waiter *w = gri_waiting_cancel(&g->cancel, &g->waiting);
    bool won;

    if (!w || !gri_waiting_take(&g->waiting, w, &taken))
        return false;
    won = gri_waiter_win(w, -ECANCELED);
    /* release; gri_wait takes meta_lock before the waiter goes, whether it finds `taken` or this. */
    atomic_store_explicit(&g->waiting, NULL, memory_order_release);
    return won;
}

/*
 * g is asked to end; the word says which life of the slot is meant. False: that life is over. It does not end while meta_lock is
 * held (dead.c), so what is asked here is in its record.
 */
static bool cancel_g(struct gr_g *g, uint64_t word)
{
    bool alive, wake = false;
    struct gr_m *m;

    gri_lock(&g->meta_lock);
    alive = gri_word_generation(atomic_load_explicit(&g->word, memory_order_acquire)) ==
            gri_word_generation(word);
    if (alive) {
        /*
         * The flag's seq_cst store also pairs with the CAS to SYSCALL and the look at the flag in
         * arch_cancellable_syscall: it sees the flag, or we see SYSCALL below.
         */
        wake = cancel_wait(g);
    }
    gri_unlock(&g->meta_lock);
    if (!alive)
        return false;
    if (wake) {
        gri_ready(g);
        return true;
    }
    /*
     * In the kernel: the signal's handler sends it out of arch_cancellable_syscall. Its thread is read after the word, whose
     * SYSCALL releases it: that thread, or one of a later run, which has looked at the flag.
     */
    if (gri_word_state(atomic_load_explicit(&g->word, memory_order_seq_cst)) == GR_SYSCALL &&
        (m = atomic_load_explicit(&g->m, memory_order_acquire)))
        gri_signal_thread(m);
    return true;
}

int gr_cancel(uint64_t id)
{
    uint64_t w;
    struct gr_g *g;

    GRI_GIVE_WAY();
    g = gri_registry_find(id, &w);
    if (g && cancel_g(g, w))
        return 0;
    return gri_registry_missing(id);
}

static void cancel_slot(void *arg, struct gr_g *g, uint64_t word)
{
    (void)cancel_g(g, word);
}

void gr_cancel_all(void)
{
    /* seq_cst, and a fence before the walk; pairs with bear: a birth that the walk misses sees it. */
    atomic_store_explicit(&gri_draining, 1, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    gri_registry_each(cancel_slot, NULL);
}

/* ---- Pinning ------------------------------------------------------------------------------------- */

void gri_pin(struct gr_g *g)
{
    g->pinned++;
}

void gri_unpin(struct gr_g *g)
{
    GRI_ASSERT(g->pinned > 0);
    g->pinned--;
}

/* ---- gr_suspend ---------------------------------------------------------------------------------- */

static int suspend_any(uint64_t id, uint64_t timeout_ns, gr_suspension *out, bool self)
{
    struct gri_hold_slot *slot;
    int error;

    if (!out)
        return -EINVAL;
    *out = (gr_suspension){0};
    slot = gri_hold_slot_take();
    if (!slot)
        return -ENOMEM;
    error = self          ? gri_hold_self(&slot->hold)
            : !gri_self() ? gri_hold_by_thread(&slot->hold, id, timeout_ns, false)
                          : gri_hold_by_goroutine(&slot->hold, id, timeout_ns);
    if (error) {
        gri_hold_slot_give(slot);
        return error;
    }
    *out = (gr_suspension){slot, slot->serial};
    return 0;
}

int gr_suspend(uint64_t id, uint64_t timeout_ns, gr_suspension *out)
{
    GRI_GIVE_WAY();
    return suspend_any(id, timeout_ns, out, false);
}

int gr_suspend_self(gr_suspension *out)
{
    int error;

    if (!gri_self())
        return -EPERM;
    error = suspend_any(0, 0, out, true);
    if (!error)
        gri_mcall(gri_preempt_park, NULL);
    return error;
}

int gr_resume(gr_suspension suspension)
{
    int error = gri_hold_slot_end(suspension.record, suspension.serial);

    GRI_GIVE_WAY();
    return error;
}
