/*
 * text_map.c: the map of safe code: publishing, searching, taking modules out. See text_ranges.h.
 *
 * A look-up is two binary searches, for the module and for the range: with 100,000 ranges it reads
 * 17 words, less than the signal's way through the kernel costs by two orders. Rejected: a bit for
 * each byte of text (12% of the text's size, and as many cache misses).
 *
 * Modules come and go, and a signal handler may be anywhere in a map. So a reader counts itself in
 * before it takes the map's address and out when it is done with it, and a writer that has put a
 * new map in place waits until it has seen the count of readers at 0. There are two counts, and
 * the writer turns newcomers to the other one before it waits, so that it waits for those who were
 * there and not for ever. Rejected: keeping every old map (a module that is replaced every minute
 * for a month), and reclaiming without readers' counts after some time (how much?).
 *
 *   I1  A reader raises a count before it loads the map, and a writer stores the map before it
 *       reads the count, all sequentially consistent: a reader that was not counted when the writer
 *       saw 0 gets the new map. It does not matter which of the two counts it raised, since the
 *       writer has seen both at 0 after its store.
 *   I2  Between the two a reader calls nothing and is never stopped: it is code of the runtime,
 *       where no goroutine has a safe-point.
 *
 * Writers are serialised by the loader's lock. Readers: signal handlers, anyone.
 */
#include "core.h"
#include "imports.h"
#include "text_ranges.h"

#include <grasp/inspect.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct module_text {
    uint64_t lo, hi;
    struct gri_module *module;
    struct gri_text_range *range;
    size_t ranges;
};

struct text_map {
    size_t count;
    struct module_text text[]; /* sorted by lo (T2) */
};

/* seq_cst everywhere: I1. */
static _Atomic(struct text_map *) current_map;
static _Atomic(uint32_t) readers[2], turn;
static _Atomic(uint64_t) version; /* of the map */

/* ---- Reading --------------------------------------------------------------------------------- */

static const struct text_map *enter(unsigned *count)
{
    /* relaxed: either count will do (I1). */
    *count = atomic_load_explicit(&turn, memory_order_relaxed) & 1;
    /* seq_cst; pairs with the load in wait_for_readers (I1). */
    atomic_fetch_add_explicit(&readers[*count], 1, memory_order_seq_cst);
    return atomic_load_explicit(&current_map, memory_order_seq_cst);
}

static void leave(unsigned count)
{
    /* release; pairs with the load in wait_for_readers: what was read, was read before it is freed.
     */
    atomic_fetch_sub_explicit(&readers[count], 1, memory_order_release);
}

static const struct module_text *find_text(const struct text_map *map, uint64_t pc)
{
    size_t lo = 0, hi = map ? map->count : 0;

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;

        if (pc < map->text[middle].lo)
            hi = middle;
        else if (pc >= map->text[middle].hi)
            lo = middle + 1;
        else
            return &map->text[middle];
    }
    return NULL;
}

static bool is_safe(const struct module_text *text, uint64_t pc)
{
    size_t lo = 0, hi = text->ranges;

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;

        if (pc < text->range[middle].lo)
            hi = middle;
        else if (pc >= text->range[middle].hi)
            lo = middle + 1;
        else
            return true;
    }
    return false;
}

struct gri_module *gri_module_of(uint64_t pc)
{
    unsigned count;
    const struct module_text *text = find_text(enter(&count), pc);
    struct gri_module *module = text ? text->module : NULL;

    leave(count);
    return module;
}

uint64_t gr_text_version(uint64_t pc)
{
    /* acquire; pairs with replace_map. */
    uint64_t now = atomic_load_explicit(&version, memory_order_acquire);

    return gri_module_of(pc) ? now : 0;
}

enum gr_refusal gri_text_check(uint64_t pc)
{
    unsigned count;
    const struct text_map *map = enter(&count);
    const struct module_text *text = find_text(map, pc);
    bool any = map != NULL, safe = text && is_safe(text, pc);

    leave(count);
    if (safe)
        return GR_REFUSALS;
    if (text)
        return GR_REFUSED_UNSAFE_POINT;
    return any && gri_import_in_runtime((const void *)pc) ? GR_REFUSED_RUNTIME : GR_REFUSED_LIBC;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* Until nobody who came before the new map is left (I1). Readers are a few dozen instructions long. */
static void wait_for_readers(void)
{
    for (unsigned i = 0; i < 2; i++) {
        /* relaxed: only writers write it, and readers may be late to follow. */
        uint32_t now = atomic_load_explicit(&turn, memory_order_relaxed);

        atomic_store_explicit(&turn, now ^ 1, memory_order_relaxed);
        while (atomic_load_explicit(&readers[now & 1], memory_order_seq_cst) != 0)
            sched_yield();
    }
}

static void replace_map(struct text_map *map)
{
    struct text_map *old = atomic_load_explicit(&current_map, memory_order_relaxed);

    atomic_store_explicit(&current_map, map, memory_order_seq_cst);
    /* release; pairs with gr_text_version: before code goes, whoever asks again is told another number. */
    atomic_fetch_add_explicit(&version, 1, memory_order_release);
    wait_for_readers();
    free(old);
}

static int compare_texts(const void *a, const void *b)
{
    const struct module_text *x = a, *y = b;

    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* The map without `leaver`, which may be NULL, and with room for one more. NULL: no memory. */
static struct text_map *copy_map(const struct gri_module *leaver)
{
    /* relaxed: only writers change it, and the loader's lock makes us the only one. */
    const struct text_map *old = atomic_load_explicit(&current_map, memory_order_relaxed);
    size_t count = old ? old->count : 0;
    struct text_map *map = malloc(sizeof *map + (count + 1) * sizeof map->text[0]);

    if (!map)
        return NULL;
    map->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (old->text[i].module != leaver)
            map->text[map->count++] = old->text[i];
    }
    return map;
}

int gri_text_publish(struct gri_module *module, uint64_t text_lo, uint64_t text_hi,
                     struct gri_text_list *safe)
{
    struct text_map *map = copy_map(NULL);

    if (!map)
        return -ENOMEM;
    map->text[map->count++] =
        (struct module_text){text_lo, text_hi, module, safe->range, safe->count};
    qsort(map->text, map->count, sizeof map->text[0], compare_texts);
    *safe = (struct gri_text_list){NULL, 0, 0};
    replace_map(map);
    return 0;
}

int gri_text_withdraw(const struct gri_module *module)
{
    const struct text_map *old = atomic_load_explicit(&current_map, memory_order_relaxed);
    struct gri_text_range *range = NULL;
    struct text_map *map = copy_map(module);

    if (!map)
        return -ENOMEM;
    for (size_t i = 0; old && i < old->count; i++) {
        if (old->text[i].module == module)
            range = old->text[i].range;
    }
    replace_map(map);
    free(range);
    return 0;
}
