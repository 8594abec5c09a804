/*
 * canary_state.h: everything that a user program of arm64 can have in registers, as canary.S takes it from
 * memory and puts it back.
 */
#ifndef GRASP_TESTS_CANARY_STATE_H
#define GRASP_TESTS_CANARY_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "canary_layout.h"

#define CANARY_SVE_MAX 256 /* bytes of the longest z register that there may be */

struct canary_state {
    uint64_t x[31];
    uint64_t nzcv, fpcr, fpsr, unused[2];
    uint8_t q[32][16];
    /* With SVE, one behind the other by the processor's length. */
    uint8_t z[32 * CANARY_SVE_MAX];
    uint8_t p[16 * CANARY_SVE_MAX / 8];
    uint8_t ffr[CANARY_SVE_MAX / 8];
} __attribute__((aligned(16)));

_Static_assert(offsetof(struct canary_state, nzcv) == CANARY_NZCV, "canary.S");
_Static_assert(offsetof(struct canary_state, fpcr) == CANARY_FPCR, "canary.S");
_Static_assert(offsetof(struct canary_state, fpsr) == CANARY_FPSR, "canary.S");
_Static_assert(offsetof(struct canary_state, q) == CANARY_Q, "canary.S");
_Static_assert(offsetof(struct canary_state, z) == CANARY_Z, "canary.S");
_Static_assert(offsetof(struct canary_state, p) == CANARY_P, "canary.S");
_Static_assert(offsetof(struct canary_state, ffr) == CANARY_FFR, "canary.S");

/*
 * Loads *in into the registers, counts x0 down to 0 and x1 up, changes and unchanges others meanwhile, and stores the
 * registers to *out. What is changed for good: q0 += q31 in each round, two lanes of 64 bits.
 */
void canary_hold_neon(const struct canary_state *in, struct canary_state *out);
/* The same with z0 to z31, p0 to p15 and FFR, and none of them changed. */
void canary_hold_sve(const struct canary_state *in, struct canary_state *out);
uint64_t canary_sve_length(void);

/* Add 1 so many times, by a load and store exclusive with work between; by one instruction of LSE. */
void canary_add_exclusive(uint64_t *counter, uint64_t times);
void canary_add_lse(uint64_t *counter, uint64_t times);

#endif
