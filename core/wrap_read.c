/*
 * wrap_read.c: reading by stdio.
 *
 * What lies in the FILE's buffer is taken at once. To refill an empty buffer the goroutine first
 * parks until the descriptor is readable, so that libc's read comes back at once; a wait inside
 * libc could neither be cancelled nor give the thread away. fgets, getline and fread, which may
 * need several refills, are loops of ours over the buffer: between refills they hold the FILE's
 * lock, as libc does, and are pinned, because that lock belongs to the thread. scanf is libc's own:
 * it waits for its first byte here and for the rest inside libc, where cancellation does not reach
 * it.
 *
 * The buffer's fields are those that <bits/types/struct_FILE.h> publishes for getc_unlocked.
 *
 * Invariants: wrap.h. The FILE's lock is taken pinned and given back before unpinning.
 */
#include "wrap.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

extern _Noreturn void __chk_fail(void);

static size_t buffered(const FILE *f)
{
    return f->_mode <= 0 && f->_IO_read_ptr < f->_IO_read_end
               ? (size_t)(f->_IO_read_end - f->_IO_read_ptr)
               : 0;
}

/* Parks until a read will not block. 0 or -ECANCELED; what else may be wrong is libc's to tell. */
static int await_input(struct gr_g *g, FILE *f)
{
    int fd = gri_wrap_fileno(f);
    uint64_t deadline = 0;

    if (fd < 0 || buffered(f) > 0)
        return 0;
    /* Each round follows a wake-up by the poller. */
    while (gri_wrap_poll_now(fd, POLLIN) == 0) {
        int wait = gri_wrap_wait(g, fd, POLLIN, -1, &deadline);

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

/* Waits for input, then takes the FILE's lock. 0 or -ECANCELED. */
static int begin(struct gr_g *g, FILE *f)
{
    int result = await_input(g, f);

    if (result < 0)
        return result;
    gri_pin(g);
    if (ftrylockfile(f) != 0) {
        GRI_WRAP_ENTER_BLOCK(g);
        flockfile(f);
        gri_wrap_leave(g);
    }
    return 0;
}

static void end(struct gr_g *g, FILE *f)
{
    funlockfile(f);
    gri_unpin(g);
}

/* With the lock: at least one byte is in the buffer afterwards, or false: end of file or error. */
static bool refill(struct gr_g *g, FILE *f)
{
    int c;

    if (buffered(f) > 0)
        return true;
    if (await_input(g, f) < 0)
        return false;
    c = GRI_WRAP_BLOCK(g, getc_unlocked(f));
    if (c == EOF)
        return false;
    ungetc(c, f);
    return true;
}

/* ---- Characters ------------------------------------------------------------------------------ */

static int wrap_fgetc(FILE *f)
{
    struct gr_g *g;
    int c = EOF;

    /* What is in the buffer needs no goroutine. */
    if (ftrylockfile(f) == 0) {
        bool ready = buffered(f) > 0;

        if (ready)
            c = getc_unlocked(f);
        funlockfile(f);
        if (ready)
            return c;
    }
    g = gri_wrap_enter();
    if (!g)
        return fgetc(f);
    if (begin(g, f) < 0)
        return EOF;
    if (refill(g, f))
        c = getc_unlocked(f);
    end(g, f);
    return c;
}

static int wrap_getchar(void)
{
    return wrap_fgetc(stdin);
}

static int wrap_fgetc_unlocked(FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g || buffered(f) > 0)
        return fgetc_unlocked(f);
    if (await_input(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, fgetc_unlocked(f));
}

static int wrap_getchar_unlocked(void)
{
    return wrap_fgetc_unlocked(stdin);
}

/* What the inlined getc_unlocked calls on an empty buffer: the first reads and takes, the second
 * only reads. */
extern int __underflow(FILE *f);

static int wrap___uflow(FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (g && await_input(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, __uflow(f));
}

static int wrap___underflow(FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (g && await_input(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, __underflow(f));
}

static int wrap_getw(FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (g && await_input(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, getw(f));
}

/* ---- Lines and blocks ------------------------------------------------------------------------ */

/* With the lock: copies up to `room` bytes, through the first `stop` if that is >= 0. Fewer at the
 * end of input. */
static size_t take(struct gr_g *g, FILE *f, char *to, size_t room, int stop)
{
    size_t done = 0;

    while (done < room && refill(g, f)) {
        size_t count = buffered(f);
        const char *found = NULL;

        if (count > room - done)
            count = room - done;
        if (stop >= 0)
            found = memchr(f->_IO_read_ptr, stop, count);
        if (found)
            count = (size_t)(found - f->_IO_read_ptr) + 1;
        done += fread_unlocked(to + done, 1, count, f);
        if (found)
            break;
    }
    return done;
}

static char *get_line(struct gr_g *g, char *buf, int bytes, FILE *f)
{
    int old_error = f->_flags & _IO_ERR_SEEN;
    size_t done;
    bool failed;

    if (bytes <= 0)
        return NULL;
    if (bytes == 1) {
        buf[0] = 0;
        return buf;
    }
    if (begin(g, f) < 0)
        return NULL;
    f->_flags &= ~_IO_ERR_SEEN;
    done = take(g, f, buf, (size_t)bytes - 1, '\n');
    failed = done == 0 || (f->_flags & _IO_ERR_SEEN);
    f->_flags |= old_error;
    end(g, f);
    if (failed)
        return NULL;
    buf[done] = 0;
    return buf;
}

static char *wrap_fgets(char *buf, int bytes, FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g || f->_mode > 0)
        return GRI_WRAP_BLOCK(g, fgets(buf, bytes, f));
    return get_line(g, buf, bytes, f);
}

static char *wrap___fgets_chk(char *buf, size_t room, int bytes, FILE *f)
{
    if (bytes > 0 && (size_t)bytes > room)
        __chk_fail();
    return wrap_fgets(buf, bytes, f);
}

/* Makes room for `need` bytes. False: out of memory. */
static bool grow(char **line, size_t *capacity, size_t need)
{
    size_t wanted = *capacity * 2 > need ? *capacity * 2 : need;
    char *larger;

    if (*line && *capacity >= need)
        return true;
    if (wanted < 120)
        wanted = 120;
    larger = realloc(*line, wanted);
    if (!larger)
        return false;
    *line = larger;
    *capacity = wanted;
    return true;
}

static ssize_t get_delimited(struct gr_g *g, char **line, size_t *capacity, int stop, FILE *f)
{
    size_t done = 0;
    int failed = 0;

    if (begin(g, f) < 0)
        return -1;
    if (!*line)
        *capacity = 0;
    /* Bounded by the input. */
    while (refill(g, f)) {
        size_t count = buffered(f), got;

        if (!grow(line, capacity, done + count + 1)) {
            failed = ENOMEM;
            break;
        }
        got = take(g, f, *line + done, count, stop);
        done += got;
        if (got == 0 || (*line)[done - 1] == (char)stop)
            break;
    }
    end(g, f);
    if (failed)
        gri_wrap_set_errno(failed);
    if (failed || done == 0)
        return -1;
    (*line)[done] = 0;
    return (ssize_t)done;
}

static ssize_t wrap_getdelim(char **line, size_t *capacity, int stop, FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g || !line || !capacity || f->_mode > 0)
        return GRI_WRAP_BLOCK(g, getdelim(line, capacity, stop, f));
    return get_delimited(g, line, capacity, stop & 0xff, f);
}

static ssize_t wrap_getline(char **line, size_t *capacity, FILE *f)
{
    return wrap_getdelim(line, capacity, '\n', f);
}

static size_t wrap_fread(void *to, size_t size, size_t count, FILE *f)
{
    struct gr_g *g = gri_wrap_enter();
    size_t bytes, done;
    int fd;

    if (!g || f->_mode > 0 || __builtin_mul_overflow(size, count, &bytes))
        return GRI_WRAP_BLOCK(g, fread(to, size, count, f));
    if (bytes == 0)
        return 0;
    if (begin(g, f) < 0)
        return 0;
    /* Large reads of what is always ready go past the buffer; libc knows how. */
    fd = gri_wrap_fileno(f);
    if (fd >= 0 && bytes > buffered(f) && gri_wrap_sort(fd) == GRI_SORT_FILE)
        done = GRI_WRAP_BLOCK(g, fread_unlocked(to, 1, bytes, f));
    else
        done = take(g, f, to, bytes, -1);
    end(g, f);
    return done / size;
}

static size_t wrap___fread_chk(void *to, size_t room, size_t size, size_t count, FILE *f)
{
    size_t bytes;

    if (__builtin_mul_overflow(size, count, &bytes) || bytes > room)
        __chk_fail();
    return wrap_fread(to, size, count, f);
}

/* ---- Wide characters: their buffer is libc's secret, so they wait inside libc ---------------- */

GRI_WRAP_SIMPLE(wint_t, fgetwc, (FILE * f), (f))
GRI_WRAP_SIMPLE(wint_t, getwchar, (void), ())
GRI_WRAP_SIMPLE(wchar_t *, fgetws, (wchar_t * s, int n, FILE *f), (s, n, f))
GRI_WRAP_SIMPLE(wint_t, ungetwc, (wint_t c, FILE *f), (c, f))

static wchar_t *wrap___fgetws_chk(wchar_t *s, size_t room, int n, FILE *f)
{
    if (n > 0 && (size_t)n > room)
        __chk_fail();
    return wrap_fgetws(s, n, f);
}

/* ---- scanf ----------------------------------------------------------------------------------- */

/* By their symbols: <stdio.h> gives one of them the name vfscanf, which one depends on the
 * language. */
typedef int scan_fn(FILE *f, const char *fmt, va_list args);
typedef int wide_scan_fn(FILE *f, const wchar_t *fmt, va_list args);
extern scan_fn scan_gnu __asm__("vfscanf"), scan_99 __asm__("__isoc99_vfscanf");
extern scan_fn scan_23 __asm__("__isoc23_vfscanf") __attribute__((weak));
extern wide_scan_fn wide_gnu __asm__("vfwscanf"), wide_99 __asm__("__isoc99_vfwscanf");
extern wide_scan_fn wide_23 __asm__("__isoc23_vfwscanf") __attribute__((weak));

static int scan(scan_fn *fn, FILE *f, const char *fmt, va_list args)
{
    struct gr_g *g = gri_wrap_enter();

    if (g && await_input(g, f) < 0)
        return EOF;
    return GRI_WRAP_BLOCK(g, fn(f, fmt, args));
}

static int wide_scan(wide_scan_fn *fn, FILE *f, const wchar_t *fmt, va_list args)
{
    struct gr_g *g = gri_wrap_enter();

    return GRI_WRAP_BLOCK(g, fn(f, fmt, args));
}

/* The four shapes of one dialect: from a FILE or stdin, with dots or a va_list. */
#define SCAN_FAMILY(prefix, wide, run, fn, character)                                              \
    static int wrap_##prefix##vf##wide##scanf(FILE *f, const character *fmt, va_list args)         \
    {                                                                                              \
        return run(fn, f, fmt, args);                                                              \
    }                                                                                              \
    static int wrap_##prefix##v##wide##scanf(const character *fmt, va_list args)                   \
    {                                                                                              \
        return run(fn, stdin, fmt, args);                                                          \
    }                                                                                              \
    static int wrap_##prefix##f##wide##scanf(FILE *f, const character *fmt, ...)                   \
    {                                                                                              \
        va_list args;                                                                              \
        int result;                                                                                \
                                                                                                   \
        va_start(args, fmt);                                                                       \
        result = run(fn, f, fmt, args);                                                            \
        va_end(args);                                                                              \
        return result;                                                                             \
    }                                                                                              \
    static int wrap_##prefix##wide##scanf(const character *fmt, ...)                               \
    {                                                                                              \
        va_list args;                                                                              \
        int result;                                                                                \
                                                                                                   \
        va_start(args, fmt);                                                                       \
        result = run(fn, stdin, fmt, args);                                                        \
        va_end(args);                                                                              \
        return result;                                                                             \
    }
SCAN_FAMILY(, , scan, scan_gnu, char)
SCAN_FAMILY(__isoc99_, , scan, scan_99, char)
SCAN_FAMILY(__isoc23_, , scan, scan_23 ? scan_23 : scan_99, char)
SCAN_FAMILY(, w, wide_scan, wide_gnu, wchar_t)
SCAN_FAMILY(__isoc99_, w, wide_scan, wide_99, wchar_t)
SCAN_FAMILY(__isoc23_, w, wide_scan, wide_23 ? wide_23 : wide_99, wchar_t)

#define SCAN_NAMES(prefix, wide)                                                                   \
    GRI_WRAP(prefix##f##wide##scanf), GRI_WRAP(prefix##wide##scanf),                               \
        GRI_WRAP(prefix##vf##wide##scanf), GRI_WRAP(prefix##v##wide##scanf)

const struct gri_wrap gri_wraps_read[] = {
    GRI_WRAP(fgetc),
    GRI_WRAP_AS(getc, fgetc),
    GRI_WRAP_AS(_IO_getc, fgetc),
    GRI_WRAP(getchar),
    GRI_WRAP(fgetc_unlocked),
    GRI_WRAP_AS(getc_unlocked, fgetc_unlocked),
    GRI_WRAP(getchar_unlocked),
    GRI_WRAP(__uflow),
    GRI_WRAP(__underflow),
    GRI_WRAP(getw),
    GRI_WRAP(fgets),
    GRI_WRAP(__fgets_chk),
    GRI_WRAP_AS(fgets_unlocked, fgets),
    GRI_WRAP_AS(__fgets_unlocked_chk, __fgets_chk),
    GRI_WRAP(getdelim),
    GRI_WRAP_AS(__getdelim, getdelim),
    GRI_WRAP(getline),
    GRI_WRAP(fread),
    GRI_WRAP(__fread_chk),
    GRI_WRAP_AS(fread_unlocked, fread),
    GRI_WRAP_AS(__fread_unlocked_chk, __fread_chk),
    GRI_WRAP(fgetwc),
    GRI_WRAP_AS(getwc, fgetwc),
    GRI_WRAP_AS(fgetwc_unlocked, fgetwc),
    GRI_WRAP_AS(getwc_unlocked, fgetwc),
    GRI_WRAP(getwchar),
    GRI_WRAP_AS(getwchar_unlocked, getwchar),
    GRI_WRAP(fgetws),
    GRI_WRAP_AS(fgetws_unlocked, fgetws),
    GRI_WRAP(__fgetws_chk),
    GRI_WRAP_AS(__fgetws_unlocked_chk, __fgetws_chk),
    GRI_WRAP(ungetwc),
    SCAN_NAMES(, ),
    SCAN_NAMES(__isoc99_, ),
    SCAN_NAMES(__isoc23_, ),
    SCAN_NAMES(, w),
    SCAN_NAMES(__isoc99_, w),
    SCAN_NAMES(__isoc23_, w),
    {NULL, NULL},
};
