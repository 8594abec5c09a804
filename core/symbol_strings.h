/*
 * symbol_strings.h: one copy of each name, for the life of the process.
 *
 * Frames are handed out with plain pointers that stay valid after the library they came from was
 * closed, so names are copied once and never freed. Their number is bounded by what the debug
 * information of the loaded objects contains and, in practice, by the functions that were ever seen
 * on a stack. Rejected: reference counts in every frame, which each consumer of a snapshot would
 * have to give back.
 *
 * Invariants
 *   I1  Equal strings have equal pointers.
 *   I2  A pointer that was handed out stays valid for ever.
 *
 * Locks: none; the inspector's lock (unwind.c) is held by every caller.
 */
#ifndef GRASP_SYMBOL_STRINGS_H
#define GRASP_SYMBOL_STRINGS_H

#include <stddef.h>

/* The copy of `text`, or NULL: text is NULL, or no memory. */
const char *gri_intern(const char *text);
size_t gri_intern_bytes(void);

#endif
