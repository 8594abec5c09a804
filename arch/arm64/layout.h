/*
 * layout.h: offsets that C and assembly share. arm64.c asserts each of them against the C structs.
 */
#ifndef GRASP_ARCH_ARM64_LAYOUT_H
#define GRASP_ARCH_ARM64_LAYOUT_H

/* struct arch_tls */
#define TLS_FOREIGN         8
#define TLS_ERRNO_GOROUTINE 16
#define TLS_ERRNO_THREAD    24
#define TLS_ERRNO_OWNED     32

/* struct arch_foreign */
#define FOREIGN_DEPTH 0
#define FOREIGN_CALL  16
#define FOREIGN_MAX   64

/* struct arch_context */
#define CONTEXT_PC    0
#define CONTEXT_SP    8
#define CONTEXT_SAVED 16

/* The second word of the thread control block: ours, since glibc does not use it. arm64/entry.c has it in the check. */
#define GUARD_OFFSET 8

/* struct switch_frame */
#define SWITCH_D     96
#define SWITCH_FPCR  160
#define SWITCH_BYTES 176

/* struct caught: a frame record, then struct arch_frame */
#define CAUGHT_X      16
#define CAUGHT_SP     264
#define CAUGHT_PC     272
#define CAUGHT_PSTATE 280
#define CAUGHT_BYTES  288

/* struct vectors: FPSR, FPCR, the vector length in bytes (0: no SVE), then the registers */
#define VECTORS_FPSR   0
#define VECTORS_FPCR   8
#define VECTORS_LENGTH 16
#define VECTORS_REGS   64

/* struct kernel_frame: what rt_sigreturn takes, at SP */
#define KERNEL_X      312
#define KERNEL_SP     560
#define KERNEL_PC     568

#define STUB_HEADROOM_PAGES 6 /* of 4 KiB: a subtraction takes 12 bits, shifted by 12 */
#define STUB_COUNT          2048
#define STUB_STRIDE         80
#define PIN_STUB_STRIDE     96

/* Linux: the number of rt_sigreturn, and a system call's result -ECANCELED. */
#define NR_RT_SIGRETURN 139
#define MINUS_ECANCELED -125

/*
 * Marks an object as fit for guarded pages and signed return addresses (GNU_PROPERTY_AARCH64_FEATURE_1_AND, BTI and
 * PAC): whatever is reached by an indirect branch begins with a landing pad.
 */
#ifdef __ASSEMBLER__
        .macro  END_OF_FILE
        .section .note.gnu.property, "a", %note
        .balign 8
        .word   4, 16, 5
        .asciz  "GNU"
        .word   0xc0000000, 4, 3, 0
        .section .note.GNU-stack, "", %progbits
        .endm

        .macro  LANDING_PAD             /* bti c, which older processors take for a nop */
        hint    #34
        .endm
#endif

#endif
