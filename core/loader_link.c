/*
 * loader_link.c: what is done to a module once it is mapped: verify it, and redirect its imports.
 *
 * Words of the GOT, and words of data that hold a function's address (static tables of functions),
 * get the address of a stub. No text is written and nothing is ever made executable: pages that the
 * linker made read-only after relocation are opened for the store and closed again. The class is
 * decided by where the definition lies: in libc, by the table; in another library, it is foreign
 * and gets a pinning stub; in the module or the runtime, the word stays.
 *
 * Runs once for each module, under the loader's lock, before any of its functions can be a
 * goroutine.
 */
#include "module.h"

#include "arch.h"
#include "imports.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool in_span(const struct gri_module *module, const void *at)
{
    return (uint64_t)at >= module->span_lo && (uint64_t)at < module->span_hi;
}

/* ---- Verifying ------------------------------------------------------------------------------- */

static int check_entries(const struct gri_module *module, char *err)
{
    const struct gr_entry *entry = module->meta->entries_begin;
    const struct gr_entry *end = module->meta->entries_end;

    if (entry > end || (entry != end && (!in_span(module, entry) || !in_span(module, end - 1))))
        return gri_load_error(err, -ENOEXEC, "corrupt module: bad table of entries");
    for (; entry < end; entry++) {
        if (!entry->name || !in_span(module, (const void *)entry->fn) ||
            strnlen(entry->name, GR_NAME_MAX + 1) > GR_NAME_MAX || !entry->name[0])
            return gri_load_error(err, -ENOEXEC,
                                  "an entry has no name, one longer than %d bytes, or no function",
                                  GR_NAME_MAX);
    }
    return 0;
}

/* Every function that was compiled with a check must still have one: each is looked at. */
static int check_checks(const struct gri_module *module, char *err)
{
    const void *const *check = module->meta->checks_begin;
    const void *const *end = module->meta->checks_end;
    uint64_t text_lo = module->base + module->note.text_lo;
    uint64_t text_hi = module->base + module->note.text_hi;

    if (check > end || (check != end && (!in_span(module, check) || !in_span(module, end - 1))))
        return gri_load_error(err, -ENOEXEC, "corrupt module: bad table of entry checks");
    if ((uint64_t)(end - check) != module->note.entry_checks)
        return gri_load_error(err, -ENOEXEC,
                              "it has %zu entry checks and its note says %llu: link it again",
                              (size_t)(end - check), (unsigned long long)module->note.entry_checks);
    for (; check < end; check++) {
        uint64_t at = (uint64_t)*check;

        if (at < text_lo || at + arch_entry_bytes() > text_hi || !arch_entry_is_check(*check))
            return gri_load_error(err, -ENOEXEC, "the function at offset 0x%llx has no entry check",
                                  (unsigned long long)(at - module->base));
    }
    return 0;
}

int gri_loader_verify(struct gri_module *module, char *err)
{
    const struct gri_module_meta *meta = dlsym(module->handle, GRI_MODULE_META);
    int result;

    if (!meta || !in_span(module, meta))
        return gri_load_error(err, -ENOEXEC, "not built by grasp-cc: it exports no %s",
                              GRI_MODULE_META);
    if (meta->abi != GR_ABI_VERSION || meta->size < sizeof *meta)
        return gri_load_error(err, -ENOEXEC,
                              "built by another version of grasp-cc: build it again");
    module->meta = meta;
    result = check_entries(module, err);
    return result ? result : check_checks(module, err);
}

/* ---- Redirecting ----------------------------------------------------------------------------- */

struct redirect_state {
    struct gri_module *module;
    const Elf64_Phdr *relro;
    char *err;
};

/* Opens or closes the pages that the dynamic linker made read-only. */
static int protect_relro(const struct redirect_state *state, int protection)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t lo, hi;

    if (!state->relro)
        return 0;
    /* As the dynamic linker rounds: a page that RELRO covers in part at its end stays writable. */
    lo = (state->module->base + state->relro->p_vaddr) & ~(page - 1);
    hi = (state->module->base + state->relro->p_vaddr + state->relro->p_memsz) & ~(page - 1);
    if (hi > lo && mprotect((void *)lo, hi - lo, protection) != 0)
        return gri_load_error(state->err, -ENOEXEC, "mprotect of its GOT: %s", strerror(errno));
    return 0;
}

static void *definition(const struct gri_module *module, const struct gri_elf_import *import)
{
    return import->version ? dlvsym(module->handle, import->name, import->version)
                           : dlsym(module->handle, import->name);
}

/* Whether `target` is what the name stands for: in the module's own libraries, or before them in
 * the program's. */
static bool is_definition(const struct gri_module *module, const struct gri_elf_import *import,
                          const void *target)
{
    return target == definition(module, import) || target == dlsym(RTLD_DEFAULT, import->name);
}

/* By the symbol that lies exactly at the address. */
static bool is_function_at(const void *address)
{
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;

    return dladdr1(address, &info, (void **)(void *)&symbol, RTLD_DL_SYMENT) && symbol &&
           info.dli_saddr == address &&
           (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC ||
            ELF64_ST_TYPE(symbol->st_info) == STT_GNU_IFUNC);
}

/* The table's row if the definition is libc's; *foreign: another library's function. */
static const struct gri_import *classify(const struct gri_elf_import *import, const void *target,
                                         bool *foreign)
{
    const struct gri_import *row = NULL;
    bool libc = import->library
                    ? gri_import_is_libc(import->library)
                    : gri_import_in_libc(target) || gri_import_interposes(import->name, target);

    *foreign = false;
    if (libc)
        row = gri_import_find(import->name);
    else
        *foreign = import->kind == STT_FUNC || is_function_at(target);
    return row;
}

/*
 * What a sanitizer's compiler adds to every function and memory access. It calls nobody back, and a pinning
 * stub would hide from it who called.
 */
static bool is_instrumentation(const char *name)
{
    static const char *const prefix[] = {"__tsan_", "__asan_", "__ubsan_", "__sanitizer_"};

    for (size_t i = 0; i < sizeof prefix / sizeof prefix[0]; i++) {
        if (strncmp(name, prefix[i], strlen(prefix[i])) == 0)
            return true;
    }
    return false;
}

static void *replacement(const struct gri_elf_import *import, void *target, bool *none_left)
{
    bool foreign;
    const struct gri_import *row = classify(import, target, &foreign);
    void *stub = NULL;

    if (!foreign && (!row || row->class == GRI_IMPORT_OBJECT))
        return NULL;
    if (is_instrumentation(import->name))
        return NULL;
    if (row && row->class == GRI_IMPORT_WRAP)
        stub = gri_import_stub((void *)row->wrapper, false);
    else
        stub = gri_import_stub(target, foreign || row->class == GRI_IMPORT_PIN);
    *none_left = !stub;
    return stub;
}

static int redirect_one(void *arg, const struct gri_elf_import *import)
{
    struct redirect_state *state = arg;
    struct gri_module *module = state->module;
    enum arch_reloc kind = arch_reloc_kind(import->type);
    uint64_t *word = (uint64_t *)(module->base + import->offset);
    bool none_left = false;
    void *target, *stub;
    uint64_t value;

    if ((kind != ARCH_RELOC_SLOT && kind != ARCH_RELOC_ABSOLUTE) || !in_span(module, word) ||
        !in_span(module, (char *)word + 7))
        return 0;
    memcpy(&value, word, sizeof value);
    target = (void *)value;
    /* A slot that is bound lazily holds an address in the module until its first call. */
    if (kind == ARCH_RELOC_SLOT && import->undefined && in_span(module, target))
        target = definition(module, import);
    if (!target || in_span(module, target) || gri_import_in_runtime(target))
        return 0;
    /* A constructor may have stored something else since: then the name says nothing about the
     * value. */
    if (kind == ARCH_RELOC_ABSOLUTE &&
        (import->addend != 0 || !is_definition(module, import, target)))
        return 0;
    stub = replacement(import, target, &none_left);
    if (none_left)
        return gri_load_error(state->err, -ENOMEM,
                              "no import stub is left for %s: all modules of this process import "
                              "more than %d functions of one sort",
                              import->name, ARCH_STUBS);
    if (!stub)
        return 0;
    /* Relaxed is enough: no goroutine of this module exists yet, and spawning one synchronises. */
    if (((uint64_t)word & 7) == 0)
        __atomic_store_n(word, (uint64_t)stub, __ATOMIC_RELAXED);
    else
        memcpy(word, &stub, sizeof stub);
    return 0;
}

int gri_loader_redirect(const struct gri_elf *elf, struct gri_module *module, char *err)
{
    struct redirect_state state = {module, gri_elf_segment(elf, PT_GNU_RELRO), err};
    int result, closed;

    /* The first look-up prepares the table and knows where libc and the runtime lie. */
    gri_import_find("");
    result = protect_relro(&state, PROT_READ | PROT_WRITE);
    if (result < 0)
        return result;
    result = gri_elf_each_import(elf, redirect_one, &state);
    closed = protect_relro(&state, PROT_READ);
    return result ? result : closed;
}
