/*
 * module_dir.c: see module_dir.h.
 */
#include "module_dir.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grasp/runtime.h>

#include "api.h"
#include "log.h"

/* Whether only we and root can change what `st` is of. */
static bool is_ours(const struct stat *st, const char *what, char *err, size_t err_bytes)
{
    if (st->st_uid != geteuid() && st->st_uid != 0)
        snprintf(err, err_bytes,
                 "%s belongs to uid %u; it must belong to the daemon's user or root", what,
                 (unsigned)st->st_uid);
    else if (st->st_mode & (S_IWGRP | S_IWOTH))
        snprintf(err, err_bytes, "others can write %s (mode %04o); chmod go-w it", what,
                 (unsigned)st->st_mode & 07777);
    else
        return true;
    return false;
}

int srv_module_dir_check(const char *dir, char *err, size_t err_bytes)
{
    struct stat st;
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode)) {
        snprintf(err, err_bytes, "it is no directory");
        return -ENOTDIR;
    }
    if (stat(dir, &st)) {
        int result = -errno;
        snprintf(err, err_bytes, "%s", strerror(-result));
        return result;
    }
    return is_ours(&st, "the module directory", err, err_bytes) ? 0 : -ENOEXEC;
}

/* The file behind links in *real: it must lie in the directory itself. */
static int resolve(const char *dir, const char *path, char real[PATH_MAX], char *err,
                   size_t err_bytes)
{
    char real_dir[PATH_MAX];
    if (!realpath(path, real)) {
        snprintf(err, err_bytes, "%s", strerror(errno));
        return errno == ENOENT ? -ENOENT : -ENOEXEC;
    }
    size_t size = realpath(dir, real_dir) ? strlen(real_dir) : 0;
    if (size && strncmp(real, real_dir, size) == 0 && real[size] == '/' &&
        !strchr(real + size + 1, '/'))
        return 0;
    snprintf(err, err_bytes, "it is a link to a file outside of the module directory");
    return -ENOEXEC;
}

/* 0, -ENOENT, or -ENOEXEC with the reason. */
static int check_file(const char *path, char *err, size_t err_bytes)
{
    struct stat st;
    if (stat(path, &st)) {
        snprintf(err, err_bytes, "%s", strerror(errno));
        return errno == ENOENT ? -ENOENT : -ENOEXEC;
    }
    if (S_ISREG(st.st_mode))
        return is_ours(&st, "the file", err, err_bytes) ? 0 : -ENOEXEC;
    snprintf(err, err_bytes, "it is no regular file");
    return -ENOEXEC;
}

static int path_of(char *path, size_t path_bytes, const char *dir, const char *name)
{
    return snprintf(path, path_bytes, "%s/%s.so", dir, name) < (int)path_bytes ? 0 : -ENAMETOOLONG;
}

/*
 * Between the look and the load nobody but us and root can put something else there: both the
 * directory and the file were found unwritable by others.
 */
int srv_module_load(const char *dir, const char *name, bool replace, char *err, size_t err_bytes)
{
    char path[PATH_MAX], real[PATH_MAX];
    int result = path_of(path, sizeof path, dir, name);
    if (!result)
        result = srv_module_dir_check(dir, err, err_bytes) ? -ENOEXEC : 0;
    if (!result)
        result = resolve(dir, path, real, err, err_bytes);
    if (!result)
        result = check_file(real, err, err_bytes);
    if (result)
        return result;
    return (replace ? gr_module_replace : gr_module_load)(name, real, err, err_bytes);
}

static int is_module(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return entry->d_name[0] != '.' && size > 3 && strcmp(entry->d_name + size - 3, ".so") == 0;
}

static void load_one(struct api *api, const char *dir, const char *name)
{
    char err[512] = "", path[PATH_MAX];
    struct gr_module_info *info;
    int result = -ENOEXEC;
    if (api_module_name_valid(name))
        result = srv_module_load(dir, name, false, err, sizeof err);
    else /* no request could name it */
        snprintf(err, sizeof err,
                 "its name must be 1 to %d of [A-Za-z0-9_.-], without .so; rename the file",
                 GR_NAME_MAX);
    if (result >= 0) {
        srv_log(SRV_INFO, "module-loaded", "name=%s", name);
        return;
    }
    if (!err[0])
        snprintf(err, sizeof err, "%s", strerror(-result));
    srv_log(SRV_WARNING, "module-refused", "name=%s reason=\"%s\"", name, err);
    /* The runtime lists what it refused itself. */
    info = malloc(sizeof *info);
    if (info && gr_module_info(name, info) != 0 && !path_of(path, sizeof path, dir, name))
        api_module_note(api, name, path, err);
    free(info);
}

int srv_module_load_all(struct api *api, const char *dir, char *err, size_t err_bytes)
{
    struct dirent **entries;
    int result = srv_module_dir_check(dir, err, err_bytes);
    int count = result ? 0 : scandir(dir, &entries, is_module, alphasort);
    if (result)
        return result;
    if (count < 0) {
        result = -errno;
        snprintf(err, err_bytes, "%s", strerror(-result));
        return result;
    }
    for (int i = 0; i < count; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - 3] = 0;
        load_one(api, dir, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}
