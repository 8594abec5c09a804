/* Architectures for which there is one way only. */
#include "hash.h"

const struct hash_way *hash_ways(void)
{
    static const struct hash_way all[] = {{"plain", hash_plain}, {NULL, NULL}};
    return all;
}
