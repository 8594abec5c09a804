/*
 * note.S: the note of type GRI_NOTE_MODULE (core/builtin.h, struct gri_module_note), as it is
 * before grasp-cc has filled it in. It is the same for every architecture.
 *
 * Until then text_lo holds the distance from itself to __gr_slow, which is how grasp-cc finds that
 * routine in a file without symbols. The reference also keeps the routine when the linker collects
 * garbage, and the flag R keeps the note. meta.c asserts the sizes.
 */
        .section .note.grasp, "aR", %note
        .balign 4
        .long   6                       /* size of the name */
        .long   .Lend - .Lbegin
        .long   2                       /* GRI_NOTE_MODULE */
        .asciz  "Grasp"
        .balign 4
.Lbegin:
        .long   1                       /* abi: GR_ABI_VERSION */
        .long   0                       /* flags */
        .quad   0                       /* entry_checks */
        .quad   __gr_slow - .           /* text_lo */
        .quad   0                       /* text_hi */
        .quad   0, 0                    /* nopreempt_lo, nopreempt_hi */
.Lend:
#include "property.h"
        .section .note.GNU-stack, "", %progbits
