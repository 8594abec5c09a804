/*
 * deadlock.c: whether goroutines wait for each other in a circle, and whether all of them wait.
 *
 * Each goroutine that waits for a lock points at the goroutine that holds it: one edge each, so that following
 * them finds every cycle in one walk. The edges are collected one after the other while the program runs, so a
 * cycle is looked at again: is each of its waits still the same one (waits.c), and each lock still held by the
 * next? All of them have been waiting since the survey ended, and a lock changes hands by its owner's doing
 * alone; so every edge was there at that moment, and is for good: it is a deadlock. (Without the second look at
 * the owner it need not be: the lock may have gone to a third before the owner began to wait.)
 *
 * Go reports only when its last thread goes to sleep, and a program with a timer never gets a report. Here cycles
 * are found whatever the others do. That everybody waits is a weaker finding, because a thread that is no
 * goroutine may still send: it is reported as such, and only when no goroutine is held, cancelled, in the kernel,
 * or waits for time or a descriptor.
 *
 * Locks: none.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

struct node {
    struct gri_wait_view view;
    struct gr_stuck stuck;
    size_t next;   /* index of the goroutine that it waits for; NOBODY */
    uint32_t mark; /* the walk that came by here first; 0: none */
};
#define NOBODY SIZE_MAX

struct survey {
    struct node *node;
    size_t count, capacity;
    bool failed;
    uint64_t last_id; /* before the survey began */
    enum gr_progress progress;
    uint64_t progress_id;
};

const char *gr_progress_name(enum gr_progress progress)
{
    static const char *const names[GR_PROGRESSES] = {
        [GR_PROGRESS_NONE] = "none",
        [GR_PROGRESS_EMPTY] = "empty",
        [GR_PROGRESS_RUNS] = "runs",
        [GR_PROGRESS_SUSPENDED] = "suspended",
        [GR_PROGRESS_CANCELLED] = "cancelled",
        [GR_PROGRESS_TIMER] = "timer",
        [GR_PROGRESS_FD] = "fd",
        [GR_PROGRESS_SYSCALL] = "syscall",
        [GR_PROGRESS_THREAD] = "thread",
    };

    return (unsigned)progress < GR_PROGRESSES ? names[progress] : "";
}

/* ---- Surveying ----------------------------------------------------------------------------------- */

static void note_progress(struct survey *survey, enum gr_progress progress, uint64_t id)
{
    if (survey->progress != GR_PROGRESS_NONE || progress == GR_PROGRESS_NONE)
        return;
    survey->progress = progress;
    survey->progress_id = id;
}

/* What lets this goroutine go on without another goroutine. */
static enum gr_progress progress_of(const struct gri_wait_view *view)
{
    enum gr_state state = view->state;

    if (gri_word_holds(view->word) > 0)
        return GR_PROGRESS_SUSPENDED;
    if (state != GR_WAITING && state != GR_SYSCALL)
        return GR_PROGRESS_RUNS;
    if (view->cancelled)
        return GR_PROGRESS_CANCELLED;
    if (view->reason == GRI_WAIT_SYSCALL)
        return GR_PROGRESS_SYSCALL;
    if (view->reason == GRI_WAIT_SLEEP || view->deadline_ns > 0)
        return GR_PROGRESS_TIMER;
    return view->reason == GRI_WAIT_POLL ? GR_PROGRESS_FD : GR_PROGRESS_NONE;
}

static struct node *add_node(struct survey *survey)
{
    if (survey->count == survey->capacity) {
        size_t capacity = survey->capacity ? 2 * survey->capacity : 256;
        struct node *bigger = realloc(survey->node, capacity * sizeof *bigger);

        if (!bigger) {
            survey->failed = true;
            return NULL;
        }
        survey->node = bigger;
        survey->capacity = capacity;
    }
    return &survey->node[survey->count++];
}

static void survey_one(void *arg, struct gr_g *g, uint64_t word)
{
    struct survey *survey = arg;
    struct gr_wait_object objects[GR_SELECT_CASES_MAX];
    enum gr_progress progress;
    struct node *node = add_node(survey);
    size_t count;

    if (!node)
        return;
    memset(node, 0, sizeof *node);
    node->next = NOBODY;
    gri_wait_look(g, word, &node->view);
    node->stuck.id = node->view.id;
    progress = progress_of(&node->view);
    note_progress(survey, progress, node->view.id);
    if (progress != GR_PROGRESS_NONE)
        return;
    count = gri_wait_objects(&node->view, objects, GR_SELECT_CASES_MAX);
    if (count > 0) {
        node->stuck.object = objects[0];
        node->stuck.more = count - 1;
        /* Handed to it already (waits.c, N2); or libc's, of which that can't be told. */
        if (objects[0].owner == node->view.id) {
            note_progress(survey, objects[0].owner_thread ? GR_PROGRESS_SYSCALL : GR_PROGRESS_RUNS,
                          node->view.id);
            return;
        }
        node->stuck.waits_for = objects[0].owner;
        if (objects[0].owner_thread > 0 && objects[0].owner == 0)
            note_progress(survey, GR_PROGRESS_THREAD, node->view.id);
    }
}

static int by_id(const void *a, const void *b)
{
    const struct node *x = a, *y = b;

    return x->view.id < y->view.id ? -1 : x->view.id > y->view.id;
}

static size_t find(const struct survey *survey, uint64_t id)
{
    struct node key = {.view.id = id};
    const struct node *node =
        bsearch(&key, survey->node, survey->count, sizeof *survey->node, by_id);

    return node ? (size_t)(node - survey->node) : NOBODY;
}

/* ---- Cycles -------------------------------------------------------------------------------------- */

static bool cycle_lasts(const struct survey *survey, size_t first)
{
    size_t at = first;

    do {
        const struct node *node = &survey->node[at];
        struct gr_wait_object object = {0};

        if (gri_wait_objects(&node->view, &object, 1) != 1 ||
            object.owner != node->stuck.waits_for || !gri_wait_same(&node->view))
            return false;
        at = node->next;
    } while (at != first);
    return true;
}

static void append_cycle(struct gr_deadlocks *report, struct survey *survey, size_t first)
{
    size_t at = first;

    report->cycles++;
    do {
        survey->node[at].stuck.cycle = report->cycles;
        report->stuck[report->count++] = survey->node[at].stuck;
        at = survey->node[at].next;
    } while (at != first);
}

/* Each walk marks what it comes by; one that meets its own mark has gone round a cycle. */
static void find_cycles(struct gr_deadlocks *report, struct survey *survey)
{
    for (size_t i = 0; i < survey->count; i++)
        if (survey->node[i].stuck.waits_for)
            survey->node[i].next = find(survey, survey->node[i].stuck.waits_for);
    for (size_t i = 0; i < survey->count; i++) {
        uint32_t walk = (uint32_t)i + 1;
        size_t at = i;

        while (at != NOBODY && survey->node[at].mark == 0) {
            survey->node[at].mark = walk;
            at = survey->node[at].next;
        }
        if (at != NOBODY && survey->node[at].mark == walk && cycle_lasts(survey, at))
            append_cycle(report, survey, at);
    }
}

/* ---- All ----------------------------------------------------------------------------------------- */

static void check_all(struct survey *survey)
{
    if (survey->count == 0)
        note_progress(survey, GR_PROGRESS_EMPTY, 0);
    for (size_t i = 0; i < survey->count && survey->progress == GR_PROGRESS_NONE; i++)
        if (!gri_wait_same(&survey->node[i].view))
            note_progress(survey, GR_PROGRESS_RUNS, survey->node[i].view.id);
    /* Born since the survey began: it may have been missed, and it runs. */
    if (gri_registry_last_id() != survey->last_id)
        note_progress(survey, GR_PROGRESS_RUNS, gri_registry_last_id());
}

int gr_deadlocks(struct gr_deadlocks *report)
{
    struct survey survey = {.last_id = gri_registry_last_id()};

    memset(report, 0, sizeof *report);
    gri_registry_each(survey_one, &survey);
    report->stuck = survey.failed ? NULL : malloc((survey.count + 1) * sizeof *report->stuck);
    if (!report->stuck) {
        free(survey.node);
        return -ENOMEM;
    }
    if (survey.count)
        qsort(survey.node, survey.count, sizeof *survey.node, by_id);
    find_cycles(report, &survey);
    check_all(&survey);
    report->live = survey.count;
    report->because = survey.progress;
    report->because_id = survey.progress_id;
    report->all_wait = survey.progress == GR_PROGRESS_NONE;
    for (size_t i = 0; i < survey.count && report->all_wait; i++)
        if (survey.node[i].stuck.cycle == 0)
            report->stuck[report->count++] = survey.node[i].stuck;
    free(survey.node);
    return 0;
}

void gr_deadlocks_free(struct gr_deadlocks *report)
{
    free(report->stuck);
    report->stuck = NULL;
    report->count = 0;
}
