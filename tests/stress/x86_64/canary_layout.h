/*
 * canary_layout.h: where canary.S finds what in struct canary_state. canary_state.h asserts it.
 */
#ifndef GRASP_TESTS_CANARY_LAYOUT_H
#define GRASP_TESTS_CANARY_LAYOUT_H

#define CANARY_GPR                                                                                 \
    0 /* in the order of the instruction encoding: rax rcx rdx rbx rsp rbp rsi rdi r8 … */
#define CANARY_FLAGS    128
#define CANARY_MASK     192
#define CANARY_RED_ZONE 256
#define CANARY_FX       512
#define CANARY_VECTOR   1024

#endif
