/*
 * cut.h: copies of a set of goroutines that are all held: a consistent cut.
 *
 * From the last stop to the first release no member executes, so what is copied in between is of one moment. The
 * copies are as large as the stacks' used parts; unwinding and writing come when everybody was let go.
 */
#ifndef API_CUT_H
#define API_CUT_H

#include <stddef.h>

#include <grasp/runtime.h>

/* Of all copies together. */
#define API_CUT_BYTES_MAX ((size_t)1 << 30)

struct api_suspension;

struct api_cut {
    struct gr_copy **copy;
    size_t count, bytes;
};

/* Pool. 0, -ENOMEM, or -E2BIG: more than API_CUT_BYTES_MAX. */
int api_cut_take(struct api_cut *cut, const struct api_suspension *suspension);
void api_cut_free(struct api_cut *cut);

#endif
