/*
 * wrap_stdio.c: the rest of stdio: opening, closing, positions, locks, streams with call-backs.
 *
 * Nearly every function on a FILE takes its lock, and another goroutine may hold that lock while it
 * is blocked in a write: so these are system calls of the goroutine even where the kernel is not
 * asked.
 *
 * fopencookie: libc runs the module's functions with the FILE's recursive lock held. A goroutine
 * stopped there would let another one on the same thread into the lock (AAAA1BBBBAAAA1 was seen).
 * So each call-back runs pinned and not preempted.
 *
 * Invariants: wrap.h. No locks of its own.
 */
#include "wrap.h"

#include <malloc.h>
#include <mntent.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

GRI_WRAP_SIMPLE(FILE *, fopen, (const char *path, const char *mode), (path, mode))
GRI_WRAP_SIMPLE(FILE *, fdopen, (int fd, const char *mode), (fd, mode))
GRI_WRAP_SIMPLE(FILE *, tmpfile, (void), ())
GRI_WRAP_SIMPLE(FILE *, popen, (const char *command, const char *mode), (command, mode))
GRI_WRAP_SIMPLE(int, fseek, (FILE * f, long at, int whence), (f, at, whence))
GRI_WRAP_SIMPLE(int, fseeko, (FILE * f, off_t at, int whence), (f, at, whence))
GRI_WRAP_SIMPLE(long, ftell, (FILE * f), (f))
GRI_WRAP_SIMPLE(off_t, ftello, (FILE * f), (f))
GRI_WRAP_SIMPLE(int, fgetpos, (FILE * f, fpos_t *at), (f, at))
GRI_WRAP_SIMPLE(int, fsetpos, (FILE * f, const fpos_t *at), (f, at))
GRI_WRAP_SIMPLE(int, setvbuf, (FILE * f, char *buf, int mode, size_t bytes), (f, buf, mode, bytes))
GRI_WRAP_SIMPLE(int, ungetc, (int c, FILE *f), (c, f))
GRI_WRAP_SIMPLE(int, feof, (FILE * f), (f))
GRI_WRAP_SIMPLE(int, ferror, (FILE * f), (f))
GRI_WRAP_SIMPLE(int, fwide, (FILE * f, int mode), (f, mode))
GRI_WRAP_SIMPLE(int, malloc_info, (int options, FILE *f), (options, f))
GRI_WRAP_SIMPLE(FILE *, setmntent, (const char *path, const char *mode), (path, mode))
GRI_WRAP_SIMPLE(struct mntent *, getmntent, (FILE * f), (f))
GRI_WRAP_SIMPLE(struct mntent *, getmntent_r, (FILE * f, struct mntent *m, char *buf, int n),
                (f, m, buf, n))
GRI_WRAP_SIMPLE(int, addmntent, (FILE * f, const struct mntent *m), (f, m))
GRI_WRAP_SIMPLE(int, endmntent, (FILE * f), (f))

/* The same for functions without a result. */
#define SIMPLE_VOID(name, params, args)                                                            \
    static void wrap_##name params                                                                 \
    {                                                                                              \
        struct gr_g *g = gri_wrap_enter();                                                         \
                                                                                                   \
        GRI_WRAP_ENTER_BLOCK(g);                                                                   \
        name args;                                                                                 \
        if (g)                                                                                     \
            gri_wrap_leave(g);                                                                     \
    }
SIMPLE_VOID(rewind, (FILE * f), (f))
SIMPLE_VOID(clearerr, (FILE * f), (f))
SIMPLE_VOID(setbuf, (FILE * f, char *buf), (f, buf))
SIMPLE_VOID(setbuffer, (FILE * f, char *buf, size_t bytes), (f, buf, bytes))
SIMPLE_VOID(setlinebuf, (FILE * f), (f))
SIMPLE_VOID(_flushlbf, (void), ())
SIMPLE_VOID(malloc_stats, (void), ())

static int wrap_fclose(FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    gri_poll_forget(gri_wrap_fileno(f));
    return GRI_WRAP_BLOCK(g, fclose(f));
}

static int wrap_pclose(FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    gri_poll_forget(gri_wrap_fileno(f));
    return GRI_WRAP_BLOCK(g, pclose(f));
}

static FILE *wrap_freopen(const char *path, const char *mode, FILE *f)
{
    struct gr_g *g = gri_wrap_enter();

    gri_poll_forget(gri_wrap_fileno(f));
    return GRI_WRAP_BLOCK(g, freopen(path, mode, f));
}

/* ---- Locks ----------------------------------------------------------------------------------- */

/* The lock belongs to the thread, so whoever holds it is pinned. Pinned first: it may wait on this
 * thread only. */
static void wrap_flockfile(FILE *f)
{
    struct gr_g *g = gri_self();

    if (!g) {
        flockfile(f);
        return;
    }
    gri_pin(g);
    if (ftrylockfile(f) == 0)
        return;
    if (g->nopreempt) {
        flockfile(f);
        return;
    }
    gri_errno_to_libc();
    GRI_WRAP_ENTER_BLOCK(g);
    flockfile(f);
    gri_wrap_leave(g);
}

static int wrap_ftrylockfile(FILE *f)
{
    struct gr_g *g = gri_self();
    int result;

    if (!g)
        return ftrylockfile(f);
    gri_pin(g);
    result = ftrylockfile(f);
    if (result != 0)
        gri_unpin(g);
    return result;
}

static void wrap_funlockfile(FILE *f)
{
    struct gr_g *g = gri_self();

    funlockfile(f);
    if (g && g->pinned > 0)
        gri_unpin(g);
}

/* ---- fopencookie ----------------------------------------------------------------------------- */

/* What libc calls, with the module's own behind it. Freed when the stream is closed. */
struct cookie {
    void *cookie;
    cookie_io_functions_t fns;
};

static ssize_t cookie_read(void *arg, char *buf, size_t bytes)
{
    struct cookie *cookie = arg;
    struct gri_callback callback;
    ssize_t result;

    gri_wrap_callback_begin(&callback);
    result = cookie->fns.read(cookie->cookie, buf, bytes);
    gri_wrap_callback_end(&callback);
    return result;
}

static ssize_t cookie_write(void *arg, const char *buf, size_t bytes)
{
    struct cookie *cookie = arg;
    struct gri_callback callback;
    ssize_t result;

    gri_wrap_callback_begin(&callback);
    result = cookie->fns.write(cookie->cookie, buf, bytes);
    gri_wrap_callback_end(&callback);
    return result;
}

static int cookie_seek(void *arg, off64_t *at, int whence)
{
    struct cookie *cookie = arg;
    struct gri_callback callback;
    int result;

    gri_wrap_callback_begin(&callback);
    result = cookie->fns.seek(cookie->cookie, at, whence);
    gri_wrap_callback_end(&callback);
    return result;
}

static int cookie_close(void *arg)
{
    struct cookie *cookie = arg;
    struct gri_callback callback;
    int result = 0;

    if (cookie->fns.close) {
        gri_wrap_callback_begin(&callback);
        result = cookie->fns.close(cookie->cookie);
        gri_wrap_callback_end(&callback);
    }
    free(cookie);
    return result;
}

static FILE *wrap_fopencookie(void *arg, const char *mode, cookie_io_functions_t fns)
{
    cookie_io_functions_t thunks = {
        .read = fns.read ? cookie_read : NULL,
        .write = fns.write ? cookie_write : NULL,
        .seek = fns.seek ? cookie_seek : NULL,
        .close = cookie_close,
    };
    struct cookie *cookie;
    FILE *f;

    gri_wrap_enter();
    cookie = malloc(sizeof *cookie);
    if (!cookie)
        return NULL;
    cookie->cookie = arg;
    cookie->fns = fns;
    f = fopencookie(cookie, mode, thunks);
    if (!f)
        free(cookie);
    return f;
}

const struct gri_wrap gri_wraps_stdio[] = {
    GRI_WRAP(fopen),
    GRI_WRAP_AS(fopen64, fopen),
    GRI_WRAP(fdopen),
    GRI_WRAP(freopen),
    GRI_WRAP_AS(freopen64, freopen),
    GRI_WRAP(tmpfile),
    GRI_WRAP_AS(tmpfile64, tmpfile),
    GRI_WRAP(fclose),
    GRI_WRAP(popen),
    GRI_WRAP(pclose),
    GRI_WRAP(fseek),
    GRI_WRAP(fseeko),
    GRI_WRAP_AS(fseeko64, fseeko),
    GRI_WRAP(ftell),
    GRI_WRAP(ftello),
    GRI_WRAP_AS(ftello64, ftello),
    GRI_WRAP(fgetpos),
    GRI_WRAP_AS(fgetpos64, fgetpos),
    GRI_WRAP(fsetpos),
    GRI_WRAP_AS(fsetpos64, fsetpos),
    GRI_WRAP(rewind),
    GRI_WRAP(setvbuf),
    GRI_WRAP(setbuf),
    GRI_WRAP(setbuffer),
    GRI_WRAP(setlinebuf),
    GRI_WRAP(ungetc),
    GRI_WRAP(feof),
    GRI_WRAP(ferror),
    GRI_WRAP(clearerr),
    GRI_WRAP(fwide),
    GRI_WRAP(_flushlbf),
    GRI_WRAP(malloc_info),
    GRI_WRAP(malloc_stats),
    GRI_WRAP(setmntent),
    GRI_WRAP_AS(__setmntent, setmntent),
    GRI_WRAP(getmntent),
    GRI_WRAP(getmntent_r),
    GRI_WRAP_AS(__getmntent_r, getmntent_r),
    GRI_WRAP(addmntent),
    GRI_WRAP(endmntent),
    GRI_WRAP_AS(__endmntent, endmntent),
    GRI_WRAP(flockfile),
    GRI_WRAP(ftrylockfile),
    GRI_WRAP(funlockfile),
    GRI_WRAP(fopencookie),
    {NULL, NULL},
};
