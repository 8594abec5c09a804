/*
 * store.c: see store.h.
 */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITING ".writing-%d-%u" /* the process, and a serial number of it */

static _Atomic(bool) ended;

struct api_store_file {
    int dir, fd;
    char name[32]; /* while it is written */
};

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int srv_store_create(const char *dir, struct api_store_file **file)
{
    static _Atomic(unsigned) serial;
    struct api_store_file *f = malloc(sizeof *f);
    if (!f)
        return -ENOMEM;
    f->dir = open_dir(dir);
    /* Relaxed: it has to differ from the others, no more. */
    snprintf(f->name, sizeof f->name, WRITING, (int)getpid(),
             atomic_fetch_add_explicit(&serial, 1, memory_order_relaxed));
    f->fd = f->dir < 0 ? f->dir
                       : openat(f->dir, f->name,
                                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* seq_cst; pairs with the store in srv_store_end: the file is there for its look, or we see that it began. */
    bool late = f->fd >= 0 && atomic_load_explicit(&ended, memory_order_seq_cst);
    if (f->fd >= 0 && !late) {
        *file = f;
        return 0;
    }
    int err = late ? -ESHUTDOWN : f->dir < 0 ? f->dir : -errno;
    if (late) {
        close(f->fd);
        unlinkat(f->dir, f->name, 0);
    }
    if (f->dir >= 0)
        close(f->dir);
    free(f);
    return err;
}

/* Of a process that is gone, or that had our number before us: the first of a container always has 1. */
static bool is_left_over(const char *name)
{
    char whole[sizeof((struct api_store_file *)0)->name];
    int pid;
    unsigned serial;
    if (sscanf(name, WRITING, &pid, &serial) != 2 || pid <= 0)
        return false;
    snprintf(whole, sizeof whole, WRITING, pid, serial);
    return strcmp(name, whole) == 0 && (pid == getpid() || (kill(pid, 0) && errno == ESRCH));
}

void srv_store_clean(const char *dir)
{
    DIR *entries = opendir(dir);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));)
        if (is_left_over(entry->d_name))
            unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
}

void srv_store_end(const char *dir)
{
    /* seq_cst, before the look; pairs with the load in srv_store_create. */
    atomic_store_explicit(&ended, true, memory_order_seq_cst);
    srv_store_clean(dir); /* a file of our number is a left-over for it */
}

int srv_store_write(struct api_store_file *file, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t wrote = write(file->fd, at, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -errno;
        at += wrote;
        size -= (size_t)wrote;
    }
    return 0;
}

int srv_store_close(struct api_store_file *file, const char *name)
{
    int err = name && fsync(file->fd) ? -errno : 0;
    /* close tells of a full disk on some file systems. */
    if (close(file->fd) && !err)
        err = -errno;
    if (name && !err && renameat(file->dir, file->name, file->dir, name))
        err = -errno;
    if (!name || err)
        unlinkat(file->dir, file->name, 0);
    close(file->dir);
    free(file);
    return err;
}

ssize_t srv_store_read(const char *dir, const char *name, uint64_t offset, void *to, size_t bytes)
{
    int dir_fd = open_dir(dir);
    if (dir_fd < 0)
        return dir_fd;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t size = fd < 0 ? -errno : pread(fd, to, bytes, (off_t)offset);
    if (fd >= 0 && size < 0)
        size = -errno;
    if (fd >= 0)
        close(fd);
    close(dir_fd);
    return size;
}

int srv_store_remove(const char *dir, const char *name)
{
    int dir_fd = open_dir(dir);
    if (dir_fd < 0)
        return dir_fd;
    int err = unlinkat(dir_fd, name, 0) ? -errno : 0;
    close(dir_fd);
    return err;
}
