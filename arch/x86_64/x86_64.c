/*
 * x86_64.c: the parts of arch.h that C can say, for x86-64 under Linux and glibc.
 *
 * Vector state is saved whole, by the newest instruction that the processor has: XSAVEC (compact, skips
 * what is in its initial state), XSAVE, or FXSAVE where there is no XSAVE at all. The mask is XCR0
 * without PKRU (a thread's own, not a goroutine's) and without the AMX tile data (11 KB; modules cannot
 * ask for it). Rejected: saving only what the interrupted function uses; nobody can know.
 *
 * The guard slot is the word of the thread control block that glibc keeps for gcc's split stacks
 * (%fs:0x70). It needs no register and no GOT load in the entry check, and foreign threads find 0 there.
 */
#include "arch.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "entry.h"
#include "layout.h"
#include "frames.h"

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
_Static_assert(ARCH_STUBS == STUB_COUNT, "layout.h");
_Static_assert(ARCH_STUB_HEADROOM == STUB_HEADROOM, "layout.h");
_Static_assert(-ECANCELED == MINUS_ECANCELED, "layout.h");

/* Read by caught.S. Written by arch_init before any goroutine exists. */
HIDDEN uint32_t arch_vector_bytes = 512, arch_vector_how = SAVE_FXSAVE, arch_vector_mask = 3;
HIDDEN __thread struct arch_tls arch_tls_block __attribute__((tls_model("initial-exec")));

void arch_async_preempt(void);
void arch_goroutine_start(void);
#define NOP_BYTES 1 /* its first instruction, which is not executed */
void arch_syscall_begin(void);
void arch_syscall_end(void);
void arch_syscall_cancelled(void);
extern HIDDEN char arch_stubs[], arch_pin_stubs[];

/* Where each component lies in the standard (not compact) format, from CPUID 0xD. */
HIDDEN uint32_t arch_component_offset[8], arch_component_size[8];

static uint64_t read_xcr0(void)
{
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Of what XCR0 enables only some is saved: with AMX's tiles the area would be four times as large, on every stack that is caught. */
static void measure_vector_area(void)
{
    unsigned standard = EXTENDED, compact = EXTENDED, c, d;

    for (unsigned i = 2; i < 8; i++) {
        unsigned size, offset;

        if (!(arch_vector_mask >> i & 1))
            continue;
        __cpuid_count(0xd, i, size, offset, c, d);
        arch_component_size[i] = size;
        arch_component_offset[i] = offset;
        compact += size;
        if (standard < offset + size)
            standard = offset + size;
    }
    arch_vector_bytes = standard > compact ? standard : compact;
    arch_vector_bytes = (arch_vector_bytes + 63) & ~63u;
}

void arch_init(void)
{
    unsigned a, b, c, d, features;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return;
    __cpuid_count(0xd, 1, features, b, c, d);
    arch_vector_mask = (uint32_t)read_xcr0() & XCR0_SAVED;
    arch_vector_how = features & 2 ? SAVE_XSAVEC : SAVE_XSAVE;
    measure_vector_area();
}

int arch_force_vector_save(const char *name)
{
    uint32_t best = arch_vector_how;
    uint32_t how = !strcmp(name, "xsavec")   ? SAVE_XSAVEC
                   : !strcmp(name, "xsave")  ? SAVE_XSAVE
                   : !strcmp(name, "fxsave") ? SAVE_FXSAVE
                                             : UINT32_MAX;

    if (how > best)
        return -ENOTSUP;
    arch_vector_how = how;
    return 0;
}

const char *arch_name(void)
{
    return "x86-64";
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

    __asm__ volatile("movq %%fs:0, %0" : "=r"(control_block));
    return (uint64_t *)(control_block + GUARD_OFFSET);
}

void arch_pause(void)
{
    __builtin_ia32_pause();
}

uint64_t arch_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

void *arch_stack_init(void *hi, void (*entry)(void *), void *arg)
{
    uint64_t *top = (uint64_t *)((uintptr_t)hi & ~(uintptr_t)15);
    struct switch_frame *frame;

    /* After the switch's ret, SP is a multiple of 16, as before a call. */
    top -= 2;
    top[0] = top[1] = 0;
    frame = (struct switch_frame *)((char *)top - sizeof *frame);
    *frame = (struct switch_frame){
        .mxcsr = 0x1f80,
        .fpu_control = 0x037f,
        .r12 = (uint64_t)entry,
        .r13 = (uint64_t)arg,
        .pc = (uint64_t)arch_goroutine_start + NOP_BYTES,
    };
    return frame;
}

size_t arch_async_stack_bytes(const void *ucontext)
{
    /* Every stop saves the same. */
    (void)ucontext;
    return RED_ZONE + sizeof(struct arch_frame) + arch_vector_bytes + 64 + 2048;
}

/* ---- Signal frames ------------------------------------------------------------------------------- */

static greg_t *signal_regs(const void *ucontext)
{
    return ((ucontext_t *)ucontext)->uc_mcontext.gregs;
}

uint64_t arch_signal_pc(const void *ucontext)
{
    return (uint64_t)signal_regs(ucontext)[REG_RIP];
}

uint64_t arch_signal_sp(const void *ucontext)
{
    return (uint64_t)signal_regs(ucontext)[REG_RSP];
}

void arch_signal_inject(void *ucontext)
{
    greg_t *regs = signal_regs(ucontext);
    uint64_t *sp = (uint64_t *)(regs[REG_RSP] - RED_ZONE - 8);

    *sp = (uint64_t)regs[REG_RIP];
    regs[REG_RSP] = (greg_t)sp;
    regs[REG_RIP] = (greg_t)arch_async_preempt;
}

bool arch_signal_cancel_syscall(void *ucontext)
{
    greg_t *regs = signal_regs(ucontext);
    uint64_t pc = (uint64_t)regs[REG_RIP];

    /* At _end the kernel has done its work, and the result is in rax. */
    if (pc < (uint64_t)arch_syscall_begin || pc >= (uint64_t)arch_syscall_end)
        return false;
    regs[REG_RIP] = (greg_t)arch_syscall_cancelled;
    return true;
}

void *arch_stub_address(unsigned index)
{
    return arch_stubs + (size_t)index * STUB_STRIDE;
}

void *arch_pin_stub_address(unsigned index)
{
    return arch_pin_stubs + (size_t)index * PIN_STUB_STRIDE;
}

void arch_foreign_restore(const struct arch_foreign *foreign, uint64_t *reg, void *stack,
                          uint64_t lo, size_t bytes)
{
    /* A return address is never in a register. */
    (void)reg;
    for (uint64_t i = 0; i < foreign->depth && i < ARCH_FOREIGN_MAX; i++) {
        uint64_t slot = foreign->call[i].slot;

        if (slot >= lo && slot + 8 <= lo + bytes)
            memcpy((char *)stack + (slot - lo), &foreign->call[i].address, 8);
    }
}

/* ---- Modules ------------------------------------------------------------------------------------- */

enum arch_reloc arch_reloc_kind(uint32_t type)
{
    switch (type) {
    case R_X86_64_JUMP_SLOT:
    case R_X86_64_GLOB_DAT:
        return ARCH_RELOC_SLOT;
    case R_X86_64_64:
        return ARCH_RELOC_ABSOLUTE;
    case R_X86_64_DTPMOD64:
    case R_X86_64_DTPOFF64:
    case R_X86_64_TPOFF64:
    case R_X86_64_TLSDESC:
        return ARCH_RELOC_TLS;
    default:
        return ARCH_RELOC_OTHER;
    }
}

uint16_t arch_elf_machine(void)
{
    return EM_X86_64;
}

bool arch_entry_is_check(const void *at)
{
    return arch_entry_x86_64.is_check(at);
}

size_t arch_entry_bytes(void)
{
    return arch_entry_x86_64.bytes;
}
