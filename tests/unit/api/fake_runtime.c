/*
 * fake_runtime.c: see fake.h.
 */
#include "fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GOROUTINES_MAX 2048

static struct fake_goroutine {
    struct gr_info info;
    struct gr_hold *pending; /* the oldest; the others by `next` */
} goroutines[GOROUTINES_MAX];
static uint64_t count, clock_ns;
uint64_t fake_clock_step_ns;
static gr_event_fn *event_fn;
static void *event_ctx;
bool fake_cancelled_all, fake_births_told;
int64_t fake_spawn_result;
unsigned fake_spawn_room;
char fake_spawn_args[256];

void fake_reset(void)
{
    memset(goroutines, 0, sizeof goroutines);
    count = 0;
    clock_ns = 1000000000;
    fake_clock_step_ns = 0;
    fake_cancelled_all = false;
    fake_spawn_result = 0;
    fake_spawn_room = GOROUTINES_MAX;
    fake_wait = (struct gr_wait_info){0};
    fake_deadlocks = (struct gr_deadlocks){.because = GR_PROGRESS_EMPTY};
}

void fake_clock_set(uint64_t ns)
{
    clock_ns = ns;
}

void fake_clock_add_ms(uint64_t ms)
{
    clock_ns += ms * 1000000;
}

uint64_t fake_goroutine(enum gr_state state)
{
    struct gr_info *info = &goroutines[count++].info;
    info->id = info->root = count;
    info->state = state;
    info->m = info->p = -1;
    info->created_realtime_ns = 1700000000000000000;
    strcpy(info->module, "mod");
    strcpy(info->entry, "main");
    strcpy(info->name, "main");
    return count;
}

uint64_t fake_child(uint64_t parent, enum gr_state state)
{
    uint64_t id = fake_goroutine(state);
    goroutines[id - 1].info.parent = parent;
    goroutines[id - 1].info.root = goroutines[parent - 1].info.root;
    if (event_fn && fake_births_told)
        event_fn(event_ctx, GR_EVENT_CREATED, id, goroutines[id - 1].info.root, NULL);
    return id;
}

void fake_log(uint64_t id, const char *line)
{
    event_fn(event_ctx, GR_EVENT_LOG, id, id, line);
}

void fake_label(uint64_t id, const char *key, const char *value)
{
    struct gr_info *info = &goroutines[id - 1].info;
    strcpy(info->label[info->label_count].key, key);
    strcpy(info->label[info->label_count++].value, value);
}

static struct gr_hold *take_pending(struct fake_goroutine *g)
{
    struct gr_hold *hold = g->pending;
    if (hold)
        g->pending = hold->next;
    return hold;
}

void fake_end(uint64_t id)
{
    struct fake_goroutine *g = &goroutines[id - 1];
    g->info.state = GR_DEAD;
    for (struct gr_hold *pending; (pending = take_pending(g));) {
        g->info.holds--;
        atomic_store(&pending->state, GR_HOLD_GONE);
        pending->done(pending);
    }
    if (event_fn)
        event_fn(event_ctx, GR_EVENT_ENDED, id, id, NULL);
}

unsigned fake_holds(uint64_t id)
{
    return goroutines[id - 1].info.holds;
}

bool fake_pending(uint64_t id)
{
    return goroutines[id - 1].pending != NULL;
}

static void tell(struct fake_goroutine *g, struct gr_hold *hold, enum gr_hold_state state)
{
    hold->stopped_ns = clock_ns;
    hold->safepoint = GR_SAFEPOINT_ASYNC;
    hold->stopped_in = GR_PREEMPTED;
    if (state == GR_HOLD_STOPPED)
        g->info.state = GR_PREEMPTED;
    else
        g->info.holds--;
    atomic_store(&hold->state, state);
    hold->done(hold);
}

void fake_tell_stopped(uint64_t id)
{
    struct fake_goroutine *g = &goroutines[id - 1];
    for (struct gr_hold *hold; (hold = take_pending(g));)
        tell(g, hold, GR_HOLD_STOPPED);
}

void fake_tell_withdrawn(uint64_t id)
{
    struct fake_goroutine *g = &goroutines[id - 1];
    struct gr_hold *hold = take_pending(g);
    hold->refused[GR_REFUSED_LIBC] = 3;
    hold->attempts = 4;
    hold->pc = 0xabc;
    tell(g, hold, GR_HOLD_WITHDRAWN);
}

/* ---- runtime.h ------------------------------------------------------------------------------- */

uint64_t gr_now_ns(void)
{
    clock_ns += fake_clock_step_ns;
    return clock_ns;
}

int gr_info(uint64_t id, struct gr_info *info)
{
    if (id == 0 || id > count)
        return -ESRCH;
    *info = goroutines[id - 1].info;
    info->suspended = info->holds > 0 && !goroutines[id - 1].pending;
    if (fake_wait.object_count && (info->state == GR_WAITING || info->state == GR_SYSCALL))
        strcpy(info->wait_reason, gr_object_kind_name(fake_wait.object[0].kind));
    return 0;
}

int gr_info_result(uint64_t id, char **json)
{
    *json = strdup("{\"n\":1}");
    return id && id <= count ? 0 : -ESRCH;
}

size_t gr_list(enum gr_list_what what, uint64_t after, uint64_t *ids, size_t max)
{
    size_t found = 0;
    for (uint64_t id = after + 1; id <= count && found < max; id++)
        if ((goroutines[id - 1].info.state == GR_DEAD) == (what == GR_LIST_DEAD))
            ids[found++] = id;
    return found;
}

int gr_hold_start(struct gr_hold *hold, uint64_t id, uint64_t timeout_ns, gr_hold_fn *done,
                  void *ctx)
{
    if (id == 0 || id > count)
        return -ESRCH;
    struct fake_goroutine *g = &goroutines[id - 1];
    if (g->info.state == GR_DEAD)
        return -EOWNERDEAD;
    if (g->info.state == GR_RUNNING && timeout_ns == 0)
        return -ETIMEDOUT;
    hold->id = id;
    hold->ctx = ctx;
    hold->done = done;
    hold->asked_ns = clock_ns;
    g->info.holds++;
    if (g->info.state == GR_RUNNING) {
        struct gr_hold **last = &g->pending;
        while (*last)
            last = &(*last)->next;
        hold->next = NULL;
        *last = hold;
        atomic_store(&hold->state, GR_HOLD_PENDING);
        return GR_HOLD_PENDING;
    }
    hold->stopped_ns = clock_ns;
    hold->safepoint = GR_SAFEPOINT_BLOCKED;
    hold->stopped_in = g->info.state;
    atomic_store(&hold->state, GR_HOLD_STOPPED);
    return GR_HOLD_STOPPED;
}

bool gr_hold_cancel(struct gr_hold *hold)
{
    if (!hold->id || atomic_load(&hold->state) != GR_HOLD_PENDING)
        return false;
    struct fake_goroutine *g = &goroutines[hold->id - 1];
    struct gr_hold **link = &g->pending;
    while (*link && *link != hold)
        link = &(*link)->next;
    if (!*link)
        return false;
    *link = hold->next;
    g->info.holds--;
    atomic_store(&hold->state, GR_HOLD_WITHDRAWN);
    return true;
}

int gr_hold_end(struct gr_hold *hold)
{
    if (!hold->id || atomic_load(&hold->state) != GR_HOLD_STOPPED)
        return -EINVAL;
    struct gr_info *info = &goroutines[hold->id - 1].info;
    atomic_store(&hold->state, GR_HOLD_RELEASED);
    if (--info->holds == 0 && info->state == GR_PREEMPTED)
        info->state = GR_RUNNING;
    return 0;
}

int gr_copy_held(const struct gr_hold *hold, struct gr_copy *copy)
{
    copy->id = hold->id;
    copy->safepoint = hold->safepoint;
    copy->reg[0] = 0xff;
    copy->reg[1] = 1;
    copy->reg_present = 1; /* the second was not saved */
    copy->sp = 0x7000;
    copy->copied_bytes = 16;
    memcpy(copy->stack, "0123456789abcdef", 16);
    return 0;
}

size_t gr_copy_stack_bytes_max(void)
{
    return 4096;
}

size_t gr_copy_vector_bytes_max(void)
{
    return 64;
}

unsigned gr_register_count(void)
{
    return 2;
}

const char *gr_register_name(unsigned index)
{
    return index ? "r1" : "r0";
}

void gr_copy_vectors_each(const struct gr_copy *copy, gr_vector_fn *fn, void *arg)
{
    static const unsigned char bytes[4] = {0x01, 0x02, 0xab, 0xff};
    fn(arg, "v0", bytes, sizeof bytes);
}

int64_t gr_spawn(const char *module, const char *entry, const char *args_json,
                 const char *const *labels)
{
    if (strcmp(module, "mod"))
        return -ENOENT;
    if (strcmp(entry, "main"))
        return -ESRCH;
    if (fake_spawn_result)
        return fake_spawn_result;
    if (count == GOROUTINES_MAX || fake_spawn_room == 0)
        return -EAGAIN;
    fake_spawn_room--;
    strncpy(fake_spawn_args, args_json, sizeof fake_spawn_args - 1);
    return (int64_t)fake_goroutine(GR_RUNNING);
}

int gr_cancel(uint64_t id)
{
    if (id == 0 || id > count)
        return -ESRCH;
    goroutines[id - 1].info.cancelled = true;
    return goroutines[id - 1].info.state == GR_DEAD ? -EOWNERDEAD : 0;
}

void gr_cancel_all(void)
{
    fake_cancelled_all = true;
}

ssize_t gr_log_read(uint64_t root, uint64_t *from, char *buf, size_t bytes, uint64_t *lost)
{
    memcpy(buf, "one\ntwo \xff\n", 10);
    *from += 10;
    *lost = 0;
    return 10;
}

uint64_t *gr_list_all(size_t *found)
{
    uint64_t *ids = malloc((count + 1) * sizeof *ids);
    *found = gr_list(GR_LIST_LIVE, 0, ids, count);
    return ids;
}

void gr_tell_births(bool on)
{
    fake_births_told = on;
}

void gr_on_event(gr_event_fn *fn, void *ctx)
{
    event_fn = fn;
    event_ctx = ctx;
}

void gr_stats(struct gr_stats *stats)
{
    *stats = (struct gr_stats){.procs = 2, .async_preempt = true, .live = count};
}

int gr_set_procs(unsigned procs)
{
    return procs ? 0 : -EINVAL;
}

int gr_set_async_preempt(bool on)
{
    return 0;
}

int gr_set_time_slice_us(uint32_t us)
{
    return us ? 0 : -EINVAL;
}

const char *gr_state_name(enum gr_state state)
{
    static const char *const names[] = {"idle",    "runnable", "running",   "syscall", "waiting",
                                        "waiting", "waiting",  "preempted", "dead"};
    return names[state];
}

const char *gr_safepoint_name(enum gr_safepoint kind)
{
    static const char *const names[] = {"blocked", "sync", "async"};
    return names[kind];
}

const char *gr_refusal_name(enum gr_refusal reason)
{
    static const char *const names[] = {"not-running", "no-preempt",   "stack", "runtime",
                                        "libc",        "unsafe-point", "off",   "blocked"};
    return names[reason];
}

const char *gr_arch_name(void)
{
    return "fake";
}

size_t gr_module_list(struct gr_module_info *infos, size_t max)
{
    if (max)
        gr_module_info("mod", &infos[0]);
    return 1;
}

int gr_module_info(const char *name, struct gr_module_info *info)
{
    if (strcmp(name, "mod"))
        return -ENOENT;
    *info = (struct gr_module_info){.name = "mod", .path = "/mod.so", .loaded = true};
    return 0;
}

size_t gr_module_leaving(const char *name, struct gr_module_info *infos, size_t max)
{
    return 0;
}

/* "mod" is busy while it has a goroutine; nothing is unloaded really. */
int gr_module_unload(const char *name, char *err, size_t err_bytes)
{
    uint64_t id;
    if (strcmp(name, "mod"))
        return -ENOENT;
    snprintf(err, err_bytes, "goroutines of module mod live");
    return gr_list(GR_LIST_LIVE, 0, &id, 1) ? -EBUSY : 0;
}

ssize_t gr_module_entries(const char *name, struct gr_entry_info *entries, size_t max)
{
    strcpy(entries[0].name, "main");
    strcpy(entries[0].doc, "does it");
    return 1;
}

/* ---- waits.h --------------------------------------------------------------------------------- */

struct gr_wait_info fake_wait;
struct gr_deadlocks fake_deadlocks;

int gr_wait_info(uint64_t id, struct gr_wait_info *info)
{
    *info = fake_wait;
    info->id = id;
    return id && id <= count ? 0 : -ESRCH;
}

size_t gr_wait_slots(void)
{
    return count;
}

size_t gr_wait_parties(enum gr_object_kind kind, uint64_t address, struct gr_wait_party *out,
                       size_t max)
{
    if (kind == GR_OBJECT_CHANNEL && max > 1) {
        out[0] = (struct gr_wait_party){4, GR_WAIT_OP_SEND};
        out[1] = (struct gr_wait_party){5, GR_WAIT_OP_RECV};
        return 2;
    }
    if (max)
        out[0] = (struct gr_wait_party){6, GR_WAIT_OP_NONE};
    return 1;
}

const char *gr_object_kind_name(enum gr_object_kind kind)
{
    static const char *const names[] = {
        "",   "channel",  "mutex", "condition", "wait group", "pthread mutex", "pthread rwlock",
        "fd", "goroutine"};
    return names[kind];
}

const char *gr_progress_name(enum gr_progress progress)
{
    static const char *const names[] = {"none",  "empty", "runs",    "suspended", "cancelled",
                                        "timer", "fd",    "syscall", "thread"};
    return names[progress];
}

int gr_deadlocks(struct gr_deadlocks *report)
{
    *report = fake_deadlocks;
    report->stuck = malloc((report->count + 1) * sizeof *report->stuck);
    if (report->count)
        memcpy(report->stuck, fake_deadlocks.stuck, report->count * sizeof *report->stuck);
    return 0;
}

void gr_deadlocks_free(struct gr_deadlocks *report)
{
    free(report->stuck);
}

ssize_t gr_roots(const struct gr_copy *copy, struct gr_root *roots, size_t max)
{
    roots[0] = (struct gr_root){.kind = GR_ROOT_CHANNEL, .value = 0x1010, .object = 0x1000};
    roots[1] = (struct gr_root){.kind = GR_ROOT_OTHER_STACK,
                                .reg = -1,
                                .at = copy->sp + 8,
                                .value = 0x2000,
                                .object = 0x2000,
                                .goroutine = 9};
    roots[2] = (struct gr_root){
        .kind = GR_ROOT_DATA, .reg = -1, .at = 0x7010, .value = 0x3001, .object = 0x3000};
    strcpy(roots[2].module, "mod");
    return 3;
}

const char *gr_root_kind_name(enum gr_root_kind kind)
{
    static const char *const names[] = {"channel",    "mutex",       "condition",
                                        "wait group", "goroutine",   "result",
                                        "stack",      "other stack", "data"};
    return names[kind];
}
