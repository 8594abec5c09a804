/*
 * wrap_misc.c: functions with call-backs under libc's locks, the dynamic loader, tables, raw system
 * calls.
 *
 * pthread_once, dl_iterate_phdr, atexit and printf's registrations run or keep module code while
 * libc holds a lock: they are done with the no-preempt depth raised, so that the goroutine is
 * stopped nowhere in between. dlsym gives what the GOT would hold: a stub or wrapper where the
 * loader would have put one.
 *
 * The ctype tables and errno are reached through functions that libc declares const, so compilers
 * keep their result over calls; theirs are thread-local addresses, ours are the process's (errno:
 * the goroutine's).
 *
 * Invariants: wrap.h. No locks.
 */
#include "wrap.h"

#include <ctype.h>
#include <dlfcn.h>
#include <link.h>
#include <printf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <threads.h>
#include <unistd.h>

#include "imports.h"
#include "module.h"

/* ---- No-preempt ------------------------------------------------------------------------------ */

/* Around code that runs call-backs with libc's locks held: stopped nowhere, moved nowhere. */
static struct gr_g *section_begin(void)
{
    struct gr_g *g = gri_self();

    if (g) {
        gri_errno_to_libc();
        gri_pin(g);
        gr_nopreempt_begin();
    }
    return g;
}

static void section_end(struct gr_g *g)
{
    if (g) {
        gri_unpin(g);
        gr_nopreempt_end();
    }
}

#define SECTION(type, name, params, args)                                                          \
    static type wrap_##name params                                                                 \
    {                                                                                              \
        struct gr_g *g = section_begin();                                                          \
        type result = name args;                                                                   \
                                                                                                   \
        section_end(g);                                                                            \
        return result;                                                                             \
    }

extern int __cxa_atexit(void (*fn)(void *), void *arg, void *dso);
extern int __cxa_at_quick_exit(void (*fn)(void *), void *dso);

SECTION(int, pthread_once, (pthread_once_t * once, void (*fn)(void)), (once, fn))
SECTION(int, dl_iterate_phdr, (int (*fn)(struct dl_phdr_info *, size_t, void *), void *arg),
        (fn, arg))
SECTION(int, __cxa_atexit, (void (*fn)(void *), void *arg, void *dso), (fn, arg, dso))
SECTION(int, __cxa_at_quick_exit, (void (*fn)(void *), void *dso), (fn, dso))
SECTION(int, on_exit, (void (*fn)(int, void *), void *arg), (fn, arg))

static void wrap_call_once(once_flag *once, void (*fn)(void))
{
    struct gr_g *g = section_begin();

    call_once(once, fn);
    section_end(g);
}

/* From now on printf may run code of a module with a FILE locked. */
static void note_printf_handler(void)
{
    /* relaxed: see print() in wrap_print.c. */
    atomic_store_explicit(&gri_wrap_printf_handlers, true, memory_order_relaxed);
}

static int wrap_register_printf_function(int spec, printf_function *print,
                                         printf_arginfo_function *arginfo)
{
    struct gr_g *g = section_begin();
    int result;

    note_printf_handler();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    result = register_printf_function(spec, print, arginfo);
#pragma GCC diagnostic pop
    section_end(g);
    return result;
}

static int wrap_register_printf_specifier(int spec, printf_function *print,
                                          printf_arginfo_size_function *arginfo)
{
    struct gr_g *g = section_begin();
    int result;

    note_printf_handler();
    result = register_printf_specifier(spec, print, arginfo);
    section_end(g);
    return result;
}

SECTION(int, register_printf_modifier, (const wchar_t *modifier), (modifier))
SECTION(int, register_printf_type, (printf_va_arg_function * fn), (fn))

/* ---- The dynamic loader ---------------------------------------------------------------------- */

/* What dlsym found, as the caller's GOT would have it; NULL with dlerror set if it is refused. */
static void *redirected(const char *name, void *address)
{
    const char *reason = NULL;
    void *result = address ? gri_import_redirect(name, address, &reason) : NULL;

    if (reason) {
        char text[256];

        /* No symbol has such a name: dlerror will quote it. */
        snprintf(text, sizeof text, "%s (refused in goroutines: %s)", name, reason);
        return dlsym(RTLD_DEFAULT, text);
    }
    return result;
}

/* RTLD_DEFAULT and RTLD_NEXT depend on who asks: that is the module, not libgrasp. */
static void *find(void *handle, const char *name, const char *version, uint64_t caller)
{
    struct gri_module *module = gri_module_of(caller);
    void *own = module ? gri_module_handle(module) : NULL;
    void *address = NULL;

    if (handle == RTLD_DEFAULT && own)
        address = version ? dlvsym(own, name, version) : dlsym(own, name);
    if (!address)
        address = version ? dlvsym(handle, name, version) : dlsym(handle, name);
    return redirected(name, address);
}

static void *wrap_dlsym(void *handle, const char *name)
{
    gri_wrap_enter();
    return find(handle, name, NULL, (uint64_t)__builtin_return_address(0));
}

static void *wrap_dlvsym(void *handle, const char *name, const char *version)
{
    gri_wrap_enter();
    return find(handle, name, version, (uint64_t)__builtin_return_address(0));
}

/* Which object and symbol an address belongs to: of an import, what its stub stands for, at the address that was asked. */
static int wrap_dladdr1(const void *address, Dl_info *info, void **extra, int flags)
{
    void *function;
    int result;

    gri_wrap_enter();
    function = gri_import_stub_function(address);
    result = dladdr1(function ? function : address, info, extra, flags);
    if (result && function && info->dli_saddr == function)
        info->dli_saddr = (void *)(uintptr_t)address;
    return result;
}

static int wrap_dladdr(const void *address, Dl_info *info)
{
    return wrap_dladdr1(address, info, NULL, 0);
}

/* ---- Tables and errno ------------------------------------------------------------------------ */

/* setlocale may change a table, so it is asked for at each call; the pointer itself is the
 * process's. */
#define TABLE(name, type)                                                                          \
    static const type **wrap_##name(void)                                                          \
    {                                                                                              \
        static const type *table;                                                                  \
                                                                                                   \
        /* relaxed: the tables are constant; any of them is right while setlocale runs. */         \
        __atomic_store_n(&table, *name(), __ATOMIC_RELAXED);                                       \
        return &table;                                                                             \
    }
TABLE(__ctype_b_loc, unsigned short)
TABLE(__ctype_tolower_loc, int)
TABLE(__ctype_toupper_loc, int)

static int *wrap___errno_location(void)
{
    return gr_errno_location();
}

/* ---- syscall --------------------------------------------------------------------------------- */

/* Kernel calls that change what the runtime relies on in a thread or process. */
static bool is_refused(long nr)
{
    switch (nr) {
    case SYS_clone:
#ifdef SYS_clone3
    case SYS_clone3:
#endif
#ifdef SYS_fork
    case SYS_fork:
#endif
#ifdef SYS_vfork
    case SYS_vfork:
#endif
#ifdef SYS_arch_prctl
    case SYS_arch_prctl:
#endif
#ifdef SYS_rseq
    case SYS_rseq:
#endif
    case SYS_exit:
    case SYS_rt_sigprocmask:
    case SYS_rt_sigaction:
    case SYS_rt_sigreturn:
    case SYS_sigaltstack:
    case SYS_set_tid_address:
    case SYS_set_robust_list:
    case SYS_unshare:
    case SYS_setns:
        return true;
    default:
        return false;
    }
}

/* Calls with a relative time-out are not repeated: they would wait for all of it again. The caller
 * sees EINTR. */
static bool is_timed(long nr)
{
    switch (nr) {
    case SYS_futex:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_ppoll:
    case SYS_pselect6:
    case SYS_epoll_pwait:
    case SYS_rt_sigtimedwait:
    case SYS_rt_sigsuspend:
    case SYS_semtimedop:
    case SYS_io_getevents:
#ifdef SYS_poll
    case SYS_poll:
    case SYS_select:
    case SYS_epoll_wait:
    case SYS_pause:
#endif
        return true;
    default:
        return false;
    }
}

static long wrap_syscall(long nr, ...)
{
    struct gr_g *g = gri_wrap_enter();
    long args[6], result;
    va_list list;

    va_start(list, nr);
    for (int i = 0; i < 6; i++)
        args[i] = va_arg(list, long);
    va_end(list);
    if (is_refused(nr) && gri_self())
        return gri_wrap_result(-EPERM);
    if (!g)
        return syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
    if (!is_timed(nr))
        return gri_wrap_result(gri_wrap_cancelled(g) ? gri_wrap_syscall_ready(g, nr, args)
                                                     : gri_wrap_syscall(g, nr, args));
    GRI_SYSCALL_ENTER(g);
    result = arch_cancellable_syscall((const uint32_t *)(const void *)&g->cancel, nr, args);
    gri_syscall_exit(g);
    /* What the canceller's signal has cut short: nobody is to try again. */
    if (result == -EINTR && gri_wrap_cancelled(g))
        result = -ECANCELED;
    return gri_wrap_result(result);
}

/* ---- Others that may block ------------------------------------------------------------------- */

GRI_WRAP_SIMPLE(ssize_t, getrandom, (void *buf, size_t n, unsigned flags), (buf, n, flags))
GRI_WRAP_SIMPLE(int, getentropy, (void *buf, size_t n), (buf, n))
GRI_WRAP_SIMPLE(char *, getpass, (const char *prompt), (prompt))

extern void __vsyslog_chk(int priority, int flag, const char *fmt, va_list args);

static void log_line(int priority, int flag, const char *fmt, va_list args)
{
    struct gr_g *g = gri_wrap_enter();

    GRI_WRAP_ENTER_BLOCK(g);
    __vsyslog_chk(priority, flag, fmt, args);
    if (g)
        gri_wrap_leave(g);
}

static void wrap_vsyslog(int priority, const char *fmt, va_list args)
{
    log_line(priority, 0, fmt, args);
}

static void wrap___vsyslog_chk(int priority, int flag, const char *fmt, va_list args)
{
    log_line(priority, flag, fmt, args);
}

static void wrap_syslog(int priority, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_line(priority, 0, fmt, args);
    va_end(args);
}

static void wrap___syslog_chk(int priority, int flag, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_line(priority, flag, fmt, args);
    va_end(args);
}

static void wrap_openlog(const char *ident, int options, int facility)
{
    struct gr_g *g = gri_wrap_enter();

    GRI_WRAP_ENTER_BLOCK(g);
    openlog(ident, options, facility);
    if (g)
        gri_wrap_leave(g);
}

static void wrap_closelog(void)
{
    struct gr_g *g = gri_wrap_enter();

    GRI_WRAP_ENTER_BLOCK(g);
    closelog();
    if (g)
        gri_wrap_leave(g);
}

const struct gri_wrap gri_wraps_misc[] = {
    GRI_WRAP(pthread_once),
    GRI_WRAP(call_once),
    GRI_WRAP(dl_iterate_phdr),
    GRI_WRAP(__cxa_atexit),
    GRI_WRAP(__cxa_at_quick_exit),
    GRI_WRAP(on_exit),
    GRI_WRAP(register_printf_function),
    GRI_WRAP(register_printf_specifier),
    GRI_WRAP(register_printf_modifier),
    GRI_WRAP(register_printf_type),
    GRI_WRAP(dladdr),
    GRI_WRAP(dladdr1),
    GRI_WRAP(dlsym),
    GRI_WRAP(dlvsym),
    GRI_WRAP(__ctype_b_loc),
    GRI_WRAP(__ctype_tolower_loc),
    GRI_WRAP(__ctype_toupper_loc),
    GRI_WRAP(__errno_location),
    GRI_WRAP(syscall),
    GRI_WRAP(getrandom),
    GRI_WRAP(getentropy),
    GRI_WRAP(getpass),
    GRI_WRAP(syslog),
    GRI_WRAP(vsyslog),
    GRI_WRAP(__syslog_chk),
    GRI_WRAP(__vsyslog_chk),
    GRI_WRAP(openlog),
    GRI_WRAP(closelog),
    {NULL, NULL},
};
