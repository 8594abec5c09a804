/*
 * symbol_ranges.h: address ranges that may lie in each other, and the question "which of them cover
 * this address, innermost first".
 *
 * Symbols, compilation units and inlined functions are all looked up this way. A range list is
 * filled, sorted once, and then only read. Beside each range stands how far any range up to it
 * reaches, so that a walk to lower addresses knows where to stop: the walk costs as much as ranges
 * are nested. Rejected: an interval tree (pointers for every node, and nothing is ever inserted
 * late) and a flat list without the reach, which finds foo's inlined callee but not foo after a
 * small neighbour.
 *
 * Invariants
 *   I1  After gri_ranges_sort: ordered by lo ascending, then hi descending, then depth ascending.
 *   I2  item[i].reach is the greatest hi of item[0] … item[i].
 *
 * Locks: none; the inspector's lock (unwind.c) is held by every caller.
 */
#ifndef GRASP_SYMBOL_RANGES_H
#define GRASP_SYMBOL_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct gri_range {
    uint64_t lo, hi; /* [lo, hi) */
    uint64_t reach;  /* I2 */
    uint64_t value;  /* the owner's */
    uint32_t depth;  /* of two equal ranges the one with the greater depth is the inner one */
    uint32_t kind;   /* the owner's */
};

struct gri_ranges {
    struct gri_range *item;
    size_t count, capacity;
};

/* Appends. 0 or -ENOMEM. Empty ranges are dropped. */
int gri_ranges_add(struct gri_ranges *ranges, const struct gri_range *range);
/* Establishes I1 and I2. Nothing may be added after it. */
void gri_ranges_sort(struct gri_ranges *ranges);
/* The innermost range that covers `at` (after == NULL), or the next one outwards from `after`.
 * NULL: no more. */
const struct gri_range *gri_ranges_covering(const struct gri_ranges *ranges, uint64_t at,
                                            const struct gri_range *after);
size_t gri_ranges_bytes(const struct gri_ranges *ranges);
void gri_ranges_fini(struct gri_ranges *ranges);

#endif
