/*
 * pprof_sink.h: where the stacks of a profile go: one of the forms in which it can be asked for.
 *
 *   format=proto    pprof (gzip), the default
 *   format=text     stacks that are alike, with their number (Go's debug=1)
 *   format=folded   one line a stack
 *   format=svg      a flame graph
 */
#ifndef API_PPROF_SINK_H
#define API_PPROF_SINK_H

#include "flame.h"
#include "pprof_encode.h"
#include "tally.h"

enum api_sink_form { API_SINK_PROTO, API_SINK_TEXT, API_SINK_FOLDED, API_SINK_SVG };

struct api_sink {
    enum api_sink_form form;
    struct api_pprof *pprof;
    struct api_tally tally;
    struct api_buf scratch;
    const char *name, *title, *unit; /* "goroutine"; "goroutines"; … */
    uint64_t began_realtime_ns, began_ns;
};

struct api_call;

/* The form from the call's parameters format and debug; a problem and false if there is none such. */
bool api_sink_choose(struct api_call *call, enum api_sink_form *form);
/* False: no memory. */
bool api_sink_open(struct api_sink *sink, enum api_sink_form form, const char *name,
                   const struct api_pprof_type *types, size_t type_count,
                   const struct api_pprof_type *period_type, int64_t period);
void api_sink_add(struct api_sink *sink, const struct api_stack *stack);
/* The whole answer: status, type and body, or that memory ran out. `title` is for people. */
void api_sink_reply(struct api_sink *sink, struct api_call *call, const char *title);
/* The answer to HEAD, for which nothing need be measured. */
void api_sink_reply_head(const struct api_sink *sink, struct api_call *call);
void api_sink_close(struct api_sink *sink);

#endif
