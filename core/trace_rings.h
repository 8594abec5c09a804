/*
 * trace_rings.h: the places in the scheduler that write trace records; see <grasp/trace.h> and trace.c.
 *
 *   gri_trace(GR_TRACE_BLOCK, g, reason, address);
 *
 * Off, that is a load of a flag that is never written meanwhile, and a branch that is never taken.
 */
#ifndef GRASP_TRACE_RINGS_H
#define GRASP_TRACE_RINGS_H

#include <grasp/trace.h>

#include "core.h"

extern _Atomic(uint32_t) gri_trace_on;
/* From any thread, system stacks included; not from a signal handler. */
void gri_trace_write(enum gr_trace_kind kind, uint64_t id, unsigned detail, uint64_t other);

static inline void gri_trace(enum gr_trace_kind kind, const struct gr_g *g, unsigned detail,
                             uint64_t other)
{
    /* relaxed, both: a record more or less at the ends of a trace. */
    if (__builtin_expect(atomic_load_explicit(&gri_trace_on, memory_order_relaxed) != 0, 0))
        gri_trace_write(kind, atomic_load_explicit(&g->id, memory_order_relaxed), detail, other);
}

#endif
