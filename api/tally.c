/*
 * tally.c: see tally.h.
 */
#include "tally.h"

#include <stdlib.h>
#include <string.h>

#define ITEMS_FIRST 256

static uint64_t hash_of(const char *text, size_t size)
{
    uint64_t h = 14695981039346656037u;
    /* Eight bytes at a time: stacks are long texts. */
    for (; size >= 8; text += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return h ^ h >> 32;
}

/* The slot that holds the text, or the free one where it belongs. Ends by I1. */
static uint32_t *slot_of(const struct api_tally *tally, const char *text, size_t size,
                         uint64_t hash)
{
    size_t i = hash & (tally->slots - 1);
    for (; tally->slot[i]; i = (i + 1) & (tally->slots - 1)) {
        const struct api_tally_item *item = &tally->item[tally->slot[i] - 1];
        if (item->hash == hash && item->size == size &&
            memcmp(tally->text.data + item->at, text, size) == 0)
            break;
    }
    return &tally->slot[i];
}

/* Keeps I1 for one more. */
static bool make_room(struct api_tally *tally)
{
    if (tally->count < tally->capacity)
        return true;
    size_t capacity = tally->capacity ? tally->capacity * 2 : ITEMS_FIRST;
    uint32_t *slot = calloc(capacity * 2, sizeof *slot);
    struct api_tally_item *item = realloc(tally->item, capacity * sizeof *item);
    if (item)
        tally->item = item;
    if (!slot || !item || capacity > UINT32_MAX / 2) {
        free(slot);
        return false;
    }
    free(tally->slot);
    tally->slot = slot;
    tally->slots = capacity * 2;
    tally->capacity = capacity;
    for (size_t i = 0; i < tally->count; i++) {
        size_t at = item[i].hash & (tally->slots - 1);
        while (slot[at])
            at = (at + 1) & (tally->slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    return true;
}

size_t api_tally_add(struct api_tally *tally, const char *text, size_t size, int64_t value0,
                     int64_t value1)
{
    if (tally->failed || !make_room(tally)) {
        tally->failed = true;
        return 0;
    }
    uint64_t hash = hash_of(text, size);
    uint32_t *slot = slot_of(tally, text, size, hash);
    if (!*slot) {
        tally->item[tally->count] =
            (struct api_tally_item){.at = tally->text.size, .size = size, .hash = hash};
        api_buf_add(&tally->text, text, size);
        api_buf_add(&tally->text, "", 1);
        if (tally->text.failed) {
            tally->failed = true;
            return 0;
        }
        *slot = (uint32_t)++tally->count;
    }
    tally->item[*slot - 1].value[0] += value0;
    tally->item[*slot - 1].value[1] += value1;
    return *slot - 1;
}

const char *api_tally_text(const struct api_tally *tally, size_t number)
{
    return tally->text.data + tally->item[number].at;
}

static int by_value(const void *a, const void *b)
{
    const struct api_tally_item *x = a, *y = b;
    if (x->value[0] != y->value[0])
        return x->value[0] > y->value[0] ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_text(const void *a, const void *b, void *text)
{
    const struct api_tally_item *x = a, *y = b;
    return strcmp((const char *)text + x->at, (const char *)text + y->at);
}

void api_tally_sort_by_value(struct api_tally *tally)
{
    if (tally->count)
        qsort(tally->item, tally->count, sizeof *tally->item, by_value);
}

void api_tally_sort_by_text(struct api_tally *tally)
{
    if (tally->count)
        qsort_r(tally->item, tally->count, sizeof *tally->item, by_text, tally->text.data);
}

void api_tally_free(struct api_tally *tally)
{
    api_buf_free(&tally->text);
    free(tally->item);
    free(tally->slot);
    *tally = (struct api_tally){0};
}
