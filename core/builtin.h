/*
 * builtin.h: what a module carries in its file, shared by grasp-cc, the object it links into every module,
 * and the loader.
 *
 * Every object compiled by grasp-cc has a note of type GRI_NOTE_OBJECT (4 bytes: ABI version). The linked
 * module has one note of type GRI_NOTE_MODULE, laid out by the module object and filled in by grasp-cc after
 * linking; the loader verifies and never repairs. `rewritten` is 0 until the entries have been rewritten.
 */
#ifndef GRASP_BUILTIN_H
#define GRASP_BUILTIN_H

#include <stdint.h>

#define GRI_NOTE_SECTION ".note.grasp"
#define GRI_NOTE_NAME    "Grasp"
#define GRI_NOTE_OBJECT  1
#define GRI_NOTE_MODULE  2

#define GRI_MODULE_REWRITTEN 1u
#define GRI_MODULE_PROGRAM   2u /* an executable, not a shared object */
#define GRI_MODULE_ASM_OK    4u /* linked with --asm-ok */

struct gri_module_note {
    uint32_t abi;
    uint32_t flags;
    uint64_t entry_checks;               /* entries in __patchable_function_entries */
    uint64_t text_lo, text_hi;           /* virtual addresses in the file: .text */
    uint64_t nopreempt_lo, nopreempt_hi; /* section gr_nopreempt; equal if there is none */
};

/* The one symbol that a module exports: addresses at run time. */
#define GRI_MODULE_META "gr_module_meta"
struct gri_module_meta {
    uint32_t abi;
    uint32_t size;                                       /* of this struct */
    const void *entries_begin, *entries_end;             /* struct gr_entry */
    const void *const *checks_begin, *const *checks_end; /* addresses of entry checks */
    const void *nopreempt_begin, *nopreempt_end;
};

#endif
