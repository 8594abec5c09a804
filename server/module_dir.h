/*
 * module_dir.h: the directory of modules, and which files of it are handed to the runtime.
 *
 * A module is code that will run as us. So the file must belong to us or to root and nobody else
 * may be able to change it. Requests name modules, never paths.
 */
#ifndef SRV_MODULE_DIR_H
#define SRV_MODULE_DIR_H

#include <stddef.h>

struct api;

/* Loads dir/name.so. As gr_module_load; -ENOEXEC also for an unsafe owner or mode. Blocks on the
 * disk. */
int srv_module_load(const char *dir, const char *name, char *err, size_t err_bytes);
/* Loads every *.so of dir in the order of names; bad ones are logged and listed. -errno: no such
 * directory. */
int srv_module_load_all(struct api *api, const char *dir);

#endif
