/* XXH3 with AVX512: compiled with the flag for it, called only where the processor has it. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

uint64_t hash_avx512(const void *bytes, size_t count)
{
    return XXH3_64bits(bytes, count);
}
