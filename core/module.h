/*
 * module.h: a loaded module, as the loader's files know it.
 *
 * The rest of core sees `struct gri_module` through core.h only. A module is never freed once it
 * has been loaded: code addresses, entries and names stay valid. A refused one is kept as well, to
 * be listed with its error; loading the same name again overwrites a refused one.
 *
 * Locks: load_lock (module.c) serialises loads and may be held for long; list_lock guards the list
 * and what is shown of each module, and is short. What a loaded module's fields say never changes.
 */
#ifndef GRASP_MODULE_H
#define GRASP_MODULE_H

#include "builtin.h"
#include "core.h"
#include "loader_elf.h"

struct gri_module {
    struct gri_module *next; /* list_lock; in order of loading */
    struct gr_module_info info;
    void *handle;              /* of dlopen */
    uint64_t base;             /* address minus virtual address in the file */
    uint64_t span_lo, span_hi; /* of all its segments */
    struct gri_module_note note;
    const struct gri_module_meta *meta;
    _Atomic(uint64_t) live;
};

#define GRI_ERROR_BYTES 512

/* Writes a sentence to err and returns `error`. */
int gri_load_error(char *err, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The dlopen handle, for dlsym. */
void *gri_module_handle(const struct gri_module *module);

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
