/*
 * test_held.c: stacks of goroutines that the runtime holds, at each kind of safe-point.
 *
 * test_inspect.c knows what frames must look like; here the registers and the stack come from
 * gr_copy_held. Every stack must be whole: from where the goroutine stopped to its start. Another build of the module
 * may be named: with landing pads and signed return addresses.
 */
#include <grasp/inspect.h>
#include <grasp/runtime.h>

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch.h"
#include "same_frames.h"
#include "unwind.h"

#define TIMEOUT_NS 10000000000u
#define FRAMES     64

static const char *inspectee = INSPECTEE;
static bool inspectee_signs;
static struct gr_copy copy;
static struct gr_frame frame[FRAMES];
static size_t frames;

static int start_runtime(void **state)
{
    char err[512] = "";
    struct gr_options options = {.procs = 2};
    if (gr_start(&options, err, sizeof err) != 0 ||
        gr_module_load("inspectee", inspectee, err, sizeof err) != 0) {
        print_error("%s\n", err);
        return -1;
    }
    copy.stack_capacity = gr_copy_stack_bytes_max();
    copy.vector_capacity = gr_copy_vector_bytes_max();
    copy.stack = malloc(copy.stack_capacity);
    copy.vectors = malloc(copy.vector_capacity);
    return copy.stack && copy.vectors ? 0 : -1;
}

static uint64_t spawn(const char *entry)
{
    int64_t id = gr_spawn("inspectee", entry, "null", NULL);
    assert_true(id > 0);
    return (uint64_t)id;
}

static size_t find(const char *function)
{
    for (size_t i = 0; i < frames; i++)
        if (frame[i].function && strcmp(frame[i].function, function) == 0)
            return i;
    return SIZE_MAX;
}

static void print_frames(void)
{
    for (size_t i = 0; i < frames; i++)
        print_error("  %zu 0x%llx %s %s:%d %s\n", i, (unsigned long long)frame[i].pc,
                    frame[i].function ? frame[i].function : "?",
                    frame[i].file ? frame[i].file : "?", frame[i].line,
                    frame[i].module ? frame[i].module : "?");
}

/* By the kept rules, and by libdwfl alone: both must say the same, and the whole stack. */
static void unwind_both_ways(void)
{
    bool truncated, again_truncated;
    static struct gr_frame again[FRAMES];
    ssize_t count = gr_unwind(&copy, frame, FRAMES, &truncated);
    assert_true(count > 0);
    frames = (size_t)count;
    gri_unwind_by_libdw(true);
    assert_int_equal(gr_unwind(&copy, again, FRAMES, &again_truncated), count);
    gri_unwind_by_libdw(false);
    assert_true(same_frames(again, frame, frames));
    assert_int_equal(again_truncated, truncated);
    if (truncated)
        print_frames();
    assert_false(truncated);
    assert_int_equal(frame[0].pc, copy.pc);
}

/* Holds `id`, copies it, lets it go, and only then unwinds. */
static enum gr_safepoint take(uint64_t id)
{
    static struct gr_hold hold;
    memset(&hold, 0, sizeof hold);
    assert_int_equal(gr_hold_wait(&hold, id, TIMEOUT_NS), 0);
    assert_int_equal(gr_copy_held(&hold, &copy), 0);
    assert_int_equal(gr_hold_end(&hold), 0);
    unwind_both_ways();
    return copy.safepoint;
}

/* Waits until the goroutine is in that state, by looking. */
static void wait_for(uint64_t id, enum gr_state state, enum gr_state or_state)
{
    struct gr_info info;
    do {
        assert_int_equal(gr_info(id, &info), 0);
        sched_yield();
    } while (info.state != state && info.state != or_state);
}

static void expect_chain(const char *const *names, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t found = find(names[i]);
        if (found == SIZE_MAX || found < at) {
            print_frames();
            fail_msg("no frame of %s where it must be", names[i]);
        }
        assert_string_equal(frame[found].module, "inspectee");
        assert_non_null(strstr(frame[found].file, "unit/inspect/inspectee.c"));
        assert_true(frame[found].line > 0);
        at = found;
    }
}

static void goroutine_in_a_loop_without_calls_is_whole_at_every_instruction(void **state)
{
    static const char *const chain[] = {"spin_loop", "spin"};
    uint64_t id = spawn("spin"), seen = 0, differ = 0;
    for (int i = 0; i < 300; i++) {
        wait_for(id, GR_RUNNING, GR_RUNNING);
        /* The first may find it on its way into the loop, at a check. */
        if (take(id) != GR_SAFEPOINT_ASYNC)
            continue;
        expect_chain(chain, 2);
        size_t loop = find("spin_loop");
        assert_true(loop == 0 || (loop == 1 && frame[0].inlined &&
                                  strcmp(frame[0].function, "spin_round") == 0));
        differ += copy.pc != seen;
        seen = copy.pc;
    }
    assert_true(differ > 1);
}

static void goroutine_stopped_at_an_entry_check_is_whole(void **state)
{
    static const char *const chain[] = {"call_loop", "calls"};
    uint64_t id = spawn("calls");
    size_t at_checks = 0;
    /* Bounded: each stop lets it run on, and most stops of such a loop are at its check. */
    for (int i = 0; i < 100000 && at_checks < 200; i++) {
        wait_for(id, GR_RUNNING, GR_RUNNING);
        enum gr_safepoint kind = take(id);
        if (find("called") == SIZE_MAX)
            continue;
        expect_chain(chain, 2);
        if (kind == GR_SAFEPOINT_SYNC) {
            at_checks++;
            assert_string_equal(frame[0].function, "called");
        }
    }
    assert_int_equal(at_checks, 200);
    assert_int_equal(gr_cancel(id), 0);
}

/* What a profile's signal may find: the registers that unwinding needs are there as they are behind the check. */
static void goroutine_in_an_entry_check_is_whole_at_every_instruction(void **state)
{
    static const char *const chain[] = {"called", "call_loop", "calls"};
    uint64_t id = spawn("calls"), behind;
    /* Bounded as above. */
    for (int i = 0; i < 100000; i++) {
        wait_for(id, GR_RUNNING, GR_RUNNING);
        if (take(id) == GR_SAFEPOINT_SYNC && find("called") == 0)
            break;
    }
    assert_int_equal(find("called"), 0);
    behind = copy.pc;
    assert_true(frame[0].offset >= arch_entry_bytes());
    for (copy.pc -= frame[0].offset; copy.pc < behind; copy.pc += 4) {
        unwind_both_ways();
        assert_int_equal(find("called"), 0);
        expect_chain(chain, 3);
    }
    assert_int_equal(gr_cancel(id), 0);
}

/* Words of the copy that are no plain addresses because they are signed. */
static size_t signed_words(void)
{
    size_t count = 0;
    for (size_t at = 0; at + 8 <= copy.copied_bytes; at += 8) {
        uint64_t word;
        memcpy(&word, copy.stack + at, sizeof word);
        count += arch_strip(word) != word;
    }
    return count;
}

static bool can_sign(void)
{
    uint64_t garbage = UINT64_C(0x007f000000001000);
    return arch_strip(garbage) != garbage;
}

static void sleeping_goroutine_is_whole(void **state)
{
    static const char *const chain[] = {"sleep_long", "sleeps"};
    uint64_t id = spawn("sleeps");
    wait_for(id, GR_WAITING, GR_WAITING);
    assert_int_equal(take(id), GR_SAFEPOINT_BLOCKED);
    expect_chain(chain, 2);
    /* Else the build with signed addresses would show nothing. */
    if (inspectee_signs && can_sign())
        assert_true(signed_words() >= 2);
    assert_int_equal(gr_cancel(id), 0);
}

static void reading_goroutine_is_whole(void **state)
{
    static const char *const chain[] = {"read_nothing", "reads"};
    uint64_t id = spawn("reads");
    wait_for(id, GR_WAITING, GR_SYSCALL);
    assert_int_equal(take(id), GR_SAFEPOINT_BLOCKED);
    expect_chain(chain, 2);
    assert_int_equal(gr_cancel(id), 0);
}

static void goroutine_in_a_call_back_of_libc_is_whole(void **state)
{
    static const char *const chain[] = {"compare_for_ever", "sort_for_ever", "sorts"};
    uint64_t id = spawn("sorts");
    size_t whole = 0;
    /* It is on its way at first; the loop itself is without end. Bounded: each stop lets it run on.
     */
    for (int i = 0; i < 100000 && whole < 50; i++) {
        wait_for(id, GR_RUNNING, GR_RUNNING);
        take(id);
        if (find("compare_for_ever") == SIZE_MAX)
            continue;
        expect_chain(chain, 3);
        whole++;
    }
    assert_int_equal(whole, 50);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        inspectee = argv[1];
        inspectee_signs = true;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goroutine_in_a_loop_without_calls_is_whole_at_every_instruction),
        cmocka_unit_test(goroutine_stopped_at_an_entry_check_is_whole),
        cmocka_unit_test(goroutine_in_an_entry_check_is_whole_at_every_instruction),
        cmocka_unit_test(sleeping_goroutine_is_whole),
        cmocka_unit_test(reading_goroutine_is_whole),
        cmocka_unit_test(goroutine_in_a_call_back_of_libc_is_whole),
    };
    int failed = cmocka_run_group_tests(tests, start_runtime, NULL);
    /* Goroutines without end still run; they end with the process. */
    fflush(stdout);
    _exit(failed ? 1 : 0);
}
