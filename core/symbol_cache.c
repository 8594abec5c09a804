/*
 * symbol_cache.c: an open-addressing table from addresses to names; see symbol_cache.h.
 *
 * An entry is one allocation of just its names and rules: most have one name. Entries are removed only
 * all at once, so that probing needs no tombstones.
 *
 * Invariants
 *   I1, I2  symbol_cache.h.
 *   I3      At most half of the slots are taken, so that probing ends.
 *
 * Locks: none of its own.
 */
#include "symbol_cache.h"

#include <stdlib.h>
#include <string.h>

#define SYMBOL_CACHE_MAX   65536
#define SYMBOL_CACHE_SLOTS ((size_t)SYMBOL_CACHE_MAX * 2)

static struct {
    struct gri_named **slot;
    size_t count, bytes;
} cache;

/* The rules lie behind the names. */
static size_t rules_offset(const struct gri_named *named)
{
    return sizeof *named + named->count * sizeof named->name[0];
}

static size_t named_bytes(const struct gri_named *named)
{
    return rules_offset(named) + gri_rules_bytes(named->rules);
}

/* The slot of pc, or the free one where it belongs. Ends by I3. */
static struct gri_named **cache_slot(uint64_t pc)
{
    size_t i = (pc * 0x9e3779b97f4a7c15u) >> 32 & (SYMBOL_CACHE_SLOTS - 1);
    while (cache.slot[i] && cache.slot[i]->pc != pc)
        i = (i + 1) & (SYMBOL_CACHE_SLOTS - 1);
    return &cache.slot[i];
}

const struct gri_named *gri_symbol_cache_get(uint64_t pc)
{
    return cache.slot ? *cache_slot(pc) : NULL;
}

const struct gri_named *gri_symbol_cache_put(const struct gri_named *named)
{
    if (cache.count == SYMBOL_CACHE_MAX)
        gri_symbol_cache_clear();
    if (!cache.slot) {
        cache.slot = calloc(SYMBOL_CACHE_SLOTS, sizeof(struct gri_named *));
        if (!cache.slot)
            return NULL;
    }
    struct gri_named *copy = malloc(named_bytes(named));
    if (!copy)
        return NULL;
    memcpy(copy, named, rules_offset(named));
    copy->rules = (struct gri_rules *)(void *)((char *)copy + rules_offset(named));
    memcpy(copy->rules, named->rules, gri_rules_bytes(named->rules));
    struct gri_named **slot = cache_slot(named->pc);
    if (*slot) {
        cache.bytes -= named_bytes(*slot);
        cache.count--;
        free(*slot);
    }
    *slot = copy;
    cache.count++;
    cache.bytes += named_bytes(copy);
    return copy;
}

void gri_symbol_cache_clear(void)
{
    for (size_t i = 0; cache.slot && i < SYMBOL_CACHE_SLOTS; i++)
        free(cache.slot[i]);
    free(cache.slot);
    cache.slot = NULL;
    cache.count = cache.bytes = 0;
}

size_t gri_symbol_cache_bytes(void)
{
    return cache.bytes + (cache.slot ? SYMBOL_CACHE_SLOTS * sizeof(struct gri_named *) : 0);
}
