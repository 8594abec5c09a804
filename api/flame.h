/*
 * flame.h: folded stacks and flame graphs.
 *
 * Folded: one line a stack, outermost first, "a;b;c 12", as flamegraph.pl, speedscope and inferno read it. The
 * flame graph is drawn from the same lines: as wide as what was sampled, callers below, callees above; a name
 * where there is room for it and a tooltip everywhere. It contains no script, so that it may be
 * opened under any content policy, and mailed.
 */
#ifndef API_FLAME_H
#define API_FLAME_H

#include "stacks.h"
#include "tally.h"

/* Adds a stack to the lines. `line` is scratch memory. */
void api_folded_add(struct api_tally *lines, struct api_buf *line, const struct api_stack *stack);
void api_folded_write(struct api_tally *lines, struct api_buf *out);
/* unit: what the numbers are, as "goroutines". */
void api_flame_write(struct api_tally *lines, const char *title, const char *unit,
                     struct api_buf *out);

#endif
