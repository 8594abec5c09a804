/* hash.h: one XXH3 for each set of vector instructions that the module hash is built for. */
#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t hash_fn(const void *bytes, size_t count);

hash_fn hash_plain, hash_avx2, hash_avx512;

struct hash_way {
    const char *name;
    hash_fn *fn;
};

/* The ways that this processor can go, best first, ended by a NULL name. */
const struct hash_way *hash_ways(void);

#endif
