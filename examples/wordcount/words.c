/* words.c: see words.h. The table is at most two thirds full. */
#include "words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 256

/* FNV-1a. */
static uint32_t hash_of(const char *text, size_t length)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * 16777619u;
    return hash;
}

/* The slot of the word, or the free one where it belongs. The table has a free slot. */
static struct word **find(const struct words *words, const char *text, size_t length, uint32_t hash)
{
    for (size_t i = hash;; i++) {
        struct word **slot = &words->slot[i & (words->capacity - 1)];
        struct word *word = *slot;
        if (!word || (word->hash == hash && strncmp(word->text, text, length) == 0 &&
                      word->text[length] == 0))
            return slot;
    }
}

static int grow(struct words *words)
{
    struct words larger = *words;
    larger.capacity = words->capacity ? 2 * words->capacity : CAPACITY_FIRST;
    larger.slot = calloc(larger.capacity, sizeof(*larger.slot));
    if (!larger.slot)
        return -ENOMEM;
    for (size_t i = 0; i < words->capacity; i++) {
        struct word *word = words->slot[i];
        if (word)
            *find(&larger, word->text, strlen(word->text), word->hash) = word;
    }
    free(words->slot);
    *words = larger;
    return 0;
}

int words_add(struct words *words, const char *text, size_t length, uint64_t count)
{
    if (3 * words->distinct >= 2 * words->capacity) {
        int result = grow(words);
        if (result != 0)
            return result;
    }
    uint32_t hash = hash_of(text, length);
    struct word **slot = find(words, text, length, hash);
    if (!*slot) {
        struct word *word = malloc(sizeof(*word) + length + 1);
        if (!word)
            return -ENOMEM;
        word->count = 0;
        word->hash = hash;
        memcpy(word->text, text, length);
        word->text[length] = 0;
        *slot = word;
        words->distinct++;
    }
    (*slot)->count += count;
    words->total += count;
    return 0;
}

int words_merge(struct words *words, const struct words *from)
{
    for (size_t i = 0; i < from->capacity; i++) {
        const struct word *word = from->slot[i];
        int result = word ? words_add(words, word->text, strlen(word->text), word->count) : 0;
        if (result != 0)
            return result;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct word *x = *(const struct word *const *)a, *y = *(const struct word *const *)b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->text, y->text);
}

size_t words_top(const struct words *words, const struct word **top, size_t max)
{
    const struct word **all = calloc(words->distinct + 1, sizeof(*all));
    size_t count = 0;
    if (!all)
        return 0;
    for (size_t i = 0; i < words->capacity; i++)
        if (words->slot[i])
            all[count++] = words->slot[i];
    qsort(all, count, sizeof(*all), compare);
    if (count > max)
        count = max;
    memcpy(top, all, count * sizeof(*top));
    free(all);
    return count;
}

void words_free(struct words *words)
{
    for (size_t i = 0; i < words->capacity; i++)
        free(words->slot[i]);
    free(words->slot);
    *words = (struct words){0};
}
