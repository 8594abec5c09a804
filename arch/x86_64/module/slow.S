/*
 * slow.S: void __gr_slow(void), which every entry check of a module calls when it fails.
 *
 * In:       all registers as at the function's entry; the stack as picture:
 *               8(%rsp)   return address of the function
 *               0(%rsp)   address behind the check
 * Clobbers: nothing, not even flags; arch_entry_slow in libgrasp returns to behind the check.
 *
 * It stands in the section of functions that are never stopped asynchronously, since the check that
 * led here has read this thread's guard already.
 */
        .section gr_nopreempt, "ax", @progbits
        .globl  __gr_slow
        .hidden __gr_slow
        .type   __gr_slow, @function
        .balign 16
__gr_slow:
        .cfi_startproc
        jmp     *arch_entry_slow@GOTPCREL(%rip)
        .cfi_endproc
        .size   __gr_slow, . - __gr_slow
        .section .note.GNU-stack, "", @progbits
