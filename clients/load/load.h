/*
 * load.h: what the parts of grasp-load share.
 *
 * A run is a plan (what, how fast, how long), carried out by threads that share nothing but the plan and a
 * few counters: each has a loop, connections and histograms of its own, merged at the end.
 *
 * Closed loop: each connection asks again as soon as it was answered; the daemon sets the pace, and
 * the figures say what it can do. Open loop (-R): operations are due at fixed times, whatever the
 * daemon does, and latency counts from when an operation was *due*, not from when a connection was
 * free to send it: a stall of the daemon is seen by all that were due meanwhile, as its users would
 * see it (no coordinated omission).
 *
 *   I1  Every operation that was due is counted once: answered, failed, or not sent by the end.
 *   I2  A goroutine that an operation holds is let go by the same operation, also after an error;
 *       what cannot be told (a broken connection) is left to a short lease.
 *   I3  At the end the daemon is asked: no goroutine of ours is held, and each still moves.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "hist.h"
#include "http_client.h"

#define LOAD_OPS_MAX    16
#define LOAD_NAME_MAX   23 /* with "-release" it fits an expectation */
#define LOAD_RAMPS_MAX  16
#define LOAD_EXPECT_MAX 16
#define LOAD_STATUS_MAX 600
#define LOAD_LEASE_MS   5000 /* of what an operation suspends (I2) */

/* What an operation does; the second request, if any, is measured under a name of its own. */
enum load_kind {
    LOAD_GET,      /* GET path */
    LOAD_LIST,     /* GET /v1/goroutines */
    LOAD_SHOW,     /* GET one goroutine */
    LOAD_STACK,    /* GET its stack */
    LOAD_SNAPSHOT, /* GET its snapshot */
    LOAD_SUSPEND,  /* suspend one, then resume it */
    LOAD_BULK,     /* suspend all of ours by label, then release */
    LOAD_SPAWN,    /* spawn one, then cancel it */
    LOAD_KINDS
};

struct load_op {
    enum load_kind kind;
    /* then: the second request, "NAME-resume" and the like where it has a name of its own; empty: none */
    char name[LOAD_NAME_MAX + 1], then[32];
    char *path;              /* LOAD_GET, LOAD_LIST */
    unsigned weight;
};

struct load_ramp {
    double from, to; /* operations a second */
    double seconds;
};

struct load_expect {
    char text[64];
    char op[32]; /* empty: all together */
    char metric[16];
    char relation[3];
    double value; /* nanoseconds, or a count */
};

struct load_plan {
    struct http_place place;
    struct load_op op[LOAD_OPS_MAX];
    size_t op_count;
    unsigned weight_total;
    struct load_ramp ramp[LOAD_RAMPS_MAX];
    size_t ramp_count; /* 0: closed loop */
    unsigned connections, threads, subscribers;
    double seconds;    /* 0: no limit of time */
    uint64_t requests; /* 0: no limit of number */
    uint64_t timeout_ms;
    double prove_seconds; /* at the end, for each goroutine to be free and to move */
    uint64_t seed;
    struct load_expect expect[LOAD_EXPECT_MAX];
    size_t expect_count;
    /* Goroutines that the run starts and works on. */
    char *module, *entry;
    json_t *args;
    unsigned goroutines;
    char label[48]; /* run=… of ours */
    uint64_t *ids;
    size_t id_count;
    char counters[64]; /* the directory of their counter files; empty: none */
    char *spawn_body;  /* of an operation that spawns */
};

/* Figures of one kind of request. */
struct load_figures {
    struct hist latency;
    uint64_t answered, bytes_in, bytes_out;
    uint64_t status[LOAD_STATUS_MAX]; /* not 2xx */
    uint64_t connect_failed, closed, timed_out, garbled, not_sent;
};

/* One set for each operation, one for each second request. */
struct load_stats {
    struct load_figures op[LOAD_OPS_MAX], then[LOAD_OPS_MAX];
    uint64_t events, event_bytes, event_drops;
    double seconds;
};

/* Written by one thread, read by the progress line: relaxed, each number stands for itself. */
struct load_live {
    _Atomic(uint64_t) answered, failed, backlog, worst_ns;
};

struct load_proof {
    size_t checked, held, still; /* of our goroutines: how many, and how many failed */
    bool done;
    char why[256]; /* it is not done, or the first that failed */
};

uint64_t load_now_ns(void);
uint64_t load_errors(const struct load_figures *figures);

/* ---- plan.c ----------------------------------------------------------------------------------- */

/* Fills plan from a scenario's JSON. 0, or -EINVAL with a sentence in err. */
int load_plan_read(struct load_plan *plan, const json_t *scenario, char *err, size_t err_bytes);
/* A plain GET of path. */
void load_plan_get(struct load_plan *plan, const char *path);
/* The rate, ramps and limits that hold together; 0 or -EINVAL. */
int load_plan_check(struct load_plan *plan, char *err, size_t err_bytes);
void load_plan_fini(struct load_plan *plan);
/* "500ms", "10s", "2m", "1h" or a bare number of seconds. */
bool load_parse_seconds(const char *text, double *seconds);
/* When the next operation after at_ns is due, if `share` of the rate is ours; UINT64_MAX: none. */
uint64_t load_plan_next(const struct load_plan *plan, double share, uint64_t start_ns,
                        uint64_t at_ns);

/* ---- expect.c --------------------------------------------------------------------------------- */

int load_expect_parse(struct load_expect *expect, const char *text, char *err, size_t err_bytes);
/* Names of operations in expectations exist. */
int load_expect_check(const struct load_plan *plan, char *err, size_t err_bytes);
/* Whether it holds; *value is what was measured. */
bool load_expect_holds(const struct load_plan *plan, const struct load_stats *stats,
                       const struct load_expect *expect, double *value);

/* ---- engine.c --------------------------------------------------------------------------------- */

/* Carries the plan out. stop: set by a signal handler. 0 or -errno. */
int load_run(const struct load_plan *plan, struct load_stats *stats, struct load_live *live,
             _Atomic(bool) *stop, bool progress);

/* ---- goroutines.c ----------------------------------------------------------------------------- */

/* Spawns what the plan asks for. 0, or -1 with a sentence in err. */
int load_goroutines_start(struct load_plan *plan, char *err, size_t err_bytes);
/* Checks that all are free and move (I3), then cancels them. */
void load_goroutines_prove(struct load_plan *plan, struct load_proof *proof);
void load_goroutines_end(struct load_plan *plan);

/* ---- report.c, svg.c -------------------------------------------------------------------------- */

struct load_report {
    const struct load_plan *plan;
    const struct load_stats *stats;
    const struct load_proof *proof;
    size_t failed_expectations;
};
/* All operations of a run together. */
void load_total(const struct load_plan *plan, const struct load_stats *stats,
                struct load_figures *total);
void load_report_text(const struct load_report *report, struct http_buf *out);
json_t *load_report_json(const struct load_report *report);
void load_report_csv(const struct load_report *report, struct http_buf *out);
void load_report_svg(const struct load_report *report, struct http_buf *out);
const char *load_duration(char out[24], double ns);

#endif
