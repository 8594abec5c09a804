/*
 * wrap.h: what the wrappers of libc functions share.
 *
 * A wrapper stands in a module's GOT for a libc function that may block, that gives a lock to the
 * thread, or that calls back. It is entered through a checked stub, so it needs no check of its
 * own. Its text is runtime text: nobody is ever stopped asynchronously inside it.
 *
 * Wrappers are static functions of the wrap_*.c files; each file offers one table of them by name
 * and imports.c joins the tables with import_table.def. Rejected: one global function for each,
 * declared here, because 500 prototypes would only repeat libc's.
 *
 * Invariants
 *   W1  A wrapper that finds no goroutine that may give way (gri_wrap_enter gave NULL) behaves as
 *       libc.
 *   W2  No thread-local of libc is used across a call that may park: after one, errno is set by
 *       gri_wrap_set_errno, and kernel calls give their error as a result.
 *   W3  Between GRI_SYSCALL_ENTER and gri_syscall_exit no code of a module runs, except call-backs
 *       that leave the system call for as long as they run (gri_wrap_callback_begin).
 *   W4  Once cancelled, what would block fails with ECANCELED and what need not block still works.
 */
#ifndef GRASP_WRAP_H
#define GRASP_WRAP_H

#include "core.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>

struct gri_wrap {
    const char *name;
    void (*fn)(void);
};
/* clang-format off */
#define GRI_WRAP(name_)         {#name_, (void (*)(void))wrap_##name_}
#define GRI_WRAP_AS(name_, fn_) {#name_, (void (*)(void))wrap_##fn_}

/* No module may handle these: they are the runtime's. */
#define GRI_OWN_SIGNALS {SIGURG, SIGPROF, SIGSEGV, SIGBUS}
/* clang-format on */

/* Puts those handlers behind ours that are code of modules and were installed when imports were still libc's. */
void gri_wrap_adopt_handlers(void);

/* Each ends with a NULL name. */
extern const struct gri_wrap gri_wraps_io[], gri_wraps_socket[], gri_wraps_poll[], gri_wraps_time[],
    gri_wraps_file[], gri_wraps_names[], gri_wraps_read[], gri_wraps_print[], gri_wraps_stdio[],
    gri_wraps_lock[], gri_wraps_sync[], gri_wraps_process[], gri_wraps_signal[], gri_wraps_misc[];

/* ---- Entering and leaving -------------------------------------------------------------------- */

/* The goroutine that may give way, its errno handed to libc. NULL: none, or it is in a no-preempt
 * section. Lists show it at `caller`, the module code that calls the wrapper. */
struct gr_g *gri_wrap_enter_from(uint64_t caller);
#define gri_wrap_enter() gri_wrap_enter_from(GRI_CALLER)
bool gri_wrap_cancelled(const struct gr_g *g);
/* libc's errno of this thread; and setting the caller's errno, goroutine or not. */
int gri_wrap_errno(void);
void gri_wrap_set_errno(int error);
/* A kernel's result as C has it: -errno becomes -1 and errno. */
long gri_wrap_result(long result);
/* gri_syscall_exit that keeps what libc left in errno. */
void gri_wrap_leave(struct gr_g *g);

/* GRI_SYSCALL_ENTER for a call into libc: a held goroutine parks first, and libc needs its errno
 * afterwards. */
#define GRI_WRAP_ENTER_BLOCK(g)                                                                    \
    do {                                                                                           \
        GRI_SYSCALL_ENTER(g);                                                                      \
        if (g)                                                                                     \
            gri_errno_to_libc();                                                                   \
    } while (0)

/* `call` as one system call of g: the processor may be taken meanwhile. g NULL: just the call. */
#define GRI_WRAP_BLOCK(g, call)                                                                    \
    ({                                                                                             \
        GRI_WRAP_ENTER_BLOCK(g);                                                                   \
        __typeof__(call) result_ = (call);                                                         \
        if (g)                                                                                     \
            gri_wrap_leave(g);                                                                     \
        result_;                                                                                   \
    })

/* Defines a wrapper that does nothing but that: GRI_WRAP_SIMPLE(int, fsync, (int fd), (fd)). */
#define GRI_WRAP_SIMPLE(type, name, params, args)                                                  \
    static type wrap_##name params                                                                 \
    {                                                                                              \
        struct gr_g *g = gri_wrap_enter();                                                         \
                                                                                                   \
        return GRI_WRAP_BLOCK(g, name args);                                                       \
    }

/* A kernel call that does not block and cannot be cancelled: the kernel's result. */
long gri_wrap_raw(long nr, const long args[6]);
#define GRI_RAW(nr, ...) gri_wrap_raw(nr, (const long[6]){__VA_ARGS__})
/* A kernel call that may block, of goroutine g: cancellable, repeated on EINTR. The kernel's
 * result. */
long gri_wrap_syscall(struct gr_g *g, long nr, const long args[6]);
#define GRI_SYS(g, nr, ...) gri_wrap_syscall(g, nr, (const long[6]){__VA_ARGS__})
/* The same for a call that is known not to block now: works when g is cancelled. */
long gri_wrap_syscall_ready(struct gr_g *g, long nr, const long args[6]);
#define GRI_SYS_READY(g, nr, ...) gri_wrap_syscall_ready(g, nr, (const long[6]){__VA_ARGS__})
/* The same where another taker may be faster: it waits then, and a later cancellation ends that. */
long gri_wrap_syscall_likely(struct gr_g *g, long nr, const long args[6]);
#define GRI_SYS_LIKELY(g, nr, ...) gri_wrap_syscall_likely(g, nr, (const long[6]){__VA_ARGS__})

/*
 * A call on fd would have blocked. Parks until it is ready: 0 (try again), -EAGAIN (the user's
 * O_NONBLOCK, or the socket time-out `option` passed; -1: none), -ECANCELED, -EPERM (not pollable),
 * -EBADF. *deadline_ns: 0 at first.
 */
int gri_wrap_wait(struct gr_g *g, int fd, int events, int option, uint64_t *deadline_ns);
/*
 * A stream's descriptor; -1: it has none. A memory stream's field is not set by libc: there stands what malloc's memory had before,
 * most likely a descriptor of somebody else.
 */
int gri_wrap_fileno(FILE *f);
/* poll(2) of one fd that does not wait: its revents, or -errno. */
int gri_wrap_poll_now(int fd, int events);

/* How a descriptor can be waited for. */
enum gri_wrap_sort {
    GRI_SORT_NONE,   /* not open */
    GRI_SORT_FILE,   /* regular files, directories, disks: always ready, as poll has it */
    GRI_SORT_SOCKET, /* may be tried with MSG_DONTWAIT */
    GRI_SORT_STREAM, /* pipes, terminals, eventfds and the like: can be polled */
};
enum gri_wrap_sort gri_wrap_sort(int fd);

/* ---- Call-backs of libc into a module -------------------------------------------------------- */

/* While libc runs a call-back with its locks held: pinned, not preempted, and out of the system
 * call. */
struct gri_callback {
    struct gr_g *g;
    bool in_syscall;
    struct arch_context context;
};
void gri_wrap_callback_begin(struct gri_callback *callback);
void gri_wrap_callback_end(struct gri_callback *callback);

/* ---- Between the wrap files ------------------------------------------------------------------ */

/* As read and write with several buffers; the caller is g. C results. */
ssize_t gri_wrap_read_vector(struct gr_g *g, int fd, const struct iovec *iov, int count);
ssize_t gri_wrap_write_vector(struct gr_g *g, int fd, const struct iovec *iov, int count);
/* recv and send without flags: kernel results. */
long gri_wrap_socket_read(struct gr_g *g, int fd, const struct iovec *iov, int count);
long gri_wrap_socket_write(struct gr_g *g, int fd, const struct iovec *iov, int count);
size_t gri_wrap_iov_bytes(const struct iovec *iov, int count);

/* Nanoseconds of a time that is not negative; INT64_MAX, some three centuries, stands for all that is longer. */
uint64_t gri_wrap_ns(const struct timespec *time);
/* The deadline (monotonic) of a call on fd by its socket time-out `option`; 0: it has none. */
uint64_t gri_wrap_socket_deadline(int fd, int option);
/* The deadline (monotonic) of an absolute time on `clock`; -EINVAL: a clock or time that cannot be
 * converted. */
int gri_wrap_deadline(clockid_t clock, const struct timespec *at, uint64_t *deadline_ns);
/* One slice of a wait that libc cannot be cancelled in: min(deadline, now + slice) as a time on
 * CLOCK_MONOTONIC. */
void gri_wrap_slice(uint64_t deadline_ns, struct timespec *until, bool *last);

/* Whether any module handler for printf conversions is registered (wrap_print.c obeys, wrap_misc.c
 * sets). */
extern _Atomic(bool) gri_wrap_printf_handlers;
/* How many signals module handlers have taken: a futex word. */
extern _Atomic(uint32_t) gri_wrap_signals_taken;
/* In the child after fork: nothing is scheduled there. */
void gri_wrap_fork_init(void);

extern int *gr_errno_location(void);

#endif
