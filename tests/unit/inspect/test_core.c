/*
 * test_core.c: ELF cores as files: headers, segments, and what is copied. That gdb opens them is
 * tests/e2e/e2e_cores.py's claim.
 */
#include <grasp/inspect.h>

#include <elf.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>

#include <cmocka.h>

static volatile uint64_t a_global = 0x1122334455667788;

struct file {
    uint8_t *bytes;
    size_t size;
    const Elf64_Ehdr *elf;
    const Elf64_Phdr *headers;
    size_t count;
};

/* Reads it in pieces of an odd size, so that they end anywhere. */
static struct file read_all(const struct gr_copy *const *copies, size_t count, unsigned flags)
{
    struct gr_core *core = gr_core_open(copies, count, flags);
    struct file file = {0};
    size_t n;
    assert_non_null(core);
    size_t expected = gr_core_bytes(core);
    file.bytes = malloc(expected + 4099);
    assert_non_null(file.bytes);
    do {
        n = gr_core_read(core, file.bytes + file.size, 4099);
        file.size += n;
        assert_true(file.size <= expected);
    } while (n == 4099);
    assert_int_equal(file.size, expected);
    gr_core_close(core);
    file.elf = (const Elf64_Ehdr *)(const void *)file.bytes;
    assert_memory_equal(file.elf->e_ident, ELFMAG, SELFMAG);
    assert_int_equal(file.elf->e_type, ET_CORE);
    file.headers = (const Elf64_Phdr *)(const void *)(file.bytes + file.elf->e_phoff);
    file.count = file.elf->e_phnum;
    if (file.count == PN_XNUM) {
        assert_int_equal(file.elf->e_shnum, 1);
        file.count = ((const Elf64_Shdr *)(const void *)(file.bytes + file.elf->e_shoff))->sh_info;
    }
    return file;
}

/* Sorted, apart from each other, inside the file, and the last one ends it. */
static void check_segments(const struct file *file)
{
    uint64_t end = 0, offset = file->headers[0].p_offset + file->headers[0].p_filesz;
    assert_int_equal(file->headers[0].p_type, PT_NOTE);
    for (size_t i = 1; i < file->count; i++) {
        const Elf64_Phdr *h = &file->headers[i];
        assert_int_equal(h->p_type, PT_LOAD);
        assert_int_equal(h->p_filesz, h->p_memsz);
        assert_int_equal(h->p_offset, offset);
        assert_true(h->p_filesz == 0 || h->p_vaddr >= end);
        offset += h->p_filesz;
        end = h->p_vaddr + h->p_memsz;
    }
    assert_int_equal(offset, file->size);
}

/* The bytes of an address; NULL: not in the file. */
static const void *at(const struct file *file, uint64_t address, size_t size)
{
    for (size_t i = 1; i < file->count; i++) {
        const Elf64_Phdr *h = &file->headers[i];
        if (address >= h->p_vaddr && address - h->p_vaddr < h->p_filesz &&
            size <= h->p_filesz - (address - h->p_vaddr))
            return file->bytes + h->p_offset + (address - h->p_vaddr);
    }
    return NULL;
}

/* Copies of `bytes` each at made-up addresses, the highest first. */
static struct gr_copy *make_copies(size_t count, size_t bytes, const struct gr_copy ***list)
{
    struct gr_copy *copies = calloc(count, sizeof *copies);
    uint8_t *stack = malloc(bytes);
    *list = calloc(count, sizeof **list);
    assert_true(copies && stack && *list);
    memset(stack, 0x5a, bytes);
    for (size_t i = 0; i < count; i++) {
        copies[i].id = i + 1;
        copies[i].stack = stack;
        copies[i].copied_bytes = bytes;
        copies[i].copied_lo = 0x10000000 + (count - i) * 0x40000;
        (*list)[i] = &copies[i];
    }
    return copies;
}

static void free_copies(struct gr_copy *copies, const struct gr_copy **list)
{
    free(copies[0].stack);
    free(copies);
    free(list);
}

static void every_goroutine_is_a_thread_with_its_stack(void **state)
{
    const struct gr_copy **list;
    struct gr_copy *copies = make_copies(3, 160, &list);
    struct file file = read_all(list, 3, 0);
    check_segments(&file);
    size_t threads = 0;
    const uint8_t *note = file.bytes + file.headers[0].p_offset;
    const uint8_t *end = note + file.headers[0].p_filesz;
    while (note < end) {
        const Elf64_Nhdr *h = (const Elf64_Nhdr *)(const void *)note;
        const uint8_t *data = note + sizeof *h + ((h->n_namesz + 3) & ~3u);
        if (h->n_type == NT_PRSTATUS) {
            struct elf_prstatus status;
            assert_int_equal(h->n_descsz, sizeof status);
            memcpy(&status, data, sizeof status);
            assert_int_equal(status.pr_pid, ++threads);
        }
        note = data + ((h->n_descsz + 3) & ~3u);
    }
    assert_int_equal(threads, 3);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(at(&file, copies[i].copied_lo, 160), copies[i].stack, 160);
    free(file.bytes);
    free_copies(copies, list);
}

static void globals_are_there_with_data_alone(void **state)
{
    const struct gr_copy **list;
    struct gr_copy *copies = make_copies(1, 64, &list);
    struct file file = read_all(list, 1, 0);
    check_segments(&file);
    assert_null(at(&file, (uintptr_t)&a_global, sizeof a_global));
    free(file.bytes);
    file = read_all(list, 1, GR_CORE_DATA);
    check_segments(&file);
    assert_memory_equal(at(&file, (uintptr_t)&a_global, sizeof a_global), (void *)&a_global,
                        sizeof a_global);
    free(file.bytes);
    free_copies(copies, list);
}

static void the_list_of_loaded_objects_can_be_followed(void **state)
{
    const struct gr_copy **list;
    struct gr_copy *copies = make_copies(1, 64, &list);
    struct file file = read_all(list, 1, 0);
    uint64_t debug = 0;
    unsigned objects = 0;
    for (const Elf64_Dyn *d = _DYNAMIC; d->d_tag; d++)
        if (d->d_tag == DT_DEBUG)
            debug = d->d_un.d_ptr;
    assert_non_null(at(&file, (uintptr_t)_DYNAMIC, sizeof(Elf64_Dyn)));
    struct r_debug r; /* copies: places in the file are not aligned */
    struct link_map map;
    assert_non_null(at(&file, debug, sizeof r));
    memcpy(&r, at(&file, debug, sizeof r), sizeof r);
    for (const struct link_map *real = r.r_map; real; real = map.l_next, objects++) {
        assert_non_null(at(&file, (uintptr_t)real, sizeof map));
        memcpy(&map, at(&file, (uintptr_t)real, sizeof map), sizeof map);
        const char *name = at(&file, (uintptr_t)map.l_name, 1);
        assert_non_null(name);
        assert_string_equal(name, real->l_name);
    }
    assert_true(objects >= 3);
    free(file.bytes);
    free_copies(copies, list);
}

static void more_segments_than_a_header_can_count(void **state)
{
    const struct gr_copy **list;
    struct gr_copy *copies = make_copies(70000, 16, &list);
    struct file file = read_all(list, 70000, 0);
    assert_int_equal(file.elf->e_phnum, PN_XNUM);
    assert_true(file.count > 70000);
    check_segments(&file);
    free(file.bytes);
    /* At the edge: with the few besides the stacks just below, and just there. */
    size_t others = file.count - 1 - 70000;
    for (size_t count = PN_XNUM - 2 - others; count <= PN_XNUM - 1 - others; count++) {
        file = read_all(list, count, 0);
        assert_int_equal(file.count, count + others + 1);
        assert_int_equal(file.elf->e_shnum, file.count >= PN_XNUM);
        check_segments(&file);
        free(file.bytes);
    }
    free_copies(copies, list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_goroutine_is_a_thread_with_its_stack),
        cmocka_unit_test(globals_are_there_with_data_alone),
        cmocka_unit_test(the_list_of_loaded_objects_can_be_followed),
        cmocka_unit_test(more_segments_than_a_header_can_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
