/*
 * test_stacks.c: goroutine stacks under each way of guarding them: --guard=auto, mprotect (a kernel without guard regions),
 * commit (vm.overcommit_memory=2) and none.
 */
#include "harness.h"

#include <unistd.h>

#define CROWD       200
#define DEEP_BYTES  150000
#define LARGE_BYTES 300000
#define BYTES_KEPT  (8 << 20) /* a block that malloc has to map */

static const char *const names[] = {[GR_GUARD_AUTO] = "auto",
                                    [GR_GUARD_MPROTECT] = "mprotect",
                                    [GR_GUARD_NONE] = "none",
                                    [GR_GUARD_COMMIT] = "commit"};
static enum gr_stack_guard guard;
static struct gr_chan *chan;
static atomic_uint deep_ones;

__attribute__((noinline)) static void go_deep(void)
{
    volatile uint8_t deep[DEEP_BYTES];

    for (size_t i = 0; i < DEEP_BYTES; i += 512)
        deep[i] = (uint8_t)i;
    for (size_t i = 0; i < DEEP_BYTES; i += 512)
        CHECK(deep[i] == (uint8_t)i);
}

static void deep_one(void *arg)
{
    (void)arg;
    go_deep();
    atomic_fetch_add(&deep_ones, 1);
    gr_chan_recv(chan, NULL);
    go_deep();
}

static void end_all(void)
{
    assert_int_equal(gr_chan_close(chan), 0);
    eventually_alone(0);
    gr_chan_destroy(chan);
    chan = gr_chan_create(0, 0);
    assert_non_null(chan);
}

static void deep_stacks_can_be_used_again_and_again(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        atomic_store(&deep_ones, 0);
        for (int i = 0; i < CROWD; i++) {
            struct gr_go_opts opts = {
                .fn = deep_one, .stack_bytes = i % 10 ? 0 : 300000, .stack_private = i % 3 == 0};

            assert_true(gr_go_with(&opts) > 0);
        }
        eventually_count(&deep_ones, CROWD, "all went deep");
        end_all();
        expect_no_faults();
    }
}

static void below_a_stack_there_is_a_guard_or_it_is_said(void **state)
{
    struct gr_copy copy = {0};
    struct gr_stats stats;
    struct gr_hold h;
    int end[2];
    uint64_t id = gr_go(deep_one, NULL);

    (void)state;
    assert_int_equal(pipe(end), 0);
    eventually_waits(id, "chan receive");
    hold(&h, id);
    assert_int_equal(gr_copy_held(&h, &copy), 0);
    release(&h);
    /* The kernel reads for us, and says where it may not. */
    assert_int_equal(write(end[1], (void *)copy.stack_lo, 1), 1);
    gr_stats(&stats);
    if (guard == GR_GUARD_NONE && stats.stacks_unguarded > 0) {
        print_message("%lu stacks are unguarded\n", (unsigned long)stats.stacks_unguarded);
    } else {
        assert_int_equal(stats.stacks_unguarded, 0);
        assert_int_equal(write(end[1], (void *)(copy.stack_lo - 1), 1), -1);
        assert_int_equal(errno, EFAULT);
    }
    close(end[0]);
    close(end[1]);
    end_all();
}

static bool are_counted_as_before(void *before)
{
    const struct gr_stats *b = before;
    struct gr_stats now;

    gr_stats(&now);
    return now.stack_bytes_mapped == b->stack_bytes_mapped &&
           now.stacks_unguarded == b->stacks_unguarded;
}

static void large_stacks_are_counted_while_they_are_there(void **state)
{
    struct gr_go_opts large = {.fn = deep_one, .stack_bytes = LARGE_BYTES};
    struct gr_stats before, with;

    (void)state;
    assert_int_not_equal(gr_go(deep_one, NULL), 0);
    end_all();
    gr_stats(&before);
    for (int i = 0; i < 10; i++)
        assert_true(gr_go_with(&large) > 0);
    gr_stats(&with);
    assert_true(with.stack_bytes_mapped >= before.stack_bytes_mapped + 10 * LARGE_BYTES);
    if (guard == GR_GUARD_NONE && before.stacks_unguarded > 0)
        assert_int_equal(with.stacks_unguarded, before.stacks_unguarded + 10);
    end_all();
    eventually(are_counted_as_before, &before, "they are counted no more");
}

static unsigned long most_mappings(void)
{
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long most = 0;

    if (f && fscanf(f, "%lu", &most) != 1)
        most = 0;
    if (f)
        fclose(f);
    return most;
}

static void wait_only(void *arg)
{
    (void)arg;
    gr_chan_recv(chan, NULL);
}

static void when_mappings_run_out_a_birth_says_so_and_the_rest_goes_on(void **state)
{
    struct gr_go_opts opts = {.fn = wait_only};
    struct gr_go_opts large = {.fn = wait_only, .stack_bytes = LARGE_BYTES};
    unsigned long most = most_mappings(), count = 0;
    struct gr_stats stats;
    uint64_t mapped;
    int64_t id;
    void *block;

    (void)state;
    if (most == 0 || most > 200000) {
        print_message("not tried: vm.max_map_count is %lu\n", most);
        return;
    }
    while ((id = gr_go_with(&opts)) > 0)
        assert_true(++count <= most);
    assert_int_equal(id, -ENOMEM);
    assert_true(count > most / 4);
    /* A large one is mapped first: what could not be guarded is not counted. */
    gr_stats(&stats);
    mapped = stats.stack_bytes_mapped;
    for (int i = 0; i < 10; i++)
        assert_int_equal(gr_go_with(&large), -ENOMEM);
    gr_stats(&stats);
    assert_int_equal(stats.stack_bytes_mapped, mapped);
    print_message("%lu goroutines with %lu mappings\n", count, most);
    /* Others still get mappings: the process can work on, and answer. */
    block = malloc(BYTES_KEPT);
    assert_non_null(block);
    memset(block, 1, BYTES_KEPT);
    free(block);
    assert_int_equal(gr_go(wait_only, NULL), 0);
    end_all();
    assert_int_not_equal(gr_go(wait_only, NULL), 0);
    end_all();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_stacks_are_counted_while_they_are_there), /* before there were any */
        cmocka_unit_test(deep_stacks_can_be_used_again_and_again),
        cmocka_unit_test(below_a_stack_there_is_a_guard_or_it_is_said),
    };
    const struct CMUnitTest of_mappings[] = {
        cmocka_unit_test(when_mappings_run_out_a_birth_says_so_and_the_rest_goes_on),
    };
    int failed;

    if (argc > 1 && strncmp(argv[1], "--guard=", 8) == 0) {
        for (guard = GR_GUARD_AUTO; strcmp(names[guard], argv[1] + 8) != 0; guard++)
            if (guard == GR_GUARD_COMMIT)
                return 2;
        argc--;
        argv++;
    }
    harness_start(argc, argv,
                  (struct gr_options){.procs = 2, .stack_guard = guard, .fold_after_ms = 1});
    chan = gr_chan_create(0, 0);
    if (!chan)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (guard == GR_GUARD_MPROTECT || guard == GR_GUARD_COMMIT)
        failed += cmocka_run_group_tests(of_mappings, NULL, NULL);
    return failed;
}
