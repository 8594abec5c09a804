/*
 * st.c: State Threads (libst): cooperative threads, all on one kernel thread.
 *
 * What it shows is the price of a task where nothing can be preempted and nobody else runs.
 * libst 1.9 has no call to yield: st_usleep(0) is what its users write, and it goes through the
 * idle thread, which asks epoll each round.
 */
#include "../../sample.h"

#include <st.h>

#define PEER "state-threads"
#define MANY 10000
#define IDLE 100000

static double samples[MANY];

static void *return_at_once(void *arg)
{
    return arg;
}

static void spawn_exit(void)
{
    int batches = scaled(100, 3);

    for (int b = 0; b < batches; b++) {
        int64_t start = now_ns();

        for (int i = 0; i < 10000; i++)
            st_thread_join(st_thread_create(return_at_once, NULL, 1, 0), NULL);
        samples[b] = (double)(now_ns() - start) / 10000;
    }
    emit(PEER, "spawn_exit_1thr", "ns/task", samples, batches);
}

static void *yielder(void *arg)
{
    for (int i = 0; i < 10000; i++)
        st_usleep(0);
    return arg;
}

static void yields(void)
{
    int batches = scaled(50, 3);

    for (int b = 0; b < batches; b++) {
        st_thread_t one = st_thread_create(yielder, NULL, 1, 0);
        st_thread_t other = st_thread_create(yielder, NULL, 1, 0);
        int64_t start = now_ns();

        st_thread_join(one, NULL);
        st_thread_join(other, NULL);
        samples[b] = (double)(now_ns() - start) / 20000;
    }
    emit(PEER, "yield_1thr", "ns/switch", samples, batches);
}

static st_cond_t to_ponger, to_pinger;
static int over;

static void *ponger(void *arg)
{
    while (!over) {
        st_cond_wait(to_ponger);
        st_cond_signal(to_pinger);
    }
    return arg;
}

static void ping_pong(void)
{
    int batches = scaled(2000, 20);
    st_thread_t thread = st_thread_create(ponger, NULL, 1, 0);

    st_usleep(0);
    for (int b = 0; b < batches; b++) {
        int64_t start = now_ns();

        for (int i = 0; i < 100; i++) {
            st_cond_signal(to_ponger);
            st_cond_wait(to_pinger);
        }
        samples[b] = (double)(now_ns() - start) / 100;
    }
    over = 1;
    st_cond_signal(to_ponger);
    st_thread_join(thread, NULL);
    emit(PEER, "pingpong_rtt_1thr", "ns/rtt", samples, batches);
}

static int64_t sleep_base;
static int asleep;

static void *sleeper(void *arg)
{
    long index = (long)arg;
    int64_t due = sleep_base + (index * 7919 % MANY) * (1000000000 / MANY);

    st_usleep((st_utime_t)((due - now_ns()) / 1000));
    samples[index] = (double)(now_ns() - due) / 1000;
    asleep--;
    return NULL;
}

static void sleepers(void)
{
    sleep_base = now_ns() + 200000000;
    asleep = MANY;
    for (long i = 0; i < MANY; i++) {
        st_thread_create(sleeper, (void *)i, 0, 0);
        if (i % 20 == 0)
            st_usleep(0); /* refreshes the clock that st_usleep counts from */
    }
    while (asleep > 0)
        st_usleep(20000);
    emit(PEER, "sleep_late_10k", "us", samples, MANY);
}

static void *idle(void *arg)
{
    st_cond_wait(to_ponger);
    return arg;
}

static void idle_memory(void)
{
    double resident = rss_bytes();
    int n = 0;

    /* A stack is a mapping of its own here: vm.max_map_count may end this early. */
    while (n < IDLE && st_thread_create(idle, NULL, 0, 0))
        n++;
    for (int i = 0; i < 3; i++)
        st_usleep(0);
    resident = (rss_bytes() - resident) / n;
    if (n < IDLE)
        fprintf(stderr, "state-threads: only %d threads could be made\n", n);
    emit(PEER, n < IDLE ? "idle_mem_fewer" : "idle_mem_100k", "B/task", &resident, 1);
}

int main(int argc, char **argv)
{
    st_set_eventsys(ST_EVENTSYS_ALT); /* epoll */
    if (st_init() != 0) {
        perror("st_init");
        return 1;
    }
    to_ponger = st_cond_new();
    to_pinger = st_cond_new();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "switch") == 0) {
            spawn_exit();
            yields();
            ping_pong();
        } else if (strcmp(argv[i], "sleep") == 0) {
            sleepers();
        } else if (strcmp(argv[i], "memory") == 0) {
            idle_memory();
        }
    }
    return 0;
}
