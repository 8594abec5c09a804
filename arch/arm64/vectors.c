/*
 * vectors.c: reads the vector area of a stop (struct vectors) back: FPSR, FPCR, and q0-q31, or z0-z31, p0-p15
 * and FFR where the processor has SVE.
 */
#include "arch.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/user.h>

#include "frames.h"

size_t arch_vectors_bytes(void)
{
    return vectors_size(arch_vector_length);
}

static void each_sve(const struct vectors *v, arch_vector_fn *fn, void *arg)
{
    /* Of a wired goroutine that asked for longer vectors a copy has the first registers only. */
    size_t room = arch_vectors_bytes() - VECTORS_REGS;
    size_t at = 0, length = v->length;
    char name[8];

    for (unsigned i = 0; i < 32 && at + length <= room; i++, at += length) {
        snprintf(name, sizeof name, "z%u", i);
        fn(arg, name, v->regs + at, length);
    }
    length /= 8;
    for (unsigned i = 0; i < 17 && at + length <= room; i++, at += length) {
        snprintf(name, sizeof name, i < 16 ? "p%u" : "ffr", i);
        fn(arg, name, v->regs + at, length);
    }
}

void arch_vectors_each(const void *vectors, arch_vector_fn *fn, void *arg)
{
    const struct vectors *v = vectors;
    char name[8];

    fn(arg, "fpsr", &v->fpsr, 4);
    fn(arg, "fpcr", &v->fpcr, 4);
    if (v->length) {
        each_sve(v, fn, arg);
        return;
    }
    for (unsigned i = 0; i < 32; i++) {
        snprintf(name, sizeof name, "q%u", i);
        fn(arg, name, v->regs + 16 * i, 16);
    }
}

/* The low 16 bytes of SVE's registers: gdb is shown no more of a running goroutine either. */
bool arch_core_vectors(unsigned index, const void *vectors, struct arch_core_note *note,
                       uint8_t *out)
{
    const struct vectors *v = vectors;
    size_t length = v->length ? v->length : 16, room = arch_vectors_bytes() - VECTORS_REGS;
    struct user_fpsimd_struct state = {.fpsr = v->fpsr, .fpcr = v->fpcr};

    if (index > 0)
        return false;
    for (unsigned i = 0; i < 32 && (i + 1) * length <= room; i++)
        memcpy(&state.vregs[i], v->regs + i * length, 16);
    *note = (struct arch_core_note){"CORE", NT_PRFPREG, sizeof state};
    memcpy(out, &state, sizeof state);
    return true;
}
