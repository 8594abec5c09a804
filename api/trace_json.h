/*
 * trace_json.h: from the scheduler's records, in order of time, to Chrome's trace events.
 *
 * A slice is written when it ends. What is not over at the end of the trace is cut there.
 */
#ifndef API_TRACE_JSON_H
#define API_TRACE_JSON_H

#include <grasp/trace.h>

#include "buffer.h"

struct api_trace_goroutine;
struct api_trace_hold;

struct api_trace_json {
    uint64_t begin_ns, last_ns, lost, flows;
    bool comma;
    /* What runs on each thread, by thread + 1. */
    struct api_trace_run {
        uint64_t id, since_ns;
        int p;
    } * run;
    size_t run_count;
    /* Goroutines by id: open addressing. */
    struct api_trace_goroutine *goroutine;
    size_t goroutine_count, slots;
    /* Holds by id, open or not, likewise. */
    struct api_trace_hold *hold;
    size_t hold_count, hold_slots;
    uint64_t processors[GR_PROCS_MAX / 64]; /* bit p: its track has a name */
    bool failed;
};

void api_trace_json_begin(struct api_trace_json *json, uint64_t begin_ns, uint64_t lost,
                          struct api_buf *out);
void api_trace_json_add(struct api_trace_json *json, const struct gr_trace_record *record,
                        struct api_buf *out);
/* Ends what is not over, and the document. out fails if memory ran out on the way. */
void api_trace_json_end(struct api_trace_json *json, uint64_t end_ns, struct api_buf *out);
void api_trace_json_free(struct api_trace_json *json);

#endif
