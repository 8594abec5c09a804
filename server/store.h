/*
 * store.h: files that the API keeps in the state directory.
 *
 * A file is written under a name that nobody asks for and put in place by one rename after it is on the disk: so it is
 * there whole or not at all, whatever fails in between. Mode 0600. Pool threads; nothing is shared but the directory. The
 * process may end while one is written; then srv_store_end sees to it that its memory's contents do not stay behind.
 */
#ifndef SRV_STORE_H
#define SRV_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct api_store_file;

/* 0 or negative errno. */
int srv_store_create(const char *dir, struct api_store_file **file);
int srv_store_write(struct api_store_file *file, const void *bytes, size_t size);
/* Puts it in place under `name`, or drops it if that is NULL. Frees `file` in every case. */
int srv_store_close(struct api_store_file *file, const char *name);
/* Removes what processes that are gone left half-written. Blocks on the disk. */
void srv_store_clean(const char *dir);
/* Before the process ends: removes what this one has half-written, and refuses (-ESHUTDOWN) what others would begin. */
void srv_store_end(const char *dir);
ssize_t srv_store_read(const char *dir, const char *name, uint64_t offset, void *to, size_t bytes);
int srv_store_remove(const char *dir, const char *name);

#endif
