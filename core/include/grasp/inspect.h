/*
 * inspect.h: from a copied goroutine to frames with names and lines.
 *
 * Works on copies (struct gr_copy) only, long after the goroutine was let go, by libdw. libdw is not
 * thread-safe, so all work is done by one thread at a time under one lock: call from a pool thread, never
 * from an event loop or a goroutine. Rejected: walking frame pointers, wrong at one instruction in fifteen.
 */
#ifndef GRASP_INSPECT_H
#define GRASP_INSPECT_H

#include <grasp/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GR_FRAMES_MAX 512

struct gr_frame {
    uint64_t pc;
    uint64_t offset; /* of pc into the function, else into the module; 0 for inlined frames */
    int line;     /* 0: not known */
    bool inlined; /* this function was inlined into the next frame's */
    /* Interned strings, valid for the life of the process; NULL if not known. */
    const char *function;
    const char *file;
    const char *module; /* module name as loaded, or the library's file name */
};

/*
 * Unwinds and names the frames of a copy, innermost first. Returns how many were stored (at most max); *truncated says
 * that there were more or that unwinding broke off. Negative: -ENOMEM.
 */
ssize_t gr_unwind(const struct gr_copy *copy, struct gr_frame *frames, size_t max, bool *truncated);
/* Names one address: the innermost frame only. `exact`: pc is an instruction, not a return address. */
void gr_symbolise(uint64_t pc, bool exact, struct gr_frame *frame);
/*
 * 0 if pc is no code of a module; else a number that changes whenever such code comes or goes: as long as it is the
 * same, a name that was had for pc holds. Any thread; never blocks.
 */
uint64_t gr_text_version(uint64_t pc);
/*
 * Bytes of memory that names and tables take now. Tables and cached names are forgotten above 256 MiB; names that were
 * handed out stay, each once.
 */
size_t gr_inspect_bytes(void);

/* ---- Core files ---------------------------------------------------------------------------------- */

/* The writable memory of the program and of every loaded object comes along: globals can be read. */
#define GR_CORE_DATA 1u

/*
 * An ELF core of `count` copies, a thread each, whose LWP is the goroutine's id (its low 31 bits): gdb opens it with the
 * program. Everything but the copies' stacks is copied here, so that for one moment's view the caller calls this while
 * it holds them. The copies must stay until gr_core_close. NULL: no memory.
 */
struct gr_core;
struct gr_core *gr_core_open(const struct gr_copy *const *copies, size_t count, unsigned flags);
uint64_t gr_core_bytes(const struct gr_core *core);
/* The next bytes of the file; fewer than asked for only at its end. */
size_t gr_core_read(struct gr_core *core, void *to, size_t bytes);
void gr_core_close(struct gr_core *core);

#ifdef __cplusplus
}
#endif
#endif
