/*
 * rewrite.c: makes a linked file a module.
 *
 * The linker has left three things: room at the entry of each function, the section
 * __patchable_function_entries with the address of each, and the module object's note. Here the
 * room becomes the check and the note is filled in. The build id stays what the linker computed: it
 * names the inputs, and the same inputs give the same rewritten file.
 *
 * An address in the section is the word in the file, or, with relocations of the kind "load address
 * plus addend", the addend of the one that is applied to the word. An address of 0 belongs to a
 * function that the linker has thrown away.
 *
 * How __gr_slow is found: the module object writes its distance into the note (text_lo, until it is
 * filled in). Rejected: looking it up in .symtab, which is not there in a file linked with -s.
 *
 * Invariants
 *   I1  All entries are verified before the first is written.
 */
#include "grasp_cc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/goroutine.h>

#include "builtin.h"

#define ENTRIES_SECTION   "__patchable_function_entries"
#define NOPREEMPT_SECTION "gr_nopreempt"

struct entries {
    uint64_t *address;
    size_t count;
};

/* What relocations put into the words of [lo, lo + 8 * count). */
static void apply_relocations(const struct cc_elf *elf, uint32_t relative, uint64_t lo,
                              struct entries *entries)
{
    for (size_t i = 1; i < elf->section_count; i++) {
        const Elf64_Shdr *table = &elf->sections[i];
        const uint8_t *bytes = cc_elf_contents(elf, table);
        if (!bytes || table->sh_type != SHT_RELA || !(table->sh_flags & SHF_ALLOC))
            continue;
        for (size_t k = 0; k < table->sh_size / sizeof(Elf64_Rela); k++) {
            Elf64_Rela r;
            memcpy(&r, bytes + k * sizeof(r), sizeof(r));
            uint64_t word = (r.r_offset - lo) / sizeof(uint64_t);
            if (r.r_offset >= lo && word < entries->count && ELF64_R_TYPE(r.r_info) == relative)
                entries->address[word] = (uint64_t)r.r_addend;
        }
    }
}

static int compare_addresses(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The addresses of all entries, ascending, each once; NULL or why not. */
static const char *read_entries(const struct cc_elf *elf, uint32_t relative,
                                struct entries *entries)
{
    const Elf64_Shdr *section = cc_elf_section(elf, ENTRIES_SECTION);
    if (!section || section->sh_size == 0)
        return NULL;
    const uint8_t *bytes = cc_elf_contents(elf, section);
    if (!bytes || section->sh_size % sizeof(uint64_t) != 0)
        return "its section " ENTRIES_SECTION " is damaged";
    entries->count = section->sh_size / sizeof(uint64_t);
    entries->address = malloc(section->sh_size);
    if (!entries->address)
        return "out of memory";
    memcpy(entries->address, bytes, section->sh_size);
    apply_relocations(elf, relative, section->sh_addr, entries);
    qsort(entries->address, entries->count, sizeof(uint64_t), compare_addresses);
    size_t kept = 0;
    for (size_t i = 0; i < entries->count; i++) {
        uint64_t address = entries->address[i];
        /* Functions that the linker folded into one share an address. */
        if (address != 0 && (kept == 0 || entries->address[kept - 1] != address))
            entries->address[kept++] = address;
    }
    entries->count = kept;
    return NULL;
}

static const char *write_checks(const struct cc_elf *elf, const struct arch_entry *arch,
                                const struct entries *entries, uint64_t slow)
{
    uint64_t end = 0;
    for (size_t i = 0; i < entries->count; i++) {
        uint64_t address = entries->address[i];
        const uint8_t *at = cc_elf_at(elf, address, arch->bytes);
        if (!at || address < end)
            return cc_text("entry %zu at 0x%llx is not in the file's code", i,
                           (unsigned long long)address);
        if (!arch->is_room(at))
            return cc_text("the function entry at 0x%llx is not %zu bytes of NOPs: an object was "
                           "compiled with another -fpatchable-function-entry, or another tool has "
                           "changed it",
                           (unsigned long long)address, arch->bytes);
        end = address + arch->bytes;
    }
    for (size_t i = 0; i < entries->count; i++) {
        uint8_t *at = cc_elf_at(elf, entries->address[i], arch->bytes);
        if (!arch->encode(at, entries->address[i], slow))
            return cc_text("the function entry at 0x%llx is too far from __gr_slow: the module is "
                           "larger than a direct call reaches",
                           (unsigned long long)entries->address[i]);
    }
    return NULL;
}

/* What a linked file must not have, whatever its objects were. */
static const char *check_file(const struct cc_elf *elf)
{
    const Elf64_Ehdr *header = elf->header;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(elf->bytes + header->e_phoff);
    bool seen = false;
    for (size_t i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type != PT_GNU_STACK)
            continue;
        seen = true;
        if (segments[i].p_flags & PF_X)
            return "it asks for an executable stack (-z execstack): no goroutine has one";
    }
    if (!seen)
        return "it does not say what stack it needs (no PT_GNU_STACK): link without -z options "
               "that remove it";
    if (cc_elf_imports(elf, SHT_DYNSYM, "__gxx_personality_v0"))
        return "it needs the C++ runtime: exceptions cannot be carried across goroutines that "
               "change threads; grasp-cc builds C only";
    return NULL;
}

static void range_of(const struct cc_elf *elf, const char *name, uint64_t *lo, uint64_t *hi)
{
    const Elf64_Shdr *section = cc_elf_section(elf, name);
    *lo = section ? section->sh_addr : 0;
    *hi = section ? section->sh_addr + section->sh_size : 0;
}

static const char *rewrite(const struct cc_elf *elf, uint32_t flags)
{
    const struct arch_entry *arch = cc_arch_of_machine(elf->header->e_machine);
    if (!arch)
        return cc_text("ELF machine %u is not one that Grasp knows", elf->header->e_machine);
    /* An address that is surely in a segment: cc_elf_at has then checked the program headers. */
    const Elf64_Shdr *section;
    struct gri_module_note note;
    uint8_t *at = cc_elf_note(elf, GRI_NOTE_MODULE, sizeof(note), &section);
    const uint8_t *contents = at ? cc_elf_contents(elf, section) : NULL;
    if (!at || !cc_elf_at(elf, section->sh_addr, section->sh_size))
        return "it has no module note: the linker dropped it (a linker script, or -nostdlib?)";
    const char *why = check_file(elf);
    if (why)
        return why;
    memcpy(&note, at, sizeof(note));
    if (note.abi != GR_ABI_VERSION)
        return cc_text("its module object is of ABI %u, this grasp-cc of ABI %u: install both from "
                       "one build",
                       note.abi, GR_ABI_VERSION);
    if (note.flags & GRI_MODULE_REWRITTEN)
        return "it has been rewritten before";
    uint64_t here =
        section->sh_addr + (uint64_t)(at - contents) + offsetof(struct gri_module_note, text_lo);
    uint64_t slow = here + note.text_lo;

    struct entries entries = {NULL, 0};
    why = read_entries(elf, arch->relative, &entries);
    if (!why)
        why = write_checks(elf, arch, &entries, slow);
    free(entries.address);
    if (why)
        return why;
    note.flags = flags | GRI_MODULE_REWRITTEN;
    note.entry_checks = entries.count;
    range_of(elf, ".text", &note.text_lo, &note.text_hi);
    range_of(elf, NOPREEMPT_SECTION, &note.nopreempt_lo, &note.nopreempt_hi);
    memcpy(at, &note, sizeof(note));
    return NULL;
}

const char *cc_rewrite(const char *path, uint32_t flags)
{
    uint8_t *bytes;
    size_t size;
    int result = cc_map(path, true, &bytes, &size);
    if (result != 0)
        return cc_text("cannot be read back: %s", strerror(-result));
    struct cc_elf elf;
    const char *why = cc_elf_open(&elf, bytes, size);
    if (!why)
        why = rewrite(&elf, flags);
    cc_unmap(bytes, size);
    return why;
}
