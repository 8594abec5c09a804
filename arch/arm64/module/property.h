/*
 * property.h: GNU_PROPERTY_AARCH64_FEATURE_1_AND: fit for guarded pages (BTI) and signed return addresses (PAC). Each part of
 * what is linked into modules has to say so, or the linker takes it that the module is not, whatever its other objects say.
 */
#ifndef GRASP_ARCH_ARM64_MODULE_PROPERTY_H
#define GRASP_ARCH_ARM64_MODULE_PROPERTY_H

#ifdef __ASSEMBLER__
        .pushsection .note.gnu.property, "a", %note
        .balign 8
        .word   4, 16, 5
        .asciz  "GNU"
        .word   0xc0000000, 4, 3, 0
        .popsection
#endif

#endif
