/*
 * canary.S: a loop during which every register, the flags and the red zone hold what the caller chose.
 *
 *     void canary_hold_NAME(const struct canary_state *in, struct canary_state *out)   rdi, rsi
 *
 * The loop itself uses instructions that change no flags: lea counts, jrcxz tests. It is nothing but a
 * place to be stopped at by a signal: it calls nobody, so only a signal can. Every instruction is covered
 * by unwind data, as the runtime demands of code that it stops.
 *
 *     CFA     ->  return address at CFA - 8
 *                 rbp rbx r12 r13 r14 r15
 *                 (unused)
 *                 out                          8(%rsp)
 *     rsp     ->  rax, while `out` is in rax   0(%rsp)
 *                 red zone, 128 bytes
 */
#include "canary_layout.h"

        .text

        .macro  LOAD_YMM_FROM reg
        vmovdqu CANARY_VECTOR + 64 * \reg(%rdi), %ymm\reg
        .endm
        .macro  STORE_YMM_TO reg
        vmovdqu %ymm\reg, CANARY_VECTOR + 64 * \reg(%rax)
        .endm
        .macro  LOAD_ZMM_FROM reg
        vmovdqu64 CANARY_VECTOR + 64 * \reg(%rdi), %zmm\reg
        .endm
        .macro  STORE_ZMM_TO reg
        vmovdqu64 %zmm\reg, CANARY_VECTOR + 64 * \reg(%rax)
        .endm
        .macro  LOAD_MASK_FROM reg
        kmovq   CANARY_MASK + 8 * \reg(%rdi), %k\reg
        .endm
        .macro  STORE_MASK_TO reg
        kmovq   %k\reg, CANARY_MASK + 8 * \reg(%rax)
        .endm
        .macro  LOAD_RED_ZONE_FROM word
        movq    CANARY_RED_ZONE + 8 * \word(%rdi), %rax
        movq    %rax, -8 - 8 * \word(%rsp)
        .endm
        .macro  STORE_RED_ZONE_TO word
        movq    -8 - 8 * \word(%rsp), %rbx
        movq    %rbx, CANARY_RED_ZONE + 8 * \word(%rax)
        .endm

        .macro  TO_15 action
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        \action \n
        .endr
        .endm
        .macro  TO_31 action
        TO_15   \action
        .irp    n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        \action \n
        .endr
        .endm
        .macro  TO_7 action
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7
        \action \n
        .endr
        .endm

        .macro  SAVE reg
        pushq   %\reg
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %\reg, 0
        .endm
        .macro  RESTORE reg
        popq    %\reg
        .cfi_adjust_cfa_offset -8
        .cfi_restore %\reg
        .endm

        /* vectors: the width in bytes. */
        .macro  CANARY name, vectors
        .globl  \name
        .type   \name, @function
        .p2align 4
\name:
        .cfi_startproc
        SAVE    rbp
        SAVE    rbx
        SAVE    r12
        SAVE    r13
        SAVE    r14
        SAVE    r15
        subq    $24, %rsp
        .cfi_adjust_cfa_offset 24
        movq    %rsi, 8(%rsp)

        fxrstor64 CANARY_FX(%rdi)
        .if \vectors == 32
        TO_15   LOAD_YMM_FROM
        .endif
        .if \vectors == 64
        TO_31   LOAD_ZMM_FROM
        TO_7    LOAD_MASK_FROM
        .endif
        /* Flags before the red zone, which the push writes to; from here on only mov, which keeps them. */
        pushq   CANARY_FLAGS(%rdi)
        .cfi_adjust_cfa_offset 8
        popfq
        .cfi_adjust_cfa_offset -8
        TO_15   LOAD_RED_ZONE_FROM
        movq    CANARY_GPR + 8 * 0(%rdi), %rax
        movq    CANARY_GPR + 8 * 1(%rdi), %rcx
        movq    CANARY_GPR + 8 * 2(%rdi), %rdx
        movq    CANARY_GPR + 8 * 3(%rdi), %rbx
        movq    CANARY_GPR + 8 * 5(%rdi), %rbp
        movq    CANARY_GPR + 8 * 6(%rdi), %rsi
        movq    CANARY_GPR + 8 * 8(%rdi), %r8
        movq    CANARY_GPR + 8 * 9(%rdi), %r9
        movq    CANARY_GPR + 8 * 10(%rdi), %r10
        movq    CANARY_GPR + 8 * 11(%rdi), %r11
        movq    CANARY_GPR + 8 * 12(%rdi), %r12
        movq    CANARY_GPR + 8 * 13(%rdi), %r13
        movq    CANARY_GPR + 8 * 14(%rdi), %r14
        movq    CANARY_GPR + 8 * 15(%rdi), %r15
        movq    CANARY_GPR + 8 * 7(%rdi), %rdi

1:      leaq    1(%r15), %r15
        leaq    -1(%rcx), %rcx
        jrcxz   2f
        jmp     1b

2:      movq    %rax, (%rsp)
        movq    8(%rsp), %rax
        movq    %rcx, CANARY_GPR + 8 * 1(%rax)
        movq    %rdx, CANARY_GPR + 8 * 2(%rax)
        movq    %rbx, CANARY_GPR + 8 * 3(%rax)
        movq    %rbp, CANARY_GPR + 8 * 5(%rax)
        movq    %rsi, CANARY_GPR + 8 * 6(%rax)
        movq    %rdi, CANARY_GPR + 8 * 7(%rax)
        movq    %r8, CANARY_GPR + 8 * 8(%rax)
        movq    %r9, CANARY_GPR + 8 * 9(%rax)
        movq    %r10, CANARY_GPR + 8 * 10(%rax)
        movq    %r11, CANARY_GPR + 8 * 11(%rax)
        movq    %r12, CANARY_GPR + 8 * 12(%rax)
        movq    %r13, CANARY_GPR + 8 * 13(%rax)
        movq    %r14, CANARY_GPR + 8 * 14(%rax)
        movq    %r15, CANARY_GPR + 8 * 15(%rax)
        movq    (%rsp), %rbx
        movq    %rbx, CANARY_GPR + 8 * 0(%rax)
        TO_15   STORE_RED_ZONE_TO
        pushfq
        .cfi_adjust_cfa_offset 8
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        movq    %rbx, CANARY_FLAGS(%rax)
        fxsave64 CANARY_FX(%rax)
        .if \vectors == 32
        TO_15   STORE_YMM_TO
        vzeroupper
        .endif
        .if \vectors == 64
        TO_31   STORE_ZMM_TO
        TO_7    STORE_MASK_TO
        vzeroupper
        .endif
        /* What the ABI promises to the caller: a new goroutine's values, which the caller had. */
        cld
        fninit
        movl    $0x1f80, (%rsp)
        ldmxcsr (%rsp)

        addq    $24, %rsp
        .cfi_adjust_cfa_offset -24
        RESTORE r15
        RESTORE r14
        RESTORE r13
        RESTORE r12
        RESTORE rbx
        RESTORE rbp
        ret
        .cfi_endproc
        .size   \name, . - \name
        .endm

        CANARY  canary_hold_sse, 16
        CANARY  canary_hold_avx, 32
        CANARY  canary_hold_avx512, 64

        .section .note.GNU-stack, "", @progbits
