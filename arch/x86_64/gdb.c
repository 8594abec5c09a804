/*
 * gdb.c: the registers as gdb wants to see them: a description in XML, and values in its order.
 *
 * One walk names every register with its feature, type and source; the description and the values are
 * both made by it, so that they can't come apart. gdb splits a vector register: xmm3 is its low 16 bytes,
 * ymm3h the next 16, zmm3h the upper 32. What was not saved at a stop is marked so, never given as 0.
 */
#include "arch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "frames.h"

/* What arch_vectors_each tells, by place. */
struct vectors {
    uint8_t zmm[32][64], k[8][8], st[8][10];
    uint8_t fcw[4], fsw[4], mxcsr[4];
};

/* The same for every goroutine: selectors of a 64-bit process on Linux; no system call to restart. */
struct constants {
    uint32_t cs, ss, zero, unused;
    uint64_t orig_rax;
};
static const struct constants constants = {0x33, 0x2b, 0, 0, UINT64_MAX};

enum source { GENERAL, VECTOR, CONSTANT, NOWHERE };

struct place {
    const char *feature, *type, *group;
    char name[12];
    unsigned bytes;
    enum source source;
    size_t at; /* GENERAL: the number of arch_regs; else an offset */
};
typedef void place_fn(void *arg, const struct place *place);

/* ---- The walk ------------------------------------------------------------------------------------ */

struct walk {
    place_fn *fn;
    void *arg;
    const char *feature;
};

static void one(struct walk *walk, const char *type, const char *group, unsigned bytes,
                enum source source, size_t at, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
static void one(struct walk *walk, const char *type, const char *group, unsigned bytes,
                enum source source, size_t at, const char *format, ...)
{
    struct place place = {.feature = walk->feature,
                          .type = type,
                          .group = group,
                          .bytes = bytes,
                          .source = source,
                          .at = at};
    va_list args;

    va_start(args, format);
    vsnprintf(place.name, sizeof place.name, format, args);
    va_end(args);
    walk->fn(walk->arg, &place);
}

static void walk_core(struct walk *walk)
{
    /* gdb's order, with DWARF's numbers. */
    static const struct {
        const char *name, *type;
        unsigned number;
    } general[] = {{"rax", "int64", 0},    {"rbx", "int64", 3},    {"rcx", "int64", 2},
                   {"rdx", "int64", 1},    {"rsi", "int64", 4},    {"rdi", "int64", 5},
                   {"rbp", "data_ptr", 6}, {"rsp", "data_ptr", 7}, {"r8", "int64", 8},
                   {"r9", "int64", 9},     {"r10", "int64", 10},   {"r11", "int64", 11},
                   {"r12", "int64", 12},   {"r13", "int64", 13},   {"r14", "int64", 14},
                   {"r15", "int64", 15},   {"rip", "code_ptr", 16}};
    static const char *const segments[] = {"cs", "ss", "ds", "es", "fs", "gs"};
    static const char *const unsaved[] = {"ftag", "fiseg", "fioff", "foseg", "fooff", "fop"};

    walk->feature = "org.gnu.gdb.i386.core";
    for (unsigned i = 0; i < sizeof general / sizeof general[0]; i++)
        one(walk, general[i].type, "general", 8, GENERAL, general[i].number, "%s", general[i].name);
    one(walk, "i386_eflags", "general", 4, GENERAL, 17, "eflags");
    for (unsigned i = 0; i < 6; i++)
        one(walk, "int32", "general", 4, CONSTANT,
            i == 0   ? offsetof(struct constants, cs)
            : i == 1 ? offsetof(struct constants, ss)
                     : offsetof(struct constants, zero),
            "%s", segments[i]);
    for (unsigned i = 0; i < 8; i++)
        one(walk, "i387_ext", "float", 10, VECTOR, offsetof(struct vectors, st) + 10 * i, "st%u",
            i);
    one(walk, "int", "float", 4, VECTOR, offsetof(struct vectors, fcw), "fctrl");
    one(walk, "int", "float", 4, VECTOR, offsetof(struct vectors, fsw), "fstat");
    for (unsigned i = 0; i < 6; i++)
        one(walk, "int", "float", 4, NOWHERE, 0, "%s", unsaved[i]);
}

/* Bytes [from, from + bytes) of vector registers first … first + 15, each named as gdb names that part. */
static void walk_parts(struct walk *walk, const char *type, char letter, const char *suffix,
                       unsigned first, unsigned from, unsigned bytes)
{
    for (unsigned i = first; i < first + 16; i++)
        one(walk, type, "vector", bytes, VECTOR, offsetof(struct vectors, zmm) + 64 * i + from,
            "%cmm%u%s", letter, i, suffix);
}

static void walk_vectors(struct walk *walk)
{
    bool extended = arch_vector_how != SAVE_FXSAVE;

    walk->feature = "org.gnu.gdb.i386.sse";
    walk_parts(walk, "vec128", 'x', "", 0, 0, 16);
    one(walk, "int32", "vector", 4, VECTOR, offsetof(struct vectors, mxcsr), "mxcsr");
    if (!extended || !(arch_vector_mask & XCR0_AVX))
        return;
    walk->feature = "org.gnu.gdb.i386.avx";
    walk_parts(walk, "uint128", 'y', "h", 0, 16, 16);
    if (!(arch_vector_mask & XCR0_ZMM_HIGH) || !(arch_vector_mask & XCR0_ZMM_UPPER))
        return;
    walk->feature = "org.gnu.gdb.i386.avx512";
    for (unsigned i = 0; i < 8; i++)
        one(walk, "uint64", "vector", 8, VECTOR, offsetof(struct vectors, k) + 8 * i, "k%u", i);
    walk_parts(walk, "v2ui128", 'z', "h", 0, 32, 32);
    walk_parts(walk, "vec128", 'x', "", 16, 0, 16);
    walk_parts(walk, "uint128", 'y', "h", 16, 16, 16);
    walk_parts(walk, "v2ui128", 'z', "h", 16, 32, 32);
}

/* ---- The description ----------------------------------------------------------------------------- */

struct text {
    char *out;
    size_t room, length;
    const char *feature;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *text, const char *format, ...)
{
    size_t left = text->room > text->length ? text->room - text->length : 0;
    va_list args;

    va_start(args, format);
    text->length += (size_t)vsnprintf(left ? text->out + text->length : NULL, left, format, args);
    va_end(args);
}

/* Types are known inside their feature only. */
static void add_types(struct text *text)
{
    if (strcmp(text->feature, "org.gnu.gdb.i386.core") == 0)
        add(text,
            "<flags id=\"i386_eflags\" size=\"4\"><field name=\"CF\" start=\"0\" end=\"0\"/>"
            "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
            "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
            "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
            "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" "
            "end=\"11\"/></flags>");
    else if (strcmp(text->feature, "org.gnu.gdb.i386.sse") == 0 ||
             strcmp(text->feature, "org.gnu.gdb.i386.avx512") == 0)
        add(text,
            "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
            "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
            "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
            "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
            "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
            "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
            "<vector id=\"v2ui128\" type=\"uint128\" count=\"2\"/>"
            "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
            "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
            "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
            "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" "
            "type=\"uint128\"/></union>");
}

static void describe(void *arg, const struct place *place)
{
    struct text *text = arg;

    if (text->feature != place->feature) {
        add(text, "%s<feature name=\"%s\">", text->feature ? "</feature>" : "", place->feature);
        text->feature = place->feature;
        add_types(text);
    }
    add(text, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" group=\"%s\"/>", place->name,
        8 * place->bytes, place->type, place->group);
}

static void walk_all(place_fn *fn, void *arg)
{
    struct walk walk = {fn, arg, NULL};

    walk_core(&walk);
    walk_vectors(&walk);
    /* Without it gdb does not take this for Linux, and looks for no shared objects. */
    walk.feature = "org.gnu.gdb.i386.linux";
    one(&walk, "int64", "system", 8, CONSTANT, offsetof(struct constants, orig_rax), "orig_rax");
}

size_t arch_gdb_description(char *out, size_t bytes)
{
    struct text text = {out, bytes, 0, NULL};

    add(&text,
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">"
        "<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>");
    walk_all(describe, &text);
    add(&text, "</feature></target>");
    return text.length;
}

/* ---- The values ---------------------------------------------------------------------------------- */

struct values {
    const struct arch_regs *regs;
    const struct vectors *vectors; /* NULL: not saved */
    uint8_t *bytes, *valid;
    size_t size;
};

static void fill(void *arg, const struct place *place)
{
    struct values *values = arg;
    const void *from = NULL;

    if (place->source == GENERAL && values->regs->present >> place->at & 1)
        from = &values->regs->value[place->at];
    else if (place->source == CONSTANT)
        from = (const uint8_t *)&constants + place->at;
    else if (place->source == VECTOR && values->vectors)
        from = (const uint8_t *)values->vectors + place->at;
    memset(values->valid + values->size, from != NULL, place->bytes);
    if (from)
        memcpy(values->bytes + values->size, from, place->bytes);
    else
        memset(values->bytes + values->size, 0, place->bytes);
    values->size += place->bytes;
}

/* "zmm3", "k2", "st0", "fcw" … into its place; the narrower registers are the low bytes of the wide ones. */
static void collect(void *arg, const char *name, const void *bytes, size_t size)
{
    struct vectors *v = arg;
    unsigned index;
    uint8_t *to = NULL;

    if (strncmp(name + 1, "mm", 2) == 0 && (index = (unsigned)atoi(name + 3)) < 32 && size <= 64)
        to = v->zmm[index];
    else if (name[0] == 'k' && (index = (unsigned)atoi(name + 1)) < 8 && size <= 8)
        to = v->k[index];
    else if (strncmp(name, "st", 2) == 0 && (index = (unsigned)atoi(name + 2)) < 8 && size <= 10)
        to = v->st[index];
    else if (strcmp(name, "fcw") == 0)
        to = v->fcw;
    else if (strcmp(name, "fsw") == 0)
        to = v->fsw;
    else if (strcmp(name, "mxcsr") == 0)
        to = v->mxcsr;
    if (to)
        memcpy(to, bytes, size);
}

size_t arch_gdb_registers(const struct arch_regs *regs, const void *area, uint8_t *bytes,
                          uint8_t *valid)
{
    struct vectors vectors = {0};
    struct values values = {regs, area ? &vectors : NULL, bytes, valid, 0};

    if (area)
        arch_vectors_each(area, collect, &vectors);
    walk_all(fill, &values);
    return values.size;
}

/* ---- For debuggers that have memory alone ---------------------------------------------------------- */

extern const char arch_foreign_return[];

#define SWITCH(reg)                                                                                \
    {                                                                                              \
        "switch." #reg, offsetof(struct switch_frame, reg)                                         \
    }
#define FRAME(reg)                                                                                 \
    {                                                                                              \
        "frame." #reg, offsetof(struct arch_frame, reg)                                            \
    }
#define SAVED(reg, index)                                                                          \
    {                                                                                              \
        "context." #reg, offsetof(struct arch_context, saved) + 8 * (index)                        \
    }
const struct arch_debug_pair arch_debug_layout[] = {
    SWITCH(r15),
    SWITCH(r14),
    SWITCH(r13),
    SWITCH(r12),
    SWITCH(rbx),
    SWITCH(rbp),
    {"switch.rip", offsetof(struct switch_frame, pc)},
    {"switch.+rsp", sizeof(struct switch_frame)},
    SAVED(rbx, 0),
    SAVED(rbp, 1),
    SAVED(r12, 2),
    SAVED(r13, 3),
    SAVED(r14, 4),
    SAVED(r15, 5),
    {"context.rip", offsetof(struct arch_context, pc)},
    {"context.rsp", offsetof(struct arch_context, sp)},
    FRAME(r15),
    FRAME(r14),
    FRAME(r13),
    FRAME(r12),
    FRAME(r11),
    FRAME(r10),
    FRAME(r9),
    FRAME(r8),
    FRAME(rdi),
    FRAME(rsi),
    FRAME(rdx),
    FRAME(rcx),
    FRAME(rbx),
    FRAME(rax),
    FRAME(rbp),
    {"frame.rip", offsetof(struct arch_frame, pc)},
    {"frame.+rsp", sizeof(struct arch_frame)},
    {"async.+rsp", sizeof(struct arch_frame) + RED_ZONE},
    {"foreign.return",
     (uint64_t)(uintptr_t)(arch_foreign_return + 1)}, /* as arch_stub_pin writes it */
    {"foreign.+slot", 8},
    {"", 0},
};
