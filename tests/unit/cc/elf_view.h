/*
 * elf_view.h: the tests' own look into a linked file, so that grasp-cc's reading is not tested with
 * itself.
 *
 * For files that were just linked: a damaged one fails an assertion.
 */
#ifndef ELF_VIEW_H
#define ELF_VIEW_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "builtin.h"

struct view {
    uint8_t *bytes;
    size_t size;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *sections;
};

void view_open(struct view *view, const char *path);
void view_close(struct view *view);
/* NULL if there is none. */
const Elf64_Shdr *view_section(const struct view *view, const char *name);
bool view_module_note(const struct view *view, struct gri_module_note *note);
/* Calls fn for each symbol of the table; returns how many. */
typedef void view_symbol_fn(void *arg, const char *name, const Elf64_Sym *symbol);
size_t view_symbols(const struct view *view, const char *table, view_symbol_fn *fn, void *arg);
/* The file's bytes at an address as linked. */
const uint8_t *view_at(const struct view *view, uint64_t address);

#endif
