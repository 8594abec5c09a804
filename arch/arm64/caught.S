/*
 * caught.S: a goroutine is caught, at a function's entry check, in an import stub, or by a signal that
 * rewrote its pc; everything it has in registers is on its own stack when C decides.
 *
 * Checks and stubs come here by a branch, with x17 = where to go on, x16 free, and x30 still the return address of
 * whoever made the call. They leave this picture, lowest address first (struct caught):
 *
 *     vector area      struct vectors, aligned to 64          <- SP while C runs
 *     …
 *     frame record     x29, pc                                <- x29 meanwhile
 *     x0 … x30, sp, pc, pstate                                   struct arch_frame
 *
 * To unwinders x17 is the return address (the column is changed) and x30 an ordinary register of the caller, whose pc
 * is exact: the instruction behind a check may be the first that has unwind data.
 *
 * An asynchronous stop has no register to spare for the way back. So the signal handler copies the kernel's own signal
 * frame to the goroutine's stack and sends the thread here with SP at it (signal.c); going on is rt_sigreturn on
 * that copy, whatever is in it. The two instructions after the call must follow it at once, and they and the call have no
 * unwind data: by them libgcc and gdb know a signal frame at SP.
 */
#include "layout.h"

        .arch   armv8-a
        .arch_extension sve
        .text

        .macro  SAVE_PAIR a, b
        stp     x\a, x\b, [sp, #CAUGHT_X + 8 * \a]
        .cfi_rel_offset x\a, CAUGHT_X + 8 * \a
        .cfi_rel_offset x\b, CAUGHT_X + 8 * \b
        .endm
        .macro  RESTORE_PAIR a, b
        ldp     x\a, x\b, [sp, #CAUGHT_X + 8 * \a]
        .cfi_restore x\a
        .cfi_restore x\b
        .endm
        .macro  Q_PAIR action, a, b
        \action q\a, q\b, [x1, #VECTORS_REGS + 16 * \a]
        .endm
        .macro  Q_ALL action
        Q_PAIR  \action, 0, 1
        Q_PAIR  \action, 2, 3
        Q_PAIR  \action, 4, 5
        Q_PAIR  \action, 6, 7
        Q_PAIR  \action, 8, 9
        Q_PAIR  \action, 10, 11
        Q_PAIR  \action, 12, 13
        Q_PAIR  \action, 14, 15
        Q_PAIR  \action, 16, 17
        Q_PAIR  \action, 18, 19
        Q_PAIR  \action, 20, 21
        Q_PAIR  \action, 22, 23
        Q_PAIR  \action, 24, 25
        Q_PAIR  \action, 26, 27
        Q_PAIR  \action, 28, 29
        Q_PAIR  \action, 30, 31
        .endm
        .macro  Z_ALL action            /* at x2 */
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        \action z\n, [x2, #\n, mul vl]
        .endr
        .endm
        .macro  P_ALL action            /* at x3; FFR's place is the 17th */
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        \action p\n, [x3, #\n, mul vl]
        .endr
        .endm
        .macro  SVE_PLACES              /* x1 = vector area; x2 = of z0, x3 = of p0 */
        add     x2, x1, #VECTORS_REGS
        addvl   x3, x2, #31
        addvl   x3, x3, #1
        .endm

/* Saves everything; on exit x0 = frame, x1 = SP = vector area, x29 set, FPCR as C expects it. */
        .macro  SAVE_ALL
        sub     sp, sp, #CAUGHT_BYTES
        .cfi_def_cfa_offset CAUGHT_BYTES
        SAVE_PAIR 0, 1
        SAVE_PAIR 2, 3
        SAVE_PAIR 4, 5
        SAVE_PAIR 6, 7
        SAVE_PAIR 8, 9
        SAVE_PAIR 10, 11
        SAVE_PAIR 12, 13
        SAVE_PAIR 14, 15
        stp     x16, x17, [sp, #CAUGHT_X + 8 * 16]
        SAVE_PAIR 18, 19
        SAVE_PAIR 20, 21
        SAVE_PAIR 22, 23
        SAVE_PAIR 24, 25
        SAVE_PAIR 26, 27
        SAVE_PAIR 28, 29
        str     x30, [sp, #CAUGHT_X + 8 * 30]
        .cfi_rel_offset x30, CAUGHT_X + 8 * 30
        add     x0, sp, #CAUGHT_BYTES
        stp     x0, x17, [sp, #CAUGHT_SP]
        .cfi_rel_offset x17, CAUGHT_PC
        mrs     x0, nzcv
        str     x0, [sp, #CAUGHT_PSTATE]
        stp     x29, x17, [sp]
        mov     x29, sp
        .cfi_def_cfa_register x29
        adrp    x2, arch_vector_length
        ldr     w4, [x2, :lo12:arch_vector_length]
        cbnz    w4, 81f

        sub     x1, sp, #VECTORS_REGS + 32 * 16
        and     sp, x1, #-64
        mov     x1, sp
        Q_ALL   stp
        b       82f

        /* By this thread's own vector length: a wired goroutine may have changed it. */
81:     rdvl    x4, #1
        rdvl    x2, #31
        sub     x1, sp, x2
        rdvl    x2, #4                  /* z31, and 17 predicates of an eighth each */
        sub     x1, x1, x2
        sub     x1, x1, #VECTORS_REGS
        and     sp, x1, #-64
        mov     x1, sp
        SVE_PLACES
        Z_ALL   str
        P_ALL   str
        rdffr   p0.b
        str     p0, [x3, #16, mul vl]

82:     str     x4, [x1, #VECTORS_LENGTH]
        mrs     x2, fpsr
        mrs     x3, fpcr
        stp     x2, x3, [x1, #VECTORS_FPSR]
        cbz     x3, 83f
        msr     fpcr, xzr
83:     add     x0, x29, #CAUGHT_X
        .endm

/* SP and x29 are as SAVE_ALL left them. On exit x17 = pc. */
        .macro  RESTORE_ALL
        mov     x1, sp
        ldr     x4, [x1, #VECTORS_LENGTH]
        cbnz    x4, 84f
        Q_ALL   ldp
        b       85f
84:     SVE_PLACES
        ldr     p0, [x3, #16, mul vl]
        wrffr   p0.b
        P_ALL   ldr
        Z_ALL   ldr
85:     ldp     x2, x3, [x1, #VECTORS_FPSR]
        msr     fpsr, x2
        cbz     x3, 86f
        msr     fpcr, x3
86:     mov     sp, x29
        .cfi_def_cfa_register sp
        ldr     x0, [sp, #CAUGHT_PSTATE]
        msr     nzcv, x0
        ldr     x30, [sp, #CAUGHT_X + 8 * 30]
        .cfi_restore x30
        RESTORE_PAIR 28, 29
        RESTORE_PAIR 26, 27
        RESTORE_PAIR 24, 25
        RESTORE_PAIR 22, 23
        RESTORE_PAIR 20, 21
        RESTORE_PAIR 18, 19
        ldr     x17, [sp, #CAUGHT_PC]
        .cfi_restore x17
        RESTORE_PAIR 14, 15
        RESTORE_PAIR 12, 13
        RESTORE_PAIR 10, 11
        RESTORE_PAIR 8, 9
        RESTORE_PAIR 6, 7
        RESTORE_PAIR 4, 5
        RESTORE_PAIR 2, 3
        RESTORE_PAIR 0, 1
        add     sp, sp, #CAUGHT_BYTES
        .cfi_def_cfa_offset 0
        .endm

/*
 * The slow path of an entry check, reached through __gr_slow at the very start of a function. All argument registers
 * survive, vectors included. `ret x17` and not `br`: a function's body has no landing pad behind its check.
 */
        .globl  arch_entry_slow
        .type   arch_entry_slow, %function
        .p2align 4
arch_entry_slow:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_return_column x17
        LANDING_PAD
        SAVE_ALL
        mov     x2, #0
        bl      arch_on_check
        RESTORE_ALL
        ret     x17
        .cfi_endproc
        .size   arch_entry_slow, . - arch_entry_slow

/* The same for an import stub. The C code behind it needs the headroom. */
        .globl  arch_stub_slow
        .hidden arch_stub_slow
        .type   arch_stub_slow, %function
        .p2align 4
arch_stub_slow:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_return_column x17
        SAVE_ALL
        mov     x2, #STUB_HEADROOM_PAGES << 12
        bl      arch_on_check
        RESTORE_ALL
        ret     x17
        .cfi_endproc
        .size   arch_stub_slow, . - arch_stub_slow

/*
 * The injected call: SP = the copy of the kernel's frame, which holds every register of the interrupted code, its SP and
 * its pc (struct kernel_frame). Entered by the signal handler's own sigreturn.
 */
        .globl  arch_async_preempt
        .hidden arch_async_preempt
        .type   arch_async_preempt, %function
        .p2align 4
arch_async_preempt:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_return_column 32           /* pc */
        .cfi_def_cfa sp, 0
        .cfi_offset 31, KERNEL_SP
        .cfi_offset 32, KERNEL_PC
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
        .cfi_offset \n, KERNEL_X + 8 * \n
        .endr
        LANDING_PAD
        /* Out of SME's streaming mode, in which C code faults. rt_sigreturn goes back into it. */
        adrp    x0, arch_has_sme
        ldr     w0, [x0, :lo12:arch_has_sme]
        cbz     w0, 1f
        .inst   0xd503467f              /* smstop */
1:      msr     fpcr, xzr
        mov     x0, sp
        .cfi_endproc
        bl      arch_async_landed
        mov     x8, #NR_RT_SIGRETURN
        svc     #0
        brk     #1
        .size   arch_async_preempt, . - arch_async_preempt

        END_OF_FILE
