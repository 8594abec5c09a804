/*
 * module.c: the modules of this process: loading, listing, finding entries.
 *
 * A load goes through these steps, and a failure before dlopen leaves no trace of the module but
 * its error: read the file and check it (loader_check.c), compute where it may be stopped
 * (text_ranges.c), dlopen it, check that what was mapped is what was read, verify its entry checks,
 * redirect its imports (loader_link.c), look at the libraries it needs (loader_needs.c), publish.
 * Constructors run inside dlopen, on the caller's thread, which is no goroutine: its guard is 0,
 * and the module's imports are still libc's own then.
 *
 * Rejected: loading a second build beside the first under one name. It is what live replacement
 * needs, and the list would carry it (a module is found by name in one place, find), but it is no
 * part of loading.
 *
 * Locks: load_lock serialises loads (held for long, over dlopen); list_lock is short and guards the
 * list and every module's `info`. Order: load_lock before list_lock.
 */
#include "module.h"

#include "imports.h"
#include "text_ranges.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gri_lock list_lock;
static struct gri_module *first, **last = &first; /* list_lock */

/* ---- The list -------------------------------------------------------------------------------- */

/* With list_lock or load_lock. */
static struct gri_module *find(const char *name)
{
    for (struct gri_module *module = first; module; module = module->next) {
        if (strcmp(module->info.name, name) == 0)
            return module;
    }
    return NULL;
}

/* Shows `module` in the list; a refused one of the same name goes. With load_lock. */
static void list_put(struct gri_module *module)
{
    struct gri_module *old = NULL;

    gri_lock(&list_lock);
    for (struct gri_module **link = &first; *link; link = &(*link)->next) {
        if (strcmp((*link)->info.name, module->info.name) != 0)
            continue;
        old = *link;
        *link = old->next;
        if (last == &old->next)
            last = link;
        break;
    }
    module->next = NULL;
    *last = module;
    last = &module->next;
    gri_unlock(&list_lock);
    /* Only refused ones are replaced, and nobody but the list knows those. */
    free(old);
}

const char *gri_module_name(const struct gri_module *module)
{
    return module->info.name;
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
    /* relaxed: a count for people; nothing is freed when it comes to 0. */
    atomic_fetch_add_explicit(&module->live, (uint64_t)(int64_t)delta, memory_order_relaxed);
}

int gri_module_entry(const char *name, const char *entry_name, struct gri_module **out,
                     const struct gr_entry **out_entry)
{
    struct gri_module *module;

    gri_lock(&list_lock);
    module = find(name);
    if (module && !module->info.loaded)
        module = NULL;
    gri_unlock(&list_lock);
    if (!module)
        return -ENOENT;
    for (const struct gr_entry *entry = module->meta->entries_begin;
         entry < (const struct gr_entry *)module->meta->entries_end; entry++) {
        if (strcmp(entry->name, entry_name) == 0) {
            gri_module_live_add(module, 1);
            *out = module;
            *out_entry = entry;
            return 0;
        }
    }
    return -ESRCH;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static bool name_valid(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= GR_NAME_MAX && !strchr(name, '/') && name[0] != '.';
}

/* Base address and extent of the mapped module. */
static int find_mapping(struct gri_module *module, const struct gri_elf *elf, char *err)
{
    struct link_map *map = NULL;
    uint64_t lo = UINT64_MAX, hi = 0;

    if (dlinfo(module->handle, RTLD_DI_LINKMAP, &map) != 0 || !map)
        return gri_load_error(err, -ENOEXEC, "dlinfo: %s", dlerror());
    for (unsigned i = 0; i < elf->segments; i++) {
        const Elf64_Phdr *segment = &elf->segment[i];

        if (segment->p_type != PT_LOAD)
            continue;
        if (segment->p_vaddr < lo)
            lo = segment->p_vaddr;
        if (segment->p_vaddr + segment->p_memsz > hi)
            hi = segment->p_vaddr + segment->p_memsz;
    }
    module->base = map->l_addr;
    module->span_lo = module->base + lo;
    module->span_hi = module->base + hi;
    module->info.text_lo = module->base + module->note.text_lo;
    module->info.text_hi = module->base + module->note.text_hi;
    return 0;
}

/* The section of GR_NOPREEMPT functions is the module's code too, though it is no safe-point: beside .text. */
static int publish_ranges(struct gri_module *module, const struct gri_module_meta *meta,
                          const struct gri_text_list *safe)
{
    uint64_t lo = module->info.text_lo, hi = module->info.text_hi;
    uint64_t nopreempt_lo = (uint64_t)meta->nopreempt_begin, nopreempt_hi = (uint64_t)meta->nopreempt_end;

    if (nopreempt_lo < nopreempt_hi) {
        lo = nopreempt_lo < lo ? nopreempt_lo : lo;
        hi = nopreempt_hi > hi ? nopreempt_hi : hi;
    }
    return gri_text_publish(module, lo, hi, safe);
}

/* Where the module may be stopped: unwindable text, without entry checks and GR_NOPREEMPT
 * functions. */
static int publish_text(struct gri_module *module, const struct gri_elf *elf, char *err)
{
    struct gri_text_list code = {0}, holes = {0}, safe = {0};
    const struct gri_module_meta *meta = module->meta;
    int result = gri_text_unwindable(elf, module->note.text_lo, module->note.text_hi, &code);

    for (size_t i = 0; result == 0 && i < code.count; i++) {
        code.range[i].lo += module->base;
        code.range[i].hi += module->base;
    }
    for (const void *const *check = meta->checks_begin; result == 0 && check < meta->checks_end;
         check++) {
        if (!gri_text_list_add(&holes, (uint64_t)*check, (uint64_t)*check + arch_entry_bytes))
            result = -ENOMEM;
    }
    if (result == 0 &&
        !gri_text_list_add(&holes, (uint64_t)meta->nopreempt_begin, (uint64_t)meta->nopreempt_end))
        result = -ENOMEM;
    gri_text_list_normalise(&holes);
    if (result == 0 && !gri_text_list_subtract(&safe, &code, &holes))
        result = -ENOMEM;
    if (result == 0)
        result = publish_ranges(module, meta, &safe);
    gri_text_list_fini(&code);
    gri_text_list_fini(&holes);
    gri_text_list_fini(&safe);
    if (result == -ENOEXEC)
        return gri_load_error(err, result,
                              "its unwind data (.eh_frame_hdr) is missing or corrupt: link it with "
                              "grasp-cc and without --no-eh-frame-hdr");
    return result ? gri_load_error(err, result, "no memory for its map of safe points") : 0;
}

/* The file must not have been replaced between our look at it and the dynamic linker's. */
static int check_same_file(const struct gri_elf *elf, const char *path, char *err)
{
    struct stat now;

    if (stat(path, &now) == 0 && now.st_dev == elf->stat.st_dev && now.st_ino == elf->stat.st_ino &&
        now.st_size == elf->stat.st_size && now.st_mtim.tv_sec == elf->stat.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == elf->stat.st_mtim.tv_nsec)
        return 0;
    return gri_load_error(err, -ENOEXEC, "the file changed while it was loaded: try again");
}

/* From the mapped module to one that goroutines may be made of. */
static int adopt(struct gri_module *module, const struct gri_elf *elf, char *err)
{
    int result = find_mapping(module, elf, err);

    if (result == 0)
        result = gri_loader_verify(module, err);
    if (result == 0)
        result = gri_loader_needs(elf, module, err);
    if (result == 0)
        result = gri_loader_redirect(elf, module, err);
    if (result == 0)
        result = publish_text(module, elf, err);
    if (result < 0)
        return result;
    module->info.loaded = true;
    module->info.entry_checks = module->note.entry_checks;
    module->info.entry_count = (size_t)((const struct gr_entry *)module->meta->entries_end -
                                        (const struct gr_entry *)module->meta->entries_begin);
    return 0;
}

/* The same file under two names would be one mapping with two owners. */
static int check_not_loaded(const struct gri_module *module, char *err)
{
    for (const struct gri_module *other = first; other; other = other->next) {
        if (other->info.loaded && module->info.build_id[0] &&
            strcmp(other->info.build_id, module->info.build_id) == 0)
            return gri_load_error(err, -EBUSY, "this build is loaded already as module %s",
                                  other->info.name);
    }
    return 0;
}

static int map_and_adopt(struct gri_module *module, const struct gri_elf *elf, char *err)
{
    const char *path = module->info.path;
    int result;

    module->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module->handle)
        return gri_load_error(err, -ENOEXEC, "%s", dlerror());
    result = check_same_file(elf, path, err);
    if (result == 0)
        result = adopt(module, elf, err);
    if (result < 0)
        dlclose(module->handle);
    return result;
}

/* With load_lock. `module` has name and path. */
static int load_locked(struct gri_module *module, char *err)
{
    const struct gri_module *same = find(module->info.name);
    struct gri_elf elf;
    int result = gri_elf_open(&elf, module->info.path, err);

    if (result < 0)
        return result;
    result = gri_loader_check(&elf, module, false, err);
    if (same && same->info.loaded) {
        /* What is loaded stays; a file that would be refused is only another reason not to touch
         * it. */
        if (result == 0 && strcmp(same->info.build_id, module->info.build_id) == 0)
            result = 1;
        else if (result == 0)
            result = gri_load_error(err, -EBUSY, "another build of module %s is loaded (%.16s)",
                                    same->info.name, same->info.build_id);
    } else if (result == 0) {
        result = check_not_loaded(module, err);
        if (result == 0)
            result = map_and_adopt(module, &elf, err);
    }
    gri_elf_close(&elf);
    return result;
}

static void give_error(char *err, size_t err_bytes, const char *name, const char *text)
{
    if (err && err_bytes)
        snprintf(err, err_bytes, "module %s: %s", name, text);
}

/* Remembers the outcome. Returns false if `module` was not kept. */
static bool keep(struct gri_module *module, int result, const char *text)
{
    const struct gri_module *same = find(module->info.name);

    if (result == 1 || result == -ENOENT || (same && same->info.loaded))
        return false;
    if (result < 0)
        snprintf(module->info.error, sizeof module->info.error, "%s", text);
    list_put(module);
    return true;
}

int gr_module_load(const char *name, const char *path, char *err, size_t err_bytes)
{
    char text[GRI_ERROR_BYTES] = "", *real;
    struct gri_module *module;
    int result;

    if (err && err_bytes)
        err[0] = 0;
    if (!name_valid(name)) {
        give_error(err, err_bytes, "", "a module's name has 1 to 63 bytes and no slash");
        return -EINVAL;
    }
    module = calloc(1, sizeof *module);
    if (!module)
        return -ENOMEM;
    snprintf(module->info.name, sizeof module->info.name, "%s", name);
    real = realpath(path, NULL);
    snprintf(module->info.path, sizeof module->info.path, "%s", real ? real : path);
    free(real);
    pthread_mutex_lock(&load_lock);
    result = load_locked(module, text);
    if (!keep(module, result, text))
        free(module);
    pthread_mutex_unlock(&load_lock);
    if (result < 0)
        give_error(err, err_bytes, name, text);
    /* Whatever else opening a file may say, to the caller it is a file that cannot be loaded. */
    if (result < 0 && result != -ENOENT && result != -ENOMEM && result != -EBUSY)
        return -ENOEXEC;
    return result;
}

/* ---- The program itself ---------------------------------------------------------------------- */

int gri_module_load_main(char *err, size_t err_bytes)
{
    char text[GRI_ERROR_BYTES] = "";
    struct gri_module *module;
    struct gri_elf elf;
    size_t bytes;
    int result;

    /* Not built by grasp-cc, or not to be read: a host such as graspd, which has no goroutines of
     * its own. */
    if (gri_elf_open(&elf, "/proc/self/exe", text) < 0)
        return 0;
    module = gri_elf_note(&elf, GRI_NOTE_NAME, GRI_NOTE_MODULE, &bytes) ? calloc(1, sizeof *module)
                                                                        : NULL;
    if (!module) {
        gri_elf_close(&elf);
        return 0;
    }
    strcpy(module->info.name, "main");
    if (!realpath("/proc/self/exe", module->info.path))
        module->info.path[0] = 0;
    pthread_mutex_lock(&load_lock);
    result = find("main") ? gri_load_error(text, -EBUSY, "module main is loaded already")
                          : gri_loader_check(&elf, module, true, text);
    module->handle = result == 0 ? dlopen(NULL, RTLD_NOW) : NULL;
    if (result == 0 && !module->handle)
        result = gri_load_error(text, -ENOEXEC, "%s", dlerror());
    if (result == 0)
        result = adopt(module, &elf, text);
    if (result == 0)
        list_put(module);
    pthread_mutex_unlock(&load_lock);
    gri_elf_close(&elf);
    if (result < 0) {
        give_error(err, err_bytes, "main", text);
        free(module);
    }
    return result;
}

/* ---- Showing --------------------------------------------------------------------------------- */

/* With list_lock. */
static void show(const struct gri_module *module, struct gr_module_info *info)
{
    *info = module->info;
    /* relaxed: a count for people. */
    info->live = atomic_load_explicit(&module->live, memory_order_relaxed);
}

size_t gr_module_list(struct gr_module_info *infos, size_t max)
{
    size_t count = 0;

    gri_lock(&list_lock);
    for (const struct gri_module *module = first; module; module = module->next) {
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
    module = find(name);
    if (module)
        show(module, info);
    gri_unlock(&list_lock);
    return module ? 0 : -ENOENT;
}

ssize_t gr_module_entries(const char *name, struct gr_entry_info *entries, size_t max)
{
    const struct gr_entry *entry;
    struct gri_module *module;
    size_t count = 0;

    gri_lock(&list_lock);
    module = find(name);
    if (module && module->info.loaded) {
        entry = module->meta->entries_begin;
        count = module->info.entry_count;
        for (size_t i = 0; i < count && i < max; i++) {
            snprintf(entries[i].name, sizeof entries[i].name, "%s", entry[i].name);
            snprintf(entries[i].doc, sizeof entries[i].doc, "%s", entry[i].doc ? entry[i].doc : "");
        }
    }
    gri_unlock(&list_lock);
    return module ? (ssize_t)count : -ENOENT;
}
