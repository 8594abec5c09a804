/*
 * wrap_io.c: read, write and the other calls on descriptors.
 *
 * A descriptor is one of three sorts, asked of the kernel each time: a socket (wrap_socket.c),
 * something that can be polled (pipe, terminal, eventfd), or a file. The first two park the
 * goroutine where they would block; a file is a system call, since the disk cannot be polled.
 * Nothing is remembered about a descriptor: the module, or a library below it, may close and reuse
 * the number at any time.
 *
 * Invariants: wrap.h. No locks, no state.
 */
#include "wrap.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

extern _Noreturn void __chk_fail(void);

/* Parks until a pipe, a terminal or the like is ready. 0: go on with the kernel call; else -errno.
 */
static int await_stream(struct gr_g *g, int fd, int events)
{
    uint64_t deadline = 0;

    /* Each round follows a wake-up by the poller. */
    while (gri_wrap_poll_now(fd, events) == 0) {
        int wait = gri_wrap_wait(g, fd, events, -1, &deadline);

        if (wait == -EPERM || wait == -EAGAIN)
            return 0;
        if (wait < 0)
            return wait;
    }
    return 0;
}

/* ---- Reading and writing --------------------------------------------------------------------- */

/*
 * Tries without waiting. Pipes can do that since Linux 6.4; terminals and others say -EOPNOTSUPP, an
 * emulated kernel may say -ENOSYS, and then poll tells whether the plain call would wait.
 */
static bool must_ask_poll(long result)
{
    return result == -EAGAIN || result == -EOPNOTSUPP || result == -ENOSYS;
}

static long read_stream(struct gr_g *g, int fd, const struct iovec *iov, int count)
{
    long result = GRI_RAW(SYS_preadv2, fd, (long)iov, count, -1, -1, RWF_NOWAIT);

    if (!must_ask_poll(result))
        return result;
    result = await_stream(g, fd, POLLIN);
    return result < 0 ? result : GRI_SYS_LIKELY(g, SYS_readv, fd, (long)iov, count);
}

ssize_t gri_wrap_read_vector(struct gr_g *g, int fd, const struct iovec *iov, int count)
{
    switch (gri_wrap_iov_bytes(iov, count) > 0 ? gri_wrap_sort(fd) : GRI_SORT_FILE) {
    case GRI_SORT_SOCKET:
        return gri_wrap_result(gri_wrap_socket_read(g, fd, iov, count));
    case GRI_SORT_STREAM:
        return gri_wrap_result(read_stream(g, fd, iov, count));
    default:
        return gri_wrap_result(GRI_SYS_READY(g, SYS_readv, fd, (long)iov, count));
    }
}

/* A write to a pipe may need more room than there is now, so it stays cancellable unless it is sure
 * to fit. */
static long write_stream(struct gr_g *g, int fd, const struct iovec *iov, int count)
{
    size_t bytes = gri_wrap_iov_bytes(iov, count);
    long result = -EOPNOTSUPP;

    /* What fits is written whole or not at all up to PIPE_BUF; more could be cut. */
    if (bytes <= PIPE_BUF)
        result = GRI_RAW(SYS_pwritev2, fd, (long)iov, count, -1, -1, RWF_NOWAIT);
    if (!must_ask_poll(result))
        return result;
    result = await_stream(g, fd, POLLOUT);
    if (result < 0)
        return result;
    if (bytes <= PIPE_BUF)
        return GRI_SYS_LIKELY(g, SYS_writev, fd, (long)iov, count);
    return GRI_SYS(g, SYS_writev, fd, (long)iov, count);
}

ssize_t gri_wrap_write_vector(struct gr_g *g, int fd, const struct iovec *iov, int count)
{
    switch (gri_wrap_iov_bytes(iov, count) > 0 ? gri_wrap_sort(fd) : GRI_SORT_FILE) {
    case GRI_SORT_SOCKET:
        return gri_wrap_result(gri_wrap_socket_write(g, fd, iov, count));
    case GRI_SORT_STREAM:
        return gri_wrap_result(write_stream(g, fd, iov, count));
    default:
        return gri_wrap_result(GRI_SYS_READY(g, SYS_writev, fd, (long)iov, count));
    }
}

static ssize_t wrap_read(int fd, void *buf, size_t bytes)
{
    struct gr_g *g = gri_wrap_enter();
    struct iovec iov = {buf, bytes};

    return g ? gri_wrap_read_vector(g, fd, &iov, 1) : read(fd, buf, bytes);
}

static ssize_t wrap___read_chk(int fd, void *buf, size_t bytes, size_t room)
{
    if (bytes > room)
        __chk_fail();
    return wrap_read(fd, buf, bytes);
}

static ssize_t wrap_write(int fd, const void *buf, size_t bytes)
{
    struct gr_g *g = gri_wrap_enter();
    struct iovec iov = {(void *)buf, bytes};

    return g ? gri_wrap_write_vector(g, fd, &iov, 1) : write(fd, buf, bytes);
}

static ssize_t wrap_readv(int fd, const struct iovec *iov, int count)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g || count <= 0 || count > IOV_MAX)
        return readv(fd, iov, count);
    return gri_wrap_read_vector(g, fd, iov, count);
}

static ssize_t wrap_writev(int fd, const struct iovec *iov, int count)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g || count <= 0 || count > IOV_MAX)
        return writev(fd, iov, count);
    return gri_wrap_write_vector(g, fd, iov, count);
}

GRI_WRAP_SIMPLE(ssize_t, pread, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at))
GRI_WRAP_SIMPLE(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t at), (fd, buf, n, at))
GRI_WRAP_SIMPLE(ssize_t, preadv, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
GRI_WRAP_SIMPLE(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))

static ssize_t wrap___pread_chk(int fd, void *buf, size_t bytes, off_t at, size_t room)
{
    if (bytes > room)
        __chk_fail();
    return wrap_pread(fd, buf, bytes, at);
}

/* Position -1 means the current one: then it reads as readv does, and may wait as long. */
static ssize_t wrap_preadv2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
    struct gr_g *g = gri_wrap_enter();

    if (g && at == -1 && flags == 0 && count > 0 && count <= IOV_MAX)
        return gri_wrap_read_vector(g, fd, iov, count);
    return GRI_WRAP_BLOCK(g, preadv2(fd, iov, count, at, flags));
}

static ssize_t wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
    struct gr_g *g = gri_wrap_enter();

    if (g && at == -1 && flags == 0 && count > 0 && count <= IOV_MAX)
        return gri_wrap_write_vector(g, fd, iov, count);
    return GRI_WRAP_BLOCK(g, pwritev2(fd, iov, count, at, flags));
}

static int wrap_eventfd_read(int fd, eventfd_t *value)
{
    return wrap_read(fd, value, sizeof *value) == (ssize_t)sizeof *value ? 0 : -1;
}

static int wrap_eventfd_write(int fd, eventfd_t value)
{
    return wrap_write(fd, &value, sizeof value) == (ssize_t)sizeof value ? 0 : -1;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static long open_at(struct gr_g *g, int dir, const char *path, int flags, mode_t mode)
{
    /* Only a FIFO without its other end blocks; for a cancelled goroutine that has to fail, nothing
     * else. */
    if (gri_wrap_cancelled(g)) {
        struct stat st;

        if (!(flags & O_NONBLOCK) && fstatat(dir, path, &st, 0) == 0 && S_ISFIFO(st.st_mode))
            return -ECANCELED;
        return GRI_SYS_READY(g, SYS_openat, dir, (long)path, flags, mode);
    }
    return GRI_SYS(g, SYS_openat, dir, (long)path, flags, mode);
}

static int open_mode(int dir, const char *path, int flags, mode_t mode)
{
    struct gr_g *g = gri_wrap_enter();

    return g ? (int)gri_wrap_result(open_at(g, dir, path, flags, mode))
             : openat(dir, path, flags, mode);
}

/* The mode is an argument only where a file may be made. */
static mode_t mode_argument(int flags, va_list args)
{
    return __OPEN_NEEDS_MODE(flags) ? (mode_t)va_arg(args, unsigned) : 0;
}

static int wrap_open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_argument(flags, args);
    va_end(args);
    return open_mode(AT_FDCWD, path, flags, mode);
}

static int wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_argument(flags, args);
    va_end(args);
    return open_mode(dir, path, flags, mode);
}

/* The fortified forms without a mode: libc ends the program where one was needed. */
static int wrap___open_2(const char *path, int flags)
{
    if (__OPEN_NEEDS_MODE(flags))
        __chk_fail();
    return open_mode(AT_FDCWD, path, flags, 0);
}

static int wrap___openat_2(int dir, const char *path, int flags)
{
    if (__OPEN_NEEDS_MODE(flags))
        __chk_fail();
    return open_mode(dir, path, flags, 0);
}

static int wrap_creat(const char *path, mode_t mode)
{
    return open_mode(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static int wrap_close(int fd)
{
    struct gr_g *g = gri_wrap_enter();

    if (fd >= 0)
        gri_poll_forget(fd);
    return GRI_WRAP_BLOCK(g, close(fd));
}

static int wrap_dup2(int from, int to)
{
    struct gr_g *g = gri_wrap_enter();

    if (to >= 0 && from != to)
        gri_poll_forget(to);
    return GRI_WRAP_BLOCK(g, dup2(from, to));
}

static int wrap_dup3(int from, int to, int flags)
{
    struct gr_g *g = gri_wrap_enter();

    if (to >= 0 && from != to)
        gri_poll_forget(to);
    return GRI_WRAP_BLOCK(g, dup3(from, to, flags));
}

static void forget_range(unsigned first, unsigned last)
{
    struct rlimit limit;
    unsigned end = 65536;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < end)
        end = (unsigned)limit.rlim_cur;
    for (unsigned fd = first; fd <= last && fd < end; fd++)
        gri_poll_forget((int)fd);
}

static int wrap_close_range(unsigned first, unsigned last, int flags)
{
    struct gr_g *g = gri_wrap_enter();

    if (!(flags & CLOSE_RANGE_CLOEXEC))
        forget_range(first, last);
    return GRI_WRAP_BLOCK(g, close_range(first, last, flags));
}

static void wrap_closefrom(int first)
{
    forget_range(first < 0 ? 0 : (unsigned)first, UINT_MAX);
    closefrom(first);
}

/* ---- Locks and controls of descriptors ------------------------------------------------------- */

/* A file lock: tried first, so that a cancelled goroutine still gets a free one. */
static int wrap_flock(int fd, int operation)
{
    struct gr_g *g = gri_wrap_enter();
    long result;

    if (!g || (operation & LOCK_NB))
        return flock(fd, operation);
    result = GRI_SYS_READY(g, SYS_flock, fd, operation | LOCK_NB);
    if (result == -EAGAIN)
        result = GRI_SYS(g, SYS_flock, fd, operation);
    return (int)gri_wrap_result(result);
}

static long lock_record(struct gr_g *g, int fd, int command, long arg)
{
    int try = command == F_SETLKW ? F_SETLK : F_OFD_SETLK;
    long result = GRI_SYS_READY(g, SYS_fcntl, fd, try, arg);

    if (result == -EAGAIN || result == -EACCES)
        result = GRI_SYS(g, SYS_fcntl, fd, command, arg);
    return result;
}

static int wrap_fcntl(int fd, int command, ...)
{
    struct gr_g *g = gri_wrap_enter();
    va_list args;
    long arg;

    va_start(args, command);
    arg = va_arg(args, long);
    va_end(args);
    if (!g)
        return fcntl(fd, command, arg);
    if (command == F_SETLKW || command == F_OFD_SETLKW)
        return (int)gri_wrap_result(lock_record(g, fd, command, arg));
    return GRI_WRAP_BLOCK(g, fcntl(fd, command, arg));
}

static int wrap_lockf(int fd, int command, off_t bytes)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_len = bytes};
    struct gr_g *g = gri_wrap_enter();

    if (!g || command != F_LOCK)
        return lockf(fd, command, bytes);
    return (int)gri_wrap_result(lock_record(g, fd, F_SETLKW, (long)&lock));
}

static int wrap_ioctl(int fd, unsigned long request, ...)
{
    struct gr_g *g = gri_wrap_enter();
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    return GRI_WRAP_BLOCK(g, ioctl(fd, request, arg));
}

/* ---- Moving data, terminals ------------------------------------------------------------------ */

/* Kernel copies: waits for each side that can be polled, then copies as one system call. */
static int await_both(struct gr_g *g, int in, int out)
{
    int result = gri_wrap_sort(in) == GRI_SORT_FILE ? 0 : await_stream(g, in, POLLIN);

    if (result == 0 && gri_wrap_sort(out) != GRI_SORT_FILE)
        result = await_stream(g, out, POLLOUT);
    return result;
}

static ssize_t wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes,
                           unsigned flags)
{
    struct gr_g *g = gri_wrap_enter();
    int wait;

    if (!g || (flags & SPLICE_F_NONBLOCK))
        return splice(in, in_at, out, out_at, bytes, flags);
    wait = await_both(g, in, out);
    if (wait < 0)
        return gri_wrap_result(wait);
    return gri_wrap_result(
        GRI_SYS(g, SYS_splice, in, (long)in_at, out, (long)out_at, (long)bytes, flags));
}

static ssize_t wrap_tee(int in, int out, size_t bytes, unsigned flags)
{
    struct gr_g *g = gri_wrap_enter();
    int wait;

    if (!g || (flags & SPLICE_F_NONBLOCK))
        return tee(in, out, bytes, flags);
    wait = await_both(g, in, out);
    if (wait < 0)
        return gri_wrap_result(wait);
    return gri_wrap_result(GRI_SYS(g, SYS_tee, in, out, (long)bytes, flags));
}

static ssize_t wrap_sendfile(int out, int in, off_t *at, size_t bytes)
{
    struct gr_g *g = gri_wrap_enter();
    int wait;

    if (!g)
        return sendfile(out, in, at, bytes);
    wait = gri_wrap_sort(out) == GRI_SORT_FILE ? 0 : await_stream(g, out, POLLOUT);
    if (wait < 0)
        return gri_wrap_result(wait);
    return gri_wrap_result(GRI_SYS(g, SYS_sendfile, out, in, (long)at, (long)bytes));
}

/* Into a pipe or out of it, as the descriptor is: nothing is known to wait for. */
static ssize_t wrap_vmsplice(int fd, const struct iovec *v, size_t n, unsigned flags)
{
    struct gr_g *g = gri_wrap_enter();

    if (!g || (flags & SPLICE_F_NONBLOCK))
        return vmsplice(fd, v, n, flags);
    return gri_wrap_result(GRI_SYS(g, SYS_vmsplice, fd, (long)v, (long)n, flags));
}

GRI_WRAP_SIMPLE(ssize_t, copy_file_range,
                (int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes, unsigned flags),
                (in, in_at, out, out_at, bytes, flags))
GRI_WRAP_SIMPLE(int, tcdrain, (int fd), (fd))
GRI_WRAP_SIMPLE(int, tcsendbreak, (int fd, int duration), (fd, duration))
GRI_WRAP_SIMPLE(int, tcsetattr, (int fd, int when, const struct termios *termios),
                (fd, when, termios))

const struct gri_wrap gri_wraps_io[] = {
    GRI_WRAP(read),
    GRI_WRAP_AS(__read, read),
    GRI_WRAP(__read_chk),
    GRI_WRAP(write),
    GRI_WRAP_AS(__write, write),
    GRI_WRAP(readv),
    GRI_WRAP(writev),
    GRI_WRAP(pread),
    GRI_WRAP_AS(pread64, pread),
    GRI_WRAP_AS(__pread64, pread),
    GRI_WRAP(__pread_chk),
    GRI_WRAP_AS(__pread64_chk, __pread_chk),
    GRI_WRAP(pwrite),
    GRI_WRAP_AS(pwrite64, pwrite),
    GRI_WRAP_AS(__pwrite64, pwrite),
    GRI_WRAP(preadv),
    GRI_WRAP_AS(preadv64, preadv),
    GRI_WRAP(pwritev),
    GRI_WRAP_AS(pwritev64, pwritev),
    GRI_WRAP(preadv2),
    GRI_WRAP_AS(preadv64v2, preadv2),
    GRI_WRAP(pwritev2),
    GRI_WRAP_AS(pwritev64v2, pwritev2),
    GRI_WRAP(eventfd_read),
    GRI_WRAP(eventfd_write),
    GRI_WRAP(open),
    GRI_WRAP_AS(open64, open),
    GRI_WRAP_AS(__open, open),
    GRI_WRAP_AS(__open64, open),
    GRI_WRAP(openat),
    GRI_WRAP_AS(openat64, openat),
    GRI_WRAP(__open_2),
    GRI_WRAP_AS(__open64_2, __open_2),
    GRI_WRAP(__openat_2),
    GRI_WRAP_AS(__openat64_2, __openat_2),
    GRI_WRAP(creat),
    GRI_WRAP_AS(creat64, creat),
    GRI_WRAP(close),
    GRI_WRAP_AS(__close, close),
    GRI_WRAP(dup2),
    GRI_WRAP_AS(__dup2, dup2),
    GRI_WRAP(dup3),
    GRI_WRAP(close_range),
    GRI_WRAP(closefrom),
    GRI_WRAP(flock),
    GRI_WRAP(fcntl),
    GRI_WRAP_AS(fcntl64, fcntl),
    GRI_WRAP_AS(__fcntl, fcntl),
    GRI_WRAP(lockf),
    GRI_WRAP_AS(lockf64, lockf),
    GRI_WRAP(ioctl),
    GRI_WRAP(splice),
    GRI_WRAP(tee),
    GRI_WRAP(sendfile),
    GRI_WRAP_AS(sendfile64, sendfile),
    GRI_WRAP(vmsplice),
    GRI_WRAP(copy_file_range),
    GRI_WRAP(tcdrain),
    GRI_WRAP(tcsendbreak),
    GRI_WRAP(tcsetattr),
    {NULL, NULL},
};
