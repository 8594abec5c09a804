/*
 * stacks.h: the stacks of many goroutines, one after the other.
 *
 * What dumps and profiles are made of. Each goroutine is held for its own copy alone, so that the world is never
 * stopped: two stacks are of different moments, and whoever needs one moment asks for a snapshot of a group.
 * Goroutines that do not stop within API_STACK_STOP_NS (a long call of libc, a no-preempt section) are given with the
 * place where they were seen last, or without any.
 *
 *   I1  A walk leaves no hold behind.
 */
#ifndef API_STACKS_H
#define API_STACKS_H

#include <grasp/inspect.h>
#include <grasp/runtime.h>

#define API_STACK_STOP_NS 50000000

struct api_call;
struct api_stacks;

/* A stack with what it stands for. Pointers are good until the next one is taken. */
struct api_stack {
    uint64_t id;                /* 0: no goroutine, the runtime itself */
    const struct gr_info *info; /* NULL: not known any more */
    const struct gr_frame *frames;
    size_t count;
    bool truncated;
    int64_t value[2];
};

/* The call's parameters selector, module, entry and root choose; a problem and NULL if one is wrong. */
struct api_stacks *api_stacks_create(struct api_call *call);
/* Pool thread: waits for running ones. NULL: that was the last. value[0] is 1. */
const struct api_stack *api_stacks_next(struct api_stacks *stacks);
void api_stacks_destroy(struct api_stacks *stacks);

#endif
