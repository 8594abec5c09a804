/*
 * harness.h: what the programs that test the running runtime have in common.
 *
 * Each is built by grasp-cc, so that its own functions are the module "main" and its goroutines can
 * be stopped at entry checks and by signals. cmocka runs on the main thread, which is no goroutine:
 * it alone may leave a test by assert_*. A goroutine reports with CHECK, which keeps the first
 * sentence; expect_no_faults fails the test with it.
 *
 * Waiting is for a condition, never for a time: eventually() polls until it holds and fails the
 * test when WATCHDOG_NS have passed, which on a healthy machine they never do.
 *
 * The programs take --async-preempt=off, with which nothing is stopped by signals; spin() then
 * calls a function in its loop.
 */
#ifndef GRASP_TESTS_HARNESS_H
#define GRASP_TESTS_HARNESS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <grasp/goroutine.h>
#include <grasp/runtime.h>

#define WATCHDOG_NS     60000000000u
#define HOLD_TIMEOUT_NS 30000000000u /* of suspends that have to succeed */

/* False with --async-preempt=off. */
extern bool async_on;
/* From GRASP_TEST_SEED, or new; printed at the start. */
extern uint64_t test_seed;

/* From GRASP_STRESS: how many times as much a stress test is to do; 1 if not set. */
uint64_t stress_factor(void);

/* Reads the arguments and starts the runtime; exits with a message if it can't. */
void harness_start(int argc, char **argv, struct gr_options options);

/* The next number of a sequence of one's own (splitmix64). */
uint64_t next_random(uint64_t *state);

/* From the main thread: until cond(arg); `what` is the sentence if it never comes true. */
typedef bool condition_fn(void *arg);
void eventually(condition_fn *cond, void *arg, const char *what);

/* Conditions. */
bool word_is_set(void *word); /* atomic_uint != 0 */
void eventually_count(atomic_uint *count, unsigned wanted, const char *what);
void eventually_dead(uint64_t id);
void eventually_moves(atomic_ulong *counter);
void eventually_moves_from(atomic_ulong *counter, unsigned long seen);
/* Until gr_info says that it waits, for this reason (gri_wait's word, as "chan receive"). */
void eventually_waits(uint64_t id, const char *reason);
/* Until none but `others` goroutines live: after it nothing of this test is left. */
void eventually_alone(uint64_t others);

/* gr_info of one that must exist. */
struct gr_info info_of(uint64_t id);

/* gr_hold_wait that must succeed, and its end. */
void hold(struct gr_hold *hold, uint64_t id);
void release(struct gr_hold *hold);

/*
 * A suspend that must time out, and say that it was refused for this reason. Several are made: on a
 * busy machine the thread may not have run at all during the first.
 */
void expect_time_out(struct gr_hold *hold, uint64_t id, enum gr_refusal reason);

/* Whether the counter stands still: read `looks` times with the processor given away in between. */
bool stands_still(atomic_ulong *counter);

/* Counts until *stop is set, without a call if stops by signal are on. */
struct spinner {
    atomic_ulong count;
    atomic_uint stop;
    uint64_t id;
};
void spin(void *spinner);
void spinner_start(struct spinner *spinner);
void spinner_end(struct spinner *spinner);

/* From anywhere: the first failure is kept. */
void fault_at(const char *file, int line, const char *what);
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fault_at(__FILE__, __LINE__, #cond);                                                   \
    } while (0)
bool has_faults(void);
void expect_no_faults(void);

#endif
