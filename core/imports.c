/*
 * imports.c: the table of imports and the pool of stubs. See imports.h.
 *
 * The table is written by topic and found by name, so the first look-up sorts it and joins each
 * wrapped row with its wrapper. Rejected: a perfect hash made at build time; a load looks up some
 * hundred names, which takes less than the dlopen beside it.
 */
#include "imports.h"

#include "core.h"
#include "module.h"
#include "wrap.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN(name)        {#name, GRI_IMPORT_PLAIN, NULL, NULL},
#define PIN(name)          {#name, GRI_IMPORT_PIN, NULL, NULL},
#define WRAP(name)         {#name, GRI_IMPORT_WRAP, NULL, NULL},
#define WIRED(name, why)   {#name, GRI_IMPORT_WIRED, why, NULL},
#define REFUSED(name, why) {#name, GRI_IMPORT_REFUSED, why, NULL},
#define OBJECT(name)       {#name, GRI_IMPORT_OBJECT, NULL, NULL},
static struct gri_import table[] = {
#include "import_table.def"
};
#define ROWS (sizeof table / sizeof table[0])

static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct gri_import *)a)->name, ((const struct gri_import *)b)->name);
}

static struct gri_import *find_row(const char *name)
{
    struct gri_import key = {.name = name};

    return bsearch(&key, table, ROWS, sizeof table[0], compare_rows);
}

/* ---- Where an address lies ------------------------------------------------------------------- */

#define SPANS_MAX 8

/* Address ranges of loaded libraries; written once, under table_once. */
struct span {
    uintptr_t lo, hi;
};
static struct span libc_span[SPANS_MAX], runtime_span;
static size_t libc_spans;

static struct span object_span(const struct dl_phdr_info *info)
{
    struct span span = {UINTPTR_MAX, 0};

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + segment->p_vaddr;

        if (segment->p_type != PT_LOAD)
            continue;
        if (lo < span.lo)
            span.lo = lo;
        if (lo + segment->p_memsz > span.hi)
            span.hi = lo + segment->p_memsz;
    }
    return span;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int note_object(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    struct span span = object_span(info);
    uintptr_t here = (uintptr_t)&table_once;

    if (here >= span.lo && here < span.hi)
        runtime_span = span;
    else if (info->dlpi_name && gri_import_is_libc(base_name(info->dlpi_name)) &&
             libc_spans < SPANS_MAX)
        libc_span[libc_spans++] = span;
    return 0;
}

bool gri_import_is_libc(const char *library)
{
    static const char *const names[] = {"libc.so.6",   "libm.so.6",       "libmvec.so.1",
                                        "libdl.so.2",  "libpthread.so.0", "librt.so.1",
                                        "libutil.so.1"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(library, names[i]) == 0)
            return true;
    }
    return strncmp(library, "ld-linux", 8) == 0;
}

/* ---- The table ------------------------------------------------------------------------------- */

static void join_wrappers(const struct gri_wrap *wrap)
{
    for (; wrap->name; wrap++) {
        struct gri_import *row = find_row(wrap->name);

        if (!row || row->class != GRI_IMPORT_WRAP)
            GR_PANIC("import_table.def does not list %s as WRAP", wrap->name);
        row->wrapper = wrap->fn;
    }
}

static void prepare_table(void)
{
    static const struct gri_wrap *const wraps[] = {
        gri_wraps_io,    gri_wraps_socket,  gri_wraps_poll,   gri_wraps_time,  gri_wraps_file,
        gri_wraps_names, gri_wraps_read,    gri_wraps_print,  gri_wraps_stdio, gri_wraps_lock,
        gri_wraps_sync,  gri_wraps_process, gri_wraps_signal, gri_wraps_misc};

    qsort(table, ROWS, sizeof table[0], compare_rows);
    for (size_t i = 0; i < sizeof wraps / sizeof wraps[0]; i++)
        join_wrappers(wraps[i]);
    for (size_t i = 0; i < ROWS; i++) {
        if (table[i].class == GRI_IMPORT_WRAP && !table[i].wrapper)
            GR_PANIC("no wrapper for %s", table[i].name);
    }
    dl_iterate_phdr(note_object, NULL);
    gri_wrap_fork_init();
}

const struct gri_import *gri_import_find(const char *name)
{
    pthread_once(&table_once, prepare_table);
    return find_row(name);
}

const struct gri_import *gri_import_table(size_t *count)
{
    pthread_once(&table_once, prepare_table);
    *count = ROWS;
    return table;
}

bool gri_import_interposes(const char *name, const void *address)
{
    return gri_import_find(name) && dlsym(RTLD_DEFAULT, name) == address;
}

bool gri_import_in_libc(const void *address)
{
    uintptr_t at = (uintptr_t)address;

    pthread_once(&table_once, prepare_table);
    for (size_t i = 0; i < libc_spans; i++) {
        if (at >= libc_span[i].lo && at < libc_span[i].hi)
            return true;
    }
    return false;
}

/* No pthread_once: the signal handler asks, and only once a module is loaded, so after the table
 * was made. */
bool gri_import_in_runtime(const void *address)
{
    return (uintptr_t)address >= runtime_span.lo && (uintptr_t)address < runtime_span.hi;
}

/* ---- Stubs ----------------------------------------------------------------------------------- */

/* Which stub a target has: open addressing, twice as many slots as stubs. Guarded by stub_lock. */
#define STUB_SLOTS (2 * ARCH_STUBS)
struct stub_pool {
    unsigned used;
    uint16_t index[STUB_SLOTS]; /* 1 + the stub's index, 0: empty */
};
static struct stub_pool plain_pool, pin_pool;
static struct gri_lock stub_lock;

static unsigned stub_hash(const void *target)
{
    return (unsigned)(((uintptr_t)target * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % STUB_SLOTS;
}

static int pool_get(struct stub_pool *pool, void **targets, void *target)
{
    unsigned slot = stub_hash(target);

    /* Bounded: there are twice as many slots as stubs. */
    for (; pool->index[slot]; slot = (slot + 1) % STUB_SLOTS) {
        if (targets[pool->index[slot] - 1] == target)
            return pool->index[slot] - 1;
    }
    if (pool->used == ARCH_STUBS)
        return -1;
    targets[pool->used] = target;
    pool->index[slot] = (uint16_t)++pool->used;
    return (int)pool->used - 1;
}

void *gri_import_stub(void *target, bool pin)
{
    int index;

    gri_lock(&stub_lock);
    index = pin ? pool_get(&pin_pool, arch_pin_stub_target, target)
                : pool_get(&plain_pool, arch_stub_target, target);
    gri_unlock(&stub_lock);
    if (index < 0)
        return NULL;
    return pin ? arch_pin_stub_address((unsigned)index) : arch_stub_address((unsigned)index);
}

/* The target of the stub that starts at `address`. M1: it stands there before the address is known to anyone. */
static void *stub_target(const void *address, void *(*stub_at)(unsigned), void **targets)
{
    uintptr_t first = (uintptr_t)stub_at(0), stride = (uintptr_t)stub_at(1) - first;
    uintptr_t offset = (uintptr_t)address - first;

    if ((uintptr_t)address < first || offset % stride != 0 || offset / stride >= ARCH_STUBS)
        return NULL;
    return targets[offset / stride];
}

void *gri_import_stub_function(const void *address)
{
    void *target = stub_target(address, arch_stub_address, arch_stub_target);

    if (!target)
        target = stub_target(address, arch_pin_stub_address, arch_pin_stub_target);
    if (!target || !gri_import_in_runtime(target))
        return target;
    for (size_t i = 0; i < ROWS; i++) {
        if ((void *)table[i].wrapper == target)
            return dlsym(RTLD_DEFAULT, table[i].name);
    }
    return NULL;
}

/* Whether `address` starts a function, by the symbol that lies exactly there. */
static bool is_function(void *address)
{
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;

    if (!dladdr1(address, &info, (void **)(void *)&symbol, RTLD_DL_SYMENT))
        return false;
    return symbol && info.dli_saddr == address && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC;
}

void *gri_import_redirect(const char *name, void *address, const char **reason)
{
    bool libc = gri_import_in_libc(address) || gri_import_interposes(name, address);
    const struct gri_import *row = libc ? gri_import_find(name) : NULL;
    void *stub;

    if (gri_import_in_runtime(address) || gri_module_of((uint64_t)address))
        return address;
    if (!row && (libc || !is_function(address)))
        return address;
    if (row && row->class == GRI_IMPORT_OBJECT)
        return address;
    if (row && (row->class == GRI_IMPORT_REFUSED || row->class == GRI_IMPORT_WIRED)) {
        *reason = row->reason;
        return NULL;
    }
    if (row && row->class == GRI_IMPORT_WRAP)
        stub = gri_import_stub((void *)row->wrapper, false);
    else
        stub = gri_import_stub(address, !row || row->class == GRI_IMPORT_PIN);
    if (!stub)
        *reason = "no import stub is left in this process";
    return stub;
}
