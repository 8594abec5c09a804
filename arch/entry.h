/*
 * entry.h: the check at a function's entry, as bytes: what grasp-cc writes and the loader verifies.
 *
 * The compiler leaves NOPs at each function's entry (-fpatchable-function-entry), after the landing pad if
 * there is one; grasp-cc turns them into the check in the linked file. Each architecture folder has one
 * entry.c that says how, in plain C without that architecture's instructions: grasp-cc takes all of them, since it
 * may run on another machine than the one that it builds for; the runtime takes its own.
 *
 * Rejected: assuming that what __patchable_function_entries names is room. A file that another tool has
 * rewritten would be destroyed silently; so is_room looks.
 */
#ifndef GRASP_ARCH_ENTRY_H
#define GRASP_ARCH_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arch_entry {
    const char *triple;         /* what the compiler's machine starts with */
    uint16_t machine;           /* e_machine */
    uint32_t relative;          /* the relocation "load address plus addend" */
    const char *patchable_flag; /* how the compiler leaves room */
    const char *default_flag;   /* one more, which the user's may override; NULL: none */
    size_t bytes;               /* that room */
    /* Whether `at` is exactly that room: NOPs that end where it ends. */
    bool (*is_room)(const uint8_t *at);
    /* Writes the check that is loaded at `address` and calls `slow`. False: out of reach. */
    bool (*encode)(uint8_t *at, uint64_t address, uint64_t slow);
    /* Whether the bytes at `at` are a check, whatever its slow path's address. */
    bool (*is_check)(const uint8_t *at);
};
extern const struct arch_entry arch_entry_x86_64, arch_entry_arm64;

#endif
