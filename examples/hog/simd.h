/*
 * simd.h: the vector loop of the module hog, included by one source for each instruction set.
 *
 * The same four random sequences are computed twice, side by side in different registers, and must
 * agree. A stop that loses or swaps a vector register shows at the end of the stretch.
 */
#include "hog.h"

typedef uint64_t hog_vector __attribute__((vector_size(32)));

/* Marsaglia's xorshift, on four lanes. */
static inline __attribute__((always_inline)) void step(hog_vector *lanes)
{
    hog_vector x = *lanes;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *lanes = x;
}

bool HOG_SIMD(volatile uint64_t *counter, uint64_t rounds)
{
    hog_vector a = {1, 2, 3, 4}, b = {5, 6, 7, 8};
    hog_vector a_again = a, b_again = b;
    /* The compiler must not know that they are equal, or it computes one pair only. */
    __asm__("" : "+m"(a_again), "+m"(b_again));
    for (uint64_t i = 0; i < rounds; i++) {
        step(&a);
        step(&b);
        step(&a_again);
        step(&b_again);
        hog_count(counter);
    }
    uint64_t difference = 0;
    for (unsigned lane = 0; lane < 4; lane++)
        difference |= (a[lane] ^ a_again[lane]) | (b[lane] ^ b_again[lane]);
    return difference == 0;
}
