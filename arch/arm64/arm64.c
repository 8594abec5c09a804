/*
 * arm64.c: the parts of arch.h that C can say, for arm64 under Linux and glibc. Signal frames are in signal.c.
 *
 * The guard slot is the second word of the thread control block (TPIDR_EL0 + 8), which glibc reserves and leaves alone. It
 * needs neither a register nor a load from the GOT in the entry check. glibc clears it for the main thread and new
 * mappings only, so a foreign thread on a stack of the program's own may find anything there: then its first check
 * fails in vain and the slow path, seeing no goroutine, writes 0.
 */
#include "arch.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#include "entry.h"
#include "frames.h"
#include "layout.h"

_Static_assert(offsetof(struct arch_tls, foreign) == TLS_FOREIGN, "layout.h");
_Static_assert(offsetof(struct arch_tls, errno_goroutine) == TLS_ERRNO_GOROUTINE, "layout.h");
_Static_assert(offsetof(struct arch_tls, errno_thread) == TLS_ERRNO_THREAD, "layout.h");
_Static_assert(offsetof(struct arch_tls, errno_owned) == TLS_ERRNO_OWNED, "layout.h");
_Static_assert(offsetof(struct arch_foreign, depth) == FOREIGN_DEPTH, "layout.h");
_Static_assert(offsetof(struct arch_foreign, call) == FOREIGN_CALL, "layout.h");
_Static_assert(sizeof(((struct arch_foreign *)0)->call[0]) == 16, "stubs.S shifts by 4");
_Static_assert(ARCH_FOREIGN_MAX == FOREIGN_MAX, "layout.h");
_Static_assert(offsetof(struct arch_context, pc) == CONTEXT_PC, "layout.h");
_Static_assert(offsetof(struct arch_context, sp) == CONTEXT_SP, "layout.h");
_Static_assert(offsetof(struct arch_context, saved) == CONTEXT_SAVED, "layout.h");
_Static_assert(offsetof(struct switch_frame, d8) == SWITCH_D, "layout.h");
_Static_assert(offsetof(struct switch_frame, fpcr) == SWITCH_FPCR, "layout.h");
_Static_assert(sizeof(struct switch_frame) == SWITCH_BYTES, "layout.h");
_Static_assert(offsetof(struct caught, frame.x) == CAUGHT_X, "layout.h");
_Static_assert(offsetof(struct caught, frame.sp) == CAUGHT_SP, "layout.h");
_Static_assert(offsetof(struct caught, frame.pc) == CAUGHT_PC, "layout.h");
_Static_assert(offsetof(struct caught, frame.pstate) == CAUGHT_PSTATE, "layout.h");
_Static_assert(offsetof(struct vectors, fpsr) == VECTORS_FPSR, "layout.h");
_Static_assert(offsetof(struct vectors, fpcr) == VECTORS_FPCR, "layout.h");
_Static_assert(offsetof(struct vectors, length) == VECTORS_LENGTH, "layout.h");
_Static_assert(offsetof(struct vectors, regs) == VECTORS_REGS, "layout.h");
_Static_assert(ARCH_STUBS == STUB_COUNT, "layout.h");
_Static_assert(ARCH_STUB_HEADROOM == STUB_HEADROOM_PAGES << 12, "layout.h");
_Static_assert(-ECANCELED == MINUS_ECANCELED, "layout.h");

/* Written by arch_init before any goroutine exists. */
HIDDEN uint32_t arch_vector_length, arch_has_sme;
HIDDEN __thread struct arch_tls arch_tls_block __attribute__((tls_model("initial-exec")));

HIDDEN void arch_goroutine_start(void);
#define NOP_BYTES 4 /* its first instruction, which is not executed */
extern HIDDEN char arch_stubs[], arch_pin_stubs[];

/* HWCAP bits of the kernel's interface, which older headers lack. */
#define CAP_SVE  (UINT64_C(1) << 22)
#define CAP2_SME (UINT64_C(1) << 23)

void arch_init(void)
{
    if (getauxval(AT_HWCAP) & CAP_SVE) {
        uint64_t length;

        __asm__(".arch_extension sve\n\trdvl %0, #1" : "=r"(length));
        arch_vector_length = (uint32_t)length;
    }
    arch_has_sme = (getauxval(AT_HWCAP2) & CAP2_SME) != 0;
}

int arch_force_vector_save(const char *name)
{
    /* The one way that there is for each kind of processor. */
    return strcmp(name, arch_vector_length ? "sve" : "fpsimd") == 0 ? 0 : -ENOTSUP;
}

const char *arch_name(void)
{
    return "arm64";
}

__attribute__((noinline)) struct arch_tls *arch_tls_self(void)
{
    struct arch_tls *tls = &arch_tls_block;

    /* The compiler may not carry this address over a switch: it can't see through the barrier. */
    __asm__ volatile("" : "+r"(tls)::"memory");
    return tls;
}

__attribute__((noinline)) uint64_t *arch_guard_slot(void)
{
    uintptr_t control_block;

    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(control_block));
    return (uint64_t *)(control_block + GUARD_OFFSET);
}

void arch_pause(void)
{
    /* Waits for the pipeline to drain, some tens of cycles; `yield` is a nop on nearly every processor. */
    __asm__ volatile("isb" ::: "memory");
}

uint64_t arch_ticks(void)
{
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
}

void *arch_stack_init(void *hi, void (*entry)(void *), void *arg)
{
    struct switch_frame *frame = (struct switch_frame *)((uintptr_t)hi & ~(uintptr_t)15) - 1;

    *frame = (struct switch_frame){
        .pc = (uint64_t)arch_goroutine_start + NOP_BYTES,
        .x19 = {(uint64_t)entry, (uint64_t)arg},
    };
    return frame;
}

/* ---- Import stubs -------------------------------------------------------------------------------- */

void *arch_stub_address(unsigned index)
{
    return arch_stubs + (size_t)index * STUB_STRIDE;
}

void *arch_pin_stub_address(unsigned index)
{
    return arch_pin_stubs + (size_t)index * PIN_STUB_STRIDE;
}

/*
 * A foreign function saves x30 where it likes, in its frame, which lies between the slot (SP at the call) and the next
 * call's, and perhaps signed. Every word there that is FOREIGN_RETURN becomes the real address: the others are left over
 * from calls that have ended, and nobody reads them.
 */
void arch_foreign_restore(const struct arch_foreign *foreign, uint64_t *reg, void *stack,
                          uint64_t lo, size_t bytes)
{
    uint64_t wrong = FOREIGN_RETURN, depth = foreign->depth;
    uint64_t *word = stack, count = bytes / sizeof *word, at = 0;

    if (depth == 0 || depth > ARCH_FOREIGN_MAX)
        return;
    if (reg && arch_strip(reg[30]) == wrong)
        reg[30] = foreign->call[depth - 1].address;
    for (uint64_t i = depth; i-- > 0;) {
        for (; at < count && lo + sizeof *word * at < foreign->call[i].slot; at++) {
            if (arch_strip(word[at]) == wrong)
                word[at] = foreign->call[i].address;
        }
    }
}

/* ---- Modules ------------------------------------------------------------------------------------- */

enum arch_reloc arch_reloc_kind(uint32_t type)
{
    switch (type) {
    case R_AARCH64_JUMP_SLOT:
    case R_AARCH64_GLOB_DAT:
        return ARCH_RELOC_SLOT;
    case R_AARCH64_ABS64:
        return ARCH_RELOC_ABSOLUTE;
    case R_AARCH64_TLS_DTPMOD:
    case R_AARCH64_TLS_DTPREL:
    case R_AARCH64_TLS_TPREL:
    case R_AARCH64_TLSDESC:
        return ARCH_RELOC_TLS;
    default:
        return ARCH_RELOC_OTHER;
    }
}

uint16_t arch_elf_machine(void)
{
    return EM_AARCH64;
}

bool arch_entry_is_check(const void *at)
{
    return arch_entry_arm64.is_check(at);
}

size_t arch_entry_bytes(void)
{
    return arch_entry_arm64.bytes;
}
