/*
 * deadlock.c: programs that stand still, each for a reason that can be looked up from outside.
 *
 *   cycle     two goroutines take a mutex each and then want the other's
 *   channel   a goroutine receives from a channel on which nobody sends
 *
 * Both end when the root is asked to end: its wait fails with -ECANCELED, it gives back what it
 * holds, and what waited for that goes on.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <grasp/goroutine.h>

/* Shared by the two goroutines of a cycle; the last to leave frees it. */
struct cycle {
    gr_mutex left, right;
    struct gr_chan *met;
    _Atomic int users;
};

static void cycle_leave(struct cycle *cycle)
{
    /* acq_rel; pairs with itself in the other goroutine: its last use comes before the free. */
    if (atomic_fetch_sub_explicit(&cycle->users, 1, memory_order_acq_rel) > 1)
        return;
    gr_chan_destroy(cycle->met);
    free(cycle);
}

/* Takes `own`, tells or hears that the other has its own, and wants that too. */
static int take_both(struct cycle *cycle, gr_mutex *own, gr_mutex *others, bool tells)
{
    int result = gr_mutex_lock(own);
    if (result != 0) {
        gr_chan_close(cycle->met);
        return result;
    }
    result = tells ? gr_chan_send(cycle->met, NULL) : gr_chan_recv(cycle->met, NULL);
    if (result == 0)
        result = gr_mutex_lock(others);
    else
        gr_chan_close(cycle->met);
    if (result == 0)
        gr_mutex_unlock(others);
    gr_mutex_unlock(own);
    return result;
}

static void right_hand(void *arg)
{
    struct cycle *cycle = arg;
    take_both(cycle, &cycle->right, &cycle->left, true);
    cycle_leave(cycle);
}

static int cycle_main(const char *args)
{
    (void)args;
    struct cycle *cycle = calloc(1, sizeof(*cycle));
    if (!cycle)
        return -ENOMEM;
    atomic_init(&cycle->users, 2);
    cycle->met = gr_chan_create(0, 0);
    if (!cycle->met) {
        free(cycle);
        return -ENOMEM;
    }
    struct gr_go_opts other = {.fn = right_hand, .arg = cycle, .name = "right hand"};
    if (gr_go_with(&other) < 0) {
        cycle_leave(cycle);
        cycle_leave(cycle);
        return -ENOMEM;
    }
    int result = take_both(cycle, &cycle->left, &cycle->right, false);
    cycle_leave(cycle);
    return result;
}
GR_ENTRY("cycle", cycle_main, "Two goroutines that each wait for the other's mutex");

static int channel_main(const char *args)
{
    (void)args;
    struct gr_chan *nobody_sends = gr_chan_create(sizeof(int), 0);
    if (!nobody_sends)
        return -ENOMEM;
    int value;
    int result = gr_chan_recv(nobody_sends, &value);
    gr_chan_destroy(nobody_sends);
    return result;
}
GR_ENTRY("channel", channel_main, "A goroutine that receives what nobody sends");
