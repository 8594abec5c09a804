/*
 * turns.c: see turns.h.
 */
#include "turns.h"

#include "internal.h"

/* ---- The row --------------------------------------------------------------------------------- */

/* The first that waits of a client; *before: who stands before it in the row. The row is as long as there are clients. */
static struct api_turn *first_of(const struct api_gate *gate, uint64_t client,
                                 struct api_turn **before)
{
    struct api_turn *turn = gate->first;
    *before = NULL;
    while (turn && turn->client != client) {
        *before = turn;
        turn = turn->next;
    }
    return turn;
}

static void join(struct api_turn **first, struct api_turn **last, struct api_turn *turn)
{
    turn->next = NULL;
    if (*first)
        (*last)->next = turn;
    else
        *first = turn;
    *last = turn;
}

/* `then` takes its place; NULL: nobody. */
static void leave(struct api_turn **first, struct api_turn **last, struct api_turn *before,
                  struct api_turn *turn, struct api_turn *then)
{
    struct api_turn *next = turn->next;
    if (then)
        then->next = next;
    struct api_turn *now = then ? then : next;
    if (before)
        before->next = now;
    else
        *first = now;
    if (*last == turn)
        *last = then ? then : before;
}

/* Whoever hangs on it hangs on the next of the same client, which is returned. */
static struct api_turn *pass_on(struct api_turn *turn)
{
    struct api_turn *heir = turn->behind;
    if (heir)
        heir->last = turn->last;
    return heir;
}

static void wait_in_row(struct api_gate *gate, struct api_turn *turn)
{
    struct api_turn *before, *first = first_of(gate, turn->client, &before);
    turn->behind = NULL;
    turn->last = turn;
    if (!first) {
        join(&gate->first, &gate->last, turn);
        return;
    }
    first->last->behind = turn;
    first->last = turn;
}

static void withdraw(struct api_gate *gate, struct api_turn *turn)
{
    struct api_turn *before = NULL, *first;
    if (turn->ahead) {
        for (first = gate->ahead_first; first != turn; first = first->next)
            before = first;
        leave(&gate->ahead_first, &gate->ahead_last, before, turn, NULL);
        return;
    }
    first = first_of(gate, turn->client, &before);
    if (first == turn) {
        leave(&gate->first, &gate->last, before, turn, pass_on(turn));
        return;
    }
    struct api_turn *previous = first;
    while (previous->behind != turn)
        previous = previous->behind;
    previous->behind = turn->behind;
    if (first->last == turn)
        first->last = previous;
}

/* ---- Turns ----------------------------------------------------------------------------------- */

static bool has_room(const struct api_gate *gate)
{
    return gate->running < gate->at_once + gate->ahead &&
           gate->running - gate->running_ahead < gate->at_once;
}

/* Where others wait, one place is left to them: those that go ahead may be followed by more of them for ever. */
static bool has_room_ahead(const struct api_gate *gate)
{
    size_t all = gate->at_once + gate->ahead;
    return gate->running < all && (!gate->first || gate->running_ahead + 1 < all);
}

static struct api_turn *next_turn(struct api_gate *gate)
{
    struct api_turn *turn = gate->ahead_first;
    if (turn && has_room_ahead(gate)) {
        leave(&gate->ahead_first, &gate->ahead_last, NULL, turn, NULL);
        return turn;
    }
    turn = gate->first;
    if (!turn || !has_room(gate))
        return NULL;
    struct api_turn *heir = pass_on(turn);
    leave(&gate->first, &gate->last, NULL, turn, NULL);
    if (heir)
        join(&gate->first, &gate->last, heir); /* the client's next waits for all the others */
    return turn;
}

/* A loop and no recursion: what begins may be over at once, and let another begin. */
static void serve(struct api_gate *gate)
{
    struct api_turn *turn;
    if (gate->serving)
        return;
    gate->serving = true;
    while ((turn = next_turn(gate))) { /* each takes one that waits away */
        gate->running++;
        gate->running_ahead += turn->ahead;
        turn->state = API_TURN_HAD;
        turn->begin(turn);
    }
    gate->serving = false;
}

bool api_gate_open(const struct api_gate *gate)
{
    return !gate->serving && !gate->first && has_room(gate);
}

void api_turn_ask(struct api_gate *gate, struct api_turn *turn)
{
    turn->state = API_TURN_WAITS;
    if (turn->ahead)
        join(&gate->ahead_first, &gate->ahead_last, turn);
    else
        wait_in_row(gate, turn);
    serve(gate);
}

void api_turn_end(struct api_gate *gate, struct api_turn *turn)
{
    enum api_turn_state state = turn->state;
    turn->state = API_TURN_NONE;
    if (state == API_TURN_WAITS)
        withdraw(gate, turn);
    if (state != API_TURN_HAD)
        return;
    gate->running--;
    gate->running_ahead -= turn->ahead;
    serve(gate);
}

/* ---- Work ------------------------------------------------------------------------------------ */

static struct api_work *work_of(struct api_job *job)
{
    return (struct api_work *)((char *)job - offsetof(struct api_work, job));
}

static void job_work(struct api_job *job)
{
    struct api_work *work = work_of(job);
    work->run(work);
}

static void job_done(struct api_job *job)
{
    struct api_work *work = work_of(job);
    if (work->gate)
        api_turn_end(work->gate, &work->turn);
    work->done(work); /* which may be its end */
}

static void work_begin(struct api_turn *turn)
{
    struct api_work *work = (struct api_work *)((char *)turn - offsetof(struct api_work, turn));
    work->api->host.pool(work->api->host.ctx, &work->job);
}

void api_work_start(struct api *api, struct api_work *work, enum api_lane lane, uint64_t client)
{
    work->api = api;
    work->job.work = job_work;
    work->job.done = job_done;
    work->gate = lane == API_LANE_OWN ? NULL : lane == API_LANE_BRIEF ? &api->brief : &api->heavy;
    work->turn =
        (struct api_turn){.client = client, .begin = work_begin, .ahead = lane == API_LANE_AHEAD};
    if (work->gate)
        api_turn_ask(work->gate, &work->turn);
    else
        work_begin(&work->turn);
}

/* ---- Chunks ---------------------------------------------------------------------------------- */

static void run_one(struct api_task *task)
{
    struct api *api = (struct api *)((char *)task - offsetof(struct api, chunk_task));
    struct api_chunk *chunk = api->chunks;
    api->chunks = chunk->next;
    api->chunk_due = api->chunks != NULL;
    /* Before it runs, so that it comes in another turn even if this one adds itself again. */
    if (api->chunk_due)
        api->host.post(api->host.ctx, task);
    chunk->run(chunk);
}

void api_chunk_add(struct api *api, struct api_chunk *chunk)
{
    chunk->next = NULL;
    if (api->chunks)
        api->chunks_last->next = chunk;
    else
        api->chunks = chunk;
    api->chunks_last = chunk;
    if (api->chunk_due)
        return;
    api->chunk_due = true;
    api->chunk_task.run = run_one;
    api->host.post(api->host.ctx, &api->chunk_task);
}
