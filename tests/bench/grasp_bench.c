/*
 * grasp_bench.c: measures our runtime as the peers measure theirs.
 *
 *   grasp-bench [--procs N] [--nice-off] PART ...
 *
 * A program built by grasp-cc, so its own functions are the code that is stopped. Every part
 * mirrors the Go peer's (peers/go): the same number of samples, the same batches, the same moment
 * at which a sample begins. What a sample is, is said beside each measurement. One process for each
 * number of processors and each kind of measurement: what one part leaves behind (free stacks,
 * threads) is not the next one's.
 *
 * Rejected: one program for ours and C peers alike; grasp-cc builds modules, and the floors must
 * not run with entry checks.
 */
#include "bench.h"

#include <semaphore.h>
#include <stdarg.h>

const char *bench_peer = "grasp";
unsigned bench_procs = 2;

void bench_fail(const char *fmt, ...)
{
    va_list args;

    fputs("grasp-bench: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(1);
}

uint64_t bench_go(void (*fn)(void *), void *arg)
{
    uint64_t id = gr_go(fn, arg);

    if (id == 0)
        bench_fail("no goroutine could be made: memory or vm.max_map_count");
    return id;
}

struct run {
    void (*fn)(void *);
    void *arg;
    sem_t done;
};

static void run_body(void *arg)
{
    struct run *run = arg;

    run->fn(run->arg);
    sem_post(&run->done);
}

void bench_run(void (*fn)(void *), void *arg)
{
    /* Static: the last sem_post may still be at work on it when the wait is over. */
    static struct run run;

    run.fn = fn;
    run.arg = arg;
    sem_init(&run.done, 0, 0);
    bench_go(run_body, &run);
    while (sem_wait(&run.done) != 0)
        ;
}

void bench_emit(const char *metric, const char *unit, double *v, int n)
{
    emit(bench_peer, metric, unit, v, n);
}

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"suspend", bench_suspend},   {"switch", bench_switch},
    {"sleep", bench_sleep},       {"memory", bench_memory},
    {"fairness", bench_fairness}, {"memory-private", bench_memory_private},
    {"inspect", bench_inspect},   {"memory-million", bench_memory_million},
};

static void usage(void)
{
    fputs("usage: grasp-bench [--procs N] [--nice-off] PART...\n"
          "parts: suspend switch sleep memory memory-private memory-million fairness inspect\n",
          stderr);
    exit(2);
}

static void run_part(const char *name)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(parts[i].name, name) == 0) {
            parts[i].run();
            return;
        }
    }
    fprintf(stderr, "grasp-bench: there is no part \"%s\"\n", name);
    usage();
}

int main(int argc, char **argv)
{
    char error[256];
    struct gr_options options = {0};
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--nice-off") == 0) {
            options.nice_off = true;
            bench_peer = "grasp-nice0";
        } else if (strcmp(argv[i], "--procs") == 0 && i + 1 < argc && atoi(argv[i + 1]) > 0) {
            bench_procs = (unsigned)atoi(argv[++i]);
        } else {
            usage();
        }
    }
    if (i == argc)
        usage();
    for (int k = i; k < argc; k++)
        if (strcmp(argv[k], "inspect") == 0)
            bench_inspect_begin();
    options.procs = bench_procs;
    if (gr_start(&options, error, sizeof error) != 0)
        bench_fail("%s", error);
    for (; i < argc; i++)
        run_part(argv[i]);
    return 0;
}
