/*
 * canary_state.h: everything that a user program of x86-64 can have in registers and below its
 * stack pointer, as canary.S takes it from memory and puts it back.
 */
#ifndef GRASP_TESTS_CANARY_STATE_H
#define GRASP_TESTS_CANARY_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "canary_layout.h"

struct canary_state {
    uint64_t gpr[16]; /* rsp is not taken */
    uint64_t flags;
    uint64_t unused[7];
    uint64_t mask[8];      /* k0-k7 */
    uint64_t red_zone[16]; /* the 128 bytes below rsp, highest first */
    uint64_t unused_too[16];
    uint8_t fx[512]; /* FXSAVE: x87 stack and control, MXCSR, xmm0-15 */
    uint8_t vector[32][64];
} __attribute__((aligned(64)));

_Static_assert(offsetof(struct canary_state, flags) == CANARY_FLAGS, "canary.S");
_Static_assert(offsetof(struct canary_state, mask) == CANARY_MASK, "canary.S");
_Static_assert(offsetof(struct canary_state, red_zone) == CANARY_RED_ZONE, "canary.S");
_Static_assert(offsetof(struct canary_state, fx) == CANARY_FX, "canary.S");
_Static_assert(offsetof(struct canary_state, vector) == CANARY_VECTOR, "canary.S");

/*
 * Loads *in into the registers, counts rcx down to 0 and r15 up without touching anything else, and
 * stores the registers to *out. They differ in how wide they take the vectors: 16, 32 or 64 bytes.
 */
void canary_hold_sse(const struct canary_state *in, struct canary_state *out);
void canary_hold_avx(const struct canary_state *in, struct canary_state *out);
void canary_hold_avx512(const struct canary_state *in, struct canary_state *out);

#endif
