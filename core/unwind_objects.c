/*
 * unwind_objects.c: the ELF objects of this process, as libdwfl must see them; see
 * unwind_objects.h.
 *
 * Inside dl_iterate_phdr's call-back, where the dynamic linker holds its lock, the list is only
 * copied. Files are opened here and not by libdwfl, for O_CLOEXEC: modules fork.
 *
 * Debug files are looked for by build id and beside the object. libdw's debuginfod client is kept
 * out of it: a download of minutes under the one lock of inspection would stop every snapshot.
 *
 * Invariants I1 and I2: unwind_objects.h.
 *
 * Locks: none of its own.
 */
#include "unwind_objects.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"

#define HEADERS_MAX     64
#define BUILD_ID_MAX    64
#define IMAGE_BYTES_MAX ((uint64_t)1 << 30)

/* What dl_iterate_phdr tells of one object. */
struct object {
    uint64_t base;
    const void *headers_at; /* with base: its identity while nothing is removed */
    char *name;
    unsigned header_count;
    ElfW(Phdr) header[HEADERS_MAX];
};

struct segment {
    uint64_t lo, hi;
};

static struct {
    Dwfl *dwfl;
    unsigned long long adds, subs;
    struct object **known;
    size_t known_count, known_capacity;
    struct segment *segment; /* not writable ones */
    size_t segment_count, segment_capacity;
    int memory_fd; /* /proc/self/mem; 0: not opened yet */
} objects;

/* ---- Live memory ----------------------------------------------------------------------------- */

static bool memory_read(uint64_t address, void *to, size_t bytes)
{
    if (objects.memory_fd <= 0)
        objects.memory_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    return objects.memory_fd > 0 &&
           pread(objects.memory_fd, to, bytes, (off_t)address) == (ssize_t)bytes;
}

bool gri_objects_read(uint64_t address, void *to, size_t bytes)
{
    for (size_t i = 0; i < objects.segment_count; i++) {
        const struct segment *s = &objects.segment[i];
        if (address >= s->lo && address < s->hi && bytes <= s->hi - address)
            return memory_read(address, to, bytes);
    }
    return false;
}

/* ---- An object's file, or its image ---------------------------------------------------------- */

/* The build id in memory; its length, 0 if there is none. */
static size_t object_build_id(const struct object *object, uint8_t id[BUILD_ID_MAX])
{
    for (unsigned i = 0; i < object->header_count; i++) {
        const ElfW(Phdr) *h = &object->header[i];
        uint64_t at = object->base + h->p_vaddr, end = at + h->p_memsz;
        if (h->p_type != PT_NOTE || h->p_memsz > 65536)
            continue;
        ElfW(Nhdr) note;
        while (at + sizeof note <= end && memory_read(at, &note, sizeof note)) {
            uint64_t name = at + sizeof note, data = name + ((note.n_namesz + 3) & ~3u);
            char owner[4];
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof owner &&
                note.n_descsz <= BUILD_ID_MAX && memory_read(name, owner, sizeof owner) &&
                memcmp(owner, "GNU", sizeof owner) == 0 && memory_read(data, id, note.n_descsz))
                return note.n_descsz;
            at = data + ((note.n_descsz + 3) & ~3u);
        }
    }
    return 0;
}

/* Whether the file is what was loaded: the same program headers and, where there is one, the same
 * build id. */
static bool object_matches_file(const struct object *object, int fd)
{
    bool same = false;
    uint8_t id[BUILD_ID_MAX];
    const void *file_id;
    size_t count;
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    if (elf && elf_getphdrnum(elf, &count) == 0 && count == object->header_count) {
        same = true;
        for (size_t i = 0; i < count && same; i++) {
            GElf_Phdr h;
            same = gelf_getphdr(elf, (int)i, &h) && h.p_type == object->header[i].p_type &&
                   h.p_offset == object->header[i].p_offset &&
                   h.p_vaddr == object->header[i].p_vaddr &&
                   h.p_filesz == object->header[i].p_filesz;
        }
        size_t bytes = object_build_id(object, id);
        if (same && bytes)
            same = dwelf_elf_gnu_build_id(elf, &file_id) == (ssize_t)bytes &&
                   memcmp(file_id, id, bytes) == 0;
    }
    elf_end(elf);
    return same;
}

/* Copies one segment to where the file has it. */
static bool image_add_segment(int fd, uint64_t from, uint64_t offset, uint64_t bytes)
{
    char block[16384];
    while (bytes > 0) {
        size_t part = bytes < sizeof block ? bytes : sizeof block;
        if (!memory_read(from, block, part) ||
            pwrite(fd, block, part, (off_t)offset) < (ssize_t)part)
            return false;
        from += part;
        offset += part;
        bytes -= part;
    }
    return true;
}

/*
 * A file in memory with the segments that are not writable: headers, text, unwind data. The section
 * headers are not mapped, so the ELF header must not point to them. -1: not to be had.
 */
static int object_image(const struct object *object)
{
    ElfW(Ehdr) header;
    uint64_t bytes = 0;
    int fd = memfd_create("grasp-object", MFD_CLOEXEC);
    bool good = fd >= 0;
    for (unsigned i = 0; i < object->header_count && good; i++) {
        const ElfW(Phdr) *h = &object->header[i];
        if (h->p_type != PT_LOAD || (h->p_flags & PF_W))
            continue;
        bytes += h->p_filesz;
        good = bytes <= IMAGE_BYTES_MAX &&
               image_add_segment(fd, object->base + h->p_vaddr, h->p_offset, h->p_filesz);
    }
    good = good && pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
           memcmp(header.e_ident, ELFMAG, SELFMAG) == 0;
    if (good) {
        header.e_shoff = 0;
        header.e_shnum = header.e_shstrndx = 0;
        good = pwrite(fd, &header, sizeof header, 0) == (ssize_t)sizeof header;
    }
    if (!good && fd >= 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The path under which libdwfl shall know it; the program's own entry in the list has no name. */
static void object_path(const struct object *object, char *path, size_t bytes)
{
    ssize_t n;
    if (object->base == getauxval(AT_SYSINFO_EHDR)) {
        snprintf(path, bytes, "[vdso]");
    } else if (*object->name) {
        snprintf(path, bytes, "%s", object->name);
    } else {
        n = readlink("/proc/self/exe", path, bytes - 1);
        path[n > 0 ? n : 0] = '\0';
    }
}

static int object_open(const struct object *object, const char *path)
{
    /* The link gives the program that runs even if its name belongs to another file by now. */
    int fd = open(*object->name ? path : "/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !object_matches_file(object, fd)) {
        close(fd);
        fd = gri_module_file(object->base); /* of a module that was replaced */
        if (fd >= 0 && !object_matches_file(object, fd)) {
            close(fd);
            fd = -1;
        }
    }
    return fd >= 0 ? fd : object_image(object);
}

static void object_report(const struct object *object)
{
    char path[4096];
    object_path(object, path, sizeof path);
    int fd = object_open(object, path);
    if (fd < 0)
        return;
    /* libdwfl owns the descriptor if it takes the object. */
    if (!dwfl_report_elf(objects.dwfl, path, path, fd, object->base, true))
        close(fd);
}

/* ---- The list -------------------------------------------------------------------------------- */

struct counters {
    unsigned long long adds, subs;
};

static int read_counters(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    struct counters *counters = arg;
    counters->adds = info->dlpi_adds;
    counters->subs = info->dlpi_subs;
    return 1;
}

static bool object_is_known(const struct dl_phdr_info *info)
{
    for (size_t i = 0; i < objects.known_count; i++)
        if (objects.known[i]->base == info->dlpi_addr &&
            objects.known[i]->headers_at == info->dlpi_phdr)
            return true;
    return false;
}

static void object_free(struct object *object)
{
    if (object)
        free(object->name);
    free(object);
}

static struct object *object_copy(const struct dl_phdr_info *info)
{
    struct object *object = calloc(1, sizeof *object);
    char *name = strdup(info->dlpi_name ? info->dlpi_name : "");
    if (!object || !name) {
        free(name);
        free(object);
        return NULL;
    }
    *object = (struct object){
        .base = info->dlpi_addr,
        .headers_at = info->dlpi_phdr,
        .name = name,
        .header_count = info->dlpi_phnum < HEADERS_MAX ? info->dlpi_phnum : HEADERS_MAX,
    };
    memcpy(object->header, info->dlpi_phdr, object->header_count * sizeof object->header[0]);
    return object;
}

static bool list_grow(void *items, size_t *capacity, size_t needed, size_t item_bytes)
{
    void **list = items;
    if (needed <= *capacity)
        return true;
    size_t wanted = needed * 2 + 16;
    void *grown = reallocarray(*list, wanted, item_bytes);
    if (!grown)
        return false;
    *list = grown;
    *capacity = wanted;
    return true;
}

/* Under the dynamic linker's lock: copies, no more. Stops the walk if memory runs out. */
static int copy_new_object(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    if (object_is_known(info))
        return 0;
    if (!list_grow(&objects.known, &objects.known_capacity, objects.known_count + 1,
                   sizeof *objects.known))
        return -ENOMEM;
    struct object *object = object_copy(info);
    if (!object)
        return -ENOMEM;
    objects.known[objects.known_count++] = object;
    return 0;
}

static bool segments_add(const struct object *object)
{
    for (unsigned i = 0; i < object->header_count; i++) {
        const ElfW(Phdr) *h = &object->header[i];
        if (h->p_type != PT_LOAD || (h->p_flags & PF_W))
            continue;
        if (!list_grow(&objects.segment, &objects.segment_capacity, objects.segment_count + 1,
                       sizeof *objects.segment))
            return false;
        uint64_t lo = object->base + h->p_vaddr;
        objects.segment[objects.segment_count++] = (struct segment){lo, lo + h->p_memsz};
    }
    return true;
}

static int find_debuginfo(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
                          const char *file, const char *link, GElf_Word crc, char **found)
{
    int fd = dwfl_build_id_find_debuginfo(module, userdata, name, base, file, link, crc, found);
    /* With a server configured the standard search would ask it. */
    if (fd < 0 && !getenv("DEBUGINFOD_URLS"))
        fd = dwfl_standard_find_debuginfo(module, userdata, name, base, file, link, crc, found);
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

void gri_objects_forget(void (*forget)(Dwfl *old))
{
    if (!objects.dwfl)
        return;
    forget(objects.dwfl);
    for (size_t i = 0; i < objects.known_count; i++)
        object_free(objects.known[i]);
    objects.known_count = objects.segment_count = 0;
    dwfl_end(objects.dwfl);
    objects.dwfl = NULL;
}

static bool objects_begin(void)
{
    static char *debug_path;
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf,
        .find_debuginfo = find_debuginfo,
        .section_address = dwfl_offline_section_address,
        .debuginfo_path = &debug_path,
    };
    objects.dwfl = dwfl_begin(&callbacks);
    return objects.dwfl != NULL;
}

/* Reports what is not known yet. */
static bool objects_report(void)
{
    size_t first = objects.known_count;
    bool good = dl_iterate_phdr(copy_new_object, NULL) == 0;
    dwfl_report_begin_add(objects.dwfl);
    for (size_t i = first; i < objects.known_count; i++) {
        object_report(objects.known[i]);
        good = segments_add(objects.known[i]) && good;
    }
    return dwfl_report_end(objects.dwfl, NULL, NULL) == 0 && good;
}

Dwfl *gri_objects_update(void (*forget)(Dwfl *old), bool *renewed)
{
    struct counters now = {0};
    *renewed = false;
    dl_iterate_phdr(read_counters, &now);
    if (objects.dwfl && now.adds == objects.adds && now.subs == objects.subs)
        return objects.dwfl;
    if (now.subs != objects.subs)
        gri_objects_forget(forget);
    if (!objects.dwfl) {
        *renewed = true;
        if (!objects_begin())
            return NULL;
    }
    bool good = objects_report();
    /* Only a complete pass counts as done; the rest is reported the next time (I1). */
    objects.adds = good ? now.adds : 0;
    objects.subs = now.subs;
    return objects.dwfl;
}

size_t gri_objects_bytes(void)
{
    return objects.known_count * sizeof(struct object) +
           objects.known_capacity * sizeof *objects.known +
           objects.segment_capacity * sizeof *objects.segment;
}
