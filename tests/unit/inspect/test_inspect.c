/*
 * test_inspect.c: what gr_unwind and gr_symbolise say of known code.
 *
 * Each case builds a known chain of calls, takes a picture of itself at the innermost (shot.h) and
 * compares the frames with the chain. The compiler is kept from inlining, cloning or tail-calling
 * what the chain needs; what must be inlined is always_inline, so that every build type gives the
 * same frames.
 */
#include "shot.h"
#include "unwind.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CHAIN  __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))
#define INLINE static inline __attribute__((always_inline))
/* Keeps the call before it from becoming a jump. */
#define NO_TAIL() __asm__ volatile("" ::: "memory")

void bare_call(void (*fn)(void *), void *arg);

static struct shot shot, other_shot;
static int line_of_inner, line_of_middle, line_of_outer;

static bool ends_with(const char *text, const char *end)
{
    size_t n = text ? strlen(text) : 0, m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void take_shot(void *arg)
{
    shot_take(arg);
    NO_TAIL();
}

/* ---- Plain chains ---------------------------------------------------------------------------- */

static CHAIN void chain_inner(struct shot *to)
{
    line_of_inner = __LINE__ + 1;
    shot_take(to);
    NO_TAIL();
}

static CHAIN void chain_middle(struct shot *to)
{
    line_of_middle = __LINE__ + 1;
    chain_inner(to);
    NO_TAIL();
}

static CHAIN void chain_outer(struct shot *to)
{
    line_of_outer = __LINE__ + 1;
    chain_middle(to);
    NO_TAIL();
}

static void calls_are_named_with_file_and_line(void **state)
{
    chain_outer(&shot);
    shot_unwind(&shot);
    assert_false(shot.truncated);
    assert_string_equal(shot.frame[0].function, "shot_take");
    assert_int_equal(shot.frame[0].pc, shot.copy.pc);
    static const char *const names[] = {"chain_inner", "chain_middle", "chain_outer"};
    const int lines[] = {line_of_inner, line_of_middle, line_of_outer};
    for (size_t i = 0; i < 3; i++) {
        const struct gr_frame *frame = &shot.frame[1 + i];
        assert_string_equal(frame->function, names[i]);
        assert_true(ends_with(frame->file, "unit/inspect/test_inspect.c"));
        assert_int_equal(frame->line, lines[i]);
        assert_string_equal(frame->module, "test_inspect");
        assert_false(frame->inlined);
        assert_true(frame->offset > 0 && frame->offset < 4096);
    }
    assert_int_equal(shot.frame[3].pc - shot.frame[3].offset, (uintptr_t)chain_outer);
}

static void whole_stack_ends_at_the_program_entry(void **state)
{
    chain_outer(&shot);
    shot_unwind(&shot);
    assert_false(shot.truncated);
    size_t in_main = shot_find(&shot, "main");
    assert_true(in_main < shot.count);
    assert_string_equal(shot.frame[shot.count - 1].function, "_start");
}

static void names_are_interned(void **state)
{
    chain_outer(&shot);
    shot_unwind(&shot);
    chain_outer(&other_shot);
    shot_unwind(&other_shot);
    for (size_t i = 0; i < 4; i++) {
        assert_ptr_equal(shot.frame[i].function, other_shot.frame[i].function);
        assert_ptr_equal(shot.frame[i].file, other_shot.frame[i].file);
        assert_ptr_equal(shot.frame[i].module, other_shot.frame[i].module);
    }
    assert_true(gr_inspect_bytes() > 1000);
}

/* ---- Inlining -------------------------------------------------------------------------------- */

INLINE void inlined_deep(struct shot *to)
{
    line_of_inner = __LINE__ + 1;
    shot_take(to);
    NO_TAIL();
}

INLINE void inlined_shallow(struct shot *to)
{
    line_of_middle = __LINE__ + 1;
    inlined_deep(to);
    NO_TAIL();
}

static CHAIN void with_inlined(struct shot *to)
{
    line_of_outer = __LINE__ + 1;
    inlined_shallow(to);
    NO_TAIL();
}

static void inlined_callers_are_frames_of_their_own(void **state)
{
    with_inlined(&shot);
    shot_unwind(&shot);
    static const char *const names[] = {"inlined_deep", "inlined_shallow", "with_inlined"};
    const int lines[] = {line_of_inner, line_of_middle, line_of_outer};
    for (size_t i = 0; i < 3; i++) {
        const struct gr_frame *frame = &shot.frame[1 + i];
        assert_string_equal(frame->function, names[i]);
        assert_int_equal(frame->line, lines[i]);
        assert_true(ends_with(frame->file, "test_inspect.c"));
        assert_int_equal(frame->inlined, i < 2);
        assert_int_equal(frame->pc, shot.frame[1].pc);
        if (frame->inlined)
            assert_int_equal(frame->offset, 0);
    }
    assert_false(shot.frame[4].inlined);
}

static void symbolise_gives_the_innermost_function(void **state)
{
    struct gr_frame frame;
    with_inlined(&shot);
    shot_unwind(&shot);
    gr_symbolise(shot.frame[1].pc, false, &frame);
    assert_string_equal(frame.function, "inlined_deep");
    assert_int_equal(frame.line, line_of_inner);
    gr_symbolise((uintptr_t)chain_outer, true, &frame);
    assert_string_equal(frame.function, "chain_outer");
    assert_int_equal(frame.offset, 0);
    /* A return address right behind a function is a call inside it. */
    gr_symbolise((uintptr_t)chain_outer, false, &frame);
    assert_true(!frame.function || strcmp(frame.function, "chain_outer") != 0);
}

/* ---- libc, signals, vDSO --------------------------------------------------------------------- */

static CHAIN int compare_and_take(const void *a, const void *b)
{
    shot_take(&shot);
    return *(const int *)a - *(const int *)b;
}

static CHAIN void sorts(void)
{
    int numbers[] = {2, 1};
    qsort(numbers, 2, sizeof numbers[0], compare_and_take);
    NO_TAIL();
}

static void call_back_through_libc_is_unwound(void **state)
{
    sorts();
    shot_unwind(&shot);
    assert_false(shot.truncated);
    size_t compare = shot_find(&shot, "compare_and_take"), caller = shot_find(&shot, "sorts");
    assert_int_equal(compare, 1);
    assert_true(caller < shot.count && caller > compare + 1);
    for (size_t i = compare + 1; i < caller; i++)
        assert_true(strncmp(shot.frame[i].module, "libc.so", 7) == 0 ||
                    strncmp(shot.frame[i].module, "libasan.so", 10) == 0 ||
                    strncmp(shot.frame[i].module, "libtsan.so", 10) == 0);
}

static void take_in_handler(int number, siginfo_t *info, void *ucontext)
{
    shot_take(&shot);
    shot_take_interrupted(&other_shot, ucontext);
}

static CHAIN void raises(void)
{
    raise(SIGUSR1);
    NO_TAIL();
}

static void signal_handler_and_what_it_interrupted_are_unwound(void **state)
{
    struct sigaction action = {.sa_sigaction = take_in_handler, .sa_flags = SA_SIGINFO};
    /* Where the way back from a handler lies in the vDSO, an emulator without one has no unwind data for it. */
    if (!getauxval(AT_SYSINFO_EHDR))
        skip();
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    raises();
    shot_unwind(&shot);
    shot_unwind(&other_shot);
    assert_false(shot.truncated);
    assert_false(other_shot.truncated);
    assert_true(shot_find(&shot, "take_in_handler") < shot_find(&shot, "raises"));
    assert_true(shot_find(&shot, "raises") < shot.count);
    assert_true(shot_find(&other_shot, "take_in_handler") == SIZE_MAX);
    assert_true(shot_find(&other_shot, "raises") < other_shot.count);
}

static _Atomic(bool) spin_stop;
static _Atomic(uint64_t) spin_count;

static CHAIN void *spins(void *arg)
{
    shot_prepare();
    /* relaxed: nothing is handed over, the loop only has to end. */
    while (!atomic_load_explicit(&spin_stop, memory_order_relaxed))
        /* No read-modify-write: on arm64 that may be a call of the compiler's own helper. */
        atomic_store_explicit(&spin_count,
                              atomic_load_explicit(&spin_count, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    return NULL;
}

static _Atomic(bool) interrupted;

static void take_interrupted(int number, siginfo_t *info, void *ucontext)
{
    shot_take_interrupted(&shot, ucontext);
    /* release; pairs with the acquire in the test: the picture is complete. */
    atomic_store_explicit(&interrupted, true, memory_order_release);
}

static void interrupted_instruction_is_exact(void **state)
{
#ifdef __SANITIZE_THREAD__
    /* ThreadSanitizer puts signals off until the next call that it intercepts; the loop makes none.
     */
    skip();
#endif
    struct sigaction action = {.sa_sigaction = take_interrupted, .sa_flags = SA_SIGINFO};
    pthread_t thread;
    assert_int_equal(sigaction(SIGUSR2, &action, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, spins, NULL), 0);
    while (atomic_load_explicit(&spin_count, memory_order_relaxed) == 0)
        sched_yield();
    for (int i = 0; i < 200; i++) {
        /* relaxed: pthread_kill orders it before the handler's store. */
        atomic_store_explicit(&interrupted, false, memory_order_relaxed);
        assert_int_equal(pthread_kill(thread, SIGUSR2), 0);
        /* acquire; pairs with the release in take_interrupted. */
        while (!atomic_load_explicit(&interrupted, memory_order_acquire))
            sched_yield();
        shot_unwind(&shot);
        assert_int_equal(shot.frame[0].pc, shot.copy.pc);
        assert_string_equal(shot.frame[0].function, "spins");
        assert_int_equal(shot.frame[0].pc - shot.frame[0].offset, (uintptr_t)spins);
        assert_false(shot.truncated);
    }
    atomic_store_explicit(&spin_stop, true, memory_order_relaxed);
    pthread_join(thread, NULL);
}

static void vdso_is_named(void **state)
{
    struct gr_frame frame;
    unsigned long base = getauxval(AT_SYSINFO_EHDR);
    if (!base)
        skip();
    gr_symbolise(base + 64, true, &frame);
    assert_string_equal(frame.module, "[vdso]");
}

/* ---- Libraries that come and go -------------------------------------------------------------- */

typedef void call_fn(void (*)(void *), void *);

static CHAIN void *open_library(const char *path, call_fn **call)
{
    void *handle = dlopen(path, RTLD_NOW);
    if (!handle)
        fail_msg("%s", dlerror());
    *call = (call_fn *)dlsym(handle, "late_call");
    assert_non_null(*call);
    return handle;
}

static CHAIN void through(call_fn *call)
{
    call(take_shot, &shot);
    NO_TAIL();
}

static void library_loaded_later_is_named(void **state)
{
    call_fn *call;
    chain_outer(&shot);
    shot_unwind(&shot);
    void *handle = open_library(LATE, &call);
    through(call);
    shot_unwind(&shot);
    assert_false(shot.truncated);
    size_t inner = shot_find(&shot, "late_inner");
    assert_true(inner + 2 < shot.count);
    assert_string_equal(shot.frame[inner + 1].function, "late_call");
    assert_string_equal(shot.frame[inner + 2].function, "through");
    assert_true(ends_with(shot.frame[inner].file, "unit/inspect/late.c"));
    assert_string_equal(shot.frame[inner].module, strrchr(LATE, '/') + 1);
    assert_true(shot.frame[inner].line > 0);
    dlclose(handle);
}

static void stripped_library_gives_module_and_offset(void **state)
{
    call_fn *call;
    Dl_info info;
    void *handle = open_library(LATE_STRIPPED, &call);
    through(call);
    shot_unwind(&shot);
    assert_false(shot.truncated);
    size_t end = shot_find(&shot, "through"), at = 0;
    assert_true(end < shot.count);
    while (at < end && !ends_with(shot.frame[at].module, strrchr(LATE_STRIPPED, '/') + 1))
        at++;
    assert_true(at < end);
    assert_true(dladdr((void *)(uintptr_t)shot.frame[at].pc, &info) != 0);
    /* late_inner is static: nothing in the file names it any more. */
    assert_null(shot.frame[at].function);
    assert_null(shot.frame[at].file);
    assert_int_equal(shot.frame[at].offset, shot.frame[at].pc - (uintptr_t)info.dli_fbase);
    assert_string_equal(shot.frame[at + 1].function, "late_call");
    dlclose(handle);
}

static void closed_library_is_forgotten(void **state)
{
    call_fn *call;
    struct gr_frame frame;
    void *handle = open_library(LATE, &call);
    uint64_t pc = (uintptr_t)call;
    gr_symbolise(pc, true, &frame);
    assert_string_equal(frame.function, "late_call");
    assert_int_equal(dlclose(handle), 0);
    if (dlopen(LATE, RTLD_NOW | RTLD_NOLOAD))
        skip();
    gr_symbolise(pc, true, &frame);
    assert_null(frame.function);
    assert_null(frame.module);
    chain_outer(&shot);
    shot_unwind(&shot);
    assert_string_equal(shot.frame[1].function, "chain_inner");
    assert_false(shot.truncated);
}

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    ssize_t n;
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, block, sizeof block)) > 0)
        assert_int_equal(write(out, block, (size_t)n), n);
    assert_int_equal(n, 0);
    close(in);
    close(out);
}

static void library_replaced_on_disk_is_unwound_and_not_misnamed(void **state)
{
    char folder[] = "/tmp/grasp-inspect-XXXXXX", path[PATH_MAX], new_path[PATH_MAX];
    call_fn *call;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/replaced.so", folder);
    snprintf(new_path, sizeof new_path, "%s/new.so", folder);
    copy_file(LATE, path);
    copy_file(LATE_OTHER, new_path);
    void *handle = open_library(path, &call);
    assert_int_equal(rename(new_path, path), 0);
    through(call);
    shot_unwind(&shot);
    unlink(path);
    rmdir(folder);
    assert_false(shot.truncated);
    size_t end = shot_find(&shot, "through"), seen = 0;
    assert_true(end < shot.count);
    for (size_t i = 0; i < end; i++) {
        if (!ends_with(shot.frame[i].module, "replaced.so"))
            continue;
        seen++;
        assert_null(shot.frame[i].function);
        assert_null(shot.frame[i].file);
    }
    assert_int_equal(seen, 2);
    dlclose(handle);
}

/* ---- Where unwinding must not go on ---------------------------------------------------------- */

static CHAIN void through_bare(void)
{
    bare_call(take_shot, &shot);
    NO_TAIL();
}

static void nothing_is_guessed_beyond_code_without_unwind_data(void **state)
{
    through_bare();
    shot_unwind(&shot);
    assert_true(shot.truncated);
    assert_int_equal(shot_find(&shot, "bare_call"), shot.count - 1);
}

static void short_copy_is_truncated(void **state)
{
    struct gr_frame named;
    chain_outer(&shot);
    shot_unwind(&shot);
    /* More than the chain needs. */
    for (uint64_t i = 0; i < 1000; i++)
        gr_symbolise((uintptr_t)qsort + i, true, &named);
    size_t whole = shot.count;
    assert_false(shot.truncated);
    shot.copy.copied_bytes = 192;
    shot_unwind(&shot);
    assert_true(shot.truncated);
    assert_true(shot.count >= 1 && shot.count < whole);
    assert_string_equal(shot.frame[0].function, "shot_take");
}

static void more_frames_than_room_is_truncated(void **state)
{
    struct gr_frame frame[SHOT_FRAMES];
    bool truncated;
    with_inlined(&shot);
    shot_unwind(&shot);
    for (size_t max = 0; max <= shot.count; max++) {
        assert_int_equal(gr_unwind(&shot.copy, frame, max, &truncated), max);
        assert_int_equal(truncated, max < shot.count);
        for (size_t i = 0; i < max; i++)
            assert_ptr_equal(frame[i].function, shot.frame[i].function);
    }
}

static void address_of_nothing_has_no_names(void **state)
{
    struct gr_frame frame;
    gr_symbolise(8, true, &frame);
    assert_int_equal(frame.pc, 8);
    assert_null(frame.module);
    assert_null(frame.function);
    chain_outer(&shot);
    shot.copy.pc = 8;
    shot_unwind(&shot);
    assert_int_equal(shot.count, 1);
    assert_true(shot.truncated);
}

/* Untrusted input: a stack and registers of any contents end somewhere, without a fault. */
static void garbage_ends_somewhere(void **state)
{
    const char *given = getenv("GRASP_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("seed %u (GRASP_TEST_SEED repeats it)\n", seed);
    sorts();
    static struct shot damaged;
    for (int round = 0; round < 3000; round++) {
        memcpy(&damaged, &shot, sizeof damaged);
        damaged.copy.stack = damaged.stack;
        int words = 1 + rand_r(&seed) % 64;
        for (int i = 0; i < words; i++) {
            uint64_t word = (uint64_t)rand_r(&seed) << 32 | (unsigned)rand_r(&seed);
            if (rand_r(&seed) % 2)
                word = damaged.copy.copied_lo + word % damaged.copy.copied_bytes;
            else if (rand_r(&seed) % 2)
                word = (uintptr_t)qsort + word % 8192;
            size_t at = (size_t)rand_r(&seed) % 2048;
            memcpy(damaged.stack + at, &word, sizeof word);
        }
        if (rand_r(&seed) % 4 == 0)
            damaged.copy.reg[rand_r(&seed) % GR_COPY_REGS] = (uint64_t)rand_r(&seed);
        shot_unwind(&damaged);
        assert_true(damaged.count >= 1);
    }
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void tables_are_forgotten_above_their_limit(void **state)
{
    struct gr_frame named;
    chain_outer(&shot);
    shot_unwind(&shot);
    /* More than the chain needs. */
    for (uint64_t i = 0; i < 1000; i++)
        gr_symbolise((uintptr_t)qsort + i, true, &named);
    size_t whole = gr_inspect_bytes(), count = shot.count;
    const char *name = shot.frame[1].function;
    /* Forgotten at the next walk, which builds anew what it needs and says the same. */
    gri_inspect_limit(0);
    shot_unwind(&shot);
    assert_int_equal(shot.count, count);
    assert_ptr_equal(shot.frame[1].function, name);
    size_t after = gr_inspect_bytes();
    assert_true(after < whole);
    gri_inspect_limit(GRI_INSPECT_BYTES_MAX);
    shot_unwind(&shot);
    assert_int_equal(gr_inspect_bytes(), after);
}

static void *unwinds_often(void *arg)
{
    struct gr_frame frame[SHOT_FRAMES];
    bool truncated;
    for (int i = 0; i < 500; i++) {
        ssize_t count = gr_unwind(&shot.copy, frame, SHOT_FRAMES, &truncated);
        if (count != (ssize_t)shot.count || truncated)
            return "another count";
        for (ssize_t k = 0; k < count; k++)
            if (frame[k].function != shot.frame[k].function || frame[k].line != shot.frame[k].line)
                return "another name";
    }
    return NULL;
}

static void concurrent_unwinds_agree(void **state)
{
    pthread_t thread[4];
    void *wrong;
    with_inlined(&shot);
    shot_unwind(&shot);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, unwinds_often, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(thread[i], &wrong);
        assert_null(wrong);
    }
}

int main(void)
{
    shot_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_named_with_file_and_line),
        cmocka_unit_test(whole_stack_ends_at_the_program_entry),
        cmocka_unit_test(names_are_interned),
        cmocka_unit_test(inlined_callers_are_frames_of_their_own),
        cmocka_unit_test(symbolise_gives_the_innermost_function),
        cmocka_unit_test(call_back_through_libc_is_unwound),
        cmocka_unit_test(signal_handler_and_what_it_interrupted_are_unwound),
        cmocka_unit_test(interrupted_instruction_is_exact),
        cmocka_unit_test(vdso_is_named),
        cmocka_unit_test(library_loaded_later_is_named),
        cmocka_unit_test(stripped_library_gives_module_and_offset),
        cmocka_unit_test(closed_library_is_forgotten),
        cmocka_unit_test(library_replaced_on_disk_is_unwound_and_not_misnamed),
        cmocka_unit_test(nothing_is_guessed_beyond_code_without_unwind_data),
        cmocka_unit_test(short_copy_is_truncated),
        cmocka_unit_test(more_frames_than_room_is_truncated),
        cmocka_unit_test(address_of_nothing_has_no_names),
        cmocka_unit_test(garbage_ends_somewhere),
        cmocka_unit_test(tables_are_forgotten_above_their_limit),
        cmocka_unit_test(concurrent_unwinds_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
