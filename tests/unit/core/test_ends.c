/*
 * test_ends.c: what a program says before it dies of a goroutine's fault (G22) or of a misuse of the runtime.
 *
 * Each case runs this program again with the name of a way to die; the child writes to a pipe and must end by
 * SIGABRT or the signal of its fault, never by exit. The parent does not start a runtime.
 */
#include "harness.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The child ------------------------------------------------------------------------------------- */

static volatile unsigned depth_wanted = 1u << 30;

/* Small frames: the entry check finds it. */
__attribute__((noinline)) static unsigned recurse(unsigned depth)
{
    volatile unsigned here = depth;

    if (depth < depth_wanted)
        here += recurse(depth + 1);
    return here;
}

static void overflow_by_recursion(void *arg)
{
    (void)arg;
    recurse(0);
}

/* Each frame is followed by a call of libc: that call's check finds it, while the module's own frames still fit. */
__attribute__((noinline)) static unsigned recurse_printing(unsigned depth)
{
    char text[32];

    snprintf(text, sizeof text, "%f", (double)depth);
    if (depth < depth_wanted)
        return recurse_printing(depth + 1) + (unsigned)text[0];
    return 0;
}

static void overflow_in_libc(void *arg)
{
    (void)arg;
    recurse_printing(0);
}

/* One big frame below an entry check that still passed: the guard finds it. */
__attribute__((noinline)) static unsigned touch_far_below(void)
{
    volatile unsigned char frame[250 * 1024];

    for (size_t i = sizeof frame; i >= 4096; i -= 4096)
        frame[i - 1] = 1;
    return frame[5000];
}

static void overflow_by_a_big_frame(void *arg)
{
    (void)arg;
    touch_far_below();
}

static atomic_uint far_down, asked, stopped;

/* Below its bound already when it is asked to stop: the next check meets both. */
__attribute__((noinline)) static unsigned wait_far_down(void)
{
    volatile unsigned char frame[176 * 1024 - 512];

    frame[0] = frame[sizeof frame - 1] = 1;
    atomic_store(&far_down, 1);
    while (!atomic_load(&asked))
        ;
    return recurse(0) + frame[0];
}

static void overflow_when_asked(void *arg)
{
    (void)arg;
    wait_far_down();
}

static void has_stopped(struct gr_hold *h)
{
    (void)h;
    atomic_store(&stopped, 1);
}

/* Comes back if the culprit can be held where it should have ended. */
static void ask_culprit(void)
{
    static struct gr_hold h;

    while (!atomic_load(&far_down))
        ;
    if (gr_hold_start(&h, 1, HOLD_TIMEOUT_NS, has_stopped, NULL) != GR_HOLD_PENDING)
        return;
    atomic_store(&asked, 1);
    while (!atomic_load(&stopped))
        ;
}

static void fault(void *arg)
{
    *(volatile int *)((uintptr_t)arg + 8) = 1;
}

static void give_up(void *arg)
{
    (void)arg;
    abort();
}

static void send_fault(void *arg)
{
    (void)arg;
    kill(getpid(), SIGSEGV);
}

/* An address that no processor here can have: some don't say which it was. */
static void fault_beyond(void *arg)
{
    *(volatile int *)((uintptr_t)arg + (UINT64_C(0xdead) << 40)) = 1;
}

/* Two threads at the same moment. */
static void fault_together(void *arg)
{
    static atomic_uint there;

    if (gr_id() == 1)
        CHECK(gr_go(fault_together, arg) != 0);
    atomic_fetch_add(&there, 1);
    while (atomic_load(&there) < 2)
        ;
    fault(arg);
}

static int constructor_runs[2];

/* The loader's lock is somebody's who never gives it back. */
static void fault_beside_a_constructor(void *arg)
{
    char c;

    CHECK(read(constructor_runs[0], &c, 1) == 1);
    fault(arg);
}

static void send_trap(void *arg)
{
    (void)arg;
    raise(SIGTRAP);
}

static void trap(void *arg)
{
    (void)arg;
    __builtin_trap();
}

static void suspend_in_a_section(void *arg)
{
    gr_suspension s;

    (void)arg;
    gr_nopreempt_begin();
    gr_suspend(gr_id() + 1, 1, &s);
}

static void end_a_section_not_begun(void *arg)
{
    (void)arg;
    gr_nopreempt_end();
}

static struct gr_chan *chan;
static void wait_for_ever(void *arg)
{
    (void)arg;
    gr_chan_recv(chan, NULL);
}

static bool run_child(const char *way, size_t stack_bytes)
{
    static const struct {
        const char *name;
        void (*fn)(void *);
    } ways[] = {{"recursion", overflow_by_recursion},
                {"libc", overflow_in_libc},
                {"frame", overflow_by_a_big_frame},
                {"asked", overflow_when_asked},
                {"fault", fault},
                {"together", fault_together},
                {"constructor", fault_beside_a_constructor},
                {"abort", give_up},
                {"sent", send_fault},
                {"beyond", fault_beyond},
                {"sent_trap", send_trap},
                {"trap", trap},
                {"section", suspend_in_a_section},
                {"end", end_a_section_not_begun},
                {"destroy", wait_for_ever}};
    struct gr_go_opts opts = {.name = "the culprit", .stack_bytes = stack_bytes};
    struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    chan = gr_chan_create(0, 0);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(way, ways[i].name) == 0)
            opts.fn = ways[i].fn;
    }
    if (strcmp(way, "asked") == 0) /* by its guard alone */
        gr_set_async_preempt(false);
    if (pipe(constructor_runs) != 0 || gr_go_with(&opts) <= 0)
        return false;
    if (strcmp(way, "asked") == 0) {
        ask_culprit();
        return false;
    }
    if (strcmp(way, "constructor") == 0) {
        char fd[16];

        snprintf(fd, sizeof fd, "%d", constructor_runs[1]);
        setenv("GRASP_TEST_HANG_FD", fd, 1);
        return dlopen(ENDLESS_CONSTRUCTOR, RTLD_NOW) && false;
    }
    while (strcmp(way, "destroy") == 0) {
        struct gr_info info;

        if (gr_info(1, &info) == 0 && info.wait_reason[0])
            gr_chan_destroy(chan);
    }
    for (;;)
        pause();
}

/* ---- The parent ------------------------------------------------------------------------------------ */

static char report[65536];
static const char *program;

/* In the child. */
_Noreturn static void run_program(const char *way, const char *stack_bytes)
{
    const char *run = getenv("GRASP_TEST_RUN");

    alarm(60);
    /* A cross build's emulator, or nothing: the program itself. */
    if (run && *run)
        execl(run, run, program, "--child", way, stack_bytes,
              async_on ? NULL : "--async-preempt=off", NULL);
    else
        execl(program, program, "--child", way, stack_bytes,
              async_on ? NULL : "--async-preempt=off", NULL);
    _exit(127);
}

/* Runs the child; returns the signal that ended it. Its output is in `report`. */
static int signal_of(const char *way, const char *stack_bytes)
{
    int end[2], status;
    size_t used = 0;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(end), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(end[1], STDERR_FILENO);
        dup2(end[1], STDOUT_FILENO);
        close(end[0]);
        close(end[1]);
        run_program(way, stack_bytes);
    }
    close(end[1]);
    while (used < sizeof report - 1 &&
           (n = read(end[0], report + used, sizeof report - 1 - used)) > 0)
        used += (size_t)n;
    report[used] = 0;
    close(end[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status))
        fail_msg("the child ended with status %#x and said: %s", status, report);
    return WTERMSIG(status);
}

static void expect_said(const char *text)
{
    if (!strstr(report, text))
        fail_msg("\"%s\" is not in the report:\n%s", text, report);
}

/* At several sizes of stack. */
static void a_stack_overflow_is_reported_at_every_size(void **state)
{
    static const char *const sizes[] = {"0",      "65536",   "69632",   "131072",
                                        "262144", "1048576", "16777216"};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(signal_of("recursion", sizes[i]), SIGABRT);
        expect_said("stack overflow");
        expect_said("goroutine 1 ");
        expect_said("the culprit");
        expect_said("module main");
        expect_said("sp 0x");
        expect_said("stack_bytes of gr_go_with");
    }
    /* 16 MiB, the last one's. */
    expect_said("its stack has 16384 KiB");
}

static void an_overflow_in_libc_is_reported_at_the_call(void **state)
{
    (void)state;
    assert_int_equal(signal_of("libc", "0"), SIGABRT);
    expect_said("stack overflow");
    expect_said("goroutine 1 ");
    /* A call of libc asks for 24 KiB more than an entry, so it finds it first: in its stub, which libgrasp has. */
    expect_said("libgrasp.so");
}

static void a_frame_that_goes_over_the_end_hits_the_guard_and_is_reported(void **state)
{
    (void)state;
    assert_int_equal(signal_of("frame", "0"), SIGSEGV);
    expect_said("stack overflow");
    expect_said("its stack has 192 KiB; stack_bytes of gr_go_with");
    expect_said("guard");
    expect_said("goroutine 1 ");
}

static void an_overflow_is_reported_though_a_stop_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(signal_of("asked", "0"), SIGABRT);
    expect_said("stack overflow");
    expect_said("goroutine 1 ");
}

static void a_fault_is_reported_and_takes_its_default_action(void **state)
{
    (void)state;
    assert_int_equal(signal_of("fault", "0"), SIGSEGV);
    expect_said("signal 11");
    expect_said("address 0x8");
    expect_said("goroutine 1 ");
    expect_said("module main");
}

/* The reader of stderr is gone, or there is no stderr: the file has it all the same. */
static void what_stderr_does_not_take_is_in_the_file(void **state)
{
    char dir[] = "test_ends.XXXXXX", path[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("GRASP_TEST_CRASH_DIR", dir, 1), 0);
    for (unsigned closed = 0; closed < 2; closed++) {
        int end[2], status;
        size_t used;
        FILE *f;
        pid_t pid;

        assert_int_equal(pipe(end), 0);
        close(end[0]);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            signal(SIGPIPE, SIG_DFL);
            dup2(end[1], STDERR_FILENO);
            close(end[1]);
            if (closed)
                close(STDERR_FILENO);
            run_program("fault", "0");
        }
        close(end[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        snprintf(path, sizeof path, "%s/crash-%d.txt", dir, (int)pid);
        f = fopen(path, "r");
        if (!f)
            fail_msg("the child ended with status %#x and left no file", status);
        used = fread(report, 1, sizeof report - 1, f);
        report[used] = 0;
        fclose(f);
        unlink(path);
        expect_said("signal 11");
        expect_said("module main");
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
    }
    rmdir(dir);
    unsetenv("GRASP_TEST_CRASH_DIR");
}

/* C1 of crash.c: whoever faults while another reports waits for it. */
static void of_two_that_fault_at_once_one_is_reported_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        char *again;

        assert_int_equal(signal_of("together", "0"), SIGSEGV);
        expect_said("signal 11");
        expect_said("address 0x8");
        expect_said("words on the stack");
        again = strstr(strstr(report, "grasp: signal") + 1, "grasp: signal");
        assert_null(again);
    }
}

/* C2 of crash.c */
static void a_fault_while_a_constructor_never_ends_is_reported(void **state)
{
    (void)state;
    assert_int_equal(signal_of("constructor", "0"), SIGSEGV);
    expect_said("signal 11");
    expect_said("module main");
    expect_said("words on the stack");
}

/* A failed assert, or what malloc finds wrong. */
static void an_abort_names_its_goroutine(void **state)
{
    (void)state;
    assert_int_equal(signal_of("abort", "0"), SIGABRT);
    expect_said("signal 6 (ABRT), sent by process");
    expect_said("goroutine 1 ");
    expect_said("the culprit");
    expect_said("module main");
}

static void a_signal_of_a_fault_that_was_sent_is_not_lost(void **state)
{
    (void)state;
    assert_int_equal(signal_of("sent", "0"), SIGSEGV);
    expect_said("signal 11 (SEGV), sent by process");
}

static void an_unknown_address_is_not_called_0(void **state)
{
    const char *emulator = getenv("GRASP_TEST_RUN");

    (void)state;
    if (emulator && *emulator) {
        print_message("skipped: qemu-user itself says 0 for an address that it can't have\n");
        return;
    }
    assert_int_equal(signal_of("beyond", "0"), SIGSEGV);
    expect_said("signal 11 (SEGV), ");
    assert_null(strstr(report, "address 0x0"));
}

/* The compiler's trap is SIGILL or SIGTRAP, as the processor has it. */
static void a_trap_is_reported_and_ends_the_process(void **state)
{
    int number;

    (void)state;
    assert_int_equal(signal_of("sent_trap", "0"), SIGTRAP);
    expect_said("signal 5 (TRAP), sent by process");
    expect_said("the culprit");
    number = signal_of("trap", "0");
    assert_true(number == SIGILL || number == SIGTRAP);
    expect_said("grasp: signal ");
    expect_said("the culprit");
}

static void misuse_of_the_runtime_is_named(void **state)
{
    (void)state;
    assert_int_equal(signal_of("section", "0"), SIGABRT);
    expect_said("no-preempt section");
    assert_int_equal(signal_of("end", "0"), SIGABRT);
    expect_said("without gr_nopreempt_begin");
    assert_int_equal(signal_of("destroy", "0"), SIGABRT);
    expect_said("destroyed");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_overflow_is_reported_at_every_size),
        cmocka_unit_test(an_overflow_in_libc_is_reported_at_the_call),
        cmocka_unit_test(a_frame_that_goes_over_the_end_hits_the_guard_and_is_reported),
        cmocka_unit_test(an_overflow_is_reported_though_a_stop_is_asked_for),
        cmocka_unit_test(a_fault_is_reported_and_takes_its_default_action),
        cmocka_unit_test(what_stderr_does_not_take_is_in_the_file),
        cmocka_unit_test(of_two_that_fault_at_once_one_is_reported_whole),
        cmocka_unit_test(a_fault_while_a_constructor_never_ends_is_reported),
        cmocka_unit_test(an_abort_names_its_goroutine),
        cmocka_unit_test(a_signal_of_a_fault_that_was_sent_is_not_lost),
        cmocka_unit_test(an_unknown_address_is_not_called_0),
        cmocka_unit_test(a_trap_is_reported_and_ends_the_process),
        cmocka_unit_test(misuse_of_the_runtime_is_named),
    };

    if (argc >= 4 && strcmp(argv[1], "--child") == 0) {
        harness_start(argc, argv,
                      (struct gr_options){.procs = 2, .crash_dir = getenv("GRASP_TEST_CRASH_DIR")});
        return run_child(argv[2], strtoull(argv[3], NULL, 10)) ? 0 : 3;
    }
    program = argv[0];
    for (int i = 1; i < argc; i++)
        async_on = async_on && strcmp(argv[i], "--async-preempt=off") != 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
