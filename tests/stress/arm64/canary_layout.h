/*
 * canary_layout.h: where canary.S finds what in struct canary_state. canary_state.h asserts it.
 */
#ifndef GRASP_TESTS_CANARY_LAYOUT_H
#define GRASP_TESTS_CANARY_LAYOUT_H

#define CANARY_NZCV 248
#define CANARY_FPCR 256
#define CANARY_FPSR 264
#define CANARY_Q    288
#define CANARY_Z    800
#define CANARY_P    8992
#define CANARY_FFR  9504

#endif
