/*
 * words.h: a table from words to counts.
 *
 * Open addressing over pointers to words that are allocated one by one. One goroutine at a time
 * uses a table: no locks.
 */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>
#include <stdint.h>

#define WORD_BYTES_MAX 63 /* letters of a word that count; the rest is cut */

struct word {
    uint64_t count;
    uint32_t hash;
    char text[];
};

struct words {
    struct word **slot;
    size_t capacity; /* 0 or a power of two */
    size_t distinct;
    uint64_t total;
};

/* Adds `count` to the word of `length` bytes. 0 or -ENOMEM. */
int words_add(struct words *words, const char *text, size_t length, uint64_t count);
/* Adds all that `from` has. 0 or -ENOMEM. */
int words_merge(struct words *words, const struct words *from);
/* The `max` most frequent words, most frequent first, equal ones by alphabet; returns how many. */
size_t words_top(const struct words *words, const struct word **top, size_t max);
void words_free(struct words *words);

#endif
