/*
 * crash.c: what is said when a module goes wrong for good: a stack overflow, SIGSEGV and its like, abort.
 *
 * Everything here runs in a signal handler or on a nearly full stack, so it only formats into a buffer and
 * writes. The return addresses are found by scanning the stack for words that point into module text, and
 * are called what they are: candidates. Then the default action follows.
 *
 * Two threads often meet the same fault, one a moment after the other. Rejected: the default action at once for the second.
 * It ends the process, and with it the first one's report, of which then nothing was said.
 *
 * Invariants
 *   C1  No default action is restored before the report is written, but by its writer, if that crashes, and by who has
 *       waited PATIENCE_NS for it: what the writer writes to may be full, and nobody there to empty it.
 *   C2  No lock is waited for. So not dladdr, which would know names of libc's: it wants the dynamic linker's lock, which a
 *       thread in a constructor has, for ever if that waits for what has crashed.
 */
#include "module.h"
#include "scheduler.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REPORT_BYTES   8192
#define CANDIDATES_MAX 24
#define PATIENCE_NS    5000000000u

static char crash_dir[256];
static _Atomic(uint32_t) reporter; /* the thread that owns the report; 0: nobody yet */
static _Atomic(uint32_t) reported; /* a futex word: it is written */

static struct report {
    char text[REPORT_BYTES];
    size_t used;
} the_report; /* not on the stack: there may be none left */

__attribute__((format(printf, 2, 3))) static void say(struct report *r, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(r->text + r->used, sizeof r->text - r->used, fmt, args);
    va_end(args);
    if (n > 0)
        r->used += (size_t)n;
    if (r->used >= sizeof r->text)
        r->used = sizeof r->text - 1;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* By addresses in the file, as addr2line -e wants them. */
static void say_address(struct report *r, uint64_t pc)
{
    struct gri_module *module = gri_module_of(pc);
    struct dl_find_object object;
    const char *path;

    if (_dl_find_object((void *)(uintptr_t)pc, &object) != 0) { /* C2 */
        say(r, "0x%llx", (unsigned long long)pc);
        return;
    }
    path = module ? module->info.path : object.dlfo_link_map->l_name;
    if (!path[0]) /* the program itself */
        path = program_invocation_name;
    say(r, "0x%llx %s+0x%llx (%s)", (unsigned long long)pc,
        module ? gri_module_name(module) : base_name(path),
        (unsigned long long)(pc - object.dlfo_link_map->l_addr), path);
}

static void say_goroutine(struct report *r, const struct gr_g *g, uint64_t sp, uint64_t pc)
{
    uint64_t at = (sp + 7) & ~(uint64_t)7;
    int found = 0;

    say(r, "  goroutine %llu (root %llu, name \"%s\", module %s)\n",
        (unsigned long long)atomic_load_explicit(&g->id, memory_order_relaxed),
        (unsigned long long)atomic_load_explicit(&g->root, memory_order_relaxed), g->name,
        g->module ? gri_module_name(g->module) : "-");
    say(r, "  sp 0x%llx, stack 0x%llx..0x%llx\n  pc ", (unsigned long long)sp,
        (unsigned long long)g->stack.lo, (unsigned long long)g->stack.hi);
    say_address(r, pc);
    say(r, "\n  words on the stack that point into module code:\n");
    if (at < (uint64_t)g->stack.lo)
        at = (uint64_t)g->stack.lo;
    for (; at + 8 <= (uint64_t)g->stack.hi && found < CANDIDATES_MAX; at += 8) {
        uint64_t word;

        memcpy(&word, (const void *)at, 8);
        if (!gri_module_of(word))
            continue;
        say(r, "    ");
        say_address(r, word);
        say(r, "\n");
        found++;
    }
}

/* True for one thread, which then reports. Others come back when it has done so, or not at all (C1). */
static bool may_report(void)
{
    uint32_t owner = 0, self = (uint32_t)syscall(SYS_gettid);
    uint64_t now = gri_now_ns(), give_up = now + PATIENCE_NS;

    /* relaxed, here and below: one word decides, and nobody else reads the report. */
    if (atomic_compare_exchange_strong_explicit(&reporter, &owner, self, memory_order_relaxed,
                                                memory_order_relaxed))
        return true;
    if (owner == self)
        return false; /* it crashed while it reported */
    /* Bounded by the clock; a signal ends a wait early. */
    for (; !atomic_load_explicit(&reported, memory_order_relaxed) && now < give_up;
         now = gri_now_ns())
        gri_futex_wait(&reported, 0, (int64_t)(give_up - now));
    return false;
}

static void write_to_file(const struct report *r)
{
    char path[sizeof crash_dir + 32];
    int fd;

    snprintf(path, sizeof path, "%s/crash-%d.txt", crash_dir, (int)getpid());
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && write(fd, r->text, r->used) >= 0)
        close(fd);
}

/* Nobody may read it any more: that is not what the process is to die of. */
static void write_to_stderr(const struct report *r)
{
    const struct timespec at_once = {0, 0};
    sigset_t pipe, before;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    if (write(STDERR_FILENO, r->text, r->used) < 0 && errno == EPIPE)
        sigtimedwait(&pipe, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The file first: stderr may be a pipe that nobody empties. */
static void publish(const struct report *r)
{
    if (crash_dir[0])
        write_to_file(r);
    write_to_stderr(r);
    atomic_store_explicit(&reported, 1, memory_order_relaxed);
    gri_futex_wake(&reported, INT_MAX);
}

static void say_remedy(struct report *r, const struct gr_g *g)
{
    say(r,
        "  its stack has %zu KiB; stack_bytes of gr_go_with gives a goroutine more (an entry has "
        "the default:"
        " let it start one)\n",
        (size_t)(g->stack.hi - g->stack.lo) / 1024);
}

_Noreturn void gri_stack_overflow(struct gr_g *g, uint64_t sp, uint64_t pc)
{
    struct sigaction fallback = {.sa_handler = SIG_DFL};

    if (may_report()) {
        say(&the_report, "grasp: stack overflow\n");
        say_remedy(&the_report, g);
        say_goroutine(&the_report, g, sp, pc);
        publish(&the_report);
    }
    sigaction(SIGABRT, &fallback, NULL);
    abort();
}

/* A fault has an address, if the processor knows it; what was sent (abort, kill) has a sender. */
static void say_signal(struct report *r, int number, const siginfo_t *info)
{
    if (info->si_code == SI_KERNEL)
        say(r, "grasp: signal %d (%s), no address known\n", number, sigabbrev_np(number));
    else if (info->si_code > 0)
        say(r, "grasp: signal %d (%s), address 0x%llx\n", number, sigabbrev_np(number),
            (unsigned long long)(uint64_t)info->si_addr);
    else
        say(r, "grasp: signal %d (%s), sent by process %d%s\n", number, sigabbrev_np(number),
            (int)info->si_pid, info->si_pid == getpid() ? ", this one" : "");
}

static void report_signal(int number, const siginfo_t *info, const void *ucontext)
{
    struct gr_g *g = gri_self();
    uint64_t address = (uint64_t)info->si_addr;
    struct report *r = &the_report;

    if (g && info->si_code > 0 && address >= (uint64_t)g->stack.hi - g->stack.map_bytes &&
        address < (uint64_t)g->stack.lo) {
        say(r, "grasp: stack overflow: access to 0x%llx in the guard below the stack\n",
            (unsigned long long)address);
        say_remedy(r, g);
    } else {
        say_signal(r, number, info);
    }
    if (g) {
        say_goroutine(r, g, arch_signal_sp(ucontext), arch_signal_pc(ucontext));
    } else {
        say(r, "  no goroutine; pc ");
        say_address(r, arch_signal_pc(ucontext));
        say(r, "\n");
    }
    publish(r);
}

static void on_crash(int number, siginfo_t *info, void *ucontext)
{
    struct sigaction fallback = {.sa_handler = SIG_DFL};

    if (may_report())
        report_signal(number, info, ucontext);
    sigaction(number, &fallback, NULL);
    /* What was sent would not come again by itself, nor would a trap or a forbidden call. It waits until we return. */
    if (info->si_code <= 0 || number == SIGTRAP || number == SIGSYS)
        raise(number);
    /* Returning runs the faulting instruction again, now with the default action. */
}

void gri_crash_init(const char *dir)
{
    static const int numbers[] = {SIGSEGV, SIGBUS};
    /* A failed assert, what malloc or the compiler's checks find; traps, and what seccomp forbids. */
    static const int left_to_others[] = {SIGABRT, SIGTRAP, SIGSYS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction before;

    if (dir)
        snprintf(crash_dir, sizeof crash_dir, "%s", dir);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaction(numbers[i], &action, NULL);
    /* A program's own handler stays. */
    for (size_t i = 0; i < sizeof left_to_others / sizeof left_to_others[0]; i++) {
        if (sigaction(left_to_others[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(left_to_others[i], &action, NULL);
    }
}
