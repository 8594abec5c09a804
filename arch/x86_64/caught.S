/*
 * caught.S: a goroutine is caught, at a function's entry check, in an import stub, or by a signal that
 * rewrote its pc; everything it has in registers goes on its own stack, and C decides.
 *
 * All three leave the same picture, lowest address first (struct arch_frame in frames.h):
 *
 *     vector area      arch_vector_bytes, aligned to 64       <- SP while C runs
 *     …
 *     r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rdx rcx rbx rax
 *     rflags
 *     rbp              <- rbp points here meanwhile
 *     pc               pushed by the call (check, stub) or by the signal handler (async)
 *
 * For an asynchronous stop the 128 bytes above pc are the red zone of the interrupted code, which the
 * handler stepped over; `ret $128` steps back. pushq and movq change no flags, so rflags is saved as
 * it was. The direction flag, MXCSR and the x87 state are set to what C expects and restored after.
 */
#include "layout.h"

        .text

/* Saves everything; on exit rdi = frame, rsi = vector area, rbp set. Clobbers what it has saved. */
        .macro  SAVE_ALL cfa
        pushq   %rbp
        .cfi_def_cfa_offset \cfa + 8
        .cfi_offset %rbp, -(\cfa + 8)
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        pushfq
        pushq   %rax
        .cfi_offset %rax, -(\cfa + 24)
        pushq   %rbx
        .cfi_offset %rbx, -(\cfa + 32)
        pushq   %rcx
        .cfi_offset %rcx, -(\cfa + 40)
        pushq   %rdx
        .cfi_offset %rdx, -(\cfa + 48)
        pushq   %rsi
        .cfi_offset %rsi, -(\cfa + 56)
        pushq   %rdi
        .cfi_offset %rdi, -(\cfa + 64)
        pushq   %r8
        .cfi_offset %r8, -(\cfa + 72)
        pushq   %r9
        .cfi_offset %r9, -(\cfa + 80)
        pushq   %r10
        .cfi_offset %r10, -(\cfa + 88)
        pushq   %r11
        .cfi_offset %r11, -(\cfa + 96)
        pushq   %r12
        .cfi_offset %r12, -(\cfa + 104)
        pushq   %r13
        .cfi_offset %r13, -(\cfa + 112)
        pushq   %r14
        .cfi_offset %r14, -(\cfa + 120)
        pushq   %r15
        .cfi_offset %r15, -(\cfa + 128)
        movq    %rsp, %rdi
        cld
        /* Room for the vectors, aligned as XSAVE wants it. */
        movl    arch_vector_bytes(%rip), %ecx
        subq    %rcx, %rsp
        andq    $-64, %rsp
        cmpl    $SAVE_XSAVE, arch_vector_how(%rip)
        jb      81f
        /* XRSTOR faults on garbage in the header's reserved bytes. */
        xorl    %eax, %eax
        movq    %rax, 512(%rsp)
        movq    %rax, 520(%rsp)
        movq    %rax, 528(%rsp)
        movq    %rax, 536(%rsp)
        movq    %rax, 544(%rsp)
        movq    %rax, 552(%rsp)
        movq    %rax, 560(%rsp)
        movq    %rax, 568(%rsp)
        movl    arch_vector_mask(%rip), %eax
        xorl    %edx, %edx
        cmpl    $SAVE_XSAVEC, arch_vector_how(%rip)
        jne     80f
        xsavec64 (%rsp)
        jmp     82f
80:     xsave64 (%rsp)
        jmp     82f
81:     fxsave64 (%rsp)
82:     movq    %rsp, %rsi
        /* FP control as the ABI promises it to C. */
        pushq   $0x1f80
        ldmxcsr (%rsp)
        leaq    8(%rsp), %rsp
        fninit
        .endm

        .macro  RESTORE_ALL cfa
        cmpl    $SAVE_XSAVE, arch_vector_how(%rip)
        jb      83f
        movl    arch_vector_mask(%rip), %eax
        xorl    %edx, %edx
        xrstor64 (%rsp)
        jmp     84f
83:     fxrstor64 (%rsp)
84:     leaq    -120(%rbp), %rsp
        popq    %r15
        .cfi_restore %r15
        popq    %r14
        .cfi_restore %r14
        popq    %r13
        .cfi_restore %r13
        popq    %r12
        .cfi_restore %r12
        popq    %r11
        .cfi_restore %r11
        popq    %r10
        .cfi_restore %r10
        popq    %r9
        .cfi_restore %r9
        popq    %r8
        .cfi_restore %r8
        popq    %rdi
        .cfi_restore %rdi
        popq    %rsi
        .cfi_restore %rsi
        popq    %rdx
        .cfi_restore %rdx
        popq    %rcx
        .cfi_restore %rcx
        popq    %rbx
        .cfi_restore %rbx
        popq    %rax
        .cfi_restore %rax
        popfq
        popq    %rbp
        .cfi_def_cfa %rsp, \cfa
        .cfi_restore %rbp
        .endm

/*
 * The injected call. (%rsp) = interrupted pc; the red zone lies above it, then the interrupted SP: the CFA.
 * .cfi_signal_frame: the caller's pc is exact, not a return address.
 */
        .globl  arch_async_preempt
        .type   arch_async_preempt, @function
        .p2align 4
arch_async_preempt:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_def_cfa %rsp, 8 + RED_ZONE
        .cfi_offset %rip, -(8 + RED_ZONE)
        SAVE_ALL 8 + RED_ZONE
        callq   arch_on_async
        RESTORE_ALL 8 + RED_ZONE
        ret     $RED_ZONE
        .cfi_endproc
        .size   arch_async_preempt, . - arch_async_preempt

/*
 * The slow path of an entry check, reached by `call __gr_slow; jmp *GOT` at the very start of a function:
 * (%rsp) = pc in the function after its check. All argument registers survive, vectors included.
 */
        .globl  arch_entry_slow
        .type   arch_entry_slow, @function
        .p2align 4
arch_entry_slow:
        .cfi_startproc
        SAVE_ALL 8
        xorl    %edx, %edx
        callq   arch_on_check
        RESTORE_ALL 8
        ret
        .cfi_endproc
        .size   arch_entry_slow, . - arch_entry_slow

/* The same for an import stub; (%rsp) = pc in the stub. The C code behind needs STUB_HEADROOM of stack. */
        .globl  arch_stub_slow
        .hidden arch_stub_slow
        .type   arch_stub_slow, @function
        .p2align 4
arch_stub_slow:
        .cfi_startproc
        SAVE_ALL 8
        movl    $STUB_HEADROOM, %edx
        callq   arch_on_check
        RESTORE_ALL 8
        ret
        .cfi_endproc
        .size   arch_stub_slow, . - arch_stub_slow

        .section .note.GNU-stack, "", @progbits
