/*
 * signal.c: the kernel's signal frame: reading it, moving it to the goroutine's stack, and changing it so that the
 * thread goes where we want when the handler returns.
 *
 * The frame is a siginfo, a ucontext, and in the latter's __reserved area records of a magic number and a size, ended by
 * one of zeros: FPSIMD, SVE, and what later processors bring. If they need more than the area has, a record EXTRA
 * points to the rest, which lies right behind the end record; the kernel insists on that when it takes the
 * frame back. So the whole is one run of bytes, and a copy of it is good once that pointer has moved along.
 *
 * Rejected: saving the registers ourselves, as on x86-64. No instruction sequence loads all of them and jumps to an
 * arbitrary address; and the kernel's frame already has whatever this processor's vectors are.
 *
 * Invariants
 *   S1  The copy does not name the signal stack: sigreturn would make this thread's stack that of the thread where the
 *       goroutine is resumed.
 *   S2  All threads that run goroutines have the same signal mask, so the mask in the copy fits wherever it is resumed.
 */
#include "arch.h"

#include <asm/sigcontext.h>
#include <stddef.h>
#include <string.h>

#include "frames.h"

_Static_assert(offsetof(struct kernel_frame, context.uc_mcontext.regs) == KERNEL_X, "layout.h");
_Static_assert(offsetof(struct kernel_frame, context.uc_mcontext.sp) == KERNEL_SP, "layout.h");
_Static_assert(offsetof(struct kernel_frame, context.uc_mcontext.pc) == KERNEL_PC, "layout.h");
_Static_assert(sizeof(struct caught) == CAUGHT_BYTES, "layout.h");

#define PSTATE_BTYPE (UINT64_C(3) << 10)
#define PSTATE_NZCV  (UINT64_C(15) << 28)
#define LANDED_BYTES 3072 /* arch_async_landed's own frame, the continuation in core, a switch */

/* The record that starts at `at`; NULL behind the last one. */
static const struct _aarch64_ctx *record_at(const uint8_t *at, const uint8_t *end)
{
    const struct _aarch64_ctx *record = (const struct _aarch64_ctx *)at;

    if (at + sizeof *record > end || record->magic == 0 || record->size < sizeof *record ||
        record->size > (size_t)(end - at))
        return NULL;
    return record;
}

/* The record with that magic number, in the frame or in what EXTRA points to; NULL if there is none. */
static const void *find(const ucontext_t *context, uint32_t magic)
{
    const uint8_t *at = context->uc_mcontext.__reserved;
    const uint8_t *end = at + sizeof context->uc_mcontext.__reserved;
    const struct _aarch64_ctx *record;

    while ((record = record_at(at, end))) {
        if (record->magic == magic)
            return record;
        at += record->size;
        if (record->magic == EXTRA_MAGIC) {
            const struct extra_context *extra = (const void *)record;

            at = (const uint8_t *)(uintptr_t)extra->datap;
            end = at + extra->size;
        }
    }
    return NULL;
}

static const struct kernel_frame *frame_of(const ucontext_t *context)
{
    return (const void *)((const char *)context - offsetof(struct kernel_frame, context));
}

/* How long the run of bytes is that has something in it. */
static size_t used_bytes(const ucontext_t *context)
{
    const uint8_t *start = (const uint8_t *)frame_of(context);
    const uint8_t *at = context->uc_mcontext.__reserved;
    const uint8_t *end = at + sizeof context->uc_mcontext.__reserved;
    const struct extra_context *extra = find(context, EXTRA_MAGIC);
    const struct _aarch64_ctx *record;

    if (extra) {
        end = (const uint8_t *)(uintptr_t)extra->datap + extra->size;
    } else {
        while ((record = record_at(at, end)))
            at += record->size;
        end = at + sizeof *record;
    }
    return ((size_t)(end - start) + 15) & ~(size_t)15;
}

/*
 * How much stack the copy takes: at least the whole struct, because whoever takes it back may want all of it to be
 * memory (qemu-user does; the kernel looks at the address range).
 */
static size_t frame_bytes(const ucontext_t *context)
{
    size_t used = used_bytes(context);

    return used > sizeof(struct kernel_frame) ? used : sizeof(struct kernel_frame);
}

/* ---- Reading ------------------------------------------------------------------------------------- */

uint64_t arch_signal_pc(const void *ucontext)
{
    return ((const ucontext_t *)ucontext)->uc_mcontext.pc;
}

uint64_t arch_signal_sp(const void *ucontext)
{
    return ((const ucontext_t *)ucontext)->uc_mcontext.sp;
}

size_t vectors_length_of_signal(const ucontext_t *context)
{
    const struct sve_context *sve = find(context, SVE_MAGIC);

    return sve ? sve->vl : 0;
}

void vectors_from_signal(struct vectors *vectors, const ucontext_t *context)
{
    const struct fpsimd_context *fp = find(context, FPSIMD_MAGIC);
    const struct sve_context *sve = find(context, SVE_MAGIC);
    size_t length = sve ? sve->vl : 0;

    memset(vectors, 0, vectors_size(length));
    vectors->length = length;
    if (!fp)
        return;
    vectors->fpsr = fp->fpsr;
    vectors->fpcr = fp->fpcr;
    /* Without a payload SVE's registers are zero beyond what FPSIMD has. FPSIMD's part counts in either case. */
    if (sve && sve->head.size >= SVE_SIG_CONTEXT_SIZE(sve_vq_from_vl(length)))
        memcpy(vectors->regs, (const uint8_t *)sve + SVE_SIG_REGS_OFFSET,
               SVE_SIG_REGS_SIZE(sve_vq_from_vl(length)));
    for (unsigned i = 0; i < 32; i++)
        memcpy(vectors->regs + (length ? length : 16) * i, &fp->vregs[i], 16);
}

/* ---- Injecting ----------------------------------------------------------------------------------- */

size_t arch_async_stack_bytes(const void *ucontext)
{
    return frame_bytes(ucontext) + 16 + sizeof(struct arch_frame) +
           vectors_size(vectors_length_of_signal(ucontext)) + LANDED_BYTES;
}

void arch_signal_inject(void *ucontext)
{
    ucontext_t *context = ucontext;
    mcontext_t *m = &context->uc_mcontext;
    const struct kernel_frame *from = frame_of(context);
    const struct extra_context *extra = find(context, EXTRA_MAGIC);
    char *to = (char *)((m->sp - frame_bytes(context)) & ~UINT64_C(15));
    struct kernel_frame *copy = (struct kernel_frame *)to;
    uint64_t record[2] = {m->regs[29], m->pc};

    memcpy(to, from, used_bytes(context));
    if (extra) {
        struct extra_context *moved =
            (struct extra_context *)(to + ((const char *)extra - (const char *)from));

        moved->datap = (uint64_t)(to + (extra->datap - (uint64_t)from));
    }
    /* S1: flags that the kernel refuses, and it then leaves the thread's stack alone. */
    copy->context.uc_stack = (stack_t){.ss_flags = -1};
    /* The siginfo is not looked at again: its first words are a frame record for walkers of frame pointers. */
    memcpy(to, record, sizeof record);
    m->regs[29] = (uint64_t)to;
    m->sp = (uint64_t)to;
    m->pc = (uint64_t)arch_async_preempt;
    m->pstate &= ~PSTATE_BTYPE;
}

/*
 * Called by arch_async_preempt on the goroutine's stack, with the copy. Returning is resuming. It makes the picture that
 * the other kinds of stop leave, for those who read it.
 */
void arch_async_landed(const struct kernel_frame *kernel)
{
    const mcontext_t *m = &kernel->context.uc_mcontext;
    size_t length = vectors_length_of_signal(&kernel->context);
    struct vectors *vectors = __builtin_alloca_with_align(vectors_size(length), 8 * 64);
    struct arch_frame frame = {.sp = m->sp, .pc = m->pc, .pstate = m->pstate & PSTATE_NZCV};

    memcpy(frame.x, m->regs, sizeof frame.x);
    vectors_from_signal(vectors, &kernel->context);
    arch_on_async(&frame, vectors);
}

void arch_syscall_begin(void);
void arch_syscall_end(void);
void arch_syscall_cancelled(void);

bool arch_signal_cancel_syscall(void *ucontext)
{
    mcontext_t *m = &((ucontext_t *)ucontext)->uc_mcontext;

    /* At _end the kernel has done its work, and the result is in x0. */
    if (m->pc < (uint64_t)arch_syscall_begin || m->pc >= (uint64_t)arch_syscall_end)
        return false;
    m->pc = (uint64_t)arch_syscall_cancelled;
    return true;
}
