/*
 * registers.c: from what the three kinds of stop left in memory to registers with names.
 *
 * General registers are numbered as DWARF does (x0 to x30, 31 sp), then pc and pstate. A register that was not saved
 * at a stop is absent, never 0: after a switch only the callee-saved ones exist.
 */
#include "arch.h"

#include <ucontext.h>

#include "frames.h"
#include "layout.h"

enum {
    X19 = 19,
    X29 = 29,
    X30 = 30,
    SP,
    PC,
    PSTATE,
    REG_COUNT
};

_Static_assert(REG_COUNT <= ARCH_REGS_MAX, "registers fit");

const unsigned arch_reg_count = REG_COUNT;
const unsigned arch_sp_reg = SP;
const unsigned arch_dwarf_regs = SP + 1;

const char *arch_reg_name(unsigned index)
{
    static const char *const names[REG_COUNT] = {
        "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",  "x10", "x11",
        "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23",
        "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp",  "pc",  "pstate"};

    return index < REG_COUNT ? names[index] : NULL;
}

uint64_t arch_strip(uint64_t address)
{
    register uint64_t x30 __asm__("x30") = address;

    /* xpaclri: a hint, which older processors take for a nop. */
    __asm__("hint #7" : "+r"(x30));
    return x30;
}

static void set(struct arch_regs *regs, unsigned index, uint64_t value)
{
    regs->value[index] = value;
    regs->present |= (uint64_t)1 << index;
}

static void set_pc_sp(struct arch_regs *regs, uint64_t pc, uint64_t sp)
{
    set(regs, PC, pc);
    set(regs, SP, sp);
    regs->pc = pc;
    regs->sp = sp;
}

void arch_regs_from_switch(struct arch_regs *regs, const void *saved_sp)
{
    const struct switch_frame *frame = saved_sp;

    regs->present = 0;
    for (unsigned i = 0; i < 10; i++)
        set(regs, X19 + i, frame->x19[i]);
    set(regs, X29, frame->x29);
    set_pc_sp(regs, frame->pc, (uint64_t)(frame + 1));
}

void arch_regs_from_context(struct arch_regs *regs, const struct arch_context *context)
{
    regs->present = 0;
    for (unsigned i = 0; i < 11; i++)
        set(regs, X19 + i, context->saved[i]);
    set_pc_sp(regs, context->pc, context->sp);
}

void arch_regs_from_frame(struct arch_regs *regs, const struct arch_frame *frame, bool async)
{
    /* The frame of an asynchronous stop is the same: arch_async_landed fills it. */
    (void)async;
    regs->present = 0;
    for (unsigned i = 0; i < 31; i++)
        set(regs, i, frame->x[i]);
    set(regs, PSTATE, frame->pstate);
    set_pc_sp(regs, frame->pc, frame->sp);
}

uint64_t arch_caller(const struct arch_regs *regs)
{
    return arch_strip(regs->value[30]);
}

void arch_regs_from_signal(struct arch_regs *regs, const void *ucontext)
{
    const mcontext_t *m = &((const ucontext_t *)ucontext)->uc_mcontext;

    regs->present = 0;
    for (unsigned i = 0; i < 31; i++)
        set(regs, i, m->regs[i]);
    set(regs, PSTATE, m->pstate);
    set_pc_sp(regs, m->pc, m->sp);
}
