/*
 * inline_index.h: which functions, inlined ones included, an address of one compilation unit
 * belongs to.
 *
 * libdw answers that with dwarf_getscopes, which walks the unit's tree for each address (12 to 95
 * µs) and jumps to the abstract origin after the first inlined scope. So the tree is walked once
 * for each unit, when the first address in it is named, and every function and inlined call becomes
 * address ranges (0.1 ms and some 40 bytes a range). Rejected: an index over all units of a module
 * at load; most of them are never on a stack.
 *
 * Invariants
 *   I1  A range's depth is the number of functions around it in the tree, so that of two equal
 *       ranges the callee is the inner one.
 *   I2  A unit is built once; if memory ran out it stays without an index until it is asked again.
 *
 * Locks: none; the inspector's lock (unwind.c) is held by every caller.
 */
#ifndef GRASP_INLINE_INDEX_H
#define GRASP_INLINE_INDEX_H

#include <stdbool.h>

#include <elfutils/libdw.h>

#include "symbol_ranges.h"

/* One compilation unit. Addresses are the file's: without the load bias. */
struct gri_unit {
    Dwarf_Die die;
    struct gri_ranges functions; /* value: DIE offset; kind: enum gri_unit_kind */
    size_t line_count;           /* rows of libdw's line table, which it keeps */
    bool built;
};

enum gri_unit_kind { GRI_UNIT_FUNCTION, GRI_UNIT_INLINED };

/* Builds the index unless it is there. 0 or -ENOMEM. */
int gri_unit_build(struct gri_unit *unit);
/* The innermost function or inlined call around `at`, or the next one outwards from `after`. NULL:
 * no more. */
const struct gri_range *gri_unit_scope(const struct gri_unit *unit, uint64_t at,
                                       const struct gri_range *after);
/* The name of a scope's function, owned by libdw; NULL if it has none. */
const char *gri_unit_scope_name(const struct gri_unit *unit, const struct gri_range *scope);
/* Where an inlined scope was called; *line 0 and NULL if not known. The string is libdw's. */
const char *gri_unit_call_site(const struct gri_unit *unit, const struct gri_range *scope,
                               int *line);
void gri_unit_fini(struct gri_unit *unit);

#endif
