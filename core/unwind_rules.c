/*
 * unwind_rules.c: simple unwind rules taken out of libdw, and applied; see unwind_rules.h.
 *
 * libdw answers with small DWARF expressions, of which these shapes count as simple (libdw.h, dwarf_frame_cfa
 * and dwarf_frame_register):
 *
 *     CFA        bregx R N, or bregR N
 *     saved      call_frame_cfa [plus_uconst N]
 *     value      call_frame_cfa [plus_uconst N] stack_value
 *     register   regx R, or regR
 *     unchanged  no operations, no place for them
 *     lost       no operations
 *
 * Invariant I1: unwind_rules.h.
 *
 * Locks: none of its own.
 */
#include "unwind_rules.h"

#include <dwarf.h>
#include <string.h>

static bool fits_offset(uint64_t word, int32_t *offset)
{
    *offset = (int32_t)word;
    return (uint64_t)(int64_t)*offset == word;
}

static bool cfa_is_simple(struct gri_rules *rules, Dwarf_Frame *frame)
{
    Dwarf_Op *ops;
    size_t count;
    uint64_t reg, offset;
    if (dwarf_frame_cfa(frame, &ops, &count) != 0 || count != 1)
        return false;
    if (ops->atom == DW_OP_bregx) {
        reg = ops->number;
        offset = ops->number2;
    } else if (ops->atom >= DW_OP_breg0 && ops->atom <= DW_OP_breg31) {
        reg = (uint64_t)(ops->atom - DW_OP_breg0);
        offset = ops->number;
    } else {
        return false;
    }
    rules->cfa_reg = (uint8_t)reg;
    return reg < arch_dwarf_regs && fits_offset(offset, &rules->cfa_offset);
}

/* One register's rule from its operations. False: it is no simple one. */
static bool rule_from_ops(struct gri_rule *rule, const Dwarf_Op *ops, size_t count)
{
    uint64_t offset = 0;
    size_t at = 1;
    rule->kind = GRI_RULE_REGISTER;
    if (count == 1 && ops->atom == DW_OP_regx)
        return ops->number < arch_dwarf_regs && fits_offset(ops->number, &rule->offset);
    if (count == 1 && ops->atom >= DW_OP_reg0 && ops->atom <= DW_OP_reg31) {
        rule->offset = ops->atom - DW_OP_reg0;
        return (unsigned)rule->offset < arch_dwarf_regs;
    }
    if (ops->atom != DW_OP_call_frame_cfa)
        return false;
    if (at < count && ops[at].atom == DW_OP_plus_uconst)
        offset = ops[at++].number;
    rule->kind = GRI_RULE_SAVED;
    if (at < count && ops[at].atom == DW_OP_stack_value) {
        rule->kind = GRI_RULE_VALUE;
        at++;
    }
    return at == count && fits_offset(offset, &rule->offset);
}

static bool register_is_simple(struct gri_rules *rules, Dwarf_Frame *frame, unsigned reg)
{
    Dwarf_Op room[3], *ops;
    size_t count;
    struct gri_rule rule = {.reg = (uint8_t)reg};
    if (dwarf_frame_register(frame, (int)reg, room, &ops, &count) != 0)
        return false;
    if (count == 0) {
        if (ops == NULL)
            rules->kept |= (uint64_t)1 << reg;
        return true;
    }
    if (rules->count == GRI_RULES_MAX || !rule_from_ops(&rule, ops, count))
        return false;
    rules->rule[rules->count++] = rule;
    return true;
}

void gri_rules_make(struct gri_rules *rules, Dwarf_Frame *frame)
{
    Dwarf_Op room[3], *ops;
    size_t count;
    memset(rules, 0, sizeof *rules);
    rules->caller = GRI_CALLER_UNKNOWN;
    if (!frame)
        return;
    int reg = dwarf_frame_info(frame, NULL, NULL, &rules->signal);
    /* No operations, in the room given: that is how libdw says "undefined". */
    bool none = reg >= 0 && dwarf_frame_register(frame, reg, room, &ops, &count) == 0 &&
                count == 0 && ops == room;
    rules->caller = none ? GRI_CALLER_NONE : GRI_CALLER_FOUND;
    rules->return_reg = (uint8_t)reg;
    rules->simple = reg >= 0 && (unsigned)reg < arch_dwarf_regs && cfa_is_simple(rules, frame);
    for (unsigned i = 0; i < arch_dwarf_regs && rules->simple; i++)
        rules->simple = register_is_simple(rules, frame, i);
    if (!rules->simple)
        rules->count = 0;
}

size_t gri_rules_bytes(const struct gri_rules *rules)
{
    return offsetof(struct gri_rules, rule) + rules->count * sizeof rules->rule[0];
}

static bool has(const struct gri_walker *walker, unsigned reg)
{
    return walker->present >> reg & 1;
}

bool gri_rules_apply(const struct gri_rules *rules, struct gri_walker *walker, gri_read_fn *read,
                     void *arg)
{
    uint64_t value[GRI_RULES_MAX], present = walker->present & rules->kept;
    if (!has(walker, rules->cfa_reg))
        return false;
    uint64_t cfa = walker->reg[rules->cfa_reg] + (uint64_t)(int64_t)rules->cfa_offset;
    for (unsigned i = 0; i < rules->count; i++) {
        const struct gri_rule *rule = &rules->rule[i];
        bool known = true;
        value[i] = cfa + (uint64_t)(int64_t)rule->offset;
        if (rule->kind == GRI_RULE_SAVED) {
            known = read(value[i], &value[i], arg);
        } else if (rule->kind == GRI_RULE_REGISTER) {
            known = has(walker, (unsigned)rule->offset);
            value[i] = walker->reg[rule->offset];
        }
        present |= (uint64_t)known << rule->reg;
    }
    /* Only now: a rule may need what another one replaces. */
    for (unsigned i = 0; i < rules->count; i++)
        walker->reg[rules->rule[i].reg] = value[i];
    walker->present = present;
    walker->pc = walker->reg[rules->return_reg];
    walker->exact = rules->signal;
    return has(walker, rules->return_reg);
}
