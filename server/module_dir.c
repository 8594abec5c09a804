/*
 * module_dir.c: see module_dir.h.
 */
#include "module_dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grasp/runtime.h>

#include "api.h"
#include "log.h"

/* 0, -ENOENT, or -ENOEXEC with the reason. */
static int check_file(const char *path, char *err, size_t err_bytes)
{
    struct stat st;
    if (stat(path, &st))
        return errno == ENOENT ? -ENOENT : -ENOEXEC;
    if (!S_ISREG(st.st_mode))
        snprintf(err, err_bytes, "it is no regular file");
    else if (st.st_uid != geteuid() && st.st_uid != 0)
        snprintf(err, err_bytes,
                 "it belongs to uid %u; it must belong to the daemon's user or root",
                 (unsigned)st.st_uid);
    else if (st.st_mode & S_IWOTH)
        snprintf(err, err_bytes, "everybody can write it; chmod o-w it");
    else
        return 0;
    return -ENOEXEC;
}

static int path_of(char *path, size_t path_bytes, const char *dir, const char *name)
{
    return snprintf(path, path_bytes, "%s/%s.so", dir, name) < (int)path_bytes ? 0 : -ENAMETOOLONG;
}

int srv_module_load(const char *dir, const char *name, char *err, size_t err_bytes)
{
    char path[4096];
    int result = path_of(path, sizeof path, dir, name);
    if (!result)
        result = check_file(path, err, err_bytes);
    return result ? result : gr_module_load(name, path, err, err_bytes);
}

static int is_module(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return entry->d_name[0] != '.' && size > 3 && size - 3 <= GR_NAME_MAX &&
           strcmp(entry->d_name + size - 3, ".so") == 0;
}

static void load_one(struct api *api, const char *dir, const char *name)
{
    char err[512] = "", path[4096];
    struct gr_module_info *info;
    int result = srv_module_load(dir, name, err, sizeof err);
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

int srv_module_load_all(struct api *api, const char *dir)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, is_module, alphasort);
    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - 3] = 0;
        load_one(api, dir, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}
