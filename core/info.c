/*
 * info.c: what is shown of a goroutine, alive or ended, and the lists of both.
 *
 * Of the living, fields are read without stopping anyone; the generation is read before and after, so that
 * what is shown is of one life. Those that ended are dead.c's.
 *
 * Lock: g->meta_lock guards the strings of a living one, and whether it is wired.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

static uint64_t load(const _Atomic(uint64_t) *field)
{
    /* relaxed: shown to people. */
    return atomic_load_explicit(field, memory_order_relaxed);
}

/* ---- The living ---------------------------------------------------------------------------------- */

static void info_strings(struct gr_g *g, struct gr_info *info)
{
    gri_lock(&g->meta_lock);
    strcpy(info->name, g->name);
    info->wired = g->wired;
    gri_text_copy(info->module, sizeof info->module, g->module ? gri_module_name(g->module) : "");
    gri_text_copy(info->entry, sizeof info->entry, g->root_entry ? g->root_entry->name : "");
    gri_labels_copy(g->labels, info);
    gri_unlock(&g->meta_lock);
}

static void info_of_live(struct gr_g *g, uint64_t w, struct gr_info *info)
{
    enum gr_state state = gri_word_state(w);
    /* acquire; pairs with resume: a run that is counted is not counted from its beginning again. */
    uint64_t now = arch_ticks(), cpu = atomic_load_explicit(&g->cpu_ticks, memory_order_acquire);
    uint64_t ran_from = load(&g->run_since_ticks);
    uint64_t until = state == GR_SYSCALL ? load(&g->wait_since_ticks) : now;

    *info = (struct gr_info){
        .id = load(&g->id),
        .root = load(&g->root),
        .parent = load(&g->parent),
        .state = state,
        .holds = gri_word_holds(w),
        .suspended = gri_word_holds(w) > 0 && gri_state_stopped(state),
        .cancelled = atomic_load_explicit(&g->cancel, memory_order_relaxed),
        .folded = atomic_load_explicit(&g->folded, memory_order_relaxed) != NULL,
        .pinned = atomic_load_explicit(&g->shown_pinned, memory_order_relaxed),
        .created_realtime_ns = load(&g->created_realtime_ns),
        .m = atomic_load_explicit(&g->last_m, memory_order_relaxed),
        .p = atomic_load_explicit(&g->last_p, memory_order_relaxed),
        .pc = load(&g->pc_hint),
        .preempts_sync = load(&g->preempts_sync),
        .preempts_async = load(&g->preempts_async),
    };
    if ((state == GR_RUNNING || state == GR_SYSCALL) && until > ran_from)
        cpu += until - ran_from;
    info->cpu_ns = gri_ticks_to_ns(cpu);
    if (gri_state_waits(state) || state == GR_SYSCALL) {
        uint64_t since = load(&g->wait_since_ticks);
        enum gri_wait reason = gri_wait_reason(g, state);

        gri_text_copy(info->wait_reason, sizeof info->wait_reason, gri_wait_name(reason));
        info->wait_ns = now > since ? gri_ticks_to_ns(now - since) : 0;
        /* A select's is of its own book-keeping. */
        info->wait_address =
            reason == GRI_WAIT_SELECT || reason == GRI_WAIT_SYSCALL ? 0 : load(&g->wait_address);
    }
    info_strings(g, info);
}

int gr_info(uint64_t id, struct gr_info *info)
{
    uint64_t w, after;
    struct gr_g *g;

    GRI_GIVE_WAY();
    g = gri_registry_find(id, &w);
    if (g) {
        info_of_live(g, w, info);
        /* acquire: the fields above were read before; the same generation: they are of one life. */
        after = atomic_load_explicit(&g->word, memory_order_acquire);
        if (gri_word_generation(after) == gri_word_generation(w) && info->id == id)
            return 0;
    }
    return gri_dead_info(id, info) ? 0 : gri_registry_missing(id);
}

int gr_info_result(uint64_t id, char **json)
{
    int error = gri_dead_result(id, json);

    return error == -ENOENT ? gri_registry_missing(id) : error;
}

ssize_t gr_log_read(uint64_t root, uint64_t *from, char *buf, size_t bytes, uint64_t *lost)
{
    uint64_t w;
    struct gr_g *g = gri_registry_find(root, &w);
    struct gri_log *log = NULL;
    ssize_t n;

    if (g) {
        gri_lock(&g->meta_lock);
        /* acquire; the word of this life: its log is there. */
        if (gri_word_generation(atomic_load_explicit(&g->word, memory_order_acquire)) ==
            gri_word_generation(w))
            log = gri_log_ref(g->log);
        gri_unlock(&g->meta_lock);
    }
    if (!log)
        log = gri_dead_log(root);
    if (!log)
        return gri_registry_missing(root);
    n = gri_log_copy(log, from, buf, bytes, lost);
    gri_log_unref(log);
    return n;
}

/* ---- Lists --------------------------------------------------------------------------------------- */

struct id_list {
    uint64_t *ids;
    size_t count, capacity;
    size_t max;              /* so many are wanted, the lowest; 0: all */
    uint64_t after, last_id; /* older and younger ones are left out */
    bool failed;
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Sorted, each once, at most max of them. */
static void put_in_order(struct id_list *list)
{
    size_t kept = 0;

    if (list->count == 0)
        return;
    qsort(list->ids, list->count, sizeof *list->ids, by_value);
    /* One that ended between the two walks is in both. */
    for (size_t i = 0; i < list->count; i++) {
        if (i == 0 || list->ids[i] != list->ids[kept - 1])
            list->ids[kept++] = list->ids[i];
    }
    list->count = list->max && kept > list->max ? list->max : kept;
}

/*
 * Where few of many are wanted those that can't be among them go before there are many: a page of a long list takes a
 * walk over the slots, and no sorting of all of them.
 */
static bool make_room(struct id_list *list)
{
    size_t capacity = list->capacity ? 2 * list->capacity : 1024;
    uint64_t *bigger;

    if (list->max && list->count / 2 >= list->max) {
        put_in_order(list);
        if (list->count == list->max)
            list->last_id = list->ids[list->max - 1];
        return true;
    }
    bigger = realloc(list->ids, capacity * sizeof *bigger);
    if (!bigger)
        return false;
    list->ids = bigger;
    list->capacity = capacity;
    return true;
}

static void add_id(void *arg, uint64_t id)
{
    struct id_list *list = arg;

    if (id <= list->after || id > list->last_id)
        return;
    if (list->count == list->capacity && !make_room(list)) {
        list->failed = true;
        return;
    }
    list->ids[list->count++] = id;
}

static void add_slot(void *arg, struct gr_g *g, uint64_t word)
{
    uint64_t id = load(&g->id);
    uint64_t after = atomic_load_explicit(&g->word, memory_order_acquire);

    if (gri_word_generation(after) == gri_word_generation(word))
        add_id(arg, id);
}

static void collect(enum gr_list_what what, struct id_list *list)
{
    /*
     * The walk comes by a slot before or after somebody is born in it. Without those that were born since it began, one
     * that is listed implies every older one that lives (G20).
     */
    list->last_id = gri_registry_last_id();
    if (what & GR_LIST_LIVE)
        gri_registry_each(add_slot, list);
    if (what & GR_LIST_DEAD)
        gri_dead_each(add_id, list);
    put_in_order(list);
}

size_t gr_list(enum gr_list_what what, uint64_t after, uint64_t *ids, size_t max)
{
    struct id_list list = {.after = after, .max = max};

    GRI_GIVE_WAY();
    if (max == 0)
        return 0;
    collect(what, &list);
    if (list.count > 0)
        memcpy(ids, list.ids, list.count * sizeof *ids);
    free(list.ids);
    return list.count;
}

uint64_t *gr_list_all(size_t *count)
{
    struct id_list list = {0};

    GRI_GIVE_WAY();
    collect(GR_LIST_LIVE, &list);
    if (list.failed) {
        free(list.ids);
        list = (struct id_list){0};
    }
    *count = list.count;
    return list.ids;
}
