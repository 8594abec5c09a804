/*
 * labels.c: immutable, reference-counted sets of labels, shared by a goroutine and the children it bears.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

struct gri_labels {
    _Atomic(uint32_t) references;
    uint32_t count;
    struct {
        char key[GR_LABEL_KEY_MAX + 1];
        char *value;
    } pair[];
};

struct gri_labels *gri_labels_ref(struct gri_labels *labels)
{
    if (labels)
        atomic_fetch_add_explicit(&labels->references, 1, memory_order_relaxed);
    return labels;
}

void gri_labels_unref(struct gri_labels *labels)
{
    /* acq_rel; pairs with the other holders' decrements: their reads are over. */
    if (!labels || atomic_fetch_sub_explicit(&labels->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < labels->count; i++)
        free(labels->pair[i].value);
    free(labels);
}

static bool key_valid(const char *key)
{
    size_t n = strnlen(key, GR_LABEL_KEY_MAX + 1);

    return n >= 1 && n <= GR_LABEL_KEY_MAX &&
           strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == n;
}

static int put(struct gri_labels *labels, const char *key, const char *value)
{
    uint32_t i = 0;
    char *copy;

    if (!key_valid(key) || strnlen(value, GR_LABEL_VALUE_MAX + 1) > GR_LABEL_VALUE_MAX)
        return -EINVAL;
    while (i < labels->count && strcmp(labels->pair[i].key, key) != 0)
        i++;
    if (i == GR_LABELS_MAX)
        return -ENOSPC;
    copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    if (i == labels->count) {
        strcpy(labels->pair[i].key, key);
        labels->count++;
    } else {
        free(labels->pair[i].value);
    }
    labels->pair[i].value = copy;
    return 0;
}

/* A copy with room for all, without `except` (NULL: with all). NULL: no memory. */
static struct gri_labels *copy_of(const struct gri_labels *base, const char *except)
{
    struct gri_labels *labels = calloc(1, sizeof *labels + GR_LABELS_MAX * sizeof labels->pair[0]);

    if (!labels)
        return NULL;
    atomic_init(&labels->references, 1);
    for (uint32_t i = 0; base && i < base->count; i++) {
        if (except && strcmp(base->pair[i].key, except) == 0)
            continue;
        if (put(labels, base->pair[i].key, base->pair[i].value) != 0) {
            gri_labels_unref(labels);
            return NULL;
        }
    }
    return labels;
}

int gri_labels_make(struct gri_labels **out, struct gri_labels *base, const char *const *pairs)
{
    struct gri_labels *labels;
    int error = 0;

    if (!pairs || !pairs[0]) {
        *out = gri_labels_ref(base);
        return 0;
    }
    labels = copy_of(base, NULL);
    if (!labels)
        return -ENOMEM;
    for (size_t i = 0; pairs[i] && !error; i += 2)
        error = pairs[i + 1] ? put(labels, pairs[i], pairs[i + 1]) : -EINVAL;
    if (error) {
        gri_labels_unref(labels);
        return error;
    }
    *out = labels;
    return 0;
}

int gri_labels_without(struct gri_labels **out, struct gri_labels *base, const char *key)
{
    *out = copy_of(base, key);
    return *out ? 0 : -ENOMEM;
}

void gri_labels_copy(const struct gri_labels *labels, struct gr_info *info)
{
    info->label_count = labels ? labels->count : 0;
    for (size_t i = 0; i < info->label_count; i++) {
        strcpy(info->label[i].key, labels->pair[i].key);
        strcpy(info->label[i].value, labels->pair[i].value);
    }
}
