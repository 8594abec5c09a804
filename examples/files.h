/*
 * files.h: the regular files of a folder, for the examples that read some.
 *
 * Names come in alphabetic order, so that results can be compared; symbolic links are followed,
 * folders below are not entered.
 */
#ifndef EXAMPLES_FILES_H
#define EXAMPLES_FILES_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct files {
    char **path;
    size_t count, room;
};

static inline void files_free(struct files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->path[i]);
    free(files->path);
    *files = (struct files){0};
}

/* Takes a copy of the path. 0 or -ENOMEM. */
static inline int files_add(struct files *files, const char *path)
{
    if (files->count == files->room) {
        size_t room = files->room ? 2 * files->room : 32;
        char **grown = realloc(files->path, room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        files->path = grown;
        files->room = room;
    }
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    files->path[files->count++] = copy;
    return 0;
}

static inline int files_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the regular files of `dir`. 0 or a negative errno. */
static inline int files_of(struct files *files, const char *dir)
{
    DIR *stream = opendir(dir);
    if (!stream)
        return -errno;
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(stream)) != NULL) {
        char *path = NULL;
        struct stat st;
        if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0)
            result = -ENOMEM;
        else if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            result = files_add(files, path);
        free(path);
    }
    closedir(stream);
    if (files->count > 0)
        qsort(files->path, files->count, sizeof(*files->path), files_compare);
    return result;
}

#endif
