/* Stands for simd_avx2.c on other architectures: there is only the plain loop. */
#include "hog.h"

bool hog_simd_avx2(volatile uint64_t *counter, uint64_t rounds)
{
    return hog_simd_plain(counter, rounds);
}

bool hog_has_avx2(void)
{
    return false;
}
