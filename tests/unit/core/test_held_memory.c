/*
 * test_held_memory.c: live memory of a held goroutine, as a debugger reads it.
 *
 * While foreign code is below a goroutine, the runtime has its own address in place of a return
 * address. A copy gets the real one back, and so must live memory that is read in any pieces. The last
 * case is about the tables by which a debugger without debug information reads goroutines.
 */
#include "harness.h"

#include <sys/mman.h>
#include <unistd.h>

static struct gr_chan *chan;

static int compare(const void *a, const void *b)
{
    gr_chan_recv(chan, NULL); /* waits inside qsort's call-back, until closed */
    return *(const int *)a - *(const int *)b;
}

static void sort_and_wait(void *arg)
{
    int numbers[2] = {2, 1};

    (void)arg;
    qsort(numbers, 2, sizeof numbers[0], compare);
    CHECK(numbers[0] == 1);
}

static void the_stack_reads_as_in_a_copy_in_any_pieces(void **state)
{
    struct gr_copy copy = {.stack_capacity = gr_copy_stack_bytes_max()};
    struct gr_hold held = {0};
    uint8_t *memory;
    uint64_t id;
    unsigned replaced = 0;

    (void)state;
    chan = gr_chan_create(0, 0);
    id = gr_go(sort_and_wait, NULL);
    eventually_waits(id, "chan receive");
    hold(&held, id);
    copy.stack = malloc(copy.stack_capacity);
    memory = malloc(copy.stack_capacity);
    assert_int_equal(gr_copy_held(&held, &copy), 0);
    assert_int_equal(gr_memory_read(copy.copied_lo, memory, copy.copied_bytes), copy.copied_bytes);
    for (size_t i = 0; i + 8 <= copy.copied_bytes; i += 8)
        replaced += memcmp(memory + i, copy.stack + i, 8) != 0;
    assert_int_equal(replaced, 1);
    gr_held_patch(&held, copy.copied_lo, memory, copy.copied_bytes);
    assert_memory_equal(memory, copy.stack, copy.copied_bytes);
    for (size_t bytes = 1; bytes <= 24; bytes++) {
        memset(memory, 0, copy.copied_bytes);
        for (size_t at = 0; at < copy.copied_bytes; at += bytes) {
            size_t piece = at + bytes < copy.copied_bytes ? bytes : copy.copied_bytes - at;

            assert_int_equal(gr_memory_read(copy.copied_lo + at, memory + at, piece), piece);
            gr_held_patch(&held, copy.copied_lo + at, memory + at, piece);
        }
        assert_memory_equal(memory, copy.stack, copy.copied_bytes);
    }
    /* Elsewhere, and of one that is not held any more, nothing is changed. */
    memset(memory, 0x5a, 64);
    gr_held_patch(&held, copy.stack_hi, memory, 64);
    release(&held);
    gr_held_patch(&held, copy.copied_lo, memory, 64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(memory[i], 0x5a);
    free(copy.stack);
    free(memory);
    gr_chan_close(chan);
    eventually_alone(0);
    gr_chan_destroy(chan);
    expect_no_faults();
}

static void what_is_not_mapped_is_not_read(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char got[16];

    (void)state;
    assert_ptr_not_equal(two, MAP_FAILED);
    memcpy(two + page - 4, "abcd", 4);
    assert_int_equal(munmap(two + page, page), 0);
    errno = 77;
    assert_int_equal(gr_memory_read((uint64_t)(two + page - 4), got, 16), 4);
    assert_memory_equal(got, "abcd", 4);
    assert_int_equal(gr_memory_read((uint64_t)(two + page), got, 16), 0);
    assert_int_equal(gr_memory_read(0, got, 16), 0);
    assert_int_equal(gr_memory_read(UINT64_MAX - 3, got, 16), 0);
    assert_int_equal(gr_memory_read((uint64_t)two, got, 0), 0);
    assert_int_equal(errno, 77);
    munmap(two, page);
}

/* ---- The tables of tools/grasp-gdb.py -------------------------------------------------------- */

struct debug_pair {
    char name[24];
    uint64_t value;
};
extern const struct debug_pair gr_debug_layout[], arch_debug_layout[];
const char *gri_wait_name(unsigned reason);

static uint64_t pair_of(const struct debug_pair *table, const char *name)
{
    for (const struct debug_pair *pair = table; pair->name[0]; pair++) {
        if (strcmp(pair->name, name) == 0)
            return pair->value;
    }
    fail_msg("no %s in the table", name);
    return 0;
}

static void the_tables_for_debuggers_say_what_the_runtime_says(void **state)
{
    unsigned states = 0, waits = 0;

    (void)state;
    for (const struct debug_pair *pair = gr_debug_layout; pair->name[0]; pair++) {
        if (strncmp(pair->name, "state.", 6) == 0) {
            const char *shown = gr_state_name((enum gr_state)pair->value);

            assert_true(
                strcmp(pair->name + 6, shown) == 0 || pair->value == GR_IDLE ||
                (strncmp(pair->name + 6, "copystack", 9) == 0 && strcmp(shown, "waiting") == 0));
            states++;
        } else if (strncmp(pair->name, "wait.", 5) == 0) {
            assert_string_equal(pair->name + 5, gri_wait_name((unsigned)pair->value));
            waits++;
        }
    }
    assert_int_equal(states, GR_STATES);
    /* All but "none" and "syscall", which a state says. */
    for (unsigned reason = 0; *gri_wait_name(reason) || reason == 0; reason++)
        waits -= reason != 0 && strcmp(gri_wait_name(reason), "syscall") != 0;
    assert_int_equal(waits, 0);
    assert_int_equal(pair_of(gr_debug_layout, "arch"), (uint64_t)arch_debug_layout);
    /* The program counter and SP of each kind of stop, under the names that gdb has for them. */
    const char *pc = strcmp(gr_arch_name(), "x86-64") == 0 ? "rip" : "pc";
    const char *sp = strcmp(gr_arch_name(), "x86-64") == 0 ? "rsp" : "sp";
    char name[48];
    static const char *const pcs[] = {"switch.", "context.", "frame."};
    for (unsigned i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", pcs[i], pc);
        pair_of(arch_debug_layout, name);
    }
    snprintf(name, sizeof name, "context.%s", sp);
    pair_of(arch_debug_layout, name);
    assert_int_equal(pair_of(arch_debug_layout, "foreign.return") != 0, 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stack_reads_as_in_a_copy_in_any_pieces),
        cmocka_unit_test(what_is_not_mapped_is_not_read),
        cmocka_unit_test(the_tables_for_debuggers_say_what_the_runtime_says),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
