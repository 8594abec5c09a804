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

/* A new block for `bytes` or more. */
static int add_block(struct api_cut *cut, size_t bytes)
{
    struct api *api = cut->api;
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    size_t most = api->config.cuts_bytes_max ? api->config.cuts_bytes_max : API_CUTS_BYTES_MAX;
    size_t before = atomic_fetch_add_explicit(&api->cut_bytes, size, memory_order_relaxed);
    struct api_cut_block *block = before + size <= most ? malloc(sizeof *block + size) : NULL;
    if (!block) {
        atomic_fetch_sub_explicit(&api->cut_bytes, size, memory_order_relaxed);
        return before + size <= most ? -ENOMEM : -EDQUOT;
    }
    *block = (struct api_cut_block){.next = cut->blocks, .size = size};
    cut->blocks = block;
    return 0;
}

/* Room in the newest block, or in a new one; never freed by itself. */
static int place(struct api_cut *cut, size_t bytes, void *out)
{
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    bool fits = cut->blocks && cut->blocks->size - cut->blocks->used >= bytes;
    int err = fits ? 0 : add_block(cut, bytes);
    if (err)
        return err;
    *(void **)out = cut->blocks->bytes + cut->blocks->used;
    cut->blocks->used += bytes;
    return 0;
}

/* A copy that is just large enough. */
static int compact(struct api_cut *cut, const struct gr_copy *scratch)
{
    struct gr_copy *copy;
    int err = place(cut, sizeof *copy + scratch->copied_bytes + scratch->vector_bytes, &copy);
    if (err)
        return err;
    *copy = *scratch;
    copy->stack = (uint8_t *)(copy + 1);
    copy->stack_capacity = scratch->copied_bytes;
    copy->vectors = copy->stack + scratch->copied_bytes;
    copy->vector_capacity = scratch->vector_bytes;
    memcpy(copy->stack, scratch->stack, scratch->copied_bytes);
    memcpy(copy->vectors, scratch->vectors, scratch->vector_bytes);
    cut->copy[cut->count++] = copy;
    return 0;
}

static size_t cut_bytes_max(const struct api *api)
{
    return api->config.cut_bytes_max ? api->config.cut_bytes_max : API_CUT_BYTES_MAX;
}

static int take_one(struct api_cut *cut, const struct gr_hold *hold, struct gr_copy *scratch)
{
    int err = gr_copy_held(hold, scratch);
    if (err == 0 && scratch->truncated && grow(scratch))
        err = gr_copy_held(hold, scratch);
    if (err)
        return err;
    size_t bytes = scratch->copied_bytes + scratch->vector_bytes;
    if (bytes > cut_bytes_max(cut->api) - cut->bytes)
        return -E2BIG;
    cut->bytes += bytes;
    return compact(cut, scratch);
}

int api_cut_take(struct api_cut *cut, const struct api_suspension *suspension)
{
    struct gr_copy scratch = {.stack_capacity = gr_copy_stack_bytes_max(),
                              .vector_capacity = gr_copy_vector_bytes_max()};
    int err = 0;
    *cut = (struct api_cut){.api = suspension->api,
                            .copy = calloc(suspension->count + 1, sizeof *cut->copy)};
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
        atomic_fetch_sub_explicit(&cut->api->cut_bytes, block->size, memory_order_relaxed);
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
                    cut_bytes_max(call->api) >> 20);
    else if (err == -EDQUOT)
        api_problem(call, 503, API_CODE_OUT_OF_RESOURCES,
                    "copies of stacks that wait to be read by others, or to be saved, take all the "
                    "room that there is for them; try again later");
    else if (err)
        api_problem_no_memory(call);
    return err != 0;
}

/* ---- A call that takes one ------------------------------------------------------------------- */

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
    if (group)
        group->ctx = cutting;
    else
        api_call_done(call);
}

void api_cut_start(struct api_call *call, struct api_cutting *cutting)
{
    cutting->call = call;
    call->state = cutting;
    api_call_admit(call, &call->api->cuts, begin);
}
