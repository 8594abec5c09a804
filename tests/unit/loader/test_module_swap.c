/*
 * test_module_swap.c: modules that are unloaded, and replaced while their goroutines run or stand
 * still.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/goroutine.h>
#include <grasp/inspect.h>

#include "module.h"
#include "swap.h"

#define TIMEOUT_NS 30000000000u

static const char *path;
static char err[512];

static uint64_t spawn(const char *entry, const char *args)
{
    int64_t id = gr_spawn("swap", entry, args, NULL);

    if (id < 0)
        fail_msg("spawn %s: %s", entry, strerror((int)-id));
    return (uint64_t)id;
}

static int exit_code(uint64_t id)
{
    struct gr_info info;

    do {
        sched_yield();
        assert_int_equal(gr_info(id, &info), 0);
    } while (info.state != GR_DEAD);
    return info.exit_code;
}

static int end(uint64_t id)
{
    assert_int_equal(gr_cancel(id), 0);
    return exit_code(id);
}

static void load(int build)
{
    swap_install(build);
    if (gr_module_load("swap", path, err, sizeof err) != 0)
        fail_msg("build %d: %s", build, err);
}

static void replace(int build)
{
    swap_install(build);
    if (gr_module_replace("swap", path, err, sizeof err) != 0)
        fail_msg("build %d: %s", build, err);
}

/* Once its goroutines are seen to have ended it is not busy. */
static int unload(void)
{
    return gr_module_unload("swap", err, sizeof err);
}

static bool said_gone(int build)
{
    char name[32];

    snprintf(name, sizeof name, "GRASP_TEST_GONE_%d", build);
    bool gone = getenv(name) != NULL;
    unsetenv(name);
    return gone;
}

static void an_idle_module_is_unmapped_and_may_come_again(void **state)
{
    struct gr_module_info info;

    (void)state;
    for (int round = 0; round < 3; round++) {
        load(1);
        assert_int_equal(gr_module_info("swap", &info), 0);
        assert_int_equal(swap_mapped(), 1);
        assert_string_equal(gri_module_name(gri_module_of(info.text_lo)), "swap");
        uint64_t id = spawn("which", "null");
        assert_int_equal(exit_code(id), 1);
        assert_int_equal(unload(), 0);
        assert_true(said_gone(1));
        assert_int_equal(swap_mapped(), 0);
        assert_null(gri_module_of(info.text_lo));
        assert_int_equal(gri_text_check(info.text_lo), GR_REFUSED_LIBC);
        assert_int_equal(gr_module_info("swap", &info), -ENOENT);
        assert_int_equal(gr_spawn("swap", "which", "null", NULL), -ENOENT);
        /* What is remembered of its goroutines does not need it. */
        struct gr_info dead;
        assert_int_equal(gr_info(id, &dead), 0);
        assert_string_equal(dead.module, "swap");
        assert_string_equal(dead.entry, "which");
    }
    assert_int_equal(gr_module_unload("swap", err, sizeof err), -ENOENT);
    assert_int_equal(gr_module_unload("swap", NULL, sizeof err), -ENOENT);
}

static void a_module_with_a_goroutine_is_busy(void **state)
{
    gr_suspension suspension;

    (void)state;
    load(1);
    uint64_t id = spawn("spin", "1000");
    assert_int_equal(gr_module_unload("swap", err, sizeof err), -EBUSY);
    assert_non_null(strstr(err, "1 goroutine"));
    assert_int_equal(gr_suspend(id, TIMEOUT_NS, &suspension), 0);
    assert_int_equal(gr_module_unload("swap", err, sizeof err), -EBUSY);
    assert_int_equal(gr_resume(suspension), 0);
    assert_int_equal(end(id), 1);
    assert_int_equal(unload(), 0);
    assert_int_equal(swap_mapped(), 0);
    said_gone(1);
}

static void new_goroutines_are_of_the_new_build_and_old_ones_stay_of_the_old(void **state)
{
    struct gr_module_info info, old[2];

    (void)state;
    load(1);
    uint64_t first = spawn("spin", "1000");
    assert_int_equal(gr_module_load("swap", path, err, sizeof err), 1);
    swap_install(2);
    assert_int_equal(gr_module_load("swap", path, err, sizeof err), -EBUSY);
    replace(2);
    assert_int_equal(gr_module_replace("swap", path, err, sizeof err), 1);
    assert_int_equal(exit_code(spawn("which", "null")), 2);
    assert_int_equal(gr_module_leaving("swap", old, 2), 1);
    assert_int_equal(old[0].live, 1);
    assert_int_equal(gr_module_info("swap", &info), 0);
    assert_string_not_equal(info.build_id, old[0].build_id);
    assert_int_equal(swap_mapped(), 2);
    /* The old build's goroutines keep the name busy. */
    assert_int_equal(gr_module_unload("swap", err, sizeof err), -EBUSY);
    uint64_t second = spawn("spin", "1000");
    replace(3);
    assert_int_equal(gr_module_leaving("swap", old, 2), 2);
    assert_int_equal(end(first), 1);
    assert_int_equal(end(second), 2);
    assert_true(swap_eventually_mapped(1));
    assert_int_equal(gr_module_leaving("swap", old, 2), 0);
    assert_true(said_gone(1));
    assert_true(said_gone(2));
    assert_int_equal(exit_code(spawn("which", "null")), 3);
    assert_int_equal(unload(), 0);
    assert_int_equal(swap_mapped(), 0);
}

static void a_replaced_module_without_goroutines_goes_at_once(void **state)
{
    (void)state;
    load(1);
    assert_int_equal(exit_code(spawn("which", "null")), 1);
    replace(2);
    assert_true(swap_eventually_mapped(1));
    assert_int_equal(unload(), 0);
    assert_int_equal(swap_mapped(), 0);
}

static bool names(const struct gr_copy *copy, const char *function)
{
    struct gr_frame frames[64];
    bool truncated, found = false;
    ssize_t count = gr_unwind(copy, frames, 64, &truncated);

    assert_true(count > 0);
    for (ssize_t i = 0; i < count; i++)
        found = found || (frames[i].function && strcmp(frames[i].function, function) == 0 &&
                          frames[i].module && strcmp(frames[i].module, "swap") == 0);
    return found;
}

/* Held inside module code: until then it may not even have begun. */
static void hold_inside(struct gr_hold *hold, struct gr_copy *copy, uint64_t id)
{
    for (;;) { /* it spends nearly all of its time there */
        *hold = (struct gr_hold){0};
        assert_int_equal(gr_hold_wait(hold, id, TIMEOUT_NS), 0);
        assert_int_equal(gr_copy_held(hold, copy), 0);
        if (gri_module_of(copy->pc))
            return;
        assert_int_equal(gr_hold_end(hold), 0);
        sched_yield();
    }
}

static void a_goroutine_held_over_a_replacement_is_named_and_goes_on(void **state)
{
    struct gr_hold hold;
    struct gr_copy copy = {0};

    (void)state;
    copy.stack_capacity = gr_copy_stack_bytes_max();
    copy.stack = malloc(copy.stack_capacity);
    copy.vector_capacity = gr_copy_vector_bytes_max();
    copy.vectors = malloc(copy.vector_capacity);
    load(1);
    uint64_t id = spawn("spin", "100000");
    hold_inside(&hold, &copy, id);
    replace(2);
    assert_true(names(&copy, "spin"));
    assert_int_equal(swap_mapped(), 2);
    uint64_t fresh = spawn("spin", "100000");
    assert_int_equal(gr_hold_end(&hold), 0);
    assert_int_equal(end(id), 1);
    assert_true(swap_eventually_mapped(1));
    /* The unwinder forgets the old build and knows the new one. */
    hold_inside(&hold, &copy, fresh);
    assert_true(names(&copy, "spin"));
    assert_int_equal(gr_hold_end(&hold), 0);
    assert_int_equal(end(fresh), 2);
    assert_int_equal(unload(), 0);
    free(copy.stack);
    free(copy.vectors);
}

static void a_build_on_its_way_out_comes_back(void **state)
{
    struct gr_module_info info;

    (void)state;
    load(1);
    uint64_t first = spawn("spin", "1000");
    replace(2);
    uint64_t second = spawn("spin", "1000");
    replace(1);
    assert_int_equal(exit_code(spawn("which", "null")), 1);
    assert_int_equal(gr_module_leaving("swap", &info, 1), 1);
    assert_int_equal(end(second), 2);
    assert_true(swap_eventually_mapped(1));
    assert_int_equal(end(first), 1);
    assert_int_equal(exit_code(spawn("which", "null")), 1);
    assert_int_equal(unload(), 0);
    assert_int_equal(swap_mapped(), 0);
}

static void a_refused_replacement_leaves_the_old_one_alone(void **state)
{
    (void)state;
    load(1);
    assert_int_equal(
        gr_module_replace("swap", MODULES "/loader_refused.so", err, sizeof err), -ENOEXEC);
    assert_non_null(strstr(err, "pthread_exit"));
    assert_int_equal(gr_module_replace("swap", MODULES "/none.so", err, sizeof err), -ENOENT);
    assert_int_equal(exit_code(spawn("which", "null")), 1);
    assert_int_equal(unload(), 0);
}

static void a_refused_module_can_be_forgotten(void **state)
{
    struct gr_module_info info;

    (void)state;
    assert_int_equal(gr_module_load("bad", MODULES "/loader_refused.so", err, sizeof err), -ENOEXEC);
    assert_int_equal(gr_module_info("bad", &info), 0);
    assert_int_equal(gr_module_unload("bad", err, sizeof err), 0);
    assert_int_equal(gr_module_info("bad", &info), -ENOENT);
}

static void a_file_written_over_in_place_is_refused(void **state)
{
    (void)state;
    load(1);
    /* Nobody runs the code that changes under it. */
    swap_overwrite(2);
    assert_int_equal(gr_module_replace("swap", path, err, sizeof err), -ENOEXEC);
    assert_non_null(strstr(err, "in place"));
    swap_overwrite(1);
    assert_int_equal(unload(), 0);
    assert_int_equal(swap_mapped(), 0);
}

static void a_module_that_left_a_handler_stays_mapped(void **state)
{
    struct gr_module_info info;

    (void)state;
    for (int round = 0; round < 2; round++) {
        if (round == 0)
            load(4);
        else
            assert_int_equal(gr_module_load("swap", path, err, sizeof err), 0);
        assert_int_equal(gr_module_info("swap", &info), 0);
        assert_string_equal(info.kept_by, "signal");
        assert_int_equal(exit_code(spawn("handle", "null")), 0);
        assert_int_equal(unload(), 0);
        assert_int_equal(gr_module_info("swap", &info), -ENOENT);
        assert_int_equal(swap_mapped(), 1);
        raise(SIGUSR2);
    }
}

/* A goroutine that a constructor started; it has run. */
static uint64_t early_one(void)
{
    struct gr_info info;
    uint64_t id;

    assert_int_equal(gr_list(GR_LIST_LIVE, 0, &id, 1), 1);
    do {
        sched_yield();
        assert_int_equal(gr_info(id, &info), 0);
    } while (info.cpu_ns == 0);
    assert_string_equal(info.module, "early");
    return id;
}

static void what_a_constructor_started_keeps_it_mapped(void **state)
{
    const char *file = swap_early();

    (void)state;
    assert_int_equal(gr_module_load("early", file, err, sizeof err), 0);
    uint64_t id = early_one();
    assert_int_equal(gr_module_unload("early", err, sizeof err), -EBUSY);
    assert_int_equal(end(id), 0);
    assert_int_equal(gr_module_unload("early", err, sizeof err), 0);
}

/* It is told why, and can be forgotten; its code is still run. */
static void what_the_constructor_of_a_refused_one_started_goes_on(void **state)
{
    const char *file = swap_early();
    struct gr_module_info info;

    (void)state;
    setenv("GRASP_TEST_TOUCH", file, 1);
    assert_int_equal(gr_module_load("early", file, err, sizeof err), -ENOEXEC);
    assert_non_null(strstr(err, "changed while it was loaded"));
    unsetenv("GRASP_TEST_TOUCH");
    uint64_t id = early_one();
    assert_int_equal(gr_module_unload("early", err, sizeof err), 0);
    assert_int_equal(gr_module_info("early", &info), -ENOENT);
    assert_int_equal(end(id), 0);
    /* The mapping that stayed serves the next load, and no constructor runs again. */
    assert_int_equal(gr_module_load("early", file, err, sizeof err), 0);
    assert_int_equal(gr_list(GR_LIST_LIVE, 0, &id, 1), 0);
    assert_int_equal(gr_module_unload("early", err, sizeof err), 0);
}

static int start(void **state)
{
    struct gr_options options = {.procs = 2};

    (void)state;
    path = swap_init();
    if (gr_start(&options, err, sizeof err) == 0)
        return 0;
    print_error("%s\n", err);
    return -1;
}

static int stop(void **state)
{
    (void)state;
    swap_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_module_is_unmapped_and_may_come_again),
        cmocka_unit_test(a_module_with_a_goroutine_is_busy),
        cmocka_unit_test(new_goroutines_are_of_the_new_build_and_old_ones_stay_of_the_old),
        cmocka_unit_test(a_replaced_module_without_goroutines_goes_at_once),
        cmocka_unit_test(a_goroutine_held_over_a_replacement_is_named_and_goes_on),
        cmocka_unit_test(a_build_on_its_way_out_comes_back),
        cmocka_unit_test(a_refused_replacement_leaves_the_old_one_alone),
        cmocka_unit_test(a_refused_module_can_be_forgotten),
        cmocka_unit_test(a_file_written_over_in_place_is_refused),
        cmocka_unit_test(a_module_that_left_a_handler_stays_mapped),
        cmocka_unit_test(what_a_constructor_started_keeps_it_mapped),
        cmocka_unit_test(what_the_constructor_of_a_refused_one_started_goes_on),
    };

    return cmocka_run_group_tests_name("module_swap", tests, start, stop);
}
