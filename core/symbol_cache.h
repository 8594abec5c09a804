/*
 * symbol_cache.h: what is known about an address, by address.
 *
 * Stacks of many goroutines share nearly all their addresses, so that after the first few snapshots
 * every frame is answered from here. The cache is bounded: at SYMBOL_CACHE_MAX entries it is
 * emptied and fills again. Rejected: least-recently-used lists; the working set is far below the
 * bound, and whoever exceeds it pays some microseconds an address.
 *
 * Invariants
 *   I1  An entry is valid until the next gri_symbol_cache_put or _clear.
 *   I2  Entries hold interned strings only, so that they outlive the file they came from.
 *
 * Locks: none; the inspector's lock (unwind.c) is held by every caller.
 */
#ifndef GRASP_SYMBOL_CACHE_H
#define GRASP_SYMBOL_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "symbols.h"

struct gri_named {
    uint64_t pc;    /* the instruction asked for */
    uint64_t start; /* of the last name's function, or of the file */
    const char *module;
    struct gri_rules *rules; /* how to get to the caller */
    unsigned count;          /* names, innermost first */
    struct gri_name name[];
};

const struct gri_named *gri_symbol_cache_get(uint64_t pc);
/* Keeps a copy of it and of its rules. NULL: no memory. */
const struct gri_named *gri_symbol_cache_put(const struct gri_named *named);
void gri_symbol_cache_clear(void);
size_t gri_symbol_cache_bytes(void);

#endif
