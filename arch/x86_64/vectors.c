/*
 * vectors.c: reads the vector area of a stop back: x87, MXCSR, and the vector registers at their full width.
 *
 * Three formats: FXSAVE (512 bytes), standard XSAVE (components at fixed offsets), and XSAVEC's compact one
 * (components one behind the other in order of their number, as XCOMP_BV says). A component whose bit
 * is missing in XSTATE_BV was in its initial state, which is zero for all that is shown here but the control words of x87 and
 * SSE.
 */
#include "arch.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "layout.h"
#include "frames.h"

#define HEADER 512

enum {
    COMPONENT_X87 = 0,
    COMPONENT_SSE = 1,
    COMPONENT_AVX = 2,
    COMPONENT_OPMASK = 5,
    COMPONENT_ZMM_HIGH = 6,
    COMPONENT_ZMM_UPPER = 7
};

size_t arch_vectors_bytes(void)
{
    return arch_vector_bytes;
}

static uint64_t header_word(const uint8_t *area, unsigned index)
{
    uint64_t word;

    memcpy(&word, area + HEADER + 8 * index, 8);
    return word;
}

/* Where component `wanted` lies in the area; NULL: in its initial state, or not saved by this format. */
static const uint8_t *component(const uint8_t *area, unsigned wanted)
{
    uint32_t offset = EXTENDED;
    uint64_t compact;

    if (arch_vector_how == SAVE_FXSAVE || !(header_word(area, 0) >> wanted & 1))
        return NULL;
    if (arch_vector_how == SAVE_XSAVE)
        return area + arch_component_offset[wanted];
    compact = header_word(area, 1);
    for (unsigned i = 2; i < wanted; i++) {
        if (compact >> i & 1)
            offset += arch_component_size[i];
    }
    /* None of these components asks for alignment in the compact format (CPUID 0xD.i ECX bit 1). */
    return area + offset;
}

/* Whether the x87 or SSE part of the legacy area was written: XSAVEC skips what is in its initial state. */
static bool legacy_saved(const uint8_t *area, unsigned wanted)
{
    return arch_vector_how == SAVE_FXSAVE || header_word(area, 0) >> wanted & 1;
}

static void emit_low16(const uint8_t *area, arch_vector_fn *fn, void *arg)
{
    static const uint8_t zero[32];
    const uint8_t *high = component(area, COMPONENT_AVX),
                  *upper = component(area, COMPONENT_ZMM_HIGH);
    bool has_ymm = arch_vector_mask & XCR0_AVX, has_zmm = arch_vector_mask & XCR0_ZMM_HIGH;
    char name[8];
    uint8_t value[64];

    if (arch_vector_how == SAVE_FXSAVE)
        has_ymm = has_zmm = false;
    for (unsigned i = 0; i < 16; i++) {
        memcpy(value, legacy_saved(area, COMPONENT_SSE) ? area + 160 + 16 * i : zero, 16);
        memcpy(value + 16, high ? high + 16 * i : zero, 16);
        memcpy(value + 32, upper ? upper + 32 * i : zero, 32);
        snprintf(name, sizeof name, "%cmm%u", has_zmm ? 'z' : has_ymm ? 'y' : 'x', i);
        fn(arg, name, value, has_zmm ? 64 : has_ymm ? 32 : 16);
    }
}

static void emit_avx512(const uint8_t *area, arch_vector_fn *fn, void *arg)
{
    static const uint8_t zero[64];
    const uint8_t *upper = component(area, COMPONENT_ZMM_UPPER);
    const uint8_t *masks = component(area, COMPONENT_OPMASK);
    char name[8];

    for (unsigned i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "zmm%u", 16 + i);
        fn(arg, name, upper ? upper + 64 * i : zero, 64);
    }
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "k%u", i);
        fn(arg, name, masks ? masks + 8 * i : zero, 8);
    }
}

/* XSAVEC writes it with the other registers of SSE only; the others always do. */
static const uint8_t *mxcsr_of(const uint8_t *area)
{
    static const uint8_t initial[4] = {0x80, 0x1f};

    return arch_vector_how == SAVE_XSAVEC && !legacy_saved(area, COMPONENT_SSE) ? initial
                                                                                : area + 24;
}

void arch_vectors_each(const void *vectors, arch_vector_fn *fn, void *arg)
{
    static const uint8_t initial_x87[32 + 128] = {0x7f, 0x03};
    const uint8_t *area = vectors;
    const uint8_t *x87 = legacy_saved(area, COMPONENT_X87) ? area : initial_x87;
    char name[8];

    fn(arg, "fcw", x87, 2);
    fn(arg, "fsw", x87 + 2, 2);
    fn(arg, "mxcsr", mxcsr_of(area), 4);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "st%u", i);
        fn(arg, name, x87 + 32 + 16 * i, 10);
    }
    emit_low16(area, fn, arg);
    if (arch_vector_how != SAVE_FXSAVE && arch_vector_mask & XCR0_ZMM_UPPER)
        emit_avx512(area, fn, arg);
}

/* ---- As notes of an ELF core --------------------------------------------------------------------- */

/*
 * NT_X86_XSTATE has components where Intel's processors have them, whatever this one does: debuggers before gdb 14 know
 * these places alone, and later ones tell the layout by XCR0 and the size.
 */
enum {
    CORE_XCR0 = 464, /* in the legacy area's free part, where the kernel writes it */
    CORE_HEADER = 512,
    CORE_YMM = 576,
    CORE_YMM_END = 832,
    CORE_OPMASK = 1088,
    CORE_ZMM_HIGH = 1152,
    CORE_ZMM_UPPER = 1664,
    CORE_ZMM_END = 2688
};
_Static_assert(CORE_ZMM_END <= ARCH_CORE_NOTE_BYTES_MAX, "it fits");

/* FXSAVE's layout: x87 and SSE. What was in its initial state is so again. */
static void core_legacy(const uint8_t *area, uint8_t out[HEADER])
{
    static const uint8_t initial[] = {0x7f, 0x03};

    memset(out, 0, HEADER);
    if (legacy_saved(area, COMPONENT_X87)) {
        memcpy(out, area, 24);
        memcpy(out + 32, area + 32, 128);
    } else {
        memcpy(out, initial, sizeof initial);
    }
    memcpy(out + 24, mxcsr_of(area), 4);
    if (legacy_saved(area, COMPONENT_SSE))
        memcpy(out + 160, area + 160, 256);
}

static void core_component(const uint8_t *area, unsigned wanted, uint8_t *out, size_t at,
                           size_t bytes)
{
    const uint8_t *from = component(area, wanted);

    if (from)
        memcpy(out + at, from, bytes);
}

/* Returns its size. */
static size_t core_extended(const uint8_t *area, uint8_t *out)
{
    bool zmm = (arch_vector_mask & XCR0_SAVED) == XCR0_SAVED;
    uint64_t xcr0 = zmm ? XCR0_SAVED : XCR0_X87_SSE | XCR0_AVX;
    size_t size = zmm ? CORE_ZMM_END : CORE_YMM_END;

    memset(out, 0, size);
    core_legacy(area, out);
    memcpy(out + CORE_XCR0, &xcr0, sizeof xcr0);
    memcpy(out + CORE_HEADER, &xcr0, sizeof xcr0);
    core_component(area, COMPONENT_AVX, out, CORE_YMM, CORE_YMM_END - CORE_YMM);
    if (zmm) {
        core_component(area, COMPONENT_OPMASK, out, CORE_OPMASK, 8 * 8);
        core_component(area, COMPONENT_ZMM_HIGH, out, CORE_ZMM_HIGH, 16 * 32);
        core_component(area, COMPONENT_ZMM_UPPER, out, CORE_ZMM_UPPER, 16 * 64);
    }
    return size;
}

bool arch_core_vectors(unsigned index, const void *vectors, struct arch_core_note *note,
                       uint8_t *out)
{
    bool extended = arch_vector_how != SAVE_FXSAVE && arch_vector_mask & XCR0_AVX;

    if (index == 0) {
        *note = (struct arch_core_note){"CORE", NT_PRFPREG, HEADER};
        core_legacy(vectors, out);
    } else if (index == 1 && extended) {
        *note = (struct arch_core_note){"LINUX", NT_X86_XSTATE, core_extended(vectors, out)};
    } else {
        return false;
    }
    return true;
}
