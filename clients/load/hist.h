/*
 * hist.h: a histogram of latencies with a bounded relative error (HDR).
 *
 * Values are nanoseconds. Below 2^HIST_BITS each has a bucket of its own; above, each power of two is
 * divided into 2^(HIST_BITS-1) buckets, so that a value is known to better than 1 part in 128
 * (0.8 %), from nanoseconds to days, in 57 KiB. Rejected: keeping all samples (an hour at 100,000/s
 * is 3 GB) and fixed buckets (p99.99 would be a guess).
 *
 *   I1  A percentile is never below the true one: it is the upper end of its bucket, capped by max.
 */
#ifndef LOAD_HIST_H
#define LOAD_HIST_H

#include <stdint.h>

#define HIST_BITS    8
#define HIST_HALF    (1u << (HIST_BITS - 1))
#define HIST_BUCKETS ((64 - HIST_BITS + 2) * HIST_HALF)

struct hist {
    uint64_t count, min, max;
    double sum;
    uint64_t bucket[HIST_BUCKETS];
};

/* A zeroed struct is an empty histogram. */
void hist_add(struct hist *hist, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);
/* The smallest bucket's end with at least percent of all values at or below it; 0 if empty. */
uint64_t hist_percentile(const struct hist *hist, double percent);
double hist_mean(const struct hist *hist);

unsigned hist_index(uint64_t value);
uint64_t hist_upper(unsigned index); /* the largest value of a bucket */

#endif
