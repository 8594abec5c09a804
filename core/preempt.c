/*
 * preempt.c: how running code is made to stop: the poisoned guard, the signal, and the checks of both.
 *
 * Cooperative first: poison makes the next function entry or import stub of the thread fail its check. The
 * signal is for code that makes no calls; its handler decides in the interrupted context whether this is a
 * safe-point and if so rewrites the context, so that the thread calls arch_async_preempt. Either way the
 * goroutine ends up in gri_preempt_park on the system stack, which looks at the word once more.
 *
 * A signal that comes at a bad moment is counted by reason and given up; the monitor sends another while
 * requests pend. At most one is outstanding for a thread (signal_pending), cleared when it is handled and
 * when it could not be sent.
 *
 * Invariants
 *   P1  The handler is async-signal-safe: no lock, no allocation, no log, errno kept.
 *   P2  The off switch gates the sender and the handler.
 *   P3  Overflow is decided by SP against the goroutine's real bound, never by the guard's value.
 *   P4  Neither a check nor a signal stops code whose SP is outside the current goroutine's stack.
 */
#include "scheduler.h"
#include "trace_rings.h"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Handlers of the program's that may interrupt each other, at least; and a kernel's frame where it doesn't say how large they get. */
#define SIGNAL_NEST        8
#define SIGNAL_FRAME_BYTES 12288
#define SIGNAL_STACK_EXTRA 16384 /* what handlers need besides */
#define RETRY_NS           40000 /* after a refusal the monitor looks within this */

_Atomic(uint64_t) gri_count_signals, gri_count_resent;
_Atomic(uint64_t) gri_refused_total[GR_REFUSALS];

/* ---- Asking -------------------------------------------------------------------------------------- */

void gri_poison(struct gr_m *m)
{
    gri_handshake_poison(m->guard, ARCH_GUARD_POISON);
}

static void refuse(struct gr_g *g, enum gr_refusal reason, uint64_t pc)
{
    /* relaxed: statistics. */
    atomic_fetch_add_explicit(&gri_refused_total[reason], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&g->refused[reason], 1, memory_order_relaxed);
    if (pc)
        atomic_store_explicit(&g->refused_pc, pc, memory_order_relaxed);
    gri_g_mark(g);
}

/* Whether the thread used CPU since the signal before was refused: if not it is blocked, and a signal is in vain. */
static bool thread_advances(struct gr_m *m)
{
    struct timespec t;
    uint64_t now;

    if (clock_gettime(m->cpu_clock, &t) != 0)
        return true;
    now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    /* Senders race for this harmlessly: it only decides whether to try. */
    if (now == __atomic_exchange_n(&m->cpu_at_refusal, now, __ATOMIC_RELAXED))
        return false;
    return true;
}

/* signal_pending is set: sends. True: the signal is on its way. */
static bool send(struct gr_m *m, struct gr_g *g)
{
    atomic_fetch_add_explicit(&g->signals, 1, memory_order_relaxed);
    gri_g_mark(g);
    atomic_fetch_add_explicit(&gri_count_signals, 1, memory_order_relaxed);
    /* relaxed: paces the next one. */
    atomic_store_explicit(&m->signalled_ns, gri_now_ns(), memory_order_relaxed);
    if (syscall(SYS_tgkill, getpid(), m->tid, SIGURG) == 0)
        return true;
    atomic_store_explicit(&m->signal_pending, 0, memory_order_release);
    return false;
}

/* Whether signals are on, and none is on its way: then signal_pending is ours. */
static bool may_send(struct gr_m *m, struct gr_g *g, bool *under_way)
{
    uint32_t none = 0;

    *under_way = false;
    if (atomic_load_explicit(&gri_sched.async_off, memory_order_relaxed)) {
        refuse(g, GR_REFUSED_OFF, 0);
        return false;
    }
    /* acq_rel; pairs with the handler's clearing: one signal at a time. */
    if (atomic_compare_exchange_strong_explicit(&m->signal_pending, &none, 1, memory_order_acq_rel,
                                                memory_order_relaxed))
        return true;
    *under_way = true;
    return false;
}

bool gri_send_signal(struct gr_m *m, struct gr_g *g)
{
    bool under_way;

    return may_send(m, g, &under_way) ? send(m, g) : under_way;
}

void gri_send_signal_again(struct gr_m *m, struct gr_g *g, uint64_t gap_ns)
{
    bool under_way;

    /* relaxed: see send. */
    if (gri_now_ns() - atomic_load_explicit(&m->signalled_ns, memory_order_relaxed) < gap_ns ||
        !may_send(m, g, &under_way))
        return;
    if (!thread_advances(m)) {
        refuse(g, GR_REFUSED_BLOCKED, 0);
        atomic_store_explicit(&m->signal_pending, 0, memory_order_release);
        return;
    }
    atomic_fetch_add_explicit(&gri_count_resent, 1, memory_order_relaxed);
    send(m, g);
}

void gri_signal_thread(struct gr_m *m)
{
    /*
     * Whatever is on its way already: that one's handler may have looked at the flag before it was set, and
     * nobody asks again. Cancels are rare; signal_pending is an economy of preemption only.
     */
    syscall(SYS_tgkill, getpid(), m->tid, SIGURG);
}

/* ---- Being asked --------------------------------------------------------------------------------- */

static bool on_stack_of(const struct gr_g *g, uint64_t sp)
{
    return sp >= (uint64_t)g->stack.lo && sp < (uint64_t)g->stack.hi;
}

/* Whether somebody wants g, which runs on m, to stop. */
static bool wanted(struct gr_m *m, struct gr_g *g, uint64_t w)
{
    return gri_word_holds(w) > 0 ||
           atomic_load_explicit(&m->slice_request, memory_order_relaxed) != 0;
}

static unsigned traced_kind(enum gri_stop kind)
{
    return kind == GRI_STOP_ASYNC   ? GR_SAFEPOINT_ASYNC
           : kind == GRI_STOP_CHECK ? GR_SAFEPOINT_SYNC
                                    : GR_SAFEPOINT_BLOCKED;
}

/* System stack. It is held, or its slice is over, or neither any more (rule 5 of docs/life-of-a-suspend.md). */
void gri_preempt_park(struct gr_m *m, struct gr_g *g, void *arg)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_acquire);

    for (;;) {
        bool held = gri_word_holds(w) > 0;

        GRI_ASSERT(gri_word_state(w) == GR_RUNNING);
        if (!held && !atomic_load_explicit(&m->slice_request, memory_order_relaxed)) {
            gri_go_on(m);
            return;
        }
        gri_trace(held ? GR_TRACE_STOP : GR_TRACE_SLICE, g, traced_kind(g->stop_kind), 0);
        /* acq_rel; release: what was saved is seen by holders and by the next m. */
        if (!atomic_compare_exchange_weak_explicit(
                &g->word, &w, gri_word_with_state(w, held ? GR_PREEMPTED : GR_RUNNABLE),
                memory_order_acq_rel, memory_order_acquire))
            continue;
        if (held) {
            gri_tell(g);
        } else {
            /* relaxed: the next one, also out of the next slot, begins a slice of its own. */
            if (m->p)
                atomic_store_explicit(&m->p->run_since, m->ticks, memory_order_relaxed);
            gri_enqueue_global(g, false);
        }
        return;
    }
}

/* On the goroutine's stack: saved in `frame`, it gives way. Returns when it may go on. */
static void stop_here(struct gr_g *g, struct arch_frame *frame, void *vectors, enum gri_stop kind)
{
    struct arch_frame *outer_frame = g->stop_frame;
    void *outer_vectors = g->stop_vectors;
    enum gri_stop outer_kind = g->stop_kind;

    g->stop_frame = frame;
    g->stop_vectors = vectors;
    g->stop_kind = kind;
    gri_mcall(gri_preempt_park, NULL);
    g->stop_frame = outer_frame;
    g->stop_vectors = outer_vectors;
    g->stop_kind = outer_kind;
}

/* It met the poison on its own stack, at pc: whether it gives way now. */
static bool gives_way(struct gr_m *m, struct gr_g *g, uint64_t pc)
{
    uint64_t w = gri_handshake_reset(m->guard, g->guard_bound, &g->word);

    /* In a system call libc may call module code back (an interposed malloc): it stops at its return. */
    if (gri_word_state(w) != GR_RUNNING || !wanted(m, g, w))
        return false;
    if (g->nopreempt > 0) {
        refuse(g, GR_REFUSED_NOPREEMPT, pc);
        return false;
    }
    /* relaxed, all: statistics, and a hint for suspenders. */
    atomic_fetch_add_explicit(&m->preempts_sync, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&g->preempts_sync, 1, memory_order_relaxed);
    atomic_store_explicit(&g->signalled, false, memory_order_relaxed);
    return true;
}

/* The slow path of entry checks and import stubs. */
void arch_on_check(struct arch_frame *frame, void *vectors, size_t headroom)
{
    struct arch_regs regs;
    struct gr_g *g = gri_self();

    arch_regs_from_frame(&regs, frame, false);
    if (!g) {
        /* A foreign thread that was poisoned by mistake: never again until someone asks. A worker's is the next goroutine's. */
        if (!gri_m())
            atomic_store_explicit((_Atomic(uint64_t) *)arch_guard_slot(), 0, memory_order_relaxed);
        return;
    }
    if (!on_stack_of(g, regs.sp))
        return; /* a module's signal handler on its own stack */
    if (regs.sp - headroom <= g->guard_bound)
        gri_stack_overflow(g, regs.sp, regs.pc);
    if (!gives_way(gri_m(), g, regs.pc))
        return;
    /* Of a stub people want to know who calls it (as GRI_CALLER). */
    atomic_store_explicit(&g->pc_hint, headroom > 0 ? arch_caller(&regs) - 1 : regs.pc,
                          memory_order_relaxed);
    stop_here(g, frame, vectors, GRI_STOP_CHECK);
}

/* A stop in a call of ours, as gr_yield is one: what the caller needs is saved by the switch. */
void gri_give_way_slow(struct gr_g *g, uint64_t pc)
{
    /* Handlers of signals that others installed may be elsewhere. */
    if (!on_stack_of(g, (uint64_t)__builtin_frame_address(0)) || !gives_way(gri_m(), g, pc))
        return;
    atomic_store_explicit(&g->pc_hint, pc, memory_order_relaxed);
    gri_mcall(gri_preempt_park, NULL);
}

void arch_on_async(struct arch_frame *frame, void *vectors)
{
    struct gr_g *g = gri_self();
    struct gr_m *m = gri_m();
    struct arch_regs regs;

    arch_regs_from_frame(&regs, frame, true);
    atomic_fetch_add_explicit(&m->preempts_async, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&g->preempts_async, 1, memory_order_relaxed);
    atomic_store_explicit(&g->pc_hint, regs.pc, memory_order_relaxed);
    atomic_store_explicit(&g->signalled, true, memory_order_relaxed);
    stop_here(g, frame, vectors, GRI_STOP_ASYNC);
}

_Noreturn void arch_on_foreign_overflow(void)
{
    GR_PANIC("more than %d nested calls of foreign code with call-backs", ARCH_FOREIGN_MAX);
}

void gr_nopreempt_begin(void)
{
    struct gr_g *g = gri_self();

    if (g)
        g->nopreempt++;
}

void gr_nopreempt_end(void)
{
    struct gr_g *g = gri_self();

    if (!g)
        return;
    if (g->nopreempt == 0)
        GR_PANIC("gr_nopreempt_end without gr_nopreempt_begin");
    if (--g->nopreempt > 0)
        return;
    /* A request that was refused meanwhile is followed now. acquire; pairs with suspend's CAS. */
    if (wanted(gri_m(), g, atomic_load_explicit(&g->word, memory_order_acquire)))
        gri_mcall(gri_preempt_park, NULL);
}

/* ---- The signal ---------------------------------------------------------------------------------- */

/* P1. Why the interrupted code may not be stopped here; GR_REFUSALS: it may. */
static enum gr_refusal judge(struct gr_m *m, struct gr_g *g, const void *ucontext)
{
    uint64_t sp = arch_signal_sp(ucontext), needs = arch_async_stack_bytes(ucontext);

#if defined(__SANITIZE_THREAD__)
    /*
     * libtsan keeps a signal back and calls its handler from a later interceptor, with a copy of the context: what it
     * shows has gone on since, and below its sp lie frames in use, which the injected call's words would overwrite.
     */
    return GR_REFUSED_OFF;
#endif
    if (atomic_load_explicit(&gri_sched.async_off, memory_order_relaxed))
        return GR_REFUSED_OFF;
    if (g->nopreempt > 0)
        return GR_REFUSED_NOPREEMPT;
    if (!m->p)
        return GR_REFUSED_NOT_RUNNING;
    if (!on_stack_of(g, sp) || sp - needs < (uint64_t)g->stack.lo || sp < needs)
        return GR_REFUSED_STACK;
    return gri_text_check(arch_signal_pc(ucontext));
}

static void on_preempt_signal(int number, siginfo_t *info, void *ucontext)
{
    struct gr_m *m = gri_m();
    struct gr_g *g;
    enum gr_refusal reason;
    uint64_t w;

    if (!m)
        return;
    /* release; pairs with the sender's CAS. */
    atomic_store_explicit(&m->signal_pending, 0, memory_order_release);
    g = atomic_load_explicit(&m->curg, memory_order_relaxed);
    if (!g)
        return;
    if (atomic_load_explicit(&g->cancel, memory_order_relaxed))
        arch_signal_cancel_syscall(ucontext);
    w = atomic_load_explicit(&g->word, memory_order_acquire);
    if (gri_word_state(w) != GR_RUNNING || !wanted(m, g, w))
        return;
    reason = judge(m, g, ucontext);
    if (reason != GR_REFUSALS) {
        refuse(g, reason, arch_signal_pc(ucontext));
        /* An eventfd write at most, which is async-signal-safe; keeps errno. */
        gri_monitor_poke(RETRY_NS);
        return;
    }
    arch_signal_inject(ucontext);
}

static void on_profiling_signal(int number, siginfo_t *info, void *ucontext)
{
}

int gri_preempt_init(void)
{
    struct sigaction action = {.sa_sigaction = on_preempt_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    struct sigaction before;

    sigfillset(&action.sa_mask);
    if (sigaction(SIGURG, &action, NULL) != 0)
        return -errno;
    /* A profiler's timer outside may send it; unhandled, it would end the process. Not SIG_IGN,
     * which children would inherit. A program's own handler stays. */
    action.sa_sigaction = on_profiling_signal;
    if (sigaction(SIGPROF, NULL, &before) == 0 && before.sa_handler == SIG_DFL &&
        sigaction(SIGPROF, &action, NULL) != 0)
        return -errno;
    return 0;
}

/* What is not used takes address space only. A handler's entry check saves the vectors before it knows where it is. */
static size_t signal_stack_bytes(void)
{
    size_t frame = getauxval(AT_MINSIGSTKSZ);

    if (frame < SIGNAL_FRAME_BYTES)
        frame = SIGNAL_FRAME_BYTES;
    return (SIGNAL_NEST * (frame + arch_vectors_bytes()) + SIGNAL_STACK_EXTRA + 4095) &
           ~(size_t)4095;
}

int gri_thread_signals_prepare(struct gr_m *m)
{
    if (m->signal_stack)
        return 0;
    m->signal_stack = mmap(NULL, signal_stack_bytes(), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->signal_stack != MAP_FAILED)
        return 0;
    m->signal_stack = NULL;
    return errno;
}

void gri_thread_signals_init(struct gr_m *m)
{
    stack_t stack = {.ss_size = signal_stack_bytes(), .ss_sp = m->signal_stack};
    sigset_t none;

    if (sigaltstack(&stack, NULL) != 0)
        GR_PANIC("no signal stack for thread %u: errno %d", m->index, errno);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}
