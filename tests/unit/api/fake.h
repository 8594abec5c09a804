/*
 * fake.h: a runtime and a host that stand still until a test moves them.
 *
 * The fake runtime implements runtime.h for a handful of goroutines: the test says in which state
 * one is, when a pending hold is told, and what time it is. The fake host runs posted tasks and
 * pool jobs when the test says so. That makes each race an ordinary sequence of calls: the stop
 * before the abandon, and after it.
 */
#ifndef TEST_FAKE_H
#define TEST_FAKE_H

#include <jansson.h>

#include <grasp/runtime.h>
#include <grasp/waits.h>

#include "api.h"

/* ---- Runtime --------------------------------------------------------------------------------- */

void fake_reset(void);
void fake_clock_set(uint64_t ns);
void fake_clock_add_ms(uint64_t ms);
extern uint64_t fake_clock_step_ns; /* by which each look at it moves it on */
/* A goroutine in a state, of module "mod", entry "main". Its id. */
uint64_t fake_goroutine(enum gr_state state);
/* The same with a parent, in the parent's family. */
uint64_t fake_child(uint64_t parent, enum gr_state state);
void fake_log(uint64_t id, const char *line);
extern bool fake_births_told;
void fake_label(uint64_t id, const char *key, const char *value);
void fake_end(uint64_t id); /* it ends, and the event is told */
unsigned fake_holds(uint64_t id);
bool fake_pending(uint64_t id);
/* Tells the pending holds on a running goroutine; the second one the oldest alone. */
void fake_tell_stopped(uint64_t id);
void fake_tell_withdrawn(uint64_t id);
extern bool fake_cancelled_all;
struct gr_trace_record;
extern const struct gr_trace_record *fake_trace;
extern size_t fake_trace_count;
extern int64_t fake_spawn_result; /* 0: spawn really */
extern unsigned fake_spawn_room;  /* so many more, then -EAGAIN */
extern char fake_spawn_args[256];
extern struct gr_wait_info fake_wait; /* of every goroutine */
extern struct gr_deadlocks fake_deadlocks;

/* ---- Host ------------------------------------------------------------------------------------ */

extern struct api *fake_api;
extern struct api_config fake_config;
int fake_host_start(void **state); /* cmocka set-up: a new API over a reset runtime */
int fake_host_stop(void **state);
/* The last line of the audit log. */
extern char fake_audit[];
/* Runs everything that was posted or queued, and timers that are due, until nothing is left. */
void fake_run(void);
/* Runs posted tasks alone: pool jobs wait. */
void fake_run_posts(void);

/* One step of what there is to do, the `pick`-th: a posted task, a job's work, its end, or a timer. False: nothing is. */
bool fake_step(unsigned pick);

/* How many jobs the pool has. */
size_t fake_jobs(void);

/* The state directory: what writing and removing files says, whether there is one, and the file that is in it. */
extern int fake_store_err;
extern bool fake_no_store, fake_store_open; /* a file is being written */
extern char fake_store_name[64];
/* The file loses its end, as on a disk that loses data. */
void fake_store_cut(size_t bytes);

/* Called for each answer, or piece that a slow reader has got, as a connection goes on then. NULL: nothing. */
struct fake_call;
extern void (*fake_on_reply)(struct fake_call *call);

/* From now on answers in pieces are not pulled by themselves, but by fake_pull: a slow reader. */
extern bool fake_slow;
extern uint64_t fake_client; /* whose calls are started */

struct fake_call {
    struct api_call call;
    bool replied;
    bool pull_due;
    char *body; /* all pieces so far, ended with a 0 */
    size_t body_bytes;
    struct api_header headers[8];
};
/* Starts a call from the Unix socket as uid 7, without running anything. `json` NULL: no body. */
struct fake_call *fake_start(const char *method, const char *target, const char *json);
/* The same with a peer and one more header. */
struct fake_call *fake_start_as(const char *method, const char *target, const char *json,
                                struct api_peer peer, const char *header, const char *value);
void fake_pull(struct fake_call *call);
/* Ends it; frees it. */
void fake_finish(struct fake_call *call, bool delivered);
/* Start, run and finish; the status, and the body as JSON in *out (NULL out: ignored). */
int fake_ask(const char *method, const char *target, const char *json, json_t **out);
/* The code of a problem, "" if it is none. */
const char *fake_code(const json_t *problem);

#endif
