/*
 * wrap_file.c: the file system.
 *
 * A disk, a network file system or FUSE may take any time, and none of it can be polled. Every
 * function here is libc's own as one system call of the goroutine: its processor is taken if it
 * lasts. It is not cancellable, as a file system is not. Short of a table of signatures there is
 * nothing to say about each.
 *
 * Invariants: wrap.h. No locks, no state.
 */
#include "wrap.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmtmsg.h>
#include <getopt.h>
#include <iconv.h>
#include <limits.h>
#include <nl_types.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

extern _Noreturn void __chk_fail(void);
extern int pivot_root(const char *to, const char *old);

GRI_WRAP_SIMPLE(int, access, (const char *path, int mode), (path, mode))
GRI_WRAP_SIMPLE(int, eaccess, (const char *path, int mode), (path, mode))
GRI_WRAP_SIMPLE(int, faccessat, (int dir, const char *path, int mode, int flags),
                (dir, path, mode, flags))
GRI_WRAP_SIMPLE(int, stat, (const char *path, struct stat *st), (path, st))
GRI_WRAP_SIMPLE(int, lstat, (const char *path, struct stat *st), (path, st))
GRI_WRAP_SIMPLE(int, fstat, (int fd, struct stat *st), (fd, st))
GRI_WRAP_SIMPLE(int, fstatat, (int dir, const char *path, struct stat *st, int flags),
                (dir, path, st, flags))
GRI_WRAP_SIMPLE(int, statx, (int dir, const char *path, int flags, unsigned mask, struct statx *st),
                (dir, path, flags, mask, st))
GRI_WRAP_SIMPLE(int, statfs, (const char *path, struct statfs *st), (path, st))
GRI_WRAP_SIMPLE(int, fstatfs, (int fd, struct statfs *st), (fd, st))
GRI_WRAP_SIMPLE(int, statvfs, (const char *path, struct statvfs *st), (path, st))
GRI_WRAP_SIMPLE(int, fstatvfs, (int fd, struct statvfs *st), (fd, st))
GRI_WRAP_SIMPLE(long, pathconf, (const char *path, int name), (path, name))
GRI_WRAP_SIMPLE(long, fpathconf, (int fd, int name), (fd, name))
GRI_WRAP_SIMPLE(int, mkdir, (const char *path, mode_t mode), (path, mode))
GRI_WRAP_SIMPLE(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
GRI_WRAP_SIMPLE(int, mkfifo, (const char *path, mode_t mode), (path, mode))
GRI_WRAP_SIMPLE(int, mkfifoat, (int dir, const char *path, mode_t mode), (dir, path, mode))
GRI_WRAP_SIMPLE(int, mknod, (const char *path, mode_t mode, dev_t dev), (path, mode, dev))
GRI_WRAP_SIMPLE(int, mknodat, (int dir, const char *path, mode_t mode, dev_t dev),
                (dir, path, mode, dev))
GRI_WRAP_SIMPLE(int, rmdir, (const char *path), (path))
GRI_WRAP_SIMPLE(int, unlink, (const char *path), (path))
GRI_WRAP_SIMPLE(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
GRI_WRAP_SIMPLE(int, remove, (const char *path), (path))
GRI_WRAP_SIMPLE(int, rename, (const char *from, const char *to), (from, to))
GRI_WRAP_SIMPLE(int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
                (from_dir, from, to_dir, to))
GRI_WRAP_SIMPLE(int, renameat2,
                (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
                (from_dir, from, to_dir, to, flags))
GRI_WRAP_SIMPLE(int, link, (const char *from, const char *to), (from, to))
GRI_WRAP_SIMPLE(int, linkat,
                (int from_dir, const char *from, int to_dir, const char *to, int flags),
                (from_dir, from, to_dir, to, flags))
GRI_WRAP_SIMPLE(int, symlink, (const char *target, const char *path), (target, path))
GRI_WRAP_SIMPLE(int, symlinkat, (const char *target, int dir, const char *path),
                (target, dir, path))
GRI_WRAP_SIMPLE(ssize_t, readlink, (const char *path, char *buf, size_t n), (path, buf, n))
GRI_WRAP_SIMPLE(ssize_t, readlinkat, (int dir, const char *path, char *buf, size_t n),
                (dir, path, buf, n))
GRI_WRAP_SIMPLE(char *, realpath, (const char *path, char *resolved), (path, resolved))
GRI_WRAP_SIMPLE(char *, canonicalize_file_name, (const char *path), (path))
GRI_WRAP_SIMPLE(char *, getcwd, (char *buf, size_t n), (buf, n))
GRI_WRAP_SIMPLE(char *, get_current_dir_name, (void), ())
GRI_WRAP_SIMPLE(int, chdir, (const char *path), (path))
GRI_WRAP_SIMPLE(int, fchdir, (int fd), (fd))
GRI_WRAP_SIMPLE(int, chroot, (const char *path), (path))
GRI_WRAP_SIMPLE(int, chmod, (const char *path, mode_t mode), (path, mode))
GRI_WRAP_SIMPLE(int, lchmod, (const char *path, mode_t mode), (path, mode))
GRI_WRAP_SIMPLE(int, fchmod, (int fd, mode_t mode), (fd, mode))
GRI_WRAP_SIMPLE(int, fchmodat, (int dir, const char *path, mode_t mode, int flags),
                (dir, path, mode, flags))
GRI_WRAP_SIMPLE(int, chown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
GRI_WRAP_SIMPLE(int, lchown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
GRI_WRAP_SIMPLE(int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
GRI_WRAP_SIMPLE(int, fchownat, (int dir, const char *path, uid_t uid, gid_t gid, int flags),
                (dir, path, uid, gid, flags))
GRI_WRAP_SIMPLE(int, truncate, (const char *path, off_t n), (path, n))
GRI_WRAP_SIMPLE(int, ftruncate, (int fd, off_t n), (fd, n))
GRI_WRAP_SIMPLE(int, utime, (const char *path, const struct utimbuf *times), (path, times))
GRI_WRAP_SIMPLE(int, utimes, (const char *path, const struct timeval times[2]), (path, times))
GRI_WRAP_SIMPLE(int, lutimes, (const char *path, const struct timeval times[2]), (path, times))
GRI_WRAP_SIMPLE(int, futimes, (int fd, const struct timeval times[2]), (fd, times))
GRI_WRAP_SIMPLE(int, futimesat, (int dir, const char *path, const struct timeval times[2]),
                (dir, path, times))
GRI_WRAP_SIMPLE(int, utimensat,
                (int dir, const char *path, const struct timespec times[2], int flags),
                (dir, path, times, flags))
GRI_WRAP_SIMPLE(int, futimens, (int fd, const struct timespec times[2]), (fd, times))
GRI_WRAP_SIMPLE(int, fsync, (int fd), (fd))
GRI_WRAP_SIMPLE(int, fdatasync, (int fd), (fd))
GRI_WRAP_SIMPLE(int, syncfs, (int fd), (fd))
GRI_WRAP_SIMPLE(int, sync_file_range, (int fd, off64_t at, off64_t n, unsigned flags),
                (fd, at, n, flags))
GRI_WRAP_SIMPLE(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
GRI_WRAP_SIMPLE(int, posix_fallocate, (int fd, off_t at, off_t n), (fd, at, n))
GRI_WRAP_SIMPLE(int, posix_fadvise, (int fd, off_t at, off_t n, int advice), (fd, at, n, advice))
GRI_WRAP_SIMPLE(ssize_t, readahead, (int fd, off64_t at, size_t n), (fd, at, n))
GRI_WRAP_SIMPLE(int, msync, (void *at, size_t n, int flags), (at, n, flags))
GRI_WRAP_SIMPLE(int, mlock, (const void *at, size_t n), (at, n))
GRI_WRAP_SIMPLE(int, mlock2, (const void *at, size_t n, unsigned flags), (at, n, flags))
GRI_WRAP_SIMPLE(int, mlockall, (int flags), (flags))
GRI_WRAP_SIMPLE(int, mkstemp, (char *template), (template))
GRI_WRAP_SIMPLE(int, mkostemp, (char *template, int flags), (template, flags))
GRI_WRAP_SIMPLE(int, mkstemps, (char *template, int suffix), (template, suffix))
GRI_WRAP_SIMPLE(int, mkostemps, (char *template, int suffix, int flags), (template, suffix, flags))
GRI_WRAP_SIMPLE(char *, mkdtemp, (char *template), (template))
GRI_WRAP_SIMPLE(DIR *, opendir, (const char *path), (path))
GRI_WRAP_SIMPLE(DIR *, fdopendir, (int fd), (fd))
GRI_WRAP_SIMPLE(struct dirent *, readdir, (DIR * dir), (dir))
GRI_WRAP_SIMPLE(int, closedir, (DIR * dir), (dir))
GRI_WRAP_SIMPLE(ssize_t, getdents64, (int fd, void *buf, size_t n), (fd, buf, n))
GRI_WRAP_SIMPLE(ssize_t, getdirentries, (int fd, char *buf, size_t n, off_t *base),
                (fd, buf, n, base))
GRI_WRAP_SIMPLE(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t n),
                (path, name, value, n))
GRI_WRAP_SIMPLE(ssize_t, lgetxattr, (const char *path, const char *name, void *value, size_t n),
                (path, name, value, n))
GRI_WRAP_SIMPLE(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t n),
                (fd, name, value, n))
GRI_WRAP_SIMPLE(int, setxattr,
                (const char *path, const char *name, const void *value, size_t n, int flags),
                (path, name, value, n, flags))
GRI_WRAP_SIMPLE(int, lsetxattr,
                (const char *path, const char *name, const void *value, size_t n, int flags),
                (path, name, value, n, flags))
GRI_WRAP_SIMPLE(int, fsetxattr, (int fd, const char *name, const void *value, size_t n, int flags),
                (fd, name, value, n, flags))
GRI_WRAP_SIMPLE(ssize_t, listxattr, (const char *path, char *list, size_t n), (path, list, n))
GRI_WRAP_SIMPLE(ssize_t, llistxattr, (const char *path, char *list, size_t n), (path, list, n))
GRI_WRAP_SIMPLE(ssize_t, flistxattr, (int fd, char *list, size_t n), (fd, list, n))
GRI_WRAP_SIMPLE(int, removexattr, (const char *path, const char *name), (path, name))
GRI_WRAP_SIMPLE(int, lremovexattr, (const char *path, const char *name), (path, name))
GRI_WRAP_SIMPLE(int, fremovexattr, (int fd, const char *name), (fd, name))
GRI_WRAP_SIMPLE(int, name_to_handle_at,
                (int dir, const char *path, struct file_handle *handle, int *mount, int flags),
                (dir, path, handle, mount, flags))
GRI_WRAP_SIMPLE(int, open_by_handle_at, (int mount, struct file_handle *handle, int flags),
                (mount, handle, flags))
GRI_WRAP_SIMPLE(int, mount,
                (const char *from, const char *to, const char *type, unsigned long flags,
                 const void *data),
                (from, to, type, flags, data))
GRI_WRAP_SIMPLE(int, umount, (const char *path), (path))
GRI_WRAP_SIMPLE(int, umount2, (const char *path, int flags), (path, flags))
GRI_WRAP_SIMPLE(int, swapon, (const char *path, int flags), (path, flags))
GRI_WRAP_SIMPLE(int, swapoff, (const char *path), (path))
GRI_WRAP_SIMPLE(int, pivot_root, (const char *to, const char *old), (to, old))
GRI_WRAP_SIMPLE(int, klogctl, (int type, char *buf, int n), (type, buf, n))
GRI_WRAP_SIMPLE(int, acct, (const char *path), (path))
GRI_WRAP_SIMPLE(int, shm_open, (const char *name, int flags, mode_t mode), (name, flags, mode))
GRI_WRAP_SIMPLE(int, shm_unlink, (const char *name), (name))
GRI_WRAP_SIMPLE(nl_catd, catopen, (const char *name, int flags), (name, flags))
GRI_WRAP_SIMPLE(int, catclose, (nl_catd catalogue), (catalogue))
GRI_WRAP_SIMPLE(iconv_t, iconv_open, (const char *to, const char *from), (to, from))
GRI_WRAP_SIMPLE(int, iconv_close, (iconv_t converter), (converter))
GRI_WRAP_SIMPLE(char *, ttyname, (int fd), (fd))
GRI_WRAP_SIMPLE(int, ttyname_r, (int fd, char *buf, size_t n), (fd, buf, n))
GRI_WRAP_SIMPLE(int, tcflow, (int fd, int action), (fd, action))
GRI_WRAP_SIMPLE(int, openpty,
                (int *master, int *slave, char *name, const struct termios *termios,
                 const struct winsize *size),
                (master, slave, name, termios, size))
GRI_WRAP_SIMPLE(int, fmtmsg,
                (long class, const char *label, int severity, const char *text, const char *action,
                 const char *tag),
                (class, label, severity, text, action, tag))
GRI_WRAP_SIMPLE(int, getopt, (int argc, char *const argv[], const char *options),
                (argc, argv, options))
GRI_WRAP_SIMPLE(int, getopt_long,
                (int argc, char *const argv[], const char *options, const struct option *longs,
                 int *index),
                (argc, argv, options, longs, index))
GRI_WRAP_SIMPLE(int, getopt_long_only,
                (int argc, char *const argv[], const char *options, const struct option *longs,
                 int *index),
                (argc, argv, options, longs, index))

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
SIMPLE_VOID(sync, (void), ())
SIMPLE_VOID(rewinddir, (DIR * dir), (dir))
SIMPLE_VOID(seekdir, (DIR * dir, long at), (dir, at))

/* The fortified forms. */
static char *wrap___realpath_chk(const char *path, char *resolved, size_t room)
{
    if (room < PATH_MAX)
        __chk_fail();
    return wrap_realpath(path, resolved);
}

static char *wrap___getcwd_chk(char *buf, size_t n, size_t room)
{
    if (n > room)
        __chk_fail();
    return wrap_getcwd(buf, n);
}

static ssize_t wrap___readlink_chk(const char *path, char *buf, size_t n, size_t room)
{
    if (n > room)
        __chk_fail();
    return wrap_readlink(path, buf, n);
}

static ssize_t wrap___readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t room)
{
    if (n > room)
        __chk_fail();
    return wrap_readlinkat(dir, path, buf, n);
}

const struct gri_wrap gri_wraps_file[] = {
    GRI_WRAP(access),
    GRI_WRAP(eaccess),
    GRI_WRAP_AS(euidaccess, eaccess),
    GRI_WRAP(faccessat),
    GRI_WRAP(stat),
    GRI_WRAP_AS(stat64, stat),
    GRI_WRAP(lstat),
    GRI_WRAP_AS(lstat64, lstat),
    GRI_WRAP(fstat),
    GRI_WRAP_AS(fstat64, fstat),
    GRI_WRAP(fstatat),
    GRI_WRAP_AS(fstatat64, fstatat),
    GRI_WRAP(statx),
    GRI_WRAP(statfs),
    GRI_WRAP_AS(statfs64, statfs),
    GRI_WRAP_AS(__statfs, statfs),
    GRI_WRAP(fstatfs),
    GRI_WRAP_AS(fstatfs64, fstatfs),
    GRI_WRAP(statvfs),
    GRI_WRAP_AS(statvfs64, statvfs),
    GRI_WRAP(fstatvfs),
    GRI_WRAP_AS(fstatvfs64, fstatvfs),
    GRI_WRAP(pathconf),
    GRI_WRAP(fpathconf),
    GRI_WRAP(mkdir),
    GRI_WRAP(mkdirat),
    GRI_WRAP(mkfifo),
    GRI_WRAP(mkfifoat),
    GRI_WRAP(mknod),
    GRI_WRAP(mknodat),
    GRI_WRAP(rmdir),
    GRI_WRAP(unlink),
    GRI_WRAP(unlinkat),
    GRI_WRAP(remove),
    GRI_WRAP(rename),
    GRI_WRAP(renameat),
    GRI_WRAP(renameat2),
    GRI_WRAP(link),
    GRI_WRAP(linkat),
    GRI_WRAP(symlink),
    GRI_WRAP(symlinkat),
    GRI_WRAP(readlink),
    GRI_WRAP(readlinkat),
    GRI_WRAP(realpath),
    GRI_WRAP(canonicalize_file_name),
    GRI_WRAP(getcwd),
    GRI_WRAP(get_current_dir_name),
    GRI_WRAP(chdir),
    GRI_WRAP(fchdir),
    GRI_WRAP(chroot),
    GRI_WRAP(chmod),
    GRI_WRAP(lchmod),
    GRI_WRAP(fchmod),
    GRI_WRAP(fchmodat),
    GRI_WRAP(chown),
    GRI_WRAP(lchown),
    GRI_WRAP(fchown),
    GRI_WRAP(fchownat),
    GRI_WRAP(truncate),
    GRI_WRAP_AS(truncate64, truncate),
    GRI_WRAP(ftruncate),
    GRI_WRAP_AS(ftruncate64, ftruncate),
    GRI_WRAP(utime),
    GRI_WRAP(utimes),
    GRI_WRAP(lutimes),
    GRI_WRAP(futimes),
    GRI_WRAP(futimesat),
    GRI_WRAP(utimensat),
    GRI_WRAP(futimens),
    GRI_WRAP(fsync),
    GRI_WRAP(fdatasync),
    GRI_WRAP(syncfs),
    GRI_WRAP(sync_file_range),
    GRI_WRAP(fallocate),
    GRI_WRAP_AS(fallocate64, fallocate),
    GRI_WRAP(posix_fallocate),
    GRI_WRAP_AS(posix_fallocate64, posix_fallocate),
    GRI_WRAP(posix_fadvise),
    GRI_WRAP_AS(posix_fadvise64, posix_fadvise),
    GRI_WRAP(readahead),
    GRI_WRAP(msync),
    GRI_WRAP(mlock),
    GRI_WRAP(mlock2),
    GRI_WRAP(mlockall),
    GRI_WRAP(mkstemp),
    GRI_WRAP_AS(mkstemp64, mkstemp),
    GRI_WRAP(mkostemp),
    GRI_WRAP_AS(mkostemp64, mkostemp),
    GRI_WRAP(mkstemps),
    GRI_WRAP_AS(mkstemps64, mkstemps),
    GRI_WRAP(mkostemps),
    GRI_WRAP_AS(mkostemps64, mkostemps),
    GRI_WRAP(mkdtemp),
    GRI_WRAP(opendir),
    GRI_WRAP(fdopendir),
    GRI_WRAP(readdir),
    GRI_WRAP_AS(readdir64, readdir),
    GRI_WRAP(closedir),
    GRI_WRAP(getdents64),
    GRI_WRAP(getdirentries),
    GRI_WRAP_AS(getdirentries64, getdirentries),
    GRI_WRAP(getxattr),
    GRI_WRAP(lgetxattr),
    GRI_WRAP(fgetxattr),
    GRI_WRAP(setxattr),
    GRI_WRAP(lsetxattr),
    GRI_WRAP(fsetxattr),
    GRI_WRAP(listxattr),
    GRI_WRAP(llistxattr),
    GRI_WRAP(flistxattr),
    GRI_WRAP(removexattr),
    GRI_WRAP(lremovexattr),
    GRI_WRAP(fremovexattr),
    GRI_WRAP(name_to_handle_at),
    GRI_WRAP(open_by_handle_at),
    GRI_WRAP(mount),
    GRI_WRAP(umount),
    GRI_WRAP(umount2),
    GRI_WRAP(swapon),
    GRI_WRAP(swapoff),
    GRI_WRAP(pivot_root),
    GRI_WRAP(klogctl),
    GRI_WRAP(acct),
    GRI_WRAP(shm_open),
    GRI_WRAP(shm_unlink),
    GRI_WRAP(sync),
    GRI_WRAP(rewinddir),
    GRI_WRAP(seekdir),
    GRI_WRAP(__realpath_chk),
    GRI_WRAP(__getcwd_chk),
    GRI_WRAP(__readlink_chk),
    GRI_WRAP(__readlinkat_chk),
    GRI_WRAP(catopen),
    GRI_WRAP(catclose),
    GRI_WRAP(iconv_open),
    GRI_WRAP(iconv_close),
    GRI_WRAP(ttyname),
    GRI_WRAP(ttyname_r),
    GRI_WRAP(tcflow),
    GRI_WRAP(openpty),
    GRI_WRAP(fmtmsg),
    GRI_WRAP(getopt),
    GRI_WRAP(getopt_long),
    GRI_WRAP(getopt_long_only),
    {NULL, NULL},
};
