/*
 * sample.h: a clock, samples, and one JSON line for each metric.
 *
 * Shared by our benchmark and by the peers written in C, so that all of them take percentiles the
 * same way (nearest rank) and read the same clock. Rejected: a histogram with buckets; 20,000
 * doubles are small, and tails are what these measurements are about.
 *
 * BENCH_DIVISOR in the environment divides every number of samples: 1 full, 10 quick, 200 a check
 * that everything runs.
 */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#ifndef _GNU_SOURCE
#error "compile with -D_GNU_SOURCE: pinning needs it"
#endif
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Monotonic nanoseconds. */
static inline int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void spin_ns(int64_t duration_ns)
{
    for (int64_t end = now_ns() + duration_ns; now_ns() < end;)
        ;
}

/* How many samples to take where a full run takes `full`; never fewer than `least`. */
static inline int scaled(int full, int least)
{
    const char *text = getenv("BENCH_DIVISOR");
    int divisor = text ? atoi(text) : 1;
    int n = divisor > 1 ? full / divisor : full;

    return n < least ? least : n;
}

/* Pins the calling thread; where the machine has no such processor it stays free, and so it says.
 */
static inline void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        perror("sched_setaffinity: not pinned");
}

static inline double rss_bytes(void)
{
    long total = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");

    if (statm) {
        if (fscanf(statm, "%ld %ld", &total, &resident) != 2)
            resident = 0;
        fclose(statm);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* A line such as "VmPTE:" of /proc/self/status, or "KernelStack:" of /proc/meminfo, in bytes. */
static inline double proc_bytes(const char *path, const char *key)
{
    char line[256];
    long kib = 0;
    FILE *file = fopen(path, "r");

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = atol(line + strlen(key));
    if (file)
        fclose(file);
    return (double)kib * 1024;
}

static inline int sample_compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return a < b ? -1 : a > b;
}

static inline double sample_quantile(const double *sorted, int n, double p)
{
    int i = (int)(p * n + 0.999999) - 1;

    return sorted[i < 0 ? 0 : i >= n ? n - 1 : i];
}

/* Sorts the samples and prints their line. */
static inline void emit(const char *peer, const char *metric, const char *unit, double *v, int n)
{
    if (n <= 0)
        return;
    qsort(v, (size_t)n, sizeof *v, sample_compare);
    printf("{\"peer\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\",\"n\":%d,\"p50\":%.6g,\"p99\":%.6g,"
           "\"p999\":%.6g,\"max\":%.6g,\"min\":%.6g}\n",
           peer, metric, unit, n, sample_quantile(v, n, .5), sample_quantile(v, n, .99),
           sample_quantile(v, n, .999), v[n - 1], v[0]);
    fflush(stdout);
}

#endif
