/*
 * copy.c: copies what a held goroutine looks like: registers as of its stop, the used part of its stack,
 * vector state if it was caught.
 *
 * Which of the saved contexts is the right one is told by the state: in a system call the one of its entry,
 * else the frame of the check or the signal, else the switch. The state may move on while the goroutine is
 * held (out of the call, out of a wait), but never to running, and no context is overwritten meanwhile.
 *
 * A foreign call has its return address replaced on the stack (arch/, stubs.S); the copy gets the real one
 * back, so that unwinding it sees what the program would see without us.
 */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(GR_COPY_REGS >= ARCH_REGS_MAX, "every register fits");

size_t gr_copy_stack_bytes_max(void)
{
    return gri_stack_default_bytes();
}

size_t gr_copy_vector_bytes_max(void)
{
    return arch_vectors_bytes();
}

static void copy_registers(const struct gr_g *g, enum gr_state state, struct gr_copy *copy)
{
    struct arch_regs regs;

    if (state == GR_SYSCALL)
        arch_regs_from_context(&regs, &g->ctx_syscall);
    else if (g->stop_kind == GRI_STOP_CALL)
        arch_regs_from_switch(&regs, g->ctx_sched);
    else
        arch_regs_from_frame(&regs, g->stop_frame, g->stop_kind == GRI_STOP_ASYNC);
    memcpy(copy->reg, regs.value, arch_reg_count * sizeof copy->reg[0]);
    copy->reg_present = regs.present;
    copy->pc = regs.pc;
    copy->sp = regs.sp;
    copy->vector_bytes = 0;
    if (state != GR_SYSCALL && g->stop_kind != GRI_STOP_CALL &&
        copy->vector_capacity >= arch_vectors_bytes()) {
        copy->vector_bytes = arch_vectors_bytes();
        memcpy(copy->vectors, g->stop_vectors, copy->vector_bytes);
    }
}

/* A stack under AddressSanitizer is full of red zones, and its memcpy looks at them. */
#if defined(__SANITIZE_ADDRESS__)
__attribute__((no_sanitize("address"))) static void copy_words(void *to, const void *from,
                                                               size_t bytes)
{
    volatile uint64_t *out = to;
    const uint64_t *in = from;

    for (size_t i = 0; i < bytes / 8; i++)
        out[i] = in[i];
}
#else
#define copy_words memcpy
#endif

/* The stack from SP (less the red zone) up, as far as there is room. */
static void copy_stack(const struct gr_g *g, struct gr_copy *copy)
{
    uint64_t from = (copy->sp - 128) & ~(uint64_t)15;

    copy->stack_lo = (uint64_t)g->stack.lo;
    copy->stack_hi = (uint64_t)g->stack.hi;
    if (from < copy->stack_lo)
        from = copy->stack_lo;
    copy->copied_lo = from;
    copy->copied_bytes = copy->stack_hi > from ? copy->stack_hi - from : 0;
    copy->truncated = copy->copied_bytes > copy->stack_capacity;
    if (copy->truncated)
        copy->copied_bytes = copy->stack_capacity & ~(size_t)7;
    copy_words(copy->stack, (const void *)from, copy->copied_bytes);
}

static void restore_return_addresses(const struct gr_g *g, struct gr_copy *copy)
{
    for (uint64_t i = 0; i < g->foreign->depth && i < ARCH_FOREIGN_MAX; i++) {
        uint64_t slot = g->foreign->call[i].slot;

        if (slot >= copy->copied_lo && slot + 8 <= copy->copied_lo + copy->copied_bytes)
            memcpy(copy->stack + (slot - copy->copied_lo), &g->foreign->call[i].address, 8);
    }
}

int gr_copy_held(const struct gr_hold *hold, struct gr_copy *copy)
{
    const struct gr_g *g = hold->g;
    uint64_t w;

    /* acquire; pairs with conclude. */
    if (!g || atomic_load_explicit(&hold->state, memory_order_acquire) != GR_HOLD_STOPPED)
        return -EINVAL;
    /* acquire; pairs with the CAS of whoever stopped it: its context is seen. */
    w = atomic_load_explicit(&g->word, memory_order_acquire);
    if (!gri_state_stopped(gri_word_state(w)))
        return -EINVAL;
    copy->id = hold->id;
    copy->safepoint = hold->safepoint;
    copy_registers(g, gri_word_state(w), copy);
    copy_stack(g, copy);
    restore_return_addresses(g, copy);
    return 0;
}

unsigned gr_register_count(void)
{
    return arch_reg_count;
}

const char *gr_register_name(unsigned index)
{
    return arch_reg_name(index);
}

void gr_copy_vectors_each(const struct gr_copy *copy, gr_vector_fn *fn, void *arg)
{
    if (copy->vector_bytes)
        arch_vectors_each(copy->vectors, fn, arg);
}

const char *gr_arch_name(void)
{
    return arch_name();
}
