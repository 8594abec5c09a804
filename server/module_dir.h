/*
 * module_dir.h: the directory of modules, and which files of it are handed to the runtime.
 *
 * A module is code that will run as us. So the directory and the file must belong to us or to root,
 * and nobody else may be able to change either: neither group nor others may write them. Requests
 * name modules, never paths; a symbolic link may lead to another file of the directory (as
 * versioned installs have it), never out of it.
 */
#ifndef SRV_MODULE_DIR_H
#define SRV_MODULE_DIR_H

#include <stdbool.h>
#include <stddef.h>

struct api;

/* Whether modules may be taken from the directory at all; -errno with a sentence. */
int srv_module_dir_check(const char *dir, char *err, size_t err_bytes);
/* Loads dir/name.so, or replaces the module by it. As gr_module_load and gr_module_replace; -ENOEXEC
 * also for an unsafe owner or mode. Blocks on the disk. */
int srv_module_load(const char *dir, const char *name, bool replace, char *err, size_t err_bytes);
/* Loads every *.so of dir in the order of names; bad ones are logged and listed. -errno with a
 * sentence: there is no such directory, or it is not safe. */
int srv_module_load_all(struct api *api, const char *dir, char *err, size_t err_bytes);

#endif
