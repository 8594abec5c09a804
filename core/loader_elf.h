/*
 * loader_elf.h: an ELF file as untrusted bytes.
 *
 * The file is read into memory and looked at before the dynamic linker may: every offset, size and
 * index in it is checked where it is used, and loops are bounded by the file's size. Rejected:
 * mapping it (a file that is cut short meanwhile raises SIGBUS), libelf (it does not check symbol
 * and version indexes).
 *
 * Invariants
 *   E1  No byte outside [bytes, bytes + size) is read.
 *   E2  Structures are copied out, since a file's offsets may be misaligned.
 * No locks: a gri_elf belongs to one thread.
 */
#ifndef GRASP_LOADER_ELF_H
#define GRASP_LOADER_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define GRI_ELF_SEGMENTS_MAX 64

struct gri_elf {
    uint8_t *bytes;
    size_t size;
    struct stat stat; /* of the file that was read */
    Elf64_Ehdr header;
    Elf64_Phdr segment[GRI_ELF_SEGMENTS_MAX];
    unsigned segments;
    /* Of the dynamic section; 0 if absent. Virtual addresses and sizes. */
    bool has_dynamic;
    uint64_t symbols, strings, strings_bytes;
    uint64_t versions, needs, needs_count;
    uint64_t rela, rela_bytes, plt, plt_bytes;
    bool plt_is_rela, has_rel, text_relocations;
    uint64_t soname;
    bool has_soname;
};

/* Reads and parses. 0; -errno of opening or reading; -ENOEXEC: not a sound ELF file of 64 bits; err
 * gets a sentence. */
int gri_elf_open(struct gri_elf *elf, const char *path, char *err);
void gri_elf_close(struct gri_elf *elf);

/* `bytes` bytes of the file at an offset, or at a virtual address; NULL if they are not all there.
 */
const void *gri_elf_at_offset(const struct gri_elf *elf, uint64_t offset, uint64_t bytes);
const void *gri_elf_at(const struct gri_elf *elf, uint64_t address, uint64_t bytes);
/* A terminated string of the dynamic string table, or NULL. */
const char *gri_elf_string(const struct gri_elf *elf, uint64_t offset);
/* The first segment of a type, or NULL. */
const Elf64_Phdr *gri_elf_segment(const struct gri_elf *elf, uint32_t type);
/* Whether [lo, hi) lies in one loadable segment with these flags. */
bool gri_elf_in_segment(const struct gri_elf *elf, uint64_t lo, uint64_t hi, uint32_t flags);

/* The description of a note, or NULL. */
const void *gri_elf_note(const struct gri_elf *elf, const char *name, uint32_t type, size_t *bytes);

/* One relocation against a symbol. */
struct gri_elf_import {
    uint64_t offset; /* virtual address of the word */
    int64_t addend;
    uint32_t type;  /* of the relocation: arch_reloc_kind knows it */
    uint32_t index; /* of the symbol */
    const char *name;
    bool undefined, weak;
    unsigned char kind;  /* STT_… */
    const char *library; /* of its version, or NULL */
    const char *version; /* or NULL */
};
/* Calls fn for each relocation that names a symbol; stops when it returns not 0 and returns that.
 * -ENOEXEC: corrupt. */
typedef int gri_elf_import_fn(void *arg, const struct gri_elf_import *import);
int gri_elf_each_import(const struct gri_elf *elf, gri_elf_import_fn *fn, void *arg);

/* Calls fn for each DT_NEEDED name; the same results. */
typedef int gri_elf_needed_fn(void *arg, const char *name);
int gri_elf_each_needed(const struct gri_elf *elf, gri_elf_needed_fn *fn, void *arg);

#endif
