/*
 * gdb.c: the registers as gdb wants to see them: a description in XML, and values in its order.
 *
 * x0 to x30, sp, pc and cpsr, then v0 to v31, FPSR and FPCR. Of SVE's registers gdb is shown the low 16 bytes, which v0 to
 * v31 are; the whole is in the API's snapshots. What was not saved at a stop is marked so, never given as 0.
 */
#include "arch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

#define GENERAL 34 /* arch_regs' numbers: x0 to x30, sp, pc, pstate */
#define SP_REG  31
#define PC_REG  32
#define CPSR    33

/* What arch_vectors_each tells, by place. */
struct low {
    uint8_t v[32][16], fpsr[4], fpcr[4];
};

struct text {
    char *out;
    size_t room, length;
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

static void describe_general(struct text *text)
{
    add(text, "<feature name=\"org.gnu.gdb.aarch64.core\">"
              "<flags id=\"cpsr_flags\" size=\"4\"><field name=\"V\" start=\"28\" end=\"28\"/>"
              "<field name=\"C\" start=\"29\" end=\"29\"/><field name=\"Z\" start=\"30\" end=\"30\"/>"
              "<field name=\"N\" start=\"31\" end=\"31\"/></flags>");
    for (unsigned i = 0; i < SP_REG; i++)
        add(text, "<reg name=\"x%u\" bitsize=\"64\" type=\"int64\"/>", i);
    add(text, "<reg name=\"sp\" bitsize=\"64\" type=\"data_ptr\"/>"
              "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/>"
              "<reg name=\"cpsr\" bitsize=\"32\" type=\"cpsr_flags\"/></feature>");
}

static void describe_vectors(struct text *text)
{
    add(text, "<feature name=\"org.gnu.gdb.aarch64.fpu\">"
              "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
              "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
              "<vector id=\"v2u\" type=\"uint64\" count=\"2\"/>"
              "<vector id=\"v4u\" type=\"uint32\" count=\"4\"/>"
              "<vector id=\"v8u\" type=\"uint16\" count=\"8\"/>"
              "<vector id=\"v16u\" type=\"uint8\" count=\"16\"/>"
              "<union id=\"vec128\"><field name=\"d\" type=\"v2d\"/><field name=\"s\" type=\"v4f\"/>"
              "<field name=\"u64\" type=\"v2u\"/><field name=\"u32\" type=\"v4u\"/>"
              "<field name=\"u16\" type=\"v8u\"/><field name=\"u8\" type=\"v16u\"/>"
              "<field name=\"q\" type=\"uint128\"/></union>");
    for (unsigned i = 0; i < 32; i++)
        add(text, "<reg name=\"v%u\" bitsize=\"128\" type=\"vec128\"/>", i);
    add(text, "<reg name=\"fpsr\" bitsize=\"32\" type=\"int\"/>"
              "<reg name=\"fpcr\" bitsize=\"32\" type=\"int\"/></feature>");
}

size_t arch_gdb_description(char *out, size_t bytes)
{
    struct text text = {out, bytes, 0};

    add(&text,
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">"
        "<architecture>aarch64</architecture><osabi>GNU/Linux</osabi>");
    describe_general(&text);
    describe_vectors(&text);
    add(&text, "</target>");
    return text.length;
}

/* "q3" or "z3", "fpsr", "fpcr" into its place. */
static void collect(void *arg, const char *name, const void *bytes, size_t size)
{
    struct low *low = arg;
    unsigned index;

    if ((name[0] == 'q' || name[0] == 'z') && (index = (unsigned)atoi(name + 1)) < 32 && size >= 16)
        memcpy(low->v[index], bytes, 16);
    else if (strcmp(name, "fpsr") == 0)
        memcpy(low->fpsr, bytes, 4);
    else if (strcmp(name, "fpcr") == 0)
        memcpy(low->fpcr, bytes, 4);
}

size_t arch_gdb_registers(const struct arch_regs *regs, const void *area, uint8_t *bytes,
                          uint8_t *valid)
{
    struct low low = {0};
    size_t at = 0;

    for (unsigned i = 0; i < GENERAL; i++) {
        size_t size = i == CPSR ? 4 : 8;

        memcpy(bytes + at, &regs->value[i], size);
        memset(valid + at, regs->present >> i & 1, size);
        at += size;
    }
    if (area)
        arch_vectors_each(area, collect, &low);
    memcpy(bytes + at, &low, sizeof low);
    memset(valid + at, area != NULL, sizeof low);
    return at + sizeof low;
}

_Static_assert(SP_REG + 1 == PC_REG && PC_REG + 1 == CPSR && CPSR + 1 == GENERAL, "registers.c");
_Static_assert(sizeof(struct low) == 32 * 16 + 8, "v0 to v31, fpsr, fpcr, without holes");

/* ---- For a debugger that has nothing but memory -------------------------------------------------- */

#define SWITCH(reg, index)                                                                         \
    {                                                                                              \
        "switch." #reg, offsetof(struct switch_frame, x19) + 8 * (index)                           \
    }
#define SAVED(reg, index)                                                                          \
    {                                                                                              \
        "context." #reg, offsetof(struct arch_context, saved) + 8 * (index)                        \
    }
#define FRAME(index)                                                                               \
    {                                                                                              \
        "frame.x" #index, offsetof(struct arch_frame, x) + 8 * (index)                             \
    }
/* SP is saved with a frame, of a stop by a signal too. */
const struct arch_debug_pair arch_debug_layout[] = {
    SWITCH(x19, 0),
    SWITCH(x20, 1),
    SWITCH(x21, 2),
    SWITCH(x22, 3),
    SWITCH(x23, 4),
    SWITCH(x24, 5),
    SWITCH(x25, 6),
    SWITCH(x26, 7),
    SWITCH(x27, 8),
    SWITCH(x28, 9),
    {"switch.x29", offsetof(struct switch_frame, x29)},
    {"switch.pc", offsetof(struct switch_frame, pc)},
    {"switch.+sp", sizeof(struct switch_frame)},
    SAVED(x19, 0),
    SAVED(x20, 1),
    SAVED(x21, 2),
    SAVED(x22, 3),
    SAVED(x23, 4),
    SAVED(x24, 5),
    SAVED(x25, 6),
    SAVED(x26, 7),
    SAVED(x27, 8),
    SAVED(x28, 9),
    SAVED(x29, 10),
    {"context.pc", offsetof(struct arch_context, pc)},
    {"context.sp", offsetof(struct arch_context, sp)},
    FRAME(0),
    FRAME(1),
    FRAME(2),
    FRAME(3),
    FRAME(4),
    FRAME(5),
    FRAME(6),
    FRAME(7),
    FRAME(8),
    FRAME(9),
    FRAME(10),
    FRAME(11),
    FRAME(12),
    FRAME(13),
    FRAME(14),
    FRAME(15),
    FRAME(16),
    FRAME(17),
    FRAME(18),
    FRAME(19),
    FRAME(20),
    FRAME(21),
    FRAME(22),
    FRAME(23),
    FRAME(24),
    FRAME(25),
    FRAME(26),
    FRAME(27),
    FRAME(28),
    FRAME(29),
    FRAME(30),
    {"frame.sp", offsetof(struct arch_frame, sp)},
    {"frame.pc", offsetof(struct arch_frame, pc)},
    {"foreign.return", FOREIGN_RETURN},
    {"foreign.+slot", 0}, /* the slot is SP at the call, and at the return */
    {"", 0},
};
