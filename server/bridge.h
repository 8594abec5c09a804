/*
 * bridge.h: the only way from other threads to the loop.
 *
 * A stack of tasks that any thread pushes to with one CAS, and one uv_async_send when it was empty.
 * The loop takes the whole stack at once, turns it round and runs it in the order of posting.
 * Pushing takes no lock and allocates nothing: it happens on a worker's system stack while a
 * goroutine is being stopped. Rejected: a mutex-guarded queue; a worker could be preempted by the
 * kernel inside it with the loop waiting.
 *
 *   I1  The poster that finds the stack empty wakes the loop; so a non-empty stack always has a
 *       wake-up on its way.
 */
#ifndef SRV_BRIDGE_H
#define SRV_BRIDGE_H

#include <stdatomic.h>

#include <uv.h>

#include "api.h"

struct srv_bridge {
    _Atomic(struct api_task *) head;
    uv_async_t async;
};

int srv_bridge_init(struct srv_bridge *bridge, uv_loop_t *loop);
/* Any thread or system stack. */
void srv_bridge_post(struct srv_bridge *bridge, struct api_task *task);

#endif
