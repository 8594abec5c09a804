/*
 * symbol_strings.c: an open-addressing set of strings, whose bytes lie in chunks that are never
 * freed.
 *
 * Linear probing at a load of at most one half: names are looked up once for each new address (the
 * result cache of symbol_cache.c answers the rest), so that nothing cleverer pays. Rejected: one
 * malloc a name, which costs 16 to 32 bytes more for names that are mostly shorter than that.
 *
 * Invariants
 *   I1, I2  symbol_strings.h.
 *   I3      The table is at most half full, so that probing ends.
 *
 * Locks: none of its own.
 */
#include "symbol_strings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 65536
#define TABLE_FIRST 1024

static struct {
    const char **slot;
    size_t slots, count;
    char *chunk;
    size_t chunk_left;
    size_t bytes;
} strings;

/* FNV-1a: short strings, no adversary. */
static uint64_t string_hash(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

/* The slot that holds `text`, or the free one where it belongs. Ends by I3. */
static const char **string_slot(const char **slot, size_t slots, const char *text)
{
    size_t i = string_hash(text) & (slots - 1);
    while (slot[i] && strcmp(slot[i], text) != 0)
        i = (i + 1) & (slots - 1);
    return &slot[i];
}

/* Keeps I3 for one more string. */
static int strings_make_room(void)
{
    if (strings.count * 2 < strings.slots)
        return 0;
    size_t slots = strings.slots ? strings.slots * 2 : TABLE_FIRST;
    const char **slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -1;
    for (size_t i = 0; i < strings.slots; i++)
        if (strings.slot[i])
            *string_slot(slot, slots, strings.slot[i]) = strings.slot[i];
    strings.bytes += (slots - strings.slots) * sizeof *slot;
    free(strings.slot);
    strings.slot = slot;
    strings.slots = slots;
    return 0;
}

/* Room for a copy; long strings get an allocation of their own, so that no chunk is wasted on them.
 */
static char *strings_allocate(size_t bytes)
{
    if (bytes > CHUNK_BYTES / 8) {
        char *own = malloc(bytes);
        strings.bytes += own ? bytes : 0;
        return own;
    }
    if (strings.chunk_left < bytes) {
        char *chunk = malloc(CHUNK_BYTES);
        if (!chunk)
            return NULL;
        strings.bytes += CHUNK_BYTES;
        strings.chunk = chunk;
        strings.chunk_left = CHUNK_BYTES;
    }
    char *at = strings.chunk;
    strings.chunk += bytes;
    strings.chunk_left -= bytes;
    return at;
}

const char *gri_intern(const char *text)
{
    if (!text || strings_make_room() != 0)
        return NULL;
    const char **slot = string_slot(strings.slot, strings.slots, text);
    if (*slot)
        return *slot;
    size_t bytes = strlen(text) + 1;
    char *copy = strings_allocate(bytes);
    if (!copy)
        return NULL;
    memcpy(copy, text, bytes);
    *slot = copy;
    strings.count++;
    return copy;
}

size_t gri_intern_bytes(void)
{
    return strings.bytes;
}
