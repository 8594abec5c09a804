/*
 * loader_elf.c: reading an ELF file without trusting it. See loader_elf.h for why and for E1, E2.
 *
 * All access goes through two functions that check bounds, gri_elf_at_offset and gri_elf_at. What
 * they return is copied out by memcpy. A corrupt file costs at most time in proportion to its size:
 * tables are walked by index, chains must move forward.
 */
#include "loader_elf.h"

#include "module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX (UINT64_C(1) << 31)
#define VERSIONS_MAX   4096 /* of all libraries together; glibc has some 60 */

/* ---- Bytes ----------------------------------------------------------------------------------- */

const void *gri_elf_at_offset(const struct gri_elf *elf, uint64_t offset, uint64_t bytes)
{
    if (offset > elf->size || bytes > elf->size - offset)
        return NULL;
    return elf->bytes + offset;
}

const void *gri_elf_at(const struct gri_elf *elf, uint64_t address, uint64_t bytes)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        const Elf64_Phdr *segment = &elf->segment[i];
        uint64_t into = address - segment->p_vaddr;

        if (segment->p_type != PT_LOAD || address < segment->p_vaddr || into > segment->p_filesz ||
            bytes > segment->p_filesz - into)
            continue;
        if (segment->p_offset > elf->size)
            return NULL;
        return into > elf->size - segment->p_offset
                   ? NULL
                   : gri_elf_at_offset(elf, segment->p_offset + into, bytes);
    }
    return NULL;
}

const char *gri_elf_string(const struct gri_elf *elf, uint64_t offset)
{
    const char *table = gri_elf_at(elf, elf->strings, elf->strings_bytes);

    if (!table || offset >= elf->strings_bytes)
        return NULL;
    return memchr(table + offset, 0, elf->strings_bytes - offset) ? table + offset : NULL;
}

const Elf64_Phdr *gri_elf_segment(const struct gri_elf *elf, uint32_t type)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        if (elf->segment[i].p_type == type)
            return &elf->segment[i];
    }
    return NULL;
}

bool gri_elf_in_segment(const struct gri_elf *elf, uint64_t lo, uint64_t hi, uint32_t flags)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        const Elf64_Phdr *segment = &elf->segment[i];

        if (segment->p_type == PT_LOAD && (segment->p_flags & flags) == flags &&
            lo >= segment->p_vaddr && hi >= lo && hi - segment->p_vaddr <= segment->p_memsz)
            return true;
    }
    return false;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static int read_bytes(int fd, uint8_t *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = read(fd, bytes + done, size - done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        done += (size_t)got;
    }
    return 0;
}

static int read_file(struct gri_elf *elf, const char *path, char *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int result = 0;

    if (fd < 0)
        return gri_load_error(err, -errno, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &elf->stat) != 0) {
        result = gri_load_error(err, -errno, "cannot look at %s: %s", path, strerror(errno));
    } else if (!S_ISREG(elf->stat.st_mode) || (uint64_t)elf->stat.st_size > FILE_BYTES_MAX) {
        result = gri_load_error(err, -ENOEXEC, "%s is not a file of a module's size", path);
    } else {
        elf->size = (size_t)elf->stat.st_size;
        elf->bytes = malloc(elf->size ? elf->size : 1);
        if (!elf->bytes)
            result = gri_load_error(err, -ENOMEM, "no memory to read %s", path);
        else if ((result = read_bytes(fd, elf->bytes, elf->size)) < 0)
            gri_load_error(err, result, "cannot read %s: %s", path, strerror(-result));
    }
    close(fd);
    return result;
}

static int parse_header(struct gri_elf *elf, char *err)
{
    const void *at = gri_elf_at_offset(elf, 0, sizeof elf->header);

    if (!at || memcmp(at, ELFMAG, SELFMAG) != 0)
        return gri_load_error(err, -ENOEXEC, "not an ELF file");
    memcpy(&elf->header, at, sizeof elf->header);
    if (elf->header.e_ident[EI_CLASS] != ELFCLASS64 ||
        elf->header.e_ident[EI_DATA] != ELFDATA2LSB || elf->header.e_version != EV_CURRENT)
        return gri_load_error(err, -ENOEXEC, "not a 64-bit little-endian ELF file");
    if (elf->header.e_phentsize != sizeof(Elf64_Phdr) || elf->header.e_phnum == 0 ||
        elf->header.e_phnum > GRI_ELF_SEGMENTS_MAX)
        return gri_load_error(err, -ENOEXEC, "corrupt file: bad program header table");
    at = gri_elf_at_offset(elf, elf->header.e_phoff, elf->header.e_phnum * sizeof(Elf64_Phdr));
    if (!at)
        return gri_load_error(err, -ENOEXEC, "corrupt file: the program headers are cut off");
    memcpy(elf->segment, at, elf->header.e_phnum * sizeof(Elf64_Phdr));
    elf->segments = elf->header.e_phnum;
    return 0;
}

/* The dynamic linker maps what the file says: segments must be inside the file and in ascending
 * order. */
static int check_segments(const struct gri_elf *elf, char *err)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < elf->segments; i++) {
        const Elf64_Phdr *segment = &elf->segment[i];
        uint64_t end;

        if (segment->p_type != PT_LOAD)
            continue;
        if (!gri_elf_at_offset(elf, segment->p_offset, segment->p_filesz))
            return gri_load_error(err, -ENOEXEC, "corrupt file: segment %u is cut off", i);
        if (segment->p_memsz < segment->p_filesz ||
            __builtin_add_overflow(segment->p_vaddr, segment->p_memsz, &end) ||
            end > UINT64_C(1) << 40 || segment->p_vaddr < last)
            return gri_load_error(err, -ENOEXEC, "corrupt file: segment %u has a bad size", i);
        last = end;
    }
    return 0;
}

static void parse_dynamic_entry(struct gri_elf *elf, const Elf64_Dyn *entry)
{
    uint64_t value = entry->d_un.d_val;

    switch (entry->d_tag) {
    case DT_SYMTAB:
        elf->symbols = value;
        break;
    case DT_STRTAB:
        elf->strings = value;
        break;
    case DT_STRSZ:
        elf->strings_bytes = value;
        break;
    case DT_VERSYM:
        elf->versions = value;
        break;
    case DT_VERNEED:
        elf->needs = value;
        break;
    case DT_VERNEEDNUM:
        elf->needs_count = value;
        break;
    case DT_RELA:
        elf->rela = value;
        break;
    case DT_RELASZ:
        elf->rela_bytes = value;
        break;
    case DT_JMPREL:
        elf->plt = value;
        break;
    case DT_PLTRELSZ:
        elf->plt_bytes = value;
        break;
    case DT_PLTREL:
        elf->plt_is_rela = value == DT_RELA;
        break;
    case DT_REL:
        elf->has_rel = true;
        break;
    case DT_TEXTREL:
        elf->text_relocations = true;
        break;
    case DT_FLAGS:
        elf->text_relocations |= (value & DF_TEXTREL) != 0;
        break;
    case DT_SONAME:
        elf->soname = value;
        elf->has_soname = true;
        break;
    default:
        break;
    }
}

/* Entry `index` of the dynamic section; false at its end. */
static bool dynamic_entry(const struct gri_elf *elf, size_t index, Elf64_Dyn *entry)
{
    const Elf64_Phdr *dynamic = gri_elf_segment(elf, PT_DYNAMIC);
    const uint8_t *at;

    if (!dynamic || index >= dynamic->p_filesz / sizeof *entry)
        return false;
    at = gri_elf_at_offset(elf, dynamic->p_offset, dynamic->p_filesz);
    if (!at)
        return false;
    memcpy(entry, at + index * sizeof *entry, sizeof *entry);
    return entry->d_tag != DT_NULL;
}

static int parse(struct gri_elf *elf, char *err)
{
    int result = parse_header(elf, err);
    Elf64_Dyn entry;

    if (result == 0)
        result = check_segments(elf, err);
    if (result < 0)
        return result;
    for (size_t i = 0; dynamic_entry(elf, i, &entry); i++) {
        elf->has_dynamic = true;
        parse_dynamic_entry(elf, &entry);
    }
    if (elf->has_dynamic && !gri_elf_at(elf, elf->strings, elf->strings_bytes))
        return gri_load_error(err, -ENOEXEC, "corrupt file: bad dynamic string table");
    if ((elf->rela_bytes && !gri_elf_at(elf, elf->rela, elf->rela_bytes)) ||
        (elf->plt_bytes && !gri_elf_at(elf, elf->plt, elf->plt_bytes)))
        return gri_load_error(err, -ENOEXEC, "corrupt file: bad relocation table");
    return 0;
}

int gri_elf_open(struct gri_elf *elf, const char *path, char *err)
{
    int result;

    memset(elf, 0, sizeof *elf);
    result = read_file(elf, path, err);
    if (result == 0)
        result = parse(elf, err);
    if (result < 0)
        gri_elf_close(elf);
    return result;
}

void gri_elf_close(struct gri_elf *elf)
{
    free(elf->bytes);
    elf->bytes = NULL;
    elf->size = 0;
}

/* ---- Notes ----------------------------------------------------------------------------------- */

static const void *find_note(const uint8_t *at, uint64_t size, uint64_t align, const char *name,
                             uint32_t type, size_t *bytes)
{
    uint64_t name_size = strlen(name) + 1;

    /* Each round moves forward by a header at least. */
    while (size >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        uint64_t desc, next;

        memcpy(&note, at, sizeof note);
        desc = (sizeof note + (uint64_t)note.n_namesz + align - 1) & ~(align - 1);
        next = (desc + note.n_descsz + align - 1) & ~(align - 1);
        if (desc > size || note.n_descsz > size - desc)
            return NULL;
        if (note.n_type == type && note.n_namesz == name_size &&
            memcmp(at + sizeof note, name, name_size) == 0) {
            *bytes = note.n_descsz;
            return at + desc;
        }
        if (next >= size)
            return NULL;
        at += next;
        size -= next;
    }
    return NULL;
}

const void *gri_elf_note(const struct gri_elf *elf, const char *name, uint32_t type, size_t *bytes)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        const Elf64_Phdr *segment = &elf->segment[i];
        const uint8_t *at;
        const void *found;

        if (segment->p_type != PT_NOTE)
            continue;
        at = gri_elf_at_offset(elf, segment->p_offset, segment->p_filesz);
        if (!at)
            continue;
        found = find_note(at, segment->p_filesz, segment->p_align == 8 ? 8 : 4, name, type, bytes);
        if (found)
            return found;
    }
    return NULL;
}

/* ---- Symbols and relocations ----------------------------------------------------------------- */

/* Finds the library and the name of version `index`. Both stay NULL if there is none. */
static int find_version(const struct gri_elf *elf, unsigned index, struct gri_elf_import *import)
{
    uint64_t at = elf->needs;
    Elf64_Verneed need;
    Elf64_Vernaux version;
    unsigned steps = 0;

    for (uint64_t i = 0; i < elf->needs_count; i++) {
        const void *bytes = gri_elf_at(elf, at, sizeof need);
        uint64_t aux;

        if (!bytes || ++steps > VERSIONS_MAX)
            return -ENOEXEC;
        memcpy(&need, bytes, sizeof need);
        aux = at + need.vn_aux;
        for (unsigned j = 0; j < need.vn_cnt; j++) {
            bytes = gri_elf_at(elf, aux, sizeof version);
            if (!bytes || ++steps > VERSIONS_MAX)
                return -ENOEXEC;
            memcpy(&version, bytes, sizeof version);
            if ((version.vna_other & 0x7fff) == index) {
                import->library = gri_elf_string(elf, need.vn_file);
                import->version = gri_elf_string(elf, version.vna_name);
                return import->library && import->version ? 0 : -ENOEXEC;
            }
            if (version.vna_next == 0)
                break;
            aux += version.vna_next;
        }
        if (need.vn_next == 0)
            break;
        at += need.vn_next;
    }
    return 0;
}

static int fill_symbol(const struct gri_elf *elf, struct gri_elf_import *import)
{
    const void *at = gri_elf_at(elf, elf->symbols + (uint64_t)import->index * sizeof(Elf64_Sym),
                                sizeof(Elf64_Sym));
    Elf64_Sym symbol;
    uint16_t version;

    if (!at)
        return -ENOEXEC;
    memcpy(&symbol, at, sizeof symbol);
    import->name = gri_elf_string(elf, symbol.st_name);
    import->undefined = symbol.st_shndx == SHN_UNDEF;
    import->weak = ELF64_ST_BIND(symbol.st_info) == STB_WEAK;
    import->kind = ELF64_ST_TYPE(symbol.st_info);
    import->library = import->version = NULL;
    if (!import->name)
        return -ENOEXEC;
    if (!elf->versions || !import->undefined)
        return 0;
    at = gri_elf_at(elf, elf->versions + (uint64_t)import->index * 2, 2);
    if (!at)
        return -ENOEXEC;
    memcpy(&version, at, sizeof version);
    return (version & 0x7fff) > 1 ? find_version(elf, version & 0x7fff, import) : 0;
}

static int each_in_table(const struct gri_elf *elf, uint64_t table, uint64_t bytes,
                         gri_elf_import_fn *fn, void *arg)
{
    const uint8_t *at = gri_elf_at(elf, table, bytes);

    if (bytes && !at)
        return -ENOEXEC;
    for (uint64_t i = 0; i < bytes / sizeof(Elf64_Rela); i++) {
        struct gri_elf_import import;
        Elf64_Rela rela;
        int result;

        memcpy(&rela, at + i * sizeof rela, sizeof rela);
        import.offset = rela.r_offset;
        import.addend = rela.r_addend;
        import.type = (uint32_t)ELF64_R_TYPE(rela.r_info);
        import.index = (uint32_t)ELF64_R_SYM(rela.r_info);
        if (import.index == 0)
            continue;
        result = fill_symbol(elf, &import);
        if (result == 0)
            result = fn(arg, &import);
        if (result != 0)
            return result;
    }
    return 0;
}

int gri_elf_each_import(const struct gri_elf *elf, gri_elf_import_fn *fn, void *arg)
{
    int result;

    if (elf->has_rel || (elf->plt_bytes && !elf->plt_is_rela))
        return -ENOEXEC;
    result = each_in_table(elf, elf->plt, elf->plt_bytes, fn, arg);
    return result ? result : each_in_table(elf, elf->rela, elf->rela_bytes, fn, arg);
}

int gri_elf_each_needed(const struct gri_elf *elf, gri_elf_needed_fn *fn, void *arg)
{
    Elf64_Dyn entry;

    for (size_t i = 0; dynamic_entry(elf, i, &entry); i++) {
        const char *name;
        int result;

        if (entry.d_tag != DT_NEEDED)
            continue;
        name = gri_elf_string(elf, entry.d_un.d_val);
        if (!name)
            return -ENOEXEC;
        result = fn(arg, name);
        if (result != 0)
            return result;
    }
    return 0;
}
