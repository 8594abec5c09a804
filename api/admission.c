/*
 * admission.c: calls that wait for their turn before anything is done for them.
 *
 * What looks at all goroutines, holds a set of them or loads a module is let in by a gate (turns.h) before it has taken
 * anything: nobody stands still for a call that waits, no time-out runs, and a client that goes gives its place to the
 * next. A wait ends by the call's turn, with its client (408), after API_TURN_MS_MAX (503: try again), or with the daemon
 * (503). How many may wait is bounded by connections and by what each may have under way. Rejected: refusing at once
 * what finds no turn; then whoever asks most often gets them all.
 *
 *   A1  While a call waits, call->abandon is `gone`, its deadline runs and it is among the pending, for the drain.
 */
#include "internal.h"

static struct api_place *place_of_turn(struct api_turn *turn)
{
    return (struct api_place *)((char *)turn - offsetof(struct api_place, turn));
}

static struct api_call *call_of(struct api_place *place)
{
    return (struct api_call *)((char *)place - offsetof(struct api_call, place));
}

static void wait_no_longer(struct api_call *call)
{
    call->abandon = NULL;
    api_timer_clear(call->api, &call->place.deadline);
    api_pending_remove(&call->place.pending);
}

static void admitted(struct api_turn *turn)
{
    struct api_call *call = call_of(place_of_turn(turn));
    wait_no_longer(call);
    call->place.begin(call);
}

static void refuse(struct api_call *call)
{
    if (call->api->draining)
        api_problem(call, 503, API_CODE_DRAINING, "the daemon is going down");
    else if (call->abandoned)
        api_problem(call, 408, API_CODE_REQUEST_TIMEOUT,
                    "the connection ended while the request waited for its turn; nothing was done");
    else
        api_problem(call, 503, API_CODE_OUT_OF_RESOURCES,
                    "others asked for so much that the request's turn did not come within %d s; "
                    "nothing was "
                    "done, try again later",
                    API_TURN_MS_MAX / 1000);
    api_call_done(call);
}

/* A1: the client went, or the daemon goes down. */
static void gone(struct api_call *call)
{
    wait_no_longer(call);
    api_turn_end(call->place.gate, &call->place.turn);
    refuse(call);
}

static void late(struct api_timer *timer)
{
    gone(call_of((struct api_place *)((char *)timer - offsetof(struct api_place, deadline))));
}

void api_call_admit(struct api_call *call, struct api_gate *gate,
                    void (*begin)(struct api_call *call))
{
    struct api_place *place = &call->place;
    place->gate = gate;
    place->begin = begin;
    place->turn = (struct api_turn){.client = call->client, .begin = admitted};
    if (!api_gate_open(gate)) {
        if (call->abandoned) {
            refuse(call);
            return;
        }
        call->abandon = gone;
        place->deadline.fire = late;
        /* Out of memory there is none: its turn ends the wait all the same. */
        (void)api_timer_set(call->api, &place->deadline,
                            gr_now_ns() + API_TURN_MS_MAX * UINT64_C(1000000));
        api_pending_add(call->api, &place->pending, call);
    }
    api_turn_ask(gate, &place->turn);
}

void api_call_leave(struct api_call *call)
{
    if (call->place.gate)
        api_turn_end(call->place.gate, &call->place.turn);
}
