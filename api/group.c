/*
 * group.c: see group.h for the essay and the invariants.
 */
#include "group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ASK_NS     2000000 /* the loop asks for so long at a time */
#define ASK_LOOK   32      /* members between two looks at the clock */
#define PASSES_MAX 1000    /* generations that are born while we ask; more is a fault of ours */

/* So long all cuts wait for goroutines of one that don't stop; then the next one begins. */
#define OVERDUE_NS 50000000

static struct api_group *group_of_work(struct api_work *work)
{
    return (struct api_group *)((char *)work - offsetof(struct api_group, work));
}

/* ---- Who belongs to it (pool) ---------------------------------------------------------------- */

/* A newcomer since the first pass: one of ours, one of the excepted's, or a stranger. */
static bool take_newcomer(struct api_group *group, uint64_t id, const struct gr_info *info)
{
    if (group->selection.kind == API_SELECT_ALL) {
        bool shunned = info->parent && (api_ids_have(&group->selection.except, info->parent) ||
                                        api_ids_have(&group->shunned, info->parent));
        return shunned ? api_ids_add(&group->shunned, id) : api_ids_add(&group->chosen, id);
    }
    return !info->parent || !api_ids_have(&group->chosen, info->parent) ||
           api_ids_add(&group->chosen, id);
}

static bool look_at(struct api_group *group, uint64_t id)
{
    struct gr_info info;
    if (api_ids_have(&group->selection.except, id) || api_ids_have(&group->seen, id))
        return true;
    if (gr_info(id, &info) || info.state == GR_DEAD)
        return true; /* it ended meanwhile */
    if (group->passes > 0)
        return take_newcomer(group, id, &info);
    return !api_selection_match(&group->selection, &info) || api_ids_add(&group->chosen, id);
}

/* Ids that were named are asked for whether they live or not: why one fails is for the answer. */
static bool take_ids(struct api_group *group, const struct api_ids *live)
{
    const struct api_ids *ids = &group->selection.ids;
    bool any = false;
    for (size_t i = 0; i < ids->count; i++) {
        if (api_ids_have(&group->selection.except, ids->ids[i]))
            continue;
        any |= api_ids_have(live, ids->ids[i]);
        if (!api_ids_add(&group->chosen, ids->ids[i]))
            return false;
    }
    if (!any)
        group->outcome = API_GROUP_NOTHING;
    return true;
}

/* What is alive now joins `seen`. */
static bool remember(struct api_group *group, struct api_ids *live)
{
    if (group->passes == 0) {
        group->seen = *live;
        *live = (struct api_ids){0};
        return true;
    }
    for (size_t i = 0; i < live->count; i++)
        if (!api_ids_add(&group->seen, live->ids[i]))
            return false;
    api_ids_sort(&group->seen);
    return true;
}

/* Members for those that this pass chose. */
static bool make_members(struct api_group *group)
{
    size_t count = group->chosen.count - group->pass_from;
    struct api_member *member = count ? api_suspension_extend(group->suspension, count) : NULL;
    group->asking = member;
    for (size_t i = 0; i < count && member; i++)
        member[i].hold.id = group->chosen.ids[group->pass_from + i];
    return !count || member;
}

/*
 * The lists that a pass adds to must be sorted again before the next one looks into them, while
 * this pass's part must stay together: so it is told apart by its place before the sort.
 */
static bool evaluate_pass(struct api_group *group, struct api_ids *live)
{
    group->pass_from = group->chosen.count;
    if (group->passes == 0 && group->selection.kind == API_SELECT_IDS) {
        if (!take_ids(group, live))
            return false;
    } else {
        for (size_t i = 0; i < live->count; i++)
            if (!look_at(group, live->ids[i]))
                return false;
    }
    if (!make_members(group))
        return false;
    if (group->passes == 0 && group->chosen.count == 0)
        group->outcome = API_GROUP_NOTHING;
    api_ids_sort(&group->chosen);
    api_ids_sort(&group->shunned);
    return remember(group, live);
}

/* A body may name a hundred thousand ids, which the loop must not free one by one. */
static bool read_selection(struct api_group *group)
{
    bool read = api_selection_read(group->call, &group->selection);
    if (!read)
        group->outcome = API_GROUP_REFUSED;
    json_object_del(group->call->body, "ids");
    json_object_del(group->call->body, "except");
    return read;
}

static void look_for_members(struct api_group *group)
{
    struct api_ids live = {0};
    live.ids = gr_list_all(&live.count);
    live.capacity = live.count;
    if (!evaluate_pass(group, &live))
        group->outcome = API_GROUP_NO_MEMORY;
    free(live.ids);
}

/* ---- What became of them (pool; nobody is pending) ------------------------------------------- */

static bool is_failure(const struct api_group *group, const struct api_member *member)
{
    /* Who was not named and ended before it stopped has left the set by itself. */
    bool named = group->selection.kind == API_SELECT_IDS &&
                 api_ids_have(&group->selection.ids, member->hold.id);
    return member->error != 0 && (member->error != -EOWNERDEAD || named);
}

/* Takes the members that do not hold off the suspension and notes why. */
static bool sort_out(struct api_group *group)
{
    struct api_suspension *s = group->suspension;
    size_t failed = 0, held = 0;
    for (struct api_member *m = s->members; m; m = m->sibling) {
        held += m->error == 0;
        failed += is_failure(group, m);
    }
    s->failed = failed ? calloc(failed, sizeof *s->failed) : NULL;
    if (failed && !s->failed)
        return false;
    s->members_last = &s->members;
    for (struct api_member *m = s->members, *next; m; m = next) {
        next = m->sibling;
        if (m->error == 0) {
            *s->members_last = m;
            s->members_last = &m->sibling;
        } else if (is_failure(group, m)) {
            struct api_failure *failure = &s->failed[s->failed_count++];
            *failure = (struct api_failure){.id = m->hold.id, .error = m->error};
            if (m->error == -ETIMEDOUT) {
                failure->pc = m->hold.pc;
                failure->attempts = m->hold.attempts;
                memcpy(failure->refused, m->hold.refused, sizeof failure->refused);
            }
        }
    }
    *s->members_last = NULL;
    s->count = held;
    return true;
}

/* How the last pass ended; true: it was the last of all. */
static bool look_back(struct api_group *group)
{
    for (struct api_member *m = group->suspension->members; m; m = m->sibling) {
        /* acquire; pairs with the teller's release: the hold's fields are complete. */
        uint32_t state = atomic_load_explicit(&m->hold.state, memory_order_acquire);
        if (m->error == 0 && state != GR_HOLD_STOPPED)
            m->error = state == GR_HOLD_GONE ? -EOWNERDEAD : -ETIMEDOUT;
        group->failed |= is_failure(group, m);
    }
    bool late = gr_now_ns() >= group->deadline_ns && group->passes > 1;
    return (group->failed && group->require_all) || late || group->passes == PASSES_MAX;
}

static void evaluate(struct api_work *work)
{
    struct api_group *group = group_of_work(work);
    group->asking = NULL;
    if (group->passes == 0 && !read_selection(group))
        return;
    group->over = group->passes > 0 && look_back(group);
    if (!group->over)
        look_for_members(group);
    group->over = group->over || !group->asking; /* nobody new */
    if (group->over && group->outcome == API_GROUP_HELD && !sort_out(group))
        group->outcome = API_GROUP_NO_MEMORY;
}

/* ---- The end (loop) -------------------------------------------------------------------------- */

static void finish(struct api_group *group)
{
    api_pending_remove(&group->listed);
    api_timer_clear(group->api, &group->overdue);
    group->call->abandon = NULL;
    free(group->seen.ids);
    free(group->shunned.ids);
    free(group->chosen.ids);
    group->seen = group->shunned = group->chosen = (struct api_ids){0};
    group->done(group, group->outcome);
}

static void all_gone(struct api_suspension *suspension)
{
    finish(suspension->call->state);
}

/* Everything that stopped is let go before anybody hears of it. */
static void give_back(struct api_group *group, enum api_group_outcome outcome)
{
    group->outcome = outcome;
    api_suspension_let_go(group->suspension, all_gone);
}

static void conclude(struct api_group *group)
{
    if (group->suspension->count == 0 && group->suspension->failed_count == 0)
        give_back(group, API_GROUP_NOTHING); /* all of them ended while they were asked */
    else if (group->suspension->count == 0 ||
             (group->require_all && group->suspension->failed_count))
        give_back(group, API_GROUP_FAILED);
    else
        finish(group);
}

/* ---- Asking (loop) --------------------------------------------------------------------------- */

/* I1: `count` less; the last one brings the group home. */
static void settle(struct api_group *group, size_t count)
{
    struct api_host *host = &group->api->host;
    /* acq_rel: what each call-back saw happens before the task; pairs with itself. */
    if (atomic_fetch_sub_explicit(&group->pending, count, memory_order_acq_rel) == count)
        host->post(host->ctx, &group->task);
}

/* Any thread, system stack. */
static void on_hold(struct gr_hold *hold)
{
    settle(hold->ctx, 1);
}

static void ask(struct api_group *group, struct api_member *member)
{
    uint64_t now = gr_now_ns();
    uint64_t left = group->deadline_ns > now ? group->deadline_ns - now : 0;
    /* Relaxed: the call-back comes after the request. */
    atomic_fetch_add_explicit(&group->pending, 1, memory_order_relaxed);
    int result = gr_hold_start(&member->hold, member->hold.id, left, on_hold, group);
    if (result == GR_HOLD_PENDING)
        return;
    /* Relaxed, and never to 0: the loop's own one is still in it (I1). */
    atomic_fetch_sub_explicit(&group->pending, 1, memory_order_relaxed);
    member->error = result < 0 ? result : 0;
}

/* Asks for a while; true: for all of this pass. */
static bool ask_some(struct api_group *group)
{
    uint64_t until = gr_now_ns() + ASK_NS;
    for (size_t i = 1; group->asking && !group->given_up; i++) {
        ask(group, group->asking);
        group->asking = group->asking->sibling;
        if (i % ASK_LOOK == 0 && gr_now_ns() >= until)
            break;
    }
    return !group->asking || group->given_up;
}

/* Requests that nobody wants any more. */
static void withdraw_pending(struct api_group *group)
{
    size_t withdrawn = 0;
    for (struct api_member *m = group->suspension->members; m; m = m->sibling) {
        /* relaxed: cancelling decides under the list's lock. */
        bool pending =
            atomic_load_explicit(&m->hold.state, memory_order_relaxed) == GR_HOLD_PENDING;
        if (pending && gr_hold_cancel(&m->hold))
            withdrawn++;
    }
    if (withdrawn)
        settle(group, withdrawn);
}

static void evaluated(struct api_work *work);

/*
 * Members stand still from the first pass on, so that the later ones let nobody go first. Nor does one at the gate of cuts:
 * all other cuts wait for it, and would wait for whatever else its client has asked for.
 */
static void next_pass(struct api_group *group)
{
    struct api_call *call = group->call;
    bool has_turn = group->passes == 0 && call->place.gate == &call->api->heavy;
    enum api_lane lane = has_turn ? API_LANE_OWN : API_LANE_AHEAD;
    api_timer_clear(group->api, &group->overdue);
    group->evaluating = true;
    group->work.run = evaluate;
    group->work.done = evaluated;
    api_work_start(group->api, &group->work, lane, call->client);
}

/* Somebody of it doesn't stop: others may make their cuts meanwhile. */
static void overdue(struct api_timer *timer)
{
    struct api_group *group =
        (struct api_group *)((char *)timer - offsetof(struct api_group, overdue));
    api_call_leave(group->call);
}

/* I1: from now on the call-backs alone are waited for. */
static void wait_for_stops(struct api_group *group)
{
    group->asked_all = true;
    if (group->given_up)
        withdraw_pending(group);
    else
        (void)api_timer_set(group->api, &group->overdue, gr_now_ns() + OVERDUE_NS);
    settle(group, 1);
}

/* Nobody is pending. */
static void came_home(struct api_task *task)
{
    struct api_group *group = (struct api_group *)((char *)task - offsetof(struct api_group, task));
    if (group->given_up)
        give_back(group, API_GROUP_GIVEN_UP);
    else
        next_pass(group);
}

static void step(struct api_chunk *chunk)
{
    struct api_group *group =
        (struct api_group *)((char *)chunk - offsetof(struct api_group, chunk));
    if (ask_some(group))
        wait_for_stops(group);
    else
        api_chunk_add(group->api, chunk);
}

static void evaluated(struct api_work *work)
{
    struct api_group *group = group_of_work(work);
    group->evaluating = false;
    if (group->call->place.gate == &group->api->heavy)
        api_call_leave(group->call);
    if (group->given_up) {
        give_back(group, API_GROUP_GIVEN_UP);
    } else if (group->outcome != API_GROUP_HELD) {
        give_back(group, group->outcome);
    } else if (group->over) {
        conclude(group);
    } else {
        /* From now, not from the request: that may have waited for its turn, and a large set takes a while to find. */
        if (group->passes++ == 0)
            group->deadline_ns = gr_now_ns() + group->timeout_ns;
        group->asked_all = false;
        atomic_store_explicit(&group->pending, 1, memory_order_relaxed); /* I1 */
        api_chunk_add(group->api, &group->chunk);
    }
}

static void abandoned(struct api_call *call)
{
    struct api_group *group = call->state;
    bool first = !group->given_up;
    group->given_up = true;
    /* Otherwise the pool's or the loop's next step sees it. */
    if (first && group->asked_all && !group->evaluating)
        withdraw_pending(group);
}

/* ---- The beginning --------------------------------------------------------------------------- */

struct api_group *api_group_start(struct api_call *call,
                                  void (*done)(struct api_group *group,
                                               enum api_group_outcome outcome))
{
    const char *require = api_body_string(call, "require");
    struct api_group *group = calloc(1, sizeof *group);
    if (!group || !(group->suspension = api_suspension_create(call, 0))) {
        free(group);
        api_problem_no_memory(call);
        return NULL;
    }
    group->require_all = require && strcmp(require, "all") == 0;
    if (require && !group->require_all && strcmp(require, "any") != 0) {
        api_problem(call, 400, API_CODE_BAD_REQUEST, "field require must be \"any\" or \"all\"");
        api_suspension_destroy(group->suspension);
        free(group);
        return NULL;
    }
    group->api = call->api;
    group->call = call;
    group->done = done;
    group->task.run = came_home;
    group->chunk.run = step;
    group->overdue.fire = overdue;
    group->suspension->group = true;
    group->timeout_ns = api_body_uint(call, "timeout_ms", API_TIMEOUT_MS_DEFAULT) * 1000000;
    group->given_up = call->abandoned; /* while its body was read: nobody is asked to stop */
    call->state = group;
    call->abandon = abandoned;
    api_pending_add(call->api, &group->listed, call);
    next_pass(group);
    return group;
}

void api_group_free(struct api_group *group)
{
    api_selection_free(&group->selection);
    free(group);
}

void api_group_problem(struct api_call *call, const struct api_group *group)
{
    const struct api_suspension *s = group->suspension;
    json_t *failed = json_pack("{s:o}", "failed", api_failures_json(s->failed, s->failed_count));
    switch (group->outcome) {
    case API_GROUP_REFUSED:
        json_decref(failed);
        return;
    case API_GROUP_NOTHING:
        api_problem_with(call, 404, API_CODE_NOTHING_SELECTED, failed,
                         "no living goroutine is selected; nothing is held");
        return;
    case API_GROUP_FAILED:
        api_problem_with(
            call, 409, API_CODE_SUSPEND_INCOMPLETE, failed,
            "%zu of the goroutines could not be held, so that none is; \"failed\" names "
            "them and says why",
            s->failed_count);
        return;
    case API_GROUP_GIVEN_UP:
        json_decref(failed);
        if (call->api->draining)
            api_problem(call, 503, API_CODE_DRAINING, "the daemon is going down");
        else
            api_problem(call, 408, API_CODE_REQUEST_TIMEOUT,
                        "the connection ended before all had stopped; nothing is held");
        return;
    default:
        json_decref(failed);
        api_problem_no_memory(call);
        return;
    }
}

void api_group_reply_not_held(struct api_call *call)
{
    struct api_group *group = call->state;
    api_group_problem(call, group);
    api_suspension_destroy(group->suspension);
    api_group_free(group);
    call->state = NULL;
}
