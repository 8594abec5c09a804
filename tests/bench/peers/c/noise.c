/*
 * noise.c: how much of each processor is ours at this moment, and how fast it is.
 *
 * Share: a pinned loop reads the clock for a while and adds up the steps longer than 5 µs, in which
 * somebody else ran. Speed: a chain of 1,000 dependent multiplications, and short system calls;
 * these slow down on a busy host although no time is stolen here. Two runs may be compared only
 * where these agree.
 */
#include "../../sample.h"

#include <sys/syscall.h>

#define MOST_CPUS  4
#define SHARE_NS   300000000
#define STOLEN_NS  5000
#define SPEED_MOST 2000

static double share_percent(void)
{
    int64_t start = now_ns(), last = start, lost = 0;

    while (last - start < SHARE_NS) {
        int64_t t = now_ns();

        if (t - last > STOLEN_NS)
            lost += t - last;
        last = t;
    }
    return 100.0 * (1 - (double)lost / (double)(last - start));
}

static void named(const char *what, const char *when, const char *unit, double *v, int n)
{
    char metric[64];

    snprintf(metric, sizeof metric, "%s_%s", what, when);
    emit("machine", metric, unit, v, n);
}

static void speeds(const char *when, int cpus)
{
    static double multiply[SPEED_MOST], call[SPEED_MOST];
    int samples = scaled(SPEED_MOST, 20);
    uint64_t x = 3;

    for (int k = 0; k < samples; k++) {
        int64_t start;

        pin(k % cpus);
        start = now_ns();
        for (int i = 0; i < 1000; i++)
            x = x * 6364136223846793005u + 1;
        __asm__ volatile("" : "+r"(x));
        multiply[k] = (double)(now_ns() - start);
        start = now_ns();
        for (int i = 0; i < 20; i++)
            syscall(SYS_getppid);
        call[k] = (double)(now_ns() - start) / 20;
    }
    named("cpu_speed", when, "ns/1000mul", multiply, samples);
    named("syscall_speed", when, "ns", call, samples);
}

int main(int argc, char **argv)
{
    const char *when = argc > 1 ? argv[1] : "now";
    double share[MOST_CPUS];
    int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);

    if (cpus > MOST_CPUS)
        cpus = MOST_CPUS;
    for (int cpu = 0; cpu < cpus; cpu++) {
        pin(cpu);
        share[cpu] = share_percent();
    }
    named("cpu_share", when, "%", share, cpus);
    speeds(when, cpus);
    return 0;
}
