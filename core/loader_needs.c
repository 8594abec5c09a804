/*
 * loader_needs.c: do the libraries that a module needs keep data for each thread?
 *
 * A goroutine changes threads whenever it may be stopped. Code that keeps something in
 * thread-locals, its own or those of a library below it, would find another thread's. So such a
 * module is wired: each of its goroutines is a thread of its own. Looked at is everything in the
 * closure of DT_NEEDED except libc, libm, ld.so (whose thread-locals the import table knows about)
 * and libgrasp with what libgrasp needs.
 *
 * The files are read again, with the loader's own reader: nothing depends on the layout of the
 * dynamic linker's private structures.
 */
#include "module.h"

#include "imports.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARIES_MAX 512

/* One loaded library: what it is called and where it was loaded from. */
struct walk {
    struct gri_module *module;
    const struct link_map *seen[LIBRARIES_MAX];
    const struct link_map *of_runtime[LIBRARIES_MAX];
    size_t seen_count, of_runtime_count;
    bool for_runtime; /* collect into of_runtime, look at nothing */
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static const char *soname(const struct link_map *map)
{
    const char *strings = NULL;
    uint64_t offset = 0;
    bool found = false;

    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        /* glibc has added the base already; on machines where it has not, the value is below it. */
        if (entry->d_tag == DT_STRTAB)
            strings =
                (const char *)(entry->d_un.d_ptr < map->l_addr ? entry->d_un.d_ptr + map->l_addr
                                                               : entry->d_un.d_ptr);
        if (entry->d_tag == DT_SONAME) {
            offset = entry->d_un.d_val;
            found = true;
        }
    }
    return found && strings ? strings + offset : base_name(map->l_name);
}

/* The loaded library that a DT_NEEDED name stands for, or NULL. */
static const struct link_map *find_library(const struct link_map *any, const char *name)
{
    while (any->l_prev)
        any = any->l_prev;
    for (; any; any = any->l_next) {
        if (strcmp(any->l_name, name) == 0 || strcmp(soname(any), base_name(name)) == 0 ||
            strcmp(base_name(any->l_name), base_name(name)) == 0)
            return any;
    }
    return NULL;
}

static bool contains(const struct link_map *const *list, size_t count, const struct link_map *map)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == map)
            return true;
    }
    return false;
}

/* Libraries whose use of thread-specific data is known to be out of a module's reach. */
static bool is_exempt(const char *name)
{
    /* libgcc_s imports pthread_getspecific for emulated TLS only, which no compiler uses here. */
    return gri_import_is_libc(name) || strncmp(name, "libgrasp.so", 11) == 0 ||
           strncmp(name, "libgcc_s.so", 11) == 0;
}

static void wire(struct gri_module *module, const char *library, const char *why)
{
    if (module->info.wired)
        return;
    module->info.wired = true;
    snprintf(module->info.wired_because, sizeof module->info.wired_because, "%s %s", library, why);
}

static int look_at_import(void *arg, const struct gri_elf_import *import)
{
    const char **found = arg;
    const struct gri_import *row;

    if (!import->undefined || (import->library && !gri_import_is_libc(import->library)))
        return 0;
    if (strncmp(import->name, "pthread_", 8) != 0 && strncmp(import->name, "__pthread_", 10) != 0 &&
        strncmp(import->name, "tss_", 4) != 0)
        return 0;
    row = gri_import_find(import->name);
    if (!row || row->class != GRI_IMPORT_WIRED || strstr(import->name, "self"))
        return 0;
    *found = import->name;
    return 1;
}

static int walk_library(struct walk *walk, const struct gri_elf *elf, const struct link_map *any);

struct needed_state {
    struct walk *walk;
    const struct link_map *any;
};

static int walk_needed(void *arg, const char *name)
{
    struct needed_state *state = arg;
    struct walk *walk = state->walk;
    const struct link_map *map = find_library(state->any, name);
    const struct link_map **list = walk->for_runtime ? walk->of_runtime : walk->seen;
    size_t *count = walk->for_runtime ? &walk->of_runtime_count : &walk->seen_count;
    char err[GRI_ERROR_BYTES];
    struct gri_elf elf;
    int result;

    if (!map || !map->l_name[0] || contains(list, *count, map))
        return 0;
    if (!walk->for_runtime &&
        (is_exempt(base_name(name)) || contains(walk->of_runtime, walk->of_runtime_count, map)))
        return 0;
    /* Import stubs hold addresses in it for good, so it stays when the module goes. */
    if (!walk->for_runtime)
        dlopen(map->l_name, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    if (*count == LIBRARIES_MAX || gri_elf_open(&elf, map->l_name, err) < 0) {
        wire(walk->module, base_name(name), "cannot be looked at");
        return 0;
    }
    list[(*count)++] = map;
    result = walk_library(walk, &elf, map);
    gri_elf_close(&elf);
    return result;
}

/* Depth is bounded by LIBRARIES_MAX: each library is entered once. */
static int walk_library(struct walk *walk, const struct gri_elf *elf, const struct link_map *map)
{
    struct needed_state state = {walk, map};
    const char *name = NULL;
    char why[80];

    if (!walk->for_runtime) {
        if (gri_elf_segment(elf, PT_TLS)) {
            wire(walk->module, base_name(map->l_name), "has thread-local variables");
        } else if (gri_elf_each_import(elf, look_at_import, &name) == 1) {
            snprintf(why, sizeof why, "imports %.60s", name);
            wire(walk->module, base_name(map->l_name), why);
        }
    }
    return gri_elf_each_needed(elf, walk_needed, &state);
}

/*
 * What libgrasp itself needs is the runtime's business and loaded anyhow; so is what the control plane of an
 * embedding program needs (libuv keeps thread-specific data), which module code calls through gr_serve only.
 */
static void collect_runtime(struct walk *walk, const struct link_map *any)
{
    struct needed_state state = {walk, any};
    Dl_info info;

    walk->for_runtime = true;
    if (dladdr((void *)(uintptr_t)&gri_loader_needs, &info) && info.dli_fname)
        walk_needed(&state, info.dli_fname);
    walk_needed(&state, "libgrasp_server.so.1"); /* nothing, if it is not loaded */
    walk->for_runtime = false;
}

int gri_loader_needs(const struct gri_elf *elf, struct gri_module *module, char *err)
{
    struct walk *walk = calloc(1, sizeof *walk);
    struct link_map *map = NULL;

    if (!walk)
        return gri_load_error(err, -ENOMEM, "no memory to look at the libraries it needs");
    walk->module = module;
    if (dlinfo(module->handle, RTLD_DI_LINKMAP, &map) == 0 && map) {
        struct needed_state state = {walk, map};

        collect_runtime(walk, map);
        gri_elf_each_needed(elf, walk_needed, &state);
    }
    free(walk);
    return 0;
}
