/*
 * switch.S: from one stack to another, the first entry into a goroutine, and reading one's own registers.
 *
 * A switched-away stack looks so, lowest address first (struct switch_frame):
 *
 *     x29, return address       where arch_switch was called   <- saved SP
 *     x19 … x28
 *     d8 … d15
 *     FPCR, unused
 *
 * The procedure call standard makes the callee keep x19 to x29, SP, d8 to d15 and FPCR; all else is dead across the
 * call, SVE's registers beyond d8 to d15 too.
 */
#include "layout.h"

        .text

/* void arch_switch(void **save /x0/, void *to /x1/) */
        .globl  arch_switch
        .type   arch_switch, %function
        .p2align 4
arch_switch:
        .cfi_startproc
        LANDING_PAD
        sub     sp, sp, #SWITCH_BYTES
        .cfi_def_cfa_offset SWITCH_BYTES
        stp     x29, x30, [sp]
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        .cfi_rel_offset x19, 16
        .cfi_rel_offset x20, 24
        stp     x21, x22, [sp, #32]
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        stp     x23, x24, [sp, #48]
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        stp     x25, x26, [sp, #64]
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        stp     x27, x28, [sp, #80]
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        stp     d8, d9, [sp, #SWITCH_D]
        stp     d10, d11, [sp, #SWITCH_D + 16]
        stp     d12, d13, [sp, #SWITCH_D + 32]
        stp     d14, d15, [sp, #SWITCH_D + 48]
        mrs     x9, fpcr
        str     x9, [sp, #SWITCH_FPCR]
        mov     x10, sp
        str     x10, [x0]
        /* From here on this is another stack, which looks the same. */
        mov     sp, x1
        /* Writing FPCR is slow and it is nearly always the same. */
        ldr     x10, [sp, #SWITCH_FPCR]
        cmp     x9, x10
        b.eq    1f
        msr     fpcr, x10
1:      ldp     d14, d15, [sp, #SWITCH_D + 48]
        ldp     d12, d13, [sp, #SWITCH_D + 32]
        ldp     d10, d11, [sp, #SWITCH_D + 16]
        ldp     d8, d9, [sp, #SWITCH_D]
        ldp     x27, x28, [sp, #80]
        .cfi_restore x27
        .cfi_restore x28
        ldp     x25, x26, [sp, #64]
        .cfi_restore x25
        .cfi_restore x26
        ldp     x23, x24, [sp, #48]
        .cfi_restore x23
        .cfi_restore x24
        ldp     x21, x22, [sp, #32]
        .cfi_restore x21
        .cfi_restore x22
        ldp     x19, x20, [sp, #16]
        .cfi_restore x19
        .cfi_restore x20
        ldp     x29, x30, [sp]
        .cfi_restore x29
        .cfi_restore x30
        add     sp, sp, #SWITCH_BYTES
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size   arch_switch, . - arch_switch

/*
 * Where a new goroutine starts: x19 = function, x20 = its argument, both put there by arch_stack_init.
 * The return address is undefined: every unwinder stops here. It begins behind the nop, which keeps pc - 1 inside.
 */
        .globl  arch_goroutine_start
        .hidden arch_goroutine_start
        .type   arch_goroutine_start, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
arch_goroutine_start:
        nop
        mov     x29, xzr
        mov     x30, xzr
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   arch_goroutine_start, . - arch_goroutine_start

/* void arch_capture(struct arch_context * /x0/): pc and sp as they are once this has returned. */
        .globl  arch_capture
        .type   arch_capture, %function
        .p2align 4
arch_capture:
        .cfi_startproc
        LANDING_PAD
        mov     x9, sp
        stp     x30, x9, [x0, #CONTEXT_PC]
        stp     x19, x20, [x0, #CONTEXT_SAVED]
        stp     x21, x22, [x0, #CONTEXT_SAVED + 16]
        stp     x23, x24, [x0, #CONTEXT_SAVED + 32]
        stp     x25, x26, [x0, #CONTEXT_SAVED + 48]
        stp     x27, x28, [x0, #CONTEXT_SAVED + 64]
        str     x29, [x0, #CONTEXT_SAVED + 80]
        ret
        .cfi_endproc
        .size   arch_capture, . - arch_capture

/* long arch_syscall(long nr /x0/, const long args[6] /x1/) */
        .globl  arch_syscall
        .type   arch_syscall, %function
        .p2align 4
arch_syscall:
        .cfi_startproc
        LANDING_PAD
        mov     x8, x0
        mov     x10, x1
        ldp     x0, x1, [x10]
        ldp     x2, x3, [x10, #16]
        ldp     x4, x5, [x10, #32]
        svc     #0
        ret
        .cfi_endproc
        .size   arch_syscall, . - arch_syscall

/*
 * long arch_cancellable_syscall(const uint32_t *cancel /x0/, long nr /x1/, const long args[6] /x2/)
 * A signal that finds the thread between _begin and _end before the kernel took effect may send it to
 * _cancelled (arch_signal_cancel_syscall); the kernel rewinds pc to the svc instruction to restart.
 *
 * The flag is loaded with acquire (ldar): the caller has just said SYSCALL by a seq_cst read-modify-write, and the canceller
 * stores the flag and then looks for SYSCALL. A plain load could be done before that write is seen by others, and
 * both would miss each other (docs/memory-order.md, section 9).
 */
        .globl  arch_cancellable_syscall
        .globl  arch_syscall_begin
        .globl  arch_syscall_end
        .globl  arch_syscall_cancelled
        .hidden arch_syscall_begin
        .hidden arch_syscall_end
        .hidden arch_syscall_cancelled
        .type   arch_cancellable_syscall, %function
        .p2align 4
arch_cancellable_syscall:
        .cfi_startproc
        LANDING_PAD
        mov     x9, x0
        mov     x8, x1
        mov     x10, x2
        ldp     x0, x1, [x10]
        ldp     x2, x3, [x10, #16]
        ldp     x4, x5, [x10, #32]
arch_syscall_begin:
        ldar    w11, [x9]
        cbnz    w11, arch_syscall_cancelled
        svc     #0
arch_syscall_end:
        ret
arch_syscall_cancelled:
        mov     x0, #MINUS_ECANCELED
        ret
        .cfi_endproc
        .size   arch_cancellable_syscall, . - arch_cancellable_syscall

        END_OF_FILE
