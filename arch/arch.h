/*
 * arch.h: everything that the runtime needs to know of a processor architecture.
 *
 * One folder beside this file implements it for one architecture; CMake adds exactly one. Nothing outside
 * arch/ names a register, an instruction, a relocation type or a signal-frame field. The contract is small
 * on purpose: a context switch, the first entry into a goroutine, three ways in which a goroutine is
 * caught (function-entry check, import stub, rewritten signal frame), and the translation of what was
 * saved into named registers.
 *
 * Rejected: saving only what the ABI calls live at each kind of stop. It is faster by some 100 ns and
 * means three layouts to read back; here every caught goroutine leaves one `struct arch_frame` with all
 * general registers and a whole vector area beside it.
 *
 * Invariants
 *   I1  Registers are in memory before any arch_on_* function is called.
 *   I2  Code in this folder is never an asynchronous safe-point: it is in no module's text.
 *   I3  The guard slot of a thread that runs no goroutine is 0, so that every check passes.
 */
#ifndef GRASP_ARCH_H
#define GRASP_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Process and thread -------------------------------------------------------------------------- */

/* Once, before any other call: finds out how vector state is saved here. */
void arch_init(void);

/* Forces how vector state is saved, for tests: "xsavec", "xsave", "fxsave" on x86-64. 0, or -ENOTSUP. */
int arch_force_vector_save(const char *name);

/* The architecture's name as GET /v1/runtime shows it: "x86-64", "arm64". */
const char *arch_name(void);

#define ARCH_FOREIGN_MAX 64

/* Calls of foreign code that are under way on one goroutine: where on the stack each was made, and where it returns to. */
struct arch_foreign {
    uint64_t depth;
    uint64_t reserved;
    struct {
        uint64_t slot; /* where the return address lay, or SP at the call: lower with each call */
        uint64_t address; /* the return address, in whose place there is one into the runtime */
    } call[ARCH_FOREIGN_MAX];
};

/*
 * What assembly has to find per thread. One initial-exec variable; core reaches it only through
 * arch_tls_self(), which is never inlined, so that no compiler keeps its address across a switch.
 */
struct arch_tls {
    void *thread;                 /* struct gr_m of this thread, or NULL */
    struct arch_foreign *foreign; /* of the goroutine that runs here, or NULL */
    int *errno_goroutine;         /* where this goroutine's errno lives */
    int *errno_thread;            /* libc's errno of this thread */
    uint64_t errno_owned;         /* 1: the value is in *errno_goroutine; 0: in *errno_thread */
};
struct arch_tls *arch_tls_self(void);

/* The word that entry checks of the calling thread compare SP with. Stays valid for the thread's life. */
uint64_t *arch_guard_slot(void);

/* A hint to the core that this is a wait loop. Waits are bounded by the clock, never by a count of these. */
void arch_pause(void);

/* An instruction that does nothing. */
#define ARCH_NOP() __asm__ volatile("nop")

/* A counter of constant rate, cheap to read, the same on all cores. */
uint64_t arch_ticks(void);

/* ---- Switching ----------------------------------------------------------------------------------- */

/* Saves the callee-saved state on the stack and SP in *save, then goes on from `to`. */
void arch_switch(void **save, void *to);

/* Prepares a stack whose highest address is `hi` so that arch_switch to the result calls entry(arg). Unwinding ends there. */
void *arch_stack_init(void *hi, void (*entry)(void *), void *arg);

/* The registers that a callee must keep, with pc and sp as they are after the call of arch_capture returns. */
struct arch_context {
    uint64_t pc, sp, saved[12];
};
void arch_capture(struct arch_context *context);

/* ---- Being caught -------------------------------------------------------------------------------- */

struct arch_frame; /* all general registers of the interrupted code, on its own stack */

/* Poison is above every stack address, so that the next check fails. */
#define ARCH_GUARD_POISON UINT64_MAX

/* Bytes that an asynchronous stop of what `ucontext` shows needs below SP, continuation in C included. */
size_t arch_async_stack_bytes(const void *ucontext);

/* Import stubs compare SP less this with the guard: libc must not overflow while it holds a lock. */
#define ARCH_STUB_HEADROOM 24576

/*
 * Called by the assembly on the goroutine's stack with the frame filled, vectors saved, FP control reset;
 * returning resumes the interrupted code. Defined by the user of arch (core).
 *   arch_on_check: an entry check or import stub found SP - headroom at or below the guard.
 *   arch_on_async: the signal handler sent us here by arch_signal_inject.
 */
void arch_on_check(struct arch_frame *frame, void *vectors, size_t headroom);
void arch_on_async(struct arch_frame *frame, void *vectors);
/* More foreign calls nested than ARCH_FOREIGN_MAX. Does not return. */
_Noreturn void arch_on_foreign_overflow(void);

/* What the kernel saved for a signal handler; `ucontext` is its third argument. */
uint64_t arch_signal_pc(const void *ucontext);
uint64_t arch_signal_sp(const void *ucontext);
/* Rewrites it so that the thread calls arch_on_async when the handler returns. */
void arch_signal_inject(void *ucontext);
/* If the thread is in arch_cancellable_syscall before the kernel took effect: rewrites it to return -ECANCELED. */
bool arch_signal_cancel_syscall(void *ucontext);

/* A system call. Returns the kernel's result, -errno on failure. */
long arch_syscall(long nr, const long args[6]);
/* One that a signal can cancel. -ECANCELED also if *cancel != 0 at the start. */
long arch_cancellable_syscall(const uint32_t *cancel, long nr, const long args[6]);

/* ---- Import stubs -------------------------------------------------------------------------------- */

/*
 * Ready-made code, since no text is written at run time. Stub i jumps to arch_stub_target[i] after the
 * check. A pinning stub also counts the call on arch_tls.foreign until it returns.
 */
#define ARCH_STUBS 2048
extern void *arch_stub_target[ARCH_STUBS];
extern void *arch_pin_stub_target[ARCH_STUBS];
void *arch_stub_address(unsigned index);
void *arch_pin_stub_address(unsigned index);
/*
 * Puts the real return addresses back into a copy of a goroutine: `reg` as struct arch_regs has them, or NULL, and
 * `bytes` of stack, whole words, that were copied from `lo`. Only the copy is written.
 */
void arch_foreign_restore(const struct arch_foreign *foreign, uint64_t *reg, void *stack,
                          uint64_t lo, size_t bytes);

/* ---- Modules ------------------------------------------------------------------------------------- */

enum arch_reloc {
    ARCH_RELOC_OTHER,
    ARCH_RELOC_SLOT,     /* JUMP_SLOT or GLOB_DAT: the word is the symbol's address */
    ARCH_RELOC_ABSOLUTE, /* the word is the symbol's address plus the addend */
    ARCH_RELOC_TLS,      /* any thread-local relocation */
};
enum arch_reloc arch_reloc_kind(uint32_t type);
uint16_t arch_elf_machine(void);
/* The length of an entry check; and whether these bytes are one. `at` points at so many readable bytes. */
size_t arch_entry_bytes(void);
bool arch_entry_is_check(const void *at);

/* ---- Reading what was saved ---------------------------------------------------------------------- */

#define ARCH_REGS_MAX 40

/* Registers by DWARF number below arch_dwarf_regs, then the rest (pc, flags). Absent ones are not in `present`. */
struct arch_regs {
    uint64_t value[ARCH_REGS_MAX];
    uint64_t present;
    uint64_t pc, sp;
};
extern const unsigned arch_reg_count;  /* how many names there are */
extern const unsigned arch_sp_reg;     /* which of them is the stack pointer */
extern const unsigned arch_dwarf_regs; /* the first so many go to the unwinder */
const char *arch_reg_name(unsigned index);
/* An address without pointer-authentication bits. */
uint64_t arch_strip(uint64_t address);

void arch_regs_from_switch(struct arch_regs *regs, const void *saved_sp);
void arch_regs_from_context(struct arch_regs *regs, const struct arch_context *context);
/* `async`: the frame of arch_on_async, else of arch_on_check. */
void arch_regs_from_frame(struct arch_regs *regs, const struct arch_frame *frame, bool async);
void arch_regs_from_signal(struct arch_regs *regs, const void *ucontext);
/* Where the function returns to whose first instruction or import stub these registers were caught in. */
uint64_t arch_caller(const struct arch_regs *regs);

/* Size of the vector area that arch_on_* were handed, and a walk over its registers: name, bytes lowest first. */
size_t arch_vectors_bytes(void);
typedef void arch_vector_fn(void *arg, const char *name, const void *bytes, size_t size);
void arch_vectors_each(const void *vectors, arch_vector_fn *fn, void *arg);

/* ---- For gdb ------------------------------------------------------------------------------------- */

/*
 * The registers as gdb's remote protocol wants them. The description is XML, made for what is saved on this
 * machine; returns its length as snprintf does.
 */
size_t arch_gdb_description(char *out, size_t bytes);
#define ARCH_GDB_BYTES_MAX 8192
/*
 * Their values in the order of the description, at most ARCH_GDB_BYTES_MAX bytes; valid[i] is 1 where byte i
 * was saved. vectors NULL: there are none. Returns how many bytes.
 */
size_t arch_gdb_registers(const struct arch_regs *regs, const void *vectors, uint8_t *bytes,
                          uint8_t *valid);

/*
 * For a debugger that has nothing but memory (tools/grasp-gdb.py): where the registers of a goroutine that does not run
 * are. Names: "switch.REG", "context.REG", "frame.REG" is REG's offset in what arch_switch saved, in an arch_context, in
 * an arch_frame; "switch.+REG", "frame.+REG", "async.+REG": REG is the address of that plus so many bytes ("async." if it
 * was stopped by a signal); "foreign.return" is the return address that stands for another one, "foreign.+slot" what SP
 * is above the slot once it was used. The last one has no name.
 */
struct arch_debug_pair {
    char name[24];
    uint64_t value;
};
extern const struct arch_debug_pair arch_debug_layout[];

/* ---- Core files ---------------------------------------------------------------------------------- */

/* `regs` as the elf_gregset_t of an ELF core's NT_PRSTATUS; absent ones are 0. */
void arch_core_regs(void *gregset, const struct arch_regs *regs);

/* A note that shows vector registers, as the kernel's own cores have it; `name` is its owner. */
struct arch_core_note {
    const char *name;
    uint32_t type;
    size_t bytes;
};
#define ARCH_CORE_NOTE_BYTES_MAX 4096
/*
 * Note `index` (0, 1, …) of the vector area of a stop, its contents in out, which has ARCH_CORE_NOTE_BYTES_MAX bytes. False:
 * there are not so many on this machine.
 */
bool arch_core_vectors(unsigned index, const void *vectors, struct arch_core_note *note,
                       uint8_t *out);

#endif
