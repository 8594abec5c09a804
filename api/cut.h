/*
 * cut.h: copies of a set of goroutines that are all held: a consistent cut.
 *
 * From the last stop to the first release no member executes, so what is copied in between is of one moment. The
 * copies are as large as the stacks' used parts and saved vector registers; unwinding and writing come when everybody was let go.
 *
 * One is made at a time (turns.h): a set that were asked to stop for a copy that waits would stand still for nothing.
 * Only where some member does not stop for long the next one begins, and finds what has stopped held already.
 *
 *   C1  While the set is asked for, call->state is the group; before and afterwards it is the cutting, in every case.
 */
#ifndef API_CUT_H
#define API_CUT_H

#include <stddef.h>

#include <grasp/runtime.h>

#include "api.h"

/* Of all copies of a cut together: stacks and vector registers. */
#define API_CUT_BYTES_MAX ((size_t)1 << 30)
/*
 * Of all cuts together that are kept until their answers were sent: who reads none of his would else take all memory there is.
 */
#define API_CUTS_BYTES_MAX ((size_t)2 << 30)

struct api_call;
struct api_group;
struct api_suspension;

struct api_cut {
    struct api *api;
    struct gr_copy **copy;
    size_t count, bytes;
    /* Where the copies are, the newest first: a few to free, which the loop does. */
    struct api_cut_block *blocks;
};

/* Pool. 0, -ENOMEM, -E2BIG: more than API_CUT_BYTES_MAX, or -EDQUOT: all cuts are more than API_CUTS_BYTES_MAX. */
int api_cut_take(struct api_cut *cut, const struct api_suspension *suspension);
void api_cut_free(struct api_cut *cut);

/* A call that takes a cut. First member of the caller's own struct, calloc'ed; call->cleanup frees that. */
struct api_cutting {
    /* The caller's, called on the pool. */
    /* While everybody stands still, and was copied without an error. May be NULL. */
    void (*held)(struct api_cutting *cutting, const struct api_suspension *suspension);
    /* When everybody was let go: call->state is the cutting. */
    void (*reply)(struct api_call *call);
    /* NULL: api_group_problem. */
    void (*not_held)(struct api_call *call, const struct api_group *group);
    /* The cut. */
    struct api_call *call;
    struct api_cut cut;
    int err; /* of api_cut_take, or what `held` left */
    struct api_suspension *suspension;
    struct api_work work;
};

/* Loop: asks for the set that call->body names, and goes on as above. Answers the call in every case. */
void api_cut_start(struct api_call *call, struct api_cutting *cutting);
/* Pool, in `reply`: the answer to cutting->err; false: there is none. */
bool api_cut_problem(struct api_call *call, int err);

#endif
