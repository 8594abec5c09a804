/*
 * inputs.c: whether what the linker read may be in a module.
 *
 * An object that was not compiled by grasp-cc has no entry checks, so that a goroutine in it is
 * stopped late or never; worse, it has errno's address cached across calls, which is another
 * thread's errno once the goroutine has moved. Nothing at run time could tell. So every object, and
 * every member of every archive, must carry the note that cc.h leaves, except the compiler's own
 * start files and helpers. And it must be for this machine, which a library must be as well.
 *
 * What the linker read is taken from its trace, so that -lfoo, linker scripts and libraries that
 * they name are covered. Shared libraries are left alone: the module loader knows how to treat
 * foreign code.
 *
 * Rejected: asking only for the archive members that are linked. Whether a library is fit should
 * not depend on which of its functions a program happens to call today.
 */
#include "grasp_cc.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <ar.h>

#include <grasp/goroutine.h>

#include "builtin.h"

#define NAMED_MAX 10

static const char *const own_objects[] = {
    "crt1.o",
    "Scrt1.o",
    "gcrt1.o",
    "grcrt1.o",
    "rcrt1.o",
    "crti.o",
    "crtn.o",
    "crtbegin.o",
    "crtend.o",
    "crtbeginS.o",
    "crtendS.o",
    "crtbeginT.o",
    "crtfastmath.o",
    "crtprec32.o",
    "crtprec64.o",
    "crtprec80.o",
    "libgcc.a",
    "libgcc_eh.a",
    "libgcov.a",
    "libc_nonshared.a",
    "libpthread_nonshared.a",
    "libssp_nonshared.a",
    "libasan_preinit.o",
    "libtsan_preinit.o",
    "liblsan_preinit.o",
    "libhwasan_preinit.o",
};

/* Objects and helpers of the compiler and the C library, in their own folders. */
static bool is_toolchain_file(const struct cc_toolchain *tools, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    const char *name = slash + 1;
    bool known = strncmp(name, "libclang_rt.", 12) == 0 || strncmp(name, "clang_rt.", 9) == 0;
    for (size_t i = 0; i < sizeof(own_objects) / sizeof(own_objects[0]) && !known; i++)
        known = strcmp(name, own_objects[i]) == 0;
    for (size_t i = 0; known && i < tools->system_dirs.count; i++) {
        const char *dir = tools->system_dirs.at[i];
        size_t length = strlen(dir);
        if (strncmp(path, dir, length) == 0 && path[length] == '/')
            return true;
    }
    return false;
}

static void refuse(struct cc_inputs *inputs, const char *name, const char *why)
{
    inputs->refused++;
    if (inputs->refused <= NAMED_MAX)
        cc_say("%s: %s", name, why);
    else if (inputs->refused == NAMED_MAX + 1)
        cc_say("… and more");
}

static const char not_ours[] =
    "not compiled by grasp-cc: its functions have no entry checks and keep errno of a thread; "
    "compile it with grasp-cc -c (a library's build usually takes CC=grasp-cc)";

static bool contains(const uint8_t *bytes, size_t size, const char *text)
{
    return memmem(bytes, size, text, strlen(text)) != NULL;
}

static void check_object(struct cc_inputs *inputs, uint8_t *bytes, size_t size, const char *name)
{
    struct cc_elf elf;
    const char *why = cc_elf_open(&elf, bytes, size);
    if (why) {
        refuse(inputs, name, why);
        return;
    }
    const Elf64_Shdr *stack = cc_elf_section(&elf, ".note.GNU-stack");
    if (stack && (stack->sh_flags & SHF_EXECINSTR)) {
        refuse(inputs, name,
               "it asks for an executable stack: nested functions whose address is taken need one, "
               "and no goroutine has one; make the nested function static and hand its variables "
               "over by pointer");
        return;
    }
    if (cc_elf_imports(&elf, SHT_SYMTAB, "__gxx_personality_v0")) {
        refuse(
            inputs, name,
            "it is C++: exceptions and thread-locals of the C++ runtime cannot be carried across "
            "goroutines that change threads; write this part in C");
        return;
    }
    const uint8_t *note = cc_elf_note(&elf, GRI_NOTE_OBJECT, sizeof(uint32_t), NULL);
    uint32_t abi = GR_ABI_VERSION;
    if (note)
        memcpy(&abi, note, sizeof(abi));
    if (!note && !inputs->asm_ok)
        refuse(inputs, name, not_ours);
    else if (abi != GR_ABI_VERSION)
        refuse(inputs, name,
               cc_text("compiled by a grasp-cc of ABI %u, this is ABI %u: compile it again", abi,
                       GR_ABI_VERSION));
}

/*
 * NULL, or what an object or library was built for instead of this machine: the linker would only say that it cannot
 * read it. e_machine stands at one place in files of 32 and of 64 bits.
 */
static const char *other_machine(const struct cc_inputs *inputs, const uint8_t *bytes)
{
    uint16_t machine;
    memcpy(&machine, bytes + offsetof(Elf64_Ehdr, e_machine), sizeof(machine));
    if (machine == inputs->tools->arch->machine)
        return NULL;
    const struct arch_entry *arch = cc_arch_of_machine(machine);
    return cc_text("built for %s, and this grasp-cc builds for %s",
                   arch ? arch->triple : cc_text("another architecture (ELF machine %u)", machine),
                   inputs->tools->arch->triple);
}

/* One file's bytes, or one member's. */
static void check_bytes(struct cc_inputs *inputs, uint8_t *bytes, size_t size, const char *name)
{
    static const uint8_t bitcode[] = {'B', 'C', 0xc0, 0xde};
    static const uint8_t bitcode_wrapped[] = {0xde, 0xc0, 0x17, 0x0b};
    if (size > sizeof(Elf64_Ehdr) && cc_is_elf(bytes, size)) {
        const char *why = other_machine(inputs, bytes);
        if (why)
            refuse(inputs, name, why);
        /* A shared library has no sections that we ask for. */
        else if (((const Elf64_Ehdr *)bytes)->e_type == ET_REL)
            check_object(inputs, bytes, size, name);
    } else if (size > 4 &&
               (memcmp(bytes, bitcode, 4) == 0 || memcmp(bytes, bitcode_wrapped, 4) == 0)) {
        /* The names of bitcode are in one string table, bytes as they are. */
        if (!inputs->asm_ok && !contains(bytes, size, "gr_object_note"))
            refuse(inputs, name, not_ours);
    }
}

/* ---- Archives -------------------------------------------------------------------------------- */

struct archive {
    uint8_t *bytes;
    size_t size;
    bool thin;
    const char *path;
    const char *long_names;
    size_t long_names_size;
};

/* A member's name as a new string: "name/", or "/offset" into the table of long names. */
static const char *member_name(const struct archive *archive, const struct ar_hdr *header)
{
    const char *from = header->ar_name;
    size_t room = sizeof(header->ar_name);
    if (from[0] == '/' && archive->long_names) {
        unsigned long at = strtoul(from + 1, NULL, 10);
        if (at >= archive->long_names_size)
            return "?";
        from = archive->long_names + at;
        room = archive->long_names_size - at;
    }
    size_t length = 0;
    while (length < room && from[length] != '\n' && from[length] != ' ' &&
           !(from[length] == '/' && (length + 1 == room || strchr("\n ", from[length + 1]))))
        length++;
    return cc_text("%.*s", (int)length, from);
}

/* A thin archive names files beside itself. */
static void check_thin_member(struct cc_inputs *inputs, const struct archive *archive,
                              const char *name, const char *shown)
{
    const char *slash = strrchr(archive->path, '/');
    const char *path = name[0] == '/' || !slash
                           ? name
                           : cc_text("%.*s/%s", (int)(slash - archive->path), archive->path, name);
    cc_inputs_check(inputs, path, shown);
}

/* The member at `at`; returns where the next one begins. */
static size_t check_member(struct cc_inputs *inputs, struct archive *archive, size_t at)
{
    const struct ar_hdr *header = (const struct ar_hdr *)(archive->bytes + at);
    char digits[sizeof(header->ar_size) + 1] = {0};
    memcpy(digits, header->ar_size, sizeof(header->ar_size));
    size_t size = strtoul(digits, NULL, 10);
    uint8_t *bytes = archive->bytes + at + sizeof(*header);
    bool table = strncmp(header->ar_name, "// ", 3) == 0;
    bool symbols =
        strncmp(header->ar_name, "/ ", 2) == 0 || strncmp(header->ar_name, "/SYM64/", 7) == 0;
    bool inside = !archive->thin || table || symbols;
    if (inside && size > archive->size - at - sizeof(*header)) {
        refuse(inputs, archive->path, "the archive is cut off");
        return archive->size;
    }
    if (table) {
        archive->long_names = (const char *)bytes;
        archive->long_names_size = size;
    } else if (!symbols) {
        const char *name = member_name(archive, header);
        const char *shown = cc_text("%s(%s)", archive->path, name);
        if (inside) {
            /* Members lie at even offsets; ELF tables want 8. */
            uint8_t *copy = malloc(size + 1);
            if (!copy)
                cc_refuse("out of memory");
            memcpy(copy, bytes, size);
            check_bytes(inputs, copy, size, shown);
            free(copy);
        } else {
            check_thin_member(inputs, archive, name, shown);
        }
    }
    return at + sizeof(*header) + (inside ? (size + 1) & ~(size_t)1 : 0);
}

static void check_archive(struct cc_inputs *inputs, struct archive *archive)
{
    size_t at = SARMAG;
    while (at < archive->size && archive->size - at >= sizeof(struct ar_hdr))
        at = check_member(inputs, archive, at);
}

void cc_inputs_check(struct cc_inputs *inputs, const char *path, const char *alias)
{
    char real[PATH_MAX];
    if (!realpath(path, real)) {
        refuse(inputs, alias ? alias : path, strerror(errno));
        return;
    }
    if (is_toolchain_file(inputs->tools, real))
        return;
    uint8_t *bytes;
    size_t size;
    int result = cc_map(real, false, &bytes, &size);
    if (result != 0) {
        refuse(inputs, alias ? alias : path, strerror(-result));
        return;
    }
    bool thin = size >= SARMAG && memcmp(bytes, "!<thin>\n", SARMAG) == 0;
    if (thin || (size >= SARMAG && memcmp(bytes, ARMAG, SARMAG) == 0)) {
        struct archive archive = {bytes, size, thin, path, NULL, 0};
        check_archive(inputs, &archive);
    } else {
        check_bytes(inputs, bytes, size, alias ? alias : path);
    }
    cc_unmap(bytes, size);
}
