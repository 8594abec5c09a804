/*
 * loader_check.c: may this file be loaded? Decided from its bytes alone, before dlopen, so that no
 * constructor of a refused module ever runs.
 *
 * Every refusal says what to do about it. Imports are looked up here by name and version; whom they
 * are bound to is seen only after dlopen (loader_link.c). A name that another library defines as
 * well is judged by the library in its version, and without a version by the table.
 *
 * No state, no locks; gri_import_find sorts its table under its own.
 */
#include "module.h"

#include "arch.h"
#include "imports.h"

#include <dlfcn.h>
#include <gnu/lib-names.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int gri_load_error(char *err, int error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(err, GRI_ERROR_BYTES, fmt, args);
    va_end(args);
    return error;
}

static const char *machine_name(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {{EM_X86_64, "x86-64"}, {EM_AARCH64, "arm64"}, {EM_386, "i386"},
                 {EM_ARM, "arm"},       {EM_RISCV, "riscv"},   {EM_PPC64, "ppc64"},
                 {EM_S390, "s390x"},    {EM_MIPS, "mips"},     {EM_LOONGARCH, "loongarch"}};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].machine == machine)
            return names[i].name;
    }
    return "an unknown machine";
}

static int check_kind(const struct gri_elf *elf, bool program, char *err)
{
    const Elf64_Phdr *stack = gri_elf_segment(elf, PT_GNU_STACK);

    if (elf->header.e_machine != arch_elf_machine())
        return gri_load_error(err, -ENOEXEC, "built for %s, this daemon runs %s",
                              machine_name(elf->header.e_machine),
                              machine_name(arch_elf_machine()));
    if (elf->header.e_type != ET_DYN)
        return gri_load_error(err, -ENOEXEC, "not a shared object: link it with grasp-cc");
    if (!elf->has_dynamic)
        return gri_load_error(err, -ENOEXEC, "no dynamic section: link it with grasp-cc");
    if (!program && gri_elf_segment(elf, PT_INTERP))
        return gri_load_error(err, -ENOEXEC, "a program, not a module: name the output NAME.so");
    if (!stack || (stack->p_flags & PF_X))
        return gri_load_error(err, -ENOEXEC,
                              "it asks for an executable stack: remove nested functions whose "
                              "address is taken, or mark its assembly .note.GNU-stack");
    if (elf->text_relocations)
        return gri_load_error(err, -ENOEXEC,
                              "its text needs relocations: compile every object with -fPIC");
    return 0;
}

static void fill_build_id(const struct gri_elf *elf, char *hex, size_t room)
{
    size_t bytes = 0;
    const uint8_t *id = gri_elf_note(elf, "GNU", NT_GNU_BUILD_ID, &bytes);

    hex[0] = 0;
    for (size_t i = 0; id && i < bytes && 2 * i + 3 <= room; i++)
        snprintf(hex + 2 * i, 3, "%02x", id[i]);
}

static int check_note(const struct gri_elf *elf, struct gri_module *module, char *err)
{
    struct gri_module_note *note = &module->note;
    size_t bytes = 0;
    const void *at = gri_elf_note(elf, GRI_NOTE_NAME, GRI_NOTE_MODULE, &bytes);

    if (!at || bytes < sizeof *note)
        return gri_load_error(err, -ENOEXEC,
                              "not built by grasp-cc: compile and link it with grasp-cc");
    memcpy(note, at, sizeof *note);
    if (note->abi != GR_ABI_VERSION)
        return gri_load_error(err, -ENOEXEC,
                              "built for version %u of Grasp's module interface, this is %u: "
                              "build it again",
                              note->abi, GR_ABI_VERSION);
    if (!(note->flags & GRI_MODULE_REWRITTEN))
        return gri_load_error(err, -ENOEXEC,
                              "its function entries were not rewritten: link it with grasp-cc");
    if (note->text_lo > note->text_hi ||
        !gri_elf_in_segment(elf, note->text_lo, note->text_hi, PF_X) ||
        note->nopreempt_lo > note->nopreempt_hi)
        return gri_load_error(err, -ENOEXEC, "corrupt file: its note names text that it lacks");
    return 0;
}

/* ---- Imports --------------------------------------------------------------------------------- */

struct imports_state {
    struct gri_module *module;
    char *err;
};

static void wire(struct gri_module *module, const char *what, const char *why)
{
    if (module->info.wired)
        return;
    module->info.wired = true;
    snprintf(module->info.wired_because, sizeof module->info.wired_because, "%s: %s", what, why);
}

/* A wrapper stands in for today's version of a function; an old version may have other arguments.
 */
static bool is_old_version(const struct gri_import *row, const struct gri_elf_import *import)
{
    void *libc, *now, *then;

    if (row->class != GRI_IMPORT_WRAP || !import->version)
        return false;
    /* Asked of libc itself: a sanitizer or a preloaded library may stand before it. */
    libc = dlopen(LIBC_SO, RTLD_NOW | RTLD_NOLOAD);
    if (!libc)
        return false;
    now = dlsym(libc, import->name);
    then = dlvsym(libc, import->name, import->version);
    dlclose(libc);
    return now && then && now != then;
}

/*
 * Functions that keep what they are given, code or data of the module, when the goroutine that
 * called them has ended: a module that has one of them stays mapped when it is unloaded. Not here:
 * what dlclose itself takes back (atexit, pthread_atfork).
 */
static bool keeps_a_part(const char *name)
{
    static const char *const keepers[] = {
        "__cxa_at_quick_exit", "__cxa_thread_atexit_impl", "__sigaction", "__sysv_signal",
        "aio_fsync", "aio_read", "aio_write", "bsd_signal", "fmemopen", "fopencookie",
        "getaddrinfo_a", "initstate", "lio_listio", "mq_notify", "on_exit", "open_memstream",
        "open_wmemstream", "openlog", "pthread_create", "pthread_key_create", "putenv",
        "register_printf_function", "register_printf_modifier", "register_printf_specifier",
        "register_printf_type", "setbuf", "setbuffer", "setstate", "setvbuf", "sigaction", "signal",
        "ssignal", "sysv_signal", "thrd_create", "timer_create", "tss_create"};

    for (size_t i = 0; i < sizeof keepers / sizeof keepers[0]; i++) {
        if (strcmp(name, keepers[i]) == 0)
            return true;
    }
    return false;
}

static int check_import(void *arg, const struct gri_elf_import *import)
{
    struct imports_state *state = arg;
    const struct gri_import *row;

    if (arch_reloc_kind(import->type) == ARCH_RELOC_TLS)
        wire(state->module, import->name, "a thread-local variable");
    if (!import->undefined || import->name[0] == 0)
        return 0;
    if (import->library && !gri_import_is_libc(import->library))
        return 0;
    row = gri_import_find(import->name);
    if (!row) {
        /* Without a version it may be any library's; from libc only data may be unknown. */
        if (!import->library || import->kind == STT_OBJECT)
            return 0;
        return gri_load_error(state->err, -ENOEXEC,
                              "it imports %s of %s, which Grasp does not know: its behaviour in "
                              "goroutines has to be classified first",
                              import->name, import->library);
    }
    if (row->class == GRI_IMPORT_REFUSED)
        return gri_load_error(state->err, -ENOEXEC, "it imports %s, which is refused: %s",
                              import->name, row->reason);
    if (row->class == GRI_IMPORT_WIRED)
        wire(state->module, import->name, row->reason);
    if (!state->module->info.kept_by[0] && keeps_a_part(import->name))
        snprintf(state->module->info.kept_by, sizeof state->module->info.kept_by, "%s",
                 import->name);
    if (is_old_version(row, import))
        return gri_load_error(state->err, -ENOEXEC,
                              "it imports an old version (%s) of %s: compile it against current "
                              "headers",
                              import->version, import->name);
    return 0;
}

/* Code of some sanitizers must be there before all other, and ends the process where it is not. */
static int check_library(void *arg, const char *name)
{
    static const char *const first[] = {"libasan.so", "libtsan.so", "liblsan.so", "libhwasan.so"};
    char *err = arg;
    void *loaded;

    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        if (strncmp(name, first[i], strlen(first[i])) != 0)
            continue;
        loaded = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
        if (!loaded)
            return gri_load_error(err, -ENOEXEC,
                                  "needs %s, which must be in the process from its start: build it "
                                  "without -fsanitize, or use a Grasp that is built with the same",
                                  name);
        dlclose(loaded);
    }
    return 0;
}

int gri_loader_check(const struct gri_elf *elf, struct gri_module *module, bool program, char *err)
{
    struct imports_state state = {module, err};
    int result = check_kind(elf, program, err);

    fill_build_id(elf, module->info.build_id, sizeof module->info.build_id);
    if (result == 0)
        result = check_note(elf, module, err);
    if (result < 0)
        return result;
    if (gri_elf_segment(elf, PT_TLS))
        wire(module, "the module", "it has thread-local variables");
    err[0] = 0;
    result = gri_elf_each_needed(elf, check_library, err);
    if (result == 0)
        result = gri_elf_each_import(elf, check_import, &state);
    if (result < 0 && err[0] == 0)
        gri_load_error(err, result, "corrupt file: bad relocation, symbol or version");
    return result;
}
