/*
 * stacks.c: see stacks.h.
 */
#include "stacks.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "selector.h"
#include "snapshot.h"

struct api_stacks {
    struct api *api;
    struct api_selector selector;
    const char *module, *entry; /* the call's; NULL: any */
    uint64_t root;
    /* While one is looked at: many dumps wait for each other, and there are not that many copies. */
    struct gr_copy *copy;
    struct gr_info info;
    struct gr_hold hold;
    struct api_stack stack;
    /* All that lived when the walk began: each list of some of them would look at all slots. */
    uint64_t *ids;
    size_t at, count;
    struct gr_frame frames[GR_FRAMES_MAX];
};

/* False: no memory. Nothing is also what an empty runtime gives. */
static bool list(struct api_stacks *stacks)
{
    uint64_t one;
    stacks->ids = gr_list_all(&stacks->count);
    return stacks->ids || gr_list(GR_LIST_LIVE, 0, &one, 1) == 0;
}

static void give_copy(struct api_stacks *stacks)
{
    api_copy_give(stacks->api->copies, stacks->copy);
    stacks->copy = NULL;
}

struct api_stacks *api_stacks_create(struct api_call *call)
{
    const char *selector = api_param(call, "selector");
    char err[256];
    bool listed = false;
    struct api_stacks *stacks = calloc(1, sizeof *stacks);
    if (stacks) {
        stacks->api = call->api;
        stacks->copy = api_copy_take(call->api->copies); /* is there one? */
        listed = stacks->copy && list(stacks);
    }
    if (stacks)
        give_copy(stacks);
    if (!listed) {
        api_stacks_destroy(stacks);
        api_problem_no_memory(call);
        return NULL;
    }
    stacks->module = api_param(call, "module");
    stacks->entry = api_param(call, "entry");
    stacks->root = api_param_uint(call, "root", 0);
    if (selector && api_selector_parse(&stacks->selector, selector, err, sizeof err)) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "parameter selector: %s", err);
        api_stacks_destroy(stacks);
        return NULL;
    }
    return stacks;
}

static bool matches(const struct api_stacks *stacks)
{
    const struct gr_info *info = &stacks->info;
    return info->state != GR_DEAD && (!stacks->root || info->root == stacks->root) &&
           (!stacks->module || strcmp(info->module, stacks->module) == 0) &&
           (!stacks->entry || strcmp(info->entry, stacks->entry) == 0) &&
           api_selector_match(&stacks->selector, info);
}

/* Copies it while it is held. Unwinding comes after it was let go. False: it did not stop, or there is no memory. */
static bool copy_one(struct api_stacks *stacks, uint64_t id)
{
    stacks->copy = api_copy_take(stacks->api->copies);
    if (!stacks->copy)
        return false;
    memset(&stacks->hold, 0, sizeof stacks->hold);
    if (gr_hold_wait(&stacks->hold, id, API_STACK_STOP_NS) != 0)
        return false;
    bool copied = gr_copy_held(&stacks->hold, stacks->copy) == 0;
    gr_hold_end(&stacks->hold);
    return copied;
}

static void unwind_one(struct api_stacks *stacks, uint64_t id)
{
    struct api_stack *stack = &stacks->stack;
    *stack = (struct api_stack){
        .id = id, .info = &stacks->info, .frames = stacks->frames, .value = {1, 0}};
    if (copy_one(stacks, id)) {
        ssize_t count = gr_unwind(stacks->copy, stacks->frames, GR_FRAMES_MAX, &stack->truncated);
        stack->count = count > 0 ? (size_t)count : 0;
    } else if (stacks->info.pc) {
        gr_symbolise(stacks->info.pc, true, &stacks->frames[0]);
        stack->count = 1;
        stack->truncated = true;
    }
    give_copy(stacks);
}

const struct api_stack *api_stacks_next(struct api_stacks *stacks)
{
    while (stacks->at < stacks->count) {
        uint64_t id = stacks->ids[stacks->at++];
        if (gr_info(id, &stacks->info) != 0 || !matches(stacks))
            continue;
        unwind_one(stacks, id);
        return &stacks->stack;
    }
    return NULL;
}

void api_stacks_destroy(struct api_stacks *stacks)
{
    if (!stacks)
        return;
    free(stacks->ids);
    free(stacks);
}
