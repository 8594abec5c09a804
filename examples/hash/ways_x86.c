/* Which ways x86-64 processors have. */
#include "hash.h"

const struct hash_way *hash_ways(void)
{
    static const struct hash_way all[] = {
        {"avx512", hash_avx512}, {"avx2", hash_avx2}, {"plain", hash_plain}, {NULL, NULL}};
    if (__builtin_cpu_supports("avx512f"))
        return all;
    return __builtin_cpu_supports("avx2") ? all + 1 : all + 2;
}
