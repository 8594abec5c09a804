/*
 * roots.c: which words of a copied goroutine point at something that the runtime knows.
 *
 * First everything that can be pointed at is written down as a range of addresses, then each word is looked up by
 * bisection. Small things lie within large ones (a mutex on a stack, a channel in nothing of ours), so there are two
 * lists: objects, and the places in which they may lie; an object beats its place.
 *
 * Rejected: following what the words point at. What lies in the heap has no type here, and every second word would
 * lead to something; one step is what a person can check.
 *
 * Locks: those of the registries, one at a time, for a bounded time each.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

struct range {
    uint64_t lo, hi;
    enum gr_root_kind kind;
    uint64_t goroutine;
    uint32_t module; /* index of its name */
};

struct ranges {
    struct range *range;
    size_t count, capacity;
};

struct index {
    struct ranges objects, places;
    char (*module)[GR_NAME_MAX + 1];
    uint32_t modules;
    uint64_t own; /* the goroutine that is copied */
    bool failed;
};

const char *gr_root_kind_name(enum gr_root_kind kind)
{
    static const char *const names[GR_ROOT_KINDS] = {
        [GR_ROOT_CHANNEL] = "channel",     [GR_ROOT_MUTEX] = "mutex",
        [GR_ROOT_COND] = "condition",      [GR_ROOT_WAITGROUP] = "wait group",
        [GR_ROOT_GOROUTINE] = "goroutine", [GR_ROOT_RESULT] = "result",
        [GR_ROOT_STACK] = "stack",         [GR_ROOT_OTHER_STACK] = "other stack",
        [GR_ROOT_DATA] = "data",
    };

    return (unsigned)kind < GR_ROOT_KINDS ? names[kind] : "";
}

/* ---- What there is ------------------------------------------------------------------------------- */

static void add(struct index *index, struct ranges *ranges, struct range range)
{
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity ? 2 * ranges->capacity : 256;
        struct range *bigger = realloc(ranges->range, capacity * sizeof *bigger);

        if (!bigger) {
            index->failed = true;
            return;
        }
        ranges->range = bigger;
        ranges->capacity = capacity;
    }
    ranges->range[ranges->count++] = range;
}

static void add_object(struct index *index, enum gr_root_kind kind, uint64_t lo, size_t bytes,
                       uint64_t goroutine)
{
    add(index, &index->objects, (struct range){lo, lo + bytes, kind, goroutine, 0});
}

static void add_channel(void *arg, uint64_t address, size_t bytes)
{
    add_object(arg, GR_ROOT_CHANNEL, address, bytes, 0);
}

/* A lock that g waits for. */
static void add_waited(struct index *index, const struct gri_wait_view *view)
{
    if (view->reason == GRI_WAIT_MUTEX)
        add_object(index, GR_ROOT_MUTEX, view->address, sizeof(gr_mutex), 0);
    else if (view->reason == GRI_WAIT_COND)
        add_object(index, GR_ROOT_COND, view->address, sizeof(gr_cond), 0);
    else if (view->reason == GRI_WAIT_GROUP)
        add_object(index, GR_ROOT_WAITGROUP, view->address, sizeof(gr_waitgroup), 0);
}

static void add_goroutine(void *arg, struct gr_g *g, uint64_t word)
{
    struct index *index = arg;
    struct gri_wait_view view;
    struct gri_stack stack;
    bool same;

    gri_wait_look(g, word, &view);
    add_waited(index, &view);
    for (unsigned i = 0; i < GR_LOCKS_SHOWN; i++) {
        /* relaxed: shown to people. */
        uint64_t held = atomic_load_explicit(&g->lock_held[i], memory_order_relaxed);

        if (held)
            add_object(index, GR_ROOT_MUTEX, held, sizeof(gr_mutex), 0);
    }
    add_object(index, GR_ROOT_GOROUTINE, (uint64_t)(uintptr_t)g, sizeof *g, view.id);
    /* Under the lock result and stack are somebody's, whole (registry.c); of which life shows the word. */
    gri_lock(&g->meta_lock);
    stack = g->stack;
    same = gri_word_generation(atomic_load_explicit(&g->word, memory_order_acquire)) ==
           gri_word_generation(word);
    if (same && g->result)
        add_object(index, GR_ROOT_RESULT, (uint64_t)(uintptr_t)g->result, strlen(g->result) + 1,
                   view.id);
    gri_unlock(&g->meta_lock);
    if (!same)
        return; /* its stack may be gone, and the next life may have another */
    add(index, &index->places,
        (struct range){(uint64_t)(uintptr_t)stack.lo, (uint64_t)(uintptr_t)stack.hi,
                       view.id == index->own ? GR_ROOT_STACK : GR_ROOT_OTHER_STACK, view.id, 0});
}

/* Around its text: a return address is no pointer to data. */
static void add_module(void *arg, const char *name, uint64_t lo, uint64_t hi, uint64_t text_lo,
                       uint64_t text_hi)
{
    struct index *index = arg;
    char(*bigger)[GR_NAME_MAX + 1] =
        realloc(index->module, (index->modules + 1) * sizeof *index->module);

    if (!bigger) {
        index->failed = true;
        return;
    }
    index->module = bigger;
    strcpy(index->module[index->modules], name);
    add(index, &index->places, (struct range){lo, text_lo, GR_ROOT_DATA, 0, index->modules});
    add(index, &index->places, (struct range){text_hi, hi, GR_ROOT_DATA, 0, index->modules});
    index->modules++;
}

static int by_lo(const void *a, const void *b)
{
    const struct range *x = a, *y = b;

    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static void sort(struct ranges *ranges)
{
    if (ranges->count)
        qsort(ranges->range, ranges->count, sizeof *ranges->range, by_lo);
}

static int index_make(struct index *index)
{
    gri_chan_each(add_channel, index);
    gri_registry_each(add_goroutine, index);
    gri_module_each_span(add_module, index);
    sort(&index->objects);
    sort(&index->places);
    return index->failed ? -ENOMEM : 0;
}

static void index_free(struct index *index)
{
    free(index->objects.range);
    free(index->places.range);
    free(index->module);
}

/* ---- Looking up ---------------------------------------------------------------------------------- */

/* Ranges of one list do not overlap, but for the same lock written down twice. */
static const struct range *find(const struct ranges *ranges, uint64_t value)
{
    size_t lo = 0, hi = ranges->count;

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;

        if (ranges->range[middle].lo <= value)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo > 0 && value < ranges->range[lo - 1].hi ? &ranges->range[lo - 1] : NULL;
}

struct scan {
    const struct index *index;
    struct gr_root *roots;
    size_t max, count;
};

static void look_up(struct scan *scan, uint64_t value, int reg, uint64_t at)
{
    const struct range *range = find(&scan->index->objects, value);
    struct gr_root *root;

    if (!range)
        range = find(&scan->index->places, value);
    if (!range)
        return;
    if (scan->count++ >= scan->max)
        return;
    root = &scan->roots[scan->count - 1];
    *root = (struct gr_root){.kind = range->kind,
                             .reg = reg,
                             .at = at,
                             .value = value,
                             .object = range->lo,
                             .goroutine = range->goroutine};
    if (range->kind == GR_ROOT_DATA)
        strcpy(root->module, scan->index->module[range->module]);
}

ssize_t gr_roots(const struct gr_copy *copy, struct gr_root *roots, size_t max)
{
    struct index index = {.own = copy->id};
    struct scan scan = {&index, roots, max, 0};
    /* Below SP is nothing that lives, but where it was stopped between two instructions of a leaf. */
    uint64_t from = copy->safepoint == GR_SAFEPOINT_ASYNC ? copy->copied_lo : copy->sp;
    int error = index_make(&index);

    for (unsigned i = 0; i < arch_reg_count && !error; i++) {
        if (copy->reg_present >> i & 1 && copy->reg[i] != copy->pc && copy->reg[i] != copy->sp)
            look_up(&scan, arch_strip(copy->reg[i]), (int)i, 0);
    }
    for (uint64_t at = (from + 7) & ~(uint64_t)7;
         !error && at + 8 <= copy->copied_lo + copy->copied_bytes; at += 8) {
        uint64_t word;

        memcpy(&word, copy->stack + (at - copy->copied_lo), 8);
        look_up(&scan, word, -1, at);
    }
    index_free(&index);
    return error ? error : (ssize_t)scan.count;
}
