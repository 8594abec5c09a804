/*
 * deadlock_watch.c: see deadlock_watch.h.
 */
#include "deadlock_watch.h"

#include <stdlib.h>
#include <string.h>

#include <grasp/waits.h>

#include "internal.h"

static struct api *api_of(struct api_deadlock_watch *watch)
{
    return (struct api *)((char *)watch - offsetof(struct api, deadlocks));
}

/* The same for the same goroutines in the same waits; never 0. */
static uint64_t signature_of(const struct gr_deadlocks *report)
{
    uint64_t hash = 14695981039346656037u + report->all_wait;
    for (size_t i = 0; i < report->count; i++) {
        const struct gr_stuck *stuck = &report->stuck[i];
        hash = (hash ^ stuck->id) * 1099511628211u;
        hash = (hash ^ stuck->object.address) * 1099511628211u;
    }
    return hash | 1;
}

/* Pool. */
static void look(struct api_work *work)
{
    struct api_deadlock_watch *watch =
        (struct api_deadlock_watch *)((char *)work - offsetof(struct api_deadlock_watch, work));
    struct gr_deadlocks report;
    uint64_t began = gr_now_ns();
    watch->signature = 0;
    if (gr_deadlocks(&report))
        return; /* out of memory: the next look may see more */
    if (report.cycles || report.all_wait)
        watch->signature = signature_of(&report);
    gr_deadlocks_free(&report);
    if (watch->signature && watch->signature != watch->told)
        watch->report = api_deadlocks_json();
    watch->took_ns = gr_now_ns() - began;
}

static void tell(struct api *api, json_t *report)
{
    struct api_event event = {.type = API_EVENT_DEADLOCK};
    char *text = json_dumps(report, JSON_COMPACT);
    if (text && strlen(text) > API_DEADLOCK_TEXT_BYTES) {
        free(text);
        json_object_set_new(report, "cycles", json_array());
        json_object_set_new(report, "waiting", json_array());
        json_object_set_new(report, "truncated", json_true());
        text = json_dumps(report, JSON_COMPACT);
    }
    if (text)
        api_event_add(api, &event, text, strlen(text));
    free(text);
}

static void looked(struct api_work *work)
{
    struct api_deadlock_watch *watch =
        (struct api_deadlock_watch *)((char *)work - offsetof(struct api_deadlock_watch, work));
    struct api *api = api_of(watch);
    uint64_t pause = watch->took_ns * API_DEADLOCK_SHARE;
    /* Between the two looks of the job it may have gone: then there is nothing to tell yet. */
    if (watch->report && json_is_true(json_object_get(watch->report, "deadlock"))) {
        tell(api, watch->report);
        watch->told = watch->signature;
    } else if (!watch->signature) {
        watch->told = 0;
    }
    json_decref(watch->report);
    watch->report = NULL;
    if (api_timer_set(api, &watch->timer,
                      gr_now_ns() + (pause > API_DEADLOCK_LOOK_NS ? pause : API_DEADLOCK_LOOK_NS)))
        watch->running = false;
}

static void due(struct api_timer *timer)
{
    struct api_deadlock_watch *watch =
        (struct api_deadlock_watch *)((char *)timer - offsetof(struct api_deadlock_watch, timer));
    struct api *api = api_of(watch);
    if (api->events.stream_count == 0 || api->draining) {
        watch->running = false;
        return;
    }
    watch->work.run = look;
    watch->work.done = looked;
    api_work_start(api, &watch->work, API_LANE_LONG, 0);
}

int api_deadlock_watch_start(struct api *api)
{
    struct api_deadlock_watch *watch = &api->deadlocks;
    if (watch->running)
        return 0;
    watch->timer.fire = due;
    watch->told = 0; /* whoever follows from now on has not heard of it */
    int err = api_timer_set(api, &watch->timer, gr_now_ns() + API_DEADLOCK_LOOK_NS);
    watch->running = err == 0;
    return err;
}
