/*
 * group.h: stopping a set of goroutines together.
 *
 * A set is described by a selection. It is evaluated on the pool, since looking at a million
 * goroutines takes a while; then the loop asks for its members in chunks of at most ASK_NS, one of all
 * groups' in a turn of the loop, and the last one to be told brings the group home. Children that a member bore before it stopped belong
 * to the set: so the runtime is listed again, and whoever was not there before and has a parent in
 * the set is asked for, until a pass finds nobody new. That ends, because who stands still bears
 * nobody; members that cannot be stopped and go on bearing are given up at the deadline. `all` takes
 * in every newcomer, but for children of the excepted.
 *
 * Rejected: holding while the list is made. It would mix looking at labels (slow) with asking
 * (fast), and the time from the first stop to the last would be that of the looking.
 *
 *   I1  `pending` counts the members whose call-back is to come, plus one while the loop is still
 *       asking. Whoever brings it to 0 posts the task, and nobody touches the group after his own
 *       decrement.
 *   I2  The pool has the group while `evaluating`; otherwise it belongs to the loop, but for
 *       `pending`.
 *   I3  When `done` is called no request is pending: each member holds, or has an error.
 */
#ifndef API_GROUP_H
#define API_GROUP_H

#include <stdatomic.h>

#include "selector.h"
#include "suspensions.h"

enum api_selection_kind {
    API_SELECT_IDS,
    API_SELECT_SELECTOR,
    API_SELECT_MODULE,
    API_SELECT_ROOT,
    API_SELECT_ALL,
};

struct api_ids {
    uint64_t *ids; /* ascending, none twice */
    size_t count, capacity;
};

struct api_selection {
    enum api_selection_kind kind;
    struct api_ids ids; /* API_SELECT_IDS */
    struct api_ids except;
    struct api_selector selector;
    char module[GR_NAME_MAX + 1];
    uint64_t root;
};

/* From the body of the call; a problem and false if it does not name exactly one set. */
bool api_selection_read(struct api_call *call, struct api_selection *selection);
void api_selection_free(struct api_selection *selection);
/* Pool. Whether a goroutine is selected by description; not for API_SELECT_IDS. */
bool api_selection_match(const struct api_selection *selection, const struct gr_info *info);

bool api_ids_add(struct api_ids *ids, uint64_t id); /* false: out of memory */
void api_ids_sort(struct api_ids *ids);
bool api_ids_have(const struct api_ids *ids, uint64_t id); /* must be sorted */

enum api_group_outcome {
    API_GROUP_HELD,      /* one at least, or all if the body says so */
    API_GROUP_REFUSED,   /* the body names no set: there is a problem in the reply */
    API_GROUP_NOTHING,   /* the selection matches nobody alive */
    API_GROUP_FAILED,    /* not enough of them: all that stopped were let go again */
    API_GROUP_NO_MEMORY, /* the same */
    API_GROUP_GIVEN_UP,  /* the same: the client went, or the daemon goes down */
};

struct api_group {
    struct api *api;
    struct api_call *call;
    /* Its members hold once the group is done; taken over by the caller. */
    struct api_suspension *suspension;
    struct api_selection selection;
    bool require_all;
    void *ctx; /* the caller's, set once api_group_start has returned; done comes later */
    void (*done)(struct api_group *group, enum api_group_outcome outcome);

    /* group.c's. */
    uint64_t timeout_ns, deadline_ns; /* the second from the first request on */
    struct api_ids chosen, seen, shunned;
    size_t pass_from, passes; /* of chosen: where this pass begins */
    struct api_member *asking;
    _Atomic(size_t) pending; /* I1 */
    bool evaluating, asked_all, given_up, failed;
    bool over; /* it is known who holds and who does not */
    enum api_group_outcome outcome;
    struct api_pending listed;
    struct api_task task;
    struct api_chunk chunk;
    struct api_timer overdue;
    struct api_work work;
};

/*
 * Loop. Reads the selection, require and timeout_ms from the body and begins. NULL: there is a
 * problem in the reply. call->state and call->abandon belong to the group until it is done. The call has a place: at
 * the gate of long work, which it leaves after the first look at the set, or at that of cuts, which it leaves when it is
 * answered, when its caller says so, or when some member does not stop for long.
 */
struct api_group *api_group_start(struct api_call *call,
                                  void (*done)(struct api_group *group,
                                               enum api_group_outcome outcome));
/* After done; the suspension is not freed. */
void api_group_free(struct api_group *group);
/* Pool. Answers the call whose state is a group that is not held, and frees that. */
void api_group_reply_not_held(struct api_call *call);
/* Pool. The answer of a group that is not held; frees nothing. */
void api_group_problem(struct api_call *call, const struct api_group *group);

#endif
