/* The vector loop in AVX2: compiled with -mavx2, called only where the processor has it. */
#define HOG_SIMD hog_simd_avx2
#include "simd.h"

bool hog_has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
