/*
 * text_ranges.h: where in a module's code a goroutine may be stopped asynchronously.
 *
 * A pc is safe if it lies in a module's .text, is covered by unwind data, and is neither in an
 * entry check nor in a GR_NOPREEMPT function. Each module has a sorted array of its safe ranges; the
 * map of all modules, sorted by where their text lies, is published behind one pointer, and the
 * signal handler searches both (text_map.c).
 *
 * Invariants
 *   T1  A published map is never written again; it and the ranges of a module that it has no more
 *       are freed once no reader can have it.
 *   T2  Ranges are sorted by lo, disjoint and not empty; so are the modules' texts.
 */
#ifndef GRASP_TEXT_RANGES_H
#define GRASP_TEXT_RANGES_H

#include "loader_elf.h"

#include <stddef.h>
#include <stdint.h>

struct gri_module;

struct gri_text_range {
    uint64_t lo, hi; /* [lo, hi) */
};

struct gri_text_list {
    struct gri_text_range *range;
    size_t count, capacity;
};

/* Appends; false: no memory. Empty ranges are dropped. */
bool gri_text_list_add(struct gri_text_list *list, uint64_t lo, uint64_t hi);
/* Sorts by lo and joins what overlaps or touches. */
void gri_text_list_normalise(struct gri_text_list *list);
/* list minus holes, both normalised, into out (empty before). False: no memory. */
bool gri_text_list_subtract(struct gri_text_list *out, const struct gri_text_list *list,
                            const struct gri_text_list *holes);
void gri_text_list_fini(struct gri_text_list *list);

/*
 * Adds the code that the file's unwind data covers, within [lo, hi), as virtual addresses. 0,
 * -ENOMEM, -ENOEXEC: no search table or a corrupt one. Signal frames are left out.
 */
int gri_text_unwindable(const struct gri_elf *elf, uint64_t lo, uint64_t hi,
                        struct gri_text_list *list);

/*
 * Adds a module to the map: its text, and its safe ranges (run-time addresses, normalised), which
 * the map owns from here on; *safe is empty then. Not from a goroutine; under the loader's lock. 0
 * or -ENOMEM.
 */
int gri_text_publish(struct gri_module *module, uint64_t text_lo, uint64_t text_hi,
                     struct gri_text_list *safe);
/*
 * Takes a module out of the map, and returns once nobody still looks at a map that has it; waits
 * for signal handlers in the middle of a look-up only. As above. 0 or -ENOMEM.
 */
int gri_text_withdraw(const struct gri_module *module);

#endif
