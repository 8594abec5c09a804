/*
 * frames.h: the stack pictures of switch.S and caught.S and the kernel's signal frame as C structs, lowest address
 * first.
 */
#ifndef GRASP_ARCH_ARM64_FRAMES_H
#define GRASP_ARCH_ARM64_FRAMES_H

#include <signal.h>
#include <stdint.h>
#include <ucontext.h>

#include "layout.h"

struct arch_frame {
    uint64_t x[31];
    uint64_t sp, pc, pstate;
};

/* caught.S */
struct caught {
    uint64_t record[2]; /* x29 and pc: what walkers of frame pointers look for */
    struct arch_frame frame;
};

/* Vector state of a stop, aligned to 16. Without SVE: q0-q31. With it: z0-z31, p0-p15, FFR, by `length`. */
struct vectors {
    uint64_t fpsr, fpcr;
    uint64_t length; /* of a z register in bytes; 0: no SVE */
    uint64_t unused[5];
    uint8_t regs[];
};

/* switch.S */
struct switch_frame {
    uint64_t x29, pc;
    uint64_t x19[10]; /* x19 to x28 */
    uint64_t d8[8];   /* d8 to d15 */
    uint64_t fpcr, unused;
};

/* What the kernel puts on the signal stack and rt_sigreturn takes from SP. */
struct kernel_frame {
    siginfo_t info;
    ucontext_t context;
};

#define HIDDEN __attribute__((visibility("hidden")))

/* Length of a z register, 0 without SVE; whether there is SME. Set once by arch_init, read by caught.S. */
extern HIDDEN uint32_t arch_vector_length, arch_has_sme;

/* Room for struct vectors with z registers of so many bytes. */
static inline size_t vectors_size(size_t length)
{
    size_t regs = length ? 32 * length + 17 * (length / 8) : 32 * 16;

    return (VECTORS_REGS + regs + 63) & ~(size_t)63;
}

/* signal.c: the vector length that the kernel's frame has; fills `vectors`, which has room for it. */
HIDDEN size_t vectors_length_of_signal(const ucontext_t *context);
HIDDEN void vectors_from_signal(struct vectors *vectors, const ucontext_t *context);

/* caught.S and stubs.S */
HIDDEN void arch_async_preempt(void);
HIDDEN void arch_async_landed(const struct kernel_frame *kernel);
HIDDEN extern char arch_foreign_return[];
/* What stands for a return address while foreign code runs: behind the nop that unwinders look up. */
#define FOREIGN_RETURN ((uint64_t)(uintptr_t)(arch_foreign_return + 4))

#endif
