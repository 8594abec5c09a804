/*
 * unwind.c: from a copied goroutine to named frames (inspect.h).
 *
 * Each address is named from the cache, or by symbols.c for the first time, and its unwind rules lie beside
 * its names (unwind_rules.h): a stack whose addresses were all met before costs no libdw. Where a rule is not simple,
 * libdwfl walks the whole copy by the unwind data of the loaded objects; to it the process has one
 * thread, whose registers and memory are those of the copy at hand.
 *
 * libdw falls back on frame pointers where it finds no unwind data. That is a guess, wrong for
 * leaves and for assembly, so the walk ends at the first frame without unwind data and says
 * `truncated`. Whole stacks end at the goroutine's entry, whose return address is marked undefined.
 *
 * The interrupted instruction, and the one above a signal frame, is exact; every other pc, the first of a goroutine that blocks too, is a
 * return address, whose call is the instruction before it: after a call that never returns the next
 * one belongs to somebody else.
 *
 * Invariants
 *   I1  All of libdw is entered under `inspect.lock`, by one thread at a time. Rejected: a thread of its own, which
 *       would cost two switches for each stack and serialise no better.
 *   I2  What libdwfl reads comes from the copy, or from segments nobody can write to; never from a
 *       live stack.
 *   I3  inspect.current is set only while the lock is held and frames are being walked.
 *
 * Locks: inspect.lock, a leaf: nothing of the runtime is called under it but gri_module_of and
 * _name, which take none.
 */
#include <grasp/inspect.h>

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "arch.h"
#include "core.h"
#include "symbol_cache.h"
#include "symbol_strings.h"
#include "symbols.h"
#include "unwind.h"
#include "unwind_objects.h"

/* More than any architecture's entry check, or landing pad before it, has. */
#define ENTRY_BYTES_MAX   64
#define LANDING_PAD_BYTES 4

/* libdwfl asks for threads by a positive id; which goroutine it is does not matter to it. */
#define THE_THREAD 1

static struct {
    pthread_mutex_t lock;
    const struct gr_copy *current;
    uint64_t start; /* where libdwfl begins: the copy's pc, or behind its entry check */
    bool attached;
    size_t symbols_bytes;
    size_t bytes_max;
    bool by_libdw;
} inspect = {.lock = PTHREAD_MUTEX_INITIALIZER, .bytes_max = GRI_INSPECT_BYTES_MAX};

/* One walk over one copy. */
struct walk {
    Dwfl *dwfl;
    struct gr_frame *frames;
    size_t count, max;
    bool ended; /* the last frame taken is the outermost */
    bool no_memory;
};

/* ---- What libdwfl asks for ------------------------------------------------------------------- */

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    if (*thread_arg || !inspect.current)
        return 0;
    *thread_arg = (void *)inspect.current;
    return THE_THREAD;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
    *thread_arg = (void *)inspect.current;
    return inspect.current != NULL;
}

/*
 * I2. Without signatures: what is read here is a frame's address, or one that a call returns to, and libdwfl does not
 * know of signed ones.
 */
static bool memory_read(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *arg)
{
    const struct gr_copy *copy = inspect.current;
    if (address >= copy->copied_lo && address - copy->copied_lo < copy->copied_bytes &&
        sizeof *result <= copy->copied_bytes - (address - copy->copied_lo))
        memcpy(result, copy->stack + (address - copy->copied_lo), sizeof *result);
    else if (!gri_objects_read(address, result, sizeof *result))
        return false;
    *result = arch_strip(*result);
    return true;
}

static bool copy_read(uint64_t address, uint64_t *word, void *arg)
{
    return memory_read(NULL, address, word, arg);
}

static bool set_initial_registers(Dwfl_Thread *thread, void *thread_arg)
{
    const struct gr_copy *copy = thread_arg;
    for (unsigned i = 0; i < arch_dwarf_regs && i < GR_COPY_REGS; i++) {
        Dwarf_Word value = arch_strip(copy->reg[i]);
        if ((copy->reg_present >> i & 1) && !dwfl_thread_state_registers(thread, (int)i, 1, &value))
            return false;
    }
    dwfl_thread_state_register_pc(thread, inspect.start);
    return true;
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = next_thread,
    .get_thread = get_thread,
    .memory_read = memory_read,
    .set_initial_registers = set_initial_registers,
};

/* ---- Names ----------------------------------------------------------------------------------- */

static int forget_module(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
                         void *arg)
{
    gri_symbols_destroy(*userdata);
    *userdata = NULL;
    return DWARF_CB_OK;
}

/* An object was closed: its addresses may mean something else from now on. Or too much is remembered. */
static void forget_all(Dwfl *old)
{
    dwfl_getmodules(old, forget_module, NULL, 0);
    gri_symbol_cache_clear();
    inspect.symbols_bytes = 0;
    inspect.attached = false;
}

/* The Dwfl with every object that is loaded now, or NULL: no memory. */
static Dwfl *inspect_dwfl(void)
{
    bool renewed;
    if (inspect.symbols_bytes + gri_symbol_cache_bytes() > inspect.bytes_max)
        gri_objects_forget(forget_all);
    Dwfl *dwfl = gri_objects_update(forget_all, &renewed);
    if (dwfl && (renewed || !inspect.attached))
        inspect.attached = dwfl_attach_state(dwfl, NULL, getpid(), &thread_callbacks, NULL);
    return dwfl;
}

static const char *module_name(uint64_t pc, const char *path)
{
    const struct gri_module *module = gri_module_of(pc);
    if (module)
        return gri_intern(gri_module_name(module));
    const char *slash = path ? strrchr(path, '/') : NULL;
    return gri_intern(slash ? slash + 1 : path);
}

/* What is known of an address, with room for as many names as it may have. */
union fresh {
    struct gri_named named;
    char room[sizeof(struct gri_named) + GRI_INLINED_MAX * sizeof(struct gri_name)];
};

/*
 * The instruction behind the entry check that pc is in, or before, at the landing pad; 0: it is in none. A check changes
 * no register that unwinding needs, so what is said of the instruction behind it holds in it as well. gcc 12 on arm64 says
 * nothing of the check itself: there a function's unwind data begin behind the room for it.
 */
static uint64_t behind_check(uint64_t pc)
{
    uint8_t code[ENTRY_BYTES_MAX];
    size_t bytes = arch_entry_bytes();
    GRI_ASSERT(bytes <= sizeof code);
    for (uint64_t at = pc + LANDING_PAD_BYTES; at + bytes > pc; at--)
        if (gri_objects_read(at, code, bytes) && arch_entry_is_check(code))
            return at + bytes;
    return 0;
}

/* `named` has room for GRI_INLINED_MAX names. */
static int name_address(Dwfl *dwfl, uint64_t pc, struct gri_named *named, struct gri_rules *rules)
{
    void **userdata;
    const char *path;
    uint64_t behind;
    *named = (struct gri_named){.pc = pc, .start = pc, .count = 1, .rules = rules};
    named->name[0] = (struct gri_name){0};
    gri_rules_make(rules, NULL);
    Dwfl_Module *module = dwfl_addrmodule(dwfl, pc);
    if (!module)
        return 0;
    path = dwfl_module_info(module, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
    if (!*userdata)
        *userdata = gri_symbols_create(module);
    if (!*userdata)
        return -ENOMEM;
    named->module = module_name(pc, path);
    gri_symbols_rules(*userdata, pc, rules);
    if (rules->caller == GRI_CALLER_UNKNOWN && (behind = behind_check(pc))) {
        gri_symbols_rules(*userdata, behind, rules);
        rules->in_check = true;
    }
    size_t before = gri_symbols_bytes(*userdata);
    int count = gri_symbols_name(*userdata, pc, named->name, GRI_INLINED_MAX, &named->start);
    inspect.symbols_bytes += gri_symbols_bytes(*userdata) - before;
    if (count < 0)
        return count;
    named->count = (unsigned)count;
    return 0;
}

/* What is known of the instruction at pc; NULL: no memory. */
static const struct gri_named *named_get(Dwfl *dwfl, uint64_t pc)
{
    union fresh fresh;
    struct gri_rules rules;
    const struct gri_named *named = gri_symbol_cache_get(pc);
    if (named)
        return named;
    if (name_address(dwfl, pc, &fresh.named, &rules) != 0)
        return NULL;
    return gri_symbol_cache_put(&fresh.named);
}

/* Name i of `named` as a frame; pc is what the stack has, which may be one after named->pc. */
static struct gr_frame frame_make(const struct gri_named *named, unsigned i, uint64_t pc)
{
    bool inlined = i + 1 < named->count;
    return (struct gr_frame){
        .pc = pc,
        .offset = inlined ? 0 : pc - named->start,
        .line = named->name[i].line,
        .inlined = inlined,
        .function = named->name[i].function,
        .file = named->name[i].file,
        .module = named->module,
    };
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* Takes the frame at pc, by all its names. What is known of it; NULL: no room or no memory. */
static const struct gri_named *walk_take(struct walk *walk, uint64_t pc, bool exact)
{
    const struct gri_named *named = named_get(walk->dwfl, exact ? pc : pc - 1);
    walk->ended = false;
    walk->no_memory = walk->no_memory || !named;
    for (unsigned i = 0; named && i < named->count; i++) {
        if (walk->count == walk->max)
            return NULL;
        walk->frames[walk->count++] = frame_make(named, i, pc);
    }
    walk->ended = named && named->rules->caller == GRI_CALLER_NONE;
    return named;
}

/* By the rules kept with the names. False: it met others, and libdwfl has to walk. Each turn takes a frame. */
static bool walk_by_rules(struct walk *walk, const struct gr_copy *copy)
{
    struct gri_walker walker = {
        .present = copy->reg_present, .pc = arch_strip(copy->pc), .exact = !copy->in_call};
    for (unsigned i = 0; i < arch_dwarf_regs && i < GR_COPY_REGS; i++)
        walker.reg[i] = arch_strip(copy->reg[i]);
    for (;;) {
        const struct gri_named *named = walk_take(walk, walker.pc, walker.exact);
        if (!named || named->rules->caller != GRI_CALLER_FOUND)
            return true;
        if (!named->rules->simple)
            return false;
        if (!gri_rules_apply(named->rules, &walker, copy_read, NULL) || walker.pc == 0)
            return true;
        walker.pc = arch_strip(walker.pc);
    }
}

/* DWARF_CB_ABORT: enough, or no further. */
static int take_frame(Dwfl_Frame *state, void *arg)
{
    struct walk *walk = arg;
    Dwarf_Addr pc;
    bool exact, first = walk->count == 0;
    if (!dwfl_frame_pc(state, &pc, &exact))
        return DWARF_CB_ABORT;
    if (first) {
        pc = inspect.current->pc;
        exact = !inspect.current->in_call;
    }
    const struct gri_named *named = walk_take(walk, arch_strip(pc), exact);
    /* Without unwind data libdw would guess. */
    if (!named || named->rules->caller != GRI_CALLER_FOUND || (named->rules->in_check && !first))
        return DWARF_CB_ABORT;
    return DWARF_CB_OK;
}

/* By libdwfl, from the copy's registers. */
static void walk_by_libdwfl(struct walk *walk, const struct gr_copy *copy)
{
    uint64_t pc = arch_strip(copy->pc);
    const struct gri_named *named = named_get(walk->dwfl, pc);
    walk->no_memory = !named;
    if (!named)
        return;
    walk->count = 0;
    walk->ended = false;
    inspect.start = named->rules->in_check ? behind_check(pc) : pc;
    dwfl_getthread_frames(walk->dwfl, THE_THREAD, take_frame, walk);
}

static void walk_copy(struct walk *walk, const struct gr_copy *copy)
{
    inspect.current = copy;
    if (inspect.by_libdw || !walk_by_rules(walk, copy))
        walk_by_libdwfl(walk, copy);
    inspect.current = NULL;
}

ssize_t gr_unwind(const struct gr_copy *copy, struct gr_frame *frames, size_t max, bool *truncated)
{
    struct walk walk = {.frames = frames, .max = max};
    pthread_mutex_lock(&inspect.lock);
    walk.dwfl = inspect_dwfl();
    if (walk.dwfl && inspect.attached)
        walk_copy(&walk, copy);
    pthread_mutex_unlock(&inspect.lock);
    *truncated = !walk.ended;
    return !walk.dwfl || walk.no_memory ? -ENOMEM : (ssize_t)walk.count;
}

void gr_symbolise(uint64_t pc, bool exact, struct gr_frame *frame)
{
    *frame = (struct gr_frame){.pc = pc};
    pthread_mutex_lock(&inspect.lock);
    Dwfl *dwfl = inspect_dwfl();
    const struct gri_named *named = dwfl ? named_get(dwfl, exact ? pc : pc - 1) : NULL;
    if (named)
        *frame = frame_make(named, 0, pc);
    pthread_mutex_unlock(&inspect.lock);
}

size_t gr_inspect_bytes(void)
{
    pthread_mutex_lock(&inspect.lock);
    size_t bytes =
        inspect.symbols_bytes + gri_intern_bytes() + gri_symbol_cache_bytes() + gri_objects_bytes();
    pthread_mutex_unlock(&inspect.lock);
    return bytes;
}

void gri_inspect_limit(size_t bytes)
{
    pthread_mutex_lock(&inspect.lock);
    inspect.bytes_max = bytes;
    pthread_mutex_unlock(&inspect.lock);
}

void gri_unwind_by_libdw(bool on)
{
    pthread_mutex_lock(&inspect.lock);
    inspect.by_libdw = on;
    pthread_mutex_unlock(&inspect.lock);
}
