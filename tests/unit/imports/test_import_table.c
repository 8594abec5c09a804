/*
 * test_import_table.c: does import_table.def know every function of the libc that runs here?
 *
 * The dynamic symbol tables of libc and libm are read from their files. A name counts if a program
 * linked today could import it: it is defined, has a default version, and the version is not
 * GLIBC_PRIVATE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <gnu/lib-names.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imports.h"

struct library {
    const uint8_t *bytes;
    const Elf64_Shdr *sections;
    const Elf64_Sym *symbols;
    size_t count;
    const char *strings;
    const uint16_t *versions;
    const uint8_t *definitions; /* .gnu.version_d */
};

static void library_open(struct library *library, const char *name)
{
    const Elf64_Ehdr *header;
    struct link_map *map = NULL;
    struct stat st;
    int fd;

    assert_int_equal(dlinfo(dlopen(name, RTLD_NOW), RTLD_DI_LINKMAP, &map), 0);
    fd = open(map->l_name, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    library->bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(library->bytes, MAP_FAILED);
    close(fd);
    header = (const void *)library->bytes;
    library->sections = (const void *)(library->bytes + header->e_shoff);
    for (unsigned i = 0; i < header->e_shnum; i++) {
        const Elf64_Shdr *section = &library->sections[i];
        const void *at = library->bytes + section->sh_offset;

        if (section->sh_type == SHT_DYNSYM) {
            library->symbols = at;
            library->count = section->sh_size / sizeof(Elf64_Sym);
            library->strings =
                (const char *)library->bytes + library->sections[section->sh_link].sh_offset;
        } else if (section->sh_type == SHT_GNU_versym) {
            library->versions = at;
        } else if (section->sh_type == SHT_GNU_verdef) {
            library->definitions = at;
        }
    }
    assert_non_null(library->symbols);
    assert_non_null(library->versions);
    assert_non_null(library->definitions);
}

static const char *version_name(const struct library *library, unsigned index)
{
    const uint8_t *at = library->definitions;

    for (;;) {
        const Elf64_Verdef *definition = (const void *)at;
        const Elf64_Verdaux *name = (const void *)(at + definition->vd_aux);

        if (definition->vd_ndx == index)
            return library->strings + name->vda_name;
        if (definition->vd_next == 0)
            return "";
        at += definition->vd_next;
    }
}

/* Whether today's linker would bind to it. */
static bool is_importable(const struct library *library, size_t i)
{
    const Elf64_Sym *symbol = &library->symbols[i];
    unsigned version = library->versions[i];

    if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS || (version & 0x8000) ||
        version < 2)
        return false;
    return strcmp(version_name(library, version), "GLIBC_PRIVATE") != 0;
}

static size_t count_unclassified(const char *library_name)
{
    struct library library = {0};
    size_t missing = 0, seen = 0;

    library_open(&library, library_name);
    for (size_t i = 1; i < library.count; i++) {
        const char *name = library.strings + library.symbols[i].st_name;
        unsigned type = ELF64_ST_TYPE(library.symbols[i].st_info);
        const struct gri_import *row;

        if (!is_importable(&library, i))
            continue;
        seen++;
        row = gri_import_find(name);
        if (!row) {
            print_error("not in import_table.def: %s\n", name);
            missing++;
        } else if ((type == STT_OBJECT) != (row->class == GRI_IMPORT_OBJECT)) {
            print_error("a function and data are confused: %s\n", name);
            missing++;
        }
    }
    assert_true(seen > 500);
    return missing;
}

static void every_function_of_libc_has_a_class(void **state)
{
    (void)state;
    assert_int_equal(count_unclassified(LIBC_SO), 0);
}

static void every_function_of_libm_has_a_class(void **state)
{
    (void)state;
    assert_int_equal(count_unclassified(LIBM_SO), 0);
}

static void rows_are_unique_and_complete(void **state)
{
    size_t count;
    const struct gri_import *table = gri_import_table(&count);

    (void)state;
    assert_true(count > 3000);
    for (size_t i = 0; i < count; i++) {
        bool needs_reason =
            table[i].class == GRI_IMPORT_WIRED || table[i].class == GRI_IMPORT_REFUSED;

        if (i && strcmp(table[i - 1].name, table[i].name) >= 0)
            fail_msg("%s is listed twice", table[i].name);
        assert_true((table[i].class == GRI_IMPORT_WRAP) == (table[i].wrapper != NULL));
        assert_true(needs_reason == (table[i].reason != NULL));
    }
}

/* Some of each class. */
static void well_known_functions_have_their_class(void **state)
{
    static const struct {
        enum gri_import_class class;
        const char *names;
    } rows[] = {
        {GRI_IMPORT_PLAIN, "malloc free memcpy snprintf sin strlen clock_gettime setjmp longjmp"},
        {GRI_IMPORT_PIN,
         "qsort qsort_r bsearch tsearch twalk nftw fts_read scandir glob dlopen exit"},
        {GRI_IMPORT_WRAP,
         "read write recv accept connect poll select epoll_wait nanosleep sleep fgets "
         "printf fflush getaddrinfo sem_wait pthread_cond_wait pthread_mutex_lock "
         "system waitpid syscall vfork sigaction dlsym pthread_once dl_iterate_phdr "
         "__cxa_atexit fopencookie __read_chk __poll_chk __fgets_chk __printf_chk "
         "open64 pread64 __isoc99_fscanf __isoc23_fscanf flock fcntl ioctl"},
        {GRI_IMPORT_WIRED, "pthread_self gettid pthread_getspecific tss_get __h_errno_location "
                           "__tls_get_addr"},
        {GRI_IMPORT_REFUSED, "pthread_exit uselocale pthread_sigmask sigprocmask sigaltstack "
                             "pthread_setcancelstate clone makecontext swapcontext"},
        {GRI_IMPORT_OBJECT, "stdout environ optarg"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *names = strdup(rows[i].names), *rest = NULL;

        for (char *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
            const struct gri_import *row = gri_import_find(name);

            if (!row || row->class != rows[i].class)
                fail_msg("%s has class %d, not %d", name, row ? (int)row->class : -1,
                         (int)rows[i].class);
        }
        free(names);
    }
}

static void one_target_has_one_stub(void **state)
{
    void *plain = gri_import_stub((void *)(uintptr_t)&strlen, false);
    void *pinning = gri_import_stub((void *)(uintptr_t)&strlen, true);

    (void)state;
    assert_non_null(plain);
    assert_non_null(pinning);
    assert_ptr_not_equal(plain, pinning);
    assert_ptr_equal(gri_import_stub((void *)(uintptr_t)&strlen, false), plain);
    assert_ptr_equal(gri_import_stub((void *)(uintptr_t)&strlen, true), pinning);
    assert_ptr_not_equal(gri_import_stub((void *)(uintptr_t)&memcpy, false), plain);
    assert_true(gri_import_in_runtime(plain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_of_libc_has_a_class),
        cmocka_unit_test(every_function_of_libm_has_a_class),
        cmocka_unit_test(rows_are_unique_and_complete),
        cmocka_unit_test(well_known_functions_have_their_class),
        cmocka_unit_test(one_target_has_one_stub),
    };

    return cmocka_run_group_tests_name("import_table", tests, NULL, NULL);
}
