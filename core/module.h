/*
 * module.h: a loaded module, as the loader's files know it.
 *
 * The rest of core sees `struct gri_module` through core.h only. A module's struct is never freed
 * once it has been loaded: goroutines and records of ended ones point to it and to its entries,
 * which are copies. Its code goes when it is unloaded or replaced and its last goroutine has ended.
 * A refused one is kept as well, to be listed with its error; loading the same name again
 * overwrites it.
 *
 * Locks: gri_load_lock (module.c) serialises loads and unloads and may be held for long; list_lock
 * (module_list.c) guards the lists and what is shown of each module, and is short. Order:
 * gri_load_lock before list_lock. What a loaded module's fields say never changes.
 */
#ifndef GRASP_MODULE_H
#define GRASP_MODULE_H

#include <pthread.h>

#include "builtin.h"
#include "core.h"
#include "loader_elf.h"

struct gri_module {
    struct gri_module *next; /* list_lock; in order of loading */
    bool unloadable;         /* not the program itself */
    struct gr_module_info info;
    void *handle;              /* of dlopen */
    int file;                  /* its file, open; -1 */
    uint64_t base;             /* address minus virtual address in the file */
    uint64_t span_lo, span_hi; /* of all its segments */
    struct gri_module_note note;
    const struct gri_module_meta *meta; /* in the mapped module */
    struct gr_entry *entries;           /* info.entry_count of them, ours */
    _Atomic(uint64_t) live;             /* module_leave.c says what it is compared with */
    _Atomic(uint32_t) leaving;          /* 1: replaced, to be unmapped when live is 0 */
};

#define GRI_ERROR_BYTES 512

/* Writes a sentence to err and returns `error`. */
int gri_load_error(char *err, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The dlopen handle, for dlsym. */
void *gri_module_handle(const struct gri_module *module);

extern pthread_mutex_t gri_load_lock;

/* ---- module_list.c: with gri_load_lock ------------------------------------------------------- */

/* The current module of that name, refused or loaded; NULL. */
struct gri_module *gri_module_find(const char *name);
/* The loaded module of that build id, a leaving one included; NULL. */
struct gri_module *gri_module_find_build(const char *build_id);
/* Whose mapping this is, among current, leaving and gone ones; NULL. */
struct gri_module *gri_module_find_handle(const void *handle);
/* A gone module's mapping, which was kept, is taken over by `module` if it is the same build. */
bool gri_module_claim(struct gri_module *owner, const struct gri_module *module);
/* If `twin` is leaving and has the name of `same`, it becomes the current one instead of it. */
bool gri_module_revive(const struct gri_module *same, struct gri_module *twin);
/* Makes `module` the current one of its name. A refused one goes, a loaded one leaves. */
void gri_module_list_put(struct gri_module *module);
/* A leaving module without goroutines, taken off its list; NULL. *any: some are left. */
struct gri_module *gri_module_take_left(bool *any);
/* Takes the current module of that name off the list, unless a goroutine of it, or of one that it
 * replaced, lives: -EBUSY; -ENOENT; -EPERM: it is the program. */
int gri_module_take(const char *name, struct gri_module **out, uint64_t *live);
/* The reverse of both, while nothing was done to it. */
void gri_module_put_back(struct gri_module *module);
/* It is mapped no more, or stays mapped for good; its struct is kept. */
void gri_module_list_gone(struct gri_module *module);

/* ---- module_leave.c -------------------------------------------------------------------------- */

/* Unmaps now the replaced modules that have no goroutine any more. With gri_load_lock. */
void gri_module_reap(void);
/* The module was replaced and its `leaving` is set: unmaps it now or later. With gri_load_lock. */
void gri_module_leave(void);
/* A leaving module has no goroutines any more. From a system stack. */
void gri_module_left(void);

/* ---- loader_check.c: the file, before anything of it is mapped ------------------------------- */

/* Whether the file may be loaded, all imports included. Fills note, build_id, wired. 0 or -ENOEXEC.
 */
int gri_loader_check(const struct gri_elf *elf, struct gri_module *module, bool program, char *err);

/* ---- loader_link.c: the mapped module -------------------------------------------------------- */

/* Meta and entry checks of the mapped module are what the file's note says. 0 or -ENOEXEC. */
int gri_loader_verify(struct gri_module *module, char *err);
/* Sends its imports through stubs. 0, -ENOEXEC or -ENOMEM. */
int gri_loader_redirect(const struct gri_elf *elf, struct gri_module *module, char *err);

/* ---- loader_needs.c -------------------------------------------------------------------------- */

/* Wires the module if a library that it needs has thread-locals. 0 or -ENOMEM. */
int gri_loader_needs(const struct gri_elf *elf, struct gri_module *module, char *err);

#endif
