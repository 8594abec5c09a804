/* elf_view.c: see elf_view.h. */
#include "elf_view.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

void view_open(struct view *view, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    view->size = (size_t)st.st_size;
    view->bytes = mmap(NULL, view->size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(view->bytes, MAP_FAILED);
    close(fd);
    view->header = (const Elf64_Ehdr *)view->bytes;
    view->sections = (const Elf64_Shdr *)(view->bytes + view->header->e_shoff);
}

void view_close(struct view *view)
{
    munmap(view->bytes, view->size);
}

const Elf64_Shdr *view_section(const struct view *view, const char *name)
{
    const char *names =
        (const char *)view->bytes + view->sections[view->header->e_shstrndx].sh_offset;
    for (size_t i = 1; i < view->header->e_shnum; i++)
        if (strcmp(names + view->sections[i].sh_name, name) == 0)
            return &view->sections[i];
    return NULL;
}

bool view_module_note(const struct view *view, struct gri_module_note *note)
{
    const Elf64_Shdr *section = view_section(view, GRI_NOTE_SECTION);
    size_t at = 0;
    while (section && at + sizeof(Elf64_Nhdr) <= section->sh_size) {
        Elf64_Nhdr header;
        const uint8_t *p = view->bytes + section->sh_offset + at;
        memcpy(&header, p, sizeof(header));
        size_t descriptor = sizeof(header) + ((header.n_namesz + 3) & ~3u);
        if (header.n_type == GRI_NOTE_MODULE) {
            assert_int_equal(header.n_descsz, sizeof(*note));
            memcpy(note, p + descriptor, sizeof(*note));
            return true;
        }
        at += descriptor + ((header.n_descsz + 3) & ~3u);
    }
    return false;
}

size_t view_symbols(const struct view *view, const char *table, view_symbol_fn *fn, void *arg)
{
    const Elf64_Shdr *section = view_section(view, table);
    if (!section)
        return 0;
    const Elf64_Sym *symbols = (const Elf64_Sym *)(view->bytes + section->sh_offset);
    const char *names = (const char *)view->bytes + view->sections[section->sh_link].sh_offset;
    size_t count = section->sh_size / sizeof(*symbols);
    for (size_t i = 1; i < count; i++)
        fn(arg, names + symbols[i].st_name, &symbols[i]);
    return count;
}

const uint8_t *view_at(const struct view *view, uint64_t address)
{
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(view->bytes + view->header->e_phoff);
    for (size_t i = 0; i < view->header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && address >= segments[i].p_vaddr &&
            address - segments[i].p_vaddr < segments[i].p_filesz)
            return view->bytes + segments[i].p_offset + (address - segments[i].p_vaddr);
    fail_msg("no segment has 0x%llx", (unsigned long long)address);
    return NULL;
}
