/*
 * symbols.c: names for the addresses of one loaded ELF file; see symbols.h.
 *
 * Addresses come in as they are in memory. libdw knows two others: symbols are handed out with the
 * load bias applied, DWARF without it; `dwarf_bias` is the difference. The symbol index keeps
 * pointers into the string table that libelf has mapped, and interns a name when it is first asked
 * for.
 *
 * Of several symbols at one address the one that says most wins: with a size before without,
 * function before label, global before local, few leading underscores before many. Symbols without
 * a size (labels in assembly) reach to the next symbol, and serve only where no sized one covers
 * the address.
 *
 * Invariants
 *   I1, I2  symbols.h.
 *   I3      The value of a range in `index` is a symbol's name, of one in `unit_ranges` an index
 *           into `units`.
 *
 * Locks: none of its own.
 */
#include "symbols.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inline_index.h"
#include "symbol_ranges.h"
#include "symbol_strings.h"

#define LINE_BYTES 40 /* of libdw's, a row of a line table */

enum symbol_kind { SYMBOL_UNSIZED, SYMBOL_SIZED };

struct gri_symbols {
    Dwfl_Module *module;
    uint64_t lo, hi; /* where it is loaded */
    bool indexed, units_listed;
    struct gri_ranges index;
    struct gri_ranges unit_ranges;
    struct gri_unit *units;
    size_t unit_count, unit_capacity;
    Dwarf_Addr dwarf_bias;
};

struct gri_symbols *gri_symbols_create(Dwfl_Module *module)
{
    struct gri_symbols *symbols = calloc(1, sizeof *symbols);
    if (!symbols)
        return NULL;
    symbols->module = module;
    dwfl_module_info(module, NULL, &symbols->lo, &symbols->hi, NULL, NULL, NULL, NULL);
    return symbols;
}

static void units_forget(struct gri_symbols *symbols)
{
    for (size_t i = 0; i < symbols->unit_count; i++)
        gri_unit_fini(&symbols->units[i]);
    free(symbols->units);
    symbols->units = NULL;
    symbols->unit_count = symbols->unit_capacity = 0;
    gri_ranges_fini(&symbols->unit_ranges);
}

void gri_symbols_destroy(struct gri_symbols *symbols)
{
    if (!symbols)
        return;
    units_forget(symbols);
    gri_ranges_fini(&symbols->index);
    free(symbols);
}

/* ---- The symbol index ------------------------------------------------------------------------ */

/* Labels count only in code: data has labels too. */
static bool symbol_is_code(const GElf_Sym *symbol, GElf_Word section, Elf *elf)
{
    int type = GELF_ST_TYPE(symbol->st_info);
    GElf_Shdr header;
    if (section == SHN_UNDEF)
        return false;
    if (type == STT_FUNC || type == STT_GNU_IFUNC)
        return true;
    Elf_Scn *scn = type == STT_NOTYPE && elf ? elf_getscn(elf, section) : NULL;
    return scn && gelf_getshdr(scn, &header) && (header.sh_flags & SHF_EXECINSTR);
}

/* Of two symbols at one place the one with the higher rank is shown. */
static uint32_t symbol_rank(const GElf_Sym *symbol, const char *name)
{
    static const uint32_t by_binding[] = {[STB_LOCAL] = 0, [STB_GLOBAL] = 2, [STB_WEAK] = 1};
    unsigned binding = GELF_ST_BIND(symbol->st_info);
    uint32_t underscores = (uint32_t)strspn(name, "_");
    return (GELF_ST_TYPE(symbol->st_info) != STT_NOTYPE ? 64 : 0) +
           (binding <= STB_WEAK ? by_binding[binding] : 0) * 16 +
           (underscores < 15 ? 15 - underscores : 0);
}

static int symbols_add(struct gri_symbols *symbols, int number)
{
    GElf_Sym symbol;
    GElf_Addr address;
    GElf_Word section;
    Elf *elf;
    const char *name =
        dwfl_module_getsym_info(symbols->module, number, &symbol, &address, &section, &elf, NULL);
    /* '$' begins the arm64 mapping symbols, which tell code from data and name nothing. */
    if (!name || !*name || *name == '$' || !symbol_is_code(&symbol, section, elf) ||
        address < symbols->lo || address >= symbols->hi)
        return 0;
    struct gri_range range = {
        .lo = address,
        .hi = symbol.st_size ? address + symbol.st_size : symbols->hi,
        .value = (uintptr_t)name,
        .depth = symbol_rank(&symbol, name),
        .kind = symbol.st_size ? SYMBOL_SIZED : SYMBOL_UNSIZED,
    };
    return gri_ranges_add(&symbols->index, &range);
}

/* A label reaches to whatever begins next, which is known once all are sorted. */
static void symbols_end_labels(struct gri_ranges *index, uint64_t next)
{
    for (size_t i = index->count; i-- > 0;) {
        if (i + 1 < index->count && index->item[i + 1].lo > index->item[i].lo)
            next = index->item[i + 1].lo;
        if (index->item[i].kind == SYMBOL_UNSIZED)
            index->item[i].hi = next;
    }
    gri_ranges_sort(index);
}

static int symbols_index(struct gri_symbols *symbols)
{
    if (symbols->indexed)
        return 0;
    int count = dwfl_module_getsymtab(symbols->module);
    for (int i = 1; i < count; i++) {
        int rc = symbols_add(symbols, i);
        if (rc != 0) {
            gri_ranges_fini(&symbols->index);
            return rc;
        }
    }
    gri_ranges_sort(&symbols->index);
    symbols_end_labels(&symbols->index, symbols->hi);
    symbols->indexed = true;
    return 0;
}

/* The symbol at pc, or NULL: the innermost with a size, else the nearest label. */
static const struct gri_range *symbols_find(struct gri_symbols *symbols, uint64_t pc)
{
    const struct gri_range *label = NULL, *at = NULL;
    while ((at = gri_ranges_covering(&symbols->index, pc, at)) != NULL) {
        if (at->kind == SYMBOL_SIZED)
            return at;
        if (!label)
            label = at;
    }
    return label;
}

/* ---- Compilation units ----------------------------------------------------------------------- */

static int units_add(struct gri_symbols *symbols, Dwarf_Die *die)
{
    struct gri_range range = {.value = symbols->unit_count};
    Dwarf_Addr base = 0;
    ptrdiff_t at = 0;
    if (symbols->unit_count == symbols->unit_capacity) {
        size_t capacity = symbols->unit_capacity ? symbols->unit_capacity * 2 : 16;
        struct gri_unit *units = reallocarray(symbols->units, capacity, sizeof *units);
        if (!units)
            return -ENOMEM;
        symbols->units = units;
        symbols->unit_capacity = capacity;
    }
    size_t before = symbols->unit_ranges.count;
    while ((at = dwarf_ranges(die, at, &base, &range.lo, &range.hi)) > 0) {
        int rc = gri_ranges_add(&symbols->unit_ranges, &range);
        if (rc != 0)
            return rc;
    }
    if (symbols->unit_ranges.count > before)
        symbols->units[symbols->unit_count++] = (struct gri_unit){.die = *die};
    return 0;
}

static int units_list(struct gri_symbols *symbols)
{
    if (symbols->units_listed)
        return 0;
    Dwarf_Die *die = NULL;
    while ((die = dwfl_module_nextcu(symbols->module, die, &symbols->dwarf_bias)) != NULL) {
        int rc = units_add(symbols, die);
        if (rc != 0) {
            units_forget(symbols);
            return rc;
        }
    }
    gri_ranges_sort(&symbols->unit_ranges);
    symbols->units_listed = true;
    return 0;
}

/* ---- Naming ---------------------------------------------------------------------------------- */

static void name_line(struct gri_unit *unit, uint64_t at, struct gri_name *name)
{
    Dwarf_Die die = unit->die;
    Dwarf_Line *line = dwarf_getsrc_die(&die, at);
    if (!line)
        return;
    name->file = gri_intern(dwarf_linesrc(line, NULL, NULL));
    if (dwarf_lineno(line, &name->line) != 0)
        name->line = 0;
}

/*
 * The inlined calls around `at`, innermost first, and last the function that they were inlined
 * into. Each call gives the next one its place. *function is that last scope, NULL if DWARF has
 * none.
 */
static int names_from_unit(struct gri_unit *unit, uint64_t at, struct gri_name *names, size_t max,
                           const struct gri_range **function)
{
    size_t count = 1;
    const struct gri_range *scope = NULL;
    name_line(unit, at, &names[0]);
    while ((scope = gri_unit_scope(unit, at, scope)) != NULL) {
        struct gri_name *name = &names[count - 1];
        name->function = gri_intern(gri_unit_scope_name(unit, scope));
        if (scope->kind == GRI_UNIT_FUNCTION) {
            *function = scope;
            break;
        }
        /* With no room for another, the outer call takes the place of the one before it. */
        if (count < max)
            count++;
        name = &names[count - 1];
        *name = (struct gri_name){0};
        name->file = gri_intern(gri_unit_call_site(unit, scope, &name->line));
    }
    return (int)count;
}

int gri_symbols_name(struct gri_symbols *symbols, uint64_t pc, struct gri_name *names, size_t max,
                     uint64_t *start)
{
    int rc = symbols_index(symbols);
    if (rc == 0)
        rc = units_list(symbols);
    if (rc != 0)
        return rc;
    int count = 1;
    const struct gri_range *function = NULL;
    const struct gri_range *unit_range =
        gri_ranges_covering(&symbols->unit_ranges, pc - symbols->dwarf_bias, NULL);
    memset(names, 0, max * sizeof *names);
    *start = symbols->lo;
    if (unit_range) {
        struct gri_unit *unit = &symbols->units[unit_range->value];
        rc = gri_unit_build(unit);
        if (rc != 0)
            return rc;
        count = names_from_unit(unit, pc - symbols->dwarf_bias, names, max, &function);
        if (function)
            *start = function->lo + symbols->dwarf_bias;
    }
    /* The symbol's name tells foo from foo.cold and foo.constprop.0, and its start is the
     * function's. */
    const struct gri_range *symbol = symbols_find(symbols, pc);
    if (symbol) {
        names[count - 1].function = gri_intern((const char *)(uintptr_t)symbol->value);
        *start = symbol->lo;
    }
    return count;
}

static Dwarf_Frame *cfi_frame(Dwarf_CFI *cfi, uint64_t at)
{
    Dwarf_Frame *frame = NULL;
    return cfi && dwarf_cfi_addrframe(cfi, at, &frame) == 0 ? frame : NULL;
}

void gri_symbols_rules(struct gri_symbols *symbols, uint64_t pc, struct gri_rules *rules)
{
    Dwarf_Addr bias = 0;
    Dwarf_CFI *cfi = dwfl_module_eh_cfi(symbols->module, &bias);
    Dwarf_Frame *frame = cfi_frame(cfi, pc - bias);
    if (!frame) {
        cfi = dwfl_module_dwarf_cfi(symbols->module, &bias);
        frame = cfi_frame(cfi, pc - bias);
    }
    gri_rules_make(rules, frame);
    free(frame);
}

size_t gri_symbols_bytes(const struct gri_symbols *symbols)
{
    size_t bytes = sizeof *symbols + gri_ranges_bytes(&symbols->index) +
                   gri_ranges_bytes(&symbols->unit_ranges) +
                   symbols->unit_capacity * sizeof *symbols->units;
    for (size_t i = 0; i < symbols->unit_count; i++)
        bytes += gri_ranges_bytes(&symbols->units[i].functions) +
                 symbols->units[i].line_count * LINE_BYTES;
    return bytes;
}
