/*
 * registers.c: from what the three kinds of stop left in memory to registers with names.
 *
 * General registers are numbered as DWARF does (0 rax, 1 rdx, 2 rcx, 3 rbx, 4 rsi, 5 rdi, 6 rbp, 7 rsp,
 * 8-15, 16 the return address column, which stands for rip), then rflags. A register that was not saved at
 * a stop is absent, never 0: after a switch only the callee-saved ones exist.
 */
#include "arch.h"

#include <string.h>
#include <ucontext.h>

#include "layout.h"
#include "frames.h"

enum {
    RAX,
    RDX,
    RCX,
    RBX,
    RSI,
    RDI,
    RBP,
    RSP,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    RIP,
    RFLAGS,
    REG_COUNT
};

_Static_assert(REG_COUNT <= ARCH_REGS_MAX, "registers fit");

const unsigned arch_reg_count = REG_COUNT;
const unsigned arch_sp_reg = RSP;
const unsigned arch_dwarf_regs = RIP + 1;

const char *arch_reg_name(unsigned index)
{
    static const char *const names[REG_COUNT] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi",
                                                 "rbp", "rsp", "r8",  "r9",  "r10", "r11",
                                                 "r12", "r13", "r14", "r15", "rip", "rflags"};

    return index < REG_COUNT ? names[index] : NULL;
}

uint64_t arch_strip(uint64_t address)
{
    return address;
}

static void set(struct arch_regs *regs, unsigned index, uint64_t value)
{
    regs->value[index] = value;
    regs->present |= (uint64_t)1 << index;
}

static void set_pc_sp(struct arch_regs *regs, uint64_t pc, uint64_t sp)
{
    set(regs, RIP, pc);
    set(regs, RSP, sp);
    regs->pc = pc;
    regs->sp = sp;
}

void arch_regs_from_switch(struct arch_regs *regs, const void *saved_sp)
{
    const struct switch_frame *frame = saved_sp;

    regs->present = 0;
    set(regs, RBX, frame->rbx);
    set(regs, RBP, frame->rbp);
    set(regs, R12, frame->r12);
    set(regs, R13, frame->r13);
    set(regs, R14, frame->r14);
    set(regs, R15, frame->r15);
    set_pc_sp(regs, frame->pc, (uint64_t)(frame + 1));
}

void arch_regs_from_context(struct arch_regs *regs, const struct arch_context *context)
{
    static const uint8_t saved[6] = {RBX, RBP, R12, R13, R14, R15};

    regs->present = 0;
    for (unsigned i = 0; i < 6; i++)
        set(regs, saved[i], context->saved[i]);
    set_pc_sp(regs, context->pc, context->sp);
}

void arch_regs_from_frame(struct arch_regs *regs, const struct arch_frame *frame, bool async)
{
    const uint64_t by_number[16] = {frame->rax, frame->rdx, frame->rcx, frame->rbx,
                                    frame->rsi, frame->rdi, frame->rbp, 0,
                                    frame->r8,  frame->r9,  frame->r10, frame->r11,
                                    frame->r12, frame->r13, frame->r14, frame->r15};

    regs->present = 0;
    for (unsigned i = 0; i < 16; i++)
        set(regs, i, by_number[i]);
    set(regs, RFLAGS, frame->rflags);
    set_pc_sp(regs, frame->pc, (uint64_t)(frame + 1) + (async ? RED_ZONE : 0));
}

uint64_t arch_caller(const struct arch_regs *regs)
{
    return *(const uint64_t *)regs->sp;
}

void arch_regs_from_signal(struct arch_regs *regs, const void *ucontext)
{
    static const uint8_t number[16] = {RAX, RDX, RCX, RBX, RSI, RDI, RBP, RSP,
                                       R8,  R9,  R10, R11, R12, R13, R14, R15};
    static const uint8_t field[16] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                      REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};
    const greg_t *gregs = ((const ucontext_t *)ucontext)->uc_mcontext.gregs;

    regs->present = 0;
    for (unsigned i = 0; i < 16; i++)
        set(regs, number[i], (uint64_t)gregs[field[i]]);
    set(regs, RFLAGS, (uint64_t)gregs[REG_EFL]);
    set_pc_sp(regs, (uint64_t)gregs[REG_RIP], (uint64_t)gregs[REG_RSP]);
}
