/*
 * unwind_rules.h: how to get from one frame to its caller, as the unwind data says it for one address.
 *
 * libdwfl interprets the unwind data anew for each frame of each stack, about 1 µs. Nearly all code has
 * rules of one simple shape: the frame's address is a register plus a number, and each register is
 * unchanged, lost, or saved at a number from there. Such rules are taken out of libdw once for an address
 * and kept with its name (symbol_cache.h); applying them costs some ten nanoseconds, and what comes out is
 * what libdwfl says, since it is the same data. Other rules (expressions: PLT entries, signal trampolines) are
 * marked, and the walk of a stack that meets one is left to libdwfl. Rejected: walking frame pointers, wrong at
 * one instruction in fifteen.
 *
 * Invariants
 *   I1  A simple rule set names every register of the caller that is known: one that is neither listed nor
 *       kept is lost.
 *
 * Locks: none; the inspector's lock (unwind.c) is held by every caller.
 */
#ifndef GRASP_UNWIND_RULES_H
#define GRASP_UNWIND_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <elfutils/libdw.h>

#include "arch.h"

enum gri_caller {
    GRI_CALLER_UNKNOWN, /* there is no unwind data */
    GRI_CALLER_FOUND,   /* it says where the return address is */
    GRI_CALLER_NONE,    /* it says that there is none: the stack ends here */
};

enum gri_rule_kind {
    GRI_RULE_SAVED,    /* the register is in memory at CFA + offset */
    GRI_RULE_VALUE,    /* the register is CFA + offset */
    GRI_RULE_REGISTER, /* the register is in register `offset` */
};

#define GRI_RULES_MAX 20

struct gri_rule {
    uint8_t reg, kind;
    int32_t offset;
};

struct gri_rules {
    uint8_t caller; /* enum gri_caller */
    bool simple;    /* what follows is the whole truth */
    /* These are the rules of the instruction behind the entry check, which has no unwind data of its own. */
    bool in_check;
    bool signal;  /* the caller's pc is an instruction that was interrupted, not a return address */
    uint8_t cfa_reg, return_reg, count;
    int32_t cfa_offset;
    uint64_t kept; /* bit r: register r is the caller's as it is */
    struct gri_rule rule[GRI_RULES_MAX];
};

/* Registers on the way up a stack. */
struct gri_walker {
    uint64_t reg[ARCH_REGS_MAX];
    uint64_t present;
    uint64_t pc;
    bool exact; /* pc is an instruction, not a return address */
};

typedef bool gri_read_fn(uint64_t address, uint64_t *word, void *arg);

/* Takes the rules of a frame out of libdw; NULL: there is no unwind data. */
void gri_rules_make(struct gri_rules *rules, Dwarf_Frame *frame);
/* The bytes of `rules` that are in use. */
size_t gri_rules_bytes(const struct gri_rules *rules);
/* From a frame to its caller, by simple rules with a caller. False: a register or memory is missing. */
bool gri_rules_apply(const struct gri_rules *rules, struct gri_walker *walker, gri_read_fn *read,
                     void *arg);

#endif
