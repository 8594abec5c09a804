/*
 * module.c: loading a module, beside the one that it may replace.
 *
 * A load goes through these steps, and a failure before dlopen leaves no trace of the module but
 * its error: read the file and check it (loader_check.c), compute where it may be stopped
 * (text_ranges.c), dlopen it, check that what was mapped is what was read, verify its entry checks,
 * redirect its imports (loader_link.c), look at the libraries it needs (loader_needs.c), publish.
 * Constructors run inside dlopen, on the caller's thread, which is no goroutine: its guard is 0,
 * and the module's imports are still libc's own then. Goroutines that they start are the module's
 * (gri_module_constructing): they keep its code, even if the load fails after that.
 *
 * A second build of a module that is loaded is refused, unless it is to replace it. Then both are
 * mapped side by side until the old one's last goroutine has ended (module_leave.c). Two builds at
 * one path are told apart by the dynamic linker only by how the path is spelt, so each gets a
 * spelling that no object has yet. Rejected: dlmopen (a namespace has a libc of its own), a copy of
 * the file under another name (debuggers and perf would not find it), /proc/self/fd (neither).
 *
 * Lock: gri_load_lock serialises loads and unloads and is held for long, over dlopen.
 */
#include "module.h"

#include "imports.h"
#include "text_ranges.h"
#include "wrap.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pthread_mutex_t gri_load_lock = PTHREAD_MUTEX_INITIALIZER;

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
                          struct gri_text_list *safe)
{
    uint64_t lo = module->info.text_lo, hi = module->info.text_hi;
    uint64_t nopreempt_lo = (uint64_t)meta->nopreempt_begin,
             nopreempt_hi = (uint64_t)meta->nopreempt_end;

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
        if (!gri_text_list_add(&holes, (uint64_t)*check, (uint64_t)*check + arch_entry_bytes()))
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

/*
 * The file must not have been replaced between our look at it and the dynamic linker's. It is kept
 * open: its names are wanted for as long as its code runs, and its path may be another build's by
 * then.
 */
static int keep_file(struct gri_module *module, const struct gri_elf *elf, char *err)
{
    struct stat now;

    module->file = open(module->info.path, O_RDONLY | O_CLOEXEC);
    if (module->file >= 0 && fstat(module->file, &now) == 0 && now.st_dev == elf->stat.st_dev &&
        now.st_ino == elf->stat.st_ino && now.st_size == elf->stat.st_size &&
        now.st_mtim.tv_sec == elf->stat.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == elf->stat.st_mtim.tv_nsec)
        return 0;
    return gri_load_error(err, -ENOEXEC, "the file changed while it was loaded: try again");
}

static void free_entries(struct gri_module *module)
{
    for (size_t i = 0; module->entries && i < module->info.entry_count; i++) {
        free((char *)module->entries[i].name);
        free((char *)module->entries[i].doc);
    }
    free(module->entries);
    module->entries = NULL;
    module->info.entry_count = 0;
}

/* Records of ended goroutines name entries of modules that are no longer mapped. */
static int copy_entries(struct gri_module *module, char *err)
{
    const struct gr_entry *from = module->meta->entries_begin;
    size_t count = (size_t)((const struct gr_entry *)module->meta->entries_end - from);
    bool good;

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(from[i].name, from[k].name) == 0)
                return gri_load_error(
                    err, -EINVAL, "it has two entries \"%s\": give each GR_ENTRY a name of its own",
                    from[i].name);
        }
    }
    module->entries = calloc(count + 1, sizeof *module->entries);
    good = module->entries != NULL;
    for (size_t i = 0; good && i < count; i++) {
        struct gr_entry *to = &module->entries[module->info.entry_count++];

        *to = from[i];
        to->name = strdup(from[i].name);
        to->doc = strdup(from[i].doc ? from[i].doc : "");
        good = to->name && to->doc;
    }
    if (good)
        return 0;
    free_entries(module);
    return gri_load_error(err, -ENOMEM, "no memory for its entries");
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
        result = copy_entries(module, err);
    if (result == 0)
        result = publish_text(module, elf, err);
    if (result < 0)
        return result;
    gri_wrap_adopt_handlers();
    module->info.loaded = true;
    module->info.entry_checks = module->note.entry_checks;
    return 0;
}

/* ---- Two builds of one name ------------------------------------------------------------------ */

static int find_name(struct dl_phdr_info *info, size_t bytes, void *name)
{
    (void)bytes;
    return info->dlpi_name && strcmp(info->dlpi_name, name) == 0;
}

/*
 * The path in a spelling that no loaded object has: with one more "./" before the file's name for
 * each that is taken. False: it grew too long.
 */
static bool spell_path(const char *path, char *spelt, size_t spelt_bytes)
{
    const char *slash = strrchr(path, '/');
    size_t stem = slash ? (size_t)(slash - path) + 1 : 0;

    if (strlen(path) >= spelt_bytes)
        return false;
    strcpy(spelt, path);
    while (dl_iterate_phdr(find_name, spelt) != 0) { /* bounded by the path's length */
        if (strlen(spelt) + 2 >= spelt_bytes)
            return false;
        memmove(spelt + stem + 2, spelt + stem, strlen(spelt + stem) + 1);
        memcpy(spelt + stem, "./", 2);
    }
    return true;
}

/* The thread that is in dlopen for `constructed`, by its pthread_self; 0: none. With gri_load_lock. */
static _Atomic(uint64_t) constructor;
static struct gri_module *constructed; /* that thread's */

struct gri_module *gri_module_constructing(void)
{
    /* relaxed: what the calling thread itself has stored, or somebody else's, which is not its number. */
    return atomic_load_explicit(&constructor, memory_order_relaxed) == (uint64_t)pthread_self()
               ? constructed
               : NULL;
}

/* Its constructors call libc's own sigaction, which would give them the runtime's signals: these are put back. */
static void construct(struct gri_module *module, const char *spelt)
{
    static const int ours[] = GRI_OWN_SIGNALS;
    struct sigaction before[sizeof ours / sizeof ours[0]];

    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        sigaction(ours[i], NULL, &before[i]);
    constructed = module;
    atomic_store_explicit(&constructor, (uint64_t)pthread_self(), memory_order_relaxed);
    module->handle = dlopen(spelt, RTLD_NOW | RTLD_LOCAL);
    atomic_store_explicit(&constructor, 0, memory_order_relaxed);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        sigaction(ours[i], &before[i], NULL);
}

static int map_and_adopt(struct gri_module *module, const struct gri_elf *elf, char *err)
{
    char spelt[sizeof module->info.path];
    struct gri_module *owner;
    int result;

    if (!spell_path(module->info.path, spelt, sizeof spelt))
        return gri_load_error(err, -ENOEXEC, "its path is too long");
    construct(module, spelt);
    if (!module->handle)
        return gri_load_error(err, -ENOEXEC, "%s", dlerror());
    owner = gri_module_find_handle(module->handle);
    if (owner && gri_module_claim(owner, module))
        owner = NULL;
    if (owner)
        result = gri_load_error(err, -ENOEXEC,
                                "the file is the one that module %s was loaded from, written over "
                                "in place: put a new build beside it and mv it over",
                                owner->info.name);
    else
        result = keep_file(module, elf, err);
    if (result == 0)
        result = adopt(module, elf, err);
    if (result < 0) {
        free_entries(module);
        if (module->file >= 0)
            close(module->file);
        module->file = -1;
        /* acquire; pairs with gri_module_live_add. None is born to a module without goroutines now. */
        if (atomic_load_explicit(&module->live, memory_order_acquire) == 0)
            dlclose(module->handle);
    }
    return result;
}

#define REVIVED 2

/* With gri_load_lock: the file is good; may it be loaded, given what is loaded already? */
static int load_beside(struct gri_module *module, struct gri_module *same, bool replace,
                       const struct gri_elf *elf, char *err)
{
    struct gri_module *twin = gri_module_find_build(module->info.build_id);

    /* It may be on its way out, left by its last goroutine, and the reaper not awake yet. */
    if (twin && !same) {
        gri_module_reap();
        twin = gri_module_find_build(module->info.build_id);
    }
    if (same && strcmp(same->info.build_id, module->info.build_id) == 0)
        return 1;
    if (same && !replace)
        return gri_load_error(err, -EBUSY, "another build of module %s is loaded (%.16s)",
                              same->info.name, same->info.build_id);
    if (same && !same->unloadable)
        return gri_load_error(err, -EPERM, "it is the program itself, which stays");
    if (same && twin && gri_module_revive(same, twin))
        return REVIVED;
    /* The same file under two names would be one mapping with two owners. */
    if (twin)
        return gri_load_error(err, -ENOEXEC, "this build is loaded already as module %s",
                              twin->info.name);
    return map_and_adopt(module, elf, err);
}

/* With gri_load_lock. `module` has name and path. */
static int load_locked(struct gri_module *module, bool replace, char *err)
{
    struct gri_module *same = gri_module_find(module->info.name);
    struct gri_elf elf;
    int result = gri_elf_open(&elf, module->info.path, err);

    if (result < 0)
        return result;
    result = gri_loader_check(&elf, module, false, err);
    if (result == 0)
        result = load_beside(module, same && same->info.loaded ? same : NULL, replace, &elf, err);
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
    const struct gri_module *same = gri_module_find(module->info.name);

    if (result > 0 || result == -ENOENT || (result < 0 && same && same->info.loaded))
        return false;
    if (result < 0)
        snprintf(module->info.error, sizeof module->info.error, "%s", text);
    gri_module_list_put(module);
    return true;
}

/*
 * Of one that was refused when goroutines of its constructors ran already: they keep the struct and the mapping, for good.
 * What is listed is a copy; NULL: no memory for one.
 */
static struct gri_module *leave_to_goroutines(struct gri_module *module)
{
    struct gri_module *copy = malloc(sizeof *copy);

    if (copy) {
        *copy = *module;
        copy->handle = NULL;
        atomic_init(&copy->live, 0);
    }
    gri_module_list_gone(module);
    return copy;
}

static struct gri_module *make(const char *name, const char *path)
{
    struct gri_module *module = calloc(1, sizeof *module);
    char *real = module ? realpath(path, NULL) : NULL;

    if (!module)
        return NULL;
    module->unloadable = true;
    module->file = -1;
    snprintf(module->info.name, sizeof module->info.name, "%s", name);
    snprintf(module->info.path, sizeof module->info.path, "%s", real ? real : path);
    free(real);
    return module;
}

static int load(const char *name, const char *path, bool replace, char *err, size_t err_bytes)
{
    char text[GRI_ERROR_BYTES] = "";
    struct gr_g *g = gri_self();
    struct gri_module *module;
    int result;

    if (err && err_bytes)
        err[0] = 0;
    if (!name_valid(name)) {
        give_error(err, err_bytes, "", "a module's name has 1 to 63 bytes and no slash");
        return -EINVAL;
    }
    module = make(name, path);
    if (!module)
        return -ENOMEM;
    if (g)
        gri_pin(g); /* this lock and the dynamic linker's are the thread's */
    pthread_mutex_lock(&gri_load_lock);
    result = load_locked(module, replace, text);
    if (result < 0 && atomic_load_explicit(&module->live, memory_order_acquire) > 0)
        module = leave_to_goroutines(module);
    if (module && !keep(module, result, text))
        free(module);
    pthread_mutex_unlock(&gri_load_lock);
    if (g)
        gri_unpin(g);
    if (result < 0)
        give_error(err, err_bytes, name, text);
    if (result == REVIVED)
        return 0;
    /* Whatever else opening a file may say, to the caller it is a file that cannot be loaded. */
    if (result < 0 && result != -ENOENT && result != -ENOMEM && result != -EBUSY &&
        result != -EPERM)
        return -ENOEXEC;
    return result;
}

int gr_module_load(const char *name, const char *path, char *err, size_t err_bytes)
{
    return load(name, path, false, err, err_bytes);
}

int gr_module_replace(const char *name, const char *path, char *err, size_t err_bytes)
{
    return load(name, path, true, err, err_bytes);
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
    module->file = -1;
    if (!realpath("/proc/self/exe", module->info.path))
        module->info.path[0] = 0;
    pthread_mutex_lock(&gri_load_lock);
    result = gri_module_find("main") ? gri_load_error(text, -EBUSY, "module main is loaded already")
                                     : gri_loader_check(&elf, module, true, text);
    module->handle = result == 0 ? dlopen(NULL, RTLD_NOW) : NULL;
    if (result == 0 && !module->handle)
        result = gri_load_error(text, -ENOEXEC, "%s", dlerror());
    if (result == 0)
        result = adopt(module, &elf, text);
    if (result == 0)
        gri_module_list_put(module);
    pthread_mutex_unlock(&gri_load_lock);
    gri_elf_close(&elf);
    if (result < 0) {
        give_error(err, err_bytes, "main", text);
        free(module);
    }
    return result;
}
