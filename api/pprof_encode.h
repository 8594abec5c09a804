/*
 * pprof_encode.h: profiles as `go tool pprof`, Pyroscope and Parca read them: protobuf, gzip.
 *
 * The format is github.com/google/pprof's profile.proto. Its messages may come in any order, so samples are written and
 * compressed as they come, with the locations and functions that they name for the first time; the
 * strings, which the others name by number, come last. What stays in memory are the tables of numbers. Rejected:
 * protobuf-c, which wants all samples as structs in memory at once.
 */
#ifndef API_PPROF_ENCODE_H
#define API_PPROF_ENCODE_H

#include "buffer.h"
#include "stacks.h"

struct api_pprof;

struct api_pprof_type {
    const char *type, *unit;
};

/* One or two types of values; period is the distance of samples in the unit of `period_type`. NULL: no memory. */
struct api_pprof *api_pprof_create(const struct api_pprof_type *types, size_t type_count,
                                   const struct api_pprof_type *period_type, int64_t period);
/* One sample: its frames, values, and as labels the goroutine, its state, its own labels. */
void api_pprof_add(struct api_pprof *pprof, const struct api_stack *stack);
/* Completes it into out (which fails if memory ran out on the way) and frees it. */
void api_pprof_end(struct api_pprof *pprof, uint64_t realtime_ns, uint64_t duration_ns,
                   struct api_buf *out);
void api_pprof_destroy(struct api_pprof *pprof);

#endif
