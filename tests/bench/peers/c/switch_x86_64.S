/*
 * switch_x86_64.S: for switch.c. peer_switch(rdi: where to save SP, rsi: SP to go on from); the stack of who
 * does not run holds, from SP up: r15 r14 r13 r12 rbx rbp, return address.
 */
    .text
    .globl peer_switch
    .type peer_switch, @function
peer_switch:
    endbr64
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size peer_switch, . - peer_switch

/* peer_switch_stack(rdi: highest address, rsi: entry): the same picture for a stack that never ran. */
    .globl peer_switch_stack
    .type peer_switch_stack, @function
peer_switch_stack:
    endbr64
    leaq -64(%rdi), %rax
    movq $0, 56(%rax)       /* where a caller's return address would be: entry never returns */
    movq %rsi, 48(%rax)
    ret
    .size peer_switch_stack, . - peer_switch_stack
    .section .note.GNU-stack, "", @progbits
