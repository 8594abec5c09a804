/*
 * tally.h: texts with numbers: each different text once, in the order in which they came.
 *
 * Profiles say the same few things very often: names in a string table, stacks that many goroutines share. A
 * tally keeps each text once and adds up what was said of it; its place in the order is its number, as pprof's
 * string table wants it. Texts lie one after the other in one buffer. Running out of memory is remembered
 * (buffer.h): a failed tally gives 0 for everything.
 *
 *   I1  The table is at most half full, so that probing ends.
 */
#ifndef API_TALLY_H
#define API_TALLY_H

#include <stdint.h>

#include "buffer.h"

struct api_tally {
    struct api_buf text;
    struct api_tally_item {
        size_t at, size; /* in text; a 0 byte follows */
        uint64_t hash;
        int64_t value[2];
    } * item;
    size_t count, capacity;
    uint32_t *slot; /* number + 1; 0: free */
    size_t slots;
    bool failed;
};

/* The number of `text`, whose values grow by the given ones. */
size_t api_tally_add(struct api_tally *tally, const char *text, size_t size, int64_t value0,
                     int64_t value1);
const char *api_tally_text(const struct api_tally *tally, size_t number);
/* Greatest first value first; numbers change their meaning. */
void api_tally_sort_by_value(struct api_tally *tally);
void api_tally_sort_by_text(struct api_tally *tally);
void api_tally_free(struct api_tally *tally);

#endif
