/*
 * copies.c: see snapshot.h. The lock guards the stack of free copies and the count, and is held for
 * a few instructions, never while anything is allocated.
 */
#include "snapshot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct api_copies {
    pthread_mutex_t lock;
    size_t free_count, used;
    struct gr_copy *free[API_COPIES_KEPT];
};

static void copy_destroy(struct gr_copy *copy)
{
    free(copy->stack);
    free(copy->vectors);
    free(copy);
}

/* Made and touched: the first touch must not happen while a goroutine stands still. */
static struct gr_copy *copy_create(void)
{
    struct gr_copy *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    copy->stack_capacity = gr_copy_stack_bytes_max();
    copy->vector_capacity = gr_copy_vector_bytes_max();
    copy->stack = malloc(copy->stack_capacity);
    copy->vectors = malloc(copy->vector_capacity ? copy->vector_capacity : 1);
    if (!copy->stack || !copy->vectors) {
        copy_destroy(copy);
        return NULL;
    }
    memset(copy->stack, 0, copy->stack_capacity);
    memset(copy->vectors, 0, copy->vector_capacity);
    return copy;
}

struct api_copies *api_copies_create(void)
{
    struct api_copies *copies = calloc(1, sizeof *copies);
    struct gr_copy *first = copies ? copy_create() : NULL;
    if (!first) {
        free(copies);
        return NULL;
    }
    pthread_mutex_init(&copies->lock, NULL);
    copies->free[copies->free_count++] = first;
    return copies;
}

void api_copies_destroy(struct api_copies *copies)
{
    if (!copies)
        return;
    for (size_t i = 0; i < copies->free_count; i++)
        copy_destroy(copies->free[i]);
    pthread_mutex_destroy(&copies->lock);
    free(copies);
}

struct gr_copy *api_copy_take(struct api_copies *copies)
{
    struct gr_copy *copy = NULL;
    pthread_mutex_lock(&copies->lock);
    bool allowed = copies->used < API_COPIES_MAX;
    copies->used += allowed;
    if (allowed && copies->free_count)
        copy = copies->free[--copies->free_count];
    pthread_mutex_unlock(&copies->lock);
    if (!allowed || copy)
        return copy;
    copy = copy_create();
    if (!copy) {
        pthread_mutex_lock(&copies->lock);
        copies->used--;
        pthread_mutex_unlock(&copies->lock);
    }
    return copy;
}

void api_copy_give(struct api_copies *copies, struct gr_copy *copy)
{
    if (!copy)
        return;
    pthread_mutex_lock(&copies->lock);
    copies->used--;
    bool keep = copies->free_count < API_COPIES_KEPT;
    if (keep)
        copies->free[copies->free_count++] = copy;
    pthread_mutex_unlock(&copies->lock);
    if (!keep)
        copy_destroy(copy);
}
