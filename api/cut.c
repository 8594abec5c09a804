/*
 * cut.c: see cut.h.
 *
 * How much of a stack is used is only known when it was copied, so each goes through a scratch copy, which grows to
 * the largest stack that it meets.
 */
#include "cut.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suspensions.h"

/* Room for the whole of a stack that was cut off. */
static bool grow(struct gr_copy *scratch)
{
    size_t wanted = scratch->stack_hi - scratch->copied_lo;
    uint8_t *stack = realloc(scratch->stack, wanted);
    if (!stack)
        return false;
    scratch->stack = stack;
    scratch->stack_capacity = wanted;
    return true;
}

/* A copy that is just large enough, in one allocation. */
static struct gr_copy *compact(const struct gr_copy *scratch)
{
    struct gr_copy *copy = malloc(sizeof *copy + scratch->copied_bytes);
    if (!copy)
        return NULL;
    *copy = *scratch;
    copy->stack = (uint8_t *)(copy + 1);
    copy->stack_capacity = scratch->copied_bytes;
    copy->vectors = NULL;
    copy->vector_capacity = copy->vector_bytes = 0;
    memcpy(copy->stack, scratch->stack, scratch->copied_bytes);
    return copy;
}

static int take_one(struct api_cut *cut, const struct gr_hold *hold, struct gr_copy *scratch)
{
    int err = gr_copy_held(hold, scratch);
    if (err == 0 && scratch->truncated && grow(scratch))
        err = gr_copy_held(hold, scratch);
    if (err)
        return err;
    if (scratch->copied_bytes > API_CUT_BYTES_MAX - cut->bytes)
        return -E2BIG;
    struct gr_copy *copy = compact(scratch);
    if (!copy)
        return -ENOMEM;
    cut->copy[cut->count++] = copy;
    cut->bytes += scratch->copied_bytes;
    return 0;
}

int api_cut_take(struct api_cut *cut, const struct api_suspension *suspension)
{
    struct gr_copy scratch = {.stack_capacity = gr_copy_stack_bytes_max()};
    int err = 0;
    *cut = (struct api_cut){.copy = calloc(suspension->count + 1, sizeof *cut->copy)};
    scratch.stack = malloc(scratch.stack_capacity);
    if (!cut->copy || !scratch.stack)
        err = -ENOMEM;
    for (const struct api_member *m = suspension->members; m && !err; m = m->sibling)
        err = take_one(cut, &m->hold, &scratch);
    free(scratch.stack);
    if (err)
        api_cut_free(cut);
    return err;
}

void api_cut_free(struct api_cut *cut)
{
    for (size_t i = 0; i < cut->count; i++)
        free(cut->copy[i]);
    free(cut->copy);
    *cut = (struct api_cut){0};
}
