/*
 * wrap_print.c: writing by stdio.
 *
 * What fits into the FILE's buffer cannot block: it is put there under the FILE's lock and costs no
 * more than in libc, which matters because printf is called in storms. printf finds out by
 * formatting into a small array first. What does not fit reaches the kernel: the goroutine parks
 * until the descriptor is writable, and then libc writes as one system call of the goroutine. A
 * lock that another holds (it may be blocked in a write) is waited for in the same way.
 *
 * Module code that formats (register_printf_function) runs inside libc with the lock held. Once
 * there is any, printf is pinned and not preempted, and no system call.
 *
 * Invariants: wrap.h.
 */
#include "wrap.h"

#include <err.h>
#include <error.h>
#include <poll.h>
#include <signal.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

/* Longer texts than this are formatted by libc straight into the FILE. */
#define TEXT_BYTES 512

extern int __vfprintf_chk(FILE *f, int flag, const char *fmt, va_list args);
extern int __vsnprintf_chk(char *s, size_t n, int flag, size_t room, const char *fmt, va_list args);
extern int __vfwprintf_chk(FILE *f, int flag, const wchar_t *fmt, va_list args);
extern int __vasprintf_chk(char **s, int flag, const char *fmt, va_list args);

/* With the lock: room in the buffer of a stream that is fully buffered and being written; else 0.
 */
static size_t room(const FILE *f)
{
    return f->_mode <= 0 && f->_IO_write_end > f->_IO_write_ptr
               ? (size_t)(f->_IO_write_end - f->_IO_write_ptr)
               : 0;
}

/*
 * Needs no gri_wrap_enter before it: nothing in here blocks, and the stub has handed errno to libc.
 * Takes the FILE's lock if that needs no wait and `bytes` fit into its buffer.
 */
static bool begin_buffered(FILE *f, size_t bytes)
{
    if (ftrylockfile(f) != 0)
        return false;
    if (room(f) >= bytes)
        return true;
    funlockfile(f);
    return false;
}

/* Parks until a write will not block. 0 or -ECANCELED. */
static int await_output(struct gr_g *g, FILE *f)
{
    int fd = gri_wrap_fileno(f);
    uint64_t deadline = 0;

    if (!g || fd < 0)
        return 0;
    /* Each round follows a wake-up by the poller. */
    while (gri_wrap_poll_now(fd, POLLOUT) == 0) {
        int wait = gri_wrap_wait(g, fd, POLLOUT, -1, &deadline);

        if (wait == -ECANCELED) {
            f->_flags |= _IO_ERR_SEEN;
            gri_wrap_set_errno(ECANCELED);
            return wait;
        }
        if (wait < 0)
            break;
    }
    gri_errno_to_libc();
    return 0;
}

/* ---- printf ---------------------------------------------------------------------------------- */

static int print_with_handlers(FILE *f, int flag, const char *fmt, va_list args)
{
    struct gr_g *g = gri_self();
    int result;

    if (!g)
        return __vfprintf_chk(f, flag, fmt, args);
    gri_errno_to_libc();
    gri_pin(g);
    gr_nopreempt_begin();
    result = __vfprintf_chk(f, flag, fmt, args);
    gr_nopreempt_end();
    gri_unpin(g);
    return result;
}

static int print(FILE *f, int flag, const char *fmt, va_list args)
{
    struct gr_g *g;
    char text[TEXT_BYTES];
    va_list copy;
    int length;

    /* relaxed: whoever registered a handler and prints with it is the same goroutine or was
     * synchronised with it. */
    if (atomic_load_explicit(&gri_wrap_printf_handlers, memory_order_relaxed))
        return print_with_handlers(f, flag, fmt, args);
    /* Without the lock this is a guess: is it worth formatting here? begin_buffered decides. */
    if (room(f) > 0) {
        va_copy(copy, args);
        length = __vsnprintf_chk(text, sizeof text, flag, sizeof text, fmt, copy);
        va_end(copy);
        if (length >= 0 && (size_t)length < sizeof text && begin_buffered(f, (size_t)length)) {
            fwrite_unlocked(text, 1, (size_t)length, f);
            funlockfile(f);
            return length;
        }
    }
    g = gri_wrap_enter();
    if (await_output(g, f) < 0)
        return -1;
    return GRI_WRAP_BLOCK(g, __vfprintf_chk(f, flag, fmt, args));
}

static int wrap_vfprintf(FILE *f, const char *fmt, va_list args)
{
    return print(f, 0, fmt, args);
}

static int wrap___vfprintf_chk(FILE *f, int flag, const char *fmt, va_list args)
{
    return print(f, flag, fmt, args);
}

static int wrap_vprintf(const char *fmt, va_list args)
{
    return print(stdout, 0, fmt, args);
}

static int wrap___vprintf_chk(int flag, const char *fmt, va_list args)
{
    return print(stdout, flag, fmt, args);
}

/* From the dots to a va_list: `first` is the last named argument. */
#define WITH_ARGS(first, call)                                                                     \
    ({                                                                                             \
        va_list args;                                                                              \
        int result_;                                                                               \
                                                                                                   \
        va_start(args, first);                                                                     \
        result_ = (call);                                                                          \
        va_end(args);                                                                              \
        result_;                                                                                   \
    })

static int wrap_printf(const char *fmt, ...)
{
    return WITH_ARGS(fmt, print(stdout, 0, fmt, args));
}

static int wrap_fprintf(FILE *f, const char *fmt, ...)
{
    return WITH_ARGS(fmt, print(f, 0, fmt, args));
}

static int wrap___printf_chk(int flag, const char *fmt, ...)
{
    return WITH_ARGS(fmt, print(stdout, flag, fmt, args));
}

static int wrap___fprintf_chk(FILE *f, int flag, const char *fmt, ...)
{
    return WITH_ARGS(fmt, print(f, flag, fmt, args));
}

/* dprintf: formatted here, written as write does. */
static int print_fd(int fd, int flag, const char *fmt, va_list args)
{
    struct gr_g *g = gri_wrap_enter();
    struct iovec iov;
    char *text;
    int length = __vasprintf_chk(&text, flag, fmt, args);
    size_t done = 0;

    if (length < 0)
        return -1;
    while (done < (size_t)length) {
        ssize_t written;

        iov.iov_base = text + done;
        iov.iov_len = (size_t)length - done;
        written = g ? gri_wrap_write_vector(g, fd, &iov, 1) : writev(fd, &iov, 1);
        if (written < 0) {
            length = -1;
            break;
        }
        done += (size_t)written;
    }
    free(text);
    return length;
}

static int wrap_vdprintf(int fd, const char *fmt, va_list args)
{
    return print_fd(fd, 0, fmt, args);
}

static int wrap___vdprintf_chk(int fd, int flag, const char *fmt, va_list args)
{
    return print_fd(fd, flag, fmt, args);
}

static int wrap_dprintf(int fd, const char *fmt, ...)
{
    return WITH_ARGS(fmt, print_fd(fd, 0, fmt, args));
}

static int wrap___dprintf_chk(int fd, int flag, const char *fmt, ...)
{
    return WITH_ARGS(fmt, print_fd(fd, flag, fmt, args));
}

static int print_wide(FILE *f, int flag, const wchar_t *fmt, va_list args)
{
    struct gr_g *g = gri_wrap_enter();

    if (await_output(g, f) < 0)
        return -1;
    return GRI_WRAP_BLOCK(g, __vfwprintf_chk(f, flag, fmt, args));
}

static int wrap_vfwprintf(FILE *f, const wchar_t *fmt, va_list args)
{
    return print_wide(f, 0, fmt, args);
}

static int wrap___vfwprintf_chk(FILE *f, int flag, const wchar_t *fmt, va_list args)
{
    return print_wide(f, flag, fmt, args);
}

static int wrap_vwprintf(const wchar_t *fmt, va_list args)
{
    return print_wide(stdout, 0, fmt, args);
}

static int wrap___vwprintf_chk(int flag, const wchar_t *fmt, va_list args)
{
    return print_wide(stdout, flag, fmt, args);
}

static int wrap_wprintf(const wchar_t *fmt, ...)
{
    return WITH_ARGS(fmt, print_wide(stdout, 0, fmt, args));
}

static int wrap___wprintf_chk(int flag, const wchar_t *fmt, ...)
{
    return WITH_ARGS(fmt, print_wide(stdout, flag, fmt, args));
}

static int wrap_fwprintf(FILE *f, const wchar_t *fmt, ...)
{
    return WITH_ARGS(fmt, print_wide(f, 0, fmt, args));
}

static int wrap___fwprintf_chk(FILE *f, int flag, const wchar_t *fmt, ...)
{
    return WITH_ARGS(fmt, print_wide(f, flag, fmt, args));
}

/* ---- Strings, blocks, characters ------------------------------------------------------------- */

static size_t wrap_fwrite(const void *from, size_t size, size_t count, FILE *f)
{
    struct gr_g *g;
    size_t bytes;

    if (!__builtin_mul_overflow(size, count, &bytes) && begin_buffered(f, bytes)) {
        size_t done = fwrite_unlocked(from, size, count, f);

        funlockfile(f);
        return done;
    }
    g = gri_wrap_enter();
    if (await_output(g, f) < 0)
        return 0;
    return GRI_WRAP_BLOCK(g, fwrite(from, size, count, f));
}

static int wrap_fputs(const char *s, FILE *f)
{
    struct gr_g *g;

    if (begin_buffered(f, strlen(s))) {
        int result = fputs_unlocked(s, f);

        funlockfile(f);
        return result;
    }
    g = gri_wrap_enter();
    if (await_output(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, fputs(s, f));
}

static int wrap_puts(const char *s)
{
    struct gr_g *g;

    if (begin_buffered(stdout, strlen(s) + 1)) {
        int result = fputs_unlocked(s, stdout);

        if (result != EOF && putc_unlocked('\n', stdout) == EOF)
            result = EOF;
        funlockfile(stdout);
        return result;
    }
    g = gri_wrap_enter();
    if (await_output(g, stdout) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, puts(s));
}

static int wrap_fputc(int c, FILE *f)
{
    struct gr_g *g;

    if (begin_buffered(f, 1)) {
        int result = putc_unlocked(c, f);

        funlockfile(f);
        return result;
    }
    g = gri_wrap_enter();
    if (await_output(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, fputc(c, f));
}

static int wrap_putchar(int c)
{
    return wrap_fputc(c, stdout);
}

/* What the inlined putc_unlocked calls on a full buffer. */
static int wrap___overflow(FILE *f, int c)
{
    struct gr_g *g = gri_wrap_enter();

    if (await_output(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, __overflow(f, c));
}

static int wrap_putw(int word, FILE *f)
{
    return wrap_fwrite(&word, sizeof word, 1, f) == 1 ? 0 : EOF;
}

static wint_t wrap_fputwc(wchar_t c, FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (await_output(g, f) < 0)
        return WEOF;
    return GRI_WRAP_BLOCK(g, fputwc(c, f));
}

static wint_t wrap_putwchar(wchar_t c)
{
    return wrap_fputwc(c, stdout);
}

static int wrap_fputws(const wchar_t *s, FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (await_output(g, f) < 0)
        return -1;
    return GRI_WRAP_BLOCK(g, fputws(s, f));
}

static int wrap_fflush(FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (f && __fpending(f) > 0 && await_output(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, fflush(f));
}

/* ---- Messages -------------------------------------------------------------------------------- */

GRI_WRAP_SIMPLE(int, fcloseall, (void), ())

#define MESSAGE(name, params, args)                                                                \
    static void wrap_##name params                                                                 \
    {                                                                                              \
        struct gr_g *g = gri_wrap_enter();                                                         \
                                                                                                   \
        if (await_output(g, stderr) < 0)                                                           \
            return;                                                                                \
        GRI_WRAP_ENTER_BLOCK(g);                                                                   \
        name args;                                                                                 \
        if (g)                                                                                     \
            gri_wrap_leave(g);                                                                     \
    }
MESSAGE(perror, (const char *s), (s))
MESSAGE(psignal, (int number, const char *s), (number, s))
MESSAGE(psiginfo, (const siginfo_t *info, const char *s), (info, s))
MESSAGE(vwarn, (const char *fmt, va_list args), (fmt, args))
MESSAGE(vwarnx, (const char *fmt, va_list args), (fmt, args))

static void wrap_warn(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    wrap_vwarn(fmt, args);
    va_end(args);
}

static void wrap_warnx(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    wrap_vwarnx(fmt, args);
    va_end(args);
}

/* These have no form with a va_list: formatted here, handed on as one string. They may end the
 * program. */
static void wrap_error(int status, int number, const char *fmt, ...)
{
    struct gr_g *g = gri_wrap_enter();
    char *text = NULL;

    if (WITH_ARGS(fmt, vasprintf(&text, fmt, args)) < 0)
        text = NULL;
    if (await_output(g, stderr) == 0) {
        if (status)
            g = NULL;
        GRI_WRAP_ENTER_BLOCK(g);
        error(status, number, "%s", text ? text : fmt);
        if (g)
            gri_wrap_leave(g);
    }
    free(text);
}

static void wrap_error_at_line(int status, int number, const char *file, unsigned line,
                               const char *fmt, ...)
{
    struct gr_g *g = gri_wrap_enter();
    char *text = NULL;

    if (WITH_ARGS(fmt, vasprintf(&text, fmt, args)) < 0)
        text = NULL;
    if (await_output(g, stderr) == 0) {
        if (status)
            g = NULL;
        GRI_WRAP_ENTER_BLOCK(g);
        error_at_line(status, number, file, line, "%s", text ? text : fmt);
        if (g)
            gri_wrap_leave(g);
    }
    free(text);
}

const struct gri_wrap gri_wraps_print[] = {
    GRI_WRAP(printf),
    GRI_WRAP(fprintf),
    GRI_WRAP(vprintf),
    GRI_WRAP(vfprintf),
    GRI_WRAP(__printf_chk),
    GRI_WRAP(__fprintf_chk),
    GRI_WRAP(__vprintf_chk),
    GRI_WRAP(__vfprintf_chk),
    GRI_WRAP(dprintf),
    GRI_WRAP(vdprintf),
    GRI_WRAP(__dprintf_chk),
    GRI_WRAP(__vdprintf_chk),
    GRI_WRAP(wprintf),
    GRI_WRAP(fwprintf),
    GRI_WRAP(vwprintf),
    GRI_WRAP(vfwprintf),
    GRI_WRAP(__wprintf_chk),
    GRI_WRAP(__fwprintf_chk),
    GRI_WRAP(__vwprintf_chk),
    GRI_WRAP(__vfwprintf_chk),
    GRI_WRAP(fwrite),
    GRI_WRAP_AS(fwrite_unlocked, fwrite),
    GRI_WRAP(fputs),
    GRI_WRAP_AS(fputs_unlocked, fputs),
    GRI_WRAP(puts),
    GRI_WRAP(fputc),
    GRI_WRAP_AS(putc, fputc),
    GRI_WRAP_AS(_IO_putc, fputc),
    GRI_WRAP_AS(fputc_unlocked, fputc),
    GRI_WRAP_AS(putc_unlocked, fputc),
    GRI_WRAP(putchar),
    GRI_WRAP_AS(putchar_unlocked, putchar),
    GRI_WRAP(__overflow),
    GRI_WRAP(putw),
    GRI_WRAP(fputwc),
    GRI_WRAP_AS(putwc, fputwc),
    GRI_WRAP_AS(fputwc_unlocked, fputwc),
    GRI_WRAP_AS(putwc_unlocked, fputwc),
    GRI_WRAP(putwchar),
    GRI_WRAP_AS(putwchar_unlocked, putwchar),
    GRI_WRAP(fputws),
    GRI_WRAP_AS(fputws_unlocked, fputws),
    GRI_WRAP(fflush),
    GRI_WRAP_AS(fflush_unlocked, fflush),
    GRI_WRAP(fcloseall),
    GRI_WRAP(error),
    GRI_WRAP(error_at_line),
    GRI_WRAP(perror),
    GRI_WRAP(psignal),
    GRI_WRAP(psiginfo),
    GRI_WRAP(warn),
    GRI_WRAP(warnx),
    GRI_WRAP(vwarn),
    GRI_WRAP(vwarnx),
    {NULL, NULL},
};
