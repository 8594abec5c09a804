/*
 * switch.S: from one stack to another, the first entry into a goroutine, and reading one's own registers.
 *
 * A switched-away stack looks so, lowest address first (struct switch_frame in frames.h):
 *
 *     MXCSR, x87 control word   8 bytes   <- saved SP
 *     r15 r14 r13 r12 rbx rbp
 *     return address            where arch_switch was called
 *
 * The ABI makes the callee keep rbx, rbp, r12-r15, MXCSR's control bits and the x87 control word; all
 * else is dead across the call.
 */
#include "layout.h"

        .text

/* void arch_switch(void **save /rdi/, void *to /rsi/) */
        .globl  arch_switch
        .type   arch_switch, @function
        .p2align 4
arch_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movq    %rsp, (%rdi)
        /* Loading the control words is slow and they are nearly always the same: compare with the saved ones. */
        movl    (%rsp), %eax
        movzwl  4(%rsp), %ecx
        /* From here on this is another stack, which looks the same. */
        movq    %rsi, %rsp
        cmpl    (%rsp), %eax
        je      1f
        ldmxcsr (%rsp)
1:      cmpw    4(%rsp), %cx
        je      2f
        fldcw   4(%rsp)
2:      addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   arch_switch, . - arch_switch

/*
 * Where a new goroutine starts: r12 = function, r13 = its argument, both put there by arch_stack_init.
 * The return address is undefined: every unwinder stops here. It begins behind the nop, which keeps pc - 1 inside.
 */
        .globl  arch_goroutine_start
        .type   arch_goroutine_start, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
arch_goroutine_start:
        nop
        xorl    %ebp, %ebp
        movq    %r13, %rdi
        callq   *%r12
        ud2
        .cfi_endproc
        .size   arch_goroutine_start, . - arch_goroutine_start

/* void arch_capture(struct arch_context * /rdi/): pc and sp as they are once this has returned. */
        .globl  arch_capture
        .type   arch_capture, @function
        .p2align 4
arch_capture:
        .cfi_startproc
        movq    (%rsp), %rax
        movq    %rax, CONTEXT_PC(%rdi)
        leaq    8(%rsp), %rax
        movq    %rax, CONTEXT_SP(%rdi)
        movq    %rbx, CONTEXT_SAVED + 0(%rdi)
        movq    %rbp, CONTEXT_SAVED + 8(%rdi)
        movq    %r12, CONTEXT_SAVED + 16(%rdi)
        movq    %r13, CONTEXT_SAVED + 24(%rdi)
        movq    %r14, CONTEXT_SAVED + 32(%rdi)
        movq    %r15, CONTEXT_SAVED + 40(%rdi)
        ret
        .cfi_endproc
        .size   arch_capture, . - arch_capture

/* The six words at r11, to where the kernel wants them. */
        .macro  LOAD_SYSCALL_ARGS
        movq    0(%r11), %rdi
        movq    8(%r11), %rsi
        movq    16(%r11), %rdx
        movq    24(%r11), %r10
        movq    32(%r11), %r8
        movq    40(%r11), %r9
        .endm

/* long arch_syscall(long nr /rdi/, const long args[6] /rsi/) */
        .globl  arch_syscall
        .type   arch_syscall, @function
        .p2align 4
arch_syscall:
        .cfi_startproc
        movq    %rdi, %rax
        movq    %rsi, %r11
        LOAD_SYSCALL_ARGS
        syscall
        ret
        .cfi_endproc
        .size   arch_syscall, . - arch_syscall

/*
 * long arch_cancellable_syscall(const uint32_t *cancel /rdi/, long nr /rsi/, const long args[6] /rdx/)
 * A signal that finds the thread between _begin and _end before the kernel took effect may send it to
 * _cancelled (arch_signal_cancel_syscall); the kernel rewinds pc to the syscall instruction to restart.
 */
        .globl  arch_cancellable_syscall
        .globl  arch_syscall_begin
        .globl  arch_syscall_end
        .globl  arch_syscall_cancelled
        .type   arch_cancellable_syscall, @function
        .p2align 4
arch_cancellable_syscall:
        .cfi_startproc
        movq    %rsi, %rax
        movq    %rdi, %rcx
        movq    %rdx, %r11
        LOAD_SYSCALL_ARGS
arch_syscall_begin:
        cmpl    $0, (%rcx)
        jne     arch_syscall_cancelled
        syscall
arch_syscall_end:
        ret
arch_syscall_cancelled:
        movq    $MINUS_ECANCELED, %rax
        ret
        .cfi_endproc
        .size   arch_cancellable_syscall, . - arch_cancellable_syscall

        .section .note.GNU-stack, "", @progbits
