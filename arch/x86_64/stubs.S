/*
 * stubs.S: what a module's calls into libc and other libraries go through. No text is written at run
 * time, so STUB_COUNT stubs of each sort lie here ready, each jumping through its word of a table.
 *
 * A stub does two things before it jumps: it compares SP - STUB_HEADROOM with the guard (so that code
 * which lives in libc stops at its next call, and an overflow is reported before libc holds a lock), and it
 * hands the goroutine's errno to libc if the goroutine owns it. r11 is free at a call; nothing else is.
 *
 * A pinning stub also replaces the return address by arch_foreign_return and keeps the real one on the
 * goroutine's list of foreign calls. While the list is not empty the goroutine is pinned to its thread:
 * call-backs into the module may be stopped, but no other goroutine enters the foreign code's thread.
 */
#include "layout.h"

        .text

/* The check that both sorts start with. On the way out r11 = thread-local block's offset. */
        .macro  STUB_CHECK
        leaq    -STUB_HEADROOM(%rsp), %r11
        cmpq    %fs:GUARD_OFFSET, %r11
        jbe     71f
70:     movq    arch_tls_block@gottpoff(%rip), %r11
        cmpb    $0, %fs:TLS_ERRNO_OWNED(%r11)
        jne     72f
        .endm
        .macro  STUB_SLOW
71:     callq   arch_stub_slow
        jmp     70b
72:     callq   arch_stub_errno
        jmp     73b
        .endm

        .globl  arch_stubs
        .hidden arch_stubs
        .type   arch_stubs, @function
        .p2align 6
        .cfi_startproc
arch_stubs:
        .set    index, 0
        .rept   STUB_COUNT
        .p2align 6
        STUB_CHECK
73:     jmpq    *(arch_stub_target + 8 * index)(%rip)
        STUB_SLOW
        .set    index, index + 1
        .endr
        .p2align 6
        .cfi_endproc
        .size   arch_stubs, . - arch_stubs

        .globl  arch_pin_stubs
        .hidden arch_pin_stubs
        .type   arch_pin_stubs, @function
        .p2align 5
        .cfi_startproc
arch_pin_stubs:
        .set    index, 0
        .rept   STUB_COUNT
        .p2align 5
        STUB_CHECK
73:     cmpq    $0, %fs:TLS_FOREIGN(%r11)
        je      74f
        callq   arch_stub_pin
74:     jmpq    *(arch_pin_stub_target + 8 * index)(%rip)
        STUB_SLOW
        .set    index, index + 1
        .endr
        .p2align 5
        .cfi_endproc
        .size   arch_pin_stubs, . - arch_pin_stubs

/* errno: from the goroutine to the thread's slot. r11 = offset of the thread-local block, kept. */
        .type   arch_stub_errno, @function
        .p2align 4
arch_stub_errno:
        .cfi_startproc
        pushq   %rcx
        .cfi_adjust_cfa_offset 8
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        movq    %fs:TLS_ERRNO_GOROUTINE(%r11), %rcx
        movq    %fs:TLS_ERRNO_THREAD(%r11), %rdx
        movl    (%rcx), %ecx
        movl    %ecx, (%rdx)
        movb    $0, %fs:TLS_ERRNO_OWNED(%r11)
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   arch_stub_errno, . - arch_stub_errno

/*
 * Notes a foreign call. On entry (%rsp) = pc in the stub, 8(%rsp) = the return address to replace.
 * Entries whose slot lies at or below ours belong to calls that were left by longjmp: they are dropped.
 * Unless our slot holds arch_foreign_return already: then foreign code has jumped to a function of the module, as its
 * last act, that jumps here as its own. Both return to the caller of the first, whose entry serves them all.
 */
        .type   arch_stub_pin, @function
        .p2align 4
arch_stub_pin:
        .cfi_startproc
        pushq   %rax
        .cfi_adjust_cfa_offset 8
        pushq   %rcx
        .cfi_adjust_cfa_offset 8
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        movq    %fs:TLS_FOREIGN(%r11), %r11
        leaq    32(%rsp), %rdx                  /* slot of the return address */
        movq    FOREIGN_DEPTH(%r11), %rcx
        leaq    arch_foreign_return + 1(%rip), %rax
        cmpq    %rax, (%rdx)
        je      4f
1:      testq   %rcx, %rcx
        jz      2f
        movq    %rcx, %rax
        shlq    $4, %rax
        cmpq    %rdx, FOREIGN_CALL - 16(%r11, %rax)
        ja      2f
        decq    %rcx
        jmp     1b
2:      cmpq    $FOREIGN_MAX, %rcx
        jae     3f
        movq    %rcx, %rax
        shlq    $4, %rax
        movq    %rdx, FOREIGN_CALL(%r11, %rax)
        incq    %rcx
        movq    (%rdx), %rdx
        movq    %rdx, FOREIGN_CALL + 8(%r11, %rax)
        movq    %rcx, FOREIGN_DEPTH(%r11)
        leaq    arch_foreign_return + 1(%rip), %rdx
        movq    %rdx, 32(%rsp)
        .cfi_remember_state
5:      popq    %rdx
        .cfi_adjust_cfa_offset -8
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        popq    %rax
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_restore_state
        /* A tail jump: the entry of our slot, which is there, stays; those below it go. */
4:      testq   %rcx, %rcx
        jz      6f
        movq    %rcx, %rax
        shlq    $4, %rax
        cmpq    %rdx, FOREIGN_CALL - 16(%r11, %rax)
        jae     7f
        decq    %rcx
        jmp     4b
7:      movq    %rcx, FOREIGN_DEPTH(%r11)
        jmp     5b
6:      ud2                                     /* our address in a slot that is not on the list */
3:      andq    $-16, %rsp
        callq   arch_on_foreign_overflow
        ud2
        .cfi_endproc
        .size   arch_stub_pin, . - arch_stub_pin

/*
 * Foreign code returns behind the nop. rax, rdx and all vector registers carry the result and are not touched.
 * Nobody is ever stopped here: this is runtime text, without a check. The nop is there for unwinders: they look
 * up a return address by the byte before it, which must be ours as well.
 */
        .globl  arch_foreign_return
        .type   arch_foreign_return, @function
        .p2align 4
arch_foreign_return:
        .cfi_startproc
        .cfi_undefined %rip
        nop
        subq    $8, %rsp                        /* the slot again, where the real address goes */
        pushq   %rcx
        pushq   %rdx
        movq    arch_tls_block@gottpoff(%rip), %r11
        movq    %fs:TLS_FOREIGN(%r11), %r11
        leaq    16(%rsp), %rdx
        movq    FOREIGN_DEPTH(%r11), %rcx
1:      decq    %rcx
        js      3f
        shlq    $4, %rcx
        cmpq    %rdx, FOREIGN_CALL(%r11, %rcx)
        je      2f
        shrq    $4, %rcx                        /* left by longjmp: drop it */
        jmp     1b
2:      movq    FOREIGN_CALL + 8(%r11, %rcx), %rdx
        movq    %rdx, 16(%rsp)
        shrq    $4, %rcx
        movq    %rcx, FOREIGN_DEPTH(%r11)
        popq    %rdx
        popq    %rcx
        ret
3:      ud2
        .cfi_endproc
        .size   arch_foreign_return, . - arch_foreign_return

        .bss
        .globl  arch_stub_target
        .hidden arch_stub_target
        .globl  arch_pin_stub_target
        .hidden arch_pin_stub_target
        .type   arch_stub_target, @object
        .type   arch_pin_stub_target, @object
        .p2align 6
arch_stub_target:
        .zero   8 * STUB_COUNT
        .size   arch_stub_target, 8 * STUB_COUNT
arch_pin_stub_target:
        .zero   8 * STUB_COUNT
        .size   arch_pin_stub_target, 8 * STUB_COUNT

        .section .note.GNU-stack, "", @progbits
