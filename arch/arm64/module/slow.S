/*
 * slow.S: void __gr_slow(void), to which every entry check of a module branches when it fails.
 *
 * In:       all registers as at the function's entry, but
 *               x17       address behind the check
 * Clobbers: x16 and x17, which are free at a call. arch_entry_slow in libgrasp returns to x17.
 *
 * It stands in the section of functions that are never stopped asynchronously, since the check that
 * led here has read this thread's guard already. It is reached by a direct branch alone and needs no landing
 * pad; the property says that the module may be guarded all the same.
 */
        .section gr_nopreempt, "ax", %progbits
        .globl  __gr_slow
        .hidden __gr_slow
        .type   __gr_slow, %function
        .balign 16
__gr_slow:
        .cfi_startproc
        adrp    x16, :got:arch_entry_slow
        ldr     x16, [x16, :got_lo12:arch_entry_slow]
        br      x16
        .cfi_endproc
        .size   __gr_slow, . - __gr_slow

#include "property.h"
        .section .note.GNU-stack, "", %progbits
