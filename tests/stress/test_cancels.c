/*
 * test_cancels.c: a cancellation reaches its goroutine wherever that is just then, whatever signal is on its way.
 *
 * Each round bears a goroutine that computes for a moment and then blocks for good, in the kernel or in the
 * runtime; at a random moment it is cancelled, once. Two threads suspend and resume it meanwhile and slices are
 * short, so that signals to stop it are in flight at all times. A cancellation that trusted one of those to
 * arrive late enough would now and then be lost, and its goroutine wait until something else interrupts it:
 * here nothing does, and the watchdog says in which call it hangs.
 */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HARASSERS 2
#define FOR_EVER  (uint64_t)3600000000000u

static atomic_ullong victim_id;
static atomic_uint stop_harassing;
static int silent_pipe[2];
static struct gr_chan *silent_chan;
static pid_t child;

#if !defined(__SANITIZE_THREAD__)
static int block_in_futex(void)
{
    static unsigned word;

    return (int)syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
}

static int block_in_waitpid(void)
{
    return (int)waitpid(child, NULL, 0);
}

static int block_in_pause(void)
{
    return pause();
}
#endif

static int block_in_read(void)
{
    char byte;

    return (int)read(silent_pipe[0], &byte, 1);
}

static int block_in_usleep(void)
{
    return usleep(999999);
}

static int block_in_chan(void)
{
    int value, result = gr_chan_recv(silent_chan, &value);

    errno = -result;
    return result ? -1 : 0;
}

static int block_in_sleep(void)
{
    int result = gr_sleep_ns(FOR_EVER);

    errno = -result;
    return result ? -1 : 0;
}

static const struct way {
    const char *name;
    int (*block)(void);
} ways[] = {
#if !defined(__SANITIZE_THREAD__) /* its handler puts the signal off until the system call ends */
    {"futex", block_in_futex},   {"waitpid", block_in_waitpid}, {"pause", block_in_pause},
#endif
    {"read", block_in_read},     {"usleep", block_in_usleep},   {"channel", block_in_chan},
    {"gr_sleep", block_in_sleep}};
#define WAYS (sizeof ways / sizeof ways[0])

struct life {
    const struct way *way;
    uint64_t loops;
};

static void live(void *arg)
{
    struct life *life = arg;

    for (uint64_t i = 0; i < life->loops; i++)
        __asm__ volatile("" ::: "memory");
    while (life->way->block() != -1 || errno != ECANCELED)
        CHECK(!gr_cancelled() || life->way->block == block_in_usleep);
}

static void *harass(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_harassing)) {
        struct gr_hold h = {0};
        uint64_t id = atomic_load(&victim_id);

        if (id && gr_hold_wait(&h, id, HOLD_TIMEOUT_NS) == 0)
            CHECK(gr_hold_end(&h) == 0);
    }
    return NULL;
}

static void cancel_once(uint64_t *random)
{
    struct life life = {&ways[next_random(random) % WAYS], next_random(random) % 40000};
    uint64_t delay = next_random(random) % 60000, give_up = gr_now_ns() + WATCHDOG_NS;
    uint64_t id = gr_go(live, &life);
    struct gr_info info;
    int error;

    assert_int_not_equal(id, 0);
    atomic_store(&victim_id, id);
    for (uint64_t i = 0; i < delay; i++)
        __asm__ volatile("" ::: "memory");
    error = gr_cancel(id);
    assert_int_equal(error, 0);
    while (gr_info(id, &info) == 0 && info.state != GR_DEAD) {
        if (gr_now_ns() > give_up)
            fail_msg("cancelled in %s it does not end: %s, waits for \"%s\"", life.way->name,
                     gr_state_name(info.state), info.wait_reason);
        usleep(20);
    }
    expect_no_faults();
}

static void no_cancellation_is_lost(void **state)
{
    uint64_t random = test_seed;
    pthread_t thread[HARASSERS];

    (void)state;
    assert_int_equal(pipe(silent_pipe), 0);
    silent_chan = gr_chan_create(sizeof(int), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char byte;

        close(silent_pipe[1]);
        _exit((int)read(silent_pipe[0], &byte, 1)); /* until this process has ended */
    }
    assert_int_equal(gr_set_time_slice_us(GR_TIME_SLICE_US_MIN), 0);
    for (int i = 0; i < HARASSERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, harass, NULL), 0);
    for (uint64_t i = 0; i < 10000 * stress_factor(); i++)
        cancel_once(&random);
    atomic_store(&stop_harassing, 1);
    for (int i = 0; i < HARASSERS; i++)
        pthread_join(thread[i], NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    gr_chan_destroy(silent_chan);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cancellation_is_lost),
    };

    harness_start(argc, argv, (struct gr_options){.procs = 2});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
