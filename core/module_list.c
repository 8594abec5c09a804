/*
 * module_list.c: which modules there are, and finding entries in them. See module.h.
 *
 * Three lists. `current`: what a name means now, loaded or refused, in order of loading. `leaving`:
 * replaced, with goroutines left. `gone`: structs whose code is no longer run by anybody, kept
 * because records of ended goroutines name their entries.
 *
 *   I1  A goroutine of a module is born either to a living goroutine of it, or by gri_module_entry,
 *       which raises `live` under list_lock while the module is current. So under list_lock a
 *       module that is current and has live 0, or is off the current list and has live 0, has no
 *       goroutine, and once it is off the list it never gets one again.
 *
 * Lock: list_lock, a leaf.
 */
#include "module.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct gri_lock list_lock;
static struct gri_module *current, *leaving, *gone; /* list_lock */

/* ---- Lists ----------------------------------------------------------------------------------- */

/* With list_lock, or with gri_load_lock, without which no list changes. */
static struct gri_module **find_in(struct gri_module **list, const char *name)
{
    while (*list && strcmp((*list)->info.name, name) != 0)
        list = &(*list)->next;
    return list;
}

static void append(struct gri_module **list, struct gri_module *module)
{
    while (*list)
        list = &(*list)->next;
    module->next = NULL;
    *list = module;
}

static struct gri_module *unlink_from(struct gri_module **link)
{
    struct gri_module *module = *link;

    if (module)
        *link = module->next;
    return module;
}

/* acquire; pairs with the release in gri_module_live_add: what its goroutines did is done. */
static uint64_t live_of(const struct gri_module *module)
{
    return atomic_load_explicit(&module->live, memory_order_acquire);
}

struct gri_module *gri_module_find(const char *name)
{
    return *find_in(&current, name);
}

struct gri_module *gri_module_find_build(const char *build_id)
{
    struct gri_module *const lists[] = {current, leaving};

    for (unsigned i = 0; i < 2 && build_id[0]; i++) {
        for (struct gri_module *module = lists[i]; module; module = module->next) {
            if (module->info.loaded && strcmp(module->info.build_id, build_id) == 0)
                return module;
        }
    }
    return NULL;
}

struct gri_module *gri_module_find_handle(const void *handle)
{
    struct gri_module *const lists[] = {current, leaving, gone};

    for (unsigned i = 0; i < 3; i++) {
        for (struct gri_module *module = lists[i]; module; module = module->next) {
            if (module->handle == handle && (module->info.loaded || i == 2))
                return module;
        }
    }
    return NULL;
}

void gri_module_list_put(struct gri_module *module)
{
    struct gri_module *old;
    bool leaves;

    gri_lock(&list_lock);
    old = unlink_from(find_in(&current, module->info.name));
    leaves = old && old->info.loaded;
    if (leaves) {
        append(&leaving, old);
        /* seq_cst; pairs with the load in gri_module_live_add (module_leave.c, L1). */
        atomic_store_explicit(&old->leaving, 1, memory_order_seq_cst);
    }
    append(&current, module);
    gri_unlock(&list_lock);
    if (leaves)
        gri_module_leave();
    else
        free(old); /* refused: nobody but the list knew it */
}

bool gri_module_claim(struct gri_module *owner, const struct gri_module *module)
{
    if (owner->info.loaded || strcmp(owner->info.build_id, module->info.build_id) != 0)
        return false;
    owner->handle = NULL;
    return true;
}

bool gri_module_revive(const struct gri_module *same, struct gri_module *twin)
{
    struct gri_module **link;

    if (strcmp(same->info.name, twin->info.name) != 0)
        return false;
    gri_lock(&list_lock);
    for (link = &leaving; *link && *link != twin; link = &(*link)->next)
        ;
    unlink_from(link);
    /* relaxed: a worker that still reads 1 rings the bell for nothing. */
    atomic_store_explicit(&twin->leaving, 0, memory_order_relaxed);
    gri_unlock(&list_lock);
    gri_module_list_put(twin);
    return true;
}

struct gri_module *gri_module_take_left(bool *any)
{
    struct gri_module **link, *module = NULL;

    gri_lock(&list_lock);
    for (link = &leaving; *link && live_of(*link) != 0; link = &(*link)->next)
        ;
    module = unlink_from(link);
    *any = leaving != NULL;
    gri_unlock(&list_lock);
    return module;
}

int gri_module_take(const char *name, struct gri_module **out, uint64_t *live)
{
    struct gri_module **link, *module;
    int result = 0;

    gri_lock(&list_lock);
    link = find_in(&current, name);
    module = *link;
    *live = module ? live_of(module) : 0;
    for (const struct gri_module *old = leaving; old; old = old->next) {
        if (strcmp(old->info.name, name) == 0)
            *live += live_of(old);
    }
    if (!module)
        result = -ENOENT;
    else if (!module->unloadable)
        result = -EPERM;
    else if (*live)
        result = -EBUSY;
    else
        *out = unlink_from(link);
    gri_unlock(&list_lock);
    return result;
}

void gri_module_put_back(struct gri_module *module)
{
    gri_lock(&list_lock);
    append(atomic_load_explicit(&module->leaving, memory_order_relaxed) ? &leaving : &current,
           module);
    gri_unlock(&list_lock);
}

void gri_module_list_gone(struct gri_module *module)
{
    gri_lock(&list_lock);
    append(&gone, module);
    gri_unlock(&list_lock);
}

/* ---- Of one module --------------------------------------------------------------------------- */

const char *gri_module_name(const struct gri_module *module)
{
    return module->info.name;
}

int gri_module_file(uint64_t base)
{
    struct gri_module *lists[2];
    int file = -1;

    gri_lock(&list_lock);
    lists[0] = current;
    lists[1] = leaving;
    for (unsigned i = 0; i < 2 && file < 0; i++) {
        for (const struct gri_module *module = lists[i]; module && file < 0;
             module = module->next) {
            if (module->info.loaded && module->base == base && module->file >= 0)
                file = fcntl(module->file, F_DUPFD_CLOEXEC, 3);
        }
    }
    gri_unlock(&list_lock);
    return file;
}

void *gri_module_handle(const struct gri_module *module)
{
    return module->handle;
}

bool gri_module_wired(const struct gri_module *module)
{
    return module->info.wired;
}

void gri_module_live_add(struct gri_module *module, int delta)
{
    /* seq_cst; pairs with live_of, and with the store of `leaving` (module_leave.c, L1). */
    uint64_t before =
        atomic_fetch_add_explicit(&module->live, (uint64_t)(int64_t)delta, memory_order_seq_cst);

    if (delta < 0 && before == 1 && atomic_load_explicit(&module->leaving, memory_order_seq_cst))
        gri_module_left();
}

int gri_module_entry(const char *name, const char *entry_name, struct gri_module **out,
                     const struct gr_entry **out_entry)
{
    struct gri_module *module;
    int result = -ENOENT;

    gri_lock(&list_lock);
    module = *find_in(&current, name);
    if (module && module->info.loaded) {
        result = -ESRCH;
        for (size_t i = 0; i < module->info.entry_count && result; i++) {
            if (strcmp(module->entries[i].name, entry_name) == 0) {
                *out_entry = &module->entries[i];
                result = 0;
            }
        }
    }
    if (result == 0) {
        gri_module_live_add(module, 1); /* I1 */
        *out = module;
    }
    gri_unlock(&list_lock);
    return result;
}

/* ---- Showing --------------------------------------------------------------------------------- */

/* With list_lock. */
static void show(const struct gri_module *module, struct gr_module_info *info)
{
    *info = module->info;
    info->live = live_of(module);
}

size_t gr_module_list(struct gr_module_info *infos, size_t max)
{
    size_t count = 0;

    gri_lock(&list_lock);
    for (const struct gri_module *module = current; module; module = module->next) {
        if (count < max)
            show(module, &infos[count]);
        count++;
    }
    gri_unlock(&list_lock);
    return count;
}

int gr_module_info(const char *name, struct gr_module_info *info)
{
    const struct gri_module *module;

    gri_lock(&list_lock);
    module = *find_in(&current, name);
    if (module)
        show(module, info);
    gri_unlock(&list_lock);
    return module ? 0 : -ENOENT;
}

size_t gr_module_leaving(const char *name, struct gr_module_info *infos, size_t max)
{
    size_t count = 0;

    gri_lock(&list_lock);
    for (const struct gri_module *module = leaving; module; module = module->next) {
        if (strcmp(module->info.name, name) != 0)
            continue;
        if (count < max)
            show(module, &infos[count]);
        count++;
    }
    gri_unlock(&list_lock);
    return count;
}

ssize_t gr_module_entries(const char *name, struct gr_entry_info *entries, size_t max)
{
    const struct gri_module *module;
    size_t count = 0;

    gri_lock(&list_lock);
    module = *find_in(&current, name);
    if (module && module->info.loaded) {
        count = module->info.entry_count;
        for (size_t i = 0; i < count && i < max; i++) {
            snprintf(entries[i].name, sizeof entries[i].name, "%s", module->entries[i].name);
            snprintf(entries[i].doc, sizeof entries[i].doc, "%s", module->entries[i].doc);
        }
    }
    gri_unlock(&list_lock);
    return module ? (ssize_t)count : -ENOENT;
}

void gri_module_each_span(gri_span_fn *fn, void *arg)
{
    const struct gri_module *lists[2];

    gri_lock(&list_lock);
    lists[0] = current;
    lists[1] = leaving;
    for (unsigned i = 0; i < 2; i++) {
        for (const struct gri_module *module = lists[i]; module; module = module->next) {
            if (module->info.loaded)
                fn(arg, module->info.name, module->span_lo, module->span_hi, module->info.text_lo,
                   module->info.text_hi);
        }
    }
    gri_unlock(&list_lock);
}
