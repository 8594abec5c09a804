/*
 * elf_file.c: reads ELF files of unknown origin.
 *
 * Only 64-bit little-endian files; what libelf offers beyond that is not needed, and grasp-cc has
 * to work where no library but libc is installed. Headers are used where they lie: the kernel maps
 * at page boundaries, and an object whose tables are not aligned is refused as damaged.
 *
 * Invariants
 *   I1  No pointer that leaves this file points outside [bytes, bytes + size).
 *   I2  Names are ended inside their string table.
 */
#include "grasp_cc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"

int cc_map(const char *path, bool write, uint8_t **bytes, size_t *size)
{
    int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    int result = 0;
    *bytes = NULL;
    *size = 0;
    if (fstat(fd, &st) != 0) {
        result = -errno;
    } else if (S_ISREG(st.st_mode) && st.st_size > 0) {
        void *at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
                        write ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) {
            result = -errno;
        } else {
            *bytes = at;
            *size = (size_t)st.st_size;
        }
    }
    close(fd);
    return result;
}

void cc_unmap(uint8_t *bytes, size_t size)
{
    if (bytes)
        munmap(bytes, size);
}

bool cc_is_elf(const uint8_t *bytes, size_t size)
{
    return size >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

static bool inside(const struct cc_elf *elf, uint64_t offset, uint64_t length)
{
    return offset <= elf->size && length <= elf->size - offset;
}

const char *cc_elf_open(struct cc_elf *elf, uint8_t *bytes, size_t size)
{
    memset(elf, 0, sizeof(*elf));
    elf->bytes = bytes;
    elf->size = size;
    if (size < sizeof(Elf64_Ehdr) || !cc_is_elf(bytes, size))
        return "not an ELF file";
    elf->header = (const Elf64_Ehdr *)bytes;
    if (elf->header->e_ident[EI_CLASS] != ELFCLASS64 ||
        elf->header->e_ident[EI_DATA] != ELFDATA2LSB)
        return "not a 64-bit little-endian ELF file";
    uint64_t at = elf->header->e_shoff;
    if (at == 0)
        return NULL;
    if (at % 8 != 0 || elf->header->e_shentsize != sizeof(Elf64_Shdr) ||
        !inside(elf, at, sizeof(Elf64_Shdr)))
        return "its section table is damaged";
    elf->sections = (const Elf64_Shdr *)(bytes + at);
    /* More than 65,279 sections: the true numbers are in section 0. */
    uint64_t count = elf->header->e_shnum ? elf->header->e_shnum : elf->sections[0].sh_size;
    uint32_t names =
        elf->header->e_shstrndx == SHN_XINDEX ? elf->sections[0].sh_link : elf->header->e_shstrndx;
    if (count > size / sizeof(Elf64_Shdr) || !inside(elf, at, count * sizeof(Elf64_Shdr)) ||
        names >= count)
        return "its section table is damaged";
    elf->section_count = count;
    elf->names = (const char *)cc_elf_contents(elf, &elf->sections[names]);
    elf->names_size = elf->names ? elf->sections[names].sh_size : 0;
    if (elf->names_size == 0 || elf->names[elf->names_size - 1] != 0)
        return "its section names are damaged";
    return NULL;
}

const char *cc_elf_section_name(const struct cc_elf *elf, const Elf64_Shdr *section)
{
    return section->sh_name < elf->names_size ? elf->names + section->sh_name : "";
}

const Elf64_Shdr *cc_elf_section(const struct cc_elf *elf, const char *name)
{
    for (size_t i = 1; i < elf->section_count; i++)
        if (strcmp(cc_elf_section_name(elf, &elf->sections[i]), name) == 0)
            return &elf->sections[i];
    return NULL;
}

uint8_t *cc_elf_contents(const struct cc_elf *elf, const Elf64_Shdr *section)
{
    if (section->sh_type == SHT_NOBITS || !inside(elf, section->sh_offset, section->sh_size))
        return NULL;
    return elf->bytes + section->sh_offset;
}

uint8_t *cc_elf_at(const struct cc_elf *elf, uint64_t address, size_t size)
{
    const Elf64_Ehdr *header = elf->header;
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phoff % 8 != 0 ||
        !inside(elf, header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr)))
        return NULL;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(elf->bytes + header->e_phoff);
    for (size_t i = 0; i < header->e_phnum; i++) {
        const Elf64_Phdr *s = &segments[i];
        if (s->p_type != PT_LOAD || address < s->p_vaddr || address - s->p_vaddr > s->p_filesz ||
            size > s->p_filesz - (address - s->p_vaddr))
            continue;
        uint64_t offset = s->p_offset + (address - s->p_vaddr);
        return inside(elf, offset, size) ? elf->bytes + offset : NULL;
    }
    return NULL;
}

bool cc_elf_imports(const struct cc_elf *elf, uint32_t type, const char *symbol)
{
    for (size_t i = 1; i < elf->section_count; i++) {
        const Elf64_Shdr *table = &elf->sections[i];
        if (table->sh_type != type || table->sh_link >= elf->section_count)
            continue;
        const Elf64_Shdr *strings = &elf->sections[table->sh_link];
        const uint8_t *at = cc_elf_contents(elf, table);
        const char *text = (const char *)cc_elf_contents(elf, strings);
        if (!at || !text || strings->sh_size == 0 || text[strings->sh_size - 1] != 0)
            continue;
        for (size_t k = 0; k < table->sh_size / sizeof(Elf64_Sym); k++) {
            Elf64_Sym sym;
            memcpy(&sym, at + k * sizeof(sym), sizeof(sym));
            if (sym.st_shndx == SHN_UNDEF && sym.st_name < strings->sh_size &&
                strcmp(text + sym.st_name, symbol) == 0)
                return true;
        }
    }
    return false;
}

/* Grasp's note of `type` in one section's bytes, or NULL. */
static uint8_t *note_in(uint8_t *bytes, size_t size, uint32_t type, size_t wanted)
{
    size_t at = 0;
    while (size - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, bytes + at, sizeof(note));
        uint64_t name = at + sizeof(note);
        uint64_t descriptor = name + (((uint64_t)note.n_namesz + 3) & ~(uint64_t)3);
        uint64_t end = descriptor + (((uint64_t)note.n_descsz + 3) & ~(uint64_t)3);
        if (end > size)
            return NULL;
        if (note.n_type == type && note.n_descsz >= wanted &&
            note.n_namesz == sizeof(GRI_NOTE_NAME) &&
            memcmp(bytes + name, GRI_NOTE_NAME, sizeof(GRI_NOTE_NAME)) == 0)
            return bytes + descriptor;
        at = end;
    }
    return NULL;
}

uint8_t *cc_elf_note(const struct cc_elf *elf, uint32_t type, size_t size,
                     const Elf64_Shdr **section)
{
    for (size_t i = 1; i < elf->section_count; i++) {
        const Elf64_Shdr *candidate = &elf->sections[i];
        uint8_t *bytes = cc_elf_contents(elf, candidate);
        if (!bytes || strcmp(cc_elf_section_name(elf, candidate), GRI_NOTE_SECTION) != 0)
            continue;
        uint8_t *found = note_in(bytes, candidate->sh_size, type, size);
        if (!found)
            continue;
        if (section)
            *section = candidate;
        return found;
    }
    return NULL;
}
