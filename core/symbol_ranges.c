/*
 * symbol_ranges.c: nested address ranges in one sorted array; see symbol_ranges.h for why.
 *
 * Invariants I1 (order) and I2 (reach) of the header are established by gri_ranges_sort and hold
 * from then on. The search is a binary search for the last range that begins at or below the
 * address and a walk down from there that ends where nothing before reaches the address any more.
 *
 * Locks: none of its own.
 */
#include "symbol_ranges.h"

#include <errno.h>
#include <stdlib.h>

int gri_ranges_add(struct gri_ranges *ranges, const struct gri_range *range)
{
    if (range->lo >= range->hi)
        return 0;
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity ? ranges->capacity * 2 : 64;
        struct gri_range *item = reallocarray(ranges->item, capacity, sizeof *item);
        if (!item)
            return -ENOMEM;
        ranges->item = item;
        ranges->capacity = capacity;
    }
    ranges->item[ranges->count++] = *range;
    return 0;
}

/* I1. */
static int range_order(const void *a, const void *b)
{
    const struct gri_range *x = a, *y = b;
    if (x->lo != y->lo)
        return x->lo < y->lo ? -1 : 1;
    if (x->hi != y->hi)
        return x->hi > y->hi ? -1 : 1;
    return (x->depth > y->depth) - (x->depth < y->depth);
}

void gri_ranges_sort(struct gri_ranges *ranges)
{
    if (ranges->count == 0)
        return;
    qsort(ranges->item, ranges->count, sizeof *ranges->item, range_order);
    uint64_t reach = 0;
    for (size_t i = 0; i < ranges->count; i++) {
        if (ranges->item[i].hi > reach)
            reach = ranges->item[i].hi;
        ranges->item[i].reach = reach;
    }
    /* The list only grows while it is filled: what doubling took too much goes back. */
    struct gri_range *item = reallocarray(ranges->item, ranges->count, sizeof *item);
    if (item) {
        ranges->item = item;
        ranges->capacity = ranges->count;
    }
}

/* How many ranges begin at or below `at`. */
static size_t ranges_begun(const struct gri_ranges *ranges, uint64_t at)
{
    size_t lo = 0, hi = ranges->count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (ranges->item[middle].lo <= at)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

const struct gri_range *gri_ranges_covering(const struct gri_ranges *ranges, uint64_t at,
                                            const struct gri_range *after)
{
    size_t i = after ? (size_t)(after - ranges->item) : ranges_begun(ranges, at);
    /* Bounded by I2: once nothing before reaches `at`, nothing before covers it. */
    while (i > 0 && ranges->item[i - 1].reach > at) {
        i--;
        if (ranges->item[i].hi > at)
            return &ranges->item[i];
    }
    return NULL;
}

size_t gri_ranges_bytes(const struct gri_ranges *ranges)
{
    return ranges->capacity * sizeof *ranges->item;
}

void gri_ranges_fini(struct gri_ranges *ranges)
{
    free(ranges->item);
    *ranges = (struct gri_ranges){0};
}
