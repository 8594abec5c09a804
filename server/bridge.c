/*
 * bridge.c: see bridge.h.
 */
#include "bridge.h"

static void take(uv_async_t *async)
{
    struct srv_bridge *bridge = async->data;
    /* acquire; pairs with the release in post: each task's memory is complete. */
    struct api_task *task = atomic_exchange_explicit(&bridge->head, NULL, memory_order_acquire);
    struct api_task *ordered = NULL;
    while (task) {
        struct api_task *next = task->next;
        task->next = ordered;
        ordered = task;
        task = next;
    }
    while (ordered) {
        struct api_task *next = ordered->next; /* run may free or post the task again */
        ordered->run(ordered);
        ordered = next;
    }
}

int srv_bridge_init(struct srv_bridge *bridge, uv_loop_t *loop)
{
    atomic_init(&bridge->head, NULL);
    int err = uv_async_init(loop, &bridge->async, take);
    bridge->async.data = bridge;
    return err;
}

void srv_bridge_post(struct srv_bridge *bridge, struct api_task *task)
{
    struct api_task *head = atomic_load_explicit(&bridge->head, memory_order_relaxed);
    do {
        task->next = head;
        /* release; pairs with the acquire in take: the task before its pointer. */
    } while (!atomic_compare_exchange_weak_explicit(&bridge->head, &head, task,
                                                    memory_order_release, memory_order_relaxed));
    if (!head)
        uv_async_send(&bridge->async); /* I1 */
}
