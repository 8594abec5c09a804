/*
 * test_loader_hostile.c: cut and changed files must be error messages.
 *
 * The reader, the check of imports and the unwind data are run over a good module that is cut short
 * at every few bytes, and over thousands of copies with changed bytes, most of them where the
 * structures are. Files that pass all checks are not given to the dynamic linker, whose faults are
 * its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "module.h"
#include "text_ranges.h"

static uint8_t *good;
static size_t good_bytes;
static char path[64];
static int file; /* in memory: thousands of files are written */
static unsigned seed;
static unsigned passed, refused;

static unsigned roll(unsigned below)
{
    seed = seed * 1103515245u + 12345u;
    return seed / 65536u % below;
}

/* Everything that is done with a file before dlopen. */
static void look_at(const uint8_t *bytes, size_t size)
{
    struct gri_module *module = calloc(1, sizeof *module);
    struct gri_text_list list = {0};
    char err[GRI_ERROR_BYTES] = "";
    struct gri_elf elf;
    int result;

    assert_int_equal(ftruncate(file, (off_t)size), 0);
    assert_int_equal(pwrite(file, bytes, size, 0), (ssize_t)size);
    result = gri_elf_open(&elf, path, err);
    if (result == 0) {
        result = gri_loader_check(&elf, module, false, err);
        if (result == 0) {
            int text = gri_text_unwindable(&elf, module->note.text_lo, module->note.text_hi, &list);

            assert_true(text == 0 || text == -ENOEXEC);
        }
        gri_elf_close(&elf);
    }
    gri_text_list_fini(&list);
    free(module);
    if (result == 0) {
        passed++;
        return;
    }
    refused++;
    assert_int_equal(result, -ENOEXEC);
    assert_true(strlen(err) > 10);
}

static void a_good_file_passes(void **state)
{
    (void)state;
    look_at(good, good_bytes);
    assert_int_equal(passed, 1);
}

static void a_cut_file_is_an_error(void **state)
{
    size_t step = good_bytes / 1000 + 1;

    (void)state;
    for (size_t size = 0; size < good_bytes; size += size < 1024 ? 8 : step)
        look_at(good, size);
    assert_true(refused > 100);
}

static void changed_bytes_never_crash(void **state)
{
    uint8_t *copy = malloc(good_bytes);

    (void)state;
    seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    for (int round = 0; round < 6000; round++) {
        /* The first 4 KiB hold headers, notes, symbols, versions and relocations. */
        size_t space = round % 3 ? 4096 : good_bytes;

        memcpy(copy, good, good_bytes);
        for (unsigned i = 0, n = 1 + roll(4); i < n; i++) {
            static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};

            copy[(roll(32768) * 32768u + roll(32768)) % space] =
                roll(2) ? values[roll(5)] : (uint8_t)roll(256);
        }
        look_at(copy, good_bytes);
    }
    print_message("%u passed, %u refused\n", passed, refused);
    free(copy);
}

/* Each word of the program headers and of the dynamic section set to values that overflow sums. */
static void extreme_words_never_crash(void **state)
{
    static const uint64_t values[] = {0,          1,         UINT64_MAX,        UINT64_MAX - 7,
                                      UINT32_MAX, INT64_MAX, UINT64_C(1) << 63, 4095};
    uint8_t *copy = malloc(good_bytes);
    const Elf64_Ehdr *header = (const void *)good;
    const Elf64_Phdr *segments = (const void *)(good + header->e_phoff);

    (void)state;
    for (unsigned s = 0; s <= header->e_phnum; s++) {
        uint64_t from = header->e_phoff, bytes = header->e_phnum * sizeof(Elf64_Phdr);

        if (s > 0 && segments[s - 1].p_type != PT_DYNAMIC && segments[s - 1].p_type != PT_NOTE &&
            segments[s - 1].p_type != PT_GNU_EH_FRAME)
            continue;
        if (s > 0) {
            from = segments[s - 1].p_offset;
            bytes = segments[s - 1].p_filesz;
        }
        for (uint64_t at = from; at + 8 <= from + bytes; at += 8) {
            for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
                memcpy(copy, good, good_bytes);
                memcpy(copy + at, &values[i], 8);
                look_at(copy, good_bytes);
            }
        }
    }
    free(copy);
}

static int set_up(void **state)
{
    FILE *f = fopen(GOOD, "rb");

    (void)state;
    if (!f)
        return -1;
    fseek(f, 0, SEEK_END);
    good_bytes = (size_t)ftell(f);
    rewind(f);
    good = malloc(good_bytes);
    file = memfd_create("hostile", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return fread(good, 1, good_bytes, f) == good_bytes && fclose(f) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(good);
    return close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_passes),
        cmocka_unit_test(a_cut_file_is_an_error),
        cmocka_unit_test(changed_bytes_never_crash),
        cmocka_unit_test(extreme_words_never_crash),
    };

    return cmocka_run_group_tests_name("loader_hostile", tests, set_up, tear_down);
}
