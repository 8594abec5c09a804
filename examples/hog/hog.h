/* hog.h: what the loops of the module hog share. */
#ifndef HOG_H
#define HOG_H

#include <stdbool.h>
#include <stdint.h>

/* One more on the counter, which another process may be watching. */
static inline void hog_count(volatile uint64_t *counter)
{
    *counter = *counter + 1;
}

/*
 * Runs `rounds` times without a call, on vectors of 32 bytes. False: two computations that must
 * agree do not, so a register was not what it had been. hog_simd_avx2 needs AVX2; hog_has_avx2
 * tells.
 */
bool hog_simd_plain(volatile uint64_t *counter, uint64_t rounds);
bool hog_simd_avx2(volatile uint64_t *counter, uint64_t rounds);
bool hog_has_avx2(void);

#endif
