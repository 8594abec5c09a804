/*
 * turns.h: who is next where there is little of something: threads of the pool, and cuts.
 *
 * A gate lets so many turns be had at once. Who has to wait stands in a row of clients, each with a queue of its own;
 * whoever was served goes to the end of the row. So what one client asks for, were it four thousand things, delays
 * another by one of them at most. Rejected: one queue in the order of arrival, in which one client's requests are
 * everybody's wait; priorities, which starve somebody.
 *
 * The pool is divided by two gates. Brief work (some milliseconds at most) always finds a thread, because long work has
 * two of them (one more for what others wait for: goroutines that stand still, or whoever wants the next cut or load; it
 * goes ahead of all that waits). Work that may be long comes in slices: what is not done after a few milliseconds asks for
 * another turn (internal.h, api_slice_over), and what began as brief goes on as long. Two more gates let one cut of a set
 * be made at a time, and one module be loaded. A place there is had *before* anybody is asked to stop, so that nobody
 * stands still for a request that waits (admission.c).
 *
 *   T1  Loop only, but for api_work.run.
 *   T2  A turn that waits is in its gate exactly once; the first of each client is in the row, those behind it hang on it.
 *   T3  `running` counts the turns that are had, `running_ahead` those of them that went ahead. Nobody waits while one
 *       could be had, except within api_turn_ask and api_turn_end.
 */
#ifndef API_TURNS_H
#define API_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api;

enum api_turn_state { API_TURN_NONE, API_TURN_WAITS, API_TURN_HAD };

struct api_turn {
    uint64_t client;
    void (*begin)(struct api_turn *turn); /* it is had; maybe within api_turn_ask */
    bool ahead;                           /* of all that wait, with a place of its own */
    enum api_turn_state state;
    struct api_turn *next;   /* in the row of clients, or of those ahead */
    struct api_turn *behind; /* of the same client, in the order of asking */
    struct api_turn *last;   /* of the same client; kept in the first of them */
};

struct api_gate {
    size_t at_once, ahead; /* how many may be had, and how many more of those that go ahead */
    size_t running, running_ahead; /* T3 */
    bool serving;
    struct api_turn *first, *last; /* the row of clients */
    struct api_turn *ahead_first, *ahead_last;
};

/* Whether a turn that is asked for now is had at once. */
bool api_gate_open(const struct api_gate *gate);
/* `client`, `begin` and `ahead` are set, the rest is 0. */
void api_turn_ask(struct api_gate *gate, struct api_turn *turn);
/* Gives it back, or waits no longer; nothing if it does neither. Others begin. */
void api_turn_end(struct api_gate *gate, struct api_turn *turn);

/* ---- Work for the pool ----------------------------------------------------------------------- */

enum api_lane {
    API_LANE_BRIEF,
    API_LANE_LONG,
    API_LANE_AHEAD, /* long, and others wait for it: goroutines stand still, or there is one at a time */
    API_LANE_OWN,   /* whoever asks has a turn of the long ones already */
};

/* The host's: work for one of its threads; done runs on the loop afterwards. `host` is room for its own record. */
#define API_JOB_HOST_BYTES 192
struct api_job {
    void (*work)(struct api_job *job);
    void (*done)(struct api_job *job);
    _Alignas(16) unsigned char host[API_JOB_HOST_BYTES];
};

struct api_work {
    void (*run)(struct api_work *work);  /* pool */
    void (*done)(struct api_work *work); /* loop; its turn is over */
    struct api *api;
    struct api_gate *gate; /* NULL: it needs none */
    struct api_turn turn;
    struct api_job job;
};

/* `run` and `done` are set. The client is a number of the host's for whoever asked; 0: nobody. */
void api_work_start(struct api *api, struct api_work *work, enum api_lane lane, uint64_t client);

/* ---- Work of the loop, in pieces ------------------------------------------------------------- */

/* Each runs for a millisecond or two and adds itself again if there is more: one of them in a turn of the loop. */
struct api_chunk {
    struct api_chunk *next;
    void (*run)(struct api_chunk *chunk);
};

void api_chunk_add(struct api *api, struct api_chunk *chunk);

#endif
