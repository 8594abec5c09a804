/*
 * bench.h: what the parts of the benchmark share.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "sample.h"

#include <grasp/goroutine.h>
#include <grasp/runtime.h>

extern const char *bench_peer; /* "grasp", or "grasp-nice0" with --nice-off */
extern unsigned bench_procs;

/* Ends the program with a sentence: a measurement that went wrong must not look like one. */
_Noreturn void bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A goroutine that has to come into being. */
uint64_t bench_go(void (*fn)(void *), void *arg);
/* Runs fn(arg) in a goroutine and blocks the calling thread until it returned. */
void bench_run(void (*fn)(void *), void *arg);
/* emit() for our own peer, from a thread that is no goroutine. */
void bench_emit(const char *metric, const char *unit, double *v, int n);

/* The parts. Each is called once, from main's thread. */
void bench_suspend(void);
void bench_switch(void); /* spawn, yield, ping-pong with bench_procs processors */
void bench_sleep(void);
void bench_memory(void);
void bench_memory_private(void); /* stacks that are folded */
void bench_memory_million(void);
void bench_fairness(void);
/* The client process of bench_inspect: before the runtime starts. */
void bench_inspect_begin(void);
void bench_inspect(void);

#endif
