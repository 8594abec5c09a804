/*
 * canary.S: loops during which every register and the flags hold what the caller chose.
 *
 *     void canary_hold_neon(const struct canary_state *in /x0/, struct canary_state *out /x1/)
 *     void canary_hold_sve(…)
 *     void canary_add_exclusive(uint64_t *counter /x0/, uint64_t times /x1/)
 *     void canary_add_lse(…)
 *
 * The loops use instructions that change no flags. They are nothing but places to be stopped at by a signal: they call
 * nobody, so only a signal can. Every instruction is covered by unwind data, as the runtime demands of code that it
 * stops. The return address is signed where the processor can, with SP, by this process's key: it has to be
 * good on whatever thread the function ends.
 *
 *     CFA  ->
 *             x29 x30 x19 … x28 d8 … d15, FPCR, out, x30 or a scratch word
 *     sp   ->
 */
#include "canary_layout.h"

#define FRAME   192
#define FPCR_AT 160
#define OUT_AT  168
#define WORD_AT 176

        .arch   armv8.2-a+sve
        .text

        .macro  TO_15 action
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        \action \n
        .endr
        .endm
        .macro  TO_29 action
        TO_15   \action
        .irp    n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
        \action \n
        .endr
        .endm
        .macro  TO_31 action
        TO_29   \action
        \action 30
        \action 31
        .endm

        .macro  LOAD_X n                /* from x30 */
        ldr     x\n, [x30, #8 * \n]
        .endm
        .macro  STORE_X n               /* to x30 */
        str     x\n, [x30, #8 * \n]
        .endm
        .macro  LOAD_Q n
        ldr     q\n, [x0, #CANARY_Q + 16 * \n]
        .endm
        .macro  STORE_Q n               /* to x2 */
        str     q\n, [x2, #16 * \n]
        .endm
        .macro  LOAD_Z n                /* from x2 */
        ldr     z\n, [x2, #\n, mul vl]
        .endm
        .macro  STORE_Z n
        str     z\n, [x2, #\n, mul vl]
        .endm
        .macro  LOAD_P n                /* from x3 */
        ldr     p\n, [x3, #\n, mul vl]
        .endm
        .macro  STORE_P n
        str     p\n, [x3, #\n, mul vl]
        .endm
        .macro  FAR register, base, offset
        mov     \register, #\offset
        add     \register, \base, \register
        .endm

        .macro  SAVE a, b, at
        stp     \a, \b, [sp, #\at]
        .cfi_rel_offset \a, \at
        .cfi_rel_offset \b, \at + 8
        .endm

        .macro  ENTER
        hint    #25                     /* paciasp, which is a landing pad too */
        .cfi_negate_ra_state
        sub     sp, sp, #FRAME
        .cfi_def_cfa_offset FRAME
        SAVE    x29, x30, 0
        SAVE    x19, x20, 16
        SAVE    x21, x22, 32
        SAVE    x23, x24, 48
        SAVE    x25, x26, 64
        SAVE    x27, x28, 80
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mrs     x2, fpcr
        stp     x2, x1, [sp, #FPCR_AT]
        .endm

/* x0 = in. Everything but the vectors. */
        .macro  LOAD_GENERAL
        ldr     x1, [x0, #CANARY_FPSR]
        msr     fpsr, x1
        ldr     x1, [x0, #CANARY_FPCR]
        msr     fpcr, x1
        ldr     x1, [x0, #CANARY_NZCV]
        msr     nzcv, x1
        mov     x30, x0
        TO_29   LOAD_X
        ldr     x30, [x30, #8 * 30]
        .endm

/* Leaves x30 = out. */
        .macro  STORE_GENERAL
        str     x30, [sp, #WORD_AT]
        ldr     x30, [sp, #OUT_AT]
        TO_29   STORE_X
        ldr     x1, [sp, #WORD_AT]
        str     x1, [x30, #8 * 30]
        mrs     x1, nzcv
        str     x1, [x30, #CANARY_NZCV]
        mrs     x1, fpcr
        str     x1, [x30, #CANARY_FPCR]
        mrs     x1, fpsr
        str     x1, [x30, #CANARY_FPSR]
        .endm

        .macro  LEAVE
        ldr     x2, [sp, #FPCR_AT]
        msr     fpcr, x2
        ldp     d14, d15, [sp, #144]
        ldp     d12, d13, [sp, #128]
        ldp     d10, d11, [sp, #112]
        ldp     d8, d9, [sp, #96]
        ldp     x27, x28, [sp, #80]
        ldp     x25, x26, [sp, #64]
        ldp     x23, x24, [sp, #48]
        ldp     x21, x22, [sp, #32]
        ldp     x19, x20, [sp, #16]
        ldp     x29, x30, [sp]
        .cfi_restore x29
        .cfi_restore x30
        .irp    n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28
        .cfi_restore x\n
        .endr
        add     sp, sp, #FRAME
        .cfi_def_cfa_offset 0
        hint    #29                     /* autiasp */
        .cfi_negate_ra_state
        ret
        .endm

        .globl  canary_hold_neon
        .type   canary_hold_neon, %function
        .p2align 4
canary_hold_neon:
        .cfi_startproc
        ENTER
        TO_31   LOAD_Q
        LOAD_GENERAL
1:      sub     x0, x0, #1
        add     x1, x1, #1
        add     v0.2d, v0.2d, v31.2d
        ror     x2, x2, #1              /* a multiple of 64 rounds: as before */
        eor     x3, x3, x4
        eor     x3, x3, x4
        b       2f
        nop
2:      ext     v2.16b, v2.16b, v2.16b, #1
        str     x5, [sp, #WORD_AT]
        ldr     x5, [sp, #WORD_AT]
        cbnz    x0, 1b
        STORE_GENERAL
        add     x2, x30, #CANARY_Q
        TO_31   STORE_Q
        LEAVE
        .cfi_endproc
        .size   canary_hold_neon, . - canary_hold_neon

        .globl  canary_hold_sve
        .type   canary_hold_sve, %function
        .p2align 4
canary_hold_sve:
        .cfi_startproc
        ENTER
        FAR     x2, x0, CANARY_FFR
        ldr     p0, [x2]
        wrffr   p0.b
        FAR     x3, x0, CANARY_P
        TO_15   LOAD_P
        FAR     x2, x0, CANARY_Z
        TO_31   LOAD_Z
        LOAD_GENERAL
1:      sub     x0, x0, #1
        add     x1, x1, #1
        ror     x2, x2, #1
        eor     z1.d, z1.d, z2.d
        eor     z1.d, z1.d, z2.d
        b       2f
        nop
2:      str     x5, [sp, #WORD_AT]
        ldr     x5, [sp, #WORD_AT]
        cbnz    x0, 1b
        STORE_GENERAL
        FAR     x2, x30, CANARY_Z
        TO_31   STORE_Z
        FAR     x3, x30, CANARY_P
        TO_15   STORE_P
        rdffr   p0.b
        FAR     x2, x30, CANARY_FFR
        str     p0, [x2]
        LEAVE
        .cfi_endproc
        .size   canary_hold_sve, . - canary_hold_sve

        .globl  canary_sve_length
        .type   canary_sve_length, %function
        .p2align 4
canary_sve_length:
        .cfi_startproc
        hint    #34
        rdvl    x0, #1
        ret
        .cfi_endproc
        .size   canary_sve_length, . - canary_sve_length

        .globl  canary_add_exclusive
        .type   canary_add_exclusive, %function
        .p2align 4
canary_add_exclusive:
        .cfi_startproc
        hint    #34
1:      ldxr    x2, [x0]
        add     x2, x2, #1
        nop
        stxr    w3, x2, [x0]
        cbnz    w3, 1b
        sub     x1, x1, #1
        cbnz    x1, 1b
        ret
        .cfi_endproc
        .size   canary_add_exclusive, . - canary_add_exclusive

        .globl  canary_add_lse
        .type   canary_add_lse, %function
        .p2align 4
canary_add_lse:
        .cfi_startproc
        hint    #34
        mov     x2, #1
1:      ldadd   x2, x3, [x0]
        sub     x1, x1, #1
        cbnz    x1, 1b
        ret
        .cfi_endproc
        .size   canary_add_lse, . - canary_add_lse

        .section .note.GNU-stack, "", %progbits
