/*
 * threads.c: the scheduler's measurements on plain pthreads: one kernel thread for each task.
 *
 * Shapes and names of metrics as in the other peers. 10,000 threads stand where the others have
 * 100,000 tasks: more meets the kernel's limits on threads and mappings.
 */
#include "../../sample.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>

#define MANY 10000

static double samples[MANY];
static pthread_t threads[MANY];

static void *return_at_once(void *arg)
{
    return arg;
}

static void spawn_exit(void)
{
    int batches = scaled(200, 3);

    for (int b = 0; b < batches; b++) {
        int64_t start = now_ns();

        for (int i = 0; i < 100; i++) {
            pthread_t thread;

            pthread_create(&thread, NULL, return_at_once, NULL);
            pthread_join(thread, NULL);
        }
        samples[b] = (double)(now_ns() - start) / 100;
    }
    emit("pthread", "spawn_exit_1thr", "ns/task", samples, batches);
}

static _Atomic(int) started;

static void *yielder(void *arg)
{
    pin((int)(intptr_t)arg);
    while (!atomic_load(&started))
        sched_yield();
    for (int i = 0; i < 10000; i++)
        sched_yield();
    return NULL;
}

static void yields(int cores)
{
    int batches = scaled(20, 3);
    char metric[32];

    for (int b = 0; b < batches; b++) {
        int64_t start;

        atomic_store(&started, 0);
        for (int i = 0; i < 2 * cores; i++)
            pthread_create(&threads[i], NULL, yielder, (void *)(intptr_t)(i % cores));
        usleep(2000);
        start = now_ns();
        atomic_store(&started, 1);
        for (int i = 0; i < 2 * cores; i++)
            pthread_join(threads[i], NULL);
        samples[b] = (double)(now_ns() - start) / (20000.0 * cores);
    }
    snprintf(metric, sizeof metric, "yield_%dthr", cores);
    emit("pthread", metric, "ns/switch", samples, batches);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static bool ponger_s_turn, over;
static int ponger_cpu;

static void *ponger(void *arg)
{
    (void)arg;
    pin(ponger_cpu);
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (!ponger_s_turn && !over)
            pthread_cond_wait(&turned, &mutex);
        if (over)
            break;
        ponger_s_turn = false;
        pthread_cond_signal(&turned);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void ping_pong(int cpu, const char *metric)
{
    int batches = scaled(300, 10);
    pthread_t thread;

    ponger_cpu = cpu;
    ponger_s_turn = over = false;
    pin(0);
    pthread_create(&thread, NULL, ponger, NULL);
    usleep(2000);
    pthread_mutex_lock(&mutex);
    for (int b = 0; b < batches; b++) {
        int64_t start = now_ns();

        for (int i = 0; i < 100; i++) {
            ponger_s_turn = true;
            pthread_cond_signal(&turned);
            while (ponger_s_turn)
                pthread_cond_wait(&turned, &mutex);
        }
        samples[b] = (double)(now_ns() - start) / 100;
    }
    over = true;
    pthread_cond_signal(&turned);
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, NULL);
    emit("pthread", metric, "ns/rtt", samples, batches);
}

static _Atomic(int) release_idle, idle_up;

static void *idle(void *arg)
{
    (void)arg;
    atomic_fetch_add(&idle_up, 1);
    while (!atomic_load(&release_idle))
        syscall(SYS_futex, &release_idle, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
    return NULL;
}

static void idle_memory(void)
{
    int n = 0;
    double resident = rss_bytes(), kernel = proc_bytes("/proc/meminfo", "KernelStack:");

    while (n < MANY && pthread_create(&threads[n], NULL, idle, NULL) == 0)
        n++;
    while (atomic_load(&idle_up) < n)
        usleep(1000);
    resident = (rss_bytes() - resident) / n;
    kernel = (proc_bytes("/proc/meminfo", "KernelStack:") - kernel) / n;
    emit("pthread", "idle_mem_10k", "B/task", &resident, 1);
    emit("pthread", "idle_kernel_stack_10k", "B/task", &kernel, 1);
    atomic_store(&release_idle, 1);
    syscall(SYS_futex, &release_idle, FUTEX_WAKE_PRIVATE, MANY, 0, 0, 0);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static int64_t sleep_base;

static void *sleeper(void *arg)
{
    long index = (long)arg;
    int64_t due = sleep_base + (index * 7919 % MANY) * (1000000000 / MANY);
    struct timespec t = {due / 1000000000, due % 1000000000};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    samples[index] = (double)(now_ns() - due) / 1000;
    return NULL;
}

static void sleepers(void)
{
    long n = 0;

    sleep_base = now_ns() + 1500000000;
    while (n < MANY && pthread_create(&threads[n], NULL, sleeper, (void *)n) == 0)
        n++;
    if (now_ns() > sleep_base)
        fputs("pthread sleepers: making them took longer than the lead, lateness is overstated\n",
              stderr);
    for (long i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    emit("pthread", "sleep_late_10k", "us", samples, (int)n);
}

static _Atomic(int) stop_spinners;
static _Atomic(int64_t) newcomer_ran;

static void *spinner(void *arg)
{
    volatile uint64_t x = 1;

    pin((int)(intptr_t)arg);
    while (!atomic_load_explicit(&stop_spinners, memory_order_relaxed))
        x = x * 3 + 1;
    return NULL;
}

static void *newcomer(void *arg)
{
    atomic_store(&newcomer_ran, now_ns());
    return arg;
}

static void sample_newcomers(int n)
{
    for (int i = 0; i < n; i++) {
        pthread_t thread;
        int64_t start;

        atomic_store(&newcomer_ran, 0);
        start = now_ns();
        pthread_create(&thread, NULL, newcomer, NULL);
        while (!atomic_load(&newcomer_ran))
            ;
        samples[i] = (double)(newcomer_ran - start) / 1000;
        pthread_join(thread, NULL);
    }
}

static void sample_wakes(int n)
{
    for (int i = 0; i < n; i++) {
        struct timespec nap = {0, 5000000};
        int64_t start = now_ns();

        nanosleep(&nap, NULL);
        samples[i] = (double)(now_ns() - start - 5000000) / 1000;
    }
}

static void fairness(int per_core)
{
    int n = scaled(200, 10);
    char metric[64];
    cpu_set_t both;

    CPU_ZERO(&both);
    CPU_SET(0, &both);
    CPU_SET(1, &both);
    sched_setaffinity(0, sizeof both, &both);
    atomic_store(&stop_spinners, 0);
    for (int i = 0; i < 2 * per_core; i++)
        pthread_create(&threads[i], NULL, spinner, (void *)(intptr_t)(i & 1));
    usleep(30000);
    sample_newcomers(n);
    snprintf(metric, sizeof metric, "fair_spawn_%dspin_per_core", per_core);
    emit("pthread", metric, "us", samples, n);
    sample_wakes(n);
    snprintf(metric, sizeof metric, "fair_wake_%dspin_per_core", per_core);
    emit("pthread", metric, "us", samples, n);
    atomic_store(&stop_spinners, 1);
    for (int i = 0; i < 2 * per_core; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "switch") == 0) {
            spawn_exit();
            yields(1);
            yields(2);
            ping_pong(0, "pingpong_rtt_1thr");
            ping_pong(1, "pingpong_rtt_2thr");
        } else if (strcmp(argv[i], "fairness") == 0) {
            fairness(1);
            fairness(4);
        } else if (strcmp(argv[i], "sleep") == 0) {
            sleepers();
        } else if (strcmp(argv[i], "memory") == 0) {
            idle_memory();
        } else {
            fprintf(stderr, "threads: there is no part \"%s\"\n", argv[i]);
            return 2;
        }
    }
    return 0;
}
