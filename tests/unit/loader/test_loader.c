/*
 * test_loader.c: loading, refusing, wiring, redirecting; and where in a module a goroutine may be
 * stopped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imports.h"
#include "module.h"

#define FILE_OF(name) MODULES "/" name ".so"

/* Copies a module and changes bytes at an offset; the path is static. */
static const char *changed_copy(const char *from, size_t offset, const void *bytes, size_t count)
{
    static char path[64];
    FILE *in = fopen(from, "rb");
    char *all = malloc(1 << 20);
    size_t size = fread(all, 1, 1 << 20, in);
    int fd;

    fclose(in);
    assert_true(offset + count <= size);
    memcpy(all + offset, bytes, count);
    strcpy(path, P_tmpdir "/grasp-loader-XXXXXX.so");
    fd = mkstemps(path, 3);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, all, size), (ssize_t)size);
    close(fd);
    free(all);
    return path;
}

static void expect_refusal(const char *name, const char *path, const char *part)
{
    struct gr_module_info info;
    char err[512] = "";
    int result = gr_module_load(name, path, err, sizeof err);

    if (result != -ENOEXEC || !strstr(err, part))
        fail_msg("%s: %d, \"%s\" does not say \"%s\"", path, result, err, part);
    assert_int_equal(gr_module_info(name, &info), 0);
    assert_false(info.loaded);
    assert_non_null(strstr(info.error, part));
    assert_int_equal(gr_module_entries(name, NULL, 0), 0);
    assert_int_equal(gr_spawn(name, "work", "null", NULL), -ENOENT);
}

static void load(const char *name, const char *path)
{
    char err[512] = "";
    int result = gr_module_load(name, path, err, sizeof err);

    if (result != 0)
        fail_msg("%s: %d %s", path, result, err);
}

/* Runs an entry to its end; its result goes to *json. */
static int run(const char *module, const char *entry, char **json)
{
    int64_t id = gr_spawn(module, entry, "null", NULL);
    struct gr_info info;

    if (id < 0)
        fail_msg("spawn %s of %s: %s", entry, module, strerror((int)-id));
    do {
        sched_yield();
        assert_int_equal(gr_info((uint64_t)id, &info), 0);
    } while (info.state != GR_DEAD);
    if (json)
        assert_int_equal(gr_info_result((uint64_t)id, json), 0);
    return info.exit_code;
}

static uint64_t number(const char *json, const char *key)
{
    char quoted[32];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    at = strstr(json, quoted);
    assert_non_null(at);
    return strtoull(at + strlen(quoted), NULL, 10);
}

/* ---- Loading --------------------------------------------------------------------------------- */

static void a_good_module_is_loaded_and_listed(void **state)
{
    struct gr_module_info info, all[8];
    struct gr_entry_info entries[4];
    int report;

    (void)state;
    load("good", FILE_OF("loader_good"));
    assert_int_equal(gr_module_info("good", &info), 0);
    assert_true(info.loaded);
    assert_false(info.wired);
    assert_string_equal(info.error, "");
    assert_true(strlen(info.build_id) >= 16);
    assert_true(info.entry_checks >= 2);
    assert_true(info.text_hi > info.text_lo);
    assert_int_equal(info.entry_count, 2);
    assert_int_equal(gr_module_entries("good", entries, 4), 2);
    /* The compiler decides in which order they lie. */
    report = strcmp(entries[0].name, "report") == 0 ? 0 : 1;
    assert_string_equal(entries[report].name, "report");
    assert_string_equal(entries[report].doc, "tells addresses");
    assert_string_equal(entries[1 - report].name, "second");
    assert_int_equal(gr_module_list(all, 8), 1);
    assert_string_equal(all[0].name, "good");
    assert_int_equal(run("good", "second", NULL), 0);
    assert_int_equal(gr_spawn("good", "nothing", "null", NULL), -ESRCH);
}

static void the_same_build_again_is_no_error_and_another_is_busy(void **state)
{
    char err[512] = "";

    (void)state;
    assert_int_equal(gr_module_load("good", FILE_OF("loader_good"), err, sizeof err), 1);
    assert_int_equal(gr_module_load("good", FILE_OF("loader_good_two"), err, sizeof err), -EBUSY);
    assert_non_null(strstr(err, "another build"));
    assert_int_equal(gr_module_load("alias", FILE_OF("loader_good"), err, sizeof err), -ENOEXEC);
    assert_non_null(strstr(err, "good"));
    assert_int_equal(gr_module_load("gone", MODULES "/none.so", err, sizeof err), -ENOENT);
    assert_int_equal(gr_module_load("a/b", FILE_OF("loader_good"), err, sizeof err), -EINVAL);
}

static void imports_go_through_stubs(void **state)
{
    struct gr_module_info info;
    char *json = NULL;

    (void)state;
    assert_int_equal(run("good", "report", &json), 0);
    assert_int_equal(gr_module_info("good", &info), 0);
    /* One stub a symbol, wherever the pointer is taken, and none of it is libc's own. */
    assert_int_equal(number(json, "read"), number(json, "table"));
    assert_true(gri_import_in_runtime((void *)number(json, "read")));
    assert_true(gri_import_in_runtime((void *)number(json, "strlen")));
    free(json);
}

static void a_module_is_stopped_only_where_it_is_safe(void **state)
{
    struct gr_module_info info;
    char *json = NULL;
    unsigned safe = 0, unsafe = 0;
    uint64_t never, report;

    (void)state;
    assert_int_equal(run("good", "report", &json), 0);
    assert_int_equal(gr_module_info("good", &info), 0);
    never = number(json, "never");
    report = number(json, "report");
    free(json);
    for (uint64_t pc = info.text_lo; pc < info.text_hi; pc++) {
        enum gr_refusal reason = gri_text_check(pc);

        assert_true(reason == GR_REFUSALS || reason == GR_REFUSED_UNSAFE_POINT);
        assert_string_equal(gri_module_name(gri_module_of(pc)), "good");
        safe += reason == GR_REFUSALS;
        unsafe += reason != GR_REFUSALS;
    }
    assert_true(safe > 100);
    assert_true(unsafe >= info.entry_checks * arch_entry_bytes());
    for (unsigned i = 0; i < 4; i++)
        assert_int_not_equal(gri_text_check(never + i), GR_REFUSALS);
    assert_int_equal(gri_text_check(report + 64), GR_REFUSALS);
    assert_int_equal(gri_text_check((uint64_t)(uintptr_t)&gr_yield), GR_REFUSED_RUNTIME);
    assert_int_equal(gri_text_check((uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "qsort")),
                     GR_REFUSED_LIBC);
    assert_int_equal(gri_text_check(0), GR_REFUSED_LIBC);
    assert_null(gri_module_of(0));
}

/* ---- Refusing -------------------------------------------------------------------------------- */

#ifdef SANITIZED_MODULE
/* Its library would end the process that it comes to late. */
static void a_module_built_with_asan_is_refused_and_ends_nothing(void **state)
{
    (void)state;
    expect_refusal("sanitized", FILE_OF("loader_sanitized"), "-fsanitize");
}
#endif

static void two_entries_of_one_name_are_refused(void **state)
{
    (void)state;
    expect_refusal("twice", FILE_OF("loader_twice"), "two entries \"work\"");
}

static void a_refused_import_is_named_and_no_constructor_runs(void **state)
{
    (void)state;
    unsetenv("GRASP_TEST_CONSTRUCTOR_RAN");
    expect_refusal("refused", FILE_OF("loader_refused"), "pthread_exit");
    assert_null(getenv("GRASP_TEST_CONSTRUCTOR_RAN"));
    load("mutable", FILE_OF("loader_mutable"));
    assert_non_null(getenv("GRASP_TEST_CONSTRUCTOR_RAN"));
    assert_int_equal(run("mutable", "work", NULL), 0);
}

static void what_is_not_a_module_is_told_so(void **state)
{
    uint16_t machine = EM_AARCH64, other = EM_RISCV, type = ET_EXEC;
    uint8_t class = ELFCLASS32;
    const char *path;

    (void)state;
    expect_refusal("alien", FILE_OF("loader_alien"), "not built by grasp-cc");
    expect_refusal("text", __FILE__, "not an ELF file");
    expect_refusal("folder", MODULES, "not a file");
    path = changed_copy(FILE_OF("loader_good"), offsetof(Elf64_Ehdr, e_machine),
                        arch_elf_machine() == EM_AARCH64 ? &other : &machine, 2);
    expect_refusal("foreign", path, "built for ");
    unlink(path);
    path = changed_copy(FILE_OF("loader_good"), offsetof(Elf64_Ehdr, e_type), &type, 2);
    expect_refusal("program", path, "not a shared object");
    unlink(path);
    path = changed_copy(FILE_OF("loader_good"), EI_CLASS, &class, 1);
    expect_refusal("narrow", path, "64-bit");
    unlink(path);
}

/* The program header of a type, in a file: its offset and contents. */
static size_t find_segment(const char *path, uint32_t type, Elf64_Phdr *found)
{
    FILE *f = fopen(path, "rb");
    Elf64_Ehdr header;
    size_t at = 0;

    assert_int_equal(fread(&header, sizeof header, 1, f), 1);
    for (unsigned i = 0; i < header.e_phnum && !at; i++) {
        size_t here = header.e_phoff + i * sizeof *found;

        fseek(f, (long)here, SEEK_SET);
        assert_int_equal(fread(found, sizeof *found, 1, f), 1);
        if (found->p_type == type)
            at = here;
    }
    fclose(f);
    assert_true(at > 0);
    return at;
}

static void an_executable_stack_is_refused(void **state)
{
    Elf64_Phdr stack;
    size_t at = find_segment(FILE_OF("loader_good"), PT_GNU_STACK, &stack);
    const char *path;

    (void)state;
    stack.p_flags |= PF_X;
    path = changed_copy(FILE_OF("loader_good"), at, &stack, sizeof stack);
    expect_refusal("stack", path, "executable stack");
    unlink(path);
}

/* Where the module note's description lies in the file. */
static size_t find_note(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *all = malloc(1 << 20), *at;
    size_t size = fread(all, 1, 1 << 20, f);
    static const char mark[] = {2, 0, 0, 0, 'G', 'r', 'a', 's', 'p', 0};

    fclose(f);
    at = memmem(all, size, mark, sizeof mark);
    assert_non_null(at);
    size = (size_t)(at - all) + 12;
    free(all);
    return size;
}

static void another_interface_or_missing_checks_are_refused(void **state)
{
    size_t note = find_note(FILE_OF("loader_good"));
    uint32_t abi = 999, flags = 0;
    uint64_t checks = 1;
    const char *path;

    (void)state;
    path = changed_copy(FILE_OF("loader_good_two"), note, &abi, sizeof abi);
    expect_refusal("future", path, "version 999");
    unlink(path);
    path = changed_copy(FILE_OF("loader_good_two"), note + 4, &flags, sizeof flags);
    expect_refusal("raw", path, "not rewritten");
    unlink(path);
    path = changed_copy(FILE_OF("loader_good_two"), note + 8, &checks, sizeof checks);
    expect_refusal("fewer", path, "entry checks");
    unlink(path);
}

static void a_refused_name_may_be_loaded_later(void **state)
{
    struct gr_module_info info;

    (void)state;
    expect_refusal("later", FILE_OF("loader_alien"), "grasp-cc");
    load("later", FILE_OF("loader_good_two"));
    assert_int_equal(gr_module_info("later", &info), 0);
    assert_true(info.loaded);
    assert_string_equal(info.error, "");
}

/* ---- Wiring ---------------------------------------------------------------------------------- */

static void expect_wired(const char *name, const char *path, const char *because)
{
    struct gr_module_info info;

    load(name, path);
    assert_int_equal(gr_module_info(name, &info), 0);
    if (info.wired != (because != NULL))
        fail_msg("%s: wired is %d", name, info.wired);
    if (because && !strstr(info.wired_because, because))
        fail_msg("%s is wired because \"%s\", not \"%s\"", name, info.wired_because, because);
    assert_int_equal(run(name, "work", NULL), 0);
}

static void thread_locals_wire_a_module(void **state)
{
    (void)state;
    expect_wired("tls", FILE_OF("loader_tls"), "thread-local");
    expect_wired("wired", FILE_OF("loader_wired"), "pthread_self");
    expect_wired("needs_tls", FILE_OF("loader_needs_tls"), "loader_foreign_tls");
    expect_wired("needs_plain", FILE_OF("loader_needs_plain"), NULL);
    expect_wired("unknown", FILE_OF("loader_unknown"), NULL);
}

static void a_handler_that_a_constructor_installed_is_put_behind_ours(void **state)
{
    (void)state;
    load("handler", FILE_OF("loader_handler"));
    assert_int_equal(run("handler", "work", NULL), 0);
}

static void calls_that_end_in_jumps_find_their_way_back(void **state)
{
    (void)state;
    assert_int_equal(run("needs_plain", "tail", NULL), 0);
}

static int start(void **state)
{
    struct gr_options options = {.procs = 2};
    char err[256] = "";

    (void)state;
    if (gr_start(&options, err, sizeof err) == 0)
        return 0;
    print_error("%s\n", err);
    return -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_module_is_loaded_and_listed),
        cmocka_unit_test(the_same_build_again_is_no_error_and_another_is_busy),
        cmocka_unit_test(imports_go_through_stubs),
        cmocka_unit_test(a_module_is_stopped_only_where_it_is_safe),
        cmocka_unit_test(two_entries_of_one_name_are_refused),
        cmocka_unit_test(a_refused_import_is_named_and_no_constructor_runs),
#ifdef SANITIZED_MODULE
        cmocka_unit_test(a_module_built_with_asan_is_refused_and_ends_nothing),
#endif
        cmocka_unit_test(what_is_not_a_module_is_told_so),
        cmocka_unit_test(an_executable_stack_is_refused),
        cmocka_unit_test(another_interface_or_missing_checks_are_refused),
        cmocka_unit_test(a_refused_name_may_be_loaded_later),
        cmocka_unit_test(thread_locals_wire_a_module),
        cmocka_unit_test(a_handler_that_a_constructor_installed_is_put_behind_ours),
        cmocka_unit_test(calls_that_end_in_jumps_find_their_way_back),
    };

    return cmocka_run_group_tests_name("loader", tests, start, NULL);
}
