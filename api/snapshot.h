/*
 * snapshot.h: copies of goroutines, recycled.
 *
 * A copy is taken in the runtime's call-back, on a worker's system stack, where nothing may be
 * allocated, while somebody's goroutine stands still: so its memory is made and touched beforehand.
 * Touching a page for the first time costs more than copying it does. At most API_COPIES_MAX exist;
 * the free ones wait in a stack.
 */
#ifndef API_SNAPSHOT_H
#define API_SNAPSHOT_H

#include <jansson.h>

#include <grasp/runtime.h>

#define API_COPIES_MAX  128
#define API_COPIES_KEPT 8

struct api_call;
struct api_copies;

struct api_copies *api_copies_create(void);
void api_copies_destroy(struct api_copies *copies);
/* Both from loop and pool threads. NULL: out of memory, or API_COPIES_MAX are in use. */
struct gr_copy *api_copy_take(struct api_copies *copies);
void api_copy_give(struct api_copies *copies, struct gr_copy *copy);

/* What a copy shows: registers, frames, where the stack is. Pool. NULL: out of memory. */
json_t *api_copy_json(const struct gr_copy *copy);

#endif
