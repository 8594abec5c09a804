/*
 * grasp_cc.h: what the files of grasp-cc share.
 *
 * grasp-cc is a compiler wrapper as mpicc is one. It adds flags, splits "compile and link" into its
 * two steps so that every object can be looked at, lets the real compiler do the work, and then
 * does the one thing that no compiler does: it turns the NOPs at each function's entry into the
 * check that makes the function a safe-point, in the linked file, so that nobody has to write text
 * at run time.
 *
 *   args.c       the command line: what is a source, what an input of the linker, which mode
 *   toolchain.c  where Grasp's files are, which compiler this is, the flags, running a command
 *   elf_file.c   reading ELF with bounds
 *   inputs.c     whether objects and archive members may go into a module
 *   entry.c      the architectures: arch/entry.h says what the NOPs look like and what the check is
 *   rewrite.c    the linked file: checks written, module note filled in
 *   main.c       the modes
 *
 * Rejected: a linker plugin (one for each linker) and a compiler plugin (one for each compiler).
 *
 * Invariants
 *   I1  A file under the name that the user gave with -o is complete: links go to a temporary name.
 *   I2  Nothing is written into an output before every entry of it has been verified.
 *   I3  Every refusal names the file and says what to do; it exits with 1 and leaves no output.
 */
#ifndef GRASP_CC_H
#define GRASP_CC_H

#include <elf.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h"

/* ---- Lists of strings ------------------------------------------------------------------------ */

/* Grows; always followed by a NULL, so that `at` is an argv. Memory is given back by the process's
 * end. */
struct cc_list {
    const char **at;
    size_t count, room;
};
void cc_list_add(struct cc_list *list, const char *text);
void cc_list_add_all(struct cc_list *list, const struct cc_list *more);
/* A formatted string that lives as long as the process. */
char *cc_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "grasp-cc: …" on stderr. cc_refuse also ends the process with 1 and removes temporary files.
 */
void cc_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void cc_refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- Command line (args.c) ------------------------------------------------------------------- */

enum cc_mode {
    CC_PASS,    /* the compiler is asked something, or only preprocesses: hand over */
    CC_COMPILE, /* -c */
    CC_MODULE,  /* links a shared object */
    CC_PROGRAM, /* links an executable */
    CC_PARTIAL, /* -r */
};

enum cc_arg_kind {
    CC_ARG_FLAG,
    CC_ARG_SOURCE,   /* C, to be compiled */
    CC_ARG_ASSEMBLY, /* a source in assembly */
    CC_ARG_LINK,     /* object, archive, library, -l */
    CC_ARG_LANGUAGE, /* -x and its value */
};

struct cc_arg {
    const char *text;
    enum cc_arg_kind kind;
    const char *language; /* of a source: the -x that was in force, or NULL */
};

struct cc_command {
    enum cc_mode mode;
    struct cc_arg *args; /* without -o, -c and what is grasp-cc's own */
    size_t count, room;
    const char *output;   /* NULL: none given */
    const char *language; /* the -x in force while arguments are read */
    size_t sources, inputs;
    bool asm_ok, show;
    bool print_cflags, print_libs, version, help;
    const char *has_assembly;                /* a source in assembly, or NULL */
    bool compile, question, shared, partial; /* flags seen */
    bool position_independent_program;       /* -fPIE was asked for */
    bool depend, depend_file;                /* -MD or -MMD; -MF */
};
void cc_command_parse(struct cc_command *command, int argc, char **argv);

/* ---- Tools (toolchain.c) --------------------------------------------------------------------- */

struct cc_toolchain {
    struct cc_list compiler; /* $GRASP_CC, or the default, with --target= if the user gave one */
    bool is_clang;
    const struct arch_entry *arch;
    const char *include_dir;   /* holds grasp/ */
    const char *library_dir;   /* holds libgrasp.so */
    const char *module_object; /* library_dir/grasp/module.o */
    const char *module_map;
    struct cc_list system_dirs; /* where the compiler looks for its own objects and libraries */
};
void cc_toolchain_find(struct cc_toolchain *tools, const struct cc_command *command);
void cc_toolchain_find_system_dirs(struct cc_toolchain *tools);

/* Flags before the user's, which those override, and after them, which they cannot. */
void cc_flags_before(struct cc_list *argv, const struct cc_toolchain *tools);
void cc_flags_after(struct cc_list *argv, const struct cc_toolchain *tools, bool pie);
void cc_flags_link(struct cc_list *argv, const struct cc_toolchain *tools, enum cc_mode mode);

/* Ignored by grasp-cc, which outlives the compiler to remove temporary files; obeyed by the
 * compiler. */
static const int cc_interrupts[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* Runs argv; its stdout goes to the file `capture` unless that is NULL. Returns its exit code, 128
 * + n for signal n. */
int cc_run(const struct cc_list *argv, const char *capture, bool show);
/* The whole of a small text file, or NULL. */
char *cc_read_text(const char *path);

/* A name for a file in a temporary folder of this process. */
const char *cc_temporary(const char *stem, const char *suffix);
/* Removes `path` too at the end, whichever way that comes. */
void cc_temporary_add(const char *path);
bool cc_is_temporary(const char *path);
void cc_temporaries_remove(void);

/* ---- ELF (elf_file.c) ------------------------------------------------------------------------ */

/* A whole 64-bit little-endian ELF file in memory; every access through these functions is bounded.
 */
struct cc_elf {
    uint8_t *bytes;
    size_t size;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *sections;
    size_t section_count;
    const char *names;
    size_t names_size;
};
/* Maps a file: 0, or a negative errno. write: changes go to the file. An empty file maps to NULL
 * and 0. */
int cc_map(const char *path, bool write, uint8_t **bytes, size_t *size);
void cc_unmap(uint8_t *bytes, size_t size);
bool cc_is_elf(const uint8_t *bytes, size_t size);
/* NULL, or why it cannot be read. */
const char *cc_elf_open(struct cc_elf *elf, uint8_t *bytes, size_t size);
const char *cc_elf_section_name(const struct cc_elf *elf, const Elf64_Shdr *section);
const Elf64_Shdr *cc_elf_section(const struct cc_elf *elf, const char *name);
/* The section's bytes, or NULL if it has none in the file. */
uint8_t *cc_elf_contents(const struct cc_elf *elf, const Elf64_Shdr *section);
/* The file's bytes for [address, address + size) as loaded, or NULL. */
uint8_t *cc_elf_at(const struct cc_elf *elf, uint64_t address, size_t size);
/* Whether the symbol table of `type` (SHT_SYMTAB, SHT_DYNSYM) names `symbol` as undefined. */
bool cc_elf_imports(const struct cc_elf *elf, uint32_t type, const char *symbol);
/* The descriptor of Grasp's note of `type`, at least `size` bytes, with its section in *section; or
 * NULL. */
uint8_t *cc_elf_note(const struct cc_elf *elf, uint32_t type, size_t size,
                     const Elf64_Shdr **section);

/* ---- Inputs (inputs.c) ----------------------------------------------------------------------- */

struct cc_inputs {
    const struct cc_toolchain *tools;
    bool asm_ok;
    unsigned refused;
};
/* Says on stderr what is wrong with the file, if anything; counts it in `refused`. `alias`: how to
 * call it, or NULL. */
void cc_inputs_check(struct cc_inputs *inputs, const char *path, const char *alias);

/* ---- Architectures (entry.c) ----------------------------------------------------------------- */

/* NULL: not one that Grasp runs on. */
const struct arch_entry *cc_arch_of_machine(uint16_t machine);
const struct arch_entry *cc_arch_of_triple(const char *triple);

/* ---- The linked file (rewrite.c) ------------------------------------------------------------- */

/* Makes `path` a module: NULL, or why it can't be one. `flags`: GRI_MODULE_…, without REWRITTEN. */
const char *cc_rewrite(const char *path, uint32_t flags);

#endif
