/*
 * copy.c: copies what a held goroutine looks like: registers as of its stop, the used part of its stack,
 * vector state if it was caught.
 *
 * Which of the saved contexts is the right one is told by the state: in a system call the one of its entry,
 * else the frame of the check or the signal, else the switch. The state may move on while the goroutine is
 * held (out of the call, out of a wait), but never to running, and no context is overwritten meanwhile.
 *
 * A foreign call has its return address replaced (arch/, stubs.S); the copy gets the real one back, so that
 * unwinding it sees what the program would see without us.
 *
 * One whose stack is folded (fold.c) is read from its block and stays folded.
 */
#include "scheduler.h"

#include <string.h>

#include "sanitize.h"

_Static_assert(GR_COPY_REGS >= ARCH_REGS_MAX, "every register fits");

size_t gr_copy_stack_bytes_max(void)
{
    return gri_stack_default_bytes();
}

size_t gr_copy_vector_bytes_max(void)
{
    return arch_vectors_bytes();
}

/* The block that g's used stack bytes are in, or NULL. It is held, so that does not change (fold.c, F1). */
static const uint8_t *block_of(const struct gr_g *g)
{
    /* relaxed: written before the CAS that made the word what its holder has read with acquire. */
    return atomic_load_explicit(&g->folded, memory_order_relaxed);
}

/* Then nothing is on its stack. It is held, so that does not change either (sched.c, claim). */
static bool has_not_run(const struct gr_g *g)
{
    return !g->ctx_sched;
}

/* As of its last switch: what arch_switch saved is on the stack, or in the block, as if it lay there. */
static void registers_of_switch(const struct gr_g *g, struct arch_regs *regs)
{
    const uint8_t *block = block_of(g);

    if (has_not_run(g)) {
        arch_regs_from_switch(regs, gri_first_frame);
        regs->value[arch_sp_reg] = regs->sp = (uint64_t)g->stack.hi;
        return;
    }
    arch_regs_from_switch(regs, block ? block : g->ctx_sched);
    if (block)
        regs->value[arch_sp_reg] = regs->sp += (uint64_t)g->ctx_sched - (uint64_t)block;
}

static void copy_registers(const struct gr_g *g, enum gr_state state, struct gr_copy *copy)
{
    struct arch_regs regs;

    if (state == GR_SYSCALL)
        arch_regs_from_context(&regs, &g->ctx_syscall);
    else if (g->stop_kind == GRI_STOP_CALL)
        registers_of_switch(g, &regs);
    else
        arch_regs_from_frame(&regs, g->stop_frame, g->stop_kind == GRI_STOP_ASYNC);
    memcpy(copy->reg, regs.value, arch_reg_count * sizeof copy->reg[0]);
    copy->reg_present = regs.present;
    copy->pc = regs.pc;
    copy->sp = regs.sp;
    copy->in_call = state == GR_SYSCALL || g->stop_kind == GRI_STOP_CALL;
    copy->vector_bytes = 0;
    if (state != GR_SYSCALL && g->stop_kind != GRI_STOP_CALL &&
        copy->vector_capacity >= arch_vectors_bytes()) {
        copy->vector_bytes = arch_vectors_bytes();
        memcpy(copy->vectors, g->stop_vectors, copy->vector_bytes);
    }
}

/* Bytes [from, from + bytes) of g's stack. Of a folded one only what was in use is kept, the rest is 0. */
static void copy_bytes(const struct gr_g *g, void *to, uint64_t from, size_t bytes)
{
    uint64_t lo = (uint64_t)g->ctx_sched, hi = (uint64_t)g->foreign, end = from + bytes;

    if (bytes == 0)
        return; /* there may be no buffer */
    if (has_not_run(g)) {
        memset(to, 0, bytes);
        return;
    }
    if (!block_of(g)) {
        gri_copy_stack_words(to, (const void *)from, bytes);
        return;
    }
    memset(to, 0, bytes);
    if (lo < from)
        lo = from;
    if (hi > end)
        hi = end;
    if (lo < hi)
        memcpy((uint8_t *)to + (lo - from), block_of(g) + (lo - (uint64_t)g->ctx_sched), hi - lo);
}

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
    copy_bytes(g, copy->stack, from, copy->copied_bytes);
}

static void restore_return_addresses(const struct gr_g *g, struct gr_copy *copy)
{
    /* Folded, no foreign call is under way (fold.c, F1), and its page is not to come back. */
    if (!block_of(g) && !has_not_run(g))
        arch_foreign_restore(g->foreign, copy->reg, copy->stack, copy->copied_lo,
                             copy->copied_bytes);
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

/* ---- For gdb ------------------------------------------------------------------------------------- */

_Static_assert(GR_GDB_BYTES_MAX >= ARCH_GDB_BYTES_MAX, "registers fit");

size_t gr_gdb_description(char *out, size_t bytes)
{
    return arch_gdb_description(out, bytes);
}

size_t gr_gdb_registers(const struct gr_copy *copy, uint8_t *bytes, uint8_t *valid)
{
    struct arch_regs regs = {.present = copy->reg_present, .pc = copy->pc, .sp = copy->sp};

    memcpy(regs.value, copy->reg, sizeof regs.value);
    return arch_gdb_registers(&regs, copy->vector_bytes ? copy->vectors : NULL, bytes, valid);
}

size_t gr_memory_read(uint64_t address, void *to, size_t bytes)
{
    return gri_memory_read(address, to, bytes);
}

/* What of [address, address + size) is in the block of a folded stack. */
static void patch_folded(const struct gr_g *g, uint64_t address, uint8_t *bytes, size_t size)
{
    uint64_t lo = (uint64_t)g->ctx_sched, hi = (uint64_t)g->foreign, end = address + size;
    uint64_t from = lo > address ? lo : address, to = hi < end ? hi : end;

    if (from < to)
        memcpy(bytes + (from - address), block_of(g) + (from - lo), to - from);
}

#define PATCH_WORDS 32u

/*
 * Which words hold the runtime's address in place of a real one, only arch_foreign_restore knows, and it takes whole
 * words: those that `bytes` has in part are read anew, from a stack that stands still.
 */
static void patch_foreign(const struct gr_g *g, uint64_t address, uint8_t *bytes, size_t size)
{
    uint64_t found[PATCH_WORDS], real[PATCH_WORDS];
    uint64_t lo = (uint64_t)g->stack.lo, hi = (uint64_t)g->stack.hi, end = address + size;
    uint64_t from = (address > lo ? address : lo) & ~(uint64_t)7, to = hi < end ? hi : end;

    for (; g->foreign->depth > 0 && from < to; from += sizeof found) {
        size_t words = (to - from + 7) / 8 < PATCH_WORDS ? (to - from + 7) / 8 : PATCH_WORDS;

        words = gri_memory_read(from, found, 8 * words) / 8;
        memcpy(real, found, sizeof real);
        arch_foreign_restore(g->foreign, NULL, real, from, 8 * words);
        for (size_t i = 0; i < 8 * words; i++) {
            if (found[i / 8] != real[i / 8] && from + i >= address && from + i < end)
                bytes[from + i - address] = ((const uint8_t *)real)[i];
        }
    }
}

void gr_held_patch(const struct gr_hold *hold, uint64_t address, void *bytes, size_t size)
{
    const struct gr_g *g = hold->g;

    /* acquire; pairs with conclude. */
    if (!g || atomic_load_explicit(&hold->state, memory_order_acquire) != GR_HOLD_STOPPED ||
        address + size <= (uint64_t)g->stack.lo || address >= (uint64_t)g->stack.hi ||
        has_not_run(g))
        return;
    if (block_of(g)) { /* no foreign call is under way (fold.c, F1) */
        patch_folded(g, address, bytes, size);
        return;
    }
    patch_foreign(g, address, bytes, size);
}
