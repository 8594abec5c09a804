/*
 * profile.h: where goroutines spend CPU time.
 *
 * Each worker thread gets a timer on its own CPU clock, whose signal records the registers and the innermost
 * GR_PROFILE_STACK_BYTES of the stack of the goroutine that runs there; a drain hands the records out as copies, to be
 * unwound by gr_unwind like any other. Time that a thread spends without a goroutine (looking for work) is recorded under
 * goroutine 0. Nobody is stopped or suspended for it. Rejected: unwinding in the signal handler, by frame
 * pointers, which is wrong at one instruction in fifteen and in all of libc.
 *
 * One profile at a time. From any thread that is no goroutine; drain and stop do not run beside each other.
 */
#ifndef GRASP_PROFILE_H
#define GRASP_PROFILE_H

#include <grasp/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GR_PROFILE_HZ          100
#define GR_PROFILE_HZ_MAX      1000
#define GR_PROFILE_STACK_BYTES 16384
/* Records that a thread keeps until it is drained; more are lost, and counted. */
#define GR_PROFILE_RECORDS 64
/* Threads that a profile can watch. */
#define GR_PROFILE_THREADS_MAX 1024

struct gr_profile_stats {
    uint64_t records, lost;
    unsigned threads, threads_missed; /* missed: no timer or no memory for them */
};

/* 0, -EINVAL: hz not in 1…GR_PROFILE_HZ_MAX; -EBUSY: one runs already; -ENOMEM. */
int gr_profile_start(unsigned hz);
/* `periods` of the timer passed since the last record of this thread; copy->id is 0 without a goroutine. Copy is valid during the call. */
typedef void gr_profile_fn(void *arg, const struct gr_copy *copy, uint64_t periods);
/* Hands out what was recorded since the last time, and begins to watch threads that came into being since. */
void gr_profile_drain(gr_profile_fn *fn, void *arg);
/* No record is made after it; those that were can still be drained once. stats may be NULL. */
void gr_profile_stop(struct gr_profile_stats *stats);

/* Of the profile that runs, or of the last one. */
void gr_profile_stats(struct gr_profile_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
