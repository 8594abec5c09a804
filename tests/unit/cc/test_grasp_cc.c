/*
 * test_grasp_cc.c: builds small modules and programs with grasp-cc and looks at what came out.
 *
 * "Every function has a check" is read from the linked file's own symbols, not from the list of
 * entries that grasp-cc worked from. Modules are also loaded, on this thread, which is no
 * goroutine: its guard slot is 0 and all checks pass.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <grasp/goroutine.h>

#include "arch.h"
#include "builtin.h"
#include "elf_view.h"

static char folder[400];
static const char *compilers[4];

/* Runs a shell command in the temporary folder; CC, SRC and PLAIN stand for grasp-cc, the sources,
 * the plain compiler, RUN for what runs a program of the target. */
__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char line[4096], command[8192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    snprintf(command, sizeof(command),
             "cd '%s' && CC='%s' SRC='%s' PLAIN='%s' RUN='%s' && { %s ; } >out.txt 2>err.txt",
             folder, GRASP_CC_PATH, SOURCES, PLAIN_CC, RUN, line);
    int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *in_folder(const char *name)
{
    static char path[4][512];
    static unsigned next;
    char *at = path[next++ % 4];
    snprintf(at, sizeof(path[0]), "%s/%s", folder, name);
    return at;
}

static const char *said(void)
{
    static char text[16384];
    FILE *file = fopen(in_folder("err.txt"), "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = 0;
    return text;
}

static bool exists(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

#define assert_built(...)                                                                          \
    do {                                                                                           \
        if (run(__VA_ARGS__) != 0)                                                                 \
            fail_msg("%s", said());                                                                \
    } while (0)
#define assert_said(text)                                                                          \
    do {                                                                                           \
        if (!strstr(said(), text))                                                                 \
            fail_msg("\"%s\" is not in: %s", text, said());                                        \
    } while (0)

/* ---- What a module must be ------------------------------------------------------------------- */

/* Functions that the compiler's start files bring along. */
static bool is_start_file(const char *name)
{
    static const char *const names[] = {"_init",       "_fini",
                                        "_start",      "deregister_tm_clones",
                                        "frame_dummy", "register_tm_clones",
                                        "__gr_slow",   "__do_global_dtors_aux",
                                        "alone",       "_dl_relocate_static_pie",
                                        "call_weak_fn"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

struct function_count {
    const struct view *view;
    size_t functions, checked;
    bool saw_alone;
};

static void look_at_function(void *arg, const char *name, const Elf64_Sym *symbol)
{
    struct function_count *count = arg;
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF)
        return;
    /* The linker's own jump to what an ifunc has chosen, under the ifunc's name. */
    const Elf64_Shdr *jumps = view_section(count->view, ".iplt");
    if (jumps && jumps == &count->view->sections[symbol->st_shndx])
        return;
    if (is_start_file(name) || strstr(name, ".cold")) {
        count->saw_alone |= strcmp(name, "alone") == 0;
        return;
    }
    /* endbr64 of x86-64, bti c of arm64. */
    static const uint8_t landing_pad[][4] = {{0xf3, 0x0f, 0x1e, 0xfa}, {0x5f, 0x24, 0x03, 0xd5}};
    const uint8_t *at = view_at(count->view, symbol->st_value);
    if (memcmp(at, landing_pad[0], 4) == 0 || memcmp(at, landing_pad[1], 4) == 0)
        at += 4;
    count->functions++;
    if (arch_entry_is_check(at))
        count->checked++;
    else
        print_error("%s has no check\n", name);
}

/* Each function that has a symbol begins with a check; the note tells what is there. */
static struct gri_module_note assert_rewritten(const char *name, size_t functions_min)
{
    struct view view;
    struct gri_module_note note;
    view_open(&view, in_folder(name));
    assert_true(view_module_note(&view, &note));
    assert_int_equal(note.abi, GR_ABI_VERSION);
    assert_true(note.flags & GRI_MODULE_REWRITTEN);
    const Elf64_Shdr *text = view_section(&view, ".text");
    assert_int_equal(note.text_lo, text->sh_addr);
    assert_int_equal(note.text_hi, text->sh_addr + text->sh_size);
    struct function_count count = {.view = &view};
    view_symbols(&view, ".symtab", look_at_function, &count);
    assert_int_equal(count.functions, count.checked);
    assert_true(count.functions >= functions_min);
    assert_true(note.entry_checks >= functions_min);
    view_close(&view);
    return note;
}

static const struct gr_entry *entry_of(const struct gri_module_meta *meta, const char *name)
{
    const struct gr_entry *end = meta->entries_end;
    for (const struct gr_entry *e = meta->entries_begin; e < end; e++)
        if (strcmp(e->name, name) == 0)
            return e;
    fail_msg("no entry %s", name);
    return NULL;
}

/* Loads it, compares gr_module_meta with the note, and runs it. */
static void assert_runs(const char *name, const struct gri_module_note *note)
{
    void *handle = dlopen(in_folder(name), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        fail_msg("%s", dlerror());
    const struct gri_module_meta *meta = dlsym(handle, GRI_MODULE_META);
    assert_non_null(meta);
    assert_int_equal(meta->size, sizeof(*meta));
    assert_int_equal((const struct gr_entry *)meta->entries_end -
                         (const struct gr_entry *)meta->entries_begin,
                     2);
    size_t checks = 0;
    for (const void *const *at = meta->checks_begin; at < meta->checks_end; at++) {
        if (!*at)
            continue;
        assert_true(arch_entry_is_check(*at));
        checks++;
    }
    assert_int_equal(checks, note->entry_checks);
    Dl_info where;
    assert_true(dladdr(meta, &where) != 0);
    const struct gr_entry *alone = entry_of(meta, "alone");
    uint64_t alone_at = (uint64_t)(uintptr_t)alone->fn - (uint64_t)(uintptr_t)where.dli_fbase;
    assert_in_range(alone_at, note->nopreempt_lo, note->nopreempt_hi - 1);
    assert_false(arch_entry_is_check((const void *)(uintptr_t)alone->fn));
    assert_int_equal(alone->fn("a"), 'b');
    assert_int_equal(entry_of(meta, "run")->fn("null"), 21);
    dlclose(handle);
}

/* ---- Building -------------------------------------------------------------------------------- */

static void every_function_is_checked_whatever_the_flags(void **state)
{
    static const char *const flags[] = {
        "-O0",
        "-O1",
        "-O2",
        "-O3",
        "-Os",
        "-O2 -fno-plt",
        "-O2 " LANDING_PAD_FLAG,
        "-std=c99 -O2",
        "-O2 -ffunction-sections -fdata-sections -Wl,--gc-sections",
        "-O2 -Wl,-z,pack-relative-relocs",
        "-O2 -fno-asynchronous-unwind-tables -fpie -g0",
    };
    (void)state;
    for (size_t c = 0; compilers[c]; c++)
        for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
            char name[32];
            snprintf(name, sizeof(name), "flags-%zu-%zu.so", c, i);
            assert_built("GRASP_CC='%s' $CC -Wall %s $SRC/basic.c $SRC/other.c -o %s", compilers[c],
                         flags[i], name);
            struct gri_module_note note = assert_rewritten(name, 3);
            assert_int_equal(note.flags, GRI_MODULE_REWRITTEN);
            assert_runs(name, &note);
        }
}

static void other_linkers_keep_the_checks(void **state)
{
    static const char *const linkers[] = {"lld", "gold"};
    (void)state;
    for (size_t c = 0; compilers[c]; c++)
        for (size_t i = 0; i < sizeof(linkers) / sizeof(linkers[0]); i++) {
            char name[32];
            if (run("ld.%s --version", linkers[i]) != 0) {
                print_message("ld.%s is not installed\n", linkers[i]);
                continue;
            }
            /* A cross compiler looks for lld, which links for all machines, under a name of its own. */
            if (strcmp(linkers[i], "lld") == 0)
                assert_int_equal(
                    run("mkdir -p linkers && ln -sf $(command -v ld.lld) linkers/ld.lld"), 0);
            snprintf(name, sizeof(name), "%s-%zu.so", linkers[i], c);
            assert_built(
                "GRASP_CC='%s' $CC -Blinkers -O2 -fuse-ld=%s $SRC/basic.c $SRC/other.c -o %s",
                compilers[c], linkers[i], name);
            struct gri_module_note note = assert_rewritten(name, 3);
            assert_runs(name, &note);
        }
}

static void link_time_optimisation_keeps_the_checks(void **state)
{
    (void)state;
    assert_built("$CC -O2 -flto $SRC/basic.c $SRC/other.c -o lto.so");
    struct gri_module_note note = assert_rewritten("lto.so", 3);
    assert_runs("lto.so", &note);
    assert_built("$CC -O2 -flto -c $SRC/basic.c -o b.o && $CC -O2 -flto -c $SRC/other.c -o o.o && "
                 "$CC -O2 -flto b.o o.o -o lto-objects.so");
    note = assert_rewritten("lto-objects.so", 3);
    assert_runs("lto-objects.so", &note);
}

static void objects_and_archives_link_as_with_any_compiler(void **state)
{
    (void)state;
    assert_built("cp $SRC/basic.c $SRC/other.c . && $CC -O2 -c basic.c other.c && "
                 "ar rcs libother.a other.o && "
                 "echo '-O2 basic.o -L.' -lother >line.txt && $CC @line.txt -o archive.so");
    struct gri_module_note note = assert_rewritten("archive.so", 3);
    assert_runs("archive.so", &note);
    assert_built("$CC -r -o all.o basic.o other.o && $CC -shared -o partial.bin all.o");
    note = assert_rewritten("partial.bin", 3);
    assert_runs("partial.bin", &note);
}

static void stripped_module_is_rewritten_too(void **state)
{
    (void)state;
    assert_built("$CC -O2 -s $SRC/basic.c $SRC/other.c -o stripped.so");
    struct view view;
    struct gri_module_note note;
    view_open(&view, in_folder("stripped.so"));
    assert_null(view_section(&view, ".symtab"));
    assert_true(view_module_note(&view, &note));
    view_close(&view);
    assert_runs("stripped.so", &note);
}

struct names {
    size_t defined;
    bool meta, own_errno, libc_errno;
};

static void look_at_name(void *arg, const char *name, const Elf64_Sym *symbol)
{
    struct names *names = arg;
    names->own_errno |= strcmp(name, "gr_errno_location") == 0;
    names->libc_errno |= strcmp(name, "__errno_location") == 0;
    if (symbol->st_shndx == SHN_UNDEF || !*name)
        return;
    names->defined++;
    names->meta |= strcmp(name, GRI_MODULE_META) == 0;
}

static void module_exports_its_meta_alone_and_asks_for_its_own_errno(void **state)
{
    (void)state;
    assert_built("$CC -O2 $SRC/basic.c $SRC/other.c -o names.so");
    struct view view;
    struct names names = {0};
    view_open(&view, in_folder("names.so"));
    view_symbols(&view, ".dynsym", look_at_name, &names);
    view_close(&view);
    assert_int_equal(names.defined, 1);
    assert_true(names.meta);
    assert_true(names.own_errno);
    assert_false(names.libc_errno);
}

static void feature_macros_work_behind_the_forced_include(void **state)
{
    (void)state;
    for (size_t c = 0; compilers[c]; c++)
        assert_built("GRASP_CC='%s' $CC -std=c99 -pedantic -Wall -Wextra -Werror $SRC/features.c "
                     "-o features.so",
                     compilers[c]);
}

static void program_is_a_module_too(void **state)
{
    (void)state;
    assert_built("$CC -O2 " PROGRAM_FLAGS " $SRC/program.c -o program");
    struct gri_module_note note = assert_rewritten("program", 1);
    assert_int_equal(note.flags, GRI_MODULE_REWRITTEN | GRI_MODULE_PROGRAM);
    assert_int_equal(run("$RUN ./program 7"), 7);
    struct view view;
    struct names names = {0};
    view_open(&view, in_folder("program"));
    assert_int_equal(view.header->e_type, ET_DYN);
    view_symbols(&view, ".dynsym", look_at_name, &names);
    view_close(&view);
    assert_true(names.meta);
}

static void preprocessing_and_questions_are_passed_on(void **state)
{
    (void)state;
    assert_built("$CC -E $SRC/other.c | grep -q other_add");
    assert_built("$CC -O2 -S $SRC/other.c -o other.s && grep -q patchable_function other.s");
    assert_built("$CC --version | grep -q '^grasp-cc '");
    assert_built("$CC --print-cflags | grep -q -e '-include .*/grasp/builtin/cc.h'");
    assert_built("$CC --help | grep -q asm-ok");
    assert_built("$CC -O2 -MD -c $SRC/basic.c -o dep.o && grep -q goroutine.h dep.d");
    assert_built("$CC -O2 -MD $SRC/basic.c $SRC/other.c -o dep.so && "
                 "grep -q '^dep.so:' dep-basic.d && grep -q goroutine.h dep-basic.d");
}

static void commands_are_shown(void **state)
{
    (void)state;
    assert_built("$CC --show -O2 $SRC/basic.c $SRC/other.c -o show.so");
    assert_said("-fpatchable-function-entry=");
    assert_said("-Wl,-Bsymbolic");
}

/* ---- Refusing -------------------------------------------------------------------------------- */

/* Builds REFUSED.so from `files` in vain. */
static void assert_refused(const char *files, const char *named, const char *because)
{
    assert_int_equal(run("$CC -O2 %s -o refused.so", files), 1);
    assert_said("grasp-cc: ");
    assert_said(named);
    assert_said(because);
    assert_false(exists("refused.so"));
}

static void foreign_objects_are_refused_by_name(void **state)
{
    (void)state;
    assert_built("$PLAIN -fPIC -c $SRC/foreign.c -o foreign.o && ar rcs libforeign.a foreign.o && "
                 "ar rcsT libthin.a foreign.o");
    assert_refused("$SRC/foreign_user.c foreign.o", "foreign.o", "not compiled by grasp-cc");
    assert_refused("$SRC/foreign_user.c libforeign.a", "libforeign.a(foreign.o)",
                   "not compiled by grasp-cc");
    assert_refused("$SRC/foreign_user.c -L. -lforeign", "libforeign.a(foreign.o)",
                   "not compiled by grasp-cc");
    assert_refused("$SRC/foreign_user.c libthin.a", "libthin.a(foreign.o)",
                   "not compiled by grasp-cc");
    assert_built("echo 'INPUT(foreign.o)' >script.ld");
    assert_refused("$SRC/foreign_user.c script.ld", "foreign.o", "not compiled by grasp-cc");
    assert_int_equal(run("$CC -r foreign.o -o refused.o"), 1);
    assert_false(exists("refused.o"));
    assert_built("$CC $SRC/foreign_user.c $SRC/foreign.c -o ours.so");
}

static void files_for_other_machines_are_refused_as_such(void **state)
{
    (void)state;
    /* e_machine 8 is MIPS. */
    assert_built("$PLAIN -fPIC -c $SRC/foreign.c -o mips.o && "
                 "$PLAIN -shared -fPIC $SRC/foreign.c -o mips.so && for f in mips.o mips.so; "
                 "do printf '\\010\\000' | dd of=$f bs=1 seek=18 conv=notrunc; done && "
                 "ar rcs libmips.a mips.o");
    assert_refused("$SRC/foreign_user.c mips.o", "mips.o",
                   "built for another architecture (ELF machine 8)");
    assert_refused("$SRC/foreign_user.c mips.so", "mips.so", "built for another architecture");
    assert_refused("$SRC/foreign_user.c libmips.a", "libmips.a(mips.o)",
                   "built for another architecture");
    assert_refused("--asm-ok $SRC/foreign_user.c mips.o", "mips.o", "built for another");
}

static void module_without_entries_is_built_with_a_warning(void **state)
{
    (void)state;
    assert_built("echo 'int lonely(void) { return 1; }' >lonely.c && $CC -O2 lonely.c -o lonely.so");
    assert_said("warning: lonely.so has no GR_ENTRY");
    assert_built("$CC -O2 $SRC/basic.c $SRC/other.c -o basic.so");
    assert_null(strstr(said(), "warning"));
}

static void foreign_objects_for_link_time_optimisation_are_refused(void **state)
{
    (void)state;
    assert_built("$PLAIN -fPIC -O2 -flto -c $SRC/foreign.c -o foreign-lto.o");
    assert_refused("-flto $SRC/foreign_user.c foreign-lto.o", "foreign-lto.o",
                   "not compiled by grasp-cc");
}

static void executable_stack_is_refused(void **state)
{
    (void)state;
    assert_refused("$SRC/nested.c", "nested.c", "executable stack");
    assert_refused("-flto $SRC/nested.c", "nested.c", "executable stack");
    assert_int_equal(run("$CC -O2 -c $SRC/nested.c -o nested.o"), 1);
    assert_said("nested.o");
    assert_false(exists("nested.o"));
    assert_built("$PLAIN -O2 -fPIC -c $SRC/nested.c -o nested-plain.o");
    assert_refused("--asm-ok nested-plain.o", "nested-plain.o", "executable stack");
}

static void cxx_is_refused(void **state)
{
    (void)state;
    assert_built("touch empty.cpp");
    assert_refused("empty.cpp", "empty.cpp", "C++");
    assert_refused("-x c++ $SRC/other.c", "c++", "builds C");
    assert_refused("$SRC/personality.c", "personality.c", "C++");
}

static void assembly_wants_the_users_word(void **state)
{
    (void)state;
    assert_refused("$SRC/foreign_user.c $SRC/assembly.S", "assembly.S", "--asm-ok");
    assert_built("$CC --asm-ok -O2 $SRC/foreign_user.c $SRC/assembly.S -o assembly.so");
    struct view view;
    struct gri_module_note note;
    view_open(&view, in_folder("assembly.so"));
    assert_true(view_module_note(&view, &note));
    view_close(&view);
    assert_int_equal(note.flags, GRI_MODULE_REWRITTEN | GRI_MODULE_ASM_OK);
    assert_int_equal(note.entry_checks, 1);
}

static void entry_that_is_no_room_is_refused(void **state)
{
    (void)state;
    assert_refused("$SRC/forged.c", "refused.so", "NOPs");
}

static void options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    assert_refused("$SRC/other.c -static", "-static", "libgrasp.so");
    assert_refused("$SRC/other.c -fsplit-stack", "-fsplit-stack", "entry checks");
    assert_refused("$SRC/other.c -fopenmp", "-fopenmp", "gr_go");
    assert_refused("$SRC/other.c -m32", "-m32", "64-bit");
    assert_refused("$SRC/other.c -Wl,--version-script=x.map", "--version-script", "drop");
    assert_int_equal(run("$CC"), 1);
    assert_said("no input files");
    assert_int_equal(run("GRASP_CC=/nonexistent/cc $CC -c $SRC/other.c"), 1);
    assert_said("GRASP_CC");
}

static void undefined_symbol_is_an_error_of_the_link(void **state)
{
    (void)state;
    assert_int_equal(run("$CC -O2 $SRC/foreign_user.c -o refused.so"), 1);
    assert_said("undefined reference");
    assert_false(exists("refused.so"));
}

static void failed_build_leaves_the_old_file_and_no_temporary_ones(void **state)
{
    (void)state;
    assert_built(
        "mkdir -p tmp && $CC -O2 $SRC/basic.c $SRC/other.c -o kept.so && cp kept.so was.so");
    assert_built("$PLAIN -fPIC -c $SRC/foreign.c -o foreign.o");
    assert_int_equal(run("TMPDIR=$PWD/tmp $CC -O2 $SRC/foreign_user.c foreign.o -o kept.so"), 1);
    assert_built("TMPDIR=$PWD/tmp $CC -O2 $SRC/basic.c $SRC/other.c -o made.so");
    assert_int_equal(run("echo 'int x = ;' >wrong.c; TMPDIR=$PWD/tmp $CC wrong.c -o kept.so"), 1);
    assert_said("wrong.c:1");
    assert_built("cmp kept.so was.so && rmdir tmp && ! ls *.grasp-cc-*");
}

/* ---- Running the tests ----------------------------------------------------------------------- */

static int make_folder(void **state)
{
    (void)state;
    size_t count = 0;
    /* Below where the test was started, which is in the build tree. */
    char here[300];
    if (!getcwd(here, sizeof(here)))
        return -1;
    snprintf(folder, sizeof(folder), "%s/test-grasp-cc-XXXXXX", here);
    if (!mkdtemp(folder))
        return -1;
    compilers[count++] = PLAIN_CC;
    if (run("clang --version") == 0)
        compilers[count++] = "clang" CLANG_TARGET;
    else if (run("clang-14 --version") == 0)
        compilers[count++] = "clang-14" CLANG_TARGET;
    else
        print_message("clang is not installed: tried with %s alone\n", PLAIN_CC);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[sizeof(folder) + 16];
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_is_checked_whatever_the_flags),
        cmocka_unit_test(other_linkers_keep_the_checks),
        cmocka_unit_test(link_time_optimisation_keeps_the_checks),
        cmocka_unit_test(objects_and_archives_link_as_with_any_compiler),
        cmocka_unit_test(stripped_module_is_rewritten_too),
        cmocka_unit_test(module_exports_its_meta_alone_and_asks_for_its_own_errno),
        cmocka_unit_test(feature_macros_work_behind_the_forced_include),
        cmocka_unit_test(program_is_a_module_too),
        cmocka_unit_test(preprocessing_and_questions_are_passed_on),
        cmocka_unit_test(commands_are_shown),
        cmocka_unit_test(foreign_objects_are_refused_by_name),
        cmocka_unit_test(files_for_other_machines_are_refused_as_such),
        cmocka_unit_test(module_without_entries_is_built_with_a_warning),
        cmocka_unit_test(foreign_objects_for_link_time_optimisation_are_refused),
        cmocka_unit_test(executable_stack_is_refused),
        cmocka_unit_test(cxx_is_refused),
        cmocka_unit_test(assembly_wants_the_users_word),
        cmocka_unit_test(entry_that_is_no_room_is_refused),
        cmocka_unit_test(options_that_cannot_be_are_refused),
        cmocka_unit_test(undefined_symbol_is_an_error_of_the_link),
        cmocka_unit_test(failed_build_leaves_the_old_file_and_no_temporary_ones),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
