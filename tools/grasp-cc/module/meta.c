/*
 * meta.c: gr_module_meta, the one symbol that a module exports: where its entries, its checks and
 * its functions that are never stopped lie.
 *
 * The linker gives the bounds of a section whose name is a C identifier as __start_NAME and
 * __stop_NAME. They are weak, because a module may have no such section, and hidden, because each
 * module has its own.
 */
#include <grasp/goroutine.h>

#include "builtin.h"

#define BOUND(type, name) extern type name[] __attribute__((weak, visibility("hidden")))

BOUND(const struct gr_entry, __start_gr_entries);
BOUND(const struct gr_entry, __stop_gr_entries);
BOUND(const void *const, __start___patchable_function_entries);
BOUND(const void *const, __stop___patchable_function_entries);
BOUND(const char, __start_gr_nopreempt);
BOUND(const char, __stop_gr_nopreempt);

_Static_assert(GR_ABI_VERSION == 1, "note.S has the same number");
_Static_assert(GRI_NOTE_MODULE == 2, "note.S has the same number");
_Static_assert(sizeof(struct gri_module_note) == 48, "note.S lays out the same fields");
_Static_assert(sizeof(GRI_NOTE_NAME) == 6, "note.S has the same name");

extern const struct gri_module_meta gr_module_meta;

const struct gri_module_meta gr_module_meta __attribute__((used, visibility("default"))) = {
    .abi = GR_ABI_VERSION,
    .size = sizeof(struct gri_module_meta),
    .entries_begin = __start_gr_entries,
    .entries_end = __stop_gr_entries,
    .checks_begin = __start___patchable_function_entries,
    .checks_end = __stop___patchable_function_entries,
    .nopreempt_begin = __start_gr_nopreempt,
    .nopreempt_end = __stop_gr_nopreempt,
};
