/*
 * cut.c: see cut.h.
 *
 * How much of a stack is used, and whether vector registers were saved, is only known when it was copied, so each goes
 * through a scratch copy, which grows to the largest stack that it meets.
 */
#include "cut.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "internal.h"

#define BLOCK_BYTES ((size_t)1 << 20)
#define ALIGN       _Alignof(max_align_t)

struct api_cut_block {
    struct api_cut_block *next;
    size_t used, size;
    _Alignas(max_align_t) unsigned char bytes[];
};

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

/* Room in the newest block, or in a new one; never freed by itself. NULL: out of memory. */
static void *place(struct api_cut *cut, size_t bytes)
{
    struct api_cut_block *block = cut->blocks;
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!block || block->size - block->used < bytes) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = malloc(sizeof *block + size);
        if (!block)
            return NULL;
        *block = (struct api_cut_block){.next = cut->blocks, .size = size};
        cut->blocks = block;
    }
    block->used += bytes;
    return block->bytes + block->used - bytes;
}

/* A copy that is just large enough. */
static struct gr_copy *compact(struct api_cut *cut, const struct gr_copy *scratch)
{
    struct gr_copy *copy = place(cut, sizeof *copy + scratch->copied_bytes + scratch->vector_bytes);
    if (!copy)
        return NULL;
    *copy = *scratch;
    copy->stack = (uint8_t *)(copy + 1);
    copy->stack_capacity = scratch->copied_bytes;
    copy->vectors = copy->stack + scratch->copied_bytes;
    copy->vector_capacity = scratch->vector_bytes;
    memcpy(copy->stack, scratch->stack, scratch->copied_bytes);
    memcpy(copy->vectors, scratch->vectors, scratch->vector_bytes);
    return copy;
}

static int take_one(struct api_cut *cut, const struct gr_hold *hold, struct gr_copy *scratch)
{
    int err = gr_copy_held(hold, scratch);
    if (err == 0 && scratch->truncated && grow(scratch))
        err = gr_copy_held(hold, scratch);
    if (err)
        return err;
    size_t bytes = scratch->copied_bytes + scratch->vector_bytes;
    if (bytes > API_CUT_BYTES_MAX - cut->bytes)
        return -E2BIG;
    struct gr_copy *copy = compact(cut, scratch);
    if (!copy)
        return -ENOMEM;
    cut->copy[cut->count++] = copy;
    cut->bytes += bytes;
    return 0;
}

int api_cut_take(struct api_cut *cut, const struct api_suspension *suspension)
{
    struct gr_copy scratch = {.stack_capacity = gr_copy_stack_bytes_max(),
                              .vector_capacity = gr_copy_vector_bytes_max()};
    int err = 0;
    *cut = (struct api_cut){.copy = calloc(suspension->count + 1, sizeof *cut->copy)};
    scratch.stack = malloc(scratch.stack_capacity);
    scratch.vectors = malloc(scratch.vector_capacity + 1);
    if (!cut->copy || !scratch.stack || !scratch.vectors)
        err = -ENOMEM;
    for (const struct api_member *m = suspension->members; m && !err; m = m->sibling)
        err = take_one(cut, &m->hold, &scratch);
    free(scratch.stack);
    free(scratch.vectors);
    if (err)
        api_cut_free(cut);
    return err;
}

void api_cut_free(struct api_cut *cut)
{
    for (struct api_cut_block *block = cut->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(cut->copy);
    *cut = (struct api_cut){0};
}

bool api_cut_problem(struct api_call *call, int err)
{
    if (err == -E2BIG)
        api_problem(call, 413, API_CODE_TOO_LARGE,
                    "the stacks are more than %zu MiB together; choose fewer goroutines",
                    API_CUT_BYTES_MAX >> 20);
    else if (err)
        api_problem_no_memory(call);
    return err != 0;
}

/* ---- A call that takes one
 * ------------------------------------------------------------------------- */

static struct api_cutting *cutting_of(struct api_work *work)
{
    return (struct api_cutting *)((char *)work - offsetof(struct api_cutting, work));
}

/* Loop: everybody was let go. */
static void let_go(struct api_suspension *suspension)
{
    struct api_call *call = suspension->call;
    struct api_cutting *cutting = call->state;
    api_suspension_destroy(suspension);
    cutting->suspension = NULL;
    api_call_leave(call); /* nobody stands still for it any more */
    api_call_pool(call, cutting->reply);
}

/* Pool, while all of them are held. */
static void take(struct api_work *work)
{
    struct api_cutting *cutting = cutting_of(work);
    cutting->err = api_cut_take(&cutting->cut, cutting->suspension);
    if (!cutting->err && cutting->held)
        cutting->held(cutting, cutting->suspension);
}

static void taken(struct api_work *work)
{
    api_suspension_let_go(cutting_of(work)->suspension, let_go);
}

/* Pool. */
static void reply_not_held(struct api_call *call)
{
    struct api_group *group = call->state;
    struct api_cutting *cutting = group->ctx;
    (cutting->not_held ? cutting->not_held : api_group_problem)(call, group);
    api_suspension_destroy(group->suspension);
    api_group_free(group);
    call->state = cutting;
}

static void grouped(struct api_group *group, enum api_group_outcome outcome)
{
    struct api_call *call = group->call;
    struct api_cutting *cutting = group->ctx;
    if (outcome != API_GROUP_HELD) {
        api_call_leave(call); /* nobody stands still for it */
        api_call_pool(call, reply_not_held);
        return;
    }
    cutting->suspension = group->suspension;
    api_group_free(group);
    call->state = cutting;
    cutting->work.run = take;
    cutting->work.done = taken;
    api_work_start(call->api, &cutting->work, API_LANE_AHEAD, call->client);
}

/* Loop: it is this one's turn. */
static void begin(struct api_call *call)
{
    struct api_cutting *cutting = call->state;
    struct api_group *group = api_group_start(call, grouped);
    if (group) {
        group->ctx = cutting;
        return;
    }
    call->state = cutting;
    api_call_done(call);
}

void api_cut_start(struct api_call *call, struct api_cutting *cutting)
{
    cutting->call = call;
    call->state = cutting;
    api_call_admit(call, &call->api->cuts, begin);
}
