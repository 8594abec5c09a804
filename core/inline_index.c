/*
 * inline_index.c: one walk over a compilation unit's tree; see inline_index.h.
 *
 * The walk descends only where code can be: functions, inlined calls, blocks, namespaces and
 * classes. A scope is kept by its DIE offset, 8 bytes; names and call sites are read from libdw
 * when an address is named for the first time. The recursion follows the tree's nesting and is cut
 * at NESTING_MAX, which no compiler comes near, so that a damaged file cannot overflow the stack.
 *
 * Invariants I1 and I2: inline_index.h.
 *
 * Locks: none of its own.
 */
#include "inline_index.h"

#include <dwarf.h>

#define NESTING_MAX 200

static bool tag_is_function(int tag)
{
    return tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
}

static bool tag_may_contain_code(int tag)
{
    switch (tag) {
    case DW_TAG_subprogram:
    case DW_TAG_inlined_subroutine:
    case DW_TAG_lexical_block:
    case DW_TAG_try_block:
    case DW_TAG_catch_block:
    case DW_TAG_namespace:
    case DW_TAG_module:
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
        return true;
    default:
        return false;
    }
}

/* Adds each contiguous piece of a function or inlined call. */
static int unit_add(struct gri_unit *unit, Dwarf_Die *die, unsigned depth)
{
    struct gri_range range = {
        .value = dwarf_dieoffset(die),
        .depth = depth,
        .kind = dwarf_tag(die) == DW_TAG_subprogram ? GRI_UNIT_FUNCTION : GRI_UNIT_INLINED,
    };
    Dwarf_Addr base = 0;
    ptrdiff_t at = 0;
    /* Each turn consumes one entry of the DIE's range list; damaged lists give an error, which ends
     * it too. */
    while ((at = dwarf_ranges(die, at, &base, &range.lo, &range.hi)) > 0) {
        int rc = gri_ranges_add(&unit->functions, &range);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int unit_walk(struct gri_unit *unit, Dwarf_Die *parent, unsigned depth, unsigned nesting)
{
    Dwarf_Die die;
    if (nesting > NESTING_MAX || dwarf_child(parent, &die) != 0)
        return 0;
    /* Bounded by the siblings in the file. */
    do {
        int tag = dwarf_tag(&die);
        if (!tag_may_contain_code(tag))
            continue;
        bool function = tag_is_function(tag);
        int rc = function ? unit_add(unit, &die, depth) : 0;
        if (rc == 0 && dwarf_haschildren(&die) > 0)
            rc = unit_walk(unit, &die, depth + function, nesting + 1);
        if (rc != 0)
            return rc;
    } while (dwarf_siblingof(&die, &die) == 0);
    return 0;
}

int gri_unit_build(struct gri_unit *unit)
{
    if (unit->built)
        return 0;
    int rc = unit_walk(unit, &unit->die, 0, 0);
    if (rc != 0) {
        gri_ranges_fini(&unit->functions);
        return rc;
    }
    gri_ranges_sort(&unit->functions);
    /* Read for every address in the unit anyway (symbols.c, name_line). */
    Dwarf_Lines *lines;
    if (dwarf_getsrclines(&unit->die, &lines, &unit->line_count) != 0)
        unit->line_count = 0;
    unit->built = true;
    return 0;
}

const struct gri_range *gri_unit_scope(const struct gri_unit *unit, uint64_t at,
                                       const struct gri_range *after)
{
    return gri_ranges_covering(&unit->functions, at, after);
}

static bool unit_scope_die(const struct gri_unit *unit, const struct gri_range *scope,
                           Dwarf_Die *die)
{
    Dwarf *dwarf = dwarf_cu_getdwarf(unit->die.cu);
    return dwarf && dwarf_offdie(dwarf, scope->value, die) != NULL;
}

const char *gri_unit_scope_name(const struct gri_unit *unit, const struct gri_range *scope)
{
    Dwarf_Die die;
    /* dwarf_diename follows the abstract origin, where an inlined function's name stands. */
    return unit_scope_die(unit, scope, &die) ? dwarf_diename(&die) : NULL;
}

const char *gri_unit_call_site(const struct gri_unit *unit, const struct gri_range *scope,
                               int *line)
{
    Dwarf_Die die, cu = unit->die;
    Dwarf_Attribute attribute;
    Dwarf_Word number;
    Dwarf_Files *files;
    size_t count;
    *line = 0;
    if (!unit_scope_die(unit, scope, &die))
        return NULL;
    if (dwarf_formudata(dwarf_attr(&die, DW_AT_call_line, &attribute), &number) == 0)
        *line = (int)number;
    if (dwarf_formudata(dwarf_attr(&die, DW_AT_call_file, &attribute), &number) != 0 ||
        dwarf_getsrcfiles(&cu, &files, &count) != 0 || number >= count)
        return NULL;
    return dwarf_filesrc(files, number, NULL, NULL);
}

void gri_unit_fini(struct gri_unit *unit)
{
    gri_ranges_fini(&unit->functions);
    unit->built = false;
}
