/*
 * trace.h: what the scheduler did lately: who ran where, why it stopped, who woke whom, who was held.
 *
 * While a trace is on, each worker writes fixed records into a ring of its own, and everybody else (the monitor, the
 * control plane's threads) into one that they share; old records are overwritten, so that memory is bounded and the
 * last moments are kept. Off, a trace costs one predictable branch at each place.
 *
 * One trace at a time. From any thread that is no goroutine.
 */
#ifndef GRASP_TRACE_H
#define GRASP_TRACE_H

#include <grasp/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GR_TRACE_RECORDS     65536 /* of a thread, by default */
#define GR_TRACE_RECORDS_MIN 64
#define GR_TRACE_RECORDS_MAX 1048576
/* Threads with a ring of their own; the others share one. */
#define GR_TRACE_THREADS_MAX 256

enum gr_trace_kind {
    GR_TRACE_RUN,         /* goroutine runs on processor p */
    GR_TRACE_BLOCK,       /* it waits; detail: why (gr_trace_reason), other: the object's address */
    GR_TRACE_YIELD,       /* it gave way */
    GR_TRACE_SLICE,       /* its slice is over; detail: enum gr_safepoint, sync or async */
    GR_TRACE_STOP,        /* it is held; detail: enum gr_safepoint */
    GR_TRACE_SYSCALL,     /* it went into the kernel */
    GR_TRACE_SYSCALL_END, /* it came back, and runs on */
    GR_TRACE_END,         /* it ended */
    GR_TRACE_READY,       /* it may run again; other: the goroutine that did it, 0: none */
    GR_TRACE_BORN,        /* other: its parent, 0: none */
    GR_TRACE_HELD,        /* a hold was told that it stands still; other: the hold */
    GR_TRACE_RELEASED,    /* that hold ended */
    GR_TRACE_KINDS
};

struct gr_trace_record {
    uint64_t at_ns; /* monotonic, as gr_now_ns */
    uint64_t id, other;
    enum gr_trace_kind kind;
    unsigned detail;
    int thread, p; /* thread -1: not a worker; p -1: none */
};

/* 0, -EBUSY: one is on; -EINVAL: records out of its limits; -ENOMEM. */
int gr_trace_start(size_t records);
/* Ends it. What was recorded stays until gr_trace_free or the next start. */
void gr_trace_stop(void);
/* After the stop: everything that is there, in order of time within each thread. Returns how many were overwritten. */
typedef void gr_trace_fn(void *arg, const struct gr_trace_record *record);
uint64_t gr_trace_each(gr_trace_fn *fn, void *arg);
void gr_trace_free(void);
/* What `detail` of a GR_TRACE_BLOCK means: "chan receive", "sleep", … */
const char *gr_trace_reason(unsigned detail);

#ifdef __cplusplus
}
#endif
#endif
