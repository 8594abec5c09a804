/*
 * stubs.S: what a module's calls into libc and other libraries go through. No text is written at run
 * time, so STUB_COUNT stubs of each sort lie here ready, each jumping through its word of a table.
 *
 * A stub does two things before it jumps: it compares SP less its headroom with the guard (so that code
 * which lives in libc stops at its next call, and an overflow is reported before libc holds a lock), and it
 * hands the goroutine's errno to libc if the goroutine owns it. At a call x16 and x17 are free for stubs, and x9 to x15
 * hold nothing that the callee may expect; x0 to x8 and x18 do.
 *
 * A pinning stub also replaces the return address, which is in x30, by arch_foreign_return and keeps the real one on the
 * goroutine's list of foreign calls, under SP as it is at the call. While the list is not empty the
 * goroutine is pinned to its thread: call-backs into the module may be stopped, but no other goroutine enters the
 * foreign code's thread. Where the foreign function then saves x30 only it knows: arch_foreign_restore looks for it.
 *
 * Local routines are reached by `adr x17, back; b routine` and return by `ret x17`, so that x30 stays what it is.
 */
#include "layout.h"

        .text

/* x16 = address of the thread's block. */
        .macro  THREAD_BLOCK
        mrs     x16, tpidr_el0
        adrp    x17, :gottprel:arch_tls_block
        ldr     x17, [x17, :gottprel_lo12:arch_tls_block]
        add     x16, x16, x17
        .endm

/* The check that both sorts start with. On the way out x16 = the thread's block. */
        .macro  STUB_CHECK
        LANDING_PAD
        mrs     x16, tpidr_el0
        ldr     x17, [x16, #GUARD_OFFSET]
        sub     x15, sp, #STUB_HEADROOM_PAGES, lsl #12
        cmp     x15, x17
        b.ls    71f
70:     THREAD_BLOCK
        ldr     x17, [x16, #TLS_ERRNO_OWNED]
        cbnz    x17, 72f
        .endm
        .macro  STUB_SLOW
71:     adr     x17, 70b
        b       arch_stub_slow
72:     adr     x17, 73b
        b       arch_stub_errno
        .endm
        .macro  STUB_JUMP table
        adrp    x16, \table + 8 * index
        ldr     x16, [x16, :lo12:\table + 8 * index]
        br      x16
        .endm

        .globl  arch_stubs
        .hidden arch_stubs
        .type   arch_stubs, %function
        .p2align 6
        .cfi_startproc
arch_stubs:
        .set    index, 0
        .rept   STUB_COUNT
        STUB_CHECK
73:     STUB_JUMP arch_stub_target
        STUB_SLOW
        .org    arch_stubs + STUB_STRIDE * (index + 1)
        .set    index, index + 1
        .endr
        .cfi_endproc
        .size   arch_stubs, . - arch_stubs

        .globl  arch_pin_stubs
        .hidden arch_pin_stubs
        .type   arch_pin_stubs, %function
        .p2align 6
        .cfi_startproc
arch_pin_stubs:
        .set    index, 0
        .rept   STUB_COUNT
        STUB_CHECK
73:     ldr     x9, [x16, #TLS_FOREIGN]
        cbz     x9, 74f
        adr     x17, 74f
        b       arch_stub_pin
74:     STUB_JUMP arch_pin_stub_target
        STUB_SLOW
        .org    arch_pin_stubs + PIN_STUB_STRIDE * (index + 1)
        .set    index, index + 1
        .endr
        .cfi_endproc
        .size   arch_pin_stubs, . - arch_pin_stubs

/* errno: from the goroutine to the thread's slot. x16 = the thread's block, kept. */
        .type   arch_stub_errno, %function
        .p2align 4
arch_stub_errno:
        .cfi_startproc
        .cfi_return_column x17
        ldp     x9, x10, [x16, #TLS_ERRNO_GOROUTINE]
        ldr     w9, [x9]
        str     w9, [x10]
        str     xzr, [x16, #TLS_ERRNO_OWNED]
        ret     x17
        .cfi_endproc
        .size   arch_stub_errno, . - arch_stub_errno

/*
 * Notes a foreign call: x9 = the goroutine's list, x30 = the return address to replace, SP = its slot.
 * Entries whose slot lies at or below ours belong to calls that were left by longjmp: they are dropped. If x30 is
 * arch_foreign_return already, foreign code has jumped to a function of the module that jumps here as its last act;
 * that call is on the list, and returning once is enough.
 */
        .type   arch_stub_pin, %function
        .p2align 4
arch_stub_pin:
        .cfi_startproc
        .cfi_return_column x17
        adrp    x10, arch_foreign_return + 4
        add     x10, x10, :lo12:arch_foreign_return + 4
        cmp     x30, x10
        b.eq    4f
        mov     x11, sp
        ldr     x12, [x9, #FOREIGN_DEPTH]
1:      cbz     x12, 2f
        add     x13, x9, x12, lsl #4
        ldr     x14, [x13, #FOREIGN_CALL - 16]
        cmp     x14, x11
        b.hi    2f
        sub     x12, x12, #1
        b       1b
2:      cmp     x12, #FOREIGN_MAX
        b.hs    3f
        add     x13, x9, x12, lsl #4
        stp     x11, x30, [x13, #FOREIGN_CALL]
        add     x12, x12, #1
        str     x12, [x9, #FOREIGN_DEPTH]
        mov     x30, x10
4:      ret     x17
3:      bl      arch_on_foreign_overflow
        brk     #1
        .cfi_endproc
        .size   arch_stub_pin, . - arch_stub_pin

/*
 * Foreign code returns behind the nop, with SP as at the call. x0 to x8 and all vector registers may carry the result and are
 * not touched. Nobody is ever stopped here: this is runtime text, without a check. The nop is there for unwinders: they
 * look up a return address by the instruction before it, which must be ours as well.
 */
        .globl  arch_foreign_return
        .hidden arch_foreign_return
        .type   arch_foreign_return, %function
        .p2align 4
        .cfi_startproc
arch_foreign_return:
        .cfi_undefined x30
        nop
        THREAD_BLOCK
        ldr     x9, [x16, #TLS_FOREIGN]
        mov     x11, sp
        ldr     x12, [x9, #FOREIGN_DEPTH]
1:      cbz     x12, 3f
        sub     x12, x12, #1            /* others above were left by longjmp: they are dropped */
        add     x13, x9, x12, lsl #4
        ldr     x14, [x13, #FOREIGN_CALL]
        cmp     x14, x11
        b.ne    1b
        ldr     x30, [x13, #FOREIGN_CALL + 8]
        str     x12, [x9, #FOREIGN_DEPTH]
        ret
3:      brk     #1
        .cfi_endproc
        .size   arch_foreign_return, . - arch_foreign_return

        .bss
        .globl  arch_stub_target
        .hidden arch_stub_target
        .globl  arch_pin_stub_target
        .hidden arch_pin_stub_target
        .type   arch_stub_target, %object
        .type   arch_pin_stub_target, %object
        .p2align 6
arch_stub_target:
        .zero   8 * STUB_COUNT
        .size   arch_stub_target, 8 * STUB_COUNT
arch_pin_stub_target:
        .zero   8 * STUB_COUNT
        .size   arch_pin_stub_target, 8 * STUB_COUNT

        END_OF_FILE
