/*
 * test_wraps.c: plain C in goroutines that are suspended again and again.
 *
 * Each entry of the module test_wraps does something with libc and returns 0, or the line at which
 * it saw a fault. A second thread suspends and resumes whatever lives, all the time. The
 * cancellation cases block in one call each; they are cancelled once the runtime shows them as
 * blocked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grasp/runtime.h>

static atomic_bool harass, quit;
static atomic_ulong suspends;
static sem_t ended;
static atomic_ullong awaited;

static void on_event(void *ctx, enum gr_event event, uint64_t id, uint64_t root, const char *text)
{
    (void)ctx;
    (void)root;
    if (event == GR_EVENT_LOG)
        printf("%s\n", text);
    if (event == GR_EVENT_ENDED && id == atomic_load(&awaited))
        sem_post(&ended);
}

/* Suspends everything that lives, one after the other. */
static void *harasser(void *arg)
{
    (void)arg;
    while (!atomic_load(&quit)) {
        uint64_t ids[64];
        size_t count = atomic_load(&harass) ? gr_list(GR_LIST_LIVE, 0, ids, 64) : 0;

        for (size_t i = 0; i < count; i++) {
            struct gr_hold hold = {0};

            if (gr_hold_wait(&hold, ids[i], 20000000) == 0) {
                atomic_fetch_add(&suspends, 1);
                gr_hold_end(&hold);
            }
        }
        sched_yield();
    }
    return NULL;
}

static uint64_t spawn(const char *entry, const char *args)
{
    int64_t id = gr_spawn("test_wraps", entry, args, NULL);

    if (id < 0)
        fail_msg("spawn of %s: %s", entry, strerror((int)-id));
    return (uint64_t)id;
}

/* When an entry does not end: who is where. */
static void show_live(void)
{
    uint64_t ids[64];
    size_t count = gr_list(GR_LIST_LIVE, 0, ids, 64);

    for (size_t i = 0; i < count; i++) {
        struct gr_info info;

        if (gr_info(ids[i], &info) == 0)
            print_error("goroutine %llu: %s, waits for \"%s\" (%llx) for %llu ms, holds %u\n",
                        (unsigned long long)ids[i], gr_state_name(info.state), info.wait_reason,
                        (unsigned long long)info.wait_address,
                        (unsigned long long)info.wait_ns / 1000000, info.holds);
    }
}

/* Waits for the end and checks the exit code. */
static void expect_success(const char *what, uint64_t id)
{
    struct gr_info info;
    char *result = NULL;

    atomic_store(&awaited, id);
    /* It may have ended before anybody waited for it. */
    for (int seconds = 0; gr_info(id, &info) == 0 && info.state != GR_DEAD; seconds++) {
        struct timespec soon;

        if (seconds == 30) {
            show_live();
            fail_msg("%s does not end", what);
        }
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec += 1;
        sem_timedwait(&ended, &soon);
    }
    assert_int_equal(info.state, GR_DEAD);
    gr_info_result(id, &result);
    if (info.exit_code != 0)
        fail_msg("%s failed at line %d: %s", what, info.exit_code, result ? result : "");
    free(result);
}

static void run(void **state)
{
    const char *entry = *state;

    atomic_store(&harass, true);
    for (int i = 0; i < 3; i++)
        expect_success(entry, spawn(entry, "null"));
    atomic_store(&harass, false);
}

static void cancel_ends_what_blocks(void **state)
{
    static const char *const kinds[] = {
        "recv",
        "read_socket",
        "read_pipe",
        "accept",
        "poll_one",
        "poll_two",
        "select",
        "epoll_wait",
        "sleep",
        "sem_wait",
        "cond_wait",
        "fgets",
#if !defined(__SANITIZE_THREAD__) /* its handler puts the signal off until the system call ends */
        "flock",
        "msgrcv",
        "waitpid",
        "pause",
        "sigtimedwait",
        "syscall_futex",
        "syscall_ppoll",
        "vmsplice",
#endif
    };

    const char *emulator = getenv("GRASP_TEST_RUN");

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char args[40];
        uint64_t id;
        struct gr_info info;

        /* qemu-user lets no signal into this one. */
        if (emulator && *emulator && strcmp(kinds[i], "vmsplice") == 0)
            continue;
        snprintf(args, sizeof args, "\"%s\"", kinds[i]);
        id = spawn("block", args);
        do {
            sched_yield();
            assert_int_equal(gr_info(id, &info), 0);
        } while (info.state != GR_WAITING && info.state != GR_SYSCALL && info.state != GR_DEAD);
        assert_int_equal(gr_cancel(id) == 0 || info.state == GR_DEAD, 1);
        expect_success(kinds[i], id);
    }
}

static void suspends_happened(void **state)
{
    (void)state;
    print_message("%lu suspends\n", atomic_load(&suspends));
    assert_true(atomic_load(&suspends) > 100);
}

static pthread_t harasser_thread;
static bool async_off;

static int start(void **state)
{
    struct gr_options options = {.procs = 4, .async_preempt_off = async_off, .time_slice_us = 1000};
    char err[256] = "";

    (void)state;
    sem_init(&ended, 0, 0);
    if (gr_start(&options, err, sizeof err) < 0 ||
        gr_module_load("test_wraps", MODULE, err, sizeof err) < 0) {
        print_error("%s\n", err);
        return -1;
    }
    gr_on_event(on_event, NULL);
    return pthread_create(&harasser_thread, NULL, harasser, NULL);
}

static int stop(void **state)
{
    (void)state;
    atomic_store(&quit, true);
    return pthread_join(harasser_thread, NULL);
}

#define ENTRY(name)                                                                                \
    {                                                                                              \
#name, run, NULL, NULL, #name                                                              \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ENTRY(bulk_pipe),
        ENTRY(bulk_socket),
        ENTRY(nonblocking_stays),
        ENTRY(receive_timeout),
        ENTRY(connect_timeout),
        ENTRY(far_deadlines_wait),
        ENTRY(tcp_echo),
        ENTRY(connect_refused),
        ENTRY(waits_are_whole),
        ENTRY(absolute_sleeps_end),
        ENTRY(readiness_wakes),
        ENTRY(pointers_are_redirected),
        ENTRY(fgets_lines),
        ENTRY(getline_lines),
        ENTRY(fscanf_lines),
        ENTRY(getc_and_fread),
        ENTRY(print_to_pipe),
        ENTRY(long_and_wide_output),
        ENTRY(memory_streams_have_no_descriptor),
        ENTRY(cookie_is_not_entered_twice),
        ENTRY(printf_handler),
        ENTRY(mutex_excludes),
        ENTRY(rwlock_excludes),
        ENTRY(spin_excludes),
        ENTRY(cond_wakes),
        ENTRY(sem_wakes),
        ENTRY(threads_can_be_made),
        ENTRY(errno_is_the_goroutines),
        ENTRY(call_backs),
        ENTRY(vfork_is_fork),
        ENTRY(fork_child_is_plain),
        ENTRY(fork_child_must_not_return),
        ENTRY(commands),
        ENTRY(signals),
        ENTRY(raw_system_calls),
#if !defined(__SANITIZE_ADDRESS__) &&                                                              \
    !defined(__SANITIZE_THREAD__) /* their own functions stand before libc's */
        ENTRY(libc_fits_below_its_check),
        ENTRY(addresses_have_names),
#endif
        cmocka_unit_test(cancel_ends_what_blocks),
        cmocka_unit_test(suspends_happened),
    };

    async_off = argc > 1 && strcmp(argv[1], "--async-preempt=off") == 0;
    return cmocka_run_group_tests_name("wraps", tests, start, stop);
}
