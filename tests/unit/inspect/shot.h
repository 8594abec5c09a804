/*
 * shot.h: pictures of running code for the inspector's tests: a gr_copy made by hand, without the
 * runtime.
 */
#ifndef GRASP_TEST_SHOT_H
#define GRASP_TEST_SHOT_H

#include <grasp/inspect.h>

#define SHOT_STACK_BYTES (512 * 1024)
#define SHOT_FRAMES      64

struct shot {
    struct gr_copy copy;
    uint8_t stack[SHOT_STACK_BYTES];
    /* Filled by shot_unwind. */
    struct gr_frame frame[SHOT_FRAMES];
    size_t count;
    bool truncated;
};

/* Once in each thread that takes a picture. */
void shot_prepare(void);
/* The calling function as it is now. Async-signal-safe. */
void shot_take(struct shot *shot);
/* The code that a signal interrupted; from its handler. Async-signal-safe. */
void shot_take_interrupted(struct shot *shot, const void *ucontext);
/* Unwinds into shot->frame; fails the test on an error. */
void shot_unwind(struct shot *shot);
/* The first frame of that function, or SIZE_MAX. */
size_t shot_find(const struct shot *shot, const char *function);
void shot_print(const struct shot *shot);

#endif
