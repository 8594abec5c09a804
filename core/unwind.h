/*
 * unwind.h: two settings of the inspector (unwind.c) that only tests change.
 *
 * Locks: none here; both take the inspector's.
 */
#ifndef GRASP_UNWIND_H
#define GRASP_UNWIND_H

#include <stdbool.h>
#include <stddef.h>

/* What tables and cached names may take before all of them are forgotten and built again as needed. */
#define GRI_INSPECT_BYTES_MAX ((size_t)256 << 20)
void gri_inspect_limit(size_t bytes);
/* Every stack is walked by libdwfl, none by the rules kept with the names. */
void gri_unwind_by_libdw(bool on);

#endif
