/*
 * park.c: how a goroutine waits and is woken, with a deadline and cancellation.
 *
 * gri_park is the bare form: save, become WAITING, run `commit` (which typically unlocks the object's lock),
 * schedule. gri_wait puts a gri_waiter around it, for which several wakers may race: the object's, the
 * timer's, the canceller's. The one that wins sets the result and readies the goroutine; the others leave.
 *
 * A waiter lives on the goroutine's stack (or apart from it, if the stack is private and may be folded), so a loser must not look at it after the goroutine is gone. Each
 * kind of waker finds it in a way that gri_wait closes before it returns: object wakers under the object's
 * lock, the timer under the heap's, the canceller by taking g->waiting away under the goroutine's meta_lock.
 * Order of locks: meta_lock, then an object's lock, then the heap's; the wakers take one only.
 *
 * Invariants
 *   W1  A waiter is won exactly once, and its winner calls gri_ready exactly once, after the g is WAITING.
 *   W2  g->waiting is a waiter only between the g's becoming WAITING and its return from gri_wait.
 */
#include "scheduler.h"

#include <sched.h>

#include "trace_rings.h"
#include "waiting.h"

struct park {
    enum gri_wait reason;
    const void *object;
    gri_commit_fn *commit;
    void *arg;
};

/* System stack. */
static void park_on_system_stack(struct gr_m *m, struct gr_g *g, void *arg)
{
    /* On g's stack, which stands still until commit has let a waker in: copied first. */
    struct park park = *(struct park *)arg;
    uint64_t w;
    bool again;

    atomic_store_explicit(&g->wait_reason, park.reason, memory_order_relaxed);
    atomic_store_explicit(&g->wait_address, (uint64_t)park.object, memory_order_relaxed);
    atomic_store_explicit(&g->wait_since_ticks, m->ticks, memory_order_relaxed);
    /* relaxed: released by the CAS below; pairs with gri_fold_begin, which looks here after it has read WAITING. */
    atomic_store_explicit(&m->committing, g, memory_order_relaxed);
    gri_trace(GR_TRACE_BLOCK, g, park.reason, (uint64_t)park.object);
    w = atomic_load_explicit(&g->word, memory_order_relaxed);
    do {
        GRI_ASSERT(gri_word_state(w) == GR_RUNNING);
    } while (!gri_waiting_park(&g->word, &w, gri_word_with_state(w, GR_WAITING)));
    again = park.commit && !park.commit(g, park.arg);
    /* release; pairs with the acquire in gri_fold_begin: commit is done with g's stack. */
    atomic_store_explicit(&m->committing, NULL, memory_order_release);
    if (again)
        gri_ready(g);
    if (gri_word_holds(w) > 0)
        gri_tell(g);
}

void gri_park(enum gri_wait reason, const void *object, gri_commit_fn *commit, void *arg)
{
    struct park park = {reason, object, commit, arg};

    gri_mcall(park_on_system_stack, &park);
    /* Where one that waits stands: in here also for debuggers, which take the innermost pc for an instruction. */
    ARCH_NOP();
}

bool gri_commit_unlock(struct gr_g *g, void *lock)
{
    gri_unlock(lock);
    return true;
}

void gri_ready(struct gr_g *g)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);
    enum gr_state next;

    do {
        /* Its stack is being moved: whoever moves it finds that it was woken, and queues it (gri_fold_end). */
        next = gri_word_state(w) == GR_COPYSTACK ? GR_COPYSTACK_WOKEN : GR_RUNNABLE;
        if (gri_word_state(w) != GR_WAITING && gri_word_state(w) != GR_COPYSTACK)
            GR_PANIC("goroutine %llu is readied but %s",
                     (unsigned long long)atomic_load_explicit(&g->id, memory_order_relaxed),
                     gr_state_name(gri_word_state(w)));
    } while (!gri_waiting_ready(&g->word, &w, gri_word_with_state(w, next)));
    gri_trace(GR_TRACE_READY, g, 0, 0);
    if (next == GR_RUNNABLE)
        gri_enqueue(g, true);
}

bool gri_waiter_win(struct gri_waiter *w, int result)
{
    if (!gri_waiting_win(&w->state))
        return false;
    w->result = result;
    return true;
}

struct timed_wait {
    struct gri_waiter *waiter;
    gri_commit_fn *commit;
    void *arg;
};

/*
 * System stack, g is WAITING. With a timer, or a careful commit, meta_lock is held throughout: gri_wait takes it
 * before it returns, so that the waiter stays valid here even when somebody has won it already.
 */
static bool wait_commit(struct gr_g *g, void *arg)
{
    struct timed_wait wait = *(struct timed_wait *)arg;
    struct gri_waiter *w = wait.waiter;
    bool locked = w->careful || w->deadline_ns, ready = false;

    if (locked)
        gri_lock(&g->meta_lock);
    if (gri_waiting_show(&g->waiting, w, &g->cancel) && gri_waiting_take(&g->waiting, w, NULL))
        ready = gri_waiter_win(w, -ECANCELED);
    if (!locked) {
        if (wait.commit)
            wait.commit(g, wait.arg); /* from here on w may be gone unless we won it */
        return !ready;
    }
    if (wait.commit && !wait.commit(g, wait.arg))
        ready = gri_waiter_win(w, 0) || ready;
    if (!ready && w->deadline_ns)
        gri_timer_add(w);
    gri_unlock(&g->meta_lock);
    return !ready;
}

int gri_wait(struct gri_waiter *w, enum gri_wait reason, const void *object, uint64_t deadline_ns,
             gri_commit_fn *commit, void *arg)
{
    struct gr_g *g = gri_self();
    struct timed_wait wait = {w, commit, arg};

    w->g = g;
    g->wait_apart = !gri_on_stack_of(g, w);
    w->deadline_ns = deadline_ns;
    w->heap_index = 0;
    /* relaxed: shown to people, and read by waits.c, which looks at the word before and after. */
    atomic_store_explicit(&g->wait_deadline_ns, deadline_ns, memory_order_relaxed);
    gri_park(reason, object, wait_commit, &wait);
    /* If a canceller has the waiter, it is done with it once we get the lock. */
    if (!gri_waiting_withdraw(&g->waiting, w) || w->careful || deadline_ns) {
        gri_lock(&g->meta_lock);
        gri_unlock(&g->meta_lock);
    }
    if (deadline_ns)
        gri_timer_remove(w);
    return w->result;
}

/* ---- Yield and sleep ------------------------------------------------------------------------------- */

static void yield_on_system_stack(struct gr_m *m, struct gr_g *g, void *arg)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_relaxed);
    bool held;

    gri_trace(GR_TRACE_YIELD, g, 0, 0);
    do {
        held = gri_word_holds(w) > 0;
        /* acq_rel; release: the context is saved. */
    } while (!atomic_compare_exchange_weak_explicit(
        &g->word, &w, gri_word_with_state(w, held ? GR_PREEMPTED : GR_RUNNABLE),
        memory_order_acq_rel, memory_order_relaxed));
    /* Nobody is woken for it: there is not more to run than before. */
    if (held)
        gri_tell(g);
    else
        gri_runq_push(m->p, g);
}

void gr_yield(void)
{
    struct gr_g *g = gri_self();

    if (!g) {
        sched_yield();
        return;
    }
    atomic_store_explicit(&g->pc_hint, GRI_CALLER, memory_order_relaxed);
    gri_mcall(yield_on_system_stack, NULL);
}

void gri_yield(void)
{
    gri_mcall(yield_on_system_stack, NULL);
}

/* Of a goroutine that is not cancelled. Inline, so that stacks show the function that was called. */
static inline __attribute__((always_inline)) int sleep_for(struct gr_g *g, uint64_t ns, uint64_t pc)
{
    struct gri_waiter local, *w = GRI_WAIT_RECORD(g, struct gri_waiter, &local);
    uint64_t now = gri_now_ns();
    int result;

    if (pc)
        atomic_store_explicit(&g->pc_hint, pc, memory_order_relaxed);
    if (ns == 0) {
        gri_yield();
        return 0;
    }
    *w = (struct gri_waiter){0};
    result = gri_wait(w, GRI_WAIT_SLEEP, NULL, now + ns < now ? UINT64_MAX : now + ns, NULL, NULL);
    return result == -ETIMEDOUT ? 0 : result;
}

static bool is_cancelled(const struct gr_g *g)
{
    /* acquire; pairs with gr_cancel. */
    return atomic_load_explicit(&g->cancel, memory_order_acquire);
}

int gri_sleep(uint64_t ns)
{
    struct gr_g *g = gri_self();

    return is_cancelled(g) ? -ECANCELED : sleep_for(g, ns, 0);
}

int gr_sleep_ns(uint64_t ns)
{
    struct gr_g *g = gri_self();

    if (!g) {
        struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};

        while (nanosleep(&t, &t) != 0 && errno == EINTR)
            ;
        return 0;
    }
    gri_give_way(g, GRI_CALLER);
    return is_cancelled(g) ? -ECANCELED : sleep_for(g, ns, GRI_CALLER);
}

bool gr_cancelled(void)
{
    struct gr_g *g = gri_self();

    gri_give_way(g, GRI_CALLER);
    return g && is_cancelled(g);
}

const char *gri_wait_name(enum gri_wait reason)
{
    static const char *const names[GRI_WAITS] = {[GRI_WAIT_NONE] = "",
                                                 [GRI_WAIT_CHAN_SEND] = "chan send",
                                                 [GRI_WAIT_CHAN_RECV] = "chan receive",
                                                 [GRI_WAIT_SELECT] = "select",
                                                 [GRI_WAIT_MUTEX] = "mutex lock",
                                                 [GRI_WAIT_COND] = "condition wait",
                                                 [GRI_WAIT_GROUP] = "wait group",
                                                 [GRI_WAIT_SLEEP] = "sleep",
                                                 [GRI_WAIT_POLL] = "poll",
                                                 [GRI_WAIT_SUSPEND] = "suspend",
                                                 [GRI_WAIT_SYSCALL] = "syscall",
                                                 [GRI_WAIT_THREAD_MUTEX] = "pthread mutex",
                                                 [GRI_WAIT_THREAD_RWLOCK] = "pthread rwlock"};

    return (unsigned)reason < GRI_WAITS ? names[reason] : "";
}
