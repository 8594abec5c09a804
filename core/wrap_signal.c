/*
 * wrap_signal.c: handlers of modules, and waiting for signals.
 *
 * A module may handle signals other than Grasp's (SIGURG, SIGPROF) and the two that report stack
 * overflows and crashes (SIGSEGV, SIGBUS). Its handler runs behind one of ours, on the thread's
 * signal stack, where its entry checks pass: while it runs, the goroutine below it, if there is
 * one, is not preempted, and errno is as it was afterwards, the goroutine's as well as the
 * thread's.
 *
 * pause and sigsuspend return when a handler of a module has run, not when a signal of ours
 * arrived.
 *
 * Handlers that a program had before it started the runtime, and those that a module's constructors installed, are put
 * behind ours when the program or the module is loaded: on a goroutine's stack their entry checks would stop them in the midst
 * of a signal.
 *
 * Invariants: wrap.h, and
 *   G1  handlers[n] is set before our handler is installed for n.
 */
#include "wrap.h"
#include <grasp/inspect.h>

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define KERNEL_SIGSET_BYTES 8

typedef void handler_fn(int number, siginfo_t *info, void *context);

/* Written by whoever installs a handler, read by signal handlers. */
static _Atomic(handler_fn *) handlers[NSIG];
_Atomic(uint32_t) gri_wrap_signals_taken;

static void on_signal(int number, siginfo_t *info, void *context)
{
    struct gr_g *g = gri_self();
    struct arch_tls *tls = arch_tls_self();
    /* Any thread may be chosen for the signal, also one that is no worker. */
    int *thread_errno = tls->errno_thread ? tls->errno_thread : &errno;
    int thread_error = *thread_errno;
    int goroutine_error = g ? g->err : 0;
    uint64_t owned = tls->errno_owned;
    handler_fn *handler;

    if (g)
        g->nopreempt++;
    /* acquire; pairs with the release in put_behind (G1). */
    handler = atomic_load_explicit(&handlers[number], memory_order_acquire);
    if (handler)
        handler(number, info, context);
    if (g) {
        g->nopreempt--;
        g->err = goroutine_error;
    }
    tls->errno_owned = owned;
    *thread_errno = thread_error;
    /* release; pairs with the load in pause: what the handler wrote is seen by whoever waited for
     * it. */
    atomic_fetch_add_explicit(&gri_wrap_signals_taken, 1, memory_order_release);
    gri_futex_wake(&gri_wrap_signals_taken, INT_MAX);
    *thread_errno = thread_error;
}

static bool is_reserved(int number)
{
    static const int own[] = GRI_OWN_SIGNALS;

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (number == own[i])
            return true;
    }
    return false;
}

/* What the kernel says is installed, with the module's handler in place of ours. */
static void show_own(int number, handler_fn *own, struct sigaction *action)
{
    if ((action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_signal)
        action->sa_sigaction =
            own ? own : atomic_load_explicit(&handlers[number], memory_order_acquire);
}

static void put_behind(int number, struct sigaction *action)
{
    /* release; pairs with the acquire in on_signal (G1). */
    atomic_store_explicit(&handlers[number], action->sa_sigaction, memory_order_release);
    action->sa_sigaction = on_signal;
    action->sa_flags |= SA_SIGINFO | SA_ONSTACK;
}

/* 0 or -errno. */
static int install(int number, const struct sigaction *action, struct sigaction *old)
{
    struct sigaction ours;
    handler_fn *before;

    if (number <= 0 || number >= NSIG || (action && is_reserved(number)))
        return -EINVAL;
    /* acquire, as in on_signal. */
    before = atomic_load_explicit(&handlers[number], memory_order_acquire);
    if (action) {
        ours = *action;
        if (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN)
            put_behind(number, &ours);
    }
    if (sigaction(number, action ? &ours : NULL, old) != 0)
        return -gri_wrap_errno();
    if (old)
        show_own(number, before, old);
    return 0;
}

void gri_wrap_adopt_handlers(void)
{
    struct sigaction action;

    for (int number = 1; number < NSIG; number++) {
        if (is_reserved(number) || sigaction(number, NULL, &action) != 0 ||
            !gr_text_version((uint64_t)(uintptr_t)action.sa_sigaction))
            continue;
        put_behind(number, &action);
        sigaction(number, &action, NULL);
    }
}

static int wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    gri_wrap_enter();
    return (int)gri_wrap_result(install(number, action, old));
}

static sighandler_t set_handler(int number, sighandler_t handler, int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;
    int result;

    gri_wrap_enter();
    result = install(number, &action, &old);
    if (result < 0) {
        gri_wrap_set_errno(-result);
        return SIG_ERR;
    }
    return old.sa_handler;
}

static sighandler_t wrap_signal(int number, sighandler_t handler)
{
    return set_handler(number, handler, SA_RESTART);
}

static sighandler_t wrap_sysv_signal(int number, sighandler_t handler)
{
    return set_handler(number, handler, (int)SA_RESETHAND | SA_NODEFER);
}

static int wrap_sigignore(int number)
{
    return set_handler(number, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

static int wrap_siginterrupt(int number, int interrupt)
{
    struct sigaction action;
    int result;

    gri_wrap_enter();
    result = install(number, NULL, &action);
    if (result == 0) {
        action.sa_flags = interrupt ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
        result = install(number, &action, NULL);
    }
    return (int)gri_wrap_result(result);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static uint32_t signals_taken(void)
{
    /* acquire; pairs with the release in on_signal. */
    return atomic_load_explicit(&gri_wrap_signals_taken, memory_order_acquire);
}

static int wrap_pause(void)
{
    struct gr_g *g = gri_wrap_enter();
    uint32_t before = signals_taken();
    long result = 0;

    if (!g)
        return pause();
    while (signals_taken() == before && result != -ECANCELED)
        result = GRI_SYS(g, SYS_futex, (long)&gri_wrap_signals_taken, FUTEX_WAIT_PRIVATE, before);
    return (int)gri_wrap_result(result == -ECANCELED ? result : -EINTR);
}

static int wrap_sigsuspend(const sigset_t *mask)
{
    struct gr_g *g = gri_wrap_enter();
    uint32_t before = signals_taken();
    sigset_t open = *mask;
    const long args[6] = {(long)&open, KERNEL_SIGSET_BYTES};
    long result;

    if (!g)
        return sigsuspend(mask);
    sigdelset(&open, SIGURG);
    GRI_SYSCALL_ENTER(g);
    /* Each round needs a signal that no module handled. */
    do {
        result = arch_cancellable_syscall((const uint32_t *)(const void *)&g->cancel, SYS_rt_sigsuspend, args);
    } while (result == -EINTR && signals_taken() == before);
    gri_syscall_exit(g);
    return (int)gri_wrap_result(result);
}

/* The kernel's sigtimedwait; deadline_ns 0: none. The signal's number, or -errno. */
static long await_signal(struct gr_g *g, const sigset_t *set, siginfo_t *info, uint64_t deadline_ns)
{
    sigset_t wanted = *set;
    struct timespec left = {0, 0};
    long result;

    sigdelset(&wanted, SIGURG);
    result =
        GRI_RAW(SYS_rt_sigtimedwait, (long)&wanted, (long)info, (long)&left, KERNEL_SIGSET_BYTES);
    if (result != -EAGAIN)
        return result;
    GRI_SYSCALL_ENTER(g);
    /* Each round needs a signal. */
    do {
        uint64_t now = gri_now_ns();
        uint64_t ns = deadline_ns > now ? deadline_ns - now : 0;
        const long args[6] = {(long)&wanted, (long)info, deadline_ns ? (long)&left : 0,
                              KERNEL_SIGSET_BYTES};

        left.tv_sec = (time_t)(ns / 1000000000u);
        left.tv_nsec = (long)(ns % 1000000000u);
        result =
            arch_cancellable_syscall((const uint32_t *)(const void *)&g->cancel, SYS_rt_sigtimedwait, args);
    } while (result == -EINTR);
    gri_syscall_exit(g);
    return result;
}

static int wrap_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    struct gr_g *g = gri_wrap_enter();
    uint64_t deadline = 0;

    if (!g)
        return sigtimedwait(set, info, timeout);
    if (timeout) {
        if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999999999)
            return (int)gri_wrap_result(-EINVAL);
        deadline = gri_now_ns() + gri_wrap_ns(timeout);
    }
    return (int)gri_wrap_result(await_signal(g, set, info, deadline));
}

static int wrap_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    return wrap_sigtimedwait(set, info, NULL);
}

/* Returns an error number. */
static int wrap_sigwait(const sigset_t *set, int *number)
{
    struct gr_g *g = gri_wrap_enter();
    long result;

    if (!g)
        return sigwait(set, number);
    result = await_signal(g, set, NULL, 0);
    if (result < 0)
        return (int)-result;
    *number = (int)result;
    return 0;
}

static int wrap_setitimer(__itimer_which_t which, const struct itimerval *value,
                          struct itimerval *old)
{
    gri_wrap_enter();
    /* SIGPROF is Grasp's; the load-time refusal cannot see arguments. */
    if (which == ITIMER_PROF && value)
        return (int)gri_wrap_result(-EINVAL);
    return setitimer(which, value, old);
}

const struct gri_wrap gri_wraps_signal[] = {
    GRI_WRAP(sigaction),
    GRI_WRAP_AS(__sigaction, sigaction),
    GRI_WRAP(signal),
    GRI_WRAP_AS(bsd_signal, signal),
    GRI_WRAP_AS(ssignal, signal),
    GRI_WRAP(sysv_signal),
    GRI_WRAP_AS(__sysv_signal, sysv_signal),
    GRI_WRAP(sigignore),
    GRI_WRAP(siginterrupt),
    GRI_WRAP(pause),
    GRI_WRAP(sigsuspend),
    GRI_WRAP_AS(__sigsuspend, sigsuspend),
    GRI_WRAP(sigtimedwait),
    GRI_WRAP(sigwaitinfo),
    GRI_WRAP(sigwait),
    GRI_WRAP(setitimer),
    {NULL, NULL},
};
