/*
 * core_file.c: an ELF core of copied goroutines, which gdb opens as if each were a thread.
 *
 * What gdb needs to name frames and walk stacks, found out by leaving things away: a PT_NOTE with NT_PRSTATUS
 * for each thread (and its vector registers, where the stop saved them) and NT_AUXV (where the program was loaded); the stacks; and the dynamic linker's list of objects,
 * which gdb follows from the program's DT_DEBUG entry: the dynamic section, r_debug, and each link_map with its
 * name. Code and constants gdb takes from the files. With GR_CORE_DATA the writable segments of all objects
 * come along, so that globals can be printed.
 *
 * Everything is laid out and copied when the core is opened, so that whoever holds the goroutines may let them go before a
 * byte is written. The bytes of the stacks stay in the caller's copies.
 *
 * Above 65,534 segments their number stands in a section header (PN_XNUM), as in the kernel's own cores. Rejected:
 * merging neighbours, which fills the gaps between stacks with zeros.
 *
 * Invariants
 *   C1  Live memory is read through /proc/self/mem, so that an object that has just been closed gives zeros
 *       instead of a fault.
 *   C2  Segments are sorted by address and do not overlap.
 *
 * Locks: none. dl_iterate_phdr's, while the list of objects is copied.
 */
#include <grasp/inspect.h>

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "core.h"

#define SEGMENT_BYTES_MAX ((uint64_t)256 << 20) /* of one object's data; the rest is left out */
#define OBJECTS_MAX       16384                 /* of a list that might be damaged */
#define AUXV_BYTES        2048

struct bytes {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
};

struct segment {
    uint64_t lo;
    size_t bytes;
    uint32_t flags;
    const uint8_t *from; /* a caller's copy; NULL: in `memory` */
    size_t at;           /* in `memory` */
};

struct gr_core {
    struct bytes head;   /* ELF header, program headers, notes */
    struct bytes memory; /* what was copied of live memory */
    struct segment *segment;
    size_t segment_count, segment_capacity;
    size_t next, offset; /* what is read next: 0 the head, i the segment i - 1 */
    int memory_fd;
    bool failed;
};

static void *bytes_room(struct bytes *b, size_t more)
{
    if (b->capacity - b->size < more) {
        size_t capacity = b->capacity ? b->capacity : 4096;

        while (capacity - b->size < more) /* ends: it doubles */
            capacity *= 2;
        uint8_t *data = realloc(b->data, capacity);
        if (!data) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->capacity = capacity;
    }
    b->size += more;
    return b->data + b->size - more;
}

static void bytes_add(struct bytes *b, const void *from, size_t size)
{
    void *room = bytes_room(b, size);

    if (room)
        memcpy(room, from, size);
}

/* ---- Segments ------------------------------------------------------------------------------------ */

static void segment_add(struct gr_core *core, struct segment s)
{
    if (s.bytes == 0)
        return;
    if (core->segment_count == core->segment_capacity) {
        size_t capacity = core->segment_capacity ? core->segment_capacity * 2 : 256;
        struct segment *segment = reallocarray(core->segment, capacity, sizeof *segment);

        if (!segment) {
            core->failed = true;
            return;
        }
        core->segment = segment;
        core->segment_capacity = capacity;
    }
    core->segment[core->segment_count++] = s;
}

/* C1. Copies live memory; what can't be read is zero. */
static void memory_add(struct gr_core *core, uint64_t lo, size_t size, uint32_t flags)
{
    size_t at = core->memory.size, done = 0;

    if (size > SEGMENT_BYTES_MAX)
        size = SEGMENT_BYTES_MAX;
    uint8_t *room = bytes_room(&core->memory, size);
    if (!room)
        return;
    while (done < size) {
        ssize_t n = pread(core->memory_fd, room + done, size - done, (off_t)(lo + done));

        if (n <= 0)
            break;
        done += (size_t)n;
    }
    memset(room + done, 0, size - done);
    segment_add(core, (struct segment){.lo = lo, .bytes = size, .flags = flags, .at = at});
}

static bool memory_read(const struct gr_core *core, uint64_t at, void *to, size_t size)
{
    return pread(core->memory_fd, to, size, (off_t)at) == (ssize_t)size;
}

/* A name in memory, with its 0. */
static void name_add(struct gr_core *core, uint64_t at)
{
    char text[4096];
    size_t size = 0;

    /* Byte by byte at the worst: a page behind it may not be mapped. */
    while (size < sizeof text && memory_read(core, at + size, text + size, 1) && text[size])
        size++;
    memory_add(core, at, size + 1, PF_R);
}

/* The writable segments of one object, and the vDSO's text, which is in no file. */
static int object_add(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct gr_core *core = arg;
    bool vdso = info->dlpi_addr == getauxval(AT_SYSINFO_EHDR);

    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];

        if (h->p_type == PT_LOAD && (vdso || (h->p_flags & PF_W)))
            memory_add(core, info->dlpi_addr + h->p_vaddr, h->p_memsz, h->p_flags);
    }
    return 0;
}

static int vdso_add(struct dl_phdr_info *info, size_t size, void *arg)
{
    return info->dlpi_addr == getauxval(AT_SYSINFO_EHDR) ? object_add(info, size, arg) : 0;
}

/* Where the dynamic linker says what is loaded: from the program's headers to DT_DEBUG. 0: nowhere. */
static uint64_t debug_list_add(struct gr_core *core)
{
    const ElfW(Phdr) *header = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    uint64_t count = getauxval(AT_PHNUM), base = 0, list = 0;
    const ElfW(Phdr) *dynamic = NULL;

    for (uint64_t i = 0; header && i < count; i++) {
        if (header[i].p_type == PT_PHDR)
            base = (uint64_t)header - header[i].p_vaddr;
        else if (header[i].p_type == PT_DYNAMIC)
            dynamic = &header[i];
    }
    if (!dynamic)
        return 0;
    memory_add(core, base + dynamic->p_vaddr, dynamic->p_memsz, PF_R | PF_W);
    for (const ElfW(Dyn) *d = (const ElfW(Dyn) *)(base + dynamic->p_vaddr); d->d_tag; d++)
        if (d->d_tag == DT_DEBUG)
            list = d->d_un.d_ptr;
    return list;
}

/* The list may change while it is read: what is gone reads as zeros or breaks off. */
static void link_maps_add(struct gr_core *core)
{
    struct r_debug debug;
    struct link_map map;
    uint64_t list = debug_list_add(core);

    if (!list || !memory_read(core, list, &debug, sizeof debug))
        return;
    memory_add(core, list, sizeof debug + sizeof(void *), PF_R | PF_W);
    uint64_t at = (uint64_t)debug.r_map;
    for (unsigned i = 0; at && i < OBJECTS_MAX && memory_read(core, at, &map, sizeof map); i++) {
        memory_add(core, at, sizeof map, PF_R | PF_W);
        name_add(core, (uint64_t)map.l_name);
        at = (uint64_t)map.l_next;
    }
}

static int by_address(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;

    return (x->lo > y->lo) - (x->lo < y->lo);
}

/* C2. Of two that overlap the second loses its beginning: both show the same memory. */
static void segments_sort(struct gr_core *core)
{
    uint64_t end = 0;

    if (core->segment_count)
        qsort(core->segment, core->segment_count, sizeof *core->segment, by_address);
    for (size_t i = 0; i < core->segment_count; i++) {
        struct segment *s = &core->segment[i];
        uint64_t cut = s->lo < end ? end - s->lo : 0;

        if (cut > s->bytes)
            cut = s->bytes;
        s->lo += cut;
        s->bytes -= cut;
        s->at += cut;
        if (s->from)
            s->from += cut;
        if (s->lo + s->bytes > end)
            end = s->lo + s->bytes;
    }
}

/* ---- Notes --------------------------------------------------------------------------------------- */

static void note_add(struct bytes *out, const char *owner, uint32_t type, const void *data,
                     size_t size)
{
    char name[8] = "";
    int length = snprintf(name, sizeof name, "%s", owner);
    ElfW(Nhdr)
        header = {.n_namesz = (uint32_t)length + 1, .n_descsz = (uint32_t)size, .n_type = type};

    bytes_add(out, &header, sizeof header);
    bytes_add(out, name, sizeof name);
    bytes_add(out, data, size);
    bytes_add(out, "\0\0\0", (4 - size % 4) % 4);
}

static void add_file(struct bytes *out, uint32_t type, const char *path)
{
    uint8_t data[AUXV_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, data, sizeof data) : -1;

    if (fd >= 0)
        close(fd);
    if (n > 0)
        note_add(out, "CORE", type, data, (size_t)n);
}

static void add_program(struct bytes *out)
{
    struct elf_prpsinfo info = {.pr_sname = 'R', .pr_pid = getpid(), .pr_ppid = getppid()};
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, info.pr_psargs, sizeof info.pr_psargs - 1) : 0;

    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i + 1 < n; i++)
        if (info.pr_psargs[i] == '\0')
            info.pr_psargs[i] = ' ';
    snprintf(info.pr_fname, sizeof info.pr_fname, "%.15s", program_invocation_short_name);
    note_add(out, "CORE", NT_PRPSINFO, &info, sizeof info);
}

static void add_goroutine(struct bytes *out, const struct gr_copy *copy)
{
    struct elf_prstatus status;
    struct arch_regs regs = {.present = copy->reg_present, .pc = copy->pc, .sp = copy->sp};

    memset(&status, 0, sizeof status);
    memcpy(regs.value, copy->reg, sizeof regs.value);
    /* gdb shows it as LWP; ids above 2^31 wrap. */
    status.pr_pid = (pid_t)(copy->id & 0x7fffffff);
    status.pr_ppid = getppid();
    status.pr_pgrp = getpid();
    arch_core_regs(&status.pr_reg, &regs);
    note_add(out, "CORE", NT_PRSTATUS, &status, sizeof status);
}

/* Those of a stop that saved them; gdb says of the others that they are unavailable. */
static void add_vectors(struct bytes *out, const struct gr_copy *copy)
{
    uint8_t data[ARCH_CORE_NOTE_BYTES_MAX];
    struct arch_core_note note;

    for (unsigned i = 0; copy->vector_bytes && arch_core_vectors(i, copy->vectors, &note, data);
         i++)
        note_add(out, note.name, note.type, data, note.bytes);
}

/*
 * The first thread's status comes first, then what is said once, then the others: gdb wants that order. Notes of a thread
 * stand behind its status.
 */
static void notes_make(struct bytes *out, const struct gr_copy *const *copies, size_t count)
{
    for (size_t i = 0; i < count && !out->failed; i++) {
        add_goroutine(out, copies[i]);
        if (i == 0) {
            add_program(out);
            add_file(out, NT_AUXV, "/proc/self/auxv");
        }
        add_vectors(out, copies[i]);
    }
}

/* ---- The file ------------------------------------------------------------------------------------ */

static uint64_t head_bytes(size_t headers, bool many, size_t note_bytes)
{
    return sizeof(ElfW(Ehdr)) + headers * sizeof(ElfW(Phdr)) + many * sizeof(ElfW(Shdr)) +
           note_bytes;
}

static void add_elf_header(struct bytes *head, size_t headers, bool many)
{
    ElfW(Ehdr) elf = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                                  EV_CURRENT, ELFOSABI_NONE},
                      .e_type = ET_CORE,
                      .e_machine = arch_elf_machine(),
                      .e_version = EV_CURRENT,
                      .e_phoff = sizeof elf,
                      .e_ehsize = sizeof elf,
                      .e_phentsize = sizeof(ElfW(Phdr)),
                      .e_phnum = many ? PN_XNUM : (uint16_t)headers};

    if (many) {
        elf.e_shoff = sizeof elf + headers * sizeof(ElfW(Phdr));
        elf.e_shentsize = sizeof(ElfW(Shdr));
        elf.e_shnum = 1;
    }
    bytes_add(head, &elf, sizeof elf);
}

static void head_make(struct gr_core *core, const struct bytes *notes)
{
    struct bytes *head = &core->head;
    size_t headers = core->segment_count + 1;
    bool many = headers >= PN_XNUM;
    uint64_t at = head_bytes(headers, many, notes->size);
    ElfW(Phdr) h = {.p_type = PT_NOTE,
                    .p_flags = PF_R,
                    .p_offset = head_bytes(headers, many, 0),
                    .p_filesz = notes->size,
                    .p_align = 4};

    add_elf_header(head, headers, many);
    bytes_add(head, &h, sizeof h);
    for (size_t i = 0; i < core->segment_count; i++) {
        const struct segment *s = &core->segment[i];

        h = (ElfW(Phdr)){.p_type = PT_LOAD,
                         .p_flags = s->flags,
                         .p_offset = at,
                         .p_vaddr = s->lo,
                         .p_filesz = s->bytes,
                         .p_memsz = s->bytes,
                         .p_align = 1};
        bytes_add(head, &h, sizeof h);
        at += s->bytes;
    }
    if (many) {
        ElfW(Shdr) section = {.sh_info = (uint32_t)headers};

        bytes_add(head, &section, sizeof section);
    }
    bytes_add(head, notes->data, notes->size);
}

struct gr_core *gr_core_open(const struct gr_copy *const *copies, size_t count, unsigned flags)
{
    struct gr_core *core = calloc(1, sizeof *core);
    struct bytes notes = {0};

    if (!core)
        return NULL;
    core->memory_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < count; i++)
        segment_add(core, (struct segment){.lo = copies[i]->copied_lo,
                                           .bytes = copies[i]->copied_bytes,
                                           .flags = PF_R | PF_W,
                                           .from = copies[i]->stack});
    dl_iterate_phdr(flags & GR_CORE_DATA ? object_add : vdso_add, core);
    link_maps_add(core);
    segments_sort(core);
    notes_make(&notes, copies, count);
    head_make(core, &notes);
    bool failed = core->failed || core->memory.failed || core->head.failed || notes.failed;
    free(notes.data);
    if (core->memory_fd >= 0)
        close(core->memory_fd);
    if (failed) {
        gr_core_close(core);
        return NULL;
    }
    return core;
}

uint64_t gr_core_bytes(const struct gr_core *core)
{
    uint64_t bytes = core->head.size;

    for (size_t i = 0; i < core->segment_count; i++)
        bytes += core->segment[i].bytes;
    return bytes;
}

size_t gr_core_read(struct gr_core *core, void *to, size_t bytes)
{
    size_t done = 0;

    /* Each turn takes bytes or goes on to the next segment. */
    while (done < bytes && core->next <= core->segment_count) {
        const struct segment *s = core->next ? &core->segment[core->next - 1] : NULL;
        const uint8_t *from = !s ? core->head.data : s->from ? s->from : core->memory.data + s->at;
        size_t size = s ? s->bytes : core->head.size, part = size - core->offset;

        if (part > bytes - done)
            part = bytes - done;
        memcpy((uint8_t *)to + done, from + core->offset, part);
        done += part;
        core->offset += part;
        if (core->offset == size) {
            core->next++;
            core->offset = 0;
        }
    }
    return done;
}

void gr_core_close(struct gr_core *core)
{
    if (!core)
        return;
    free(core->head.data);
    free(core->memory.data);
    free(core->segment);
    free(core);
}
