/*
 * pprof_text.h: goroutines as text, as Go's debug=1 and debug=2 write them.
 *
 * Tools that read Go's (panicparse, goroutine-inspect, pprof's legacy parser) read these. Numbers are written by
 * hand: printf took three quarters of a dump of 100,000 stacks.
 */
#ifndef API_PPROF_TEXT_H
#define API_PPROF_TEXT_H

#include "stacks.h"
#include "tally.h"

/* One traceback with its empty line behind. */
void api_traceback_write(struct api_buf *out, const struct api_stack *stack);
/* debug=1: adds a stack to those that are alike. `block` is scratch memory. */
void api_alike_add(struct api_tally *blocks, struct api_buf *block, const struct api_stack *stack);
/* "goroutine profile: total N", then each block with its number, the most frequent first. */
void api_alike_write(struct api_tally *blocks, const char *title, struct api_buf *out);

#endif
