/*
 * symbols.h: names for the addresses of one loaded ELF file: function, file, line, inlined callers.
 *
 * Three sources, each built when it is first needed: a sorted index of the file's symbols (.symtab
 * of the file or of its separate debug file, else .dynsym), a table of its compilation units, and
 * each unit's inline index. A name is never guessed: an address behind a symbol's size belongs to
 * nobody, so that a stripped library gives its offset instead of the nearest exported neighbour.
 * Rejected: dwfl_module_addrinfo (a linear scan, 180 to 350 µs an address) and .debug_aranges
 * (clang writes none).
 *
 * Invariants
 *   I1  Strings handed out are interned and stay valid; those of libdw never leave this file.
 *   I2  A table that could not be built for want of memory is tried again by the next caller.
 *
 * Locks: none; the inspector's lock (unwind.c) is held by every caller.
 */
#ifndef GRASP_SYMBOLS_H
#define GRASP_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include <elfutils/libdwfl.h>

#include "unwind_rules.h"

/* Calls inlined into each other at one address; deeper ones are left out between the innermost and
 * the function. */
#define GRI_INLINED_MAX 32

/* One function at an address. Interned; NULL and 0 where not known. */
struct gri_name {
    const char *function, *file;
    int line;
};

struct gri_symbols;

/* For a module that stays reported to its Dwfl as long as this lives. NULL: no memory. */
struct gri_symbols *gri_symbols_create(Dwfl_Module *module);
void gri_symbols_destroy(struct gri_symbols *symbols);

/*
 * Names `pc`, innermost first: all but the last were inlined. *start is where the last one's
 * function begins, or the file's load address if the function is not known. Returns how many, at
 * least 1, at most max; or -ENOMEM.
 */
int gri_symbols_name(struct gri_symbols *symbols, uint64_t pc, struct gri_name *names, size_t max,
                     uint64_t *start);
/* What the unwind data says of the caller of the instruction at pc. */
void gri_symbols_rules(struct gri_symbols *symbols, uint64_t pc, struct gri_rules *rules);
size_t gri_symbols_bytes(const struct gri_symbols *symbols);

#endif
